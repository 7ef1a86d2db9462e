//! Finds the fields of whole records, a block of bytes at a time.
//!
//! Promise: what it finds is what [`crate::csv::split`] would find. A block without quotes needs only to know where
//! delimiters and line breaks are; in one with quotes, every second of them closes. Where a quote is out of place, the
//! rest of the batch is looked at quote by quote.

use memchr::memchr;

use super::masks::{BLOCK, Masks, parity};
use super::{FIELDS_MAX, Field, MISSING, Oddity};
use crate::csv::records::Place;

/// The state of the scanner.
pub(super) struct Scan<'a> {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) comment: Option<u8>,
    pub(super) trailing: bool,
    pub(super) strict: bool,
    pub(super) columns_max: usize,
    pub(super) width: usize,
    pub(super) filled: usize,
    pub(super) fields: &'a mut Vec<Field>,
    /// How many of them are used.
    pub(super) used: usize,
    pub(super) odd: &'a mut Vec<(Oddity, u64)>,
    /// Where the next unescaped field goes.
    pub(super) unescaped: usize,
    pub(super) rows: usize,
    /// Line, and whether a `\n` belongs to the line break before, at the record's beginning.
    pub(super) place: Place,
    /// Line breaks within the record.
    pub(super) breaks: u64,
    /// Where the record begins; what is before is done.
    pub(super) record: usize,
    /// Where the field begins.
    pub(super) start: usize,
    /// Fields of the record so far.
    pub(super) count: usize,
    /// Whether the last field that is too many holds nothing.
    pub(super) beyond_is_empty: bool,
    pub(super) within: Within,
    pub(super) not_ascii: bool,
    pub(super) zeros: bool,
}

/// What a block has to know of the bytes before it, where there are quotes.
#[derive(Clone, Copy, Default)]
pub(super) struct Within {
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
    pub(super) fn run(&mut self, bytes: &mut [u8]) {
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
        let first = self.start.checked_sub(block).filter(|at| *at < BLOCK).map_or(0, |at| 1 << at);
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
            // Doubling would leave half of it empty, in each of many batches.
            let len = (self.used + BLOCK).max((2 * self.fields.len()).min(FIELDS_MAX));
            self.fields.reserve_exact(len - self.fields.len());
            self.fields.resize(len, MISSING);
        }
        &mut self.fields[from..self.used]
    }

    #[inline]
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
