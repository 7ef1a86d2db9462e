//! What a line of a log says about itself: when, and how bad it is.
//!
//! Promise: both are looked for at the beginning of the line only, where loggers put them; what a line says depends on
//! that line alone.

use std::ops::Range;

use crate::scalar::Scalar;
use crate::text::time;

/// How many words, and how many bytes, of a line are looked at. Before its time and level stand at most a host, a
/// program, a thread, and some numbers.
const WORDS_MAX: usize = 8;
const BYTES_MAX: usize = 256;

/// What begins a further line of the entry before, though it is not indented.
const CONTINUATIONS: [&[u8]; 3] = [b"Caused by: ", b"Suppressed: ", b"Traceback (most recent call last):"];

/// Spellings of levels, in small letters.
const LEVELS: [(&[u8], &str); 25] = [
    (b"trace", "TRACE"),
    (b"verbose", "TRACE"),
    (b"finest", "TRACE"),
    (b"finer", "TRACE"),
    (b"debug", "DEBUG"),
    (b"dbg", "DEBUG"),
    (b"fine", "DEBUG"),
    (b"info", "INFO"),
    (b"information", "INFO"),
    (b"inf", "INFO"),
    (b"notice", "INFO"),
    (b"warning", "WARN"),
    (b"warn", "WARN"),
    (b"wrn", "WARN"),
    (b"error", "ERROR"),
    (b"err", "ERROR"),
    (b"severe", "ERROR"),
    (b"fatal", "FATAL"),
    (b"ftl", "FATAL"),
    (b"critical", "FATAL"),
    (b"crit", "FATAL"),
    (b"alert", "FATAL"),
    (b"emerg", "FATAL"),
    (b"emergency", "FATAL"),
    (b"panic", "FATAL"),
];
const LEVEL_BYTES: Range<usize> = 3..12;

/// The beginning of a line, understood.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The time, and where it stands.
    pub(super) time: Option<(Scalar, Range<usize>)>,
    /// One of `TRACE DEBUG INFO WARN ERROR FATAL`.
    pub(super) level: Option<&'static str>,
    /// Whether the line belongs to the entry before.
    pub(super) is_continuation: bool,
}

/// Understands the beginning of a line.
pub(super) fn read(line: &[u8]) -> Entry {
    let mut entry = Entry::default();
    let is_indented = matches!(line.first(), Some(b' ' | b'\t'));
    if let Some((time, end)) = time::epoch(line) {
        entry.time = Some((time, 0..end));
    } else if let Some(level) = google(line) {
        entry.level = Some(level);
    }
    let head = &line[..line.len().min(BYTES_MAX)];
    let mut at = 0;
    for passed in 0..WORDS_MAX {
        // An indented line is an entry only if it begins with its time or level.
        if is_indented && passed == 1 && entry.time.is_none() && entry.level.is_none() {
            break;
        }
        at += head[at..].iter().take_while(|byte| opens(**byte)).count();
        if at == head.len() || (entry.time.is_some() && entry.level.is_some()) {
            break;
        }
        let word = at;
        at += head[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let name = &head[word..at];
        let mut value = word;
        if head.get(at) == Some(&b'=') {
            value = at + 1 + usize::from(head.get(at + 1) == Some(&b'"'));
        }
        if entry.time.is_none()
            && (value == word || is_any(name, &[b"time", b"ts", b"timestamp", b"t"]))
            && let Some((time, length)) = time::read(&line[value..])
        {
            entry.time = Some((time, value..value + length));
            at = (value + length).min(head.len());
            continue;
        }
        if entry.level.is_none() {
            entry.level = match value == word {
                true => level_at(head, word, at),
                false if is_any(name, &[b"level", b"lvl", b"severity", b"loglevel"]) => {
                    level(letters(&head[value..]))
                }
                false => None,
            };
        }
        at += head[at..].iter().take_while(|byte| !closes(**byte)).count();
    }
    entry.is_continuation = (is_indented || CONTINUATIONS.iter().any(|start| line.starts_with(start)))
        && entry.time.is_none()
        && entry.level.is_none();
    entry
}

/// What stands before a word, and what behind it.
fn opens(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'[' | b']' | b'(' | b')' | b'{' | b'<' | b'>' | b'|' | b'"' | b'-' | b':' | b'*'
    )
}

fn closes(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'[' | b']' | b'(' | b')' | b'|' | b'>')
}

