//! Every different token of a column, with its count, in the order of first appearance.
//!
//! Such a table answers every question about a column exactly, whatever its type turns out to be, and each
//! token has to be understood only once. Promise: the table never grows beyond the room it is given; it
//! says `Full` before it would, and stays as it was.

mod long;
mod short;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use self::long::Long;
use self::short::Short;
use crate::aggregate::word::{KEY_BYTES, Word};

/// Tokens of a first allocation; few, since a file may have thousands of columns.
const ENTRIES_MIN: usize = 8;
/// So many tokens are looked up together where the table is not in the cache, and so many counts when all are read: what
/// each needs is on its way before the first is waited for.
const AHEAD: usize = 32;
/// Tables up to so many slots, or entries, are taken for near: there that costs more than it spares.
const NEAR: usize = 1 << 15;

/// Where a token is, in the order of first appearance.
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// In the slot of this key, whose bytes these are.
    Short([u8; KEY_BYTES]),
    /// In the entry of this number.
    Long(u32),
}

/// There is no room for a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What a table took in of a row of tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// How many of them.
    pub values: usize,
    /// Bytes by which the table grew.
    pub grown: usize,
    /// Whether there was no room for the next one.
    pub is_full: bool,
}

impl Taken {
    /// Notes what became of one more; says whether it found room.
    #[inline]
    fn note(&mut self, added: Result<usize, Full>) -> bool {
        match added {
            Ok(grown) => {
                self.grown += grown;
                self.values += 1;
            }
            Err(Full) => self.is_full = true,
        }
        !self.is_full
    }
}

/// The distinct tokens of a column.
///
/// The hashes are seeded at random, against files made to collide. Nothing that leaves the table depends on them:
/// the order is that of first appearance and sizes follow from the number of tokens.
#[derive(Clone, Default)]
pub struct Tokens {
    short: Short,
    long: Long,
    order: Vec<Kept>,
}

impl Tokens {
    /// Takes in one token, `times` times. `room` is how many bytes may be allocated, for a moment, to do so.
    /// Returns by how many bytes the table grew.
    pub fn add(&mut self, word: Word<'_>, times: u64, room: usize) -> Result<usize, Full> {
        match word.key() {
            Some(key) => self.add_short(key, times, room),
            None => self.add_long(&word, self.long.tag(&word), times, room),
        }
    }

