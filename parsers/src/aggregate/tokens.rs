//! Every different token of a column, with its count, in the order of first appearance.
//!
//! Such a table answers every question about a column exactly, whatever its type turns out to be, and each
//! token has to be understood only once. Promise: the table never grows beyond the room it is given; it
//! says `Full` before it would, and stays as it was.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use crate::aggregate::word::{INLINE_BYTES, KEY_BYTES, Word, key_len};

/// The table's first allocations; small, since a file may have thousands of columns.
const ARENA_BYTES_MIN: usize = 128;
const ENTRIES_MIN: usize = 8;
/// Slots for each token that may be in them: half of them stay free, so that a search is short.
const SLOTS_PER_ENTRY: usize = 2;
/// The same of short tokens, as long as there are no more of them than this: then memory is cheap, and most searches end
/// where they begin.
const ROOMY_SLOTS_PER_ENTRY: usize = 4;
const ROOMY_ENTRIES_MAX: usize = 4096;
/// A slot of the index that points to no entry.
const FREE: u32 = u32::MAX;

/// So many long tokens are looked up together, and so many counts when all are read.
const AHEAD: usize = 32;

/// A short token and its count; free when that is zero.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    count: u64,
}

/// Where a token is, in the order of first appearance.
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// In the slot of this key, whose bytes these are.
    Short([u8; KEY_BYTES]),
    /// In the entry of this number.
    Long(u32),
}

/// A long token.
#[derive(Clone, Copy, Debug)]
struct Entry {
    head: [u8; INLINE_BYTES],
    count: u64,
    /// Where a long token lies in the arena.
    start: u32,
    len: u32,
}

impl Entry {
    fn head(&self) -> u128 {
        u128::from_le_bytes(self.head)
    }

    fn is(&self, word: &Word<'_>, arena: &[u8]) -> bool {
        self.head() == word.head()
            && self.len as usize == word.text.len()
            && (word.text.len() <= INLINE_BYTES || self.text(arena) == word.text)
    }

    fn text<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        let len = self.len as usize;
        if len <= INLINE_BYTES { &self.head[..len] } else { &arena[self.start as usize..][..len] }
    }
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

/// The distinct tokens of a column.
///
/// The hash is seeded at random, against files made to collide. Nothing that leaves the table depends on it:
/// the order is that of first appearance and sizes follow from the number of tokens.
#[derive(Clone, Default)]
pub struct Tokens {
    /// Short tokens, at the places of their hashes or in the next free slots: a power of two of them.
    slots: Vec<Slot>,
    /// How many of them there are.
    short: usize,
    /// Numbers of entries at the places of their hashes, or in the next free places: a power of two of them.
    index: Vec<u32>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
    order: Vec<Kept>,
    hash: RandomState,
}

impl Tokens {
    /// Takes in one token, `times` times. `room` is how many bytes may be allocated, for a moment, to do so.
    /// Returns by how many bytes the table grew.
    pub fn add(&mut self, word: Word<'_>, times: u64, room: usize) -> Result<usize, Full> {
        if let Some(key) = word.key() {
            return match self.slot(key) {
                Some(slot) if slot.count > 0 => {
                    slot.count += times;
                    Ok(0)
                }
                _ => self.insert_short(key, times, room),
            };
        }
        let hash = seeded(&self.hash, &word);
        match self.find(&word, hash) {
            Some(entry) => {
                entry.count += times;
                Ok(0)
            }
            None => self.insert(word, hash, times, room),
        }
    }

