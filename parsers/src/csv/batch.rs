//! Many records at once: where every field of a stretch of the file lies.
//!
//! The fast way for what nearly all of a file is made of: whole records, shorter than a batch. What is not (the
//! header, records longer than a batch, the end of the file) takes the other way, through [`super::records`], which
//! knows every rule and limit. Promise: both ways agree, and batches follow from the file's bytes alone, never from
//! how they were cut.

use memchr::{memchr, memmem};

use crate::aggregate::Word;
use crate::csv::dialect::Dialect;
use crate::csv::records::Place;
use crate::encoding::is_utf8;
use crate::limits::Limits;

/// Bytes of a batch: with the places of its fields it stays in a core's own cache.
pub(crate) const BATCH_BYTES: usize = 128 << 10;
/// Bytes behind the batch, so that a field can be read in words.
const PADDING: usize = 16;
/// Most fields of a batch, but for its last record: a wide table with empty lines would have a million of them.
const FIELDS_MAX: usize = 128 << 10;
/// Bytes that are looked at together.
const BLOCK: usize = 64;

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
    /// The file's bytes, `filled` of at most `limit`; behind `limit` the fields that had to be unescaped, and padding.
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
    /// How many of the bytes are whole records.
    whole: usize,
    /// Row by row, `width` of them each.
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
            bytes: vec![0; 2 * limit + PADDING + BLOCK],
            filled: 0,
            limit,
            whole: 0,
            fields: Vec::new(),
            width: 0,
            rows: 0,
            odd: Vec::new(),
        }
    }

    /// Takes bytes until the batch is full; gives what is left.
    pub(crate) fn fill<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let (now, later) = input.split_at(input.len().min(self.limit - self.filled));
        self.bytes[self.filled..][..now.len()].copy_from_slice(now);
        self.filled += now.len();
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
        self.fields.clear();
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
        Column { bytes: &self.bytes, fields: self.fields.get(index..).unwrap_or(&[]), width: self.width }
    }

    /// The values of one row; those that are missing are empty.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = &[u8]> {
        let fields = &self.fields[row * self.width..][..self.width];
        let text = |field: &Field| match *field {
            MISSING => &[][..],
            Field { start, end } => &self.bytes[start as usize..end as usize],
        };
        fields.iter().map(text)
    }

    /// The columns of the fields that are missing.
    pub(crate) fn missing(&self) -> impl Iterator<Item = usize> {
        // Nearly always there is nothing to look for.
        let fields = if self.odd.is_empty() { &[] } else { self.fields.as_slice() };
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
        if !is_utf8(self.rest()) || memchr(0, self.rest()).is_some() {
            return Found::NotText;
        }
        let filled = self.before_header();
        self.width = width;
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
            odd: &mut self.odd,
            unescaped: self.limit,
            rows: 0,
            place: *place,
            breaks: 0,
            record: 0,
            start: 0,
            count: 0,
            beyond_is_empty: false,
        };
        scan.run(&mut self.bytes);
        self.rows = scan.rows;
        *place = scan.place;
        place.byte += scan.record as u64;
        place.records += scan.rows as u64;
        self.whole = scan.record;
        self.fields.truncate(self.rows * width);
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

/// The state of the scanner.
struct Scan<'a> {
    delimiter: u8,
    quote: u8,
    comment: Option<u8>,
    trailing: bool,
    strict: bool,
    columns_max: usize,
    width: usize,
    filled: usize,
    fields: &'a mut Vec<Field>,
    odd: &'a mut Vec<(Oddity, u64)>,
    /// Where the next unescaped field goes.
    unescaped: usize,
    rows: usize,
    /// Line, and whether a `\n` belongs to the line break before, at the record's beginning.
    place: Place,
    /// Line breaks within the record.
    breaks: u64,
    /// Where the record begins; what is before is done.
    record: usize,
    /// Where the field begins.
    start: usize,
    /// Fields of the record so far.
    count: usize,
    /// Whether the last field that is too many holds nothing.
    beyond_is_empty: bool,
}

/// Whether the scanner goes on.
#[derive(PartialEq, Eq)]
enum Next {
    /// At this place.
    At(usize),
    /// Not in this batch, or not this way.
    Stop,
}

