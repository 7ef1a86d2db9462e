//! Which thread takes in which columns.
//!
//! A table that goes from the cache of one core to that of another costs more than the values that go into it. So every
//! column keeps its thread, and changes it only when the threads are no longer equally busy. Promise: this changes how
//! long it takes, and nothing else.

use std::cmp::Reverse;
use std::time::Instant;

use crate::both::threads;

/// Every so many batches it is looked how long each column takes.
const LOOK_EVERY: u64 = 16;
/// How much busier than the average a thread may be, in percent, before columns change their thread.
const UNEVEN_PERCENT: u64 = 8;
/// Of what a column took, so many parts are what it took before, and one what it took now.
const INERTIA: u64 = 3;

/// The lanes of the columns: one a thread.
#[derive(Clone, Default)]
pub(super) struct Lanes {
    /// The lane of each column.
    of: Vec<usize>,
    /// What each column took, in nanoseconds.
    costs: Vec<u64>,
    /// What was done beside the columns, by the thread of the first lane.
    beside: u64,
    batches: u64,
    /// Whether the other half of the threads has columns of its own.
    halved: bool,
}

/// A column, by its number, what became of it, and how long that took.
struct Work<'a, C, T> {
    index: usize,
    column: &'a mut C,
    done: Option<(T, u64)>,
}

impl Lanes {
    /// From now on only half of the threads are for these columns.
    pub(super) fn halve(&mut self) {
        self.halved = true;
    }

    /// All threads are for these columns again.
    pub(super) fn whole(&mut self) {
        self.halved = false;
    }

    /// Does something with all columns, and something else beside them: on the threads of the pool that this is called
    /// in, if it is.
    pub(super) fn all<C: Send, T: Send, R: Send>(
        &mut self,
        columns: &mut [C],
        take: impl Fn(usize, &mut C) -> T + Sync,
        beside: impl FnOnce() -> R + Send,
    ) -> (Vec<T>, R) {
        let threads = threads() / if self.halved { 2 } else { 1 };
        if threads <= 1 {
            let beside = beside();
            return (
                columns.iter_mut().enumerate().map(|(index, column)| take(index, column)).collect(),
                beside,
            );
        }
        let width = columns.len();
        (self.of.len()..width).for_each(|index| self.of.push(index % threads));
        self.costs.resize(width, 0);
        let looks = self.batches.is_multiple_of(LOOK_EVERY);
        self.batches += 1;

        let mut lanes: Vec<Vec<Work<'_, C, T>>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, column) in columns.iter_mut().enumerate() {
            lanes[self.of[index] % threads].push(Work { index, column, done: None });
        }
        let take = |work: &mut Work<'_, C, T>| {
            let begun = looks.then(Instant::now);
            let done = take(work.index, work.column);
            work.done = Some((done, nanos(begun)));
        };
        let (first, others) = lanes.split_at_mut(1);
        let (beside, ()) = rayon::join(
            || {
                let begun = looks.then(Instant::now);
                let beside = (beside(), nanos(begun));
                first.iter_mut().flatten().for_each(take);
                beside
            },
            || apart(others, &take),
        );
        let mut taken: Vec<Option<T>> = (0..width).map(|_| None).collect();
        for Work { index, done, .. } in lanes.into_iter().flatten() {
            if let Some((done, cost)) = done {
                taken[index] = Some(done);
                if looks {
                    self.costs[index] = steady(self.costs[index], cost);
                }
            }
        }
        if looks {
            self.beside = steady(self.beside, beside.1);
            self.share_out(threads);
        }
        (taken.into_iter().flatten().collect(), beside.0)
    }

    /// Deals the columns out anew, the longest first, when the threads are not equally busy.
    fn share_out(&mut self, threads: usize) {
        let mut loads = vec![0; threads];
        loads[0] = self.beside;
        self.of.iter().zip(&self.costs).for_each(|(lane, cost)| loads[lane % threads] += cost);
        let all: u64 = loads.iter().sum();
        let busiest = loads.iter().max().copied().unwrap_or(0);
        if busiest * 100 * threads as u64 <= all * (100 + UNEVEN_PERCENT) {
            return;
        }
        loads.fill(0);
        loads[0] = self.beside;
        let mut order: Vec<usize> = (0..self.of.len()).collect();
        order.sort_by_key(|&index| Reverse(self.costs[index]));
        for index in order {
            let (lane, load) = least(&mut loads);
            *load += self.costs[index];
            self.of[index] = lane;
        }
    }
}

fn least(loads: &mut [u64]) -> (usize, &mut u64) {
    let lane = (0..loads.len()).min_by_key(|&lane| loads[lane]).unwrap_or(0);
    (lane, &mut loads[lane])
}

fn apart<C: Send, T: Send>(lanes: &mut [Vec<Work<'_, C, T>>], take: &(impl Fn(&mut Work<'_, C, T>) + Sync)) {
    match lanes {
        [] => {}
        [lane] => lane.iter_mut().for_each(take),
        lanes => {
            let (left, right) = lanes.split_at_mut(lanes.len() / 2);
            rayon::join(|| apart(left, take), || apart(right, take));
        }
    }
}

fn nanos(begun: Option<Instant>) -> u64 {
    begun.map_or(0, |begun| begun.elapsed().as_nanos() as u64)
}

fn steady(before: u64, now: u64) -> u64 {
    if before == 0 { now } else { (before * INERTIA + now) / (INERTIA + 1) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lanes(of: &[usize], costs: &[u64], beside: u64) -> Vec<usize> {
        let mut lanes = Lanes { of: of.to_vec(), costs: costs.to_vec(), beside, ..Lanes::default() };
        lanes.share_out(2);
        lanes.of
    }

    #[test]
    fn columns_change_their_thread_only_when_threads_are_not_equally_busy() {
        assert_eq!(lanes(&[0, 1, 0], &[40, 103, 60], 0), [0, 1, 0]);
        // The longest first, each to the thread that has least to do.
        assert_eq!(lanes(&[0, 0, 0, 0], &[10, 40, 20, 30], 0), [0, 0, 1, 1]);
        assert_eq!(lanes(&[0, 1, 0, 1], &[10, 10, 10, 10], 40), [1, 1, 1, 1]);
    }

    #[test]
    fn everything_is_done_once_on_any_number_of_threads() {
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut lanes = Lanes::default();
            let mut columns = vec![0u64; 7];
            for batch in 1..=2 * LOOK_EVERY {
                // One column more, now and then.
                if batch % 9 == 0 {
                    columns.push(0);
                }
                let before = columns.clone();
                let take = |index: usize, column: &mut u64| {
                    *column += batch;
                    (index, *column)
                };
                let (taken, beside) = pool.install(|| lanes.all(&mut columns, take, || batch));
                assert_eq!(beside, batch);
                let expected: Vec<_> = before.iter().map(|column| column + batch).enumerate().collect();
                assert_eq!(taken, expected, "{threads} threads");
            }
        }
    }
}
