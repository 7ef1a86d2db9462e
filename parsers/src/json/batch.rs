//! A stretch of the file, and the values of the records in it as tokens.
//!
//! Tokens are made where the values lie: the tag goes to the byte in front of a value (a quote, a colon, a blank), escapes
//! and blanks in arrays only make a value shorter. Promise: nothing is copied, and what is behind a record is untouched.

use memchr::memchr;

use crate::aggregate::Word;
use crate::json::paths::Paths;
use crate::json::read::Stop;
use crate::json::record::{Cell, Kind};
use crate::limits::Limits;
use crate::scalar::tagged;

/// Bytes of a batch: with its cells it stays in a core's own cache.
pub(super) const BATCH_BYTES: usize = 128 << 10;
/// Values of a batch: what a batch of short ones has. Only batches that had to grow have more.
const CELLS_MAX: usize = BATCH_BYTES / 2;
/// A byte in front, for the tag of a value that is the first.
const FRONT: usize = 1;
/// Bytes behind, so that a token can be read in words.
const PADDING: usize = 16;

/// A token: where it lies.
#[derive(Clone, Copy)]
struct Field {
    start: u32,
    end: u32,
}

/// A stretch of the file.
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where its bytes end, and where they end when it is full.
    filled: usize,
    limit: usize,
    limit_min: usize,
    limit_max: usize,
    /// What is before this is read.
    pub(super) at: usize,
    pub(super) cells: Vec<Cell>,
    pub(super) rows: u64,
    /// The columns that its records were the first to have.
    pub(super) names: Vec<String>,
    /// The tokens by column, and where each column's end.
    fields: Vec<Field>,
    ends: Vec<u32>,
}

impl Batch {
    /// Where its first byte lies.
    pub(super) const BEGIN: usize = FRONT;

    pub(super) fn new(limits: &Limits, bytes: usize) -> Batch {
        // Places are kept in 32 bits.
        let limit_max = limits.record_bytes_max.clamp(1, u32::MAX as usize / 2);
        let limit_min = bytes.min(BATCH_BYTES).clamp(1, limit_max);
        Batch {
            bytes: vec![0; FRONT + limit_min + PADDING],
            filled: FRONT,
            limit: FRONT + limit_min,
            limit_min,
            limit_max,
            at: FRONT,
            cells: Vec::new(),
            rows: 0,
            names: Vec::new(),
            fields: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Takes bytes until the batch is full; gives what is left.
    pub(super) fn fill<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let (now, later) = input.split_at(input.len().min(self.limit - self.filled));
        self.bytes[self.filled..][..now.len()].copy_from_slice(now);
        self.filled += now.len();
        later
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == self.limit
    }

    /// Whether it had to grow.
    pub(super) fn is_large(&self) -> bool {
        self.limit > FRONT + self.limit_min
    }

    /// Whether its values have to be taken in before more of it is read.
    pub(super) fn has_enough(&self) -> bool {
        self.cells.len() >= CELLS_MAX
    }

    /// All bytes up to the last one there is.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// The bytes that are not read yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..self.filled]
    }

    /// Begins anew, with these bytes; how large it was is forgotten.
    pub(super) fn restart(&mut self, rest: &[u8]) {
        self.clear();
        (self.filled, self.at) = (FRONT, FRONT);
        self.fill(rest);
    }

    /// Forgets what was read, and the room that is not needed any more.
    pub(super) fn move_up(&mut self) {
        self.bytes.copy_within(self.at..self.filled, FRONT);
        self.filled = self.filled - self.at + FRONT;
        self.at = FRONT;
        if self.filled < FRONT + self.limit_min {
            self.limit = FRONT + self.limit_min;
            self.bytes.truncate(self.limit + PADDING);
            self.bytes.shrink_to_fit();
            self.cells.shrink_to(CELLS_MAX);
            self.fields.shrink_to(CELLS_MAX);
        }
    }

