//! Tokens on their way into a column: prepared once, where their bytes lie.
//!
//! Promise: two words are equal exactly when their tokens are, and so are the keys of those that have one.

use crate::aggregate::hash;

/// Tokens up to this long are their own key. They are most of most files.
pub(super) const KEY_BYTES: usize = 8;
/// Longer tokens, up to this, are compared as one number.
pub(super) const INLINE_BYTES: usize = 16;

/// A token, prepared for a table: its first bytes as one number, zeros behind them.
#[derive(Clone, Copy, Default)]
pub struct Word<'a> {
    pub(super) head: [u8; INLINE_BYTES],
    /// As long as the token, and of a long one its bytes.
    pub(super) text: &'a [u8],
}

/// What stands for the bytes of a token that was made without memory of its own.
const MADE: [u8; INLINE_BYTES] = [0; INLINE_BYTES];

impl<'a> Word<'a> {
    /// Prepares a token.
    pub fn new(text: &'a [u8]) -> Word<'a> {
        let mut head = [0; INLINE_BYTES];
        let len = text.len().min(INLINE_BYTES);
        head[..len].copy_from_slice(&text[..len]);
        Word { head, text }
    }

    /// The token that is its own key.
    #[inline]
    pub(super) fn of_key(bytes: &'a [u8; KEY_BYTES]) -> Word<'a> {
        let mut head = [0; INLINE_BYTES];
        head[..KEY_BYTES].copy_from_slice(bytes);
        Word { head, text: &bytes[..key_len(u64::from_le_bytes(*bytes))] }
    }

    /// A token of a tag and `len` bytes behind it, the lowest of `bytes`, whose others are zero. At most fifteen.
    #[inline]
    pub(crate) fn made(tag: u8, bytes: u128, len: usize) -> Word<'static> {
        let len = (len + 1).min(INLINE_BYTES);
        Word { head: (bytes << 8 | u128::from(tag)).to_le_bytes(), text: &MADE[..len] }
    }

    /// The same for the token at `start..end` of `bytes`, without a copy where enough bytes follow.
    #[inline]
    pub fn within(bytes: &'a [u8], start: usize, end: usize) -> Word<'a> {
        let text = &bytes[start..end];
        let mut head = [0; INLINE_BYTES];
        if let behind @ ..=KEY_BYTES = KEY_BYTES.wrapping_sub(text.len()) {
            let Some(low) = bytes[start..].first_chunk::<KEY_BYTES>() else { return Word::new(text) };
            // Shifted in two steps, since eight bytes at once are too many.
            let low = u64::from_le_bytes(*low) & (u64::MAX >> (behind * 4) >> (behind * 4));
            head[..KEY_BYTES].copy_from_slice(&low.to_le_bytes());
        } else {
            let Some(all) = bytes[start..].first_chunk::<INLINE_BYTES>() else { return Word::new(text) };
            let behind = INLINE_BYTES.saturating_sub(text.len());
            head = (u128::from_le_bytes(*all) & (u128::MAX >> (behind * 8))).to_le_bytes();
        }
        Word { head, text }
    }

    /// The token itself as a number, when it is short enough, and does not end in a zero: then no other one has it.
    #[inline]
    pub(super) fn key(&self) -> Option<u64> {
        let key = self.head() as u64;
        (self.text.len() == key_len(key) && self.text.len() <= KEY_BYTES).then_some(key)
    }

    /// The hash that sketches know the token by.
    pub(crate) fn hash(&self) -> u64 {
        match self.text.len() {
            len @ ..=INLINE_BYTES => hash::short(self.head(), len),
            _ => hash::bytes(self.text),
        }
    }

    /// The token.
    pub fn text(&self) -> &[u8] {
        match self.text.len() {
            len @ ..=INLINE_BYTES => &self.head[..len],
            _ => self.text,
        }
    }

    /// A token of up to sixteen bytes as a number, the first byte the lowest, and how many they are.
    #[inline]
    pub(crate) fn inline(&self) -> Option<(u128, usize)> {
        let len = self.text.len();
        (len <= INLINE_BYTES).then(|| (self.head(), len))
    }

    pub(super) fn head(&self) -> u128 {
        u128::from_le_bytes(self.head)
    }
}

/// How many bytes of a key belong to its token.
#[inline]
pub(super) fn key_len(key: u64) -> usize {
    KEY_BYTES - key.leading_zeros() as usize / 8
}

/// What takes in the values of a column.
pub trait Sink {
    /// Takes in tokens, one time each, until it can take no more.
    fn all<'a>(&mut self, words: impl Iterator<Item = Word<'a>>);

    /// Takes in a token, so many times; says whether it can take more.
    fn one(&mut self, word: Word<'_>, times: u64) -> bool;
}

/// The values of a column in a stretch of the file.
pub trait Values {
    /// Shows the tokens from the `from`-th on.
    fn show(self, from: usize, sink: &mut impl Sink);
}

impl<'a, I: Iterator<Item = Word<'a>>> Values for I {
    fn show(self, from: usize, sink: &mut impl Sink) {
        match from {
            0 => sink.all(self),
            _ => sink.all(self.skip(from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_same_wherever_its_token_lies() {
        let line = b"a,12345678,,1234567890123456,12345678901234567,x\0,";
        let ends: Vec<usize> = (0..line.len()).filter(|&at| line[at] == b',').collect();
        let mut start = 0;
        for end in ends {
            let (here, copied) = (Word::within(line, start, end), Word::new(&line[start..end]));
            assert_eq!(here.text(), &line[start..end]);
            assert_eq!((here.text(), here.head(), here.key()), (copied.text(), copied.head(), copied.key()));
            assert_eq!(here.hash(), hash::bytes(&line[start..end]));
            let has_key = end - start <= KEY_BYTES && !line[start..end].ends_with(b"\0");
            assert_eq!(here.key().is_some(), has_key);
            assert_eq!(here.key().map_or(end - start, key_len), end - start);
            start = end + 1;
        }
        // A zero at the end would make it the key of a shorter one.
        assert_eq!(Word::new(b"a\0").key(), None);
        assert_eq!(Word::new(b"\0a").key(), Some(u64::from(b'a') << 8));
        assert_eq!(Word::new(b"").key(), Some(0));
    }
}
