//! The books, for those who commit outcomes and offsets together in the source's place: see
//! [`transaction`](crate::transaction).
//!
//! Promises: what is to be committed is one view of the books; what was committed is booked only under the assignments that
//! it was looked at under.

use std::collections::BTreeMap;

use crate::commit::{Checkpoint, Generation, Offsets, Standing, Watch};
use crate::source::Intake;
use crate::task::{Partition, Position};

/// A view of the books.
#[derive(Debug)]
pub struct Ahead {
    /// What is known of the tasks that were asked about, in their order.
    pub standings: Vec<Standing>,
    /// What a commit says as soon as those of them that are open are finished, where that is news.
    pub checkpoints: Vec<(Partition, Checkpoint)>,
    /// The assignment of each of these partitions.
    generations: Vec<Generation>,
}

impl Intake {
    /// Looks at the books.
    pub fn ahead<'a>(&self, tasks: impl IntoIterator<Item = (&'a Position, Generation)>) -> Ahead {
        let state = self.lock();
        let ledger = &state.ledger;
        let mut finished: BTreeMap<&Partition, Offsets> = BTreeMap::new();
        let look = |(position, generation): (&'a Position, Generation)| {
            let standing = ledger.standing(position, generation);
            if standing == Standing::Open {
                finished.entry(&position.partition).or_default().insert(position.offset);
            }
            standing
        };
        let standings = tasks.into_iter().map(look).collect();
        let none = Offsets::default();
        let mut ahead = Ahead { standings, checkpoints: Vec::new(), generations: Vec::new() };
        for partition in ledger.partitions() {
            let also = finished.get(partition).unwrap_or(&none);
            let news = ledger
                .checkpoint_with(partition, also)
                .filter(|checkpoint| ledger.told(partition) != Some(checkpoint));
            if let (Some(checkpoint), Some(generation)) = (news, ledger.generation(partition)) {
                ahead.checkpoints.push((partition.clone(), checkpoint));
                ahead.generations.push(generation);
            }
        }
        ahead
    }

    /// Books what was committed: these tasks are finished.
    pub fn confirm<'a>(&self, tasks: impl IntoIterator<Item = (&'a Position, Generation)>, ahead: Ahead) {
        let mut state = self.lock();
        for (position, generation) in tasks {
            state.ledger.confirm(position, generation);
        }
        for ((partition, checkpoint), generation) in ahead.checkpoints.into_iter().zip(ahead.generations) {
            if let Some(assignment) = state.assignments.get_mut(&partition)
                && assignment.generation == generation
            {
                assignment.committed = Some(checkpoint.next);
            }
            state.ledger.tell(&partition, generation, checkpoint);
        }
        drop(state);
        self.notify();
    }

    /// Something waits for what is said of a partition, and has no result.
    pub(super) fn urge(&self) {
        self.lock().urged = true;
    }

    /// Whether something waits for a commit, once.
    pub fn is_urged(&self) -> bool {
        std::mem::take(&mut self.lock().urged)
    }

    /// What is committed to be said of a partition, under this assignment.
    pub(super) fn told(&self, partition: &Partition) -> Option<Watch> {
        self.lock().ledger.told(partition).and_then(Checkpoint::watch)
    }

    /// Whether everything that a commit would say is committed.
    pub(super) fn is_told(&self) -> bool {
        let state = self.lock();
        state.ledger.partitions().all(|partition| state.is_told(partition))
    }
}
