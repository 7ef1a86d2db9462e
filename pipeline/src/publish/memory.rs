//! Results into a list: for library users, the tests and the benches, and for `KAFKA_ENABLE_PRODUCER=false`.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::config::WorkerType;
use crate::failure::Failure;
use crate::path::{Job, Outcome, Work};
use crate::publish::ResultMessage;

/// The stage. Clones share the list.
#[derive(Clone, Debug)]
pub struct Publish {
    messages: Arc<Mutex<Vec<ResultMessage>>>,
    worker_type: WorkerType,
}

impl Publish {
    /// An empty list.
    pub fn new(worker_type: WorkerType) -> Publish {
        Publish { messages: Arc::default(), worker_type }
    }

    /// What was published so far.
    pub fn messages(&self) -> Vec<ResultMessage> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Work<Outcome, ()> for Publish {
    fn begin(&self, job: Arc<Job>, outcome: Outcome) -> BoxFuture<'static, Result<(), Failure>> {
        let message = ResultMessage::new(&job, &outcome, self.worker_type);
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        futures::future::ready(Ok(())).boxed()
    }
}

/// Results are switched off: nothing is kept, everything counts as confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Work<Outcome, ()> for Silent {
    fn begin(&self, _: Arc<Job>, _: Outcome) -> BoxFuture<'static, Result<(), Failure>> {
        futures::future::ready(Ok(())).boxed()
    }
}
