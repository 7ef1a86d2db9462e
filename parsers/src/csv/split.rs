//! Where the fields of one record lie: the rules of quoting, in one place.
//!
//! Promise: the same record is split alike however its bytes arrive, and whoever asks: the reader, which goes on
//! where it stopped when more bytes come, or the detection, which has them all. Nothing here knows limits of memory,
//! lines or columns' names.

use crate::limits::Limits;

/// The characters that tell fields and records apart. A record ends at LF, CR or CRLF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Between fields; never empty.
    pub(crate) delimiter: Vec<u8>,
    /// Around fields that hold delimiters, line breaks or quotes.
    pub(crate) quote: Option<u8>,
    /// In front of a character that is meant as itself. A doubled quote is always understood.
    pub(crate) escape: Option<u8>,
    /// At the start of a line that is no record.
    pub(crate) comment: Option<u8>,
    /// Whether blanks behind a delimiter are no part of the field.
    pub(crate) skip_blanks: bool,
}

impl Marks {
    /// Fields between these, quoted by this, nothing else.
    pub(crate) fn plain(delimiter: u8, quote: Option<u8>) -> Marks {
        Marks { delimiter: vec![delimiter], quote, escape: None, comment: None, skip_blanks: false }
    }

    /// The delimiter and the quote, when there is nothing else to know but comments. The quote is the delimiter when
    /// there is none.
    pub(crate) fn simple(&self) -> Option<(u8, u8)> {
        match *self.delimiter {
            [delimiter] if self.escape.is_none() && !self.skip_blanks => {
                Some((delimiter, self.quote.unwrap_or(delimiter)))
            }
            _ => None,
        }
    }

    /// Whether a delimiter begins here, where its first byte is; `None` when more bytes must tell.
    fn delimits(&self, bytes: &[u8], last: bool) -> Option<bool> {
        if let [_] = *self.delimiter {
            return Some(true);
        }
        if bytes.len() >= self.delimiter.len() {
            return Some(bytes.starts_with(&self.delimiter));
        }
        if last || !self.delimiter.starts_with(bytes) { Some(false) } else { None }
    }

    /// Whether an escape has a meaning in front of this.
    pub(crate) fn escapes(&self, byte: u8) -> bool {
        Some(byte) == self.quote
            || Some(byte) == self.escape
            || byte == self.delimiter[0]
            || matches!(byte, b'\n' | b'\r')
    }
}

/// A field of a record: `start..close` is text, of which quotes and escapes have to be undone; behind a closing quote
/// at `close` the text goes on to `end`, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) start: usize,
    pub(crate) close: usize,
    pub(crate) end: usize,
    pub(crate) quoted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first byte of a field.
    Start,
    /// In a field without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind a closing quote.
    Closed,
}

/// How far a splitter came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the end of the bytes; the record goes on.
    More,
    /// To the end of the record, whose text ends at `end`; the next one begins at `next`.
    Record { end: usize, next: usize },
    /// Over a limit, at this place.
    Over(Limit, usize),
}

/// What a record has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Bytes of one field.
    Field,
    /// Bytes.
    Record,
    /// Fields.
    Columns,
}

/// Splits one record, in as many steps as bytes arrive.
#[derive(Debug)]
pub(crate) struct Splitter {
    state: State,
    at: usize,
    start: usize,
    close: usize,
    /// The fields so far.
    pub(crate) fields: Vec<Field>,
    /// Whether text followed a closing quote.
    pub(crate) odd: bool,
    columns_max: usize,
    field_bytes_max: usize,
    record_bytes_max: usize,
}

impl Splitter {
    pub(crate) fn new(limits: &Limits) -> Splitter {
        Splitter {
            state: State::Start,
            at: 0,
            start: 0,
            close: 0,
            fields: Vec::new(),
            odd: false,
            columns_max: limits.columns_max,
            field_bytes_max: limits.field_bytes_max,
            record_bytes_max: limits.record_bytes_max.max(limits.field_bytes_max),
        }
    }

    /// Begins with another record.
    pub(crate) fn restart(&mut self) {
        (self.state, self.at, self.start, self.close, self.odd) = (State::Start, 0, 0, 0, false);
        self.fields.clear();
    }

