//! Where tasks come from, and the books about them.
//!
//! A source is an event loop of its own ([`kafka`], [`memory`]) that shares one [`Intake`] with the rest of
//! the worker: the ledger, the bounds, and who still holds which partition.
//!
//! Promises:
//!
//! - the number of live claims never exceeds [`Bounds::tasks_max`], the window of a partition never exceeds
//!   [`Bounds::window_max`], and what is remembered beside its commit stays below what a broker takes: the source
//!   pauses first;
//! - a claim that is dropped unfinished frees its place but leaves its offset unfinished;
//! - once a partition is lost, its claims say so ([`Claim::lost`]) and finish nothing.
//!
//! Never: a source that waits for work. It pauses and goes on polling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::commit::{
    Checkpoint, Fenced, Generation, Ledger, METADATA_BYTES_MAX, Metadata, Refused, Ticket, Watch,
};
use crate::failure::{Failure, Stage};
use crate::message::Message;
use crate::task::{NextOffset, Offset, Partition, Position};

mod ahead;
mod gate;
pub mod kafka;
pub mod memory;
mod stall;
mod trace;

pub use ahead::Ahead;
pub use stall::{Facts, Holder, News, Stalls};
use trace::{Reach, Trace};

/// The bounds of the intake.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Tasks received and not yet settled, all partitions together. Each costs a small message in memory and
    /// a repeat after a crash.
    pub tasks_max: usize,
    /// Offsets of one partition received and not yet covered by a commit: how far fast tasks may run ahead
    /// of a slow one, and so how many messages are read, not worked on, again after a restart.
    pub window_max: usize,
    /// Workers that may die of a task, each with nothing else at work, until it is failed instead.
    pub deaths_max: u32,
}

/// Where the metadata of a commit stops a partition's window. The rest is for what is in flight by then: 500 tasks that
/// finish in the worst order add 250 runs of two bytes, 667 characters.
const METADATA_BYTES_FULL: usize = METADATA_BYTES_MAX / 4 * 3;

/// A running source: claims come out of it, everything else goes through the intake.
#[derive(Debug)]
pub struct Source {
    /// The tasks, in the order of their partitions. Ends when the intake is closed or the source is dry.
    pub claims: mpsc::Receiver<Claim>,
    /// The books.
    pub intake: Arc<Intake>,
    /// Answers once: the source has committed what was finished and is gone, or it failed.
    pub ended: oneshot::Receiver<Result<(), Failure>>,
}

/// Does this worker still hold the partition?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Yes.
    Held,
    /// Until the drain deadline: work that has not begun should not begin.
    Leaving,
    /// No: whatever is left of the work is void.
    Lost,
}

/// One received message, and the right to finish it.
#[derive(Debug)]
pub struct Claim {
    /// The message.
    pub message: Arc<Message>,
    /// 1 for the first try under this assignment.
    pub attempt: u32,
    /// How often it has killed its worker, when that was too often: it must not begin.
    pub condemned: Option<u32>,
    ticket: Ticket,
    hold: watch::Receiver<Hold>,
    trace: Arc<Trace>,
    place: Place,
}

impl Claim {
    /// Where the message lies.
    pub fn position(&self) -> &Position {
        self.ticket.position()
    }

    /// The assignment under which it was received.
    pub fn generation(&self) -> Generation {
        self.ticket.generation()
    }

    /// Its task is in this stage now.
    pub fn enter(&self, stage: Stage) {
        self.trace.enter(stage, self.attempt);
    }

    /// Books the task as finished: its outcome is confirmed.
    ///
    /// # Errors
    /// [`Fenced`] when the partition was lost meanwhile: nothing was booked.
    pub fn finish(self) -> Result<(), Fenced> {
        let Claim { ticket, place, .. } = self;
        place.intake.lock().ledger.finish(ticket)
    }

    /// Whether this worker still holds the partition.
    pub fn hold(&self) -> Hold {
        *self.hold.borrow()
    }

    /// Returns when the partition is lost.
    pub async fn lost(&self) {
        self.wait_for(|hold| hold == Hold::Lost).await;
    }

    /// Returns when the partition is leaving, or lost.
    pub async fn leaving(&self) {
        self.wait_for(|hold| hold != Hold::Held).await;
    }

    async fn wait_for(&self, condition: impl Fn(Hold) -> bool) {
        let mut hold = self.hold.clone();
        // An error means that the sender is gone, and with it the assignment.
        let _ = hold.wait_for(|hold| condition(*hold)).await;
    }
}

