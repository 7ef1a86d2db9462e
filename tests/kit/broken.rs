//! Kafka's transactions with a mishap at one of their steps, once, when a test wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pipeline::commit::Checkpoint;
use pipeline::failure::{Failure, Kind, Stage};
use pipeline::message::Message;
use pipeline::task::Partition;
use pipeline::transaction::{Course, Refused, Topic, Transactions};
use tokio::sync::watch;

/// Before which step, or after the last one. An abort behind the commit would be no mishap of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Before the first result.
    Begin,
    /// Before a result.
    Send,
    /// Between results and offsets.
    Offsets,
    /// Between offsets and commit.
    Commit,
    /// Behind the commit: it is done, and nobody hears of it.
    Done,
}

/// What happens there.
#[derive(Clone)]
pub enum Mishap {
    /// The broker refuses the step.
    Refused(Course),
    /// The thread dies, and leaves everything as it is.
    Death,
    /// Nothing goes on until the value is false.
    Halt(watch::Receiver<bool>),
    /// Something happens to the worker, and then it goes on, if it still can.
    Meanwhile(Arc<dyn Fn() + Send + Sync>),
}

/// When it happens, and whether it has.
#[derive(Clone, Default)]
pub struct Trigger {
    armed: Arc<AtomicBool>,
    struck: Arc<AtomicBool>,
}

impl Trigger {
    /// From now on.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Whether it has happened.
    pub fn struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}

/// Transactions with a mishap.
pub struct Broken<T> {
    /// The real ones.
    inner: T,
    /// Where it happens.
    at: Boundary,
    /// What happens.
    mishap: Mishap,
    /// When it happens.
    trigger: Trigger,
    /// Only in a transaction of at least so many messages.
    least: usize,
    sent: usize,
}

impl<T> Broken<T> {
    /// Puts a mishap around `inner`.
    pub fn around(inner: T, at: Boundary, mishap: Mishap, trigger: Trigger) -> Broken<T> {
        Broken { inner, at, mishap, trigger, least: 0, sent: 0 }
    }

    /// Only in a transaction of at least so many messages.
    pub fn in_one_of(self, least: usize) -> Broken<T> {
        Broken { least, ..self }
    }

    fn pass(&self, boundary: Boundary) -> Result<(), Refused> {
        if self.at != boundary || self.sent < self.least || !self.trigger.armed.swap(false, Ordering::SeqCst)
        {
            return Ok(());
        }
        self.trigger.struck.store(true, Ordering::SeqCst);
        match &self.mishap {
            Mishap::Refused(course) => {
                let failure = Failure::new(Stage::Publish, Kind::BrokerRefused, "planned");
                Err(Refused { course: *course, failure })
            }
            Mishap::Death => panic!("planned"),
            Mishap::Meanwhile(happens) => {
                happens();
                Ok(())
            }
            Mishap::Halt(halted) => {
                let mut halted = halted.clone();
                // An error means that the test is over.
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let _ = runtime.block_on(halted.wait_for(|halted| !halted));
                Ok(())
            }
        }
    }
}

impl<T: Transactions> Transactions for Broken<T> {
    type Members = T::Members;

    fn prepare(&mut self) -> Result<(), Refused> {
        self.inner.prepare()
    }

    fn members(&mut self) -> Option<T::Members> {
        self.inner.members()
    }

    fn begin(&mut self) -> Result<(), Refused> {
        self.sent = 0;
        self.inner.begin()?;
        self.pass(Boundary::Begin)
    }

    fn send(&mut self, to: Topic, message: &Message) -> Result<(), Refused> {
        self.pass(Boundary::Send)?;
        self.inner.send(to, message)?;
        self.sent += 1;
        Ok(())
    }

    fn offsets(
        &mut self,
        checkpoints: &[(Partition, Checkpoint)],
        members: &T::Members,
    ) -> Result<(), Refused> {
        self.pass(Boundary::Offsets)?;
        self.inner.offsets(checkpoints, members)
    }

    fn commit(&mut self) -> Result<(), Refused> {
        self.pass(Boundary::Commit)?;
        self.inner.commit()?;
        self.pass(Boundary::Done)
    }

    fn abort(&mut self) -> Result<(), Refused> {
        self.inner.abort()
    }
}
