//! The template of a line: what is left of it when the parts that change are replaced.
//!
//! The rule looks at one line and nothing else. Known miners of templates (Drain and its kin; Spell) learn from the lines
//! before: what they say depends on the order of the lines, and what two of them say about two parts of a file cannot be
//! merged into what one says about the whole. Here a template can be counted, merged and explained, and costs one pass.
//! The price: a word that changes (a name, say) makes different templates.
//!
//! | replaced | by |
//! |---|---|
//! | the time of the entry | `<time>` |
//! | text in quotes, the quotes included | `<str>` |
//! | a UUID | `<uuid>` |
//! | an address of IPv4, of IPv6, of a network card | `<ip>`, `<mac>` |
//! | what stands behind `://`; a path that begins with `/`, or a drive's with `\` | `<path>` |
//! | `0x` and hexadecimal digits; six of them or more, letters among them | `<hex>` |
//! | a word of sixteen characters or more with a digit, or with digits in three places | `<id>` |
//! | other digits; points and commas between them belong to them | `<n>` |
//!
//! Promise: the template is valid UTF-8 where the line is, and at most [`TEMPLATE_BYTES_MAX`] bytes.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// Most bytes of a template; a longer one is cut. Beyond it nobody reads, and each different one is kept.
pub(super) const TEMPLATE_BYTES_MAX: usize = 1 << 10;

/// Shorter words of hexadecimal digits may be numbers with a unit, or words.
const HEX_BYTES_MIN: usize = 6;

/// Longer words with a digit are taken for identifiers.
const ID_BYTES_MIN: usize = 16;

/// So many runs of digits make an identifier of a word.
const ID_RUNS_MIN: usize = 3;

/// How far the groups of a UUID or an address may go: the longest is IPv6 with an IPv4 address at its end.
const GROUPS_BYTES_MAX: usize = 45;

/// Writes the template of a line behind what `out` holds. `time` is where its time stands.
pub(super) fn write(line: &[u8], time: Option<Range<usize>>, out: &mut Vec<u8>) {
    let most = out.len() + TEMPLATE_BYTES_MAX;
    let parts = match time {
        Some(time) => [&line[..time.start], &line[time.end..]],
        None => [&line[..0], line],
    };
    for (index, part) in parts.into_iter().enumerate() {
        if index == 1 && part.len() < line.len() {
            out.extend_from_slice(b"<time>");
        }
        Masks { text: part, done: 0, out, most }.run();
    }
    if out.len() > most {
        let is_within = |byte: &u8| matches!(byte, 0x80..=0xbf);
        let split = out[..=most].iter().rev().take(4).take_while(|byte| is_within(byte)).count();
        out.truncate(most - split);
    }
}

/// What a byte may be the beginning of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Digit,
    Quote,
    Slash,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut byte = b'0';
    while byte <= b'9' {
        classes[byte as usize] = Class::Digit;
        byte += 1;
    }
    classes[b'"' as usize] = Class::Quote;
    classes[b'\'' as usize] = Class::Quote;
    classes[b'/' as usize] = Class::Slash;
    classes[b'\\' as usize] = Class::Slash;
    classes
};

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// A part of a line on its way into the template.
struct Masks<'a> {
    text: &'a [u8],
    /// What is before this is written.
    done: usize,
    out: &'a mut Vec<u8>,
    most: usize,
}

