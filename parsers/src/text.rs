//! Log lines and plain text: each line is a row.
//!
//! | column | of | what |
//! |---|---|---|
//! | `timestamp` | logs | when; see `time` |
//! | `level` | logs | `TRACE DEBUG INFO WARN ERROR FATAL`; see `entry` |
//! | `template` | logs | the line without what changes; see `template` |
//! | `continuation` | logs | whether the line belongs to the entry before: a stack trace, say |
//! | `words` | text | words between blanks |
//! | `blank` | all | whether there is nothing but blanks |
//! | `line_length` | all | bytes of UTF-8 without the line end |
//!
//! Promises: LF and CRLF end a line, a lone CR does not; what a line gives depends on that line alone, so parts merge
//! exactly and the cut of the bytes cannot matter; no line is an error, whatever its bytes and its length.

mod cells;
mod entry;
mod template;
mod time;

use memchr::{memchr, memrchr};

use crate::decode::Decode;
use crate::encoding::is_utf8;
use crate::error::Error;
use crate::format::Format;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::rows::Rows;
use crate::scalar::{Scalar, Syntax, tagged};
use crate::summary::WarningKind;
use crate::text::cells::Cells;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

const LOG_COLUMNS: [&str; 6] = ["timestamp", "level", "template", "continuation", "blank", "line_length"];
const TEXT_COLUMNS: [&str; 3] = ["words", "blank", "line_length"];

/// Lines of the head that tell a log or a table from prose.
const TELLING_LINES: usize = 100;

/// The push decoder of lines.
pub(crate) struct LinesDecoder {
    format: Format,
    rows: Rows,
    cells: Cells,
    /// A line that has begun, at most `line_bytes_max` of it.
    open: Vec<u8>,
    /// All of its bytes so far.
    open_bytes: u64,
    line_bytes_max: usize,
}

impl LinesDecoder {
    /// Of a [`Format::Log`] or [`Format::Text`].
    pub(crate) fn new(format: Format, limits: &Limits) -> LinesDecoder {
        let names: &[&str] = if format == Format::Log { &LOG_COLUMNS } else { &TEXT_COLUMNS };
        LinesDecoder {
            format,
            rows: Rows::new(names.iter().map(|name| (*name).to_owned()).collect(), Syntax::Tagged, limits),
            cells: Cells::new(names.len()),
            open: Vec::new(),
            open_bytes: 0,
            line_bytes_max: limits.field_bytes_max.max(1),
        }
    }

    /// Keeps the beginning of a line that goes on.
    fn keep(&mut self, part: &[u8]) {
        let room = self.line_bytes_max - self.open.len();
        self.open.extend_from_slice(&part[..part.len().min(room)]);
        self.open_bytes += part.len() as u64;
    }

    /// The end of the line that was kept.
    fn close(&mut self) -> Result<(), Error> {
        let (line, bytes) = (std::mem::take(&mut self.open), self.open_bytes);
        let is_broken = is_broken(&line, bytes > line.len() as u64);
        self.line(&line, bytes, is_broken)?;
        (self.open, self.open_bytes) = (line, 0);
        self.open.clear();
        Ok(())
    }

    /// Takes in a line of so many bytes, of which `line` may be only the beginning.
    fn line(&mut self, line: &[u8], mut bytes: u64, is_broken: bool) -> Result<(), Error> {
        let (mut line, number) = (line, self.rows.total + 1);
        if bytes > line.len() as u64 {
            self.rows.warnings.note(WarningKind::LineTooLong, number);
        } else if let [rest @ .., b'\r'] = line {
            (line, bytes) = (rest, bytes - 1);
        }
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            (line, bytes) = (&line[BYTE_ORDER_MARK.len()..], bytes - BYTE_ORDER_MARK.len() as u64);
        }
        if is_broken {
            self.rows.warnings.note(WarningKind::InvalidUtf8, number);
        }
        self.rows.total += 1;
        if self.format == Format::Log {
            self.cells.log(line, bytes)
        } else {
            self.cells.text(line, bytes)
        }
        if self.cells.is_full() { self.cells.flush(&mut self.rows.columns) } else { Ok(()) }
    }
}