impl Scan<'_> {
    fn run(&mut self, bytes: &mut [u8]) {
        if self.is_comment(bytes, 0) {
            return;
        }
        let mut block = 0;
        // What lies before this is done with.
        let mut from = 0;
        while block < self.filled {
            let Some(window) = bytes[block..].first_chunk::<BLOCK>() else { return };
            let mut mask = specials(window, self.delimiter, self.quote) & (u64::MAX << (from - block));
            if let left @ ..BLOCK = self.filled - block {
                mask &= (1 << left) - 1;
            }
            block += BLOCK;
            from = block;
            while mask != 0 {
                let at = block - BLOCK + mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let byte = bytes[at];
                if byte == self.delimiter {
                    self.push(Field { start: self.start as u32, end: at as u32 });
                    self.start = at + 1;
                } else if byte != self.quote {
                    if self.end_line(bytes, at) == Next::Stop {
                        return;
                    }
                } else if at == self.start {
                    match self.quoted(bytes, at) {
                        Next::Stop => return,
                        Next::At(next) if next < block => mask &= u64::MAX << (next + BLOCK - block),
                        Next::At(next) => {
                            (block, from) = (next - next % BLOCK, next);
                            break;
                        }
                    }
                }
            }
        }
    }

    fn push(&mut self, field: Field) {
        if self.count < self.width {
            self.fields.push(field);
        } else {
            self.beyond_is_empty = field.start == field.end;
        }
        self.count += 1;
    }

    /// A line break outside of quotes.
    fn end_line(&mut self, bytes: &[u8], at: usize) -> Next {
        if self.count == 0 {
            let text = &bytes[self.start..at];
            let is_blank = |&byte: &u8| (byte == b' ' || byte == b'\t') && byte != self.delimiter;
            if text.iter().all(is_blank) {
                // The second half of a line break is no line.
                if bytes[at] == b'\r' || !self.place.after_return || !text.is_empty() {
                    self.place.line += 1;
                }
                return self.next_record(bytes, at);
            }
        }
        self.push(Field { start: self.start as u32, end: at as u32 });
        self.end_record(bytes, at)
    }

    #[inline]
    fn end_record(&mut self, bytes: &[u8], at: usize) -> Next {
        if self.count > self.columns_max {
            return Next::Stop;
        }
        let spare = self.trailing && self.count == self.width + 1 && self.beyond_is_empty;
        if self.count != self.width && !spare {
            if self.strict {
                return Next::Stop;
            }
            let oddity = if self.count < self.width { Oddity::TooShort } else { Oddity::TooLong };
            self.odd.push((oddity, self.place.line));
            self.fields.resize((self.rows + 1) * self.width, MISSING);
        }
        self.rows += 1;
        self.place.line += 1 + self.breaks;
        match self.next_record(bytes, at) {
            Next::At(_) if self.fields.len() >= FIELDS_MAX => Next::Stop,
            next => next,
        }
    }

    fn next_record(&mut self, bytes: &[u8], at: usize) -> Next {
        self.place.after_return = bytes[at] == b'\r';
        (self.record, self.start, self.count, self.breaks) = (at + 1, at + 1, 0, 0);
        if self.is_comment(bytes, at + 1) { Next::Stop } else { Next::At(at + 1) }
    }

    /// Whether a comment begins here, which is no record.
    fn is_comment(&self, bytes: &[u8], at: usize) -> bool {
        self.comment.is_some_and(|comment| at < self.filled && bytes[at] == comment)
    }

    /// A field that begins with a quote, up to and with the delimiter or line break that ends it. When something else
    /// follows the closing quote, the other way has to look at it.
    fn quoted(&mut self, bytes: &mut [u8], open: usize) -> Next {
        let (mut from, mut doubled) = (open + 1, false);
        let close = loop {
            let Some(quote) = memchr(self.quote, &bytes[from..self.filled]).map(|at| from + at) else {
                return Next::Stop;
            };
            // At the end it may be doubled, or not.
            if quote + 1 == self.filled {
                return Next::Stop;
            }
            if bytes[quote + 1] != self.quote {
                break quote;
            }
            (from, doubled) = (quote + 2, true);
        };
        let end = close + 1;
        if bytes[end] != self.delimiter && !matches!(bytes[end], b'\n' | b'\r') {
            return Next::Stop;
        }
        self.breaks += bytes[open + 1..close].iter().filter(|byte| **byte == b'\n').count() as u64;
        let field = if doubled { self.unescape(bytes, open + 1, close) } else { (open + 1, close) };
        self.push(Field { start: field.0 as u32, end: field.1 as u32 });
        self.start = end + 1;
        if bytes[end] == self.delimiter { Next::At(end + 1) } else { self.end_record(bytes, end) }
    }

    #[cold]
    fn unescape(&mut self, bytes: &mut [u8], start: usize, close: usize) -> (usize, usize) {
        let begin = self.unescaped;
        let mut from = start;
        while let Some(quote) = memchr(self.quote, &bytes[from..close]).map(|at| from + at) {
            self.copy(bytes, from, quote + 1);
            from = quote + 2;
        }
        self.copy(bytes, from, close);
        (begin, self.unescaped)
    }

    fn copy(&mut self, bytes: &mut [u8], start: usize, end: usize) {
        bytes.copy_within(start..end, self.unescaped);
        self.unescaped += end - start;
    }
}

/// Which of these bytes are a delimiter, a quote or a line break: one bit each, the first byte's the lowest.
fn specials(block: &[u8; BLOCK], delimiter: u8, quote: u8) -> u64 {
    let mut hits = [0_u8; BLOCK];
    for (hit, &byte) in hits.iter_mut().zip(block) {
        *hit = u8::from((byte == delimiter) | (byte == b'\n') | (byte == b'\r') | (byte == quote));
    }
    let (words, _) = hits.as_chunks::<8>();
    let bits = |word: &[u8; 8]| {
        // Moves the lowest bit of each byte into one byte, in their order.
        u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56
    };
    words.iter().rev().fold(0, |mask, word| mask << 8 | bits(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specials_are_found_at_every_place() {
        for at in 0..BLOCK {
            for special in *b",\n\r\"" {
                let mut block = [b'x'; BLOCK];
                block[at] = special;
                assert_eq!(specials(&block, b',', b'"'), 1 << at);
            }
        }
        assert_eq!(specials(&[b','; BLOCK], b',', b'"'), u64::MAX);
        assert_eq!(specials(&[0x80; BLOCK], b',', b'"'), 0);
        assert_eq!(specials(&[b','; BLOCK], b'\t', b'"'), 0);
    }
}
