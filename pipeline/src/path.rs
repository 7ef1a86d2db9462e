//! The path of a task: claim → admit → download → parse → upload → publish. [`path`] is the only place where the order
//! of the stages is written; the worker's loop around it commits.
//!
//! Promises:
//!
//! - every claim that goes in comes out, once, with a [`Verdict`]: a panic, a missed deadline or a lost
//!   partition of one stage is a failure of that task and of nothing else;
//! - a stage holds at most its bound of tasks, and works on while the stage below is busy: each stage's future
//!   is a spawned task, so nobody's polling can stall it;
//! - a task whose partition was lost is stopped, and nothing more of it is sent.
//!
//! Never: a stage that knows another one, or a retry here. The verdict says "again", the worker decides when.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Either, select};
use futures::{Stream, StreamExt};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::admit::Admitted;
use crate::commit::Generation;
use crate::config::Worker;
use crate::download::Object;
use crate::failure::{Failure, Kind, Stage, Status};
use crate::message::Message;
use crate::parse::Parsed;
use crate::source::{Claim, Hold};
use crate::task::{self, Position, Task};

/// Sends every claim along the stages, each with its own bound, and gives back what became of it.
pub fn path(claims: impl Stream<Item = Claim>, stages: Arc<Stages>) -> impl Stream<Item = Settled> {
    let Stages { admit, download, parse, upload, publish, bounds, defaults } = Arc::unwrap_or_clone(stages);
    claims
        .map(move |claim| Carried::begin(claim, &defaults))
        .map(move |task| task.through(Stage::Download, NO_DEADLINE, &admit))
        .buffer_unordered(bounds.admissions_max)
        .map(move |object| object.through(Stage::Download, bounds.download_timeout, &download))
        .buffer_unordered(bounds.downloads_max)
        .map(move |object| object.through(Stage::Parse, bounds.parse_timeout, &parse))
        .buffer_unordered(bounds.parses_max)
        .map(move |summary| summary.through(Stage::Upload, bounds.upload_timeout, &upload))
        .buffer_unordered(bounds.uploads_max)
        .map(move |artefact| artefact.settle(&bounds, &publish))
        .buffer_unordered(bounds.publishes_max)
}

/// For the admission: waiting for memory is no failure.
const NO_DEADLINE: Duration = Duration::MAX;

/// One stage's work on one task. `In` is what the stage above made, `Out` what the stage below takes.
pub trait Work<In, Out>: Send + Sync {
    /// Begins the work. The future owns all it needs, since it is spawned.
    fn begin(&self, job: Arc<Job>, input: In) -> BoxFuture<'static, Result<Out, Failure>>;
}

/// The stages of the path.
#[derive(Clone)]
pub struct Stages {
    /// Finds the object, waits for memory.
    pub admit: Arc<dyn Work<(), Admitted>>,
    /// Opens it and begins to read.
    pub download: Arc<dyn Work<Admitted, Object>>,
    /// Makes its summary.
    pub parse: Arc<dyn Work<Object, Parsed>>,
    /// Stores the summary.
    pub upload: Arc<dyn Work<Parsed, Success>>,
    /// Announces what became of the task, and returns when that is confirmed.
    pub publish: Arc<dyn Work<Outcome, ()>>,
    /// How much of everything.
    pub bounds: Bounds,
    /// For what a task leaves out.
    pub defaults: Defaults,
}

/// The bounds of the stages, and how long each may take for one task. See [`Worker`] for the settings.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Objects looked up or waiting for memory. Waiting costs nothing; the bound is for the lookups, and it
    /// is how many small files may flow around huge ones.
    pub admissions_max: usize,
    /// Objects opened or waiting, opened, for the parser.
    pub downloads_max: usize,
    /// Files parsed at the same time. More than there are CPU threads, since some wait for bytes.
    pub parses_max: usize,
    /// Summaries stored at the same time.
    pub uploads_max: usize,
    /// Results waiting for the broker's confirmation.
    pub publishes_max: usize,
    /// Deadline of the download.
    pub download_timeout: Duration,
    /// Deadline of the parse.
    pub parse_timeout: Duration,
    /// Deadline of the upload.
    pub upload_timeout: Duration,
    /// Deadline of the publication.
    pub publish_timeout: Duration,
    /// Tries of a task whose failure may pass.
    pub attempts_max: u32,
}

