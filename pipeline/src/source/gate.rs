//! The gate: which received tasks may begin, so that a file that kills its worker is found out.
//!
//! Promises:
//!
//! - nothing begins before it is said ([`Watch`]) that this worker is at it, in as many words as are needed;
//! - as long as workers leave in peace nothing waits: one commit when a partition is assigned, none for a task;
//! - behind a death tasks begin by name, a few at a time; a suspect begins when nothing else is at work, and nothing
//!   begins beside it; one that has killed too often is condemned: it is handed over to be failed, not to be done;
//! - tasks of a partition begin in their order.
//!
//! Never: a clock, a lock, Kafka: facts in, decisions out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::commit::{Mode, Watch};
use crate::task::{NextOffset, Offset, Partition};

/// Tasks of a partition that are at work by name at the same time: as many suspects there are behind the next death.
const NAMED_MAX: usize = 16;
/// So many offsets begin by name behind a death: what killed is among those that were in flight, or were finished since
/// the last commit. Where it lies farther behind, everything before it is done by then, and the next death is nearer.
const CAREFUL_OFFSETS: i64 = 2_000;
/// So long a suspect waits until what is at work has ended. A file of hours must not hold up everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the gate needs to know of the world.
pub(super) trait World {
    /// Tasks received and not settled, those that wait here included.
    fn live(&self) -> usize;
    /// Whether a received offset is unfinished.
    fn is_unfinished(&self, partition: &Partition, offset: Offset) -> bool;
    /// What the broker has confirmed to be said of a partition, in this assignment.
    fn said(&self, partition: &Partition) -> Option<Watch>;
}

/// A task that may begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begin<C> {
    pub(super) claim: C,
    /// How often it has killed its worker, when that was too often.
    pub(super) condemned: Option<u32>,
}

/// Received tasks that wait to begin, by partition.
#[derive(Debug)]
pub(super) struct Gate<C> {
    queues: BTreeMap<Partition, Queue<C>>,
    deaths_max: u32,
    alone: Option<Alone>,
}

/// A suspect that is to have the worker to itself, or has it, until it is said that it has not any more.
#[derive(Debug)]
struct Alone {
    partition: Partition,
    offset: Offset,
    /// Since when it waits for what is at work.
    waits: Instant,
    has_begun: bool,
}

#[derive(Debug)]
struct Queue<C> {
    waiting: VecDeque<(Offset, C)>,
    /// Offsets below begin by name.
    careful: Option<NextOffset>,
    /// Whether to be careful from the first offset on, whichever that is.
    inherited: bool,
    suspects: BTreeMap<Offset, u32>,
    /// Begun by name and unfinished.
    named: BTreeSet<Offset>,
    /// This owner has said something, or those before have not.
    is_heard: bool,
    /// It is said that tasks begin freely.
    is_free: bool,
    watch: Watch,
}

impl<C> Queue<C> {
    fn free(&self) -> Watch {
        Watch { mode: Mode::Free, at_work: BTreeSet::new(), suspects: self.suspects.clone() }
    }

    /// What stands in front, and its deaths if it is to have the worker to itself.
    fn suspect(&self, deaths_max: u32) -> Option<Offset> {
        let (offset, _) = self.waiting.front()?;
        self.suspects.get(offset).filter(|deaths| **deaths < deaths_max).map(|_| *offset)
    }

    fn begin(&mut self, begun: &mut Vec<Begin<C>>, deaths_max: u32) {
        if let Some((offset, claim)) = self.waiting.pop_front() {
            let condemned = self.suspects.get(&offset).copied().filter(|deaths| *deaths >= deaths_max);
            begun.push(Begin { claim, condemned });
        }
    }
}

impl<C> Gate<C> {
    /// `deaths_max`: alone with it, so many workers die of a task until it is condemned.
    pub(super) fn new(deaths_max: u32) -> Gate<C> {
        Gate { queues: BTreeMap::new(), deaths_max, alone: None }
    }

    /// A partition was assigned, of which its owner before said this.
    pub(super) fn open(&mut self, partition: Partition, before: Watch) {
        self.forget(&partition);
        let is_heard = before.is_empty();
        let (inherited, suspects) = before.inherit();
        let queue = Queue {
            waiting: VecDeque::new(),
            careful: None,
            inherited,
            suspects,
            named: BTreeSet::new(),
            is_heard,
            is_free: false,
            watch: Watch::default(),
        };
        let queue = Queue { watch: queue.free(), ..queue };
        self.queues.insert(partition, queue);
    }

    /// A task was received.
    pub(super) fn receive(&mut self, partition: &Partition, offset: Offset, claim: C) {
        // Without a queue the partition is not ours, and dropping the claim says so.
        let Some(queue) = self.queues.get_mut(partition) else { return };
        if std::mem::take(&mut queue.inherited) {
            queue.careful = Some(NextOffset(offset.0.saturating_add(CAREFUL_OFFSETS)));
        }
        queue.waiting.push_back((offset, claim));
    }

