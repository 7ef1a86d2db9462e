//! Every different token of a column, with its count, in the order of first appearance.
//!
//! Such a table answers every question about a column exactly, whatever its type turns out to be, and each
//! token has to be understood only once. Promise: the table never grows beyond the room it is given; it
//! says `Full` before it would, and stays as it was.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The table's first allocations; small, since a file may have thousands of columns.
const ARENA_BYTES_MIN: usize = 128;
const ENTRIES_MIN: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    len: u32,
    count: u64,
}

/// There is no room for a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The distinct tokens of a column.
///
/// The hash is seeded at random, against files made to collide. Nothing that leaves the table depends on it:
/// the order is that of first appearance and sizes follow from the number of tokens.
#[derive(Clone, Default)]
pub struct Tokens {
    index: HashTable<u32>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
    hash: RandomState,
    /// The token seen last: equal neighbours are common and need no search.
    last: usize,
}

impl Tokens {
    /// Takes in one token, `times` times. `room` is how many bytes may be allocated, for a moment, to do so.
    /// Returns by how many bytes the table grew.
    pub fn add(&mut self, token: &[u8], times: u64, room: usize) -> Result<usize, Full> {
        if let Some(entry) = self.entries.get_mut(self.last)
            && token == &self.arena[entry.start as usize..][..entry.len as usize]
        {
            entry.count += times;
            return Ok(0);
        }
        let hash = self.hash.hash_one(token);
        let (entries, arena) = (&self.entries, &self.arena);
        let same = |&i: &u32| text(arena, &entries[i as usize]) == token;
        match self.index.find(hash, same) {
            Some(&i) => {
                self.last = i as usize;
                self.entries[i as usize].count += times;
                Ok(0)
            }
            None => self.insert(hash, token, times, room),
        }
    }

    #[cold]
    fn insert(&mut self, hash: u64, token: &[u8], times: u64, room: usize) -> Result<usize, Full> {
        let before = self.bytes();
        let arena = grown(self.arena.capacity(), self.arena.len() + token.len(), ARENA_BYTES_MIN);
        let entries = grown(self.entries.capacity(), self.entries.len() + 1, ENTRIES_MIN);
        let index_full = self.index.len() == self.index.capacity();
        let mut need = arena.unwrap_or(0) + entries.unwrap_or(0) * size_of::<Entry>();
        if index_full {
            need += self.index.allocation_size() * 2 + 64;
        }
        if need > room || self.arena.len() + token.len() > u32::MAX as usize {
            return Err(Full);
        }
        if let Some(capacity) = arena {
            self.arena.reserve_exact(capacity - self.arena.len());
        }
        if let Some(capacity) = entries {
            self.entries.reserve_exact(capacity - self.entries.len());
        }
        let entry = Entry { start: self.arena.len() as u32, len: token.len() as u32, count: times };
        self.arena.extend_from_slice(token);
        self.last = self.entries.len();
        self.entries.push(entry);
        let (entries, arena, state) = (&self.entries, &self.arena, &self.hash);
        let rehash = |&i: &u32| state.hash_one(text(arena, &entries[i as usize]));
        self.index.insert_unique(hash, self.last as u32, rehash);
        Ok(self.bytes() - before)
    }

    /// The tokens with their counts, in the order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.entries.iter().map(|entry| (text(&self.arena, entry), entry.count))
    }

    /// How many different tokens there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no token yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The memory held.
    pub fn bytes(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<Entry>() + self.index.allocation_size()
    }

    /// Gives back the memory of the index. The table can still be read, but takes in nothing more.
    pub fn seal(&mut self) {
        self.index = HashTable::new();
    }
}

fn text<'a>(arena: &'a [u8], entry: &Entry) -> &'a [u8] {
    &arena[entry.start as usize..][..entry.len as usize]
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
            tokens.add(token.as_bytes(), 1, usize::MAX).unwrap();
        }
        tokens.add(b"a", 5, usize::MAX).unwrap();
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
            if tokens.add(&added.to_le_bytes(), 1, room).is_err() {
                break;
            }
            assert!(tokens.bytes() <= budget);
            added += 1;
        }
        assert!(added > 1_000, "{added} tokens in {budget} bytes");
        assert_eq!(tokens.len() as u32, added);
        // A token that is known needs no room.
        tokens.add(&7u32.to_le_bytes(), 1, 0).unwrap();
        tokens.seal();
        assert_eq!(tokens.iter().map(|pair| pair.1).sum::<u64>(), u64::from(added) + 1);
    }
}