/// Whether a line is not UTF-8. The cut of one that is too long may have split a character.
fn is_broken(line: &[u8], is_cut: bool) -> bool {
    if is_cut { !is_utf8(line) } else { str::from_utf8(line).is_err() }
}

impl Decode for LinesDecoder {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        if self.open_bytes > 0 {
            let Some(end) = memchr(b'\n', bytes) else {
                self.keep(bytes);
                return Ok(());
            };
            self.keep(&bytes[..end]);
            self.close()?;
            bytes = &bytes[end + 1..];
        }
        let whole = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let (mut lines, open) = bytes.split_at(whole);
        // Nearly always all of it is UTF-8, and then no line need be looked at.
        let is_fine = is_utf8(lines);
        while let Some(end) = memchr(b'\n', lines) {
            let line = &lines[..end];
            let shown = &line[..end.min(self.line_bytes_max)];
            let is_broken = !is_fine && is_broken(shown, shown.len() < end);
            self.line(shown, end as u64, is_broken)?;
            lines = &lines[end + 1..];
        }
        self.keep(open);
        Ok(())
    }

    fn partial(mut self: Box<Self>) -> Result<Partial, Error> {
        if self.open_bytes > 0 {
            self.close()?;
        }
        self.cells.flush(&mut self.rows.columns)?;
        drop((self.cells, self.open));
        Ok(self.rows.partial(self.format, None))
    }
}

impl Cells {
    fn log(&mut self, line: &[u8], bytes: u64) {
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        let entry = entry::read(line);
        let [time, level, template, continuation, blank, length] = self.columns() else { return };
        match &entry.time {
            Some((scalar, _)) => time.add(|token| tagged::value(token, scalar)),
            None => time.add_missing(),
        }
        match entry.level {
            Some(word) => level.add(|token| tagged::text(token, word.as_bytes())),
            None => level.add_missing(),
        }
        if is_blank || entry.is_continuation {
            template.add_missing();
        } else {
            template.add(|token| {
                tagged::text(token, b"");
                template::write(line, entry.time.map(|(_, place)| place), token);
            });
        }
        if is_blank {
            continuation.add_missing();
        } else {
            continuation.add(|token| tagged::value(token, &Scalar::Bool(entry.is_continuation)));
        }
        blank.add(|token| tagged::value(token, &Scalar::Bool(is_blank)));
        length.add(|token| tagged::value(token, &Scalar::Int(bytes as i64)));
    }

    fn text(&mut self, line: &[u8], bytes: u64) {
        let count = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
        let [words, blank, length] = self.columns() else { return };
        words.add(|token| tagged::value(token, &Scalar::Int(count as i64)));
        blank.add(|token| tagged::value(token, &Scalar::Bool(count == 0)));
        length.add(|token| tagged::value(token, &Scalar::Int(bytes as i64)));
    }
}

/// What a text that begins like this is: a log, a table, or neither.
pub(crate) fn guess(head: &[u8]) -> Format {
    let lines = || {
        let lines = head.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        lines.take(TELLING_LINES)
    };
    let (mut entries, mut logged) = (0, 0);
    for line in lines() {
        let entry = entry::read(line);
        entries += usize::from(!entry.is_continuation);
        // A time before a delimiter is the first field of a table.
        logged += usize::from(match &entry.time {
            Some((_, place)) => !matches!(line.get(place.end), Some(b',' | b';' | b'\t' | b'|')),
            None => entry.level.is_some(),
        });
    }
    if logged > 0 && logged * 2 >= entries {
        return Format::Log;
    }
    let is_table = |delimiter: u8| {
        let counts = lines().map(|line| line.iter().filter(|byte| **byte == delimiter).count());
        let mut counts: Vec<usize> = counts.collect();
        // The last line may be cut off.
        let last = if head.ends_with(b"\n") { None } else { counts.pop() };
        let first = counts.first().copied().unwrap_or(0);
        first > 0 && counts.iter().all(|count| *count == first) && last.is_none_or(|last| last <= first)
    };
    match () {
        () if is_table(b'\t') => Format::Tsv,
        () if is_table(b',') => Format::Csv,
        () => Format::Text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
