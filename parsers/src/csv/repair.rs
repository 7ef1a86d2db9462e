//! How a record is best understood that breaks the rules of quoting.
//!
//! Pure. Promise: of all ways to split its first line, the one with as many fields as the table has columns and the
//! fewest quotes out of place; what the rules make of it, if that is as good. The search is bounded.

use crate::csv::split::{Field, Marks};

/// Chooses how to understand a record that breaks the rules of quoting: as the rules have it (`ruled`, unless a quote is
/// left open), then `None`; or its first line alone, with fields of which each quoted one ends in front of a delimiter.
/// The number of fields decides, then how many quotes stand where none belongs. A line with more fields than are
/// allowed is left alone.
pub(crate) fn repair(
    record: &[u8],
    ruled: Option<&[Field]>,
    marks: &Marks,
    width: Option<usize>,
    columns_max: usize,
) -> Option<Vec<Field>> {
    let quote = marks.quote?;
    let len = record.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(record.len());
    let line = Line::new(&record[..len], marks, quote, columns_max)?;
    let fitting = width.and_then(|width| line.split(Some(width)));
    let fits = fitting.is_some();
    let (fields, cost) = fitting.or_else(|| line.split(None)).unwrap_or_else(|| line.unquoted());
    if let Some(ruled) = ruled {
        let misfit = width.is_some_and(|width| width != ruled.len());
        // To go on in another line is as doubtful as a stray quote.
        let spans = usize::from(len < record.len());
        if (misfit, strays(record, ruled, quote) + spans) <= (width.is_some() && !fits, cost) {
            return None;
        }
    }
    Some(fields)
}

/// Quotes that neither open nor close a field, nor are doubled.
fn strays(record: &[u8], fields: &[Field], quote: u8) -> usize {
    let count = |text: &[u8]| text.iter().filter(|byte| **byte == quote).count();
    let of = |field: &Field| {
        if !field.quoted {
            return count(&record[field.start..field.end]);
        }
        let tail = (field.close + 1).min(field.end);
        usize::from(tail < field.end) + count(&record[tail..field.end])
    };
    fields.iter().map(of).sum()
}

/// A line that breaks the rules of quoting, and the places where fields may begin and end in it.
struct Line<'a> {
    text: &'a [u8],
    marks: &'a Marks,
    quote: u8,
    /// Where the delimiters begin, and the end of the line.
    ends: Vec<usize>,
}

/// Most steps of the search for the best split: enough for all but lines that are no records.
const STEPS_MAX: usize = 1 << 20;
/// Most places that are kept while searching, a megabyte of them.
const WAYS_MAX: usize = 16 << 10;

/// The best way to some place: stray quotes so far, the place before, and the field between.
type Way = Option<(usize, usize, Field)>;

