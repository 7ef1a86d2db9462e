//! Long tokens and their counts: entries in the order of first appearance, an index that leads to them, and an arena for
//! the bytes of those that have no place in an entry.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::{AHEAD, ENTRIES_MIN, grown};
use crate::aggregate::Word;
use crate::aggregate::word::INLINE_BYTES;

/// The first allocation of the arena; small, since a file may have thousands of columns.
const ARENA_BYTES_MIN: usize = 128;
/// Links for each entry: half of them stay free, so that a search is short.
const LINKS_PER_ENTRY: usize = 2;

/// A way to the entry of this number, whose hash begins with this tag.
#[derive(Clone, Copy, Debug)]
struct Link {
    tag: u32,
    number: u32,
}

/// A link to no entry.
const FREE: Link = Link { tag: 0, number: u32::MAX };

impl Link {
    fn is_free(self) -> bool {
        self.number == FREE.number
    }
}

/// A token.
#[derive(Clone, Copy, Debug)]
struct Entry {
    head: [u8; INLINE_BYTES],
    count: u64,
    /// Where a token that is longer than that lies in the arena.
    start: u32,
    len: u32,
}

impl Entry {
    fn head(&self) -> u128 {
        u128::from_le_bytes(self.head)
    }

    #[inline]
    fn is(&self, word: &Word<'_>, arena: &[u8]) -> bool {
        self.head() == word.head()
            && self.len as usize == word.text.len()
            && (word.text.len() <= INLINE_BYTES || is_same(self.text(arena), word.text))
    }

    fn text<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        let len = self.len as usize;
        if len <= INLINE_BYTES { &self.head[..len] } else { &arena[self.start as usize..][..len] }
    }
}

/// Whether two tokens of one length and one beginning are the same. Most are short enough that their ends tell.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ends = a.last_chunk::<INLINE_BYTES>() == b.last_chunk::<INLINE_BYTES>();
    ends && (a.len() <= 2 * INLINE_BYTES || a == b)
}

/// The table.
#[derive(Clone, Default)]
pub(super) struct Long {
    /// At the places of their tags, or in the next free ones: a power of two of them.
    index: Vec<Link>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
    hash: RandomState,
}

/// What must grow for one token more, and how large it becomes.
#[derive(Clone, Copy)]
pub(super) struct Growth {
    arena: Option<usize>,
    entries: Option<usize>,
    index: Option<usize>,
}

impl Growth {
    /// The memory that is allocated for it.
    pub(super) fn bytes(&self) -> usize {
        self.arena.unwrap_or(0)
            + self.entries.unwrap_or(0) * size_of::<Entry>()
            + self.index.unwrap_or(0) * size_of::<Link>()
    }
}

impl Long {
    /// What a token is known by in the index.
    #[inline]
    pub(super) fn tag(&self, word: &Word<'_>) -> u32 {
        let hash = match word.text.len() {
            // The length makes words of zeros differ.
            len @ ..=INLINE_BYTES => self.hash.hash_one(word.head() ^ (len as u128) << 120),
            _ => self.hash.hash_one(word.text),
        };
        (hash >> 32) as u32
    }

    /// Counts a token, if it is there.
    #[inline]
    pub(super) fn count(&mut self, word: &Word<'_>, tag: u32, times: u64) -> bool {
        let mut at = self.first(tag);
        while let Some(link) = self.index.get(at).filter(|link| !link.is_free()) {
            if link.tag == tag
                && let Some(entry) = self.entries.get_mut(link.number as usize)
                && entry.is(word, &self.arena)
            {
                entry.count += times;
                return true;
            }
            at = (at + 1) & (self.index.len() - 1);
        }
        false
    }

