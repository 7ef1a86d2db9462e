//! The watch: what a worker is at, said before it begins, so that whoever comes after its death knows what may have
//! killed it.
//!
//! Promises: what is written is read again; one death makes one more only for an offset that had the worker to itself,
//! and nobody else is blamed.
//!
//! Never: Kafka, a decision about what begins: that is the gate's (`source/gate.rs`).
//!
//! | the worker before | was at | what its successor makes of it |
//! |---|---|---|
//! | left in peace | nothing | nothing: begin freely |
//! | died free | anything it had received | be careful: name what begins |
//! | died named | one of these | they are suspects: each gets the worker to itself |
//! | died alone | this one | it has killed once more |

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::varint;
use crate::task::{NextOffset, Offset};

/// Suspects of a partition that are remembered. More come up when a parser kills on many files; the first ones are
/// tried first, and the others are found again.
const SUSPECTS_MAX: usize = 64;

/// How freely a worker begins tasks of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It has left in peace, and begins nothing.
    #[default]
    Gone,
    /// Whatever comes.
    Free,
    /// What it has named.
    Named,
    /// One, with nothing beside it.
    Alone,
}

/// What is said of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// How freely its owner begins tasks.
    pub mode: Mode,
    /// What it may be at: named, or alone.
    pub at_work: BTreeSet<Offset>,
    /// What may kill, and how often it has.
    pub suspects: BTreeMap<Offset, u32>,
}

impl Watch {
    /// What the next owner knows: whether to be careful, and whom to suspect. (`self` is what the owner before said
    /// last.)
    pub fn inherit(self) -> (bool, BTreeMap<Offset, u32>) {
        let Watch { mode, at_work, mut suspects } = self;
        for offset in at_work {
            match mode {
                Mode::Gone | Mode::Free => {}
                Mode::Named => {
                    suspects.entry(offset).or_default();
                }
                Mode::Alone => {
                    let deaths = suspects.entry(offset).or_default();
                    *deaths = deaths.saturating_add(1);
                }
            }
        }
        while suspects.len() > SUSPECTS_MAX {
            suspects.pop_last();
        }
        (mode != Mode::Gone, suspects)
    }

    /// Nothing is said: a partition that was left in peace.
    pub fn is_empty(&self) -> bool {
        *self == Watch::default()
    }

    /// Mode; how many are at work, and how far each lies behind the one before, from the committed offset on; then so of
    /// each suspect, with its deaths.
    pub(super) fn encode(&self, next: NextOffset) -> Vec<u8> {
        let mut bytes = vec![self.mode as u8];
        let mut at = next.0;
        let step = |bytes: &mut Vec<u8>, offset: &Offset, from: &mut i64| {
            varint::write(bytes, offset.0.abs_diff(*from));
            *from = offset.0;
        };
        // What lies below is finished.
        let open = |offset: &&Offset| offset.again() >= next;
        varint::write(&mut bytes, self.at_work.iter().filter(open).count() as u64);
        for offset in self.at_work.iter().filter(open) {
            step(&mut bytes, offset, &mut at);
        }
        at = next.0;
        for (offset, deaths) in self.suspects.iter().filter(|(offset, _)| open(offset)) {
            step(&mut bytes, offset, &mut at);
            varint::write(&mut bytes, u64::from(*deaths));
        }
        bytes
    }

    /// Reads what [`Watch::encode`] wrote. `None`: it did not write this.
    pub(super) fn decode(bytes: &[u8], next: NextOffset) -> Option<Watch> {
        let (mode, mut bytes) = bytes.split_first()?;
        let modes = [Mode::Gone, Mode::Free, Mode::Named, Mode::Alone];
        let mode = modes.into_iter().find(|known| *known as u8 == *mode)?;
        let mut watch = Watch { mode, ..Watch::default() };
        let step = |bytes: &mut &[u8], from: &mut i64| {
            *from = from.checked_add_unsigned(varint::read(bytes)?)?;
            // So that there is an offset behind it.
            from.checked_add(1).map(|_| Offset(*from))
        };
        let mut at = next.0;
        for _ in 0..varint::read(&mut bytes)? {
            watch.at_work.insert(step(&mut bytes, &mut at)?);
        }
        at = next.0;
        while !bytes.is_empty() {
            let offset = step(&mut bytes, &mut at)?;
            watch.suspects.insert(offset, varint::read(&mut bytes)?.try_into().ok()?);
        }
        Some(watch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offsets(offsets: &[i64]) -> BTreeSet<Offset> {
        offsets.iter().copied().map(Offset).collect()
    }

    fn watches() -> impl Strategy<Value = Watch> {
        let modes = prop::sample::select(vec![Mode::Gone, Mode::Free, Mode::Named, Mode::Alone]);
        let at_work = prop::collection::btree_set((0_i64..500).prop_map(Offset), 0..20);
        let suspects = prop::collection::btree_map((0_i64..500).prop_map(Offset), 0_u32..200, 0..70);
        (modes, at_work, suspects).prop_map(|(mode, at_work, suspects)| Watch { mode, at_work, suspects })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_but_for_what_is_finished(watch in watches(), next in 0_i64..500) {
            let next = NextOffset(next);
            let read = Watch::decode(&watch.encode(next), next).unwrap();
            let mut open = watch;
            open.at_work.retain(|offset| offset.again() >= next);
            open.suspects.retain(|offset, _| offset.again() >= next);
            prop_assert_eq!(read, open);
        }

        #[test]
        fn hostile_bytes_are_refused_or_are_a_watch(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            next in any::<i64>(),
        ) {
            if let Some(watch) = Watch::decode(&bytes, NextOffset(next)) {
                let again = Watch::decode(&watch.encode(NextOffset(next)), NextOffset(next));
                prop_assert_eq!(again, Some(watch));
            }
        }

        #[test]
        fn only_who_was_alone_has_killed(watch in watches()) {
            let (careful, suspects) = watch.clone().inherit();
            prop_assert_eq!(careful, watch.mode != Mode::Gone);
            prop_assert!(suspects.len() <= SUSPECTS_MAX);
            for (offset, deaths) in suspects {
                let before = watch.suspects.get(&offset).copied();
                let at_work = watch.at_work.contains(&offset);
                let alone = watch.mode == Mode::Alone && at_work;
                prop_assert_eq!(deaths, before.unwrap_or(0) + u32::from(alone));
                prop_assert!(before.is_some() || at_work && matches!(watch.mode, Mode::Named | Mode::Alone));
            }
        }
    }

    #[test]
    fn the_table_of_the_module() {
        let watch = |mode, at_work: &[i64]| Watch { mode, at_work: offsets(at_work), ..Watch::default() };
        let suspects = |suspects: &[(i64, u32)]| {
            suspects.iter().map(|(offset, deaths)| (Offset(*offset), *deaths)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(watch(Mode::Gone, &[]).inherit(), (false, suspects(&[])));
        assert_eq!(watch(Mode::Free, &[]).inherit(), (true, suspects(&[])));
        assert_eq!(watch(Mode::Named, &[3, 5]).inherit(), (true, suspects(&[(3, 0), (5, 0)])));
        let mut alone = watch(Mode::Alone, &[5]);
        alone.suspects = suspects(&[(3, 0), (5, 1)]);
        assert_eq!(alone.inherit(), (true, suspects(&[(3, 0), (5, 2)])));
    }
}
