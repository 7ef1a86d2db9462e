//! From batches to records: what stands around them, their places, and what becomes of one that is none.
//!
//! Promise: records, places and errors follow from the file's bytes alone. In JSON Lines what is wrong with a line costs
//! that line, and reading goes on behind it; each byte is read once, but for the record that a batch cuts.

use memchr::{memchr, memchr_iter};

use crate::error::{Error, ErrorKind, Position};
use crate::json::batch::Batch;
use crate::json::layout::Layout;
use crate::json::paths::Paths;
use crate::json::read::{DEPTH_MAX, Reader, Stop};
use crate::json::record::{Record, Seen};
use crate::limits::Limits;
use crate::rows::Warnings;
use crate::summary::WarningKind;

/// Lines at the beginning of a file that may be no records before one is: a few are a preamble, many another format.
const BAD_FIRST_MAX: u64 = 100;

/// What comes next in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A record, or the end.
    Value,
    /// The first record of an array, or its end.
    First,
    /// A comma and a record of an array, or its end.
    Item,
    /// A comma and a member of the object around the array, or its end.
    Member,
    /// Nothing more.
    End,
}

/// What was read.
enum Unit {
    /// A record, which begins here.
    Record(usize),
    /// Something around records.
    Other,
    /// The end of what there is.
    End,
}

/// The records of a file, one after another.
pub(super) struct Records {
    layout: Layout,
    limits: Limits,
    next: Next,
    paths: Paths,
    seen: Seen,
    warnings: Warnings,
    /// Records so far.
    count: u64,
    /// The first line that is no record, as long as none is.
    first_bad: Option<Error>,
    bad: u64,
    /// Whether the rest of a line is passed over.
    skipping: bool,
    /// Bytes in front of the first record that were understood with the layout.
    opening: usize,
    /// The line and the place in the file of the byte `counted` of the batch.
    line: u64,
    byte: u64,
    counted: usize,
}