/// A live claim's place in the bounds; given back when the claim is gone, however it went.
#[derive(Debug)]
struct Place {
    intake: Arc<Intake>,
    partition: Partition,
    offset: Offset,
    generation: Generation,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.intake.lock();
        state.live -= 1;
        if let Some(assignment) = state.assignments.get_mut(&self.partition)
            && assignment.generation == self.generation
        {
            assignment.live.remove(&self.offset);
        }
        drop(state);
        self.intake.notify();
    }
}

/// The books shared by a source and the worker: ledger, bounds, holds.
#[derive(Debug)]
pub struct Intake {
    bounds: Bounds,
    state: Mutex<State>,
    /// For the thread that waits inside a rebalance callback, where nothing async can run.
    left: Condvar,
    /// For everyone else.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    assignments: BTreeMap<Partition, Assignment>,
    live: usize,
    open: bool,
    full: bool,
    /// Something waits for a commit of those who commit for the source.
    urged: bool,
}

#[derive(Debug)]
struct Assignment {
    generation: Generation,
    hold: watch::Sender<Hold>,
    live: BTreeMap<Offset, Arc<Trace>>,
    /// What the broker has confirmed, or had from before.
    committed: Option<NextOffset>,
    reach: Option<Reach>,
    window_full: bool,
    metadata_full: bool,
}

impl State {
    /// Whether everything that a commit would say is committed, by those who commit for the source.
    fn is_told(&self, partition: &Partition) -> bool {
        self.ledger.checkpoint(partition).as_ref() == self.ledger.told(partition)
    }

    fn lose(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.ledger.revoke(partition);
            if let Some(assignment) = self.assignments.remove(partition) {
                assignment.hold.send_replace(Hold::Lost);
            }
        }
    }
}

impl Assignment {
    /// Held → leaving; never back from lost.
    fn start_leaving(&self) {
        self.hold.send_if_modified(|hold| {
            let held = *hold == Hold::Held;
            if held {
                *hold = Hold::Leaving;
            }
            held
        });
    }
}

