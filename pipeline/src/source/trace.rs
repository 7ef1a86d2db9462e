//! Where live claims are, and what is known of each partition besides: for whoever asks why one stands still.
//!
//! Promises: asking costs the tasks nothing but an atomic store at each stage; the answer is one view of the books.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::commit::Ledger;
use crate::failure::Stage;
use crate::message::Message;
use crate::source::stall::{Facts, Holder};
use crate::source::{Assignment, Intake};
use crate::task::{self, NextOffset, Offset, Partition};

/// Where a live claim is.
#[derive(Debug)]
pub(super) struct Trace {
    message: Arc<Message>,
    stage: AtomicU8,
    attempt: AtomicU32,
}

/// In the order of the path.
const STAGES: [Stage; 5] = [Stage::Claim, Stage::Download, Stage::Parse, Stage::Upload, Stage::Publish];

impl Trace {
    pub(super) fn new(message: Arc<Message>) -> Trace {
        Trace { message, stage: AtomicU8::new(0), attempt: AtomicU32::new(1) }
    }

    pub(super) fn enter(&self, stage: Stage, attempt: u32) {
        let number = STAGES.iter().position(|known| *known == stage).unwrap_or_default();
        self.stage.store(number as u8, Ordering::Relaxed);
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    fn holder(&self, offset: Offset) -> Holder {
        let number = usize::from(self.stage.load(Ordering::Relaxed));
        Holder::Task {
            offset,
            stage: STAGES.get(number).copied().unwrap_or(Stage::Claim),
            attempt: self.attempt.load(Ordering::Relaxed),
            key: task::parse(self.message.payload()).ok().map(|task| task.key),
        }
    }
}

/// How far a partition goes on at the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Fetched up to here.
    pub(super) fetched: NextOffset,
    /// There are committed messages up to here.
    pub(super) end: NextOffset,
}

impl Intake {
    /// What is known of each partition.
    pub fn facts(&self) -> Vec<(Partition, Facts)> {
        let state = self.lock();
        let assigned = state.assignments.iter();
        assigned
            .map(|(partition, assignment)| (partition.clone(), facts(partition, assignment, &state.ledger)))
            .collect()
    }

    /// The broker has confirmed a commit, or told what was committed before.
    pub(super) fn see_committed(&self, partition: &Partition, next: NextOffset) {
        if let Some(assignment) = self.lock().assignments.get_mut(partition) {
            assignment.committed = Some(next);
        }
    }

    /// The consumer has told how far a partition goes on; `None`: it does not know.
    pub(super) fn see_reach(&self, partition: &Partition, reach: Option<Reach>) {
        if let Some(assignment) = self.lock().assignments.get_mut(partition) {
            assignment.reach = reach;
        }
    }
}

fn facts(partition: &Partition, assignment: &Assignment, ledger: &Ledger) -> Facts {
    let (committable, received) = (ledger.committable(partition), ledger.received(partition));
    let committed = assignment.committed.or(committable);
    let uncommitted = match (committed, received) {
        (Some(committed), Some(received)) => behind(committed, received),
        _ => 0,
    };
    // What is fetched up to its end may end in markers of transactions, which are no messages.
    let unread = assignment.reach.map(|Reach { fetched, end }| match fetched < end {
        true => behind(received.unwrap_or(fetched), end),
        false => 0,
    });
    let lag = match unread {
        None if uncommitted == 0 => None,
        unread => Some(uncommitted.saturating_add(unread.unwrap_or(0))),
    };
    let holder = match ledger.lowest_unfinished(partition) {
        Some(offset) => match assignment.live.get(&offset) {
            Some(trace) => trace.holder(offset),
            None => Holder::Nobody { offset },
        },
        None if committed < committable => Holder::Commit,
        None => Holder::Messages,
    };
    Facts { generation: assignment.generation, committed, lag, holder }
}

fn behind(from: NextOffset, to: NextOffset) -> u64 {
    u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0)
}