    /// Takes in tokens, one time each, as long as what is new finds room within `room` bytes.
    pub fn add_all<'a>(&mut self, words: &mut impl Iterator<Item = Word<'a>>, room: usize) -> Taken {
        let mut taken = Taken::default();
        let mut next = words.next();
        while let Some(word) = next {
            let key = word.key();
            let size = if key.is_some() { self.short.len() } else { self.long.len() };
            if size <= NEAR {
                let added = match key {
                    Some(key) => self.add_short(key, 1, room - taken.grown),
                    None => self.add_long(&word, self.long.tag(&word), 1, room - taken.grown),
                };
                if !taken.note(added) {
                    break;
                }
                next = words.next();
                continue;
            }
            let mut block = [word; AHEAD];
            let mut count = 1;
            next = words.next();
            while let Some(word) = next.filter(|word| count < AHEAD && word.key().is_some() == key.is_some())
            {
                block[count] = word;
                count += 1;
                next = words.next();
            }
            self.add_ahead(&block[..count], key.is_some(), room, &mut taken);
            if taken.is_full {
                break;
            }
        }
        taken
    }

    /// Takes in tokens that are all short, or all long.
    fn add_ahead(&mut self, words: &[Word<'_>], are_short: bool, room: usize, taken: &mut Taken) {
        if are_short {
            let likely = self.short.ahead(words);
            words.iter().zip(likely).all(|(word, at)| {
                let key = word.key().unwrap_or_default();
                let is_known = self.short.count_at(at, key);
                taken.note(if is_known { Ok(0) } else { self.add_short(key, 1, room - taken.grown) })
            });
        } else {
            let (tags, likely) = self.long.ahead(words);
            words.iter().zip(tags).zip(likely).all(|((word, tag), number)| {
                let is_known = self.long.count_at(number, word);
                taken.note(if is_known { Ok(0) } else { self.add_long(word, tag, 1, room - taken.grown) })
            });
        }
    }

    #[inline]
    fn add_short(&mut self, key: u64, times: u64, room: usize) -> Result<usize, Full> {
        match self.short.count(key, times) {
            Ok(()) => Ok(0),
            Err(at) => self.insert_short(key, at, times, room),
        }
    }

    /// `at`: the slot where it goes, if the table need not grow.
    #[cold]
    fn insert_short(&mut self, key: u64, mut at: usize, times: u64, room: usize) -> Result<usize, Full> {
        let before = self.bytes();
        let (order, slots) = (self.order_growth(), self.short.next_len());
        if order.unwrap_or(0) * size_of::<Kept>() + slots.map_or(0, short::bytes) > room {
            return Err(Full);
        }
        if let Some(len) = slots {
            self.short.grow(len);
            at = self.short.free(key);
        }
        self.short.put(at, key, times);
        self.keep(Kept::Short(key.to_le_bytes()), order);
        Ok(self.bytes() - before)
    }

    #[inline]
    fn add_long(&mut self, word: &Word<'_>, tag: u32, times: u64, room: usize) -> Result<usize, Full> {
        if self.long.count(word, tag, times) { Ok(0) } else { self.insert_long(word, tag, times, room) }
    }

    #[cold]
    fn insert_long(&mut self, word: &Word<'_>, tag: u32, times: u64, room: usize) -> Result<usize, Full> {
        let before = self.bytes();
        let order = self.order_growth();
        let growth = self.long.growth(word).ok_or(Full)?;
        if order.unwrap_or(0) * size_of::<Kept>() + growth.bytes() > room {
            return Err(Full);
        }
        let number = self.long.insert(word, tag, times, growth);
        self.keep(Kept::Long(number), order);
        Ok(self.bytes() - before)
    }

    fn order_growth(&self) -> Option<usize> {
        grown(self.order.capacity(), self.order.len() + 1, ENTRIES_MIN)
    }

    fn keep(&mut self, kept: Kept, growth: Option<usize>) {
        if let Some(capacity) = growth {
            self.order.reserve_exact(capacity - self.order.len());
        }
        self.order.push(kept);
    }

    /// The tokens with their counts, in the order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (Word<'_>, u64)> {
        self.order.chunks(AHEAD).flat_map(|some| {
            // Fetched together: what is done with each may take long.
            let mut counts = [0; AHEAD];
            for (count, kept) in counts.iter_mut().zip(some) {
                *count = match kept {
                    Kept::Short(bytes) => self.short.get(u64::from_le_bytes(*bytes)),
                    Kept::Long(number) => self.long.get(*number),
                };
            }
            some.iter().zip(counts).map(|(kept, count)| (self.word(kept), count))
        })
    }

    fn word<'a>(&'a self, kept: &'a Kept) -> Word<'a> {
        match kept {
            Kept::Short(bytes) => Word::of_key(bytes),
            Kept::Long(number) => self.long.word(*number),
        }
    }

    /// How many different tokens there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is no token yet.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The memory held.
    pub fn bytes(&self) -> usize {
        self.short.bytes() + self.long.bytes() + self.order.capacity() * size_of::<Kept>()
    }

    /// Gives back the memory of the index. The table can still be read, but takes in nothing more.
    pub fn seal(&mut self) {
        self.long.seal();
    }
}

/// As pairs of token and count, in their order.
impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(token, times)| (ByteBuf::from(token.text()), times)))
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tokens, D::Error> {
        let pairs: Vec<(ByteBuf, u64)> = Vec::deserialize(deserializer)?;
        let mut tokens = Tokens::default();
        for (token, times) in pairs {
            // So that a token that comes twice is found out before its count overflows.
            if times == 0 || times > u64::MAX / 2 {
                return Err(D::Error::custom("a token that came never, or more often than anything can"));
            }
            let before = tokens.len();
            let added = tokens.add(Word::new(&token), times, usize::MAX);
            added.map_err(|Full| D::Error::custom("more tokens than a table can hold"))?;
            if tokens.len() == before {
                return Err(D::Error::custom("a token that is there twice"));
            }
        }
        Ok(tokens)
    }
}

