//! From bytes to records, in pieces of any size.
//!
//! `csv-core` tells the fields apart; around it, this module does what pandas does and a bare tokeniser does
//! not: it drops the byte order mark, skips blank lines (blanks only, unless quoted), knows the line of each
//! record and sees a quote that is never closed. Promise: records, places and errors do not depend on how
//! the bytes were cut.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::error::{Error, ErrorKind, Position};
use crate::limits::Limits;

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The first sizes of the record's buffers; they double up to the limits.
const FIELDS_BYTES_MIN: usize = 4 << 10;
const ENDS_MIN: usize = 64;

/// One record: its fields one after another, and where each ends.
pub(crate) struct Record<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) ends: &'a [usize],
    pub(crate) position: Position,
}

impl<'a> Record<'a> {
    /// The fields, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let field = &bytes[start..end];
            start = end;
            field
        })
    }
}

/// What is done with each record.
pub(crate) trait Sink {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Error>;
}

/// Where the start of the file stands: how much of a byte order mark has been seen.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Mark(usize),
    Passed,
}

/// What has been passed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) byte: u64,
    pub(crate) line: u64,
    pub(crate) records: u64,
    /// Whether the last line ended in `\r`, so that a `\n` now belongs to it.
    pub(crate) after_return: bool,
}

/// The push tokeniser.
pub(crate) struct Records {
    core: Reader,
    delimiter: u8,
    field_bytes_max: usize,
    record_bytes_max: usize,
    columns_max: usize,

    start: Start,
    has_mark: bool,
    place: Place,

    /// The record being read. `core_line` is the tokeniser's own count of line breaks at its start.
    open: Option<Position>,
    opened_by_quote: bool,
    core_line: u64,
    fields: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    ended: usize,
    checked: usize,
}

impl Records {
    pub(crate) fn new(delimiter: u8, limits: &Limits) -> Records {
        let mut core = ReaderBuilder::new().delimiter(delimiter).build();
        // The tokeniser would strip a byte order mark if it came whole in the first piece. It must never, so
        // it is past its first byte from the beginning.
        core.read_record(b"\n", &mut [0], &mut [0]);
        Records {
            core,
            delimiter,
            field_bytes_max: limits.field_bytes_max,
            record_bytes_max: limits.record_bytes_max.max(limits.field_bytes_max),
            columns_max: limits.columns_max,
            start: Start::Mark(0),
            has_mark: false,
            place: Place { byte: 0, line: 1, records: 0, after_return: false },
            open: None,
            opened_by_quote: false,
            core_line: 0,
            fields: vec![0; FIELDS_BYTES_MIN],
            filled: 0,
            ends: vec![0; ENDS_MIN],
            ended: 0,
            checked: 0,
        }
    }

    /// Whether the file began with a byte order mark.
    pub(crate) fn has_mark(&self) -> bool {
        self.has_mark
    }

    /// Where the next record begins, when none is open: then another may read on from there.
    pub(crate) fn between(&mut self) -> Option<&mut Place> {
        (self.open.is_none() && self.start == Start::Passed).then_some(&mut self.place)
    }

    /// Takes in the next piece of the file, up to the end of a record. Returns how much that was.
    pub(crate) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<usize, Error> {
        let mut input = piece;
        while let Start::Mark(seen) = self.start {
            if seen == BYTE_ORDER_MARK.len() {
                self.has_mark = true;
                self.place.byte = seen as u64;
                self.start = Start::Passed;
                break;
            }
            match input.split_first() {
                None => return Ok(piece.len()),
                Some((&byte, rest)) if byte == BYTE_ORDER_MARK[seen] => {
                    self.start = Start::Mark(seen + 1);
                    input = rest;
                }
                Some(_) => {
                    self.start = Start::Passed;
                    self.read(&BYTE_ORDER_MARK[..seen], sink)?;
                }
            }
        }
        Ok(piece.len() - input.len() + self.read(input, sink)?)
    }

