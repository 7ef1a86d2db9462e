//! Many records at once: where every field of a stretch of the file lies.
//!
//! The fast way for what nearly all of a file is made of: whole records, shorter than a batch. What is not (the
//! header, records longer than a batch, the end of the file) takes the other way, through [`super::records`], which
//! knows every rule and limit. Promise: both ways agree, and batches follow from the file's bytes alone, never from
//! how they were cut.

use memchr::{memchr, memmem};
use wide::u8x16;

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
const FIELDS_MAX: usize = 256 << 10;
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
    /// How many of them are used.
    used: usize,
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
    within: Within,
    not_ascii: bool,
    zeros: bool,
}

/// What a block has to know of the bytes before it, where there are quotes.
#[derive(Clone, Copy, Default)]
struct Within {
    /// Whether a quote is open.
    open: bool,
    /// Whether the byte before is a quote that closes, or the first half of a doubled one.
    closed: bool,
    /// Whether the field has something between its quotes that has to be looked at: a doubled quote or a line break.
    more: bool,
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
    /// Block by block, as long as quotes are where they should be; then quote by quote.
    fn run(&mut self, bytes: &mut [u8]) {
        if self.is_comment(bytes, 0) {
            return;
        }
        for block in (0..self.filled).step_by(BLOCK) {
            let Some(window) = bytes[block..].first_chunk::<BLOCK>() else { return };
            let mut masks = Masks::of(window, self.delimiter, self.quote);
            if let left @ ..BLOCK = self.filled - block {
                masks = masks.first(left);
            }
            self.not_ascii |= masks.high != 0;
            self.zeros |= masks.zeros != 0;
            let plain = masks.quotes == 0 && !self.within.open && !self.within.closed;
            let next = if plain { self.lines(bytes, block, masks) } else { self.quotes(bytes, block, masks) };
            match next {
                Next::At(next) if next == block + BLOCK => {}
                Next::At(from) => {
                    self.see(&bytes[block..self.filled]);
                    return self.one_by_one(bytes, from);
                }
                Next::Stop => return,
            }
        }
    }

    /// Looks at what is left of the batch for bytes that are no text.
    fn see(&mut self, bytes: &[u8]) {
        self.not_ascii |= !bytes.is_ascii();
        self.zeros |= memchr(0, bytes).is_some();
    }

    /// A block without quotes, line by line.
    fn lines(&mut self, bytes: &[u8], block: usize, masks: Masks) -> Next {
        let Masks { mut delimiters, mut breaks, .. } = masks;
        loop {
            // The lowest bit. Without one, all delimiters are before it.
            let line_end = breaks & breaks.wrapping_neg();
            let before = line_end.wrapping_sub(1);
            self.plain_fields(block, delimiters & before);
            if line_end == 0 {
                return Next::At(block + BLOCK);
            }
            delimiters &= !before;
            breaks ^= line_end;
            if self.end_line(bytes, block + line_end.trailing_zeros() as usize) == Next::Stop {
                return Next::Stop;
            }
        }
    }

    /// Fields that end at these places of a block.
    #[inline]
    fn plain_fields(&mut self, block: usize, mut ends: u64) {
        let count = ends.count_ones() as usize;
        if self.count + count > self.width {
            while ends != 0 {
                let at = block + ends.trailing_zeros() as usize;
                ends &= ends - 1;
                self.push(Field { start: self.start as u32, end: at as u32 });
                self.start = at + 1;
            }
            return;
        }
        let mut start = self.start as u32;
        for field in self.room(count) {
            let end = block as u32 + ends.trailing_zeros();
            ends &= ends.wrapping_sub(1);
            *field = Field { start, end };
            start = end + 1;
        }
        self.start = start as usize;
        self.count += count;
    }