    /// Takes in tokens, one time each, as long as what is new finds room within `room` bytes.
    pub fn add_all<'a>(&mut self, words: &mut impl Iterator<Item = Word<'a>>, room: usize) -> Taken {
        let mut taken = Taken::default();
        let mut next = words.next();
        while let Some(word) = next {
            let Some(key) = word.key() else {
                let mut block = [word; AHEAD];
                let mut count = 1;
                next = words.next();
                while let Some(word) = next.filter(|word| count < AHEAD && word.key().is_none()) {
                    block[count] = word;
                    count += 1;
                    next = words.next();
                }
                self.add_long(&block[..count], room, &mut taken);
                if taken.is_full {
                    return taken;
                }
                continue;
            };
            match self.slot(key) {
                Some(slot) if slot.count > 0 => slot.count += 1,
                _ => match self.insert_short(key, 1, room - taken.grown) {
                    Ok(grown) => taken.grown += grown,
                    Err(Full) => {
                        taken.is_full = true;
                        return taken;
                    }
                },
            }
            taken.values += 1;
            next = words.next();
        }
        taken
    }

    /// Takes in long tokens. A large table is not in the cache: the places of all are fetched before the first is needed.
    fn add_long(&mut self, words: &[Word<'_>], room: usize, taken: &mut Taken) {
        let (mut hashes, mut likely) = ([0; AHEAD], [0; AHEAD]);
        for ((hash, likely), word) in hashes.iter_mut().zip(&mut likely).zip(words) {
            *hash = seeded(&self.hash, word);
            *likely = self.index.get(self.first(*hash)).copied().unwrap_or(FREE);
        }
        let mut heads = [0; AHEAD];
        for (head, &number) in heads.iter_mut().zip(&likely[..words.len()]) {
            *head = self.entries.get(number as usize).map_or(0, Entry::head);
        }
        for (at, word) in words.iter().enumerate() {
            if heads[at] == word.head()
                && let Some(entry) = self.entries.get_mut(likely[at] as usize)
                && entry.is(word, &self.arena)
            {
                entry.count += 1;
            } else if let Some(entry) = self.find(word, hashes[at]) {
                entry.count += 1;
            } else {
                match self.insert(*word, hashes[at], 1, room - taken.grown) {
                    Ok(grown) => taken.grown += grown,
                    Err(Full) => {
                        taken.is_full = true;
                        return;
                    }
                }
            }
            taken.values += 1;
        }
    }

    /// The slot of a short token, or the free one where it would go; `None` when there are no slots.
    #[inline]
    fn slot(&mut self, key: u64) -> Option<&mut Slot> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = self.hash.hash_one(key) as usize & mask;
        loop {
            let slot = self.slots.get(at)?;
            if slot.key == key || slot.count == 0 {
                return self.slots.get_mut(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// Where in the index the search for a hash begins.
    fn first(&self, hash: u64) -> usize {
        hash as usize & self.index.len().wrapping_sub(1)
    }

    #[inline]
    fn find(&mut self, word: &Word<'_>, hash: u64) -> Option<&mut Entry> {
        let mut at = self.first(hash);
        loop {
            let number = *self.index.get(at)? as usize;
            if self.entries.get(number)?.is(word, &self.arena) {
                return self.entries.get_mut(number);
            }
            at = (at + 1) & (self.index.len() - 1);
        }
    }

    #[cold]
    fn insert_short(&mut self, key: u64, times: u64, room: usize) -> Result<usize, Full> {
        let before = self.bytes();
        let order = grown(self.order.capacity(), self.order.len() + 1, ENTRIES_MIN);
        let per_entry = if self.short < ROOMY_ENTRIES_MAX { ROOMY_SLOTS_PER_ENTRY } else { SLOTS_PER_ENTRY };
        let slots = slots_for(self.slots.len(), self.short + 1, per_entry);
        let need = order.unwrap_or(0) * size_of::<Kept>() + slots.unwrap_or(0) * size_of::<Slot>();
        if need > room {
            return Err(Full);
        }
        if let Some(capacity) = order {
            self.order.reserve_exact(capacity - self.order.len());
        }
        if let Some(slots) = slots {
            let old = std::mem::replace(&mut self.slots, vec![Slot::default(); slots]);
            for slot in old.into_iter().filter(|slot| slot.count > 0) {
                self.slot(slot.key).into_iter().for_each(|place| *place = slot);
            }
        }
        self.slot(key).into_iter().for_each(|place| *place = Slot { key, count: times });
        self.short += 1;
        self.order.push(Kept::Short(key.to_le_bytes()));
        Ok(self.bytes() - before)
    }

    #[cold]
    fn insert(&mut self, word: Word<'_>, hash: u64, times: u64, room: usize) -> Result<usize, Full> {
        let before = self.bytes();
        let long = if word.text.len() > INLINE_BYTES { word.text } else { &[] };
        let arena = grown(self.arena.capacity(), self.arena.len() + long.len(), ARENA_BYTES_MIN);
        let entries = grown(self.entries.capacity(), self.entries.len() + 1, ENTRIES_MIN);
        let order = grown(self.order.capacity(), self.order.len() + 1, ENTRIES_MIN);
        let number = self.entries.len();
        let slots = slots_for(self.index.len(), number + 1, SLOTS_PER_ENTRY);
        let need = arena.unwrap_or(0)
            + entries.unwrap_or(0) * size_of::<Entry>()
            + order.unwrap_or(0) * size_of::<Kept>()
            + slots.unwrap_or(0) * size_of::<u32>();
        if need > room || self.arena.len() + long.len() > u32::MAX as usize || number >= FREE as usize {
            return Err(Full);
        }
        if let Some(capacity) = arena {
            self.arena.reserve_exact(capacity - self.arena.len());
        }
        if let Some(capacity) = entries {
            self.entries.reserve_exact(capacity - self.entries.len());
        }
        if let Some(capacity) = order {
            self.order.reserve_exact(capacity - self.order.len());
        }
        if let Some(slots) = slots {
            self.index_anew(slots);
        }
        let (start, len) = (self.arena.len() as u32, word.text.len() as u32);
        self.arena.extend_from_slice(long);
        self.entries.push(Entry { head: word.head, count: times, start, len });
        self.order.push(Kept::Long(number as u32));
        place(&mut self.index, hash, number as u32);
        Ok(self.bytes() - before)
    }

    fn index_anew(&mut self, slots: usize) {
        // The old one goes first: both need not be there at once.
        self.index = Vec::new();
        self.index = vec![FREE; slots];
        for (number, entry) in self.entries.iter().enumerate() {
            let word = Word::new(entry.text(&self.arena));
            place(&mut self.index, seeded(&self.hash, &word), number as u32);
        }
    }

    /// The tokens with their counts, in the order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.order.chunks(AHEAD).flat_map(|some| {
            // Fetched together: what is done with each may take long.
            let mut counts = [0; AHEAD];
            for (count, kept) in counts.iter_mut().zip(some) {
                *count = match kept {
                    Kept::Short(bytes) => self.count(u64::from_le_bytes(*bytes)),
                    Kept::Long(number) => self.entries[*number as usize].count,
                };
            }
            some.iter().zip(counts).map(|(kept, count)| match kept {
                Kept::Short(bytes) => (&bytes[..key_len(u64::from_le_bytes(*bytes))], count),
                Kept::Long(number) => (self.entries[*number as usize].text(&self.arena), count),
            })
        })
    }

    fn count(&self, key: u64) -> u64 {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = self.hash.hash_one(key) as usize & mask;
        while self.slots[at].key != key {
            at = (at + 1) & mask;
        }
        self.slots[at].count
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
        self.arena.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.order.capacity() * size_of::<Kept>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.index.capacity() * size_of::<u32>()
    }

    /// Gives back the memory of the index. The table can still be read, but takes in nothing more.
    pub fn seal(&mut self) {
        self.index = Vec::new();
    }
}