impl<'a> Line<'a> {
    /// Nothing for a line with more fields than are allowed.
    fn new(text: &'a [u8], marks: &'a Marks, quote: u8, columns_max: usize) -> Option<Line<'a>> {
        let (mut ends, mut at) = (Vec::new(), 0);
        while at < text.len() {
            if ends.len() >= columns_max {
                return None;
            }
            if text[at..].starts_with(&marks.delimiter) {
                ends.push(at);
                at += marks.delimiter.len();
            } else {
                let escaped =
                    Some(text[at]) == marks.escape && text.get(at + 1).is_some_and(|b| marks.escapes(*b));
                at += if escaped { 2 } else { 1 };
            }
        }
        ends.push(text.len());
        Some(Line { text, marks, quote, ends })
    }

    /// Where the field begins whose predecessor ends at the place `index`; the first one for none.
    fn start(&self, index: Option<usize>) -> usize {
        let mut start = index.map_or(0, |index| self.ends[index] + self.marks.delimiter.len());
        while self.marks.skip_blanks && self.text.get(start) == Some(&b' ') {
            start += 1;
        }
        start
    }

    /// The split into so many fields, or into any number, with the fewest stray quotes; and how many they are.
    fn split(&self, width: Option<usize>) -> Option<(Vec<Field>, usize)> {
        let (layers, places) = (width.unwrap_or(1), self.ends.len());
        let looks = places.saturating_mul(self.text.len());
        if layers == 0 || looks > STEPS_MAX || layers.saturating_mul(places) > WAYS_MAX {
            return None;
        }
        // The best way to each place, by the number of fields if that matters.
        let mut ways: Vec<Way> = vec![None; layers * places];
        let mut steps = 0;
        for from in 0..places {
            let before = (from > 0).then(|| from - 1);
            let fields = self.fields(before);
            for layer in 0..layers {
                let cost = match before {
                    None if layer == 0 => 0,
                    None => break,
                    Some(before) => {
                        let last = if width.is_some() { layer.checked_sub(1) } else { Some(0) };
                        let way = last.and_then(|last| ways[last * places + before]);
                        let Some((cost, ..)) = way else { continue };
                        cost
                    }
                };
                steps += fields.len();
                if steps > STEPS_MAX {
                    return None;
                }
                for &(end, strays, field) in &fields {
                    let way = &mut ways[layer * places + end];
                    if way.is_none_or(|(least, ..)| cost + strays < least) {
                        *way = Some((cost + strays, from, field));
                    }
                }
            }
        }
        let (mut layer, mut place) = (layers - 1, places - 1);
        let (cost, ..) = ways[layer * places + place]?;
        let mut fields = Vec::with_capacity(layers);
        while let Some((_, from, field)) = ways[layer * places + place] {
            fields.push(field);
            if from == 0 {
                break;
            }
            place = from - 1;
            layer = if width.is_some() { layer.checked_sub(1)? } else { 0 };
        }
        fields.reverse();
        Some((fields, cost))
    }

    /// The fields that may begin behind a place: where each ends, and how many stray quotes it holds.
    fn fields(&self, before: Option<usize>) -> Vec<(usize, usize, Field)> {
        let start = self.start(before);
        let mut found = Vec::new();
        if self.text.get(start) == Some(&self.quote) {
            let (mut inner, mut at) = (0, start + 1);
            while let Some(&byte) = self.text.get(at) {
                let next = self.text.get(at + 1);
                if Some(byte) == self.marks.escape && next.is_some_and(|next| self.marks.escapes(*next)) {
                    at += 2;
                } else if byte != self.quote {
                    at += 1;
                } else {
                    let doubled = next == Some(&self.quote);
                    let close = at + usize::from(doubled);
                    if let Ok(end) = self.ends.binary_search(&(close + 1)) {
                        let field = Field { start: start + 1, close, end: close + 1, quoted: true };
                        found.push((end, inner + usize::from(doubled), field));
                    }
                    inner += usize::from(!doubled);
                    at = close + 1;
                }
            }
        }
        let end = self.ends.partition_point(|end| *end < start);
        if let Some(&stop) = self.ends.get(end) {
            let strays = self.text[start..stop].iter().filter(|byte| **byte == self.quote).count();
            found.push((end, strays, Field { start, close: stop, end: stop, quoted: false }));
        }
        found
    }

    /// Every quote taken for text.
    fn unquoted(&self) -> (Vec<Field>, usize) {
        let places = 0..self.ends.len();
        let field = |place: usize| {
            let start = self.start(place.checked_sub(1)).min(self.ends[place]);
            Field { start, close: self.ends[place], end: self.ends[place], quoted: false }
        };
        let strays = self.text.iter().filter(|byte| **byte == self.quote).count();
        (places.map(field).collect(), strays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::split::{Splitter, tests::texts};
    use crate::limits::Limits;

    #[test]
    fn a_record_is_repaired_by_its_width_and_the_fewest_stray_quotes() {
        let marks = Marks::plain(b',', Some(b'"'));
        let cases: [(&str, usize, &[&str]); 9] = [
            // As pandas reads it.
            ("\"ann\"x,1", 2, &["annx", "1"]),
            // An opening quote that nothing closes.
            ("1,\"9,a,\"b, c\",d", 5, &["1", "\"9", "a", "b, c", "d"]),
            ("\"a,b,\"c\"", 3, &["\"a", "b", "c"]),
            // A quote too many in front.
            ("1,\"\"a, b\",\"c\"", 3, &["1", "\"a, b", "c"]),
            // Quotes in text that were not doubled.
            ("1,\"round 48\"\",\"made, here\",x", 4, &["1", "round 48\"", "made, here", "x"]),
            ("1,\"a 5\" pipe, blue\",x", 3, &["1", "a 5\" pipe, blue", "x"]),
            // A quote that would swallow the next line.
            ("a,b,\"\n1,2,\"c\"", 3, &["a", "b", "\""]),
            ("\"x\"\"", 1, &["x\""]),
            ("\"\"\"", 1, &["\""]),
        ];
        for (text, width, expected) in cases {
            let mut splitter = Splitter::new(&Limits::default());
            splitter.advance(text.as_bytes(), &marks, true);
            let ruled = (!splitter.is_open()).then_some(&*splitter.fields);
            let found = match repair(text.as_bytes(), ruled, &marks, Some(width), 100) {
                None => texts(text.as_bytes(), &splitter.fields, &marks),
                Some(fields) => texts(text.as_bytes(), &fields, &marks),
            };
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
