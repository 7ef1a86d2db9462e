//! What can go wrong while a file is read, and where it did.
//!
//! Promise: every error says what is wrong in words a person can act on, and, when the trouble sits in the
//! data, where: record, line and byte. `kind` is what programs decide by; the words may change.

use std::fmt;

/// A place in the decompressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The record, the header being record 0.
    pub record: u64,
    /// The line, the first being line 1. Quoted line breaks count.
    pub line: u64,
    /// The offset, in bytes, of the first byte of the record; in JSON of what is wrong itself.
    pub byte: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}, line {}, byte {}", self.record, self.line, self.byte)
    }
}

/// What sort of trouble it is: the part of an error that programs decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No decoder for these bytes under this name.
    Unsupported,
    /// The bytes break the rules of their format.
    Malformed,
    /// The compressed stream is damaged or cut short.
    Corrupt,
    /// The file exceeds a bound of [`Limits`](crate::Limits).
    Limit,
    /// The file holds no header or no record, so there is nothing to summarise.
    Empty,
    /// A summary could not be written in a columnar form.
    Columnar,
    /// A defect of this crate. Never the fault of the file.
    Internal,
}

impl ErrorKind {
    /// The name of this kind in results, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Malformed => "malformed",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Limit => "limit",
            ErrorKind::Empty => "empty",
            ErrorKind::Columnar => "columnar",
            ErrorKind::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a file could not be summarised. One word wide, so that results stay small.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    kind: ErrorKind,
    message: String,
    position: Option<Position>,
}

impl Error {
    /// An error without a place: for decoders, also those of other crates.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, message: message.into(), position: None }))
    }

    /// The same error, at a place in the file.
    pub fn at(mut self, position: Position) -> Error {
        self.0.position = Some(position);
        self
    }

    /// What sort of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where in the data it is; `None` when no single place is to blame.
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.position {
            Some(position) => write!(f, "{} ({position})", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_where() {
        let place = Position { record: 3, line: 5, byte: 120 };
        let error = Error::new(ErrorKind::Malformed, "a quote is never closed").at(place);
        assert_eq!(error.to_string(), "a quote is never closed (record 3, line 5, byte 120)");
        assert_eq!(error.kind().as_str(), "malformed");
        assert_eq!(error.position(), Some(place));
    }
}
