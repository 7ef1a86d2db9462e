//! The ledger: which received offsets are unfinished, and what may be committed.
//!
//! Promises, per partition and generation (one assignment of the partition to this worker):
//!
//! - an offset is committable only when every lower received offset is finished;
//! - the committable position never goes back;
//! - a [`Ticket`] that is dropped leaves its offset unfinished: forgetting is failing;
//! - a ticket of an older generation finishes nothing ([`Fenced`]);
//! - what is finished above the committable position is part of what is committed ([`Ledger::checkpoint`]), and gets
//!   no second ticket from whoever reads that again ([`Ledger::restore`]).
//!
//! One partition; received 4, 5, 6, 9 (7 and 8 never existed: compaction or transaction markers):
//!
//! | finished | committable | why |
//! |---|---|---|
//! | – | 4 | nothing is finished |
//! | 5, 6 | 4 | 4 is unfinished |
//! | 4 | 5 | 5 is unfinished |
//! | 4, 5, 6 | 9 | 9 is the lowest unfinished; a gap needs nothing |
//! | all | 10 | highest finished + 1 |
//! | a ticket was dropped | as before | forgetting is failing |
//! | a ticket of an older generation | as before | `Err(Fenced)` |
//!
//! A checkpoint of the second line is "4, and of those behind it 5 and 6 are finished". After [`Ledger::restore`] with it
//! only 4 and 9 get tickets.
//!
//! Never: no clock, no runtime, no Kafka, no lock: facts in, decisions out.

use std::collections::{BTreeMap, BTreeSet};

pub use map::Offsets;
pub use metadata::{Foreign, METADATA_BYTES_MAX, Metadata};
pub use watch::{Mode, Watch};

mod map;
mod metadata;
mod varint;
mod watch;

use crate::task::{NextOffset, Offset, Partition, Position};

/// One assignment of a partition. A later assignment has a higher one; none is ever used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(u64);

/// The right to finish one received offset, once. Not `Clone` on purpose.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped ticket leaves its offset unfinished"]
pub struct Ticket {
    position: Position,
    generation: Generation,
}

impl Ticket {
    /// Where the task's message lies.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The assignment under which it was received.
    pub fn generation(&self) -> Generation {
        self.generation
    }
}

/// The partition was revoked, or assigned anew, since the ticket was issued: nothing is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition was revoked since the task was received")]
pub struct Fenced;

/// Why a received offset gets no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The partition is not assigned to this worker.
    #[error("the partition is not assigned to this worker")]
    NotAssigned,
    /// The intake has ended.
    #[error("the intake has ended")]
    Closed,
    /// The offset, or a higher one, was received before under this assignment, or lies below the restored position.
    #[error("the offset was already received")]
    AlreadyReceived,
    /// It was finished under an earlier assignment: booked as finished, nothing is to be done.
    #[error("the task was finished before")]
    AlreadyFinished,
}

/// What is known of an offset that was received under an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is unfinished.
    Open,
    /// It is finished.
    Finished,
    /// The assignment is over: its outcome is somebody else's.
    Void,
}

/// What a commit says about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where reading starts again.
    pub next: NextOffset,
    /// What is remembered of the offsets behind that: [`Metadata`] as text.
    pub metadata: String,
}

impl Checkpoint {
    /// What it says of the partition.
    pub fn watch(&self) -> Option<Watch> {
        Metadata::decode(self.metadata.as_bytes(), self.next).ok().map(|metadata| metadata.watch)
    }
}

/// The receipts of every partition assigned to this worker.
#[derive(Debug, Default)]
pub struct Ledger {
    partitions: BTreeMap<Partition, Receipts>,
    generations: u64,
}

/// The receipts of one partition under one assignment.
#[derive(Debug)]
struct Receipts {
    generation: Generation,
    /// Everything below was received, or is not for this worker.
    received: Option<NextOffset>,
    unfinished: BTreeSet<Offset>,
    /// Received and finished offsets above the lowest unfinished one: the work that a crash would repeat, were it not
    /// committed with the position.
    finished_above: Offsets,
    /// Offsets finished under an earlier assignment that are not yet received again.
    remembered: Offsets,
    /// What is said of the partition: until something is, what its owner before said.
    watch: Watch,
    /// What was committed last by someone who commits for the source.
    told: Option<Checkpoint>,
}

impl Receipts {
    fn committable(&self) -> Option<NextOffset> {
        self.unfinished.first().map(|lowest| lowest.again()).or(self.received)
    }

