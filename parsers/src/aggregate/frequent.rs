//! The most frequent value, estimated in bounded memory: a Misra–Gries sketch.
//!
//! Promise: the count of the value returned is at most `error` off, and no other value is more frequent by
//! more than `error`. Values longer than a limit are no candidates, so that memory stays bounded; their
//! number is part of the error. A value is known by its hash until it comes again: most of a column of different values
//! never do, and are never copied. Source: Anderson et al., "A high-performance algorithm for identifying frequent items
//! in data streams" (2017): when the table is full, the median count is taken off all of them.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A candidate; most are short, and need no allocation.
type Candidate = SmallVec<[u8; 24]>;

/// A table of candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frequent {
    /// By hash, with open addressing; a power of two of them, of which a quarter stays free.
    slots: Vec<Slot>,
    /// Empty where only the hash is known.
    values: Vec<Candidate>,
    used: usize,
    /// How many values are known.
    named: usize,
    /// What was taken off the counts of all.
    taken_off: u64,
    candidate_bytes_max: usize,
    passed_over: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Slot {
    hash: u64,
    /// Zero where nobody is.
    count: u64,
}

/// The most frequent value of a sketch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The value.
    pub value: Vec<u8>,
    /// Its estimated count.
    pub count: u64,
    /// How far the count may be off, and how much more frequent another value may be.
    pub error: u64,
}

impl Frequent {
    /// An empty sketch of `slots` (rounded up to a power of two) for values up to `candidate_bytes_max`.
    pub fn new(slots: usize, candidate_bytes_max: usize) -> Frequent {
        let slots = slots.max(4).next_power_of_two();
        Frequent {
            slots: vec![Slot::default(); slots],
            values: vec![Candidate::new(); slots],
            used: 0,
            named: 0,
            taken_off: 0,
            candidate_bytes_max,
            passed_over: 0,
        }
    }

    /// Whether it is a table in which every search ends, of `count` values.
    pub(crate) fn is_sound(&self, count: u64) -> bool {
        let used = self.slots.iter().filter(|slot| slot.count > 0).count();
        let named = self.values.iter().filter(|value| !value.is_empty()).count();
        let counts = self.slots.iter().map(|slot| slot.count).chain([self.taken_off, self.passed_over]);
        let sum = counts.fold(0u64, u64::saturating_add);
        self.slots.len().is_power_of_two()
            && self.slots.len() >= 4
            && self.values.len() == self.slots.len()
            && used == self.used
            && named == self.named
            && used <= self.slots.len() / 4 * 3
            && sum <= count
    }

    /// Takes in one value with its hash, `times` times. No value is empty.
    #[inline]
    pub fn add(&mut self, hash: u64, value: &[u8], times: u64) {
        if value.len() > self.candidate_bytes_max {
            self.passed_over += times;
            return;
        }
        // One is always known, so that there is an answer.
        self.count(hash, value, times, times > 1 || self.named == 0);
    }

