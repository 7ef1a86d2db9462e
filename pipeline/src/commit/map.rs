//! The map of finished offsets: a set of offsets as runs, and its form in bytes.
//!
//! Promises:
//!
//! - what is written and read again is the same set; it holds finished offsets only, so gaps need nothing;
//! - the bytes are runs or a bitmap, whichever is smaller, and never more than asked for: what does not fit is left
//!   out from the top, so that less is remembered, and nothing that was not finished;
//! - bytes that nobody wrote are refused or are some set, and cost no more than they are long.
//!
//! Never: Kafka, base64, a decision about what is committed.
//!
//! | form | bytes |
//! |---|---|
//! | runs | `0`, then for each run: how many offsets lie before it, how many are in it (varints) |
//! | bitmap | `1`, then a bit for each offset from the committed one on, lowest bit first |

use std::collections::BTreeMap;

use crate::commit::varint;
use crate::task::{NextOffset, Offset};

const RUNS: u8 = 0;
const BITMAP: u8 = 1;

/// A set of offsets. Its size is that of its runs: fifty thousand neighbours cost as much as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// First offset → first one behind the run. Runs neither touch nor overlap.
    runs: BTreeMap<i64, i64>,
    count: u64,
}

impl Offsets {
    /// Adds one.
    pub fn insert(&mut self, offset: Offset) {
        let (first, behind) = (offset.again().0, offset.next().0);
        if self.contains(offset) {
            return;
        }
        let behind = self.runs.remove(&behind).unwrap_or(behind);
        match self.runs.range_mut(..first).next_back() {
            Some((_, end)) if *end == first => *end = behind,
            _ => {
                self.runs.insert(first, behind);
            }
        }
        self.count += 1;
    }

    /// Whether it is in the set.
    pub fn contains(&self, offset: Offset) -> bool {
        self.runs.range(..=offset.0).next_back().is_some_and(|(_, behind)| offset.0 < *behind)
    }

    /// Drops everything below `next`.
    pub fn forget_below(&mut self, next: NextOffset) {
        while let Some(run) = self.runs.first_entry().filter(|run| *run.key() < next.0) {
            let (first, behind) = run.remove_entry();
            self.count -= behind.min(next.0).abs_diff(first);
            if behind > next.0 {
                self.runs.insert(next.0, behind);
            }
        }
    }

    /// Adds everything of another set.
    pub fn extend(&mut self, other: &Offsets) {
        // The usual cases: one of them is empty, or lies wholly above this one.
        let above = self
            .runs
            .last_key_value()
            .is_none_or(|(_, behind)| other.runs.first_key_value().is_none_or(|(first, _)| first > behind));
        if above {
            self.runs.extend(&other.runs);
            self.count += other.count;
            return;
        }
        for (first, behind) in &other.runs {
            self.insert_run(*first, *behind);
        }
    }

    /// Adds a run, which may overlap with what is there.
    fn insert_run(&mut self, mut first: i64, mut behind: i64) {
        while let Some((&start, &end)) =
            self.runs.range(..=behind).next_back().filter(|(_, end)| **end >= first)
        {
            self.runs.remove(&start);
            self.count -= end.abs_diff(start);
            (first, behind) = (first.min(start), behind.max(end));
        }
        self.runs.insert(first, behind);
        self.count += behind.abs_diff(first);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many runs of neighbours there are.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// No less than the bytes of [`Offsets::encode`], and quickly known.
    pub fn bytes_at_most(&self, from: NextOffset) -> usize {
        let span = self.runs.last_key_value().map_or(0, |(_, behind)| behind.abs_diff(from.0));
        1 + self.runs.len() * 2 * varint::len(span)
    }

    /// The set from `from` on in at most `bytes_max` bytes, in the form that holds the most of it, the shorter one of
    /// two that hold the same.
    pub fn encode(&self, from: NextOffset, bytes_max: usize) -> Vec<u8> {
        let (runs, in_runs) = self.as_runs(from, bytes_max);
        let (bitmap, in_bitmap) = self.as_bitmap(from, bytes_max);
        if (in_bitmap, runs.len()) > (in_runs, bitmap.len()) { bitmap } else { runs }
    }

    fn runs_from(&self, from: NextOffset) -> impl Iterator<Item = (i64, i64)> {
        let runs = self.runs.iter().map(move |(first, behind)| ((*first).max(from.0), *behind));
        runs.filter(|(first, behind)| first < behind)
    }

    fn as_runs(&self, from: NextOffset, bytes_max: usize) -> (Vec<u8>, u64) {
        let (mut bytes, mut held, mut at) = (vec![RUNS], 0, from.0);
        for (first, behind) in self.runs_from(from) {
            let (before, within) = (first.abs_diff(at), behind.abs_diff(first));
            if bytes.len() + varint::len(before) + varint::len(within) > bytes_max {
                break;
            }
            varint::write(&mut bytes, before);
            varint::write(&mut bytes, within);
            (held, at) = (held + within, behind);
        }
        (bytes, held)
    }

    fn as_bitmap(&self, from: NextOffset, bytes_max: usize) -> (Vec<u8>, u64) {
        let (mut bytes, mut held) = (vec![BITMAP], 0);
        let bits_max = (bytes_max as u64).saturating_sub(1).saturating_mul(8);
        for (first, behind) in self.runs_from(from) {
            let first = first.abs_diff(from.0);
            let behind = behind.abs_diff(from.0).min(bits_max);
            if first >= behind {
                break;
            }
            bytes.resize(1 + (behind as usize).div_ceil(8), 0);
            for bit in first..behind {
                bytes[1 + (bit / 8) as usize] |= 1 << (bit % 8);
            }
            held += behind - first;
        }
        (bytes, held)
    }

    /// Reads what [`Offsets::encode`] wrote. `None`: it did not write this.
    pub fn decode(bytes: &[u8], from: NextOffset) -> Option<Offsets> {
        let (form, mut bytes) = bytes.split_first()?;
        let mut offsets = Offsets::default();
        match *form {
            RUNS => {
                let mut at = from.0;
                while !bytes.is_empty() {
                    let first = at.checked_add_unsigned(varint::read(&mut bytes)?)?;
                    let behind = first.checked_add_unsigned(varint::read(&mut bytes)?)?;
                    let touches = first == at && !offsets.is_empty();
                    if behind == first || touches {
                        return None;
                    }
                    offsets.runs.insert(first, behind);
                    offsets.count += behind.abs_diff(first);
                    at = behind;
                }
            }
            BITMAP => {
                for (index, byte) in bytes.iter().enumerate() {
                    for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                        let offset = from.0.checked_add_unsigned(index as u64 * 8 + bit)?;
                        // So that there is an offset behind it.
                        offset.checked_add(1)?;
                        offsets.insert(Offset(offset));
                    }
                }
            }
            _ => return None,
        }
        Some(offsets)
    }
}

