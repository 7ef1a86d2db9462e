//! Invariants 1 to 5: the ledger against a model that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::commit::{Ledger, METADATA_BYTES_MAX, Metadata, Refused, Ticket};
use pipeline::task::{NextOffset, Offset, Partition, Position};
use proptest::prelude::*;

/// What can happen to a partition. Numbers choose among what is there, modulo.
#[derive(Clone, Debug)]
enum Step {
    /// A message arrives, after a gap of so many offsets.
    Receive { gap: u8 },
    /// One of the held tickets is finished.
    Finish { which: u8 },
    /// One of the held tickets is forgotten.
    Drop { which: u8 },
    /// The partition goes; tickets stay in the hands of whoever works on them.
    Revoke,
    /// The partition comes (again), at the position that was committed, with what was written beside it or without.
    Assign { restored: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop_oneof![4 => Just(0_u8), 1 => 1_u8..5].prop_map(|gap| Step::Receive { gap }),
        8 => any::<u8>().prop_map(|which| Step::Finish { which }),
        1 => any::<u8>().prop_map(|which| Step::Drop { which }),
        1 => Just(Step::Revoke),
        1 => prop::bool::weighted(0.8).prop_map(|restored| Step::Assign { restored }),
    ];
    prop::collection::vec(step, 0..200)
}

/// The truth: every offset received under this assignment, and whether it is finished.
#[derive(Default)]
struct Model {
    assigned: bool,
    received: BTreeMap<i64, bool>,
    /// Where it was restored, and what was finished behind that then.
    restored: Option<(NextOffset, BTreeSet<i64>)>,
}

impl Model {
    /// By the definition: the lowest unfinished, else the highest finished + 1.
    fn committable(&self) -> Option<NextOffset> {
        let unfinished =
            self.received.iter().find(|(_, finished)| !**finished).map(|(offset, _)| NextOffset(*offset));
        unfinished
            .or_else(|| self.received.keys().last().map(|offset| NextOffset(offset + 1)))
            .or_else(|| self.restored.as_ref().map(|(next, _)| *next))
    }

    /// What is finished above the committable offset: received under this assignment, or still to be received again.
    fn finished(&self) -> BTreeSet<i64> {
        let Some(next) = self.committable() else { return BTreeSet::new() };
        let last = self.received.keys().last().copied();
        let received = self
            .received
            .iter()
            .filter(|(_, finished)| **finished)
            .map(|(offset, _)| *offset)
            .collect::<Vec<_>>();
        let remembered = self.restored.iter().flat_map(|(_, finished)| finished.iter().copied());
        let to_come = remembered.filter(|offset| last.is_none_or(|last| *offset > last));
        received.into_iter().chain(to_come).filter(|offset| *offset >= next.0).collect()
    }

    fn was_finished(&self, offset: i64) -> bool {
        self.restored.as_ref().is_some_and(|(_, finished)| finished.contains(&offset))
    }
}

/// A ticket, and the number of the assignment that it belongs to.
struct Held {
    ticket: Ticket,
    assignment: usize,
}

fn partition() -> Partition {
    Partition { topic: "tasks".into(), id: 7 }
}

fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut ledger = Ledger::default();
    let mut model = Model::default();
    let mut held: Vec<Held> = Vec::new();
    let mut assignment = 0;
    let mut next = 0;
    let mut committed: Option<(NextOffset, BTreeSet<i64>, String)> = None;
    for step in steps {
        match step {
            Step::Assign { restored } => {
                ledger.assign(partition());
                assignment += 1;
                model = Model { assigned: true, ..Model::default() };
                // The broker delivers from the committed position on, again if need be.
                next = committed.as_ref().map_or(0, |(next, ..)| next.0);
                if let (true, Some((next, finished, text))) = (*restored, &committed) {
                    let metadata = Metadata::decode(text.as_bytes(), *next).expect("our own");
                    ledger.restore(&partition(), *next, metadata);
                    model.restored = Some((*next, finished.clone()));
                }
            }
            Step::Revoke => {
                ledger.revoke(&partition());
                model = Model::default();
            }
            Step::Receive { gap } => {
                let offset = next + i64::from(*gap);
                let received = ledger.receive(Position { partition: partition(), offset: Offset(offset) });
                let finished = model.was_finished(offset);
                match received {
                    Ok(ticket) => {
                        prop_assert!(model.assigned && !finished, "finished work is never given out again");
                        held.push(Held { ticket, assignment });
                    }
                    Err(Refused::AlreadyFinished) => prop_assert!(model.assigned && finished),
                    Err(refused) => prop_assert_eq!((refused, model.assigned), (Refused::NotAssigned, false)),
                }
                if model.assigned {
                    model.received.insert(offset, finished);
                    next = offset + 1;
                }
            }
            Step::Finish { which } if !held.is_empty() => {
                let Held { ticket, assignment: of } = held.swap_remove(usize::from(*which) % held.len());
                let offset = ticket.position().offset.0;
                let valid = model.assigned && of == assignment;
                prop_assert_eq!(
                    ledger.finish(ticket).is_ok(),
                    valid,
                    "late completions are fenced, others are not"
                );
                if valid {
                    model.received.insert(offset, true);
                }
            }
            Step::Drop { which } if !held.is_empty() => {
                drop(held.swap_remove(usize::from(*which) % held.len()));
            }
            Step::Finish { .. } | Step::Drop { .. } => {}
        }
        let committable = ledger.committable(&partition());
        prop_assert_eq!(committable, model.committable());
        let open = model.received.values().filter(|finished| !**finished).count();
        prop_assert_eq!(ledger.unfinished(&partition()), open);
        let above =
            model.received.keys().filter(|offset| committable.is_some_and(|next| **offset >= next.0)).count();
        prop_assert_eq!(ledger.window(&partition()), above);
        let checkpoint = ledger.checkpoint(&partition());
        prop_assert_eq!(checkpoint.as_ref().map(|checkpoint| checkpoint.next), committable);
        if let Some(checkpoint) = checkpoint {
            prop_assert!(checkpoint.metadata.len() <= METADATA_BYTES_MAX);
            let read = Metadata::decode(checkpoint.metadata.as_bytes(), checkpoint.next).expect("our own");
            let finished = model.finished();
            prop_assert_eq!(read.finished, finished.iter().map(|offset| Offset(*offset)).collect());
            prop_assert!(committed.is_none_or(|(next, ..)| next <= checkpoint.next), "never back");
            committed = Some((checkpoint.next, finished, checkpoint.metadata));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_ledger_is_the_model(steps in steps()) {
        run(&steps)?;
    }
}
