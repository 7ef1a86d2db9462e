//! Partitions that stand still: assigned to this worker, with something left to do, and no progress.
//!
//! Promises:
//!
//! - a partition whose committed position has not moved for a named time, although there is lag, is told about: once
//!   then, once more after each further such time, and when it goes on;
//! - with it comes what holds it: a task and how far that is, work that nobody does, a commit without an answer, or
//!   messages that do not come;
//! - a partition without lag never stands still, and one that was assigned anew begins anew.
//!
//! A file that rightly takes long is told about, too: whoever waits for the partition sees which one it is.
//!
//! Never: a clock, a lock, Kafka: facts in, news out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::commit::Generation;
use crate::failure::Stage;
use crate::task::{NextOffset, Offset, Partition};

/// What is known of an assigned partition at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The assignment.
    pub generation: Generation,
    /// What the broker has confirmed, or the group had committed before.
    pub committed: Option<NextOffset>,
    /// Offsets from there to the end of the partition. `None`: the broker has not told where that is.
    pub lag: Option<u64>,
    /// What the next progress waits for, should it not come.
    pub holder: Holder,
}

/// What holds a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The lowest unfinished task: nothing passes it.
    Task {
        /// Its offset.
        offset: Offset,
        /// Where it is; [`Stage::Claim`] before it begins, and between two tries.
        stage: Stage,
        /// 1 for the first try under this assignment.
        attempt: u32,
        /// The key of its file, if its message says one.
        key: Option<String>,
    },
    /// The lowest unfinished offset, which nobody works on: its task was given up.
    Nobody {
        /// The offset.
        offset: Offset,
    },
    /// Everything received is finished, and the broker has not confirmed its commit.
    Commit,
    /// Everything received is finished and committed: the next message has not come.
    Messages,
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A partition has stood still for so long.
    Stalled(Partition, Facts, Duration),
    /// One that was told about goes on, after so long.
    GoesOn(Partition, Duration),
}

/// Since when partitions stand still.
#[derive(Debug)]
pub struct Stalls {
    after: Duration,
    partitions: BTreeMap<Partition, Still>,
}

#[derive(Debug)]
struct Still {
    generation: Generation,
    committed: Option<NextOffset>,
    since: Instant,
    /// How often it was told about.
    told: u32,
}

impl Stalls {
    /// `after`: so long without progress is told about.
    pub fn new(after: Duration) -> Stalls {
        Stalls { after: after.max(Duration::from_millis(1)), partitions: BTreeMap::new() }
    }

