//! How the records lie in a file: found in its first bytes.
//!
//! Promise: the layout follows from the head and the name alone. Only the layout does: no type is decided here.

use crate::format::Format;
use crate::json::read::{DEPTH_MAX, Reader, Stop};

/// How the records lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A line each; a line that is no record costs no other.
    Lines,
    /// One after another, each over as many lines as it likes.
    Values,
    /// In an array, which is the whole file.
    Array,
    /// In an array, in an object that is the whole file.
    Wrapped(Wrapped),
}

/// An object around the array of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrapped {
    /// How long the file is up to and with the bracket that opens the array.
    pub(super) opening: usize,
    /// Members of the object before the array, and the line of the first.
    pub(super) members: u64,
    pub(super) line: u64,
}

/// What the first value of the head is.
struct First<'a> {
    head: &'a [u8],
    start: usize,
    /// Where it, or what can be understood of it, ends.
    end: usize,
    result: Result<(), Stop>,
}

impl First<'_> {
    fn of(head: &[u8]) -> Option<First<'_>> {
        let mut reader = Reader { bytes: head, at: 0, last: false, lines: false };
        reader.between().ok()?;
        let start = reader.at;
        matches!(head.get(start), Some(b'{' | b'[')).then(|| {
            let result = reader.skip(DEPTH_MAX);
            First { head, start, end: reader.at, result }
        })
    }

    fn is_object(&self) -> bool {
        self.head[self.start] == b'{'
    }

    /// Whether it breaks off or goes on behind a line break.
    fn has_lines(&self) -> bool {
        self.head[self.start..self.end].contains(&b'\n')
    }

    /// What follows on its line, and what follows at all.
    fn follower(&self) -> (Option<u8>, Option<u8>) {
        let rest = &self.head[self.end..];
        let next = rest.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        (next, rest.iter().copied().find(|byte| !byte.is_ascii_whitespace()))
    }
}

/// Whether a file that begins like this is JSON, whatever its name is.
pub(crate) fn is_json(head: &[u8]) -> bool {
    First::of(head).is_some_and(|first| match first.result {
        Ok(()) => matches!(first.follower().0, None | Some(b'\n' | b'{' | b'[')),
        Err(Stop::More) => true,
        Err(_) => false,
    })
}

impl Layout {
    /// The layout of a file that begins like this. A name that says JSON Lines makes one object on one line a line.
    pub(super) fn of(head: &[u8], name: Option<Format>) -> Layout {
        let is_lines = name == Some(Format::Jsonl);
        let Some(first) = First::of(head) else {
            return if is_lines { Layout::Lines } else { Layout::Values };
        };
        let (next, follower) = first.follower();
        let in_line = !first.has_lines();
        match &first.result {
            Ok(()) if in_line && matches!(next, None | Some(b'\n')) => match follower {
                // Lines are of one kind; something else behind an array is a mistake.
                Some(_) if first.is_object() => Layout::Lines,
                Some(b'[') => Layout::Lines,
                _ if is_lines => Layout::Lines,
                Some(_) => Layout::Array,
                None => Layout::alone(&first, name),
            },
            // Something else is on the line: it is a bad one.
            Ok(()) if in_line && !matches!(next, Some(b'{' | b'[')) && (first.is_object() || is_lines) => {
                Layout::Lines
            }
            Err(Stop::More) if in_line && is_lines => Layout::Lines,
            Err(Stop::Bad(_)) if in_line && (first.is_object() || is_lines) => Layout::Lines,
            // A line was cut off, and the next is a record of its own.
            Err(Stop::Bad(_)) if is_record(head, first.end) => Layout::Lines,
            Ok(()) if first.is_object() && follower.is_some() => Layout::Values,
            Ok(()) | Err(Stop::More) => Layout::alone(&first, name),
            Err(_) if first.is_object() => Layout::Values,
            Err(_) => Layout::Array,
        }
    }

    /// The layout of a file that is one value, as far as the head shows.
    fn alone(first: &First<'_>, name: Option<Format>) -> Layout {
        if !first.is_object() {
            return Layout::Array;
        }
        match wrapped(first.head, first.start) {
            Some(wrapped) => Layout::Wrapped(wrapped),
            // Others may follow it, on lines as long as this one.
            None if first.result.is_err() && !first.has_lines() && name != Some(Format::Json) => {
                Layout::Lines
            }
            None => Layout::Values,
        }
    }
}

/// Whether an object begins here, alone on its line.
fn is_record(head: &[u8], at: usize) -> bool {
    let before = head[..at].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    let mut reader = Reader { bytes: head, at, last: false, lines: true };
    if before != Some(&b'\n') || reader.peek() != Ok(b'{') || reader.skip(DEPTH_MAX).is_err() {
        return false;
    }
    reader.blank();
    matches!(head.get(reader.at), None | Some(b'\n'))
}

