//! Transactions: results, and the offsets that they finish, in one step. Unless `KAFKA_EXACTLY_ONCE=false`, where the
//! brokers can.
//!
//! Promises:
//!
//! - a reader of committed messages sees the result of a task, and its dead letter if it failed, exactly once, whatever
//!   happens to workers and brokers: they, the position and what is remembered beside it are visible together or not at
//!   all;
//! - an offset is finished, and the stage ends, when the transaction that holds its result is committed;
//! - a transaction is opened only for what is there: results, and what is said of a partition before work on it may begin
//!   or when its owner goes; while one is under way the next ones gather;
//! - a step that may be tried again is; a transaction that must be given up is, and its results go into the next one;
//!   when nothing helps, every result has the reason, and the worker stops;
//! - a step that never returns ends the worker as well, and so does what stops transactions when no result waits.
//!
//! A worker that lost its partition cannot commit: whom the group knows ([`Transactions::members`]) is asked **before** it
//! is looked up that the tasks are still this worker's. Who loses them later is refused by the broker, and whoever gets
//! them waits for the end of the transaction before it reads what is committed.
//!
//! Never: an object. It was uploaded before, to a key that a repeat overwrites.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::commit::{Checkpoint, Generation, Standing};
use crate::config::WorkerType;
use crate::dead_letter;
use crate::failure::{Failure, Kind, Stage};
use crate::message::Message;
use crate::path::{Job, Outcome, Work};
use crate::publish::Notice;
use crate::source::{Ahead, Intake, Source};
use crate::task::{Partition, Position};
use crate::telemetry;

pub mod kafka;

/// How long a broker is left alone after it refused something.
const PAUSE: Duration = Duration::from_millis(100);
/// How long is waited for what may never come.
struct Patience {
    /// For a step. librdkafka waits without an end when it loses its question for the group's coordinator
    /// (confluentinc/librdkafka#5456, #5511); nothing in the process can make it return.
    step: Duration,
    /// For a source without transactions to leave the group.
    leave: Duration,
}

/// Longer than any step of a client that keeps to its timeouts; longer than the source waits for a last commit that does not
/// come, and shorter than the worker waits for the source.
const PATIENCE: Patience = Patience { step: Duration::from_secs(60), leave: Duration::from_secs(7) };
/// How often it is looked whether something waits for a commit without a result: a task that may only begin when that is
/// said.
const LOOK: Duration = Duration::from_millis(20);

/// What a broker offers. Steps of a transaction, in this order: begin, send, offsets, commit. All may block.
pub trait Transactions: Send + 'static {
    /// Whom the group knows this worker as, at one moment.
    type Members;

    /// Makes ready, once: what an earlier worker of the same name left open is given up.
    ///
    /// # Errors
    /// [`Refused`]; likewise for all steps.
    fn prepare(&mut self) -> Result<(), Refused>;

    /// Whom the group knows this worker as now. `None`: it is no member.
    fn members(&mut self) -> Option<Self::Members>;

    /// Opens a transaction.
    ///
    /// # Errors
    /// See [`Transactions::prepare`].
    fn begin(&mut self) -> Result<(), Refused>;

    /// Adds a message.
    ///
    /// # Errors
    /// See [`Transactions::prepare`].
    fn send(&mut self, to: Topic, message: &Message) -> Result<(), Refused>;

    /// Adds what the group commits, refused when the group knows this worker otherwise by now.
    ///
    /// # Errors
    /// See [`Transactions::prepare`].
    fn offsets(
        &mut self,
        checkpoints: &[(Partition, Checkpoint)],
        members: &Self::Members,
    ) -> Result<(), Refused>;

    /// Makes all of it visible.
    ///
    /// # Errors
    /// See [`Transactions::prepare`].
    fn commit(&mut self) -> Result<(), Refused>;

    /// Gives all of it up.
    ///
    /// # Errors
    /// See [`Transactions::prepare`].
    fn abort(&mut self) -> Result<(), Refused>;
}

/// Where what became of a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The result topic.
    Results,
    /// The dead-letter topic.
    DeadLetters,
}

/// A step that was not done.
#[derive(Debug)]
pub struct Refused {
    /// What to do.
    pub course: Course,
    /// Why.
    pub failure: Failure,
}

/// What to do about a step that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The same step again.
    Again,
    /// The transaction is given up.
    Abort,
    /// Nothing helps.
    Stop,
}

/// The stage that publishes: a place in the queue of the thread that makes transactions.
#[derive(Clone)]
pub struct Publish {
    requests: Sender<Request>,
    worker_type: WorkerType,
    worker: Arc<str>,
}