    /// Looks at every assigned partition.
    pub fn look(&mut self, now: Instant, facts: Vec<(Partition, Facts)>) -> Vec<News> {
        let mut before = std::mem::take(&mut self.partitions);
        let mut news = Vec::new();
        for (partition, facts) in facts {
            let (generation, committed) = (facts.generation, facts.committed);
            let before = before.remove(&partition).filter(|still| still.generation == generation);
            let mut still = match before {
                Some(still) if still.committed == committed && facts.lag != Some(0) => still,
                other => {
                    if let Some(Still { since, told: 1.., .. }) = other {
                        let after = now.saturating_duration_since(since);
                        news.push(News::GoesOn(partition.clone(), after));
                    }
                    Still { generation, committed, since: now, told: 0 }
                }
            };
            let long = now.saturating_duration_since(still.since);
            if long >= self.after.saturating_mul(still.told.saturating_add(1)) {
                still.told = u32::try_from(long.as_nanos() / self.after.as_nanos()).unwrap_or(u32::MAX);
                news.push(News::Stalled(partition.clone(), facts, long));
            }
            self.partitions.insert(partition, still);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Ledger;

    const AFTER: Duration = Duration::from_secs(10);

    fn partition(id: i32) -> Partition {
        Partition { topic: "tasks".into(), id }
    }

    /// A clock of seconds, and the facts of one partition.
    struct Scene {
        stalls: Stalls,
        begin: Instant,
        generation: Generation,
    }

    impl Scene {
        fn new() -> Scene {
            let generation = Ledger::default().assign(partition(0));
            Scene { stalls: Stalls::new(AFTER), begin: Instant::now(), generation }
        }

        fn facts(&self, committed: i64, lag: Option<u64>) -> Facts {
            let committed = Some(NextOffset(committed));
            Facts { generation: self.generation, committed, lag, holder: Holder::Messages }
        }

        /// What is told at a second: how long it stands still, negative when it goes on.
        fn at(&mut self, second: u64, committed: i64, lag: Option<u64>) -> Option<i64> {
            let facts = self.facts(committed, lag);
            let now = self.begin + Duration::from_secs(second);
            let mut news = self.stalls.look(now, vec![(partition(0), facts.clone())]);
            assert!(news.len() <= 1, "{news:?}");
            news.pop().map(|news| match news {
                News::Stalled(of, told, long) => {
                    assert_eq!((of, told), (partition(0), facts));
                    long.as_secs() as i64
                }
                News::GoesOn(of, long) => {
                    assert_eq!(of, partition(0));
                    -(long.as_secs() as i64)
                }
            })
        }
    }

    #[test]
    fn it_is_told_after_the_bound_and_after_each_further_one() {
        let mut scene = Scene::new();
        let told: Vec<_> = (0..=35).filter_map(|second| scene.at(second, 7, Some(3))).collect();
        assert_eq!(told, [10, 20, 30]);
        assert_eq!(scene.at(36, 8, Some(2)), Some(-36));
        assert_eq!(scene.at(37, 8, Some(2)), None);
        assert_eq!(scene.at(46, 8, Some(2)), Some(10), "a new time begins with the progress");
    }

    #[test]
    fn a_look_that_comes_late_tells_once() {
        let mut scene = Scene::new();
        assert_eq!(scene.at(0, 7, Some(3)), None);
        assert_eq!(scene.at(47, 7, Some(3)), Some(47));
        assert_eq!(scene.at(49, 7, Some(3)), None);
        assert_eq!(scene.at(50, 7, Some(3)), Some(50));
    }

    #[test]
    fn without_lag_nothing_stands_still_and_the_time_begins_with_the_lag() {
        let mut scene = Scene::new();
        for second in 0..100 {
            assert_eq!(scene.at(second, 7, Some(0)), None);
        }
        assert_eq!(scene.at(100, 7, Some(1)), None);
        assert_eq!(scene.at(108, 7, Some(5)), None, "more of it is no progress");
        assert_eq!(scene.at(110, 7, Some(5)), Some(11), "since the last look that was good");
        // The topic was cut, or the rest were markers of transactions.
        assert_eq!(scene.at(111, 7, Some(0)), Some(-12));
        assert_eq!(scene.at(200, 7, Some(0)), None);
    }

    #[test]
    fn progress_of_any_size_is_progress() {
        let mut scene = Scene::new();
        for second in 0..100 {
            assert_eq!(scene.at(second, second as i64 / 9, Some(1_000_000)), None);
        }
    }

    #[test]
    fn a_broker_that_does_not_tell_the_end_counts_as_lag() {
        let mut scene = Scene::new();
        assert_eq!(scene.at(0, 7, None), None);
        assert_eq!(scene.at(10, 7, None), Some(10));
        assert_eq!(scene.at(11, 7, Some(0)), Some(-11));
    }

    #[test]
    fn another_assignment_begins_anew_and_a_lost_partition_is_forgotten() {
        let mut scene = Scene::new();
        assert_eq!(scene.at(0, 7, Some(3)), None);
        assert_eq!(scene.at(10, 7, Some(3)), Some(10));
        let mut ledger = Ledger::default();
        ledger.assign(partition(0));
        scene.generation = ledger.assign(partition(0));
        assert_eq!(scene.at(11, 7, Some(3)), None, "nobody would know of which assignment it is told");
        assert_eq!(scene.at(21, 7, Some(3)), Some(10));
        assert_eq!(scene.stalls.look(scene.begin + 3 * AFTER, Vec::new()), []);
        assert_eq!(scene.at(31, 7, Some(3)), None);
    }

    #[test]
    fn partitions_have_times_of_their_own() {
        let mut scene = Scene::new();
        let stands = |scene: &Scene, id| (partition(id), scene.facts(7, Some(1)));
        for second in 0..=15 {
            let now = scene.begin + Duration::from_secs(second);
            let mut facts = vec![stands(&scene, 0)];
            if second >= 4 {
                facts.push(stands(&scene, 1));
            }
            let of: Vec<i32> = (scene.stalls.look(now, facts).into_iter())
                .map(|news| match news {
                    News::Stalled(of, ..) => of.id,
                    News::GoesOn(..) => -1,
                })
                .collect();
            let expected: &[i32] = match second {
                10 => &[0],
                14 => &[1],
                _ => &[],
            };
            assert_eq!(of, expected, "{second}");
        }
    }
}
