//! JSON, piece by piece, from a stretch of a file that may end anywhere.
//!
//! Promise: exactly the grammar of RFC 8259, plus `NaN`, `Infinity` and `-Infinity`, which Python writes; text that is
//! not UTF-8 and lone surrogates pass, since they are counted elsewhere. What the stretch does not show whole is
//! [`Stop::More`], never an error, so that whoever reads can try again with more. Nothing is copied.

use crate::limits::Limits;

/// Most objects and arrays within each other. Real files have less than ten; reading them takes stack.
pub(super) const DEPTH_MAX: usize = 128;

/// Why reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The stretch ends here.
    More,
    /// At this place something else was expected: this.
    Bad(&'static str),
    /// A bound of [`Limits`], or of this module, was exceeded.
    Limit(String),
}

impl Stop {
    fn too_deep() -> Stop {
        Stop::Limit(format!("objects and arrays lie more than {DEPTH_MAX} deep within each other"))
    }

    pub(super) fn too_long(limits: &Limits) -> Stop {
        Stop::Limit(format!("a value is longer than {} bytes", limits.field_bytes_max))
    }
}

/// What a value without inner values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// A string, up to this place (without the quotes), and whether it has escapes.
    Text(usize, bool),
    Number,
    Bool(bool),
    Null,
}

/// A place in a stretch of a file.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Whether the file ends where the stretch does.
    pub(super) last: bool,
    /// Whether a line break ends a value, as in JSON Lines.
    pub(super) lines: bool,
}

