//! Invariants 1, 2, 3 and 5: the ledger against a model that is too simple to be wrong.

use std::collections::BTreeMap;

use pipeline::commit::{Ledger, Ticket};
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
    /// The partition comes (again), at the position that was committed.
    Assign,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop_oneof![4 => Just(0_u8), 1 => 1_u8..5].prop_map(|gap| Step::Receive { gap }),
        8 => any::<u8>().prop_map(|which| Step::Finish { which }),
        1 => any::<u8>().prop_map(|which| Step::Drop { which }),
        1 => Just(Step::Revoke),
        1 => Just(Step::Assign),
    ];
    prop::collection::vec(step, 0..200)
}

/// The truth: every offset received under this assignment, and whether it is finished.
#[derive(Default)]
struct Model {
    assigned: bool,
    received: BTreeMap<i64, bool>,
}

impl Model {
    /// By the definition: the lowest unfinished, else the highest finished + 1.
    fn committable(&self) -> Option<NextOffset> {
        let unfinished =
            self.received.iter().find(|(_, finished)| !**finished).map(|(offset, _)| NextOffset(*offset));
        unfinished.or_else(|| self.received.keys().last().map(|offset| NextOffset(offset + 1)))
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
    let mut committed: Option<NextOffset> = None;
    for step in steps {
        match step {
            Step::Assign => {
                ledger.assign(partition());
                assignment += 1;
                model = Model { assigned: true, ..Model::default() };
                // The broker delivers from the committed position on, again if need be.
                next = committed.map_or(0, |next| next.0);
            }
            Step::Revoke => {
                ledger.revoke(&partition());
                model = Model::default();
            }
            Step::Receive { gap } => {
                let offset = next + i64::from(*gap);
                let received = ledger.receive(Position { partition: partition(), offset: Offset(offset) });
                prop_assert_eq!(received.is_ok(), model.assigned);
                if let Ok(ticket) = received {
                    model.received.insert(offset, false);
                    held.push(Held { ticket, assignment });
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
        if let Some(committable) = committable {
            prop_assert!(committed.is_none_or(|committed| committed <= committable), "never back");
            committed = Some(committable);
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