/// As pairs of token and count, in their order.
impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(token, times)| (Bytes::new(token), times)))
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tokens, D::Error> {
        let pairs: Vec<(ByteBuf, u64)> = Vec::deserialize(deserializer)?;
        let mut tokens = Tokens::default();
        for (token, times) in pairs {
            let added = tokens.add(Word::new(&token), times, usize::MAX);
            added.map_err(|Full| D::Error::custom("more tokens than a table can hold"))?;
        }
        Ok(tokens)
    }
}

/// How many slots there must be for so many tokens, when there are too few.
fn slots_for(slots: usize, tokens: usize, per_entry: usize) -> Option<usize> {
    let entries = grown(slots / per_entry, tokens, ENTRIES_MIN)?;
    Some((entries * per_entry).next_power_of_two())
}

/// Puts the number of an entry that is not there yet into the index.
fn place(index: &mut [u32], hash: u64, number: u32) {
    let mask = index.len() - 1;
    let mut at = hash as usize & mask;
    while index[at] != FREE {
        at = (at + 1) & mask;
    }
    index[at] = number;
}

fn seeded(state: &RandomState, word: &Word<'_>) -> u64 {
    match word.text.len() {
        // The length makes words of zeros differ.
        len @ ..=INLINE_BYTES => state.hash_one(word.head() ^ (len as u128) << 120),
        _ => state.hash_one(word.text),
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
        let seen: Vec<_> = tokens.iter().collect();
        assert_eq!(seen, [(&b"b"[..], 3), (b"a", 6), (b"", 1), (b"a\0", 1)]);
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
}