/// A result, with the dead letter if it is a failure, that waits for its transaction.
struct Request {
    position: Position,
    generation: Generation,
    messages: Vec<(Topic, Message)>,
    reply: oneshot::Sender<Result<(), Failure>>,
}

impl Request {
    fn task(&self) -> (&Position, Generation) {
        (&self.position, self.generation)
    }
}

/// Since when the client is in a step.
#[derive(Clone, Default)]
struct Call(Arc<Mutex<Option<Instant>>>);

impl Call {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn is_longer_than(&self, most: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() > most)
    }

    /// The end of a source, which comes early when a step takes too long, or when transactions are `stopped`: then
    /// nothing would ever be committed again, not even that a task begins. The source ends its intake and leaves the
    /// group first, so that its partitions are consumed by others at once, not when its session has run out.
    fn or_end(
        self,
        intake: Arc<Intake>,
        mut ended: Ended,
        stopped: oneshot::Receiver<Failure>,
        patience: Patience,
    ) -> Ended {
        let (told, either) = oneshot::channel();
        tokio::spawn(async move {
            let failure = tokio::select! {
                outcome = &mut ended => {
                    // A source that died says nothing, and neither does this.
                    let _ = outcome.map(|outcome| told.send(outcome));
                    return;
                }
                Ok(failure) = stopped => failure,
                failure = self.lasts_longer_than(patience.step) => failure,
            };
            intake.close();
            intake.abandon();
            let _ = timeout(patience.leave, ended).await;
            let _ = told.send(Err(failure));
        });
        either
    }

    /// Returns when a step does not.
    async fn lasts_longer_than(&self, most: Duration) -> Failure {
        while !self.is_longer_than(most) {
            sleep(most / 4).await;
        }
        let context = "a call of the Kafka client for a transaction does not return; restart the worker, nothing is lost \
                       or doubled";
        Failure::new(Stage::Publish, Kind::BrokerRefused, context)
    }
}

type Ended = oneshot::Receiver<Result<(), Failure>>;

/// Starts the thread that makes transactions for a source. It ends when the stage is dropped. `interval`: how often it is
/// looked whether there is something to commit without a result. When a step never returns, the source ends with that.
///
/// # Errors
/// When the thread cannot be started.
pub fn open<T: Transactions>(
    transactions: T,
    source: Source,
    worker_type: WorkerType,
    interval: Duration,
) -> Result<(Source, Publish), Failure> {
    let (requests, received) = channel();
    let (told, stopped) = oneshot::channel();
    let call = Call::default();
    let desk = Desk {
        transactions,
        intake: Arc::clone(&source.intake),
        requests: received,
        waiting: Vec::new(),
        left: false,
        pause: PAUSE,
        call: call.clone(),
        told: Some(told),
    };
    std::thread::Builder::new().name("kafka-results".to_owned()).spawn(move || desk.run(interval)).map_err(
        |error| {
            Failure::new(Stage::Publish, Kind::Misconfigured, "could not start the thread of transactions")
                .because(error)
        },
    )?;
    let ended = call.or_end(Arc::clone(&source.intake), source.ended, stopped, PATIENCE);
    Ok((Source { ended, ..source }, Publish { requests, worker_type, worker: dead_letter::worker().into() }))
}

impl Work<Outcome, ()> for Publish {
    fn begin(&self, job: Arc<Job>, outcome: Outcome) -> BoxFuture<'static, Result<(), Failure>> {
        let Publish { requests, worker_type, worker } = self.clone();
        async move {
            let Notice { result, dead_letter } = Notice::new(&job, &outcome, worker_type, &worker);
            let result = Message {
                key: Some(Bytes::from(result.key())),
                ..Message::of(Bytes::from(result.payload()?))
            };
            let dead_letter = dead_letter.map(|letter| (Topic::DeadLetters, letter));
            let (reply, answer) = oneshot::channel();
            let request = Request {
                position: job.position.clone(),
                generation: job.generation,
                messages: std::iter::once((Topic::Results, result)).chain(dead_letter).collect(),
                reply,
            };
            let gone = || Failure::new(Stage::Publish, Kind::Panicked, "the thread of transactions is gone");
            requests.send(request).map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        }
        .boxed()
    }
}

/// Where transactions are made.
struct Desk<T> {
    transactions: T,
    intake: Arc<Intake>,
    requests: Receiver<Request>,
    /// Results without a committed transaction.
    waiting: Vec<Request>,
    /// The stage is gone: nobody waits for anything.
    left: bool,
    pause: Duration,
    call: Call,
    /// For what stops transactions.
    told: Option<oneshot::Sender<Failure>>,
}

