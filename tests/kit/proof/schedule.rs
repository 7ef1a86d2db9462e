//! What happens in a proof: to whom, in which order, drawn from a seed.
//!
//! Promises: the same plan gives the same schedule; so many lives end by SIGKILL and so many by SIGTERM as the plan says,
//! and every boundary has its share.
//!
//! Never: when something happens by the clock of a wall. A life counts from the moment it has work, storage and broker
//! from the lives that have ended.

use std::collections::BTreeSet;

use fastrand::Rng;

/// Of the lives that end by SIGKILL, how many of a hundred do it themselves, at a boundary.
const AT_BOUNDARIES: usize = 60;
/// Of those killed from outside, how many of a hundred sleep through their session first.
const STALLED: usize = 15;
/// The session of a worker that stalls must have ended by then, in milliseconds.
const STALL_MS: std::ops::Range<u64> = 3_500..6_000;
/// How long a life has work before its end comes from outside, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 0..1_500;
/// How many tasks pass a boundary before it kills.
const AFTER: std::ops::Range<u32> = 0..12;
/// How many requests a fault of the storage hits.
const HITS: std::ops::Range<usize> = 1..12;
/// How long a broker does not answer that is there, in milliseconds: less than its own session, which is 3 s.
const FROZEN_MS: std::ops::Range<u64> = 500..2_500;

/// What a proof shall have.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where chance comes from.
    pub seed: u64,
    /// Workers at the same time.
    pub slots: usize,
    /// Lives that end by SIGKILL.
    pub kills: usize,
    /// Lives that end by SIGTERM.
    pub leaves: usize,
    /// Faults of the storage.
    pub storage: usize,
    /// Faults of the broker.
    pub broker: usize,
    /// Whether results are published in transactions.
    pub exactly_once: bool,
    /// Whether all workers are the kit's: those that are shipped cannot be broken on purpose.
    pub of_the_kit: bool,
}

/// Between which steps a worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Boundary {
    /// The task is claimed, nothing has begun.
    Claim,
    /// Admitted, not opened.
    Admit,
    /// Opened, not read.
    Download,
    /// Summarised, not stored.
    Parse,
    /// Stored, not announced.
    Upload,
    /// Announced and confirmed, not finished.
    Publish,
    /// Committed: nobody has heard of it.
    Commit,
    /// A transaction is open, and empty.
    Begin,
    /// Before a result goes into it.
    Send,
    /// Between results and offsets.
    Offsets,
    /// Between offsets and the commit.
    Close,
}

impl Boundary {
    /// On every way.
    const ALWAYS: [Boundary; 7] = [
        Boundary::Claim,
        Boundary::Admit,
        Boundary::Download,
        Boundary::Parse,
        Boundary::Upload,
        Boundary::Publish,
        Boundary::Commit,
    ];
    /// Within a transaction.
    const TRANSACTION: [Boundary; 4] = [Boundary::Begin, Boundary::Send, Boundary::Offsets, Boundary::Close];

    /// Those that there are.
    pub fn all(exactly_once: bool) -> Vec<Boundary> {
        let transaction: &[Boundary] = if exactly_once { &Boundary::TRANSACTION } else { &[] };
        [&Boundary::ALWAYS, transaction].concat()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Boundary::Claim => "claim",
            Boundary::Admit => "admit",
            Boundary::Download => "download",
            Boundary::Parse => "parse",
            Boundary::Upload => "upload",
            Boundary::Publish => "publish",
            Boundary::Commit => "commit",
            Boundary::Begin => "begin",
            Boundary::Send => "send",
            Boundary::Offsets => "offsets",
            Boundary::Close => "close",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Boundary> {
        Boundary::all(true).into_iter().find(|boundary| boundary.name() == name)
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It kills itself at a boundary, when so many tasks have passed it before.
    Boundary(Boundary, u32),
    /// SIGKILL, after so many milliseconds of work.
    Kill(u64),
    /// It is stopped after so many milliseconds of work, for so long that the group gives it up; it goes on, and is
    /// killed.
    Stall(u64, u64),
    /// SIGTERM, after so many milliseconds of work.
    Leave(u64),
}

impl End {
    /// Whether it is a SIGKILL.
    pub fn is_kill(self) -> bool {
        !matches!(self, End::Leave(_))
    }
}

/// One worker, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Whether it is the program that is shipped, or the kit's.
    pub is_shipped: bool,
    /// How it ends.
    pub end: End,
}

/// What the storage does to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storm {
    /// Answers that it is asked too much.
    Throttles,
    /// Answers that something is wrong inside.
    Fails,
    /// Closes the connection instead of an answer.
    Resets,
    /// Does what is asked, and closes the connection instead of an answer.
    LosesAnswers,
    /// Closes the connection in the middle of an object.
    CutsBodies,
    /// Sends so slowly that it is felt.
    IsSlow,
    /// Stops in the middle of an object.
    Stalls,
}

impl Storm {
    /// All of them.
    pub const ALL: [Storm; 7] = [
        Storm::Throttles,
        Storm::Fails,
        Storm::Resets,
        Storm::LosesAnswers,
        Storm::CutsBodies,
        Storm::IsSlow,
        Storm::Stalls,
    ];
}

/// What happens to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SIGKILL, and it starts again.
    Restart,
    /// It does not answer, so many milliseconds long.
    Freeze(u64),
}

/// What happens in a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The lives of each slot, one after the other.
    pub slots: Vec<Vec<Life>>,
    /// Faults of the storage: when so many lives have ended, and how many requests they hit.
    pub storage: Vec<(usize, Storm, usize)>,
    /// Faults of the broker: when so many lives have ended.
    pub broker: Vec<(usize, Trouble)>,
}

