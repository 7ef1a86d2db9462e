//! Workers in this process, on a broker: what is dispatched is counted, and what a test holds does not end.
//!
//! Source, path, loop, commits are the program's own; the work itself is not done, so that there may be much of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::admit::Admitted;
use pipeline::config::Config;
use pipeline::failure::{Failure, Kind, Stage};
use pipeline::path::{Job, Outcome, Work};
use pipeline::publish::memory::Silent;
use pipeline::source;
use pipeline::source::kafka::open_uncommitting;
use pipeline::task::Position;
use pipeline::transaction::kafka::KafkaTransactions;
use pipeline::transaction::{self, Transactions};
use pipeline::worker::{Report, drive, intake_bounds};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::kafka::Topics;
use crate::rig::Rig;

/// Tasks whose key contains this are held.
pub const HELD: &str = "held";

/// The dispatches of all workers of a test, by partition and offset.
#[derive(Clone, Default)]
pub struct Dispatches(Arc<Mutex<BTreeMap<(i32, i64), usize>>>);

impl Dispatches {
    /// How often each task was dispatched.
    pub fn counts(&self) -> BTreeMap<(i32, i64), usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many tasks were.
    pub fn tasks(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn add(&self, position: &Position) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((position.partition.id, position.offset.0)).or_insert(0) += 1;
    }
}

/// The first stage: counts, and finds no object, unless the task is held.
struct Count {
    dispatches: Dispatches,
    held: watch::Receiver<bool>,
}

impl Work<(), Admitted> for Count {
    fn begin(&self, job: Arc<Job>, (): ()) -> BoxFuture<'static, Result<Admitted, Failure>> {
        self.dispatches.add(&job.position);
        let mut held = self.held.clone();
        async move {
            if job.source.key.contains(HELD) {
                // An error means that the test is over.
                let _ = held.wait_for(|held| !held).await;
            }
            Err(Failure::new(Stage::Download, Kind::NotFound, "no work is done here"))
        }
        .boxed()
    }
}

/// Workers of one group, and what they have in common.
pub struct Crew {
    /// What was dispatched to any of them.
    pub dispatches: Dispatches,
    rig: Rig,
    held: watch::Sender<bool>,
}

impl Crew {
    /// Workers between these topics, with these variables on top of what a test needs.
    ///
    /// # Panics
    /// When the variables are wrong.
    pub fn new(bootstrap: &str, topics: &Topics, variables: &[(&str, &str)]) -> Crew {
        let own = [
            ("KAFKA_BOOTSTRAP_SERVERS", bootstrap),
            ("KAFKA_TOPIC_TASKS", &topics.tasks),
            ("KAFKA_RESULT_TOPIC", &topics.results),
            ("KAFKA_DLQ_TOPIC", &topics.dead_letters),
            ("KAFKA_GROUP_ID", &topics.group),
            ("KAFKA_SESSION_TIMEOUT_MS", "6000"),
            ("KAFKA_HEARTBEAT_INTERVAL_MS", "300"),
            ("KAFKA_AUTO_COMMIT_INTERVAL_MS", "100"),
            ("PIPELINE_DRAIN_TIMEOUT_MS", "500"),
        ];
        let rig = Rig::new(&own.into_iter().chain(variables.iter().copied()).collect::<Vec<_>>());
        Crew { dispatches: Dispatches::default(), rig, held: watch::channel(true).0 }
    }

    /// Lets what is held go on.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// The configuration of the workers.
    pub fn config(&self) -> &Config {
        &self.rig.config
    }

    /// Starts a worker that tells nobody of its results.
    pub async fn worker(&self) -> Worker {
        let source = source::kafka::open(
            &self.rig.config.kafka,
            intake_bounds(&self.rig.config.worker),
            self.rig.config.worker.revoke_timeout,
        );
        self.start(source.await.expect("a consumer"), Arc::new(Silent))
    }

    /// Starts a worker that publishes and commits in transactions; `wrap` may put something around them.
    pub async fn transactional<T: Transactions>(&self, wrap: impl FnOnce(KafkaTransactions) -> T) -> Worker {
        let Config { kafka, worker, .. } = &self.rig.config;
        let opened = open_uncommitting(kafka, intake_bounds(worker), worker.revoke_timeout);
        let (source, membership) = opened.await.expect("a consumer");
        let transactions = wrap(KafkaTransactions::new(kafka, membership).expect("a producer"));
        let opened = transaction::open(transactions, source, worker.worker_type, kafka.commit_interval);
        let (source, publish) = opened.expect("a thread");
        self.start(source, Arc::new(publish))
    }

    /// Starts a worker on a source and with a stage that publishes.
    pub fn start(&self, source: source::Source, publish: Arc<dyn Work<Outcome, ()>>) -> Worker {
        let mut stages = self.rig.stages();
        stages.admit = Arc::new(Count { dispatches: self.dispatches.clone(), held: self.held.subscribe() });
        stages.publish = publish;
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = self.rig.config.worker.clone();
        let running = tokio::spawn(async move {
            let shutdown = stopped.map(|_| ());
            drive(source, Arc::new(stages), &settings, shutdown).await
        });
        Worker { stop, running }
    }
}

/// A running worker.
pub struct Worker {
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<Report, Failure>>,
}

impl Worker {
    /// Ends it as a signal would, and waits for the end.
    ///
    /// # Errors
    /// What stopped it.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn stop(self) -> Result<Report, Failure> {
        drop(self.stop);
        self.running.await.expect("the worker should not panic")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What stopped it.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn end(self) -> Result<Report, Failure> {
        let Worker { stop, running } = self;
        let ended = running.await.expect("the worker should not panic");
        drop(stop);
        ended
    }
}