    /// Makes room for a record that is longer; says whether it may be that long.
    pub(super) fn grow(&mut self) -> bool {
        let limit = FRONT + ((self.limit - FRONT) * 2).min(self.limit_max);
        if limit == self.limit {
            return false;
        }
        self.limit = limit;
        self.bytes.reserve_exact(limit + PADDING - self.bytes.len());
        self.bytes.resize(limit + PADDING, 0);
        true
    }

    /// Forgets the records.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.names.clear();
        self.rows = 0;
    }

    /// Makes tokens of the record that ends here and whose cells are those from `begin` on. Says whether a lone surrogate
    /// was replaced.
    pub(super) fn end_record(&mut self, paths: &mut Paths, begin: usize, end: usize) -> Result<bool, Stop> {
        let Batch { bytes, cells, names, .. } = self;
        let mut lone = false;
        let mut dropped = false;
        for cell in &mut cells[begin..] {
            if cell.kind == Kind::Dropped {
                dropped = true;
                continue;
            }
            cell.place = paths.column(cell.place, names)?;
            if cell.kind != Kind::Null {
                lone |= tokenise(bytes, cell);
            }
        }
        if dropped {
            let mut kept = begin;
            for index in begin..cells.len() {
                if cells[index].kind != Kind::Dropped {
                    cells[kept] = cells[index];
                    kept += 1;
                }
            }
            cells.truncate(kept);
        }
        self.rows += 1;
        self.at = end;
        Ok(lone)
    }

    /// Sorts the tokens by column, of which there are so many.
    pub(super) fn sort(&mut self, width: usize) {
        let tokens = || self.cells.iter().filter(|cell| cell.kind != Kind::Null);
        self.ends.clear();
        self.ends.resize(width + 1, 0);
        // First each column's count, one place further on; then where it begins, which moves to where it ends.
        tokens().for_each(|cell| self.ends[cell.place as usize + 1] += 1);
        for column in 0..width {
            self.ends[column + 1] += self.ends[column];
        }
        self.fields.clear();
        self.fields.resize(self.ends[width] as usize, Field { start: 0, end: 0 });
        for cell in tokens() {
            let next = &mut self.ends[cell.place as usize];
            self.fields[*next as usize] = Field { start: cell.start, end: cell.end };
            *next += 1;
        }
    }

    fn fields(&self, column: usize) -> &[Field] {
        let begin = column.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.fields[begin..self.ends[column] as usize]
    }

    /// The tokens of a column, from the first row to the last.
    pub(super) fn column(&self, index: usize) -> impl Iterator<Item = Word<'_>> {
        let fields = self.fields(index).iter();
        fields.map(|field| Word::within(&self.bytes, field.start as usize, field.end as usize))
    }

    /// How many rows have nothing in this column.
    pub(super) fn missing(&self, index: usize) -> u64 {
        self.rows - self.fields(index).len() as u64
    }
}

/// Makes a token of a value, tag and all. Says whether a lone surrogate was replaced.
fn tokenise(bytes: &mut [u8], cell: &mut Cell) -> bool {
    let (start, end) = (cell.start as usize, cell.end as usize);
    let mut lone = false;
    let (tag, end) = match cell.kind {
        Kind::Escaped => {
            let unescaped = unescape(bytes, start, end);
            lone = unescaped.lone;
            (tagged::TEXT, unescaped.end)
        }
        Kind::Array => (tagged::TEXT, compact(bytes, start, end)),
        Kind::Number => (tagged::NUMBER, end),
        Kind::True | Kind::False => {
            bytes[start] = u8::from(cell.kind == Kind::True);
            (tagged::BOOL, start + 1)
        }
        Kind::Text | Kind::Null | Kind::Dropped => (tagged::TEXT, end),
    };
    bytes[start - FRONT] = tag;
    (cell.start, cell.end) = ((start - FRONT) as u32, end as u32);
    lone
}