impl Schedule {
    /// What the plan wants, by its seed.
    pub fn new(plan: &Plan) -> Schedule {
        let mut rng = Rng::with_seed(plan.seed);
        let mut lives: Vec<Life> = ends(plan, &mut rng)
            .into_iter()
            .map(|end| {
                // Only the kit's worker knows boundaries. Of the others some are the kit's as well: it says what it begins.
                let is_kit = plan.of_the_kit || matches!(end, End::Boundary(..)) || rng.u8(..4) == 0;
                Life { is_shipped: !is_kit, end }
            })
            .collect();
        rng.shuffle(&mut lives);
        let slots = plan.slots.max(1);
        let slots =
            (0..slots).map(|slot| lives.iter().skip(slot).step_by(slots).copied().collect()).collect();
        let mut moments = |count: usize| {
            let mut moments: Vec<usize> = (0..count).map(|_| rng.usize(..lives.len().max(1))).collect();
            moments.sort_unstable();
            moments
        };
        let (storage, broker) = (moments(plan.storage), moments(plan.broker));
        let storage = storage.into_iter().enumerate();
        let storage =
            storage.map(|(n, at)| (at, Storm::ALL[n % Storm::ALL.len()], rng.usize(HITS))).collect();
        let broker = broker.into_iter().enumerate().map(|(n, at)| match n % 2 {
            0 => (at, Trouble::Restart),
            _ => (at, Trouble::Freeze(rng.u64(FROZEN_MS))),
        });
        Schedule { slots, storage, broker: broker.collect() }
    }

    /// All lives.
    pub fn lives(&self) -> impl Iterator<Item = &Life> {
        self.slots.iter().flatten()
    }

    /// The boundaries at which somebody dies.
    pub fn boundaries(&self) -> BTreeSet<Boundary> {
        let at = |life: &Life| match life.end {
            End::Boundary(at, _) => Some(at),
            End::Kill(_) | End::Stall(..) | End::Leave(_) => None,
        };
        self.lives().filter_map(at).collect()
    }
}

fn ends(plan: &Plan, rng: &mut Rng) -> Vec<End> {
    let boundaries = Boundary::all(plan.exactly_once);
    let at_boundaries = (plan.kills * AT_BOUNDARIES / 100).max(boundaries.len()).min(plan.kills);
    let stalled = (plan.kills - at_boundaries) * STALLED / 100;
    let mut ends = Vec::with_capacity(plan.kills + plan.leaves);
    ends.extend(
        boundaries.into_iter().cycle().take(at_boundaries).map(|at| End::Boundary(at, rng.u32(AFTER))),
    );
    ends.extend((0..stalled).map(|_| End::Stall(rng.u64(LIFE_MS), rng.u64(STALL_MS))));
    ends.extend((at_boundaries + stalled..plan.kills).map(|_| End::Kill(rng.u64(LIFE_MS))));
    ends.extend((0..plan.leaves).map(|_| End::Leave(rng.u64(LIFE_MS))));
    ends
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plans() -> impl Strategy<Value = Plan> {
        let bounds = (1..6_usize, 0..200_usize, 0..50_usize, 0..50_usize, 0..9_usize);
        (any::<u64>(), bounds, any::<bool>(), any::<bool>()).prop_map(
            |(seed, (slots, kills, leaves, storage, broker), exactly_once, of_the_kit)| Plan {
                seed,
                slots,
                kills,
                leaves,
                storage,
                broker,
                exactly_once,
                of_the_kit,
            },
        )
    }

    proptest! {
        #[test]
        fn a_schedule_is_what_the_plan_says(plan in plans()) {
            let schedule = Schedule::new(&plan);
            prop_assert_eq!(&schedule, &Schedule::new(&plan));
            prop_assert_eq!(schedule.slots.len(), plan.slots);
            let kills = schedule.lives().filter(|life| life.end.is_kill()).count();
            let lives = schedule.lives().count();
            prop_assert_eq!((kills, lives), (plan.kills, plan.kills + plan.leaves));
            let boundaries = Boundary::all(plan.exactly_once);
            let expected = boundaries.iter().copied().take(plan.kills).collect();
            prop_assert_eq!(schedule.boundaries(), expected);
            prop_assert_eq!((schedule.storage.len(), schedule.broker.len()), (plan.storage, plan.broker));
            prop_assert!(schedule.storage.is_sorted_by_key(|(at, ..)| *at));
            prop_assert!(schedule.broker.is_sorted_by_key(|(at, _)| *at));
            for life in schedule.lives() {
                let needs_the_kit = plan.of_the_kit || matches!(life.end, End::Boundary(..));
                prop_assert!(!(life.is_shipped && needs_the_kit));
            }
            // Nobody has much more to live through than others.
            let shortest = schedule.slots.iter().map(Vec::len).min();
            prop_assert!(schedule.slots.iter().all(|lives| Some(lives.len()) <= shortest.map(|least| least + 1)));
        }
    }

    #[test]
    fn seeds_differ() {
        let plan = Plan {
            seed: 1,
            slots: 4,
            kills: 30,
            leaves: 5,
            storage: 7,
            broker: 2,
            exactly_once: true,
            of_the_kit: false,
        };
        assert_ne!(Schedule::new(&plan), Schedule::new(&Plan { seed: 2, ..plan }));
        assert!(Schedule::new(&plan).lives().any(|life| life.is_shipped));
    }

    #[test]
    fn boundaries_have_names() {
        for boundary in Boundary::all(true) {
            assert_eq!(Boundary::named(boundary.name()), Some(boundary));
        }
        assert_eq!(Boundary::named("elsewhere"), None);
    }
}
