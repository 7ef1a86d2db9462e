//! The ledger: which received offsets are unfinished, and what may be committed.
//!
//! Promises, per partition and generation (one assignment of the partition to this worker):
//!
//! - an offset is committable only when every lower received offset is finished;
//! - the committable position never goes back;
//! - a [`Ticket`] that is dropped leaves its offset unfinished: forgetting is failing;
//! - a ticket of an older generation finishes nothing ([`Fenced`]).
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
//! Never: no clock, no runtime, no Kafka, no lock: facts in, decisions out.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The offset, or a higher one, was received before under this assignment.
    #[error("the offset was already received")]
    AlreadyReceived,
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
    highest: Option<Offset>,
    unfinished: BTreeSet<Offset>,
    /// Finished offsets above the lowest unfinished one: the work that a crash would repeat.
    finished_above: BTreeSet<Offset>,
}

impl Ledger {
    /// Starts the books of a newly assigned partition. What was known of an older assignment is forgotten.
    pub fn assign(&mut self, partition: Partition) -> Generation {
        self.generations += 1;
        let generation = Generation(self.generations);
        let receipts = Receipts {
            generation,
            highest: None,
            unfinished: BTreeSet::new(),
            finished_above: BTreeSet::new(),
        };
        self.partitions.insert(partition, receipts);
        generation
    }

    /// Closes the books of a partition: its tickets are fenced from now on.
    pub fn revoke(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
    }

    /// Books a received offset as unfinished.
    ///
    /// # Errors
    /// [`Refused`] when the partition is not assigned or the offset was seen before.
    pub fn receive(&mut self, position: Position) -> Result<Ticket, Refused> {
        let receipts = self.partitions.get_mut(&position.partition).ok_or(Refused::NotAssigned)?;
        if receipts.highest.is_some_and(|highest| position.offset <= highest) {
            return Err(Refused::AlreadyReceived);
        }
        receipts.highest = Some(position.offset);
        receipts.unfinished.insert(position.offset);
        Ok(Ticket { generation: receipts.generation, position })
    }

    /// Books a received offset as finished.
    ///
    /// # Errors
    /// [`Fenced`] when the ticket's assignment is over.
    pub fn finish(&mut self, ticket: Ticket) -> Result<(), Fenced> {
        let Some(receipts) = self.partitions.get_mut(&ticket.position.partition) else { return Err(Fenced) };
        if receipts.generation != ticket.generation {
            return Err(Fenced);
        }
        let offset = ticket.position.offset;
        let booked = receipts.unfinished.remove(&offset);
        // Tickets are issued once per offset and consumed here: a second one cannot exist.
        debug_assert!(booked, "offset {offset:?} finished twice");
        match receipts.unfinished.first() {
            None => receipts.finished_above.clear(),
            Some(&lowest) => {
                receipts.finished_above.insert(offset);
                receipts.finished_above = receipts.finished_above.split_off(&lowest);
            }
        }
        Ok(())
    }

    /// What may be committed: the lowest unfinished offset, else the highest finished + 1.
    /// `None` until something was received.
    pub fn committable(&self, partition: &Partition) -> Option<NextOffset> {
        let receipts = self.partitions.get(partition)?;
        match receipts.unfinished.first() {
            Some(lowest) => Some(lowest.again()),
            None => receipts.highest.map(Offset::next),
        }
    }

    /// The number of received offsets, finished or not, that a commit does not yet cover.
    pub fn window(&self, partition: &Partition) -> usize {
        self.partitions
            .get(partition)
            .map_or(0, |receipts| receipts.unfinished.len() + receipts.finished_above.len())
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
    fn what_was_received_before_gets_no_second_ticket() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.receive(at(1)), Err(Refused::NotAssigned));
        ledger.assign(partition());
        let _ticket = ledger.receive(at(7)).unwrap();
        assert_eq!(ledger.receive(at(7)), Err(Refused::AlreadyReceived));
        assert_eq!(ledger.receive(at(2)), Err(Refused::AlreadyReceived));
    }
}
