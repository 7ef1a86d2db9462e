//! Which dialect of delimited text a file is written in: found in its beginning, or told.
//!
//! Pure. Promises: the same beginning gives the same dialect; what is told is never overruled; a file that pandas
//! reads evenly with its defaults is read with these defaults; types are none of its business. What contradicts the
//! dialect later in the file is the reader's to repair and to count.

use crate::csv::sample::{Look, SAMPLE_BYTES, Seen, Survey, survey};
use crate::csv::split::Marks;
use crate::reading::{Mark, Reading};
use crate::scalar::Syntax;

/// The bytes that are looked at first: when they are even under the defaults, nothing else is tried.
const QUICK_BYTES: usize = 4 << 10;
/// The rows that must bear out a header, or that there is none.
const HEADER_ROWS: usize = 50;
/// The part of the records that must have the usual width, for delimiters that text rarely holds, and for all others.
const EVEN_ENOUGH: f64 = 0.5;
const QUITE_EVEN: f64 = 0.95;
/// How much better than the defaults another reading must be.
const CLEARLY: f64 = 1.02;

/// Delimiters that are looked for, those first that are more usual.
const DELIMITERS: &[u8] = b",;\t|:^~\x1f\x01 ";
/// Those that need little evidence.
const USUAL: &[u8] = b",;\t|";

/// How a file of delimited text is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) marks: Marks,
    /// Whether the first record names the columns.
    pub(crate) header: bool,
    /// Lines above the table.
    pub(crate) skipped_lines: u64,
    /// How many fields most records have.
    pub(crate) width: Option<usize>,
    /// Whether rows have as many columns as `width` says, and the header fewer names.
    pub(crate) widen: bool,
    /// Whether rows end in a delimiter that the header has not.
    pub(crate) trailing: bool,
    /// The header as it was written; empty when it may come again as a row.
    pub(crate) header_line: Vec<u8>,
    /// Whether a defect is an error.
    pub(crate) strict: bool,
    /// What the fields mean.
    pub(crate) syntax: Syntax,
}

impl Dialect {
    /// Fields between these, as pandas reads them.
    pub(crate) fn of(delimiter: u8) -> Dialect {
        Dialect {
            marks: Marks::plain(delimiter, Some(b'"')),
            header: true,
            skipped_lines: 0,
            width: None,
            widen: false,
            trailing: false,
            header_line: Vec::new(),
            strict: false,
            syntax: Syntax::Field,
        }
    }
}

/// Whether this is the beginning of a table: several records, nearly all with the same number of fields.
pub(crate) fn looks_delimited(head: &[u8], is_whole: bool) -> bool {
    let sample = &head[..head.len().min(SAMPLE_BYTES)];
    let is_whole = is_whole && sample.len() == head.len();
    USUAL.iter().any(|&delimiter| {
        let survey = survey(sample, is_whole, &Marks::plain(delimiter, Some(b'"')));
        let records = survey.records.len();
        records > 1 && survey.usual().is_some_and(|(_, count)| count as f64 >= QUITE_EVEN * records as f64)
    })
}

/// The dialect of a file that begins like this, and ends here if it `is_whole`; `delimiter` is what its name says.
pub(crate) fn detect(head: &[u8], is_whole: bool, delimiter: u8, reading: &Reading) -> Dialect {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut dialect = Dialect::of(delimiter);
    let mut text = skip_lines(text, reading.skip_lines.unwrap_or(0));
    dialect.skipped_lines = reading.skip_lines.unwrap_or(0);
    dialect.strict = reading.strict;
    let said = separator_line(text).filter(|_| reading.delimiter.is_none());
    if let Some(delimiter) = said {
        dialect.marks.delimiter = vec![delimiter];
        dialect.skipped_lines += 1;
        text = skip_lines(text, 1);
    }
    told(&mut dialect.marks, reading);
    let sample = &text[..text.len().min(SAMPLE_BYTES)];
    let is_whole = is_whole && sample.len() == text.len();
    let quick = &sample[..sample.len().min(QUICK_BYTES)];
    let mut found = survey(quick, is_whole && quick.len() == sample.len(), &dialect.marks);
    let mut seen = quick;
    if !found.is_even() {
        (dialect.marks, found) = search(sample, is_whole, dialect.marks, said.is_some(), reading);
        seen = sample;
    }
    layout(&mut dialect, seen, found, is_whole, reading);
    dialect.syntax = reading.syntax(&dialect.marks.delimiter);
    dialect
}

/// What was told of the marks.
fn told(marks: &mut Marks, reading: &Reading) {
    if let Some(delimiter) = reading.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty()) {
        marks.delimiter = delimiter.as_bytes().to_vec();
    }
    let told = |mark: Option<Mark>, own: &mut Option<u8>| match mark {
        None => {}
        Some(Mark::None) => *own = None,
        Some(Mark::Byte(byte)) => *own = Some(byte),
    };
    told(reading.quote, &mut marks.quote);
    told(reading.escape, &mut marks.escape);
    told(reading.comment, &mut marks.comment);
    // A quote that escapes itself is a doubled one.
    marks.escape = marks.escape.filter(|escape| Some(*escape) != marks.quote);
}

