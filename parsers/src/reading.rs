//! How a file is to be read, as far as somebody knows it.
//!
//! Promise: what is told here is taken as it is; what is not is found in the file, as if nothing had been told.

use crate::decode::Decode;
use crate::decompress::Unpacked;
use crate::encoding::Encoding;
use crate::error::Error;
use crate::limits::Limits;
use crate::scalar::{Decimal, Numbers, Syntax};
use crate::sniff::Sniffed;

/// A character with a meaning, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// No character has this meaning.
    None,
    /// This one has, an ASCII character.
    Byte(u8),
}

/// Takes in the rows of a file, as they were understood.
pub trait RowSink: Send {
    /// The names of the columns, before the first row. `in_file` is false if they were made up.
    fn header(&mut self, names: &[String], in_file: bool) -> Result<(), Error>;

    /// A row: one value for each column, as it is written in the file, without quotes.
    fn row(&mut self, values: &mut dyn Iterator<Item = &[u8]>) -> Result<(), Error>;

    /// The end of the file.
    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// What is known of a file before it is read. Everything that is `None` is found in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What stands between fields: one character or several.
    pub delimiter: Option<String>,
    /// What stands around fields.
    pub quote: Option<Mark>,
    /// What stands in front of a character that is meant as itself.
    pub escape: Option<Mark>,
    /// What a line begins with that is no record.
    pub comment: Option<Mark>,
    /// Whether the first record names the columns.
    pub header: Option<bool>,
    /// How many lines stand above the table.
    pub skip_lines: Option<u64>,
    /// The encoding of the text.
    pub encoding: Option<Encoding>,
    /// Whether `007` is the number 7, as in pandas. By default it is text, since the zeros mean something.
    pub leading_zeros: bool,
    /// What stands in front of the decimals: `.` or `,`. By default a point, and in files whose delimiter is no comma
    /// also a comma, as long as a column has only one of them.
    pub decimal: Option<Decimal>,
    /// What stands between groups of three digits. By default nothing, but for numbers with a decimal comma.
    pub thousands: Option<char>,
    /// Whether everything that would be repaired is an error instead.
    pub strict: bool,
}

impl Reading {
    /// The decoder of a file with this name; as [`crate::decoder`], for what is known of it.
    pub fn decoder(&self, name: &str, limits: &Limits) -> Box<dyn Decode> {
        Box::new(Unpacked::new(Sniffed::new(name, limits, self, None), limits))
    }

    /// A decoder that gives the rows to a sink and summarises nothing: what it ends in says how many rows there were,
    /// how the file was read and what was repaired.
    pub fn rows(&self, name: &str, limits: &Limits, sink: Box<dyn RowSink>) -> Box<dyn Decode> {
        Box::new(Unpacked::new(Sniffed::new(name, limits, self, Some(sink)), limits))
    }

    /// What the fields mean in a file with this delimiter.
    pub(crate) fn syntax(&self, delimiter: &[u8]) -> Syntax {
        let usual = if delimiter == b"," { Decimal::Point } else { Decimal::Either };
        let decimal = self.decimal.unwrap_or(usual);
        let numbers = Numbers { decimal, thousands: self.thousands, leading_zeros: self.leading_zeros };
        if numbers == Numbers::default() { Syntax::Field } else { Syntax::Local(numbers) }
    }
}
