//! Notices into a list: for library users, the tests and the benches, and for `KAFKA_ENABLE_PRODUCER=false`.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::config::WorkerType;
use crate::dead_letter::{self, DeadLetter};
use crate::failure::Failure;
use crate::path::{Job, Outcome, Work};
use crate::publish::{Notice, ResultMessage};

/// The stage. Clones share the list.
#[derive(Clone, Debug)]
pub struct Publish {
    notices: Arc<Mutex<Vec<Notice>>>,
    worker_type: WorkerType,
    worker: Arc<str>,
}

impl Publish {
    /// An empty list.
    pub fn new(worker_type: WorkerType) -> Publish {
        Publish { notices: Arc::default(), worker_type, worker: dead_letter::worker().into() }
    }

    /// The results that were published so far.
    pub fn messages(&self) -> Vec<ResultMessage> {
        self.notices().into_iter().map(|notice| notice.result).collect()
    }

    /// The dead letters that were published so far.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.notices()
            .into_iter()
            .filter_map(|notice| notice.dead_letter.and_then(DeadLetter::read))
            .collect()
    }

    fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Work<Outcome, ()> for Publish {
    fn begin(&self, job: Arc<Job>, outcome: Outcome) -> BoxFuture<'static, Result<(), Failure>> {
        let notice = Notice::new(&job, &outcome, self.worker_type, &self.worker);
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
        futures::future::ready(Ok(())).boxed()
    }
}

/// The producer is switched off: nothing is kept, everything counts as confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Work<Outcome, ()> for Silent {
    fn begin(&self, _: Arc<Job>, _: Outcome) -> BoxFuture<'static, Result<(), Failure>> {
        futures::future::ready(Ok(())).boxed()
    }
}