impl Reader<'_> {
    pub(super) fn is_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The byte here.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::More)
    }

    /// Passes blanks.
    #[inline]
    pub(super) fn blank(&mut self) {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' if !self.lines => self.at += 1,
                _ => return,
            }
        }
    }

    /// Passes blanks, line breaks and byte order marks, which stand in front of files, also of those that were
    /// appended to others.
    pub(super) fn between(&mut self) -> Result<(), Stop> {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        loop {
            let rest = &self.bytes[self.at..];
            match rest.first() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(0xef) if rest.starts_with(MARK) => self.at += MARK.len(),
                Some(0xef) if MARK.starts_with(rest) && !self.last => return Err(Stop::More),
                _ => return Ok(()),
            }
        }
    }

    /// Passes this text, if it stands here with a quote behind it: a key that is known.
    #[inline]
    pub(super) fn take(&mut self, key: &[u8]) -> bool {
        let rest = &self.bytes[self.at..];
        let is_here = rest.starts_with(key) && rest.get(key.len()) == Some(&b'"');
        if is_here {
            self.at += key.len() + 1;
        }
        is_here
    }

    /// The rest of a string, behind its opening quote: where it ends, and whether it has escapes.
    pub(super) fn string(&mut self) -> Result<(usize, bool), Stop> {
        let mut escaped = false;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok((self.at - 1, escaped));
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(Stop::Bad("a character above U+001F or the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        let escape = self.bytes.get(self.at + 1).ok_or(Stop::More)?;
        if !matches!(escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u') {
            return Err(Stop::Bad("an escape that JSON has"));
        }
        self.at += 2;
        for _ in 0..if *escape == b'u' { 4 } else { 0 } {
            if !self.peek()?.is_ascii_hexdigit() {
                return Err(Stop::Bad("a hexadecimal digit"));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The colon behind a key.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), Stop> {
        self.blank();
        if self.peek()? != b':' {
            return Err(Stop::Bad("a colon"));
        }
        self.at += 1;
        self.blank();
        Ok(())
    }

    /// The object that begins here. At each key, behind its quote, `member` is called, and passes key and value.
    pub(super) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.at += 1;
        self.blank();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek()? != b'"' {
                return Err(Stop::Bad("a key in double quotes"));
            }
            self.at += 1;
            member(self)?;
            self.blank();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Stop::Bad("a comma or a closing brace")),
            }
            self.blank();
        }
    }

    /// A member of which nothing is wanted, behind the quote of its key.
    pub(super) fn skip_member(&mut self, depth: usize) -> Result<(), Stop> {
        self.string()?;
        self.colon()?;
        self.skip(depth)
    }

    /// Passes a value that may hold others, `depth` deep at most.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), Stop> {
        match self.peek()? {
            b'{' => {
                let depth = deeper(depth)?;
                self.members(|reader| reader.skip_member(depth))
            }
            b'[' => self.skip_elements(deeper(depth)?),
            first => self.scalar(first).map(drop),
        }
    }

    fn skip_elements(&mut self, depth: usize) -> Result<(), Stop> {
        self.at += 1;
        self.blank();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip(depth)?;
            self.blank();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Stop::Bad("a comma or a closing bracket")),
            }
            self.blank();
        }
    }

    /// A value without inner values, of which `first` is the first byte.
    #[inline]
    pub(super) fn scalar(&mut self, first: u8) -> Result<Scalar, Stop> {
        match first {
            b'"' => {
                self.at += 1;
                let (end, escaped) = self.string()?;
                Ok(Scalar::Text(end, escaped))
            }
            b'-' | b'0'..=b'9' => self.number().map(|()| Scalar::Number),
            b't' => self.word(b"true").map(|()| Scalar::Bool(true)),
            b'f' => self.word(b"false").map(|()| Scalar::Bool(false)),
            b'n' => self.word(b"null").map(|()| Scalar::Null),
            b'N' => self.word(b"NaN").map(|()| Scalar::Null),
            b'I' => self.word(b"Infinity").map(|()| Scalar::Number),
            _ => Err(Stop::Bad("a value")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Stop> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(Stop::More)
        } else {
            Err(Stop::Bad("a value"))
        }
    }

    #[inline]
    fn number(&mut self) -> Result<(), Stop> {
        if self.peek()? == b'-' {
            self.at += 1;
            if self.peek()? == b'I' {
                return self.word(b"Infinity");
            }
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let b'+' | b'-' = self.peek()? {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.bytes.get(self.at) {
            // There may be more of it.
            None if !self.last => Err(Stop::More),
            Some(b'0'..=b'9') => Err(Stop::Bad("a number without leading zeros")),
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> Result<(), Stop> {
        if !self.peek()?.is_ascii_digit() {
            return Err(Stop::Bad("a digit"));
        }
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        Ok(())
    }
}

/// One level further down.
pub(super) fn deeper(depth: usize) -> Result<usize, Stop> {
    depth.checked_sub(1).ok_or_else(Stop::too_deep)
}

/// How many bytes there are before the next that means something in a string: a quote, a backslash, or one that may not
/// be there.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        // The lowest mark is right; above it a borrow may have made others.
        let marks = (is(b'"') | is(b'\\') | below(word, 0x20)) & HIGHS;
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    words.len() * 8 + tail.iter().position(special).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], last: bool) -> Result<usize, Stop> {
        let mut reader = Reader { bytes, at: 0, last, lines: false };
        reader.blank();
        reader.skip(DEPTH_MAX)?;
        Ok(reader.at)
    }

    /// Nearly JSON: the pieces that matter, in any order.
    fn nearly_json() -> impl Strategy<Value = String> {
        let pieces = vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\"",
            "\"a\":",
            "\\",
            "\\u00",
            "\\n",
            "0",
            "12",
            "-",
            "-1",
            ".5",
            "e",
            "E+3",
            "1e5",
            "true",
            "false",
            "null",
            "nul",
            " ",
            "\n",
            "\t",
            "é",
            "\u{1}",
            "{\"b\":[1,",
            "]}",
        ];
        proptest::collection::vec(proptest::sample::select(pieces), 1..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// What is a value, and where it ends, is what serde_json says.
        #[test]
        fn the_grammar_is_that_of_serde_json(text in nearly_json()) {
            let mut others = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
            let other = others.next().map(|value| value.map(|_| others.byte_offset()));
            match (read(text.as_bytes(), true), other) {
                // Its floats are finite.
                (_, Some(Err(error))) if error.to_string().contains("out of range") => {}
                (Ok(end), Some(Ok(other))) => prop_assert_eq!(end, other),
                (Err(Stop::More), None) => {}
                (Err(Stop::More), Some(Err(error))) => prop_assert!(error.is_eof(), "{text:?}: {error}"),
                (Err(Stop::Bad(_)), Some(Err(error))) => {
                    // It asks for the closing quote before it looks at an escape.
                    prop_assert!(!error.is_eof() || text.contains('\\'), "{text:?}: {error}");
                }
                // It looks at what follows a value, for the next.
                (Ok(end), Some(Err(_))) => prop_assert!(end < text.len(), "{text:?}"),
                (ours, other) => prop_assert!(false, "{text:?}: {ours:?} {other:?}"),
            }
        }

        /// A part of a value is never an error, and never another value.
        #[test]
        fn a_part_of_a_value_wants_more(text in nearly_json(), cut in 0usize..60) {
            if let Ok(end) = read(text.as_bytes(), true) {
                let cut = cut.min(end);
                let part = read(&text.as_bytes()[..cut], false);
                prop_assert!(part == Err(Stop::More) || part == Ok(end), "{text:?} {cut} {part:?}");
            }
        }

        #[test]
        fn plain_text_ends_where_it_does(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
            prop_assert_eq!(plain(&bytes), end.unwrap_or(bytes.len()));
        }
    }

    #[test]
    fn python_s_numbers_pass_and_depth_ends() {
        for text in ["NaN", "Infinity", "-Infinity", "[NaN,-Infinity]", "\"\\ud800\"", "\"\\udc00\\ud800\""] {
            assert_eq!(read(text.as_bytes(), true), Ok(text.len()), "{text}");
        }
        for text in
            ["nan", "+1", "-NaN", "Inf ", "'a'", "{a:1}", "[1,]", "01", "// a", "\"\u{1}\"", "\"a\n\""]
        {
            assert!(matches!(read(text.as_bytes(), true), Err(Stop::Bad(_))), "{text}");
        }
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(DEPTH_MAX).as_bytes(), true).is_ok());
        assert!(matches!(read(nested(DEPTH_MAX + 1).as_bytes(), true), Err(Stop::Limit(_))));
    }
}