    /// What a commit says, were `also` finished.
    fn checkpoint(&self, also: &Offsets) -> Option<Checkpoint> {
        let mut open = self.unfinished.iter().filter(|offset| !also.contains(**offset));
        let next = open.next().map(|lowest| lowest.again()).or(self.received)?;
        let mut finished = self.finished_above.clone();
        finished.extend(&self.remembered);
        finished.extend(also);
        finished.forget_below(next);
        let metadata = Metadata { finished, watch: self.watch.clone() };
        Some(Checkpoint { next, metadata: metadata.encode(next) })
    }

    fn book_finished(&mut self, offset: Offset) {
        self.finished_above.insert(offset);
        if let Some(next) = self.committable() {
            self.finished_above.forget_below(next);
        }
    }
}

impl Ledger {
    /// Starts the books of a newly assigned partition. What was known of an older assignment is forgotten.
    pub fn assign(&mut self, partition: Partition) -> Generation {
        self.generations += 1;
        let generation = Generation(self.generations);
        let receipts = Receipts {
            generation,
            received: None,
            unfinished: BTreeSet::new(),
            finished_above: Offsets::default(),
            remembered: Offsets::default(),
            watch: Watch::default(),
            told: None,
        };
        self.partitions.insert(partition, receipts);
        generation
    }

    /// Goes on where a checkpoint ended: nothing below `next` is received, and what is remembered as finished gets no
    /// ticket. For a partition that was just assigned; changes nothing when something was received already.
    pub fn restore(&mut self, partition: &Partition, next: NextOffset, metadata: Metadata) {
        let Some(receipts) = self.partitions.get_mut(partition) else { return };
        if receipts.received.is_none() {
            receipts.received = Some(next);
            receipts.remembered = metadata.finished;
            receipts.watch = metadata.watch;
        }
    }

    /// What is said of a partition in its commits.
    pub fn watch(&self, partition: &Partition) -> Option<&Watch> {
        self.partitions.get(partition).map(|receipts| &receipts.watch)
    }

    /// From now on this is said of a partition.
    pub fn say(&mut self, partition: &Partition, watch: &Watch) {
        if let Some(receipts) = self.partitions.get_mut(partition)
            && receipts.watch != *watch
        {
            receipts.watch = watch.clone();
        }
    }

    /// Closes the books of a partition: its tickets are fenced from now on.
    pub fn revoke(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
    }

    /// Books a received offset as unfinished.
    ///
    /// # Errors
    /// [`Refused`] when the partition is not assigned, or the offset was seen or finished before.
    pub fn receive(&mut self, position: Position) -> Result<Ticket, Refused> {
        let receipts = self.partitions.get_mut(&position.partition).ok_or(Refused::NotAssigned)?;
        if receipts.received.is_some_and(|next| position.offset.again() < next) {
            return Err(Refused::AlreadyReceived);
        }
        let next = position.offset.next();
        receipts.received = Some(next);
        if !receipts.remembered.is_empty() {
            let finished = receipts.remembered.contains(position.offset);
            // Those in a gap will never be received.
            receipts.remembered.forget_below(next);
            if finished {
                receipts.book_finished(position.offset);
                return Err(Refused::AlreadyFinished);
            }
        }
        receipts.unfinished.insert(position.offset);
        Ok(Ticket { generation: receipts.generation, position })
    }

    /// Books a received offset as finished. One that [`Ledger::confirm`] has booked stays as it is.
    ///
    /// # Errors
    /// [`Fenced`] when the ticket's assignment is over.
    pub fn finish(&mut self, ticket: Ticket) -> Result<(), Fenced> {
        match self.confirm(&ticket.position, ticket.generation) {
            Standing::Open | Standing::Finished => Ok(()),
            Standing::Void => Err(Fenced),
        }
    }

    /// Books an offset as finished whose outcome and commit were confirmed as one, while its ticket is still out. Gives
    /// what was known of it before.
    pub fn confirm(&mut self, position: &Position, generation: Generation) -> Standing {
        let standing = self.standing(position, generation);
        if standing == Standing::Open
            && let Some(receipts) = self.partitions.get_mut(&position.partition)
        {
            receipts.unfinished.remove(&position.offset);
            receipts.book_finished(position.offset);
        }
        standing
    }

    /// What is known of an offset that was received under `generation`.
    pub fn standing(&self, position: &Position, generation: Generation) -> Standing {
        match self.partitions.get(&position.partition) {
            Some(receipts) if receipts.generation == generation => {
                if receipts.unfinished.contains(&position.offset) {
                    Standing::Open
                } else {
                    Standing::Finished
                }
            }
            _ => Standing::Void,
        }
    }

    /// What may be committed: the lowest unfinished offset, else the highest finished + 1.
    /// `None` until something was received or restored.
    pub fn committable(&self, partition: &Partition) -> Option<NextOffset> {
        self.partitions.get(partition)?.committable()
    }