impl Masks<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while let Some(next) = self.next(at) {
            at = next;
            if self.out.len() + (at - self.done) > self.most {
                break;
            }
            at = match class(self.text[at]) {
                Class::Digit => self.digit(at),
                Class::Quote => self.quote(at),
                _ => self.slash(at),
            };
        }
        let rest = &self.text[self.done..];
        // One byte too many shows that it was cut.
        let room = (self.most + 1).saturating_sub(self.out.len());
        self.out.extend_from_slice(&rest[..rest.len().min(room)]);
    }

    /// The next byte that is not plain.
    fn next(&self, mut at: usize) -> Option<usize> {
        let is_plain = |byte: &u8| class(*byte) == Class::Plain;
        while let Some(four) = self.text.get(at..).and_then(|rest| rest.first_chunk::<4>())
            && four.iter().fold(true, |plain, byte| plain & is_plain(byte))
        {
            at += 4;
        }
        self.text.get(at..)?.iter().position(|byte| !is_plain(byte)).map(|passed| at + passed)
    }

    /// Writes what is before `place`, and `mask` in place of it; says where to go on.
    fn replace(&mut self, place: Range<usize>, mask: &[u8]) -> usize {
        self.out.extend_from_slice(&self.text[self.done..place.start]);
        self.out.extend_from_slice(mask);
        self.done = place.end;
        place.end
    }

    fn before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).map(|before| self.text[before])
    }

    fn digit(&mut self, at: usize) -> usize {
        let text = self.text;
        let start = at - text[self.done..at].iter().rev().take_while(|byte| is_word(**byte)).count();
        let end = at + text[at..].iter().take_while(|byte| is_word(**byte)).count();
        let word = &text[start..end];
        let joins = |byte: Option<u8>| matches!(byte, Some(b':' | b'-'));
        if (joins(text.get(end).copied()) || joins(self.before(start)))
            && let Some((place, mask)) = self.groups(start, end)
        {
            return self.replace(place, mask);
        }
        if word.iter().all(u8::is_ascii_digit) {
            return self.number(start, end);
        }
        if let [b'0', b'x' | b'X', digits @ ..] = word
            && digits.iter().all(u8::is_ascii_hexdigit)
        {
            return self.replace(start..end, b"<hex>");
        }
        if word.len() >= HEX_BYTES_MIN && word.iter().all(u8::is_ascii_hexdigit) {
            return self.replace(start..end, b"<hex>");
        }
        let runs =
            1 + word.windows(2).filter(|pair| pair[0].is_ascii_digit() && !pair[1].is_ascii_digit()).count()
                - usize::from(!word[word.len() - 1].is_ascii_digit());
        if runs >= ID_RUNS_MIN || word.len() >= ID_BYTES_MIN {
            return self.replace(start..end, b"<id>");
        }
        self.number(at, at + digits(&text[at..end]))
    }

    /// Digits, and those that points and commas join to them.
    fn number(&mut self, start: usize, mut end: usize) -> usize {
        let text = self.text;
        let mut groups = 1;
        let is_short = |place: Range<usize>| place.len() <= 3;
        let mut is_address = is_short(start..end);
        while let Some([b'.' | b',', b'0'..=b'9']) = text[end..].first_chunk::<2>() {
            let from = end + 1;
            is_address &= text[end] == b'.';
            end = from + digits(&text[from..]);
            is_address &= is_short(from..end);
            groups += 1;
        }
        self.replace(start..end, if is_address && groups == 4 { b"<ip>" } else { b"<n>" })
    }

    /// The UUID or address that the word at this place is a part of.
    fn groups(&self, start: usize, end: usize) -> Option<(Range<usize>, &'static [u8])> {
        let text = self.text;
        let belongs = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-');
        let before = text[self.done..start].iter().rev().take(GROUPS_BYTES_MAX).take_while(belongs).count();
        let behind = text[end..].iter().take(GROUPS_BYTES_MAX).take_while(belongs).count();
        let mut place = start - before..end + behind;
        if place.start > self.done && is_word(text[place.start - 1])
            || text.get(place.end).is_some_and(|byte| is_word(*byte))
        {
            return None;
        }
        // A colon or a dash at an end belongs to the sentence, unless it is one of two.
        let ends_in = |byte: &[u8], text: &[u8]| text.ends_with(byte) && !text.ends_with(b"::");
        if ends_in(b":", &text[place.clone()]) || ends_in(b"-", &text[place.clone()]) {
            place.end -= 1;
        }
        let groups = &text[place.clone()];
        let lengths = |separator: u8| groups.split(move |byte| *byte == separator).map(<[u8]>::len);
        let colons = groups.iter().filter(|byte| **byte == b':').count();
        let dashes = groups.iter().filter(|byte| **byte == b'-').count();
        if dashes == 4 && lengths(b'-').eq([8, 4, 4, 4, 12]) {
            return Some((place, b"<uuid>"));
        }
        if colons + dashes == 5 && (colons == 0 || dashes == 0) {
            let separator = if colons > 0 { b':' } else { b'-' };
            if lengths(separator).all(|length| length == 2) {
                return Some((place, b"<mac>"));
            }
        }
        let is_short = dashes == 0 && lengths(b':').all(|length| length <= 4);
        let is_double = groups.windows(2).any(|pair| pair == b"::");
        (is_short && (colons == 7 || (is_double && (2..8).contains(&colons)))).then_some((place, b"<ip>"))
    }

    /// Text in quotes; an apostrophe is one only between words.
    fn quote(&mut self, at: usize) -> usize {
        let (quote, behind) = (self.text[at], at + 1);
        let close = if quote == b'"' {
            closing(&self.text[behind..])
        } else if self.before(at).is_some_and(is_word) {
            None
        } else {
            let close = memchr(b'\'', &self.text[behind..]);
            close.filter(|close| self.text.get(behind + close + 1).is_none_or(|byte| !is_word(*byte)))
        };
        match close {
            Some(close) => self.replace(at..behind + close + 1, b"<str>"),
            None => behind,
        }
    }

    fn slash(&mut self, at: usize) -> usize {
        let (text, before) = (self.text, self.before(at));
        let is_url = before == Some(b':') && text.get(at + 1) == Some(&b'/');
        let begins = match text[at] {
            b'\\' => before == Some(b':'),
            _ => before.is_none_or(|byte| {
                !is_word(byte) && !matches!(byte, b'/' | b')' | b']' | b'>' | b'}' | b'%')
            }),
        };
        let start = if is_url { at + 2 } else { at };
        let ends = |byte: &u8| {
            matches!(
                byte,
                b' ' | b'\t'
                    | b'"'
                    | b'\''
                    | b'('
                    | b')'
                    | b'['
                    | b']'
                    | b'{'
                    | b'}'
                    | b'<'
                    | b'>'
                    | b','
                    | b';'
                    | b'|'
            ) || (*byte == b':' && !is_url)
        };
        let rest = &text[start.min(text.len())..];
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        // A path has a name; a full stop behind it is one of the sentence.
        let length = length - usize::from(rest[..length].ends_with(b"."));
        if !begins || length < 2 || rest[1] == b'/' {
            return at + 1;
        }
        self.replace(start..start + length, b"<path>")
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Where the quote is that ends a text in quotes; one behind a backslash does not.
fn closing(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(line: &str) -> String {
        let mut out = Vec::new();
        write(line.as_bytes(), None, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_changes_is_replaced() {
        let cases = [
            ("took 123ms for 4.5 MB, -7 left", "took <n>ms for <n> MB, -<n> left"),
            ("node12 of v1.2.3 at 12:00:00", "node<n> of v<n> at <n>:<n>:<n>"),
            ("sizes [1,2,3] and [4]", "sizes [<n>] and [<n>]"),
            ("from 10.0.0.1:8080 to 192.168.1.255", "from <ip>:<n> to <ip>"),
            ("1.2.3.4.5 and 1000.2.3.4", "<n> and <n>"),
            ("peer fe80::1%eth0, [2001:db8::8a2e:370:7334]:443", "peer <ip>%eth<n>, [<ip>]:<n>"),
            ("2001:0db8:85a3:0000:0000:8a2e:0370:7334: up", "<ip>: up"),
            ("card 00:1b:44:11:3a:b7 and aa-bb-cc-dd-ee-0f", "card <mac> and <mac>"),
            ("id 123e4567-e89b-12d3-a456-426614174000.", "id <uuid>."),
            ("id deadbeef-e89b-12d3-a456-426614174000-", "id <uuid>-"),
            ("at 0x7fff5fbff8a0 commit 8703aa7", "at <hex> commit <hex>"),
            ("word decade facade 12e4", "word decade facade <n>e<n>"),
            ("key AKIAIOSFODNN7EXAMPLE and x7Gh2kQ9", "key <id> and <id>"),
            ("user \"ann \\\"a\\\" b\" said 'no way'", "user <str> said <str>"),
            ("don't won't \"open", "don't won't \"open"),
            ("open /var/log/app-1.log: denied, see /etc.", "open <path>: denied, see <path>."),
            ("and/or 1/2 / // a.", "and/or <n>/<n> / // a."),
            ("GET /index.html?a=1 HTTP/1.1", "GET <path> HTTP/<n>"),
            ("see https://example.com:80/a?b=1 now", "see https://<path> now"),
            ("in C:\\Users\\ann\\a1.txt now", "in C:<path> now"),
            ("城市12北京 naïve1", "城市<n>北京 naïve<n>"),
            ("a\0b\x1b[31m", "a\0b\x1b[<n>m"),
            ("/", "/"),
            ("\\", "\\"),
            ("", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(template(line), expected, "{line:?}");
        }
        let mut out = b"s".to_vec();
        write(b"[10:00] x1", Some(1..6), &mut out);
        assert_eq!(out, b"s[<time>] x<n>");
    }

    #[test]
    fn a_long_template_is_cut_between_characters() {
        for line in
            ["x".repeat(5_000), "é".repeat(5_000), format!("x{}", "é".repeat(5_000)), "1 ".repeat(5_000)]
        {
            let template = template(&line);
            assert!(
                (TEMPLATE_BYTES_MAX - 3..=TEMPLATE_BYTES_MAX).contains(&template.len()),
                "{}",
                template.len()
            );
        }
        assert_eq!(template(&"é".repeat(512)), "é".repeat(512));
    }

    proptest! {
        /// Other numbers in the same places make the same template, and no digit is left.
        #[test]
        fn numbers_never_tell_lines_apart(words in "[a-z ,:=.()]{0,40}", a: u16, b: u16) {
            let line = |n: u16| format!("{words} {n} {words} [{n}]");
            prop_assert_eq!(template(&line(a)), template(&line(b)));
            prop_assert!(!template(&line(a)).bytes().any(|byte| byte.is_ascii_digit()));
        }

        #[test]
        fn no_line_is_a_panic(line in "[0-9a-f:./\\\\\"' -]{0,60}|\\PC{0,60}", start: prop::sample::Index, end: prop::sample::Index) {
            let (start, end) = (start.index(line.len() + 1), end.index(line.len() + 1));
            let mut out = Vec::new();
            write(line.as_bytes(), (start <= end).then_some(start..end), &mut out);
            prop_assert!(out.len() <= TEMPLATE_BYTES_MAX);
        }
    }
}
