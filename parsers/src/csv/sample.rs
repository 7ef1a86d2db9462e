//! A look at the beginning of a file under one set of marks: how even its records are, and what its cells look like.
//!
//! Pure. It looks at no more than [`SAMPLE_BYTES`] and [`RECORDS_MAX`], so that a look costs the same for every file.

use crate::csv::repair;
use crate::csv::split::{Field, Marks, Splitter, Step};
use crate::limits::Limits;
use crate::scalar::{self, Scalar};

/// The bytes that are looked at: some hundred records of most files.
pub(crate) const SAMPLE_BYTES: usize = 16 << 10;
/// The records that are looked at.
const RECORDS_MAX: usize = 200;

/// Characters that often stand between fields; one in an unquoted cell hints at the wrong delimiter.
const DELIMITERS: &[u8] = b",;\t|";

/// One record of the sample.
pub(crate) struct Seen {
    /// Where it begins in the sample.
    pub(crate) begin: usize,
    pub(crate) fields: Vec<Field>,
    /// Whether it breaks the rules of quoting.
    pub(crate) odd: bool,
}

impl Seen {
    /// How many fields it has.
    pub(crate) fn width(&self) -> usize {
        self.fields.len()
    }

    /// The text of its cells, quotes within left as they are.
    pub(crate) fn cells<'a>(&'a self, sample: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().map(|field| &sample[self.begin + field.start..self.begin + field.close])
    }
}

/// The records of a sample.
pub(crate) struct Survey {
    pub(crate) records: Vec<Seen>,
}

/// Splits the sample. `is_whole` says that the file ends with it; else its last record is left out.
pub(crate) fn survey(sample: &[u8], is_whole: bool, marks: &Marks) -> Survey {
    let limits = Limits::default();
    let mut splitter = Splitter::new(&limits);
    let mut records: Vec<Seen> = Vec::new();
    let mut begin = 0;
    while begin < sample.len() && records.len() < RECORDS_MAX {
        let rest = &sample[begin..];
        if matches!(rest[0], b'\n' | b'\r') {
            begin += 1;
            continue;
        }
        if Some(rest[0]) == marks.comment {
            begin += line_len(rest);
            continue;
        }
        splitter.restart();
        let step = splitter.advance(rest, marks, true);
        let mut len = match step {
            Step::Record { end, .. } => end,
            Step::More | Step::Over(..) => line_len(rest),
        };
        let odd = splitter.odd || splitter.is_open();
        // The next record has as many, most likely.
        let room = Vec::with_capacity(splitter.fields.len());
        let mut fields = std::mem::replace(&mut splitter.fields, room);
        if odd {
            let ruled = (!splitter.is_open()).then_some(&*fields);
            if let Some(repaired) = repair::repair(&rest[..len], ruled, marks, None, limits.columns_max) {
                fields = repaired;
                len = line_len(rest);
            }
        }
        if begin + len == sample.len() && !is_whole {
            break;
        }
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t') && *byte != marks.delimiter[0];
        if !(fields.len() == 1 && rest[..len].iter().all(is_blank)) {
            records.push(Seen { begin, fields, odd });
        }
        begin += len;
    }
    Survey { records }
}

fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len())
}

impl Survey {
    /// Whether nothing contradicts the marks: at least two records, all of the same width, no quote out of place.
    pub(crate) fn is_even(&self) -> bool {
        let width = self.records.first().map_or(0, Seen::width);
        width > 1
            && self.records.len() > 1
            && self.records.iter().all(|record| record.width() == width && !record.odd)
    }

    /// The width that most records have, but for one, and how many have it.
    pub(crate) fn usual(&self) -> Option<(usize, usize)> {
        let mut widths: Vec<usize> =
            self.records.iter().map(Seen::width).filter(|width| *width > 1).collect();
        widths.sort_unstable();
        let runs = widths.chunk_by(|a, b| a == b).map(|run| (run.len(), run[0]));
        runs.max().map(|(count, width)| (width, count))
    }