    /// What a commit says now: the committable position, and what is finished above it.
    /// `None` until something was received or restored.
    pub fn checkpoint(&self, partition: &Partition) -> Option<Checkpoint> {
        self.checkpoint_with(partition, &Offsets::default())
    }

    /// What a commit says as soon as these are finished, too.
    pub fn checkpoint_with(&self, partition: &Partition, also: &Offsets) -> Option<Checkpoint> {
        self.partitions.get(partition)?.checkpoint(also)
    }

    /// Books what was committed for a partition under this assignment.
    pub fn tell(&mut self, partition: &Partition, generation: Generation, checkpoint: Checkpoint) {
        if let Some(receipts) = self.partitions.get_mut(partition)
            && receipts.generation == generation
        {
            receipts.told = Some(checkpoint);
        }
    }

    /// What was committed last for a partition, under this assignment, of what was booked by [`Ledger::tell`].
    pub fn told(&self, partition: &Partition) -> Option<&Checkpoint> {
        self.partitions.get(partition)?.told.as_ref()
    }

    /// How long the metadata of a commit may get by what is received next: no less than it is now, and exact near
    /// `near`. 0 while offsets are received again: those are in it already.
    pub fn metadata_bytes(&self, partition: &Partition, near: usize) -> usize {
        let Some(receipts) = self.partitions.get(partition) else { return 0 };
        match receipts.committable() {
            Some(next) if receipts.remembered.is_empty() && !receipts.finished_above.is_empty() => {
                let (finished, watch) = (receipts.finished_above.clone(), receipts.watch.clone());
                Metadata { finished, watch }.len_at_most(next, near)
            }
            _ => 0,
        }
    }

    /// The number of received offsets, finished or not, that a commit does not yet cover.
    pub fn window(&self, partition: &Partition) -> usize {
        self.partitions.get(partition).map_or(0, |receipts| {
            let finished = usize::try_from(receipts.finished_above.count()).unwrap_or(usize::MAX);
            receipts.unfinished.len().saturating_add(finished)
        })
    }

    /// Whether a received offset is unfinished.
    pub fn is_unfinished(&self, partition: &Partition, offset: Offset) -> bool {
        self.partitions.get(partition).is_some_and(|receipts| receipts.unfinished.contains(&offset))
    }

    /// The lowest received offset that is unfinished: what the committable position waits for.
    pub fn lowest_unfinished(&self, partition: &Partition) -> Option<Offset> {
        self.partitions.get(partition)?.unfinished.first().copied()
    }

    /// Everything below was received, or is not for this worker. `None` until something was received or restored.
    pub fn received(&self, partition: &Partition) -> Option<NextOffset> {
        self.partitions.get(partition)?.received
    }

    /// The number of received offsets that are unfinished.
    pub fn unfinished(&self, partition: &Partition) -> usize {
        self.partitions.get(partition).map_or(0, |receipts| receipts.unfinished.len())
    }

    /// The generation under which the partition is assigned now.
    pub fn generation(&self, partition: &Partition) -> Option<Generation> {
        self.partitions.get(partition).map(|receipts| receipts.generation)
    }

