//! Work on several threads whose results are wanted in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Pieces of work that are begun, or wait for their turn, beside one a thread: so that a thread which is done sooner goes on,
/// and few results are in memory.
const AHEAD: usize = 1;

/// Does each piece of work on one of so many threads, whichever is free. `then` gets what became of them in their order, on
/// this thread, each as soon as those before it are there.
///
/// # Errors
/// Those of `then`, which end it. What was begun is finished.
pub(super) fn in_order<W: Send, T: Send, E>(
    works: impl Iterator<Item = W>,
    threads: usize,
    work: impl Fn(W) -> T + Sync,
    mut then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let (give, given) = mpsc::channel();
    let given = Mutex::new(given);
    let (done, results) = mpsc::channel();
    let some = |done: mpsc::Sender<_>| {
        loop {
            let next = given.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((index, one)) = next else { return };
            let became = catch_unwind(AssertUnwindSafe(|| work(one)));
            if done.send((index, became)).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        // Dropped at the end of this block, which the threads take for the end of the work.
        let give = give;
        for _ in 0..threads {
            let done = done.clone();
            scope.spawn(|| some(done));
        }
        let (mut works, mut waiting) = (works.enumerate(), BTreeMap::<usize, thread::Result<T>>::new());
        let (mut begun, mut next) = (0, 0);
        loop {
            for one in works.by_ref().take(next + threads + AHEAD - begun) {
                begun += 1;
                // There are threads as long as this is not over.
                let _ = give.send(one);
            }
            if begun == next {
                return Ok(());
            }
            if let Some(became) = waiting.remove(&next) {
                next += 1;
                then(became.unwrap_or_else(|panic| resume_unwind(panic)))?;
            } else if let Ok((index, became)) = results.recv() {
                waiting.insert(index, became);
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_whoever_is_first() {
        // The first of each pair goes on when the second is done.
        let barriers: Vec<Barrier> = (0..50).map(|_| Barrier::new(2)).collect();
        let work = |number: usize| {
            barriers[number / 2].wait();
            number
        };
        let mut seen = Vec::new();
        let done: Result<(), ()> = in_order(0..100, 2, work, |number| {
            seen.push(number);
            Ok(())
        });
        assert_eq!((done, seen), (Ok(()), (0..100).collect()));
        assert_eq!(in_order(0..0, 2, |number: usize| number, |_| Err(())), Ok(()));
    }

    #[test]
    fn little_is_begun_before_its_turn_and_after_an_error() {
        let begun = AtomicUsize::new(0);
        let work = |number: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            number
        };
        let done = in_order(0.., 3, work, |number| {
            let begun = begun.load(Ordering::SeqCst);
            assert!(begun <= number + 3 + AHEAD, "{begun} begun at the turn of {number}");
            if number == 40 { Err("enough") } else { Ok(()) }
        });
        assert_eq!(done, Err("enough"));
        assert!(begun.load(Ordering::SeqCst) <= 43 + AHEAD);
    }

    #[test]
    fn a_panic_goes_on_here_when_it_is_its_turn() {
        let work = |number: usize| {
            assert!(number != 13, "the thirteenth");
            number
        };
        let mut seen = Vec::new();
        let then = |number| {
            seen.push(number);
            Ok::<(), ()>(())
        };
        let panic = catch_unwind(AssertUnwindSafe(|| in_order(0.., 2, work, then))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the thirteenth"));
        assert_eq!(seen, (0..13).collect::<Vec<_>>());
    }
}
