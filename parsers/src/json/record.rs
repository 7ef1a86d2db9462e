//! One record: which value of it belongs to which column.
//!
//! Promise: an object gives a cell for each of its values, those of nested objects included; what is no object is one cell.
//! Of keys that an object repeats the last one counts, as in Python. The number of cells is bounded.

use crate::json::paths::{Paths, ROOT};
use crate::json::read::{DEPTH_MAX, Reader, Scalar, Stop, deeper};
use crate::limits::Limits;

/// A value, and what has to be done to make a token of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text as it is.
    Text,
    /// Text with escapes.
    Escaped,
    Number,
    True,
    False,
    Null,
    /// An array: its JSON, without blanks.
    Array,
    /// Nothing: a later value took its place.
    Dropped,
}

/// A value of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Its node, and later its column.
    pub(super) place: u32,
    /// Where it lies; of text without the quotes.
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) kind: Kind,
}

/// What is gathered of a record while it is read.
pub(super) struct Record<'a> {
    pub(super) paths: &'a mut Paths,
    pub(super) cells: &'a mut Vec<Cell>,
    /// The cells of each node that has been seen in this record; kept between records for its memory.
    pub(super) seen: &'a mut Seen,
    pub(super) limits: &'a Limits,
    /// Where its cells begin.
    pub(super) begin: usize,
    pub(super) repeats: bool,
    pub(super) lone: bool,
}

/// When each node was seen last, and which cells it got.
#[derive(Default)]
pub(super) struct Seen {
    record: u64,
    of: Vec<(u64, u32, u32)>,
}

impl Seen {
    /// Nothing of the next record.
    pub(super) fn restart(&mut self) {
        self.record += 1;
    }

    /// The cells that the node got before in this record.
    #[inline]
    fn before(&self, node: u32) -> Option<(u32, u32)> {
        let &(record, begin, end) = self.of.get(node as usize)?;
        (record == self.record).then_some((begin, end))
    }

    #[inline]
    fn note(&mut self, node: u32, begin: usize, end: usize) {
        let node = node as usize;
        if node >= self.of.len() {
            self.of.resize(node + 1, (0, 0, 0));
        }
        self.of[node] = (self.record, begin as u32, end as u32);
    }
}

impl Record<'_> {
    /// Reads the record that begins here.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        match reader.peek()? {
            b'{' => self.object(reader, ROOT, DEPTH_MAX),
            // A null has nothing, like an empty object.
            b'n' => reader.skip(DEPTH_MAX),
            _ => {
                let node = self.paths.value()?;
                self.value(reader, node, DEPTH_MAX)
            }
        }
    }

    fn object(&mut self, reader: &mut Reader<'_>, parent: u32, depth: usize) -> Result<(), Stop> {
        let depth = deeper(depth)?;
        let mut previous = None;
        reader.members(|reader| {
            let key = self.paths.key(reader, parent, previous)?;
            previous = Some(key.node);
            self.lone |= key.lone;
            reader.colon()?;
            if let Some((begin, end)) = self.seen.before(key.node) {
                self.repeats = true;
                self.cells[begin as usize..end as usize]
                    .iter_mut()
                    .for_each(|cell| cell.kind = Kind::Dropped);
            }
            let begin = self.cells.len();
            self.value(reader, key.node, depth)?;
            self.seen.note(key.node, begin, self.cells.len());
            Ok(())
        })
    }

    #[inline]
    fn value(&mut self, reader: &mut Reader<'_>, node: u32, depth: usize) -> Result<(), Stop> {
        let first = reader.peek()?;
        let start = reader.at;
        let (start, end, kind) = match first {
            b'{' => return self.object(reader, node, depth),
            b'[' => {
                reader.skip(depth)?;
                (start, reader.at, Kind::Array)
            }
            _ => match reader.scalar(first)? {
                Scalar::Text(end, escaped) => {
                    (start + 1, end, if escaped { Kind::Escaped } else { Kind::Text })
                }
                Scalar::Number => (start, reader.at, Kind::Number),
                Scalar::Bool(true) => (start, reader.at, Kind::True),
                Scalar::Bool(false) => (start, reader.at, Kind::False),
                Scalar::Null => (start, reader.at, Kind::Null),
            },
        };
        if end - start > self.limits.field_bytes_max {
            return Err(Stop::too_long(self.limits));
        }
        // Twice: with repeated keys there are more values than columns.
        if self.cells.len() - self.begin >= self.limits.columns_max.saturating_mul(2) {
            return Err(Stop::Limit(format!(
                "a record has more than {} values",
                self.cells.len() - self.begin
            )));
        }
        self.cells.push(Cell { place: node, start: start as u32, end: end as u32, kind });
        Ok(())
    }
}
