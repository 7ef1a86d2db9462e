//! From bytes to records, one by one, in pieces of any size.
//!
//! Around the splitting this module does what a table needs: it drops the byte order mark, skips the lines above the
//! table, comments and blank lines (blanks only, unless quoted), knows the line of each record, repairs quotes that
//! break the rules and keeps the limits. Promise: records, places and errors do not depend on how the bytes were cut.

use crate::csv::dialect::Dialect;
use crate::csv::repair;
use crate::csv::split::{self, Limit, Marks, Splitter, Step};
use crate::error::{Error, ErrorKind, Position};
use crate::limits::Limits;
use crate::summary::WarningKind;

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The bytes that are taken at once: so many that going back to the fast way does not cost more than reading them.
const BLOCK_BYTES: usize = 4 << 10;
/// The same for the first record: the header alone has to be read here.
const FIRST_BYTES: usize = 512;

/// An end-of-file mark of DOS.
const CONTROL_Z: u8 = 0x1a;

/// One record: its fields one after another, and where each ends.
pub(crate) struct Record<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) ends: &'a [usize],
    pub(crate) position: Position,
    /// What had to be repaired to read it.
    pub(crate) repaired: Option<WarningKind>,
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

    /// Counts what was skipped.
    fn note(&mut self, kind: WarningKind, position: Position) -> Result<(), Error>;

    /// How many fields a record should have, when that is known.
    fn width(&self) -> Option<usize>;
}

/// Where the start of the file stands.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// So much of a byte order mark has been seen.
    Mark(usize),
    /// So many lines have to be skipped.
    Lines(u64),
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

/// The push reader of records.
pub(crate) struct Records {
    marks: Marks,
    skipped_lines: u64,
    record_bytes_max: usize,
    field_bytes_max: usize,
    columns_max: usize,

    start: Start,
    has_mark: bool,
    /// Where the record begins that is being read.
    place: Place,
    /// Its bytes so far, and what was taken behind it.
    raw: Vec<u8>,
    splitter: Splitter,
    ends: Vec<usize>,
}

impl Records {
    pub(crate) fn new(dialect: &Dialect, limits: &Limits) -> Records {
        Records {
            marks: dialect.marks.clone(),
            skipped_lines: dialect.skipped_lines,
            record_bytes_max: limits.record_bytes_max.max(limits.field_bytes_max),
            field_bytes_max: limits.field_bytes_max,
            columns_max: limits.columns_max,
            start: Start::Mark(0),
            has_mark: false,
            place: Place { byte: 0, line: 1, records: 0, after_return: false },
            raw: Vec::new(),
            splitter: Splitter::new(limits),
            ends: Vec::new(),
        }
    }

    /// Whether the file began with a byte order mark.
    pub(crate) fn has_mark(&self) -> bool {
        self.has_mark
    }

    /// Where the next record begins, when none is open: then another may read on from there.
    pub(crate) fn between(&mut self) -> Option<&mut Place> {
        (self.raw.is_empty() && self.start == Start::Passed).then_some(&mut self.place)
    }

    /// Takes in the next piece of the file, at least up to the end of a record. Returns how much that was.
    pub(crate) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<usize, Error> {
        let mut taken = self.begin(piece);
        let mut emitted = false;
        while taken < piece.len() {
            let most = if self.place.records == 0 { FIRST_BYTES } else { BLOCK_BYTES };
            let block = (piece.len() - taken).min(most);
            self.grow(block);
            self.raw.extend_from_slice(&piece[taken..taken + block]);
            taken += block;
            emitted |= self.read(false, sink)?;
            // The beginning of a record is given back, if all of it is from this piece.
            if emitted && self.raw.len() <= taken {
                taken -= self.raw.len();
                self.raw.clear();
                self.splitter.restart();
                return Ok(taken);
            }
        }
        Ok(taken)
    }