    /// How much of the record was looked at.
    pub(crate) fn seen(&self) -> usize {
        self.at
    }

    /// Whether a quote is open.
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    /// Goes on. `bytes` begin with the record and are at least as many as before; `last` says that no more will come.
    pub(crate) fn advance(&mut self, bytes: &[u8], marks: &Marks, last: bool) -> Step {
        loop {
            let Some(&byte) = bytes.get(self.at) else { return self.out_of_bytes(bytes.len(), last) };
            match self.state {
                State::Start => {
                    if marks.skip_blanks && byte == b' ' {
                        self.at += 1;
                        self.start = self.at;
                    } else if Some(byte) == marks.quote {
                        self.at += 1;
                        (self.state, self.start) = (State::Quoted, self.at);
                    } else {
                        self.state = State::Plain;
                    }
                    continue;
                }
                State::Quoted => {
                    let next = bytes.get(self.at + 1);
                    if Some(byte) == marks.quote || Some(byte) == marks.escape {
                        match next {
                            None if !last => return self.more(self.at),
                            Some(&next) if Some(next) == marks.quote => self.at += 1,
                            Some(&next) if Some(byte) == marks.escape && next == byte => self.at += 1,
                            _ if Some(byte) == marks.quote => {
                                // While it is open, so that it does not matter how much was seen at once.
                                if let Some(step) = self.over(self.at) {
                                    return step;
                                }
                                (self.state, self.close) = (State::Closed, self.at);
                            }
                            _ => {}
                        }
                    }
                    self.at += 1;
                    continue;
                }
                State::Plain => {
                    // Most bytes have no meaning here.
                    let (rest, delimiter) = (&bytes[self.at..], marks.delimiter[0]);
                    let escape = marks.escape.unwrap_or(delimiter);
                    let means =
                        |&byte: &u8| byte == delimiter || byte == escape || byte == b'\n' || byte == b'\r';
                    let plain = rest.iter().position(means).unwrap_or(rest.len());
                    if plain > 0 {
                        self.at += plain;
                        continue;
                    }
                }
                State::Closed => {}
            }
            if byte == b'\n' || byte == b'\r' {
                return self.end(self.at, self.at + 1);
            }
            if byte == marks.delimiter[0] {
                match marks.delimits(&bytes[self.at..], last) {
                    None => return self.more(self.at),
                    Some(true) => {
                        if let Some(step) = self.push(self.at) {
                            return step;
                        }
                        self.at += marks.delimiter.len();
                        (self.state, self.start) = (State::Start, self.at);
                        continue;
                    }
                    Some(false) => {}
                }
            } else if Some(byte) == marks.escape {
                match bytes.get(self.at + 1) {
                    None if !last => return self.more(self.at),
                    Some(&next) if marks.escapes(next) => self.at += 1,
                    _ => {}
                }
            }
            if self.state == State::Closed {
                self.odd = true;
            }
            self.at += 1;
        }
    }

    fn out_of_bytes(&mut self, len: usize, last: bool) -> Step {
        if last { self.end(len, len) } else { self.more(len) }
    }

    /// The field goes on at least to this place.
    fn more(&self, at: usize) -> Step {
        self.over(at).unwrap_or(Step::More)
    }

    /// The limit that a field which goes to this place exceeds; the first one, if there are two.
    fn over(&self, at: usize) -> Option<Step> {
        // A closing quote is no part of the field.
        let closing = usize::from(self.state == State::Closed);
        let field = self.start + self.field_bytes_max + closing;
        if at > field && field <= self.record_bytes_max {
            Some(Step::Over(Limit::Field, field + 1))
        } else if at > self.record_bytes_max {
            Some(Step::Over(Limit::Record, self.record_bytes_max + 1))
        } else {
            None
        }
    }

    fn end(&mut self, end: usize, next: usize) -> Step {
        match self.push(end) {
            Some(step) => step,
            None => Step::Record { end, next },
        }
    }