/// The array of records in the object that begins here: its only array of objects, and most of what the head shows of it.
fn wrapped(head: &[u8], start: usize) -> Option<Wrapped> {
    let mut reader = Reader { bytes: head, at: start, last: false, lines: false };
    let (mut found, mut arrays, mut members, mut line) = (None, 0, 0, 1);
    // Where it ends is of no interest, but it may end in the middle of the array.
    let _ = reader.members(|reader| {
        if members == 0 {
            line += head[..reader.at].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        reader.string()?;
        reader.colon()?;
        let opening = reader.at + 1;
        let value = reader.peek()?;
        let mut inner = Reader { bytes: head, at: opening, last: false, lines: false };
        inner.blank();
        let is_table = value == b'[' && inner.peek() == Ok(b'{');
        let result = reader.skip(DEPTH_MAX);
        if is_table {
            found = Some((Wrapped { opening, members, line }, reader.at - opening));
            arrays += 1;
        }
        members += 1;
        result
    });
    let (wrapped, bytes) = found?;
    (arrays == 1 && bytes * 2 > reader.at - start).then_some(wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_the_layout() {
        let wrapped = |opening, members| Layout::Wrapped(Wrapped { opening, members, line: 1 });
        let cases = [
            ("{\"a\":1}\n{\"a\":2}\n", Layout::Lines),
            ("\u{feff}\n {\"a\":1} \r\n{\"a\":2}", Layout::Lines),
            ("[1,2]\n[3,4]\n", Layout::Lines),
            ("{\"a\":1}\n", Layout::Values),
            ("{\"a\":1}{\"a\":2}", Layout::Values),
            ("{\"a\":1} {\"a\":2}\n{\"a\":3}", Layout::Values),
            ("{\n\"a\":1\n}", Layout::Values),
            ("{\n\"a\":1", Layout::Values),
            ("{\"a\":1", Layout::Lines),
            ("{}", Layout::Values),
            ("[{\"a\":1}]", Layout::Array),
            ("[", Layout::Array),
            ("[1]\noops", Layout::Array),
            ("[\n1,\n2]\n", Layout::Array),
            ("[{\"a\":1} oops", Layout::Array),
            ("{\"a\":oops}\n{\"a\":1}\n", Layout::Lines),
            ("{\"a\":1\n{\"a\":2}\n", Layout::Lines),
            ("{\"a\":1,\n{\"a\":2}\n", Layout::Lines),
            ("{\"a\":1,\n oops}\n{\"a\":2}\n", Layout::Values),
            ("{\"d\":[\n{\"a\":1},\n{\"a\":2}\n],oops}", Layout::Values),
            ("{\"d\":[{\"a\":1},{\"a\":2}]}", wrapped(6, 0)),
            ("{\"n\":2, \"d\": [\n{\"a\":1},\n{\"a\":2},\n", wrapped(14, 1)),
            ("{\"d\":[{\"a\":1},{\"a\":2}]}\n{\"d\":[]}", Layout::Lines),
            ("{\"d\":[{\"a\":1}],\"e\":[{\"a\":1}]}", Layout::Values),
            ("{\"d\":[{\"a\":1}],\"text\":\"longer than the array\"}", Layout::Values),
            ("{\"d\":[1,2,3,4,5,6,7,8]}", Layout::Values),
            ("{\"d\":[]}", Layout::Values),
            ("", Layout::Values),
            ("1\n2\n", Layout::Values),
            ("// comment\n[\n{\"a\":1}\n]", Layout::Values),
        ];
        for (head, layout) in cases {
            assert_eq!(Layout::of(head.as_bytes(), None), layout, "{head}");
        }
        for (head, layout) in [
            ("{\"d\":[{\"a\":1},{\"a\":2}]}", Layout::Lines),
            ("{\"d\":[{\"a\":1},{\"a\":2}", Layout::Lines),
            ("[1,2]", Layout::Lines),
            ("[1,2", Layout::Lines),
            ("[\n{\"a\":1}]", Layout::Array),
            ("oops\n{\"a\":1}", Layout::Lines),
        ] {
            assert_eq!(Layout::of(head.as_bytes(), Some(Format::Jsonl)), layout, "{head}");
        }
        assert_eq!(Layout::of(b"{\"a\":1", Some(Format::Json)), Layout::Values);
    }

    #[test]
    fn what_only_looks_like_json_at_first_is_none() {
        for head in
            ["{\"a\":1}", "[", "{", "[1]\n[2]", " \n[{}]", "{\"a\":\"x", "{\"a\":1}{", "{\"a\": [1, 2"]
        {
            assert!(is_json(head.as_bytes()), "{head}");
        }
        for head in [
            "",
            "1\n",
            "\"a\"",
            "[a],b\n",
            "[2024-01-01] INFO",
            "[1] foo\n",
            "{\"a\":1},x\n",
            "{a: 1}",
            "[INFO] x",
            "{'a': 1}",
            "{\"a\":1\n{\"a\":2}",
            "[section]\nkey=1",
            "[01]",
            "{\"a\u{1}",
        ] {
            assert!(!is_json(head.as_bytes()), "{head}");
        }
    }
}