/// The level that is this word: in capitals, or between brackets and the like.
fn level_at(head: &[u8], start: usize, end: usize) -> Option<&'static str> {
    if !LEVEL_BYTES.contains(&(end - start)) {
        return None;
    }
    let before = start.checked_sub(1).and_then(|at| head.get(at)).copied().unwrap_or(b' ');
    let behind = head.get(end).copied().unwrap_or(b' ');
    let is_set_off = matches!(before, b'[' | b'(' | b'<' | b'{' | b'|')
        || matches!(behind, b']' | b')' | b':' | b'|' | b'>');
    let is_whole = matches!(behind, b' ' | b'\t' | b']' | b')' | b':' | b'|' | b'>' | b'"');
    let word = &head[start..end];
    (is_whole && (is_set_off || word.iter().all(u8::is_ascii_uppercase))).then(|| level(word)).flatten()
}

fn level(word: &[u8]) -> Option<&'static str> {
    LEVELS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
}

/// `I0825 12:00:00.123456`: a letter for the level, month and day behind it.
fn google(line: &[u8]) -> Option<&'static str> {
    let [letter, digits @ ..] = line.first_chunk::<6>()?;
    if !digits[..4].iter().all(u8::is_ascii_digit) || digits[4] != b' ' {
        return None;
    }
    match letter {
        b'I' => Some("INFO"),
        b'W' => Some("WARN"),
        b'E' => Some("ERROR"),
        b'F' => Some("FATAL"),
        _ => None,
    }
}

fn letters(text: &[u8]) -> &[u8] {
    &text[..text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()]
}

fn is_any(word: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|name| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let entry = read(line.as_bytes());
        let time = entry.time.map_or("-", |(_, place)| &line[place]);
        let kind = if entry.is_continuation { " continued" } else { "" };
        format!("{time} {}{kind}", entry.level.unwrap_or("-"))
    }

    #[test]
    fn time_and_level_are_found_where_loggers_put_them() {
        let cases = [
            ("2025-08-25 12:00:00,123 INFO [main] started", "2025-08-25 12:00:00,123 INFO"),
            ("2025-08-25 12:00:00,123 - root - WARNING - careful", "2025-08-25 12:00:00,123 WARN"),
            ("[2025-08-25T12:00:00Z ERROR app::db] lost", "2025-08-25T12:00:00Z ERROR"),
            ("  2025-08-25T12:00:00Z  INFO app: indented", "2025-08-25T12:00:00Z INFO"),
            ("INFO 2025-08-25 12:00:00 x", "2025-08-25 12:00:00 INFO"),
            ("[INFO] 2025-08-25 12:00:00 x", "2025-08-25 12:00:00 INFO"),
            ("WARNING:root:careful", "- WARN"),
            ("error: could not compile", "- ERROR"),
            ("Oct 11 22:14:15 host sshd[123]: error: no key", "Oct 11 22:14:15 ERROR"),
            ("<34>1 2003-10-11T22:14:15.003Z host su - ID47 - failed", "2003-10-11T22:14:15.003Z -"),
            (
                "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 1",
                "10/Oct/2000:13:55:36 -0700 -",
            ),
            (
                "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] denied",
                "Wed Oct 11 14:32:52 2000 ERROR",
            ),
            ("2025/08/25 12:00:00 [crit] 12#0: *3 x", "2025/08/25 12:00:00 FATAL"),
            ("time=\"2025-08-25T12:00:00Z\" level=warning msg=\"x\"", "2025-08-25T12:00:00Z WARN"),
            ("ts=2025-08-25T12:00:00Z lvl=info error=ERROR", "2025-08-25T12:00:00Z INFO"),
            ("I0825 12:00:00.123456 1 main.go:23] ready", "- INFO"),
            ("1286536308.779 180 192.168.0.1 TCP_MISS/200", "1286536308.779 -"),
            ("an error occurred", "- -"),
            ("Information about INFORMATIONAL things", "- -"),
            ("a b c d e f g h ERROR", "- -"),
            ("error=none", "- -"),
            ("", "- -"),
            ("[", "- -"),
        ];
        for (line, expected) in cases {
            assert_eq!(shown(line), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_of_a_stack_trace_are_continued() {
        let cases = [
            ("\tat java.lang.Thread.run(Thread.java:750)", true),
            ("    raise ValueError(\"ERROR\")", true),
            ("Caused by: java.io.IOException: gone", true),
            ("Traceback (most recent call last):", true),
            (" ", true),
            ("    INFO indented", false),
            ("    2025-08-25 12:00 x", false),
            ("ValueError: x", false),
            ("", false),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line.as_bytes()).is_continuation, expected, "{line:?}");
        }
    }
}