impl FromIterator<Offset> for Offsets {
    fn from_iter<I: IntoIterator<Item = Offset>>(offsets: I) -> Offsets {
        let mut set = Offsets::default();
        offsets.into_iter().for_each(|offset| set.insert(offset));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(set: &Offsets) -> BTreeSet<i64> {
        set.runs.iter().flat_map(|(first, behind)| *first..*behind).collect()
    }

    fn of(members: &BTreeSet<i64>) -> Offsets {
        members.iter().map(|offset| Offset(*offset)).collect()
    }

    /// Sets of every shape: dense, sparse, in runs.
    fn sets() -> impl Strategy<Value = BTreeSet<i64>> {
        let run = (0_i64..60, 1_i64..40);
        let runs = prop::collection::vec(run, 0..60).prop_map(|runs| {
            let mut at = 0;
            let mut set = BTreeSet::new();
            for (before, within) in runs {
                set.extend(at + before..at + before + within);
                at += before + within;
            }
            set
        });
        prop_oneof![runs, prop::collection::btree_set(0_i64..400, 0..200)]
    }

    proptest! {
        #[test]
        fn it_is_a_set(inserted in prop::collection::vec(0_i64..100, 0..100), below in 0_i64..110, other in sets()) {
            let mut set: Offsets = inserted.iter().map(|offset| Offset(*offset)).collect();
            let mut model: BTreeSet<i64> = inserted.iter().copied().collect();
            prop_assert_eq!(&members(&set), &model);
            set.extend(&of(&other));
            model.extend(&other);
            prop_assert_eq!(&members(&set), &model);
            set.forget_below(NextOffset(below));
            model.retain(|offset| *offset >= below);
            prop_assert_eq!(&members(&set), &model);
            prop_assert_eq!(set.count(), model.len() as u64);
            for offset in 0..110 {
                prop_assert_eq!(set.contains(Offset(offset)), model.contains(&offset));
            }
            // Runs neither touch nor overlap: the form is the only one.
            prop_assert_eq!(&set, &of(&model));
        }

        #[test]
        fn what_is_written_is_read_again(model in sets(), from in 0_i64..50) {
            let bytes = of(&model).encode(NextOffset(from), usize::MAX);
            let above: BTreeSet<i64> = model.into_iter().filter(|offset| *offset >= from).collect();
            prop_assert_eq!(Offsets::decode(&bytes, NextOffset(from)), Some(of(&above)));
            prop_assert!(bytes.len() <= of(&above).bytes_at_most(NextOffset(from)));
            let span = above.last().map_or(0, |last| last + 1 - from) as usize;
            prop_assert!(bytes.len() <= 1 + span.div_ceil(8), "never longer than the bitmap");
        }

        #[test]
        fn what_does_not_fit_is_left_out_from_the_top(model in sets(), bytes_max in 1_usize..30) {
            let bytes = of(&model).encode(NextOffset(0), bytes_max);
            prop_assert!(bytes.len() <= bytes_max);
            let held = members(&Offsets::decode(&bytes, NextOffset(0)).unwrap());
            prop_assert!(model.iter().zip(&held).all(|(one, other)| one == other), "the lowest");
        }

        #[test]
        fn hostile_bytes_are_refused_or_are_a_set(
            form in 0_u8..3,
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            from in any::<i64>(),
        ) {
            let bytes = [&[form][..], &bytes].concat();
            if let Some(set) = Offsets::decode(&bytes, NextOffset(from)) {
                prop_assert!(set.runs() <= bytes.len() * 8);
                let again = set.encode(NextOffset(from), 4096);
                prop_assert_eq!(Offsets::decode(&again, NextOffset(from)), Some(set));
            }
        }
    }

    #[test]
    fn neighbours_cost_a_few_bytes_and_every_second_one_a_bit() {
        let behind_one: Offsets = (1..=50_000).map(Offset).collect();
        assert_eq!(behind_one.encode(NextOffset(0), 4096).len(), 5);
        let every_second: Offsets = (0..8_000).step_by(2).map(Offset).collect();
        assert_eq!(every_second.encode(NextOffset(0), 4096).len(), 1 + 1_000);
    }

    #[test]
    fn other_forms_empty_and_touching_runs_are_refused() {
        for bytes in [&[][..], &[2, 1, 1], &[RUNS, 1], &[RUNS, 1, 0], &[RUNS, 1, 1, 0, 1], &[RUNS, 0x80]] {
            assert_eq!(Offsets::decode(bytes, NextOffset(7)), None, "{bytes:?}");
        }
    }
}
