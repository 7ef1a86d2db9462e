//! Many records at once: where every field of a stretch of the file lies.
//!
//! The fast way for what nearly all of a file is made of: whole records, shorter than a batch. What is not (the
//! header, records longer than a batch, the end of the file) takes the other way, through [`super::records`], which
//! knows every rule and limit. Promise: both ways agree, and batches follow from the file's bytes alone, never from
//! how they were cut.

mod masks;
mod scan;

use memchr::memmem;

use self::masks::BLOCK;
use self::scan::{Scan, Within};
use crate::aggregate::Word;
use crate::csv::dialect::Dialect;
use crate::csv::records::Place;
use crate::encoding::is_utf8;
use crate::limits::Limits;

/// Bytes of a batch: with the places of its fields it stays in a core's own cache, and the threads that share its columns
/// out wait for one another only a few thousand times a gigabyte.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// Bytes behind the batch, so that a field can be read in words.
const PADDING: usize = 16;
/// Most fields of a batch, but for its last record: a wide table with empty lines would have a million of them.
const FIELDS_MAX: usize = 64 << 10;

/// A field: where it begins in the batch and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    start: u32,
    end: u32,
}

/// What a record that is too short has instead of a field.
const MISSING: Field = Field { start: u32::MAX, end: u32::MAX };

/// Something about a record that is counted in the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    TooShort,
    TooLong,
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Whole records.
    Records,
    /// None: it is longer than a batch, or exceeds a limit, or has not ended.
    NoRecord,
    /// Bytes that are no UTF-8, or zeros, which have to be looked at record by record.
    NotText,
}

/// A stretch of the file, and the records in it.
pub(crate) struct Batch {
    /// Delimiter and quote; `None` when records must be read one by one.
    marks: Option<(u8, u8)>,
    comment: Option<u8>,
    trailing: bool,
    strict: bool,
    /// The header as it was written: where it comes again, the other way must see it.
    header: memmem::Finder<'static>,
    columns_max: usize,
    /// The file's bytes, `filled` of at most `limit`; behind them padding and the fields that had to be unescaped.
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
    /// How many of the bytes are whole records.
    whole: usize,
    /// Row by row, `width` of them each; behind those of whole records is room.
    fields: Vec<Field>,
    width: usize,
    rows: usize,
    /// Records with an oddity: which, and their line.
    pub(crate) odd: Vec<(Oddity, u64)>,
}

impl Batch {
    pub(crate) fn new(dialect: &Dialect, limits: &Limits, bytes: usize) -> Batch {
        // A record that fits into a batch exceeds no limit.
        let limit = bytes.min(BATCH_BYTES).min(limits.field_bytes_max).min(limits.record_bytes_max).max(1);
        Batch {
            marks: dialect.marks.simple(),
            comment: dialect.marks.comment,
            trailing: dialect.trailing,
            strict: dialect.strict,
            header: memmem::Finder::new(&dialect.header_line).into_owned(),
            columns_max: limits.columns_max,
            bytes: Vec::new(),
            filled: 0,
            limit,
            whole: 0,
            fields: Vec::new(),
            width: 0,
            rows: 0,
            odd: Vec::new(),
        }
    }

    /// An empty one for the same file.
    pub(crate) fn another(&self) -> Batch {
        Batch {
            header: self.header.clone(),
            bytes: Vec::new(),
            fields: Vec::new(),
            odd: Vec::new(),
            filled: 0,
            whole: 0,
            rows: 0,
            ..*self
        }
    }