    /// The tag of each of these, and the entry where it is likely to be. All links are on their way before the first is
    /// needed, and then all entries.
    pub(super) fn ahead(&self, words: &[Word<'_>]) -> ([u32; AHEAD], [u32; AHEAD]) {
        let (mut tags, mut likely) = ([0; AHEAD], [FREE.number; AHEAD]);
        for ((tag, likely), word) in tags.iter_mut().zip(&mut likely).zip(words) {
            *tag = self.tag(word);
            *likely = self.index.get(self.first(*tag)).map_or(FREE, |link| *link).number;
        }
        let mut heads = [0; AHEAD];
        for (head, number) in heads.iter_mut().zip(&likely[..words.len()]) {
            *head = self.entries.get(*number as usize).map_or(0, Entry::head);
        }
        for ((likely, head), word) in likely.iter_mut().zip(heads).zip(words) {
            if head != word.head() {
                *likely = FREE.number;
            }
        }
        (tags, likely)
    }

    /// Counts a token once, if it is in this entry.
    #[inline]
    pub(super) fn count_at(&mut self, number: u32, word: &Word<'_>) -> bool {
        match self.entries.get_mut(number as usize) {
            Some(entry) if entry.is(word, &self.arena) => entry.count += 1,
            _ => return false,
        }
        true
    }

    /// What must grow for a token that is not there. `None`: there can be no more.
    pub(super) fn growth(&self, word: &Word<'_>) -> Option<Growth> {
        let (arena, entries) = (self.arena.len() + in_arena(word).len(), self.entries.len());
        let is_full = entries == self.index.len() / LINKS_PER_ENTRY;
        let can_be = arena <= u32::MAX as usize && entries < FREE.number as usize;
        can_be.then(|| Growth {
            arena: grown(self.arena.capacity(), arena, ARENA_BYTES_MIN),
            entries: grown(self.entries.capacity(), entries + 1, ENTRIES_MIN),
            index: is_full.then(|| (self.index.len() * 2).max(ENTRIES_MIN * LINKS_PER_ENTRY)),
        })
    }

    /// A token that is not there, after this growth; gives the number of its entry.
    pub(super) fn insert(&mut self, word: &Word<'_>, tag: u32, times: u64, growth: Growth) -> u32 {
        if let Some(capacity) = growth.arena {
            self.arena.reserve_exact(capacity - self.arena.len());
        }
        if let Some(capacity) = growth.entries {
            self.entries.reserve_exact(capacity - self.entries.len());
        }
        if let Some(len) = growth.index {
            let old = std::mem::replace(&mut self.index, vec![FREE; len]);
            old.into_iter().filter(|link| !link.is_free()).for_each(|link| self.link(link));
        }
        let (start, len) = (self.arena.len() as u32, word.text.len() as u32);
        self.arena.extend_from_slice(in_arena(word));
        let number = self.entries.len() as u32;
        self.entries.push(Entry { head: word.head, count: times, start, len });
        self.link(Link { tag, number });
        number
    }

    fn link(&mut self, link: Link) {
        let mut at = self.first(link.tag);
        while !self.index[at].is_free() {
            at = (at + 1) & (self.index.len() - 1);
        }
        self.index[at] = link;
    }

    /// Where the search for a tag begins: places are in the order of tags, so that an index that grows is read and written
    /// from front to back.
    #[inline]
    fn first(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.index.len() as u64) >> 32) as usize
    }

    /// The token of this entry.
    pub(super) fn word(&self, number: u32) -> Word<'_> {
        let entry = &self.entries[number as usize];
        Word { head: entry.head, text: entry.text(&self.arena) }
    }

    /// The count of the token of this entry.
    pub(super) fn get(&self, number: u32) -> u64 {
        self.entries[number as usize].count
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.arena.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.index.capacity() * size_of::<Link>()
    }

    /// Gives back the index: entries can still be read, but not found.
    pub(super) fn seal(&mut self) {
        self.index = Vec::new();
    }
}

/// What of a token has no place in an entry: all of it, or nothing.
fn in_arena<'a>(word: &Word<'a>) -> &'a [u8] {
    if word.text.len() > INLINE_BYTES { word.text } else { &[] }
}