    /// How well the marks explain the sample, from 0 to 1: the part of the records that have the usual width, the
    /// part whose quotes are in place, and how many cells look like one value.
    pub(crate) fn score(&self, sample: &[u8], marks: &Marks) -> f64 {
        let Some((width, count)) = self.usual() else { return 0.0 };
        let all = self.records.len() as f64;
        let even = count as f64 / all;
        let tidy = 1.0 - self.records.iter().filter(|record| record.odd).count() as f64 / all;
        let (mut plain, mut cells) = (0.0, 0.0);
        for record in self.records.iter().filter(|record| record.width() == width) {
            for (cell, field) in record.cells(sample).zip(&record.fields) {
                cells += 1.0;
                plain += if field.quoted { 1.0 } else { simplicity(cell, marks) };
            }
        }
        even * tidy * (plain / cells) * (1.0 - 1.0 / width as f64)
    }
}

/// How much an unquoted cell looks like one value.
fn simplicity(cell: &[u8], marks: &Marks) -> f64 {
    let (mut others, mut quotes) = (false, false);
    for byte in cell {
        others |= DELIMITERS.contains(byte) && *byte != marks.delimiter[0];
        quotes |= matches!(byte, b'"') || Some(*byte) == marks.quote;
    }
    match (others, quotes) {
        _ if is_number(cell) => 1.0,
        (false, false) => 1.0,
        (true, false) => 0.6,
        (_, true) => 0.3,
    }
}

/// Whether it is a number, with a decimal point or a decimal comma.
fn is_number(cell: &[u8]) -> bool {
    let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits > 0 && cell.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b',' | b'-' | b'+'))
}

/// What a cell looks like, as far as it tells a name from a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Nothing,
    Int,
    Float,
    /// Digits among other characters: a date, a time, an amount, a code. Runs of digits are `0`, of letters `a`.
    Coded(Vec<u8>),
    Text,
}

/// Longest pattern that is a code and no text.
const CODE_BYTES_MAX: usize = 16;

impl Look {
    pub(crate) fn of(cell: &[u8]) -> Look {
        match scalar::read(cell) {
            Scalar::Null => return Look::Nothing,
            Scalar::Int(_) | Scalar::Unsigned(_) | Scalar::Huge(_) => return Look::Int,
            Scalar::Float(_) => return Look::Float,
            _ => {}
        }
        let mut pattern: Vec<u8> = Vec::with_capacity(CODE_BYTES_MAX);
        for byte in cell {
            let class = match byte {
                b'0'..=b'9' => b'0',
                byte if byte.is_ascii_alphabetic() || !byte.is_ascii() => b'a',
                byte => *byte,
            };
            let goes_on = matches!(class, b'0' | b'a') && pattern.last() == Some(&class);
            if !goes_on {
                pattern.push(class);
            }
            if pattern.len() > CODE_BYTES_MAX {
                return Look::Text;
            }
        }
        if pattern.contains(&b'0') { Look::Coded(pattern) } else { Look::Text }
    }

    /// Whether it holds digits.
    pub(crate) fn is_value(&self) -> bool {
        matches!(self, Look::Int | Look::Float | Look::Coded(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_tell_values_from_names() {
        let code = |pattern: &str| Look::Coded(pattern.as_bytes().to_vec());
        let cases = [
            ("", Look::Nothing),
            ("NA", Look::Nothing),
            ("12", Look::Int),
            ("-1.5", Look::Float),
            ("28/01/2018", code("0/0/0")),
            ("2013-01-01", code("0-0-0")),
            ("00:15", code("0:0")),
            ("MG-8769", code("a-0")),
            ("$74.69", code("$0.0")),
            ("name", Look::Text),
            ("1st of the long names of this table: a", Look::Text),
        ];
        for (cell, look) in cases {
            assert_eq!(Look::of(cell.as_bytes()), look, "{cell:?}");
        }
    }

    #[test]
    fn a_sample_without_its_end_lacks_its_last_record() {
        let marks = Marks::plain(b',', Some(b'"'));
        let widths = |text: &str, is_whole| -> Vec<usize> {
            survey(text.as_bytes(), is_whole, &marks).records.iter().map(Seen::width).collect()
        };
        assert_eq!(widths("a,b\n1,2\n3", true), [2, 2, 1]);
        assert_eq!(widths("a,b\n1,2\n3", false), [2, 2]);
        assert_eq!(widths("a,b\n\n  \n1,\"2\n3\"\n", true), [2, 2]);
    }
}