    /// A partition is going: what waits is dropped. What is left to be said of it: that its owner left in peace, unless
    /// it had reason to be careful, and whom it suspected.
    pub(super) fn forget(&mut self, partition: &Partition) -> Option<Watch> {
        if self.alone.as_ref().is_some_and(|alone| alone.partition == *partition) {
            self.alone = None;
        }
        let queue = self.queues.remove(partition)?;
        let mode = if queue.inherited || queue.careful.is_some() { Mode::Free } else { Mode::Gone };
        Some(Watch { mode, ..queue.free() })
    }

    /// How many tasks wait.
    pub(super) fn waiting(&self) -> usize {
        self.queues.values().map(|queue| queue.waiting.len()).sum()
    }

    /// What is to be said of each partition.
    pub(super) fn watches(&self) -> impl Iterator<Item = (&Partition, &Watch)> {
        self.queues.iter().map(|(partition, queue)| (partition, &queue.watch))
    }

    /// Lets begin what may.
    pub(super) fn step(&mut self, world: &impl World, now: Instant) -> Vec<Begin<C>> {
        let mut begun = Vec::new();
        for (partition, queue) in &mut self.queues {
            queue.is_heard = queue.is_heard || world.said(partition).is_some();
        }
        // What an owner before said stands until this one is heard: whoever dies before that makes its dead die twice.
        if !self.queues.values().all(|queue| queue.is_heard) {
            return begun;
        }
        if self.alone.is_none() {
            self.alone = self.queues.iter().find_map(|(partition, queue)| {
                let offset = queue.suspect(self.deaths_max)?;
                Some(Alone { partition: partition.clone(), offset, waits: now, has_begun: false })
            });
        }
        match self.alone.take() {
            Some(alone) => self.alone = self.step_alone(alone, world, now, &mut begun),
            None => {
                for (partition, queue) in &mut self.queues {
                    queue.step(partition, self.deaths_max, world, &mut begun);
                }
            }
        }
        begun
    }

    /// What becomes of the suspect; none when it is innocent, and that is said.
    fn step_alone(
        &mut self,
        mut alone: Alone,
        world: &impl World,
        now: Instant,
        begun: &mut Vec<Begin<C>>,
    ) -> Option<Alone> {
        let Alone { partition, offset, waits, has_begun } = &mut alone;
        let busy = world.live() > self.waiting();
        let queue = self.queues.get_mut(partition)?;
        let said = world.said(partition);
        if *has_begun {
            if !world.is_unfinished(partition, *offset) {
                queue.suspects.remove(offset);
                queue.watch = queue.free();
                if said.is_some_and(|said| said.mode != Mode::Alone) {
                    return None;
                }
            }
        } else if !busy || now.saturating_duration_since(*waits) >= PATIENCE {
            let (at_work, suspects) = (BTreeSet::from([*offset]), queue.suspects.clone());
            queue.is_free = false;
            queue.watch = Watch { mode: Mode::Alone, at_work, suspects };
            // Not compared as a whole: what lies below the committed offset is not said.
            let is_said = |said: &Watch| {
                said.mode == Mode::Alone
                    && said.at_work == queue.watch.at_work
                    && said.suspects.get(offset) == queue.suspects.get(offset)
            };
            if said.as_ref().is_some_and(is_said) {
                queue.begin(begun, self.deaths_max);
                *has_begun = true;
            }
        }
        Some(alone)
    }
}

impl<C> Queue<C> {
    fn step(
        &mut self,
        partition: &Partition,
        deaths_max: u32,
        world: &impl World,
        begun: &mut Vec<Begin<C>>,
    ) {
        let Some((front, _)) = self.waiting.front() else { return };
        if self.careful.is_none_or(|until| front.again() >= until) {
            self.careful = None;
            self.named.clear();
            self.watch = self.free();
            self.is_free = self.is_free || world.said(partition).is_some_and(|said| said.mode == Mode::Free);
            while self.is_free && !self.waiting.is_empty() && self.suspect(deaths_max).is_none() {
                self.begin(begun, deaths_max);
            }
            return;
        }
        self.is_free = false;
        self.named.retain(|offset| world.is_unfinished(partition, *offset));
        let places = NAMED_MAX.saturating_sub(self.named.len());
        let suspects = &self.suspects;
        let next = self.waiting.iter().map(|(offset, _)| *offset);
        let next = next.take_while(|offset| suspects.get(offset).is_none_or(|deaths| *deaths >= deaths_max));
        let next: Vec<Offset> = next.take(places).collect();
        if next.is_empty() {
            return;
        }
        let at_work = self.named.iter().copied().chain(next.iter().copied()).collect();
        self.watch = Watch { mode: Mode::Named, at_work, suspects: self.suspects.clone() };
        let Some(said) = world.said(partition).filter(|said| said.mode == Mode::Named) else { return };
        for offset in next {
            if !said.at_work.contains(&offset) {
                break;
            }
            self.named.insert(offset);
            self.begin(begun, deaths_max);
        }
    }
}

#[cfg(test)]
mod tests;