    /// Counts a value, which may be empty if nobody knows it. A new one is known at once, if that is `wanted`.
    #[inline]
    fn count(&mut self, hash: u64, value: &[u8], times: u64, wanted: bool) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].count > 0 {
            if self.slots[at].hash == hash {
                let is_known = !self.values[at].is_empty();
                if !is_known || value.is_empty() || *self.values[at] == *value {
                    self.slots[at].count += times;
                    if !is_known {
                        self.name(at, value);
                    }
                    return;
                }
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot { hash, count: times };
        self.used += 1;
        if wanted {
            self.name(at, value);
        }
        if self.used > self.slots.len() / 4 * 3 {
            self.purge();
        }
    }

    fn name(&mut self, at: usize, value: &[u8]) {
        self.values[at] = Candidate::from_slice(value);
        self.named += usize::from(!value.is_empty());
    }

    /// Takes the median off all counts, and so forgets at least half of the candidates.
    fn purge(&mut self) {
        let ones = self.slots.iter().filter(|slot| slot.count == 1).count();
        let median = if ones > self.used / 2 { 1 } else { self.median() };
        self.taken_off += median;
        let mut kept: Vec<(Slot, Candidate)> = Vec::new();
        for (slot, value) in self.slots.iter_mut().zip(&mut self.values) {
            let Slot { hash, count } = std::mem::take(slot);
            // Those that are forgotten give back their memory as well.
            let value = if value.is_empty() { Candidate::new() } else { std::mem::take(value) };
            if count > median {
                kept.push((Slot { hash, count: count - median }, value));
            }
        }
        self.used = kept.len();
        self.named = kept.iter().filter(|(_, value)| !value.is_empty()).count();
        let mask = self.slots.len() - 1;
        for (slot, value) in kept {
            let mut at = slot.hash as usize & mask;
            while self.slots[at].count > 0 {
                at = (at + 1) & mask;
            }
            (self.slots[at], self.values[at]) = (slot, value);
        }
    }

    fn median(&self) -> u64 {
        let mut counts: Vec<u64> =
            self.slots.iter().map(|slot| slot.count).filter(|count| *count > 0).collect();
        let middle = counts.len() / 2;
        *counts.select_nth_unstable(middle).1
    }

    /// Goes on with at most so many slots, and values up to `candidate_bytes_max`.
    pub fn shrink(&mut self, slots: usize, candidate_bytes_max: usize) {
        let slots = slots.min(self.slots.len());
        let longest = candidate_bytes_max.min(self.candidate_bytes_max);
        if slots == self.slots.len() && longest == self.candidate_bytes_max {
            return;
        }
        let mut small = Frequent::new(slots, longest);
        let mut candidates: Vec<(&Slot, &Candidate)> =
            self.slots.iter().zip(&self.values).filter(|(slot, _)| slot.count > 0).collect();
        // The most frequent first: they are to stay.
        candidates.sort_by(|(a, x), (b, y)| {
            b.count.cmp(&a.count).then_with(|| x.cmp(y)).then_with(|| a.hash.cmp(&b.hash))
        });
        candidates.into_iter().for_each(|(slot, value)| small.take_in(slot, value));
        // What was taken off may have been theirs.
        let passed_over = if small.passed_over > 0 { small.passed_over + self.taken_off } else { 0 };
        small.passed_over = self.passed_over + passed_over;
        small.taken_off += self.taken_off;
        *self = small;
    }

    /// Takes in the values of another part.
    pub fn merge(&mut self, other: &Frequent) {
        self.candidate_bytes_max = self.candidate_bytes_max.min(other.candidate_bytes_max);
        self.passed_over += other.passed_over;
        for (slot, value) in other.slots.iter().zip(&other.values).filter(|(slot, _)| slot.count > 0) {
            self.take_in(slot, value);
        }
        self.taken_off += other.taken_off;
    }

    /// A candidate of another sketch.
    fn take_in(&mut self, slot: &Slot, value: &Candidate) {
        if value.len() > self.candidate_bytes_max {
            self.passed_over += slot.count;
        } else {
            self.count(slot.hash, value, slot.count, true);
        }
    }

    /// The most frequent value; of equals the smallest, so that the answer is one. `None` if no value stands
    /// out at all.
    pub fn finish(&self) -> Option<Top> {
        let candidates = self.slots.iter().zip(&self.values).filter(|(_, value)| !value.is_empty());
        let (slot, value) =
            candidates.max_by(|(a, x), (b, y)| a.count.cmp(&b.count).then_with(|| y.cmp(x)))?;
        let unknown = self.slots.iter().zip(&self.values).filter(|(_, value)| value.is_empty());
        let unknown = unknown.map(|(slot, _)| slot.count).max().unwrap_or(0);
        // What is counted was surely seen; what was taken off may have been. Parts that each saw a value once make one
        // that is more frequent than all that are known.
        let error = self.taken_off.max(self.passed_over) + unknown.saturating_sub(slot.count);
        Some(Top { value: value.to_vec(), count: slot.count, error })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::hash;

    fn add(sketch: &mut Frequent, value: &[u8], times: u64) {
        sketch.add(hash::bytes(value), value, times);
    }

    fn of(values: &[u16]) -> Frequent {
        let mut sketch = Frequent::new(16, 8);
        values.iter().for_each(|v| add(&mut sketch, v.to_string().as_bytes(), 1));
        sketch
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let mut sketch = Frequent::new(16, 64);
        (0..1_000u32).for_each(|v| add(&mut sketch, format!("{v:040}").as_bytes(), 1));
        let held = sketch.values.iter().filter(|value| !value.is_empty()).count();
        assert_eq!(held, sketch.named);
        assert!(0 < held && held < sketch.used);
        let twice = Frequent { values: sketch.values.clone(), slots: sketch.slots.clone(), ..sketch };
        assert!(twice.is_sound(1_000));
        assert!(!twice.is_sound(twice.taken_off));
    }

    fn check(sketch: &Frequent, values: &[u16]) {
        let count = |value: &[u8]| values.iter().filter(|v| v.to_string().as_bytes() == value).count() as u64;
        let most = values.iter().map(|v| count(v.to_string().as_bytes())).max().unwrap();
        match sketch.finish() {
            Some(top) => {
                assert!(count(&top.value).abs_diff(top.count) <= top.error);
                assert!(most <= top.count + top.error);
            }
            None => assert!(most <= sketch.taken_off),
        }
        // Each round takes at least half the table's places times the median off.
        assert!(sketch.taken_off <= values.len() as u64 / 6, "{} of {}", sketch.taken_off, values.len());
    }

    #[test]
    fn a_smaller_table_knows_what_it_lost() {
        let long = [900, 901, 902].repeat(3);
        let values: Vec<u16> = (0..250).map(|i| i * i / 250).chain(long).collect();
        let mut sketch = Frequent::new(64, 8);
        values.iter().for_each(|v| add(&mut sketch, v.to_string().as_bytes(), 1));
        let before = sketch.finish().unwrap();
        sketch.shrink(4, 1);
        let after = sketch.finish().unwrap();
        assert!(sketch.slots.len() == 4 && sketch.passed_over > before.error && after.error > before.error);
        let count = |value: &[u8]| values.iter().filter(|v| v.to_string().as_bytes() == value).count() as u64;
        let most = values.iter().map(|v| count(v.to_string().as_bytes())).max().unwrap();
        assert!(
            count(&after.value).abs_diff(after.count) <= after.error && most <= after.count + after.error
        );
    }

    #[test]
    fn long_values_are_part_of_the_error() {
        let mut sketch = Frequent::new(16, 4);
        add(&mut sketch, b"long value", 7);
        add(&mut sketch, b"ab", 3);
        assert_eq!(sketch.finish(), Some(Top { value: b"ab".to_vec(), count: 3, error: 7 }));
    }

    #[test]
    fn values_of_one_hash_are_told_apart() {
        let mut sketch = Frequent::new(16, 8);
        for (value, times) in [(b"a", 2), (b"b", 3), (b"a", 2)] {
            sketch.add(7, value, times);
        }
        assert_eq!(sketch.finish(), Some(Top { value: b"a".to_vec(), count: 4, error: 0 }));
    }

    proptest! {
        #[test]
        fn the_count_stays_within_its_error_whole_or_merged(
            values in proptest::collection::vec((0u32..400).prop_map(|v| (v * v / 400) as u16), 1..1000),
            cut in 0usize..1000,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            check(&of(&values), &values);
            check(&merged, &values);
            let mut empty = of(&[]);
            empty.merge(&of(&values));
            prop_assert_eq!(empty.finish(), of(&values).finish());
        }
    }
}
