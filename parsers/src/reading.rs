//! How a file is to be read, as far as somebody knows it.
//!
//! Promise: what is told here is taken as it is; what is not is found in the file, as if nothing had been told.

use crate::decode::Decode;
use crate::decompress::Unpacked;
use crate::encoding::Encoding;
use crate::error::Error;
use crate::limits::Limits;
use crate::onto::Onto;
use crate::partial::Partial;
use crate::rows::Rows;
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

/// Where the rows of a file go.
pub(crate) enum Target {
    /// Into a summary, together with those of the files before it, if there are any.
    Columns(Option<Box<Rows>>),
    /// To whom they are for; they are not summarised.
    Sink(Box<dyn RowSink>),
}

impl Default for Target {
    fn default() -> Target {
        Target::Columns(None)
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
        self.to(name, limits, Target::default())
    }

    /// The decoder of a file that goes on where others ended: what it makes is `before`, into which the file is
    /// [merged](Partial::merge). Delimited text with the same columns goes straight into those of `before`, which many
    /// small files are read sooner by. `limits` are those of the file; `before` keeps its own. After an error what was
    /// before is gone, too.
    pub fn onto(&self, before: Partial, name: &str, limits: &Limits) -> Box<dyn Decode> {
        Box::new(Onto::new(before, |rows| self.to(name, limits, Target::Columns(Some(Box::new(rows))))))
    }

    /// A decoder that gives the rows to a sink and summarises nothing: what it ends in says how many rows there were,
    /// how the file was read and what was repaired.
    pub fn rows(&self, name: &str, limits: &Limits, sink: Box<dyn RowSink>) -> Box<dyn Decode> {
        self.to(name, limits, Target::Sink(sink))
    }

    fn to(&self, name: &str, limits: &Limits, target: Target) -> Box<dyn Decode> {
        Box::new(Unpacked::new(Sniffed::new(name, limits, self, target), limits))
    }

    /// What the fields mean in a file with this delimiter.
    pub(crate) fn syntax(&self, delimiter: &[u8]) -> Syntax {
        let usual = if delimiter == b"," { Decimal::Point } else { Decimal::Either };
        let decimal = self.decimal.unwrap_or(usual);
        let numbers = Numbers { decimal, thousands: self.thousands, leading_zeros: self.leading_zeros };
        if numbers == Numbers::default() { Syntax::Field } else { Syntax::Local(numbers) }
    }
}
