//! Flags that say how a file is to be read, for every command that reads files.

use clap::{Args, ValueEnum};
use parsers::scalar::Decimal;
use parsers::{Encoding, Mark, Reading};

/// What is not told is found in the file.
#[derive(Debug, Args)]
#[group(id = "reading")]
#[command(next_help_heading = "How files are read (what is not told is found in the file)")]
pub(super) struct Options {
    /// What stands between fields; `tab`, or one character or several
    #[arg(long, value_name = "TEXT", value_parser = delimiter)]
    delimiter: Option<String>,
    /// What stands around fields: a character, or `none`
    #[arg(long, value_name = "CHAR", value_parser = mark)]
    quote: Option<Mark>,
    /// What stands in front of a character that is meant as itself: a character, or `none`
    #[arg(long, value_name = "CHAR", value_parser = mark)]
    escape: Option<Mark>,
    /// Whether the first record names the columns
    #[arg(long, value_enum, value_name = "YES|NO")]
    header: Option<Answer>,
    /// What lines begin with that are no records: a character, or `none`
    #[arg(long, value_name = "CHAR", value_parser = mark)]
    comment: Option<Mark>,
    /// Lines above the table
    #[arg(long, value_name = "N")]
    skip_lines: Option<u64>,
    /// The encoding of the text
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    encoding: Option<Encoding>,
    /// What `007` is; a number as in pandas, or text, since the zeros mean something
    #[arg(long, value_enum, default_value_t = Zeros::Text)]
    leading_zeros: Zeros,
    /// What stands in front of decimals [default: a point, and a comma where the delimiter is none]
    #[arg(long, value_name = "CHAR", value_parser = decimal)]
    decimal: Option<Decimal>,
    /// What stands between groups of three digits
    #[arg(long, value_name = "CHAR")]
    thousands: Option<char>,
    /// Reject a file instead of repairing it
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Answer {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Zeros {
    Text,
    Number,
}

impl Options {
    /// What is known of the files.
    pub(super) fn reading(&self) -> Reading {
        Reading {
            delimiter: self.delimiter.clone(),
            quote: self.quote,
            escape: self.escape,
            comment: self.comment,
            header: self.header.map(|answer| matches!(answer, Answer::Yes)),
            skip_lines: self.skip_lines,
            encoding: self.encoding,
            leading_zeros: matches!(self.leading_zeros, Zeros::Number),
            decimal: self.decimal,
            thousands: self.thousands,
            strict: self.strict,
        }
    }
}

fn delimiter(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it must be one character or several".to_owned()),
        "tab" | "\\t" => Ok("\t".to_owned()),
        text if text.contains(['\n', '\r']) => Err("a line break ends records".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn encoding(text: &str) -> Result<Encoding, String> {
    Encoding::from_label(text).map_err(|error| error.to_string())
}

fn mark(text: &str) -> Result<Mark, String> {
    match text.as_bytes() {
        b"none" => Ok(Mark::None),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(Mark::Byte(*byte)),
        _ => Err("it must be one ASCII character, or none".to_owned()),
    }
}

fn decimal(text: &str) -> Result<Decimal, String> {
    match text {
        "." => Ok(Decimal::Point),
        "," => Ok(Decimal::Comma),
        _ => Err("it must be a point or a comma".to_owned()),
    }
}
