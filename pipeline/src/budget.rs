//! The budget: how many bytes the tasks in flight may hold together.
//!
//! Promises: shares never add up to more than the budget; a share comes back when it is dropped; small
//! requests may overtake a big one that does not fit yet, but not for ever (`OVERTAKEN_MAX`).
//!
//! Never: a request that can never be served: more than everything counts as everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How often a waiting request may be overtaken by smaller ones before everybody waits for it: enough that a
/// few hundred small files flow around a huge one, few enough that it starts within their time.
const OVERTAKEN_MAX: u32 = 64;

/// A number of bytes, shared out.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: u64,
    waiting: VecDeque<Request>,
}

#[derive(Debug)]
struct Request {
    bytes: u64,
    overtaken: u32,
    granted: oneshot::Sender<Share>,
}

/// Bytes taken from the budget, given back on drop.
#[derive(Debug)]
#[must_use]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Share {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let granted = {
            let mut state = self.budget.lock();
            state.free += self.bytes;
            self.budget.grant(&mut state)
        };
        // Outside of the lock: a receiver that left gives its share back at once, through here.
        for (sender, share) in granted {
            let _ = sender.send(share);
        }
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: u64) -> Arc<Budget> {
        let state = State { free: bytes_max, waiting: VecDeque::new() };
        Arc::new(Budget { bytes_max, state: Mutex::new(state) })
    }

    /// Waits for a share of so many bytes, at most all of the budget.
    pub async fn take(self: &Arc<Self>, bytes: u64) -> Share {
        let bytes = bytes.min(self.bytes_max);
        let (granted, share) = oneshot::channel();
        let now = {
            let mut state = self.lock();
            state.waiting.push_back(Request { bytes, overtaken: 0, granted });
            self.grant(&mut state)
        };
        for (sender, share) in now {
            let _ = sender.send(share);
        }
        match share.await {
            Ok(share) => share,
            // The sender lives in the queue until it is served.
            Err(_) => Share { budget: Arc::clone(self), bytes: 0 },
        }
    }

    /// Bytes nobody holds.
    pub fn free(&self) -> u64 {
        self.lock().free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves whoever fits, first come first served, around those who do not fit yet.
    fn grant(self: &Arc<Self>, state: &mut State) -> Vec<(oneshot::Sender<Share>, Share)> {
        let mut granted = Vec::new();
        let mut index = 0;
        while index < state.waiting.len() {
            let request = &state.waiting[index];
            if request.granted.is_closed() {
                state.waiting.remove(index);
            } else if request.bytes <= state.free {
                if state.waiting.iter().take(index).any(|earlier| earlier.overtaken >= OVERTAKEN_MAX) {
                    break;
                }
                for earlier in state.waiting.iter_mut().take(index) {
                    earlier.overtaken += 1;
                }
                if let Some(Request { bytes, granted: sender, .. }) = state.waiting.remove(index) {
                    state.free -= bytes;
                    granted.push((sender, Share { budget: Arc::clone(self), bytes }));
                }
            } else {
                index += 1;
            }
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn small_requests_overtake_a_big_one_but_not_for_ever() {
        let budget = Budget::new(100);
        let held = budget.take(50).now_or_never().unwrap();
        let mut big = Box::pin(budget.take(80));
        assert!(big.as_mut().now_or_never().is_none());
        for _ in 0..OVERTAKEN_MAX {
            assert!(budget.take(10).now_or_never().is_some(), "a small one passes");
        }
        let mut late = Box::pin(budget.take(10));
        assert!(late.as_mut().now_or_never().is_none(), "the big one's turn");
        drop(held);
        let big = big.now_or_never().unwrap();
        assert_eq!(big.bytes(), 80);
        assert!(late.now_or_never().is_some());
        drop(big);
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn more_than_everything_is_everything() {
        let budget = Budget::new(100);
        let share = budget.take(u64::MAX).now_or_never().unwrap();
        assert_eq!((share.bytes(), budget.free()), (100, 0));
        drop(share);
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn a_request_that_was_given_up_holds_nothing() {
        let budget = Budget::new(100);
        let all = budget.take(100).now_or_never().unwrap();
        {
            let mut given_up = Box::pin(budget.take(100));
            assert!(given_up.as_mut().now_or_never().is_none());
        }
        drop(all);
        assert_eq!(budget.free(), 100);
    }
}