impl Bounds {
    /// The bounds of a worker's configuration.
    pub fn new(worker: &Worker) -> Bounds {
        Bounds {
            admissions_max: worker.downloads_max.saturating_mul(4).min(worker.tasks_max),
            downloads_max: worker.downloads_max.min(worker.tasks_max),
            // A file holds its place while its bytes arrive, so there are more places than threads: one slow file must
            // not stop the others. Threads are bounded by the pool, memory by the budget.
            parses_max: (worker.pool_size * 2).max(worker.downloads_max),
            uploads_max: worker.uploads_max,
            publishes_max: worker.publishes_max,
            download_timeout: worker.download_timeout,
            parse_timeout: worker.parse_timeout,
            upload_timeout: worker.upload_timeout,
            publish_timeout: worker.publish_timeout,
            attempts_max: worker.attempts_max,
        }
    }
}

/// Buckets for tasks that name none.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// `OBS_SOURCE_BUCKET`.
    pub source_bucket: Option<String>,
    /// `OBS_DEST_BUCKET`.
    pub dest_bucket: Option<String>,
}

/// An object's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The bucket: a name at the default server, or a URL.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// A task with everything it left out filled in.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where its message lies: the task's identity.
    pub position: Position,
    /// Under which assignment of its partition it was received.
    pub generation: Generation,
    /// 1 for the first try under this assignment.
    pub attempt: u32,
    /// The message, as it came.
    pub message: Arc<Message>,
    /// What to read.
    pub source: Place,
    /// What to write.
    pub destination: Place,
    /// Bytes, as the generator saw them.
    pub size: Option<u64>,
    /// When this try began.
    pub begun: Instant,
}

/// What a finished task made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Success {
    /// Bytes of the object.
    pub input_size: u64,
    /// Bytes of the summary.
    pub output_size: u64,
    /// Rows of the file.
    pub rows: u64,
    /// Columns of the file.
    pub columns: u64,
}

/// What is announced about a task.
pub type Outcome = Arc<Result<Success, Failure>>;

/// What became of a claim.
#[derive(Debug)]
pub enum Verdict {
    /// The outcome is published and confirmed: the offset may be finished.
    Published(Outcome),
    /// The failure may pass, and tries are left.
    Again(Failure),
    /// No task can succeed: stop.
    Fatal(Failure),
    /// The partition is not ours any more.
    Released,
}

/// A claim at the end of the path.
#[derive(Debug)]
pub struct Settled {
    /// The right to finish it.
    pub claim: Claim,
    /// What it asked for.
    pub job: Arc<Job>,
    /// What became of it.
    pub verdict: Verdict,
}

/// A claim on the path, with what the last stage made of it.
struct Carried<T> {
    claim: Claim,
    job: Arc<Job>,
    state: Result<T, Failure>,
}

impl Carried<()> {
    /// Reads the message.
    fn begin(claim: Claim, defaults: &Defaults) -> Carried<()> {
        let (job, state) = Job::read(&claim, defaults);
        Carried { claim, job: Arc::new(job), state }
    }
}

impl<T: Send + 'static> Carried<T> {
    /// Spawns the next stage's work, unless a stage above failed.
    fn through<U: Send + 'static>(
        self,
        stage: Stage,
        deadline: Duration,
        work: &Arc<dyn Work<T, U>>,
    ) -> impl Future<Output = Carried<U>> + use<T, U> {
        let Carried { claim, job, state } = self;
        claim.enter(stage);
        // What has not begun when its partition leaves does not begin.
        let begins =
            claim.hold() == Hold::Held || (claim.hold() == Hold::Leaving && stage != Stage::Download);
        let working = match state {
            Ok(input) if begins => {
                Ok(AbortOnDropHandle::new(tokio::spawn(work.begin(Arc::clone(&job), input))))
            }
            Ok(_) => Err(Failure::new(stage, Kind::Cancelled, "the partition is leaving")),
            Err(failure) => Err(failure),
        };
        async move {
            let state = match working {
                Ok(working) if deadline == NO_DEADLINE => {
                    // Waiting to begin, it has not begun.
                    let leaving = pin!(claim.leaving());
                    supervise(stage, deadline, leaving, working).await
                }
                Ok(working) => {
                    let lost = pin!(claim.lost());
                    supervise(stage, deadline, lost, working).await
                }
                Err(failure) => Err(failure),
            };
            Carried { claim, job, state }
        }
    }
}