/// Tries other marks; keeps these unless some are clearly better.
fn search(
    sample: &[u8],
    is_whole: bool,
    defaults: Marks,
    is_said: bool,
    reading: &Reading,
) -> (Marks, Survey) {
    let first = survey(sample, is_whole, &defaults);
    let mut least = CLEARLY * judge(&first, sample, &defaults);
    let splits_header = |survey: &Survey| survey.records.first().is_some_and(|header| header.width() > 1);
    let has_header = splits_header(&first);
    let mut best = (defaults.clone(), first);
    let mut attempt = |marks: Marks| {
        let survey = survey(sample, is_whole, &marks);
        // Ragged rows with a time in each are more even between colons; the header knows better.
        if has_header && !is_usual(&marks) && !splits_header(&survey) {
            return;
        }
        let score = judge(&survey, sample, &marks);
        if score > least {
            (least, best) = (score, (marks, survey));
        }
    };
    let is_free = reading.delimiter.is_none() && !is_said;
    let delimiters: Vec<Vec<u8>> = if is_free {
        let own = std::iter::once(defaults.delimiter.clone());
        own.chain(DELIMITERS.iter().filter(|byte| sample.contains(byte)).map(|byte| vec![*byte])).collect()
    } else {
        vec![defaults.delimiter.clone()]
    };
    for delimiter in delimiters {
        let marks = Marks { delimiter, ..defaults.clone() };
        let last = *marks.delimiter.last().unwrap_or(&b',');
        let quotes: &[u8] = if reading.quote.is_none() { b"\"'" } else { &[] };
        let used = quotes.iter().filter(|quote| opens(sample, last, **quote));
        let quotes: Vec<Option<u8>> =
            std::iter::once(marks.quote).chain(used.map(|quote| Some(*quote))).collect();
        for quote in quotes {
            let marks = Marks { quote, ..marks.clone() };
            attempt(marks.clone());
            let Some(quote) = quote else { continue };
            if last != b' ' && memchr::memmem::find(sample, &[last, b' ', quote]).is_some() {
                attempt(Marks { skip_blanks: true, ..marks.clone() });
            }
            if reading.escape.is_none() && memchr::memmem::find(sample, &[b'\\', quote]).is_some() {
                attempt(Marks { escape: Some(b'\\'), ..marks });
            }
        }
    }
    best
}

/// Whether a quote stands at the beginning of a field.
fn opens(sample: &[u8], delimiter: u8, quote: u8) -> bool {
    memchr::memchr_iter(quote, sample).any(|at| match sample[..at].last() {
        None => true,
        Some(before) => *before == delimiter || matches!(before, b'\n' | b'\r'),
    })
}

/// Whether the delimiter is one of those that need little evidence.
fn is_usual(marks: &Marks) -> bool {
    matches!(&*marks.delimiter, [byte] if USUAL.contains(byte))
}

/// The score of these marks, nothing when there is too little evidence for them.
fn judge(survey: &Survey, sample: &[u8], marks: &Marks) -> f64 {
    let Some((_, count)) = survey.usual() else { return 0.0 };
    let usual = is_usual(marks);
    let least = if usual { EVEN_ENOUGH } else { QUITE_EVEN };
    // Two lines of prose have the same number of words soon.
    if (count as f64) < least * survey.records.len() as f64 || (!usual && count < 3) {
        return 0.0;
    }
    survey.score(sample, marks)
}

/// Where the table begins, whether it has a header, and how wide it is.
fn layout(dialect: &mut Dialect, sample: &[u8], mut found: Survey, is_whole: bool, reading: &Reading) {
    let usual = found.usual().filter(|(_, count)| *count as f64 >= EVEN_ENOUGH * found.records.len() as f64);
    if let Some((width, _)) = usual {
        if reading.comment.is_none() && has_comments(&found, sample, width) {
            dialect.marks.comment = Some(b'#');
            found = survey(sample, is_whole, &dialect.marks);
        }
        if reading.skip_lines.is_none() {
            let above = preamble(&found, sample, width);
            if let Some(first) = found.records.get(above).filter(|_| above > 0) {
                dialect.skipped_lines += lines(&sample[..first.begin]);
                found.records.drain(..above);
            }
        }
        dialect.width = Some(width);
    }
    let (Some(first), rows) = (found.records.first(), found.records.get(1..).unwrap_or_default()) else {
        return;
    };
    let rows = &rows[..rows.len().min(HEADER_ROWS)];
    dialect.header = reading.header.unwrap_or_else(|| is_header(first, rows, sample));
    if !dialect.header {
        return;
    }
    if let Some(width) = dialect.width.filter(|width| *width > first.width()) {
        let last_is_empty =
            |row: &Seen| row.width() < width || row.cells(sample).last().is_some_and(<[u8]>::is_empty);
        dialect.trailing = width == first.width() + 1 && rows.iter().all(last_is_empty);
        dialect.widen = !dialect.trailing && rows.iter().all(|row| row.width() == width);
    }
    let are_names = first.width() > 1 && first.cells(sample).all(|cell| Look::of(cell) == Look::Text);
    if are_names && !first.odd {
        let end = first.fields.last().map_or(0, |field| field.end);
        dialect.header_line = sample[first.begin..first.begin + end].to_vec();
    }
}