    /// A block with quotes in it, or around it. Where they are not as they should be, it ends before.
    fn quotes(&mut self, bytes: &mut [u8], block: usize, masks: Masks) -> Next {
        let Masks { delimiters, breaks, quotes, .. } = masks;
        let Within { open, closed, .. } = self.within;
        let ends = delimiters | breaks;
        let inside = parity(quotes) ^ if open { u64::MAX } else { 0 };
        let (opening, closing) = (quotes & inside, quotes & !inside);
        let behind_closing = closing << 1 | u64::from(closed);
        let begins = self.start >= block;
        let first = if begins && self.start < block + BLOCK { 1 << (self.start - block) } else { 0 };
        let may_open = (ends & !inside) << 1 | first | behind_closing;
        let wrong = (opening & !may_open) | (behind_closing & !(ends | quotes) & masks.seen);
        let more = (opening & behind_closing) | (breaks & inside);
        let right = (wrong & wrong.wrapping_neg()).wrapping_sub(1);
        let mut left = ends & !inside & right;
        // What lies before the field.
        let mut before = 0;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let at = block + bit.trailing_zeros() as usize;
            let is_more = self.within.more || more & !before & (bit - 1) != 0;
            before = bit | (bit - 1);
            self.within.more = false;
            let next = if bytes[self.start] != self.quote || self.start == at {
                if bytes[at] != self.delimiter {
                    self.end_line(bytes, at)
                } else {
                    self.push(Field { start: self.start as u32, end: at as u32 });
                    self.start = at + 1;
                    Next::At(at)
                }
            } else if is_more {
                let start = self.start;
                self.quoted(bytes, start)
            } else {
                self.push(Field { start: self.start as u32 + 1, end: at as u32 - 1 });
                self.start = at + 1;
                if bytes[at] == self.delimiter { Next::At(at) } else { self.end_record(bytes, at) }
            };
            if next == Next::Stop {
                return Next::Stop;
            }
        }
        if wrong != 0 {
            return Next::At(self.start);
        }
        self.within = Within {
            open: inside >> (BLOCK - 1) != 0,
            closed: closing >> (BLOCK - 1) != 0,
            more: self.within.more || more & !before != 0,
        };
        Next::At(block + BLOCK)
    }

    /// The rest of the batch, quote by quote: a quote within text that has none around it is text.
    fn one_by_one(&mut self, bytes: &mut [u8], from: usize) {
        let (mut block, mut from) = (from - from % BLOCK, from);
        while block < self.filled {
            let Some(window) = bytes[block..].first_chunk::<BLOCK>() else { return };
            let mut masks = Masks::of(window, self.delimiter, self.quote);
            if let left @ ..BLOCK = self.filled - block {
                masks = masks.first(left);
            }
            let mut mask = (masks.delimiters | masks.breaks | masks.quotes) & (u64::MAX << (from - block));
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

    /// The next fields.
    #[inline]
    fn room(&mut self, count: usize) -> &mut [Field] {
        let from = self.used;
        self.used += count;
        if self.used > self.fields.len() {
            self.fields.resize((self.used + BLOCK).max(2 * self.fields.len()), MISSING);
        }
        &mut self.fields[from..self.used]
    }

    fn push(&mut self, field: Field) {
        if self.count < self.width {
            self.room(1).fill(field);
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
            self.room((self.rows + 1) * self.width - self.used).fill(MISSING);
        }
        self.rows += 1;
        self.place.line += 1 + self.breaks;
        match self.next_record(bytes, at) {
            Next::At(_) if self.used >= FIELDS_MAX => Next::Stop,
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

/// For each bit, whether the number of ones up to it, itself included, is odd.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Where in a block something is: one bit a byte, the first byte's the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Masks {
    delimiters: u64,
    /// `\n` and `\r`.
    breaks: u64,
    /// None where the quote is the delimiter: then there are none.
    quotes: u64,
    zeros: u64,
    /// Bytes that are not ASCII.
    high: u64,
    /// Bytes that are there.
    seen: u64,
}

impl Masks {
    #[inline]
    fn of(block: &[u8; BLOCK], delimiter: u8, quote: u8) -> Masks {
        let mut masks = Masks { seen: u64::MAX, ..Masks::default() };
        for (part, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
            let (lane, shift) = (u8x16::new(*bytes), part * 16);
            let equal = |byte| lane.simd_eq(u8x16::splat(byte));
            let bits = |lane: u8x16| u64::from(lane.to_bitmask()) << shift;
            masks.delimiters |= bits(equal(delimiter));
            masks.breaks |= bits(equal(b'\n') | equal(b'\r'));
            masks.quotes |= bits(equal(quote));
            masks.zeros |= bits(equal(0));
            masks.high |= bits(lane);
        }
        if quote == delimiter {
            masks.quotes = 0;
        }
        masks
    }

    /// Without all but the first bytes.
    fn first(self, count: usize) -> Masks {
        let seen = u64::MAX >> (BLOCK - count);
        Masks {
            delimiters: self.delimiters & seen,
            breaks: self.breaks & seen,
            quotes: self.quotes & seen,
            zeros: self.zeros & seen,
            high: self.high & seen,
            seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_at_every_place() {
        for at in 0..BLOCK {
            let of = |byte: u8| {
                let mut block = [b'x'; BLOCK];
                block[at] = byte;
                let masks = Masks::of(&block, b',', b'"');
                let all = [masks.delimiters, masks.breaks, masks.quotes, masks.zeros, masks.high];
                assert_eq!(all.iter().map(|mask| mask.count_ones()).sum::<u32>(), 1, "{byte}");
                all.map(|mask| mask == 1 << at)
            };
            assert_eq!(of(b','), [true, false, false, false, false]);
            assert_eq!(of(b'\n'), [false, true, false, false, false]);
            assert_eq!(of(b'\r'), [false, true, false, false, false]);
            assert_eq!(of(b'"'), [false, false, true, false, false]);
            assert_eq!(of(0), [false, false, false, true, false]);
            assert_eq!(of(0x80), [false, false, false, false, true]);
        }
        let masks = Masks::of(&[b','; BLOCK], b',', b',');
        assert_eq!((masks.delimiters, masks.quotes), (u64::MAX, 0), "no quote at all");
        assert_eq!(masks.first(3).delimiters, 7);
        assert_eq!(parity(0b1001_0010), !0 << 7 | 0b1110);
    }
}