impl Carried<Success> {
    /// Publishes what became of the task, when that is final.
    fn settle(
        self,
        bounds: &Bounds,
        publish: &Arc<dyn Work<Outcome, ()>>,
    ) -> impl Future<Output = Settled> + use<> {
        let (attempts_max, deadline) = (bounds.attempts_max, bounds.publish_timeout);
        let publish = Arc::clone(publish);
        async move {
            let Carried { claim, job, state } = self;
            let last = claim.attempt >= attempts_max;
            let verdict = match state {
                _ if claim.hold() == Hold::Lost => Verdict::Released,
                Err(failure) if failure.kind == Kind::Cancelled && claim.hold() == Hold::Leaving => {
                    Verdict::Released
                }
                Err(failure) if failure.status() == Status::Fatal => Verdict::Fatal(failure),
                Err(failure) if failure.status() == Status::Retry && (!last || failure.kind.is_outage()) => {
                    Verdict::Again(failure)
                }
                state => {
                    let outcome: Outcome = Arc::new(state);
                    let announced = Carried { claim, job, state: Ok(Arc::clone(&outcome)) };
                    let Carried { claim, job, state } =
                        announced.through(Stage::Publish, deadline, &publish).await;
                    let verdict = match state {
                        Ok(()) => Verdict::Published(outcome),
                        _ if claim.hold() == Hold::Lost => Verdict::Released,
                        // Neither success nor failure can be reported: nothing else can be, either.
                        Err(failure) if failure.status() == Status::Fatal || last => Verdict::Fatal(failure),
                        Err(failure) => Verdict::Again(failure),
                    };
                    return Settled { claim, job, verdict };
                }
            };
            Settled { claim, job, verdict }
        }
    }
}

/// Waits for a stage's work: until it ends, however it ends, its deadline passes, or `ended` says that it is void.
async fn supervise<U>(
    stage: Stage,
    deadline: Duration,
    ended: impl Future<Output = ()> + Unpin,
    working: AbortOnDropHandle<Result<U, Failure>>,
) -> Result<U, Failure> {
    let finished = pin!(timeout(deadline, working));
    match select(finished, ended).await {
        Either::Left((Ok(Ok(outcome)), _)) => outcome,
        Either::Left((Ok(Err(join)), _)) if join.is_panic() => Err(Failure::new(
            stage,
            Kind::Panicked,
            format!("the stage panicked: {}", panic_text(join.into_panic())),
        )),
        Either::Left((Ok(Err(_)), _)) => Err(Failure::new(stage, Kind::Cancelled, "the work was cancelled")),
        Either::Left((Err(_), _)) => Err(Failure::new(
            stage,
            Kind::TimedOut,
            format!("did not end within {} ms", deadline.as_millis()),
        )),
        Either::Right(_) => Err(Failure::new(stage, Kind::Cancelled, "the partition leaves")),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => match panic.downcast::<&'static str>() {
            Ok(text) => (*text).to_owned(),
            Err(_) => "no message".to_owned(),
        },
    }
}

impl Job {
    /// Reads a claim's message. Even of a message that is no task a job is made: its failure needs a sender.
    fn read(claim: &Claim, defaults: &Defaults) -> (Job, Result<(), Failure>) {
        let mut job = Job {
            position: claim.position().clone(),
            generation: claim.generation(),
            attempt: claim.attempt,
            message: Arc::clone(&claim.message),
            source: Place::default(),
            destination: Place::default(),
            size: None,
            begun: Instant::now(),
        };
        let task = match task::parse(claim.message.payload()) {
            Ok(task) => task,
            Err(error) => {
                let context = format!("the message at {} is no task", job.position);
                return (job, Err(Failure::new(Stage::Claim, Kind::NotATask, context).because(error)));
            }
        };
        let done = job.fill(task, defaults);
        if let Some(deaths) = claim.condemned {
            let context = format!(
                "{deaths} workers died of the task at {}, each with nothing else at work; it is not tried again",
                job.position
            );
            return (job, Err(Failure::new(Stage::Parse, Kind::KilledWorker, context)));
        }
        (job, done)
    }

    fn fill(&mut self, task: Task, defaults: &Defaults) -> Result<(), Failure> {
        self.size = task.size;
        self.destination.key = task.dest_key.unwrap_or_else(|| format!("{}.parsed.json", task.key));
        self.source.key = task.key;
        let missing = |field: &str, variable: &str| {
            let context = format!("the task names no `{field}` and {variable} is not set; set one of them");
            Failure::new(Stage::Claim, Kind::NotATask, context)
        };
        self.source.bucket = task
            .bucket
            .or_else(|| defaults.source_bucket.clone())
            .ok_or_else(|| missing("bucket", "OBS_SOURCE_BUCKET"))?;
        self.destination.bucket = task
            .dest_bucket
            .or_else(|| defaults.dest_bucket.clone())
            .ok_or_else(|| missing("dest_bucket", "OBS_DEST_BUCKET"))?;
        Ok(())
    }
}