    /// The end of the file: closes the last record.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) -> Result<(), Error> {
        if let Start::Mark(seen) = self.start {
            self.pass_mark(seen);
        }
        self.start = Start::Passed;
        self.read(true, sink)?;
        Ok(())
    }

    /// The byte order mark and the lines above the table; returns how much they were.
    fn begin(&mut self, piece: &[u8]) -> usize {
        let mut taken = 0;
        while self.start != Start::Passed && taken < piece.len() {
            let byte = piece[taken];
            match self.start {
                Start::Mark(seen) if byte == BYTE_ORDER_MARK[seen] => {
                    taken += 1;
                    self.start = Start::Mark(seen + 1);
                    if seen + 1 == BYTE_ORDER_MARK.len() {
                        self.pass_mark(seen + 1);
                    }
                }
                Start::Mark(seen) => self.pass_mark(seen),
                Start::Lines(_) if byte == b'\n' && self.place.after_return => {
                    self.break_line(byte);
                    (taken, self.place.byte) = (taken + 1, self.place.byte + 1);
                }
                Start::Lines(0) => self.start = Start::Passed,
                Start::Lines(left) => {
                    let ends = byte == b'\n' || byte == b'\r';
                    if ends {
                        self.break_line(byte);
                        self.start = Start::Lines(left - 1);
                    } else {
                        self.place.after_return = false;
                    }
                    (taken, self.place.byte) = (taken + 1, self.place.byte + 1);
                }
                Start::Passed => {}
            }
        }
        taken
    }

    fn pass_mark(&mut self, seen: usize) {
        self.has_mark = seen == BYTE_ORDER_MARK.len();
        if self.has_mark {
            self.place.byte = seen as u64;
        } else {
            self.raw.extend_from_slice(&BYTE_ORDER_MARK[..seen]);
        }
        self.start = if self.skipped_lines == 0 { Start::Passed } else { Start::Lines(self.skipped_lines) };
        if self.start != Start::Passed && !self.raw.is_empty() {
            // What looked like a mark is the beginning of a line that is skipped.
            self.place.byte = self.raw.len() as u64;
            self.raw.clear();
        }
    }

    /// Room for a block more: doubling, but never more than the largest record needs.
    fn grow(&mut self, block: usize) {
        let need = self.raw.len() + block;
        if need > self.raw.capacity() {
            let most = self.record_bytes_max.saturating_add(2 * BLOCK_BYTES);
            let capacity = (self.raw.capacity() * 2).min(most).max(need);
            self.raw.reserve_exact(capacity - self.raw.len());
        }
    }

    /// Reads the records that are there; says whether there was one.
    fn read(&mut self, last: bool, sink: &mut impl Sink) -> Result<bool, Error> {
        let mut emitted = false;
        // Where the record begins.
        let mut begin = 0;
        while begin < self.raw.len() {
            let first = self.raw[begin];
            if self.splitter.seen() == 0 {
                if first == b'\n' || first == b'\r' {
                    self.break_line(first);
                    (begin, self.place.byte) = (begin + 1, self.place.byte + 1);
                    continue;
                }
                if Some(first) == self.marks.comment {
                    let found = memchr::memchr2(b'\n', b'\r', &self.raw[begin..]);
                    let len = found.unwrap_or(self.raw.len() - begin);
                    if len > self.record_bytes_max {
                        return Err(self.over(Limit::Record));
                    }
                    if found.is_none() && !last {
                        break;
                    }
                    self.pass(&mut begin, len, None);
                    continue;
                }
            }
            if last && is_padding(&self.raw[begin..]) {
                sink.note(WarningKind::Padding, self.position())?;
                let len = self.raw.len() - begin;
                self.pass(&mut begin, len, None);
                continue;
            }
            let step = self.splitter.advance(&self.raw[begin..], &self.marks, last);
            match step {
                Step::More => break,
                Step::Record { end, .. } => self.emit(&mut begin, Some(end), sink)?,
                // A quote that is open over a line break is better taken for text than for the end of reading.
                Step::Over(_, at)
                    if self.splitter.is_open()
                        && memchr::memchr2(b'\n', b'\r', &self.raw[begin..begin + at]).is_some() =>
                {
                    self.emit(&mut begin, None, sink)?;
                }
                Step::Over(limit, _) => return Err(self.over(limit)),
            }
            emitted = true;
        }
        self.raw.drain(..begin.min(self.raw.len()));
        Ok(emitted)
    }

    fn position(&self) -> Position {
        let Place { byte, line, records, .. } = self.place;
        Position { record: records, line, byte }
    }

    /// Moves on to the text behind `len` bytes, whose last line is ended by what follows.
    fn pass(&mut self, begin: &mut usize, len: usize, breaks: Option<u64>) {
        *begin += len;
        self.place.byte += len as u64;
        self.place.line += breaks.unwrap_or(0);
        self.place.after_return = false;
        self.splitter.restart();
    }

    /// Counts the line that `byte` ends, unless it is the second half of `\r\n`.
    fn break_line(&mut self, byte: u8) {
        if byte == b'\r' || !self.place.after_return {
            self.place.line += 1;
        }
        self.place.after_return = byte == b'\r';
    }

    /// Gives the record to the sink, unless it is a blank line. Without an end, its first line is one.
    fn emit(&mut self, begin: &mut usize, end: Option<usize>, sink: &mut impl Sink) -> Result<(), Error> {
        let record = &self.raw[*begin..];
        let mut len = end.unwrap_or(record.len());
        let ruled = end.is_some() && !self.splitter.is_open();
        let mut repaired = None;
        if self.splitter.odd || !ruled {
            repaired = Some(if ruled { WarningKind::StrayQuote } else { WarningKind::UnclosedQuote });
            let fields = ruled.then_some(&*self.splitter.fields);
            let width = sink.width();
            match repair::repair(&record[..len], fields, &self.marks, width, self.columns_max) {
                Some(fields) => {
                    self.splitter.fields = fields;
                    len = memchr::memchr2(b'\n', b'\r', &record[..len]).unwrap_or(len);
                }
                None if !ruled => return Err(self.over(Limit::Columns)),
                None => {}
            }
        }
        let is_blank = |&byte: &u8| (byte == b' ' || byte == b'\t') && byte != self.marks.delimiter[0];
        let blank =
            matches!(&*self.splitter.fields, [only] if !only.quoted) && record[..len].iter().all(is_blank);
        if !blank {
            let breaks = memchr::memchr_iter(b'\n', &record[..len]).count() as u64;
            let position = self.position();
            let bytes = &mut self.raw[*begin..*begin + len];
            split::unescape(bytes, &self.splitter.fields, &self.marks, &mut self.ends);
            let bytes = &bytes[..self.ends.last().copied().unwrap_or(0)];
            sink.record(&Record { bytes, ends: &self.ends, position, repaired })?;
            self.place.records += 1;
            self.pass(begin, len, Some(breaks));
        } else {
            self.pass(begin, len, None);
        }
        Ok(())
    }

    /// The error of a limit that is exceeded.
    fn over(&self, limit: Limit) -> Error {
        let message = match limit {
            Limit::Field => {
                format!("a field is longer than {} bytes; is a quote left open?", self.field_bytes_max)
            }
            Limit::Record => {
                format!("a record is longer than {} bytes; is a quote left open?", self.record_bytes_max)
            }
            Limit::Columns => format!("a record has more than {} fields", self.columns_max),
        };
        Error::new(ErrorKind::Limit, message).at(self.position())
    }
}

/// What may lie behind the last record without being one: zeros of a file that was cut off, an end-of-file mark.
fn is_padding(bytes: &[u8]) -> bool {
    bytes == [CONTROL_Z] || bytes.iter().all(|byte| *byte == 0)
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

        fn note(&mut self, _: WarningKind, _: Position) -> Result<(), Error> {
            Ok(())
        }

        fn width(&self) -> Option<usize> {
            None
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
        for endless in [&b"x"[..], b",", b"x,", b"\"x"] {
            let mut records = Records::new(&Dialect::of(b','), &limits);
            let error = records.feed(&endless.repeat(50_000), &mut Nowhere).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(records.raw.capacity() <= 10_000 + 2 * BLOCK_BYTES, "{} bytes", records.raw.capacity());
            assert!(records.ends.len() <= 1_001, "{} ends", records.ends.len());
        }
    }
}