    /// The partitions assigned now, in order.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition { topic: "tasks".into(), id: 0 }
    }

    fn at(offset: i64) -> Position {
        Position { partition: partition(), offset: Offset(offset) }
    }

    #[test]
    fn the_truth_table_of_the_module() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.committable(&partition()), None);
        ledger.assign(partition());
        assert_eq!(ledger.committable(&partition()), None);

        let [four, five, six, nine] = [4, 5, 6, 9].map(|offset| ledger.receive(at(offset)).unwrap());
        let committable = |ledger: &Ledger| ledger.committable(&partition()).unwrap().0;
        assert_eq!((committable(&ledger), ledger.window(&partition())), (4, 4));
        ledger.finish(five).unwrap();
        ledger.finish(six).unwrap();
        assert_eq!((committable(&ledger), ledger.window(&partition())), (4, 4));
        ledger.finish(four).unwrap();
        assert_eq!((committable(&ledger), ledger.window(&partition())), (9, 1));
        ledger.finish(nine).unwrap();
        assert_eq!((committable(&ledger), ledger.window(&partition())), (10, 0));
    }

    #[test]
    fn what_was_finished_gets_no_second_ticket_from_whoever_goes_on() {
        let mut ledger = Ledger::default();
        ledger.assign(partition());
        let [four, five, six, _nine] = [4, 5, 6, 9].map(|offset| ledger.receive(at(offset)).unwrap());
        ledger.finish(five).unwrap();
        ledger.finish(six).unwrap();
        drop(four);
        let Checkpoint { next, metadata } = ledger.checkpoint(&partition()).unwrap();
        assert_eq!(next, NextOffset(4));

        let mut other = Ledger::default();
        other.assign(partition());
        other.restore(&partition(), next, Metadata::decode(metadata.as_bytes(), next).unwrap());
        let again = Checkpoint { next, metadata };
        assert_eq!(other.checkpoint(&partition()), Some(again.clone()), "it remembers before it receives");
        assert_eq!(other.window(&partition()), 0, "what is not received yet takes no place");
        assert_eq!(other.receive(at(3)), Err(Refused::AlreadyReceived), "below the position");
        let four = other.receive(at(4)).unwrap();
        assert_eq!(other.receive(at(5)), Err(Refused::AlreadyFinished));
        assert_eq!(other.checkpoint(&partition()), Some(again), "nor does it forget meanwhile");
        assert_eq!(other.receive(at(6)), Err(Refused::AlreadyFinished));
        let nine = other.receive(at(9)).unwrap();
        assert_eq!((other.window(&partition()), other.unfinished(&partition())), (4, 2));
        other.finish(four).unwrap();
        assert_eq!(other.committable(&partition()), Some(NextOffset(9)));
        other.finish(nine).unwrap();
        let done = Checkpoint { next: NextOffset(10), metadata: String::new() };
        assert_eq!(other.checkpoint(&partition()), Some(done));
    }

    #[test]
    fn a_dropped_ticket_holds_the_position_for_ever() {
        let mut ledger = Ledger::default();
        ledger.assign(partition());
        drop(ledger.receive(at(0)).unwrap());
        for offset in 1..100 {
            let ticket = ledger.receive(at(offset)).unwrap();
            ledger.finish(ticket).unwrap();
        }
        assert_eq!(ledger.committable(&partition()), Some(NextOffset(0)));
    }

    #[test]
    fn a_ticket_of_an_older_generation_is_fenced() {
        let mut ledger = Ledger::default();
        ledger.assign(partition());
        let late = ledger.receive(at(3)).unwrap();
        let later = ledger.receive(at(4)).unwrap();
        ledger.revoke(&partition());
        assert_eq!(ledger.finish(late), Err(Fenced));
        ledger.assign(partition());
        let ticket = ledger.receive(at(3)).unwrap();
        assert_eq!(ledger.finish(later), Err(Fenced));
        assert_eq!(ledger.committable(&partition()), Some(NextOffset(3)));
        ledger.finish(ticket).unwrap();
        assert_eq!(ledger.committable(&partition()), Some(NextOffset(4)));
    }

    #[test]
    fn a_checkpoint_can_be_written_before_it_is_true() {
        let mut ledger = Ledger::default();
        let generation = ledger.assign(partition());
        let [zero, one, two] = [0, 1, 2].map(|offset| ledger.receive(at(offset)).unwrap());
        let ahead = |ledger: &Ledger, also: &[i64]| {
            let also = also.iter().map(|offset| Offset(*offset)).collect();
            ledger.checkpoint_with(&partition(), &also).unwrap()
        };
        assert_eq!(ahead(&ledger, &[0]).next, NextOffset(1));
        assert_eq!(ahead(&ledger, &[0, 1, 2]).next, NextOffset(3));
        let (before, behind) = (ledger.checkpoint(&partition()).unwrap(), ahead(&ledger, &[1]));
        assert_eq!((before.next, before.metadata.as_str()), (NextOffset(0), ""));
        assert_eq!(behind.next, NextOffset(0));

        assert_eq!(ledger.confirm(&at(1), generation), Standing::Open);
        assert_eq!(ledger.checkpoint(&partition()), Some(behind), "now it is");
        assert_eq!(ledger.confirm(&at(1), generation), Standing::Finished);
        ledger.finish(one).unwrap();
        ledger.finish(zero).unwrap();
        assert_eq!(ledger.committable(&partition()), Some(NextOffset(2)));
        ledger.assign(partition());
        assert_eq!(ledger.confirm(&at(2), generation), Standing::Void);
        assert_eq!(ledger.finish(two), Err(Fenced));
    }

    #[test]
    fn what_was_received_before_gets_no_second_ticket() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.receive(at(1)), Err(Refused::NotAssigned));
        ledger.assign(partition());
        let _ticket = ledger.receive(at(7)).unwrap();
        assert_eq!(ledger.receive(at(7)), Err(Refused::AlreadyReceived));
        assert_eq!(ledger.receive(at(2)), Err(Refused::AlreadyReceived));
    }
}