/// The next capacity if `len` does not fit, doubling from `min`.
fn grown(capacity: usize, len: usize, min: usize) -> Option<usize> {
    (len > capacity).then(|| len.max(capacity * 2).max(min))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_in_order_of_first_appearance() {
        let mut tokens = Tokens::default();
        for token in ["b", "a", "", "b", "b", "a\0"] {
            tokens.add(Word::new(token.as_bytes()), 1, usize::MAX).unwrap();
        }
        tokens.add(Word::new(b"a"), 5, usize::MAX).unwrap();
        let seen: Vec<_> = tokens.iter().map(|(token, times)| (token.text().to_vec(), times)).collect();
        assert_eq!(
            seen,
            [("b", 3), ("a", 6), ("", 1), ("a\0", 1)].map(|(token, times)| (token.into(), times))
        );
        assert_eq!(tokens.len(), 4);
        assert!(!tokens.is_empty());
    }

    #[test]
    fn growth_stops_at_the_room_given() {
        let mut tokens = Tokens::default();
        let budget = 100_000;
        let mut added = 0u32;
        loop {
            let room = budget - tokens.bytes();
            if tokens.add(Word::new(&added.to_le_bytes()), 1, room).is_err() {
                break;
            }
            assert!(tokens.bytes() <= budget);
            added += 1;
        }
        assert!(added > 1_000, "{added} tokens in {budget} bytes");
        assert_eq!(tokens.len() as u32, added);
        // A token that is known needs no room.
        tokens.add(Word::new(&7u32.to_le_bytes()), 1, 0).unwrap();
        tokens.seal();
        assert_eq!(tokens.iter().map(|pair| pair.1).sum::<u64>(), u64::from(added) + 1);
    }

    /// Tables that are looked up ahead of time count as the others do, and are as full at the same token.
    #[test]
    fn large_tables_count_as_small_ones_do() {
        let many = 8 * NEAR;
        let token = |number: usize| match number % 4 {
            0 => format!("{number}"),
            1 => format!("number {number}"),
            2 => format!("the number {number} is longer"),
            _ => format!("{number} is the longest of all that anyone has ever written down here"),
        };
        let texts: Vec<String> = (0..2 * many).map(|at| token(at * 7919 % many / 2 * 2 + at % 2)).collect();
        let words = || texts.iter().map(|text| Word::new(text.as_bytes()));
        let (mut at_once, mut one_by_one) = (Tokens::default(), Tokens::default());
        let taken = at_once.add_all(&mut words(), usize::MAX);
        words().for_each(|word| assert!(one_by_one.add(word, 1, usize::MAX).is_ok()));
        assert!(at_once.short.len() > NEAR && at_once.long.len() > NEAR);
        assert_eq!((taken.values, taken.grown, taken.is_full), (texts.len(), at_once.bytes(), false));
        let seen = |tokens: &Tokens| -> Vec<(Vec<u8>, u64)> {
            tokens.iter().map(|(word, times)| (word.text().to_vec(), times)).collect()
        };
        assert_eq!(seen(&at_once), seen(&one_by_one));

        let room = at_once.bytes() / 2;
        let (mut at_once, mut one_by_one) = (Tokens::default(), Tokens::default());
        let taken = at_once.add_all(&mut words(), room);
        let fits =
            words().take_while(|word| one_by_one.add(*word, 1, room - one_by_one.bytes()).is_ok()).count();
        assert!(at_once.short.len().max(at_once.long.len()) > NEAR && taken.is_full);
        assert_eq!((taken.values, taken.grown), (fits, one_by_one.bytes()));
        assert_eq!(seen(&at_once), seen(&one_by_one));
    }

    /// A free slot is one without a count: a token that was put there was never found again, and the search did not end.
    #[test]
    fn bytes_with_a_token_that_never_came_or_came_twice_are_none_of_ours() {
        let read = |pairs: &[(&str, u64)]| {
            let pairs: Vec<_> = pairs.iter().map(|(token, times)| (ByteBuf::from(*token), *times)).collect();
            let mut bytes = Vec::new();
            ciborium::into_writer(&pairs, &mut bytes).unwrap();
            ciborium::from_reader::<Tokens, _>(&bytes[..])
        };
        assert_eq!(read(&[("a", 1), ("a longer token", 2)]).unwrap().len(), 2);
        for wrong in [
            &[("a", 0)][..],
            &[("a longer token", 0)],
            &[("a", 1), ("a", 1)],
            &[("a", u64::MAX), ("a", u64::MAX)],
            &[("a longer token", 1), ("a longer token", 1)],
            &[("a longer token", u64::MAX), ("a longer token", u64::MAX)],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