impl<T: Transactions> Desk<T> {
    fn run(mut self, interval: Duration) {
        // Before the first result: whoever reads what is committed waits for what an earlier worker left open.
        let mut stopped = self.step(T::prepare).err();
        let mut looked = Instant::now();
        // The stage goes first; then the source says for the last time what is to be committed, and goes.
        while !self.left || (stopped.is_none() && self.transactions.members().is_some()) {
            match self.requests.recv_timeout(LOOK) {
                Ok(request) => self.waiting.push(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.left = true;
                    std::thread::sleep(LOOK);
                }
            }
            self.gather();
            let due = self.left || looked.elapsed() >= interval;
            if stopped.is_none() && (!self.waiting.is_empty() || self.intake.is_urged() || due) {
                looked = Instant::now();
                stopped = self.settle().err();
            }
            if let Some(Refused { failure, .. }) = &stopped {
                let again = || Failure::new(Stage::Publish, failure.kind, failure.chain());
                for request in self.waiting.drain(..) {
                    let _ = request.reply.send(Err(again()));
                }
                self.told.take().into_iter().for_each(|told| drop(told.send(again())));
            }
        }
    }

    /// Takes what has come meanwhile.
    fn gather(&mut self) {
        loop {
            match self.requests.try_recv() {
                Ok(request) => self.waiting.push(request),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.left = true;
                    return;
                }
            }
        }
    }

    /// Commits what waits, and what the books say beyond that.
    fn settle(&mut self) -> Result<(), Refused> {
        loop {
            self.gather();
            // Before the look into the books: see the module.
            let members = self.transactions.members();
            let (batch, ahead) = self.sort_out(members.is_some());
            let Some(members) = members.filter(|_| !ahead.checkpoints.is_empty()) else { return Ok(()) };
            let refused = match self.attempt(&batch, &ahead.checkpoints, &members) {
                Ok(()) => {
                    self.intake.confirm(batch.iter().map(Request::task), ahead);
                    for request in batch {
                        let _ = request.reply.send(Ok(()));
                    }
                    return Ok(());
                }
                Err(refused) => refused,
            };
            // Before those that came meanwhile.
            self.waiting.splice(0..0, batch);
            if refused.course != Course::Abort {
                return Err(refused);
            }
            telemetry::transaction_aborted(&refused.failure);
            self.step(T::abort)?;
            std::thread::sleep(self.pause);
        }
    }

    /// Answers the results that need no transaction, or must not have one. Gives the others, and what is to be committed
    /// with them.
    fn sort_out(&mut self, is_member: bool) -> (Vec<Request>, Ahead) {
        // A stage that gave up waits for nothing: the task will come again.
        self.waiting.retain(|request| !request.reply.is_closed());
        let ahead = self.intake.ahead(self.waiting.iter().map(Request::task));
        let mut batch = Vec::new();
        for (request, standing) in self.waiting.drain(..).zip(&ahead.standings) {
            let answer = match standing {
                Standing::Open if is_member => {
                    batch.push(request);
                    continue;
                }
                // Published by a transaction that took longer than its stage.
                Standing::Finished => Ok(()),
                Standing::Open | Standing::Void => {
                    Err(Failure::new(Stage::Publish, Kind::Cancelled, "the partition is not ours any more"))
                }
            };
            let _ = request.reply.send(answer);
        }
        (batch, ahead)
    }

    /// One transaction.
    fn attempt(
        &mut self,
        batch: &[Request],
        checkpoints: &[(Partition, Checkpoint)],
        members: &T::Members,
    ) -> Result<(), Refused> {
        self.step(T::begin)?;
        for (topic, message) in batch.iter().flat_map(|request| &request.messages) {
            self.step(|transactions| transactions.send(*topic, message))?;
        }
        self.step(|transactions| transactions.offsets(checkpoints, members))?;
        self.step(T::commit)
    }

    /// One step, as often as it may be tried, and there is a group to commit for.
    fn step(&mut self, mut step: impl FnMut(&mut T) -> Result<(), Refused>) -> Result<(), Refused> {
        loop {
            self.call.set(Some(Instant::now()));
            let done = step(&mut self.transactions);
            self.call.set(None);
            match done {
                Err(Refused { course: Course::Again, failure }) => {
                    telemetry::transaction_delayed(&failure);
                    self.gather();
                    if self.left && self.transactions.members().is_none() {
                        return Err(Refused { course: Course::Stop, failure });
                    }
                    std::thread::sleep(self.pause);
                }
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests;