impl Records {
    pub(super) fn new(layout: Layout, limits: &Limits) -> Records {
        let mut warnings = Warnings::default();
        let (mut next, mut opening) = (Next::Value, 0);
        if let Layout::Wrapped(wrapped) = &layout {
            (next, opening) = (Next::First, wrapped.opening);
            (0..wrapped.members).for_each(|_| warnings.note(WarningKind::OutsideRecords, wrapped.line));
        }
        Records {
            layout,
            limits: limits.clone(),
            next,
            paths: Paths::new(limits),
            seen: Seen::default(),
            warnings,
            count: 0,
            first_bad: None,
            bad: 0,
            skipping: false,
            opening,
            line: 1,
            byte: 0,
            counted: Batch::BEGIN,
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// What was not read has moved to the beginning of a batch.
    pub(super) fn moved(&mut self) {
        self.counted = Batch::BEGIN;
    }

    /// Moves the place to `at`.
    fn count_lines(&mut self, batch: &Batch, at: usize) {
        let passed = &batch.bytes()[self.counted..at];
        self.line += memchr_iter(b'\n', passed).count() as u64;
        self.byte += passed.len() as u64;
        self.counted = at;
    }

    /// Reads the whole records of a batch, as long as it takes them.
    pub(super) fn read(&mut self, batch: &mut Batch, last: bool) -> Result<(), Error> {
        // Where a character is cut off at the end, each record is looked at by itself.
        let is_utf8 = str::from_utf8(batch.rest()).is_ok();
        while !batch.has_enough() {
            if self.opening > 0 {
                self.pass(batch, self.opening);
            }
            if self.opening > 0 || self.skipping && !self.skip_line(batch) {
                return Ok(());
            }
            let lines = self.layout == Layout::Lines;
            let mut cells = std::mem::take(&mut batch.cells);
            let mut reader = Reader { bytes: batch.bytes(), at: batch.at, last, lines };
            let (begin, nodes) = (cells.len(), self.paths.len());
            self.seen.restart();
            let mut record = Record {
                paths: &mut self.paths,
                cells: &mut cells,
                seen: &mut self.seen,
                limits: &self.limits,
                begin,
                repeats: false,
                lone: false,
            };
            let mut start = reader.at;
            let mut next = self.next;
            let unit = unit(&mut next, self.layout, &mut reader, &mut record, &mut start);
            let (repeats, mut lone, at) = (record.repeats, record.lone, reader.at);
            batch.cells = cells;
            match unit {
                Ok(Unit::Record(start)) => {
                    self.count_lines(batch, start);
                    let position = self.position(0);
                    let broken = !is_utf8 && str::from_utf8(&batch.bytes()[start..at]).is_err();
                    self.count_lines(batch, at);
                    match batch.end_record(&mut self.paths, begin, at) {
                        Ok(replaced) => lone |= replaced,
                        Err(stop) => return Err(refused(&stop, position)),
                    }
                    self.count += 1;
                    self.next = next;
                    for (kind, is_so) in [
                        (WarningKind::InvalidUtf8, broken),
                        (WarningKind::RepeatedKey, repeats),
                        (WarningKind::LoneSurrogate, lone),
                    ] {
                        if is_so {
                            self.warnings.note(kind, position.line);
                        }
                    }
                }
                Ok(Unit::Other) => {
                    self.count_lines(batch, at);
                    if self.next == Next::Member && next == Next::Member {
                        self.warnings.note(WarningKind::OutsideRecords, self.line);
                    }
                    self.next = next;
                    batch.at = at;
                }
                other => {
                    batch.cells.truncate(begin);
                    self.paths.forget(nodes);
                    self.count_lines(batch, start);
                    batch.at = start;
                    match other {
                        Err(stop) if stop != Stop::More => self.bad_record(&stop, batch, at)?,
                        _ => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }

    /// What is wrong `at` this place of a record: in JSON Lines the line is passed over.
    fn bad_record(&mut self, stop: &Stop, batch: &Batch, at: usize) -> Result<(), Error> {
        let position = self.position(at - self.counted);
        let Stop::Bad(wanted) = stop else { return Err(refused(stop, position)) };
        if self.layout == Layout::Lines {
            self.warnings.note(WarningKind::BadRecord, self.line);
            self.bad += 1;
            self.skipping = true;
            if self.count > 0 || (self.first_bad.is_some() && self.bad < BAD_FIRST_MAX) {
                return Ok(());
            }
        }
        let between = &batch.bytes()[self.counted..at];
        let line = position.line + memchr_iter(b'\n', between).count() as u64;
        let found = found(&batch.bytes()[at..]);
        let message = format!("no valid JSON: {wanted} was expected, not {found}");
        let error = Error::new(ErrorKind::Malformed, message).at(Position { line, ..position });
        let first = self.first_bad.get_or_insert(error);
        if self.layout == Layout::Lines && self.bad < BAD_FIRST_MAX { Ok(()) } else { Err(first.clone()) }
    }

    /// Passes the rest of a line; whether its end was there.
    fn skip_line(&mut self, batch: &mut Batch) -> bool {
        let end = memchr(b'\n', batch.rest()).map(|end| batch.at + end);
        batch.at = end.unwrap_or(batch.bytes().len());
        self.skipping = end.is_none();
        self.count_lines(batch, batch.at);
        end.is_some()
    }

    /// Passes what is there of the opening.
    fn pass(&mut self, batch: &mut Batch, bytes: usize) {
        let bytes = bytes.min(batch.rest().len());
        self.opening -= bytes;
        batch.at += bytes;
        self.count_lines(batch, batch.at);
    }

    /// So many bytes behind the place that was counted, on its line.
    fn position(&self, bytes: usize) -> Position {
        Position { record: self.count + 1, line: self.line, byte: self.byte + bytes as u64 }
    }

    pub(super) fn too_long(&self, batch: &Batch) -> Error {
        debug_assert_eq!(self.counted, batch.at);
        let message = format!("a record is longer than {} bytes", self.limits.record_bytes_max);
        Error::new(ErrorKind::Limit, message).at(self.position(0))
    }

    /// What was repaired, unless the file may not end here.
    pub(super) fn finish(mut self, batch: &Batch) -> Result<Warnings, Error> {
        let rest = batch.rest().iter().any(|byte| !byte.is_ascii_whitespace());
        match self.next {
            Next::Value if rest && !self.skipping => {
                let message = "the file ends inside of the record that begins here";
                Err(Error::new(ErrorKind::Malformed, message).at(self.position(0)))
            }
            Next::First | Next::Item | Next::Member => {
                let message = "the file ends before the array of its records does: it was cut off";
                Err(Error::new(ErrorKind::Malformed, message).at(self.position(0)))
            }
            Next::Value if self.count == 0 => Err(self.first_bad.take().unwrap_or_else(|| {
                Error::new(ErrorKind::Empty, "no records: the file is empty or holds only blanks")
            })),
            Next::Value | Next::End => Ok(self.warnings),
        }
    }
}

/// Reads what comes next; where that begins goes to `start`.
fn unit(
    next: &mut Next,
    layout: Layout,
    reader: &mut Reader<'_>,
    record: &mut Record<'_>,
    start: &mut usize,
) -> Result<Unit, Stop> {
    if matches!(*next, Next::Value | Next::End) {
        reader.between()?;
    } else {
        reader.blank();
    }
    *start = reader.at;
    if reader.is_end() {
        return Ok(Unit::End);
    }
    match *next {
        Next::Value if layout == Layout::Array => {
            if reader.peek()? != b'[' {
                return Err(Stop::Bad("an array"));
            }
            reader.at += 1;
            *next = Next::First;
            Ok(Unit::Other)
        }
        Next::Value => {
            record.read(reader)?;
            if layout == Layout::Lines {
                end_of_line(reader)?;
            }
            Ok(Unit::Record(*start))
        }
        Next::First | Next::Item => {
            match reader.peek()? {
                b']' => {
                    reader.at += 1;
                    *next = if matches!(layout, Layout::Wrapped(_)) { Next::Member } else { Next::End };
                    return Ok(Unit::Other);
                }
                _ if *next == Next::First => {}
                b',' => {
                    reader.at += 1;
                    reader.blank();
                }
                _ => return Err(Stop::Bad("a comma or a closing bracket")),
            }
            let start = reader.at;
            record.read(reader)?;
            *next = Next::Item;
            Ok(Unit::Record(start))
        }
        Next::Member => {
            match reader.peek()? {
                b'}' => *next = Next::End,
                b',' => {}
                _ => return Err(Stop::Bad("a comma or a closing brace")),
            }
            reader.at += 1;
            if *next == Next::Member {
                reader.blank();
                if reader.peek()? != b'"' {
                    return Err(Stop::Bad("a key in double quotes"));
                }
                reader.at += 1;
                reader.skip_member(DEPTH_MAX)?;
            }
            Ok(Unit::Other)
        }
        Next::End => Err(Stop::Bad("the end of the file")),
    }
}

/// Behind a record nothing may follow on its line, but for another record.
fn end_of_line(reader: &mut Reader<'_>) -> Result<(), Stop> {
    reader.blank();
    match reader.peek() {
        Ok(b'\n' | b'{' | b'[') => Ok(()),
        Err(Stop::More) if reader.last => Ok(()),
        Ok(_) => Err(Stop::Bad("the end of the line")),
        Err(stop) => Err(stop),
    }
}

/// A bound that was exceeded.
fn refused(stop: &Stop, position: Position) -> Error {
    match stop {
        Stop::Limit(message) => Error::new(ErrorKind::Limit, message.clone()).at(position),
        Stop::Bad(wanted) => Error::new(ErrorKind::Malformed, *wanted).at(position),
        Stop::More => Error::new(ErrorKind::Internal, "a record that was read has no end").at(position),
    }
}

/// What stands here, for people. Only one byte is looked at: more need not be there yet.
fn found(bytes: &[u8]) -> String {
    match bytes.first() {
        None => "the end of the file".to_owned(),
        Some(b'\n') => "the end of the line".to_owned(),
        Some(byte @ b' '..=b'~') => format!("`{}`", char::from(*byte)),
        Some(byte) => format!("the byte {byte:#04x}"),
    }
}