/// Whether lines that begin with `#` are no records: they have not as many fields as the others, and their first is no
/// `#N/A`.
fn has_comments(found: &Survey, sample: &[u8], width: usize) -> bool {
    let is_null =
        |record: &Seen| record.cells(sample).next().is_none_or(|cell| Look::of(cell) == Look::Nothing);
    let mut marked = found.records.iter().filter(|record| sample[record.begin] == b'#').peekable();
    marked.peek().is_some() && marked.all(|record| record.width() != width && !is_null(record))
}

/// How many records stand above the table: titles and the like, much narrower than the table, or with nothing but
/// their first cell.
fn preamble(found: &Survey, sample: &[u8], width: usize) -> usize {
    let records = &found.records;
    let is_title = |record: &&Seen| {
        let rest = record.cells(sample).skip(1).all(<[u8]>::is_empty);
        record.width() != width && record.width() * 2 <= width || rest && (width > 2 || record.width() == 1)
    };
    let above = records.iter().take_while(is_title).count();
    let Some(first) = records.get(above).filter(|_| above > 0) else { return 0 };
    let rows = &records[above..];
    let even = rows.iter().filter(|row| row.width() == width).count() as f64;
    // A title without a table below it, or a header that is too short above bare values, is none.
    let is_named = first.width() == width && first.cells(sample).all(|cell| Look::of(cell) == Look::Text);
    if is_named && even >= EVEN_ENOUGH * rows.len() as f64 { above } else { 0 }
}

/// Whether the first record names the columns. It does, unless its cells look like the values below them: at least
/// one value is as those of its column, and no cell is otherwise than a column of values.
fn is_header(first: &Seen, rows: &[Seen], sample: &[u8]) -> bool {
    if first.width() < 2 || rows.len() < 2 {
        return true;
    }
    let names: Vec<Look> = first.cells(sample).map(Look::of).collect();
    let mut alike = 0;
    for (index, name) in names.iter().enumerate() {
        let below = rows.iter().filter_map(|row| row.cells(sample).nth(index)).map(Look::of);
        let Some(column) = common(below) else { continue };
        match name {
            Look::Nothing => {}
            name if *name == column || (*name == Look::Int && column == Look::Float) => alike += 1,
            _ => return true,
        }
    }
    alike == 0 || counts_up(&names, first, sample)
}

/// What all values of a column look like, when all are values.
fn common(looks: impl Iterator<Item = Look>) -> Option<Look> {
    let mut common: Option<Look> = None;
    for look in looks.filter(|look| *look != Look::Nothing) {
        common = match common {
            None if look.is_value() => Some(look),
            Some(known) if known == look => Some(known),
            Some(Look::Int | Look::Float) if matches!(look, Look::Int | Look::Float) => Some(Look::Float),
            _ => return None,
        };
    }
    common
}

/// Whether all numbers of a record are years, or go on by one from column to column: names of columns, after all.
fn counts_up(looks: &[Look], record: &Seen, sample: &[u8]) -> bool {
    let values = looks.iter().zip(record.cells(sample)).enumerate().filter(|(_, (look, _))| look.is_value());
    let numbers: Vec<Option<(usize, i64)>> = values
        .map(|(index, (look, cell))| {
            let number = str::from_utf8(cell).ok()?.trim().parse().ok()?;
            (*look == Look::Int).then_some((index, number))
        })
        .collect();
    let Some(numbers) = numbers.into_iter().collect::<Option<Vec<(usize, i64)>>>() else { return false };
    let years = numbers.iter().all(|(_, number)| (1900..2100).contains(number));
    let steps = numbers.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1 && pair[1].1 == pair[0].1 + 1);
    years || (numbers.len() > 1 && steps)
}

/// What a first line like `sep=;` says, as spreadsheets write it.
fn separator_line(text: &[u8]) -> Option<u8> {
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    match line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] if line.len() < text.len() => {
            Some(*delimiter)
        }
        _ => None,
    }
}

/// The text behind so many lines.
fn skip_lines(text: &[u8], count: u64) -> &[u8] {
    let mut rest = text;
    for _ in 0..count {
        let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else { return &[] };
        rest = &rest[end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }..];
    }
    rest
}

/// How many lines end here.
fn lines(text: &[u8]) -> u64 {
    let (mut count, mut rest) = (0, text);
    while !rest.is_empty() {
        (count, rest) = (count + 1, skip_lines(rest, 1));
    }
    count
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
