//! Short tokens and their counts: each is its own key, and lies with its count in a slot.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::{AHEAD, ENTRIES_MIN};
use crate::aggregate::Word;

/// Slots for each token that may be in them: half of them stay free, so that a search is short.
const SLOTS_PER_TOKEN: usize = 2;
/// The same as long as there are no more tokens than this: then memory is cheap, and most searches end where they begin.
const ROOMY_SLOTS_PER_TOKEN: usize = 4;
const ROOMY_TOKENS_MAX: usize = 4096;

/// A token and its count; free when that is zero.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    count: u64,
}

/// The table.
#[derive(Clone, Default)]
pub(super) struct Short {
    /// Tokens at the places of their hashes, or in the next free slots: a power of two of them.
    slots: Vec<Slot>,
    /// How many of them are used.
    used: usize,
    hash: RandomState,
}

impl Short {
    /// Counts a token that is there; else tells the free slot where it would go.
    #[inline]
    pub(super) fn count(&mut self, key: u64, times: u64) -> Result<(), usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = self.first(key);
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.key == key || slot.count == 0 {
                if slot.count == 0 {
                    break;
                }
                slot.count += times;
                return Ok(());
            }
            at = (at + 1) & mask;
        }
        Err(at)
    }

    /// Where each of these is likely to be. All slots are on their way before the first is needed.
    pub(super) fn ahead(&self, words: &[Word<'_>]) -> [usize; AHEAD] {
        let (mut likely, mut seen) = ([0; AHEAD], [0; AHEAD]);
        for ((at, seen), word) in likely.iter_mut().zip(&mut seen).zip(words) {
            *at = self.first(word.key().unwrap_or_default());
            *seen = self.slots.get(*at).map_or(0, |slot| slot.key);
        }
        for ((at, seen), word) in likely.iter_mut().zip(seen).zip(words) {
            if word.key() != Some(seen) {
                *at = usize::MAX;
            }
        }
        likely
    }

    /// Counts a token once, if it is at this place.
    pub(super) fn count_at(&mut self, at: usize, key: u64) -> bool {
        match self.slots.get_mut(at).filter(|slot| slot.key == key && slot.count > 0) {
            Some(slot) => slot.count += 1,
            None => return false,
        }
        true
    }

    /// How many slots there must be for one token more, if there must be more.
    pub(super) fn next_len(&self) -> Option<usize> {
        let most = match self.slots.len() / ROOMY_SLOTS_PER_TOKEN {
            few if few < ROOMY_TOKENS_MAX => few,
            _ => self.slots.len() / SLOTS_PER_TOKEN,
        };
        (self.used == most).then(|| (self.slots.len() * 2).max(ENTRIES_MIN * ROOMY_SLOTS_PER_TOKEN))
    }

    pub(super) fn grow(&mut self, len: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); len]);
        for slot in old.into_iter().filter(|slot| slot.count > 0) {
            let at = self.free(slot.key);
            self.slots[at] = slot;
        }
    }

    /// The slot for a token that is not there.
    pub(super) fn free(&self, key: u64) -> usize {
        let mut at = self.first(key);
        while self.slots[at].count > 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }

    /// A token that is not there, in the free slot where it goes.
    pub(super) fn put(&mut self, at: usize, key: u64, times: u64) {
        self.slots[at] = Slot { key, count: times };
        self.used += 1;
    }

    /// The count of a token that is there.
    pub(super) fn get(&self, key: u64) -> u64 {
        let mut at = self.first(key);
        while self.slots[at].key != key {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at].count
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> usize {
        bytes(self.slots.capacity())
    }

    /// Where the search for a token begins.
    #[inline]
    fn first(&self, key: u64) -> usize {
        self.hash.hash_one(key) as usize & self.slots.len().wrapping_sub(1)
    }
}

/// The memory of so many slots.
pub(super) fn bytes(slots: usize) -> usize {
    slots * size_of::<Slot>()
}