    fn push(&mut self, end: usize) -> Option<Step> {
        let quoted = matches!(self.state, State::Quoted | State::Closed);
        let close = if self.state == State::Closed { self.close } else { end };
        if let Some(step) = self.over(end) {
            return Some(step);
        }
        self.fields.push(Field { start: self.start, close, end, quoted });
        (self.fields.len() > self.columns_max).then_some(Step::Over(Limit::Columns, end))
    }
}

/// The text of fields, moved together to the front of `bytes`. `ends` says where each one ends there.
pub(crate) fn unescape(bytes: &mut [u8], fields: &[Field], marks: &Marks, ends: &mut Vec<usize>) {
    ends.clear();
    let mut to = 0;
    for field in fields {
        if !field.quoted && marks.escape.is_none() {
            bytes.copy_within(field.start..field.end, to);
            to += field.end - field.start;
        } else {
            let quote = marks.quote.filter(|_| field.quoted);
            let mut at = field.start;
            while at < field.close {
                let (byte, next) = (bytes[at], bytes.get(at + 1).copied().filter(|_| at + 1 < field.close));
                let is_doubled = Some(byte) == quote && next == quote;
                let is_escaped = Some(byte) == marks.escape && next.is_some_and(|next| marks.escapes(next));
                if is_doubled || is_escaped {
                    at += 1;
                }
                bytes[to] = bytes[at];
                (to, at) = (to + 1, at + 1);
            }
            let tail = (field.close + 1).min(field.end);
            bytes.copy_within(tail..field.end, to);
            to += field.end - tail;
        }
        ends.push(to);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn texts(bytes: &[u8], fields: &[Field], marks: &Marks) -> Vec<String> {
        let (mut bytes, mut ends) = (bytes.to_vec(), Vec::new());
        unescape(&mut bytes, fields, marks, &mut ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts
            .zip(&ends)
            .map(|(start, &end)| String::from_utf8_lossy(&bytes[start..end]).into_owned())
            .collect()
    }

    fn split(text: &str, marks: &Marks) -> Vec<String> {
        let mut splitter = Splitter::new(&Limits::default());
        let step = splitter.advance(text.as_bytes(), marks, true);
        assert!(matches!(step, Step::Record { .. }), "{text:?}");
        let whole = texts(text.as_bytes(), &splitter.fields, marks);
        // Byte by byte it must be the same.
        let mut pieces = Splitter::new(&Limits::default());
        let mut steps =
            (1..=text.len()).map(|end| pieces.advance(&text.as_bytes()[..end], marks, end == text.len()));
        assert_eq!(steps.find(|step| *step != Step::More), Some(step), "{text:?}");
        assert_eq!(pieces.fields, splitter.fields, "{text:?}");
        whole
    }

    #[test]
    fn every_mark_has_its_meaning() {
        let comma = Marks::plain(b',', Some(b'"'));
        let none = Marks::plain(b',', None);
        let blanks = Marks { skip_blanks: true, ..comma.clone() };
        let bars = Marks { delimiter: b"||".to_vec(), ..comma.clone() };
        let backslash = Marks { escape: Some(b'\\'), ..comma.clone() };
        let cases: [(&Marks, &str, &[&str]); 12] = [
            (&comma, "a,\"b,\"\"c\",", &["a", "b,\"c", ""]),
            (&comma, "\"1\"x,5\" pipe", &["1x", "5\" pipe"]),
            (&comma, "\"a\nb\",c\nd", &["a\nb", "c"]),
            (&none, "\"a,b\"", &["\"a", "b\""]),
            (&blanks, "1, \"a,b\",  c", &["1", "a,b", "c"]),
            (&comma, "1, \"a\"", &["1", " \"a\""]),
            (&bars, "a||b|c||\"d||e\"", &["a", "b|c", "d||e"]),
            (&bars, "a|", &["a|"]),
            (&backslash, "\"a \\\"b\\\", c\",d", &["a \"b\", c", "d"]),
            (&backslash, "a\\,b,C:\\new,\\\\", &["a,b", "C:\\new", "\\"]),
            (&backslash, "\"a\"\"b\"", &["a\"b"]),
            (&backslash, "\"a\\\\\",b", &["a\\", "b"]),
        ];
        for (marks, text, expected) in cases {
            assert_eq!(split(text, marks), expected, "{text:?}");
        }
    }
}