    /// Takes bytes until the batch is full; gives what is left.
    pub(crate) fn fill<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let (now, later) = input.split_at(input.len().min(self.limit - self.filled));
        let filled = self.filled + now.len();
        if filled > self.bytes.len() {
            // Nothing for small files, and all there may be when a piece is not enough.
            self.bytes.resize(if self.filled == 0 { filled } else { self.limit }, 0);
        }
        self.bytes[self.filled..filled].copy_from_slice(now);
        self.filled = filled;
        later
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.limit
    }

    /// The bytes that are no whole record yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.whole..self.filled]
    }

    /// Begins anew, with these bytes.
    pub(crate) fn restart(&mut self, rest: &[u8]) {
        (self.filled, self.whole, self.rows) = (0, 0, 0);
        self.odd.clear();
        self.fill(rest);
    }

    /// Forgets the first bytes of a batch without records, which were read in another way.
    pub(crate) fn consume(&mut self, count: usize) {
        self.bytes.copy_within(count..self.filled, 0);
        self.filled -= count;
    }

    /// The tokens of one column, from the first row to the last; those that are missing are left out.
    pub(crate) fn column(&self, index: usize) -> Column<'_> {
        Column { bytes: &self.bytes, fields: self.fields().get(index..).unwrap_or(&[]), width: self.width }
    }

    fn fields(&self) -> &[Field] {
        &self.fields[..self.rows * self.width]
    }

    /// The values of one row; those that are missing are empty.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = &[u8]> {
        let fields = &self.fields()[row * self.width..][..self.width];
        let text = |field: &Field| match *field {
            MISSING => &[][..],
            Field { start, end } => &self.bytes[start as usize..end as usize],
        };
        fields.iter().map(text)
    }

    /// The columns of the fields that are missing.
    pub(crate) fn missing(&self) -> impl Iterator<Item = usize> {
        // Nearly always there is nothing to look for.
        let fields = if self.odd.is_empty() { &[] } else { self.fields() };
        let missing = fields.iter().enumerate().filter(|(_, field)| **field == MISSING);
        missing.map(|(at, _)| at % self.width)
    }

    /// How many records there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Finds the whole records, `width` fields each, and moves `place` behind them; the rest waits for more.
    pub(crate) fn scan(&mut self, width: usize, place: &mut Place) -> Found {
        let Some((delimiter, quote)) = self.marks else { return Found::NotText };
        let filled = self.before_header();
        self.width = width;
        let unescaped = self.filled + PADDING;
        // No field is longer unescaped than it was.
        let room = unescaped + self.filled + PADDING.max(BLOCK);
        if room > self.bytes.len() {
            self.bytes.resize(room, 0);
        }
        let mut scan = Scan {
            delimiter,
            quote,
            comment: self.comment,
            trailing: self.trailing,
            strict: self.strict,
            columns_max: self.columns_max,
            width,
            filled,
            fields: &mut self.fields,
            used: 0,
            odd: &mut self.odd,
            unescaped,
            rows: 0,
            place: *place,
            breaks: 0,
            record: 0,
            start: 0,
            count: 0,
            beyond_is_empty: false,
            within: Within::default(),
            not_ascii: false,
            zeros: false,
        };
        scan.run(&mut self.bytes);
        if scan.zeros || (scan.not_ascii && !is_utf8(&self.bytes[..filled])) {
            self.odd.clear();
            return Found::NotText;
        }
        self.rows = scan.rows;
        *place = scan.place;
        place.byte += scan.record as u64;
        place.records += scan.rows as u64;
        self.whole = scan.record;
        if self.whole > 0 { Found::Records } else { Found::NoRecord }
    }
}

/// The tokens of one column. (Adapters of iterators do the same at twice the cost.)
pub(crate) struct Column<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
    width: usize,
}

impl<'a> Iterator for Column<'a> {
    type Item = Word<'a>;

    #[inline]
    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            let field = *self.fields.first()?;
            self.fields = self.fields.get(self.width..).unwrap_or(&[]);
            if field != MISSING {
                return Some(Word::within(self.bytes, field.start as usize, field.end as usize));
            }
        }
    }
}

impl Batch {
    /// How far the batch goes before the header comes again.
    fn before_header(&self) -> usize {
        if self.header.needle().is_empty() {
            return self.filled;
        }
        let begins = |at: &usize| *at == 0 || matches!(self.bytes[at - 1], b'\n' | b'\r');
        self.header.find_iter(&self.bytes[..self.filled]).find(begins).unwrap_or(self.filled)
    }
}