    /// The end of the file: closes the last record.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) -> Result<(), Error> {
        if let Start::Mark(seen) = self.start {
            self.start = Start::Passed;
            self.has_mark = seen == BYTE_ORDER_MARK.len();
            if !self.has_mark {
                self.read(&BYTE_ORDER_MARK[..seen], sink)?;
            }
        }
        let Some(position) = self.open else { return Ok(()) };
        // One more line break closes the record, or else becomes a part of an open quote, which shows it.
        // (The tokeniser does not tell its state, and a clone of it does not work: csv-core 0.1.13 copies
        // only half of its tables.)
        let (filled, ended) = (self.filled, self.ended);
        self.read(b"\n", sink)?;
        if self.open.is_none() {
            return Ok(());
        }
        let field = if ended == 0 { 0 } else { self.ends[ended - 1] };
        let line = position.line + breaks(&self.fields[..field.min(filled)]);
        let place = Position { line, ..position };
        Err(Error::new(ErrorKind::Malformed, "a quote is opened here and never closed").at(place))
    }

    /// Reads up to the end of a record; returns how much that was.
    fn read(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<usize, Error> {
        let mut input = piece;
        while let Some(&first) = input.first() {
            if self.open.is_none() {
                if first == b'\n' || first == b'\r' {
                    self.break_line(first);
                    self.place.byte += 1;
                    input = &input[1..];
                    continue;
                }
                self.open(first);
            }
            let fields = &mut self.fields[self.filled..];
            let ends = &mut self.ends[self.ended..];
            let (result, n_in, n_out, n_ends) = self.core.read_record(input, fields, ends);
            self.filled += n_out;
            self.ended += n_ends;
            self.place.byte += n_in as u64;
            self.check()?;
            match result {
                ReadRecordResult::InputEmpty => return Ok(piece.len()),
                ReadRecordResult::OutputFull => self.grow_fields(),
                ReadRecordResult::OutputEndsFull => self.grow_ends(),
                ReadRecordResult::Record | ReadRecordResult::End => {
                    let terminator = n_in.checked_sub(1).and_then(|last| input.get(last)).copied();
                    self.emit(terminator, sink)?;
                    return Ok(piece.len() - input.len() + n_in);
                }
            }
            input = &input[n_in..];
        }
        Ok(piece.len())
    }

    /// Counts the line that `byte` ends, unless it is the second half of `\r\n`.
    fn break_line(&mut self, byte: u8) {
        if byte == b'\r' || !self.place.after_return {
            self.place.line += 1;
        }
        self.place.after_return = byte == b'\r';
    }

    fn open(&mut self, first: u8) {
        self.place.after_return = false;
        let Place { byte, line, records, .. } = self.place;
        self.open = Some(Position { record: records, line, byte });
        self.opened_by_quote = first == b'"';
        self.core_line = self.core.line();
        (self.filled, self.ended, self.checked) = (0, 0, 0);
    }

    /// Hands the record on, unless it is a blank line.
    fn emit(&mut self, terminator: Option<u8>, sink: &mut impl Sink) -> Result<(), Error> {
        let Some(position) = self.open.take() else { return Ok(()) };
        // The tokeniser counted the breaks inside quotes and, if it was one, the terminating `\n`.
        self.place.line += self.core.line() - self.core_line - u64::from(terminator == Some(b'\n'));
        if let Some(byte) = terminator {
            self.break_line(byte);
        }
        let bytes = &self.fields[..self.filled];
        let blank = |&b: &u8| (b == b' ' || b == b'\t') && b != self.delimiter;
        if self.ended == 1 && !self.opened_by_quote && bytes.iter().all(blank) {
            return Ok(());
        }
        self.place.records += 1;
        sink.record(&Record { bytes, ends: &self.ends[..self.ended], position })
    }

    /// Refuses a record that exceeds a limit. Of several, the one that was exceeded first in the file
    /// counts, however much was read at once.
    fn check(&mut self) -> Result<(), Error> {
        if self.filled <= self.field_bytes_max && self.ended <= self.columns_max {
            return Ok(());
        }
        // Where in the record's bytes each limit was passed; at the same place, bytes come before ends.
        let mut first: Option<(usize, u8)> = None;
        let mut note = |at: usize, which: u8| {
            first = Some(first.map_or((at, which), |earlier| earlier.min((at, which))));
        };
        for field in self.checked..=self.ended {
            let start = if field == 0 { 0 } else { self.ends[field - 1] };
            let end = if field < self.ended { self.ends[field] } else { self.filled };
            if end - start > self.field_bytes_max {
                note(start + self.field_bytes_max + 1, 0);
                break;
            }
        }
        self.checked = self.ended;
        if self.filled > self.record_bytes_max {
            note(self.record_bytes_max + 1, 1);
        }
        if self.ended > self.columns_max {
            note(self.ends[self.columns_max], 2);
        }
        let message = match first {
            None => return Ok(()),
            Some((_, 0)) => {
                format!("a field is longer than {} bytes; is a quote left open?", self.field_bytes_max)
            }
            Some((_, 1)) => {
                format!("a record is longer than {} bytes; is a quote left open?", self.record_bytes_max)
            }
            Some(_) => format!("a record has more than {} fields", self.columns_max),
        };
        let error = Error::new(ErrorKind::Limit, message);
        Err(self.open.map_or(error.clone(), |position| error.at(position)))
    }

    // The limit is exceeded by the byte after it, so the buffers have room for one more.

    fn grow_fields(&mut self) {
        let len = (self.fields.len() * 2).min(self.record_bytes_max + 1);
        if len > self.fields.len() {
            // Exactly so much: the budget of the memory counts on it.
            self.fields.reserve_exact(len - self.fields.len());
            self.fields.resize(len, 0);
        }
    }

    fn grow_ends(&mut self) {
        let len = (self.ends.len() * 2).min(self.columns_max + 1);
        if len > self.ends.len() {
            self.ends.resize(len, 0);
        }
    }
}

fn breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&b| b == b'\n').count() as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Sink for Nowhere {
        fn record(&mut self, _: &Record<'_>) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn buffers_never_outgrow_the_limits() {
        let limits = Limits {
            columns_max: 1_000,
            field_bytes_max: 10_000,
            record_bytes_max: 10_000,
            ..Limits::default()
        };
        for endless in [&b"x"[..], b",", b"x,"] {
            let mut records = Records::new(b',', &limits);
            let error = records.feed(&endless.repeat(50_000), &mut Nowhere).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(records.fields.capacity() <= 10_001, "{} bytes", records.fields.capacity());
            assert!(records.ends.len() <= 1_001, "{} ends", records.ends.len());
        }
    }
}
