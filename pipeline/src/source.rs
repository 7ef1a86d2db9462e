//! Where tasks come from, and the books about them.
//!
//! A source is an event loop of its own ([`kafka`], [`memory`]) that shares one [`Intake`] with the rest of
//! the worker: the ledger, the bounds, and who still holds which partition.
//!
//! Promises:
//!
//! - the number of live claims never exceeds [`Bounds::tasks_max`], the window of a partition never exceeds
//!   [`Bounds::window_max`]: the source pauses first;
//! - a claim that is dropped unfinished frees its place but leaves its offset unfinished;
//! - once a partition is lost, its claims say so ([`Claim::lost`]) and finish nothing.
//!
//! Never: a source that waits for work. It pauses and goes on polling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::commit::{Fenced, Generation, Ledger, Refused, Ticket};
use crate::failure::Failure;
use crate::task::{NextOffset, Partition, Position};

pub mod kafka;
pub mod memory;

/// The bounds of the intake.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Tasks received and not yet settled, all partitions together. Each costs a small message in memory and
    /// a repeat after a crash.
    pub tasks_max: usize,
    /// Offsets of one partition received and not yet covered by a commit: how far fast tasks may run ahead
    /// of a slow one, and so how much work a crash can repeat.
    pub window_max: usize,
}

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
    pub payload: Bytes,
    /// 1 for the first try under this assignment.
    pub attempt: u32,
    ticket: Ticket,
    hold: watch::Receiver<Hold>,
    place: Place,
}