/// What became of text with escapes.
pub(super) struct Unescaped {
    pub(super) end: usize,
    /// Whether there was a surrogate without its other half.
    pub(super) lone: bool,
}

/// Replaces the escapes at `start..end` by what they stand for, which is never longer.
pub(super) fn unescape(bytes: &mut [u8], start: usize, end: usize) -> Unescaped {
    let (mut from, mut to, mut lone) = (start, start, false);
    loop {
        let run = memchr(b'\\', &bytes[from..end]).unwrap_or(end - from);
        bytes.copy_within(from..from + run, to);
        (from, to) = (from + run, to + run);
        if from >= end {
            return Unescaped { end: to, lone };
        }
        let (character, len) = escaped(&bytes[from..end]);
        lone |= character.is_none();
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        to += character.encode_utf8(&mut bytes[to..]).len();
        from = (from + len).min(end);
    }
}

/// The character of the escape in front, `None` for half of one; and how long the escape is.
fn escaped(text: &[u8]) -> (Option<char>, usize) {
    let character = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text),
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (Some(character), 2)
}

/// `\uXXXX`, or two of them that are one character.
fn unicode(text: &[u8]) -> (Option<char>, usize) {
    let unit = |at: usize| {
        let digits = str::from_utf8(text.get(at + 2..at + 6)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let high = unit(0).unwrap_or(0xd800);
    if (0xd800..0xdc00).contains(&high)
        && text.get(6..8) == Some(b"\\u")
        && let Some(low @ 0xdc00..0xe000) = unit(6)
    {
        return (char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 12);
    }
    (char::from_u32(high), 6)
}

/// Removes the blanks between the values of the array at `start..end`; says where it ends.
fn compact(bytes: &mut [u8], start: usize, end: usize) -> usize {
    let (mut to, mut quoted, mut escaped) = (start, false, false);
    for from in start..end {
        let byte = bytes[from];
        if !quoted && matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            continue;
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
        bytes[to] = byte;
        to += 1;
    }
    to
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escapes_are_those_of_serde_json(text: String, ascii: bool) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                let escape = |unit: u16| format!("\\u{unit:04x}");
                json = text.encode_utf16().map(escape).collect::<String>();
                json = format!("\"{json}\"");
            }
            let mut bytes = json.into_bytes();
            let end = bytes.len() - 1;
            let unescaped = unescape(&mut bytes, 1, end);
            prop_assert_eq!(str::from_utf8(&bytes[1..unescaped.end]).unwrap(), text);
            prop_assert!(!unescaped.lone);
        }
    }

    #[test]
    fn halves_of_characters_are_replaced() {
        for (text, expected, lone) in [
            ("\\ud83d\\ude00", "😀", false),
            ("\\ud83d", "\u{fffd}", true),
            ("a\\ude00\\ud83db", "a\u{fffd}\u{fffd}b", true),
            ("\\ud83d\\ud83d\\ude00", "\u{fffd}😀", true),
            ("\\ud83d\\n", "\u{fffd}\n", true),
            ("\\u0000\\/", "\0/", false),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            let len = bytes.len();
            let unescaped = unescape(&mut bytes, 0, len);
            let seen = (str::from_utf8(&bytes[..unescaped.end]).unwrap(), unescaped.lone);
            assert_eq!(seen, (expected, lone), "{text}");
        }
    }

    #[test]
    fn arrays_lose_their_blanks_and_nothing_else() {
        let text = "[ 1 ,\n\t\"a \\\" b\" , \" \\\\\" , { \"x\" : [ ] } ]";
        let mut bytes = text.as_bytes().to_vec();
        let len = bytes.len();
        let end = compact(&mut bytes, 0, len);
        assert_eq!(str::from_utf8(&bytes[..end]).unwrap(), r#"[1,"a \" b"," \\",{"x":[]}]"#);
    }
}