impl Intake {
    /// An open intake without partitions.
    pub fn new(bounds: Bounds) -> Arc<Intake> {
        let state = State {
            ledger: Ledger::default(),
            assignments: BTreeMap::new(),
            live: 0,
            open: true,
            full: false,
            urged: false,
        };
        Arc::new(Intake {
            bounds,
            state: Mutex::new(state),
            left: Condvar::new(),
            changed: watch::channel(()).0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock; if it did, the books would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.left.notify_all();
        self.changed.send_replace(());
    }

    /// Wakes on every change of the books.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// A partition was assigned: a new generation begins.
    pub fn assign(&self, partition: Partition) {
        let mut state = self.lock();
        let generation = state.ledger.assign(partition.clone());
        let assignment = Assignment {
            generation,
            hold: watch::channel(Hold::Held).0,
            live: BTreeMap::new(),
            committed: None,
            reach: None,
            window_full: false,
            metadata_full: false,
        };
        if let Some(older) = state.assignments.insert(partition, assignment) {
            older.hold.send_replace(Hold::Lost);
        }
        drop(state);
        self.notify();
    }

    /// A partition that was just assigned goes on where a commit ended: see [`Ledger::restore`].
    pub fn restore(&self, partition: &Partition, next: NextOffset, metadata: Metadata) {
        self.lock().ledger.restore(partition, next, metadata);
        self.see_committed(partition, next);
    }

    /// What is said of a partition in its commits.
    fn watch(&self, partition: &Partition) -> Option<Watch> {
        self.lock().ledger.watch(partition).cloned()
    }

    /// From now on this is said of these partitions.
    fn say<'a>(&self, watches: impl Iterator<Item = (&'a Partition, &'a Watch)>) {
        let mut state = self.lock();
        for (partition, watch) in watches {
            state.ledger.say(partition, watch);
        }
    }

    fn is_unfinished(&self, partition: &Partition, offset: Offset) -> bool {
        self.lock().ledger.is_unfinished(partition, offset)
    }

    /// Partitions are revoked: waits until their live claims are settled, at most `deadline`, then gives them up.
    /// Work that has not begun gives up at once. Blocks the calling thread on purpose: the rebalance must not go on
    /// meanwhile. Returns what may be committed for them: nothing can be finished between that and the end. `told`: waits
    /// also until that is committed, by those who commit for the source.
    pub fn leave(
        &self,
        partitions: &[Partition],
        deadline: Duration,
        told: bool,
    ) -> Vec<(Partition, Checkpoint)> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        for partition in partitions {
            if let Some(assignment) = state.assignments.get(partition) {
                assignment.start_leaving();
            }
        }
        loop {
            let live = |partition| {
                state.assignments.get(partition).is_some_and(|assignment| !assignment.live.is_empty())
            };
            let untold = |partition| told && !state.is_told(partition);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !partitions.iter().any(|partition| live(partition) || untold(partition)) {
                break;
            }
            state.urged |= told;
            (state, _) = self.left.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        let checkpoints = checkpoints(&state.ledger, partitions);
        state.lose(partitions);
        drop(state);
        self.notify();
        checkpoints
    }

    /// Partitions are gone: their claims are void from now on.
    pub fn lose(&self, partitions: &[Partition]) {
        self.lock().lose(partitions);
        self.notify();
    }

    /// Every live claim is void from now on; what was finished stays committable.
    pub fn abandon(&self) {
        for assignment in self.lock().assignments.values() {
            assignment.hold.send_replace(Hold::Lost);
        }
        self.notify();
    }

    /// Books a received message and issues its claim.
    ///
    /// # Errors
    /// [`Refused`] when the intake has ended, the partition is not assigned, or the offset was seen or finished before.
    pub fn receive(self: &Arc<Self>, position: Position, message: Arc<Message>) -> Result<Claim, Refused> {
        let mut state = self.lock();
        if !state.open {
            return Err(Refused::Closed);
        }
        let (partition, offset) = (position.partition.clone(), position.offset);
        let ticket = state.ledger.receive(position)?;
        let generation = ticket.generation();
        state.live += 1;
        let assignment = state.assignments.get_mut(&partition).ok_or(Refused::NotAssigned)?;
        let trace = Arc::new(Trace::new(Arc::clone(&message)));
        assignment.live.insert(offset, Arc::clone(&trace));
        let hold = assignment.hold.subscribe();
        let place = Place { intake: Arc::clone(self), partition, offset, generation };
        drop(state);
        Ok(Claim { message, attempt: 1, condemned: None, ticket, hold, trace, place })
    }

    /// The partitions that must not deliver now: a bound is reached, or intake has ended. With hysteresis,
    /// since every pause throws the partition's prefetched messages away.
    pub fn paused(&self) -> BTreeSet<Partition> {
        let mut state = self.lock();
        let State { ledger, assignments, live, open, full, .. } = &mut *state;
        *full = at_bound(*full, *live, self.bounds.tasks_max);
        let mut paused = BTreeSet::new();
        for (partition, assignment) in assignments {
            assignment.window_full =
                at_bound(assignment.window_full, ledger.window(partition), self.bounds.window_max);
            assignment.metadata_full = at_bound(
                assignment.metadata_full,
                ledger.metadata_bytes(partition, METADATA_BYTES_FULL / 2),
                METADATA_BYTES_FULL,
            );
            if !*open || *full || assignment.window_full || assignment.metadata_full {
                paused.insert(partition.clone());
            }
        }
        paused
    }

    /// What may be committed now, for every partition of which something was received.
    pub fn committable(&self) -> Vec<(Partition, NextOffset)> {
        let state = self.lock();
        let ledger = &state.ledger;
        ledger
            .partitions()
            .filter_map(|partition| Some((partition.clone(), ledger.committable(partition)?)))
            .collect()
    }

    /// What a commit says now, for every partition of which something was received or restored.
    pub fn checkpoints(&self) -> Vec<(Partition, Checkpoint)> {
        let state = self.lock();
        checkpoints(&state.ledger, state.ledger.partitions())
    }

    /// The partitions assigned now.
    pub fn assigned(&self) -> Vec<Partition> {
        self.lock().assignments.keys().cloned().collect()
    }

    /// Ends the intake: nothing more is received; live claims go on.
    pub fn close(&self) {
        self.lock().open = false;
        self.notify();
    }

    /// Ends the intake, and lets no received task begin that has not begun: work in flight goes on.
    pub fn drain(&self) {
        let mut state = self.lock();
        state.open = false;
        for assignment in state.assignments.values() {
            assignment.start_leaving();
        }
        drop(state);
        self.notify();
    }

    /// Whether the intake has ended.
    pub fn is_closed(&self) -> bool {
        !self.lock().open
    }

    /// The number of claims received and not yet settled.
    pub fn live(&self) -> usize {
        self.lock().live
    }

    /// Returns when the intake has ended and every claim is settled.
    pub async fn drained(&self) {
        let mut changes = self.changes();
        while !(self.is_closed() && self.live() == 0) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

fn checkpoints<'a>(
    ledger: &Ledger,
    partitions: impl IntoIterator<Item = &'a Partition>,
) -> Vec<(Partition, Checkpoint)> {
    let of = |partition: &Partition| Some((partition.clone(), ledger.checkpoint(partition)?));
    partitions.into_iter().filter_map(of).collect()
}

/// Full at the bound; again free when a quarter of it is.
fn at_bound(was_full: bool, count: usize, count_max: usize) -> bool {
    count >= count_max || (was_full && count > count_max - count_max.div_ceil(4))
}

#[cfg(test)]
mod tests;