impl Claim {
    /// Where the message lies.
    pub fn position(&self) -> &Position {
        self.ticket.position()
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
    generation: Generation,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.intake.lock();
        state.live -= 1;
        if let Some(assignment) = state.assignments.get_mut(&self.partition)
            && assignment.generation == self.generation
        {
            assignment.live -= 1;
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
}

#[derive(Debug)]
struct Assignment {
    generation: Generation,
    hold: watch::Sender<Hold>,
    live: usize,
    window_full: bool,
}

impl State {
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
        let assignment =
            Assignment { generation, hold: watch::channel(Hold::Held).0, live: 0, window_full: false };
        if let Some(older) = state.assignments.insert(partition, assignment) {
            older.hold.send_replace(Hold::Lost);
        }
        drop(state);
        self.notify();
    }

    /// Partitions are revoked: waits until their live claims are settled, at most `deadline`, then gives them up.
    /// Work that has not begun gives up at once. Blocks the calling thread on purpose: the rebalance must not go on
    /// meanwhile. Returns what may be committed for them: nothing can be finished between that and the end.
    pub fn leave(&self, partitions: &[Partition], deadline: Duration) -> Vec<(Partition, NextOffset)> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        for partition in partitions {
            if let Some(assignment) = state.assignments.get(partition) {
                assignment.start_leaving();
            }
        }
        loop {
            let live =
                |partition| state.assignments.get(partition).is_some_and(|assignment| assignment.live > 0);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !partitions.iter().any(live) {
                break;
            }
            (state, _) = self.left.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        let committable = partitions
            .iter()
            .filter_map(|partition| Some((partition.clone(), state.ledger.committable(partition)?)))
            .collect();
        state.lose(partitions);
        drop(state);
        self.notify();
        committable
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
    /// [`Refused`] when the intake has ended, the partition is not assigned, or the offset was seen before.
    pub fn receive(self: &Arc<Self>, position: Position, payload: Bytes) -> Result<Claim, Refused> {
        let mut state = self.lock();
        if !state.open {
            return Err(Refused::Closed);
        }
        let partition = position.partition.clone();
        let ticket = state.ledger.receive(position)?;
        let generation = ticket.generation();
        state.live += 1;
        let assignment = state.assignments.get_mut(&partition).ok_or(Refused::NotAssigned)?;
        assignment.live += 1;
        let hold = assignment.hold.subscribe();
        let place = Place { intake: Arc::clone(self), partition, generation };
        drop(state);
        Ok(Claim { payload, attempt: 1, ticket, hold, place })
    }

    /// The partitions that must not deliver now: a bound is reached, or intake has ended. With hysteresis,
    /// since every pause throws the partition's prefetched messages away.
    pub fn paused(&self) -> BTreeSet<Partition> {
        let mut state = self.lock();
        let State { ledger, assignments, live, open, full } = &mut *state;
        *full = at_bound(*full, *live, self.bounds.tasks_max);
        let mut paused = BTreeSet::new();
        for (partition, assignment) in assignments {
            assignment.window_full =
                at_bound(assignment.window_full, ledger.window(partition), self.bounds.window_max);
            if !*open || *full || assignment.window_full {
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

/// Full at the bound; again free when a quarter of it is.
fn at_bound(was_full: bool, count: usize, count_max: usize) -> bool {
    count >= count_max || (was_full && count > count_max - count_max.div_ceil(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Offset;

    fn partition(id: i32) -> Partition {
        Partition { topic: "tasks".into(), id }
    }

    fn receive(intake: &Arc<Intake>, id: i32, offset: i64) -> Result<Claim, Refused> {
        intake.receive(Position { partition: partition(id), offset: Offset(offset) }, Bytes::new())
    }

    #[test]
    fn pauses_at_a_bound_and_resumes_when_a_quarter_is_free() {
        let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100 });
        intake.assign(partition(0));
        let mut claims: Vec<Claim> = (0..4).map(|offset| receive(&intake, 0, offset).unwrap()).collect();
        assert_eq!(intake.paused().len(), 1);
        claims.pop().unwrap().finish().unwrap();
        assert_eq!(intake.paused().len(), 0);
        assert!(!at_bound(true, 0, 1), "a bound of one must not pause for ever");
    }

    #[test]
    fn a_slow_task_pauses_only_its_own_partition() {
        let intake = Intake::new(Bounds { tasks_max: 100, window_max: 8 });
        intake.assign(partition(0));
        intake.assign(partition(1));
        let _slow = receive(&intake, 0, 0).unwrap();
        let _other = receive(&intake, 1, 0).unwrap();
        for offset in 1..8 {
            receive(&intake, 0, offset).unwrap().finish().unwrap();
        }
        assert_eq!(intake.paused(), BTreeSet::from([partition(0)]));
        assert_eq!(intake.live(), 2);
    }

    #[test]
    fn a_dropped_claim_frees_its_place_but_not_its_offset() {
        let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100 });
        intake.assign(partition(0));
        drop(receive(&intake, 0, 5).unwrap());
        receive(&intake, 0, 6).unwrap().finish().unwrap();
        assert_eq!(intake.live(), 0);
        assert_eq!(intake.committable(), vec![(partition(0), NextOffset(5))]);
    }

    #[test]
    fn leaving_waits_for_live_claims_and_a_late_one_is_fenced() {
        let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100 });
        intake.assign(partition(0));
        let first = receive(&intake, 0, 0).unwrap();
        let late = receive(&intake, 0, 1).unwrap();
        let finisher = std::thread::spawn(move || {
            first.finish().unwrap();
            late
        });
        let late_claim = finisher.join().unwrap();
        let committable = intake.leave(&[partition(0)], Duration::ZERO);
        assert_eq!(committable, vec![(partition(0), NextOffset(1))]);
        assert_eq!(late_claim.hold(), Hold::Lost);
        assert_eq!(late_claim.finish(), Err(Fenced));
        assert_eq!(intake.live(), 0);
    }

    #[test]
    fn nothing_is_received_after_the_end() {
        let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100 });
        intake.assign(partition(0));
        intake.drain();
        assert_eq!(receive(&intake, 0, 0).unwrap_err(), Refused::Closed);
        assert_eq!(intake.live(), 0);
    }

    #[test]
    fn leaving_ends_as_soon_as_the_last_claim_is_settled() {
        let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100 });
        intake.assign(partition(0));
        let claim = receive(&intake, 0, 0).unwrap();
        let (leaving, waits) = std::sync::mpsc::channel();
        let other = Arc::clone(&intake);
        let leaver = std::thread::spawn(move || {
            leaving.send(()).unwrap();
            other.leave(&[partition(0)], Duration::from_secs(3600))
        });
        waits.recv().unwrap();
        claim.finish().unwrap();
        assert_eq!(leaver.join().unwrap(), vec![(partition(0), NextOffset(1))]);
    }
}
