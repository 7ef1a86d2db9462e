//! The worker of the proof that dies at a boundary: what `pipeline run` is, with something around each stage that counts
//! tasks and kills the process. It writes down what it begins, before it begins.
//!
//! With [`LEDGER`] it is the canary: a worker that commits without waiting, which the proof must find out.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use kit::broken::{self, Broken, Mishap, Trigger};
use kit::kafka::{Client, Topics};
use kit::proof::schedule::Boundary;
use pipeline::config::{Config, ExactlyOnce, Kafka};
use pipeline::failure::Failure;
use pipeline::path::{Job, Stages, Work};
use pipeline::source::{self, Claim, Intake, Source};
use pipeline::worker::intake_bounds;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;
use tokio::sync::mpsc;

/// Where it dies, by the boundary's name; nowhere without.
pub const BOUNDARY: &str = "PROVE_BOUNDARY";
/// How many tasks pass the boundary before it does.
pub const AFTER: &str = "PROVE_AFTER";
/// The partitions of the task topic.
pub const PARTITIONS: &str = "PROVE_PARTITIONS";
/// `broken`: offsets are finished when their tasks are claimed.
pub const LEDGER: &str = "PROVE_LEDGER";
/// The event of its log that says what it begins.
pub const BEGUN: &str = "task begun";

/// Dies as by `kill -9`: now.
fn die() {
    let _ = kill_process(getpid(), Signal::KILL);
}

/// Runs the worker until its end.
pub async fn run() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let death = Death {
        at: variable(BOUNDARY).and_then(|name| Boundary::named(&name)),
        left: Arc::new(AtomicU32::new(number(AFTER))),
        trigger: Trigger::default(),
    };
    let (within, partitions) = (death.clone(), number(PARTITIONS));
    let is_canary = variable(LEDGER).is_some();
    kit::altered::run(
        |inner| within.around(inner),
        move |config, source, stages| {
            let source = if is_canary { finished_at_claim(source, config) } else { source };
            Ok((death.at_claim(source, config), death.around_stages(stages, config, partitions)))
        },
    )
    .await
}

/// Where the worker dies, and after how many tasks.
#[derive(Clone)]
struct Death {
    at: Option<Boundary>,
    left: Arc<AtomicU32>,
    /// For what happens in a transaction.
    trigger: Trigger,
}

impl Death {
    /// One more task has come to a boundary. Whether it is the one.
    fn is_now(&self, boundary: Boundary) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.at == Some(boundary)
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err()
    }

    /// Transactions that die at a step. They are told by the upload, which comes before.
    fn around<T>(self, inner: T) -> Broken<T> {
        let at = match self.at {
            Some(Boundary::Begin) => broken::Boundary::Begin,
            Some(Boundary::Send) => broken::Boundary::Send,
            Some(Boundary::Offsets) => broken::Boundary::Offsets,
            Some(Boundary::Close) => broken::Boundary::Commit,
            // With the commit that is seen; of others nobody asks.
            _ => broken::Boundary::Done,
        };
        Broken::around(inner, at, Mishap::Meanwhile(Arc::new(die)), self.trigger)
    }

    fn at_claim(&self, source: Source, config: &Config) -> Source {
        let death = self.clone();
        through(source, config, move |claim| {
            if death.is_now(Boundary::Claim) {
                die();
            }
            Some(claim)
        })
    }

    fn around_stages(&self, stages: Stages, config: &Config, partitions: u32) -> Stages {
        let kafka = &config.kafka;
        let mortal = |at| Mortal { at, death: self.clone(), kafka: kafka.clone(), partitions };
        Stages {
            admit: mortal(Boundary::Admit).around(stages.admit),
            download: mortal(Boundary::Download).around(stages.download),
            parse: mortal(Boundary::Parse).around(stages.parse),
            upload: mortal(Boundary::Upload).around(stages.upload),
            publish: mortal(Boundary::Publish).around(stages.publish),
            ..stages
        }
    }
}

/// A stage behind which the worker may die.
#[derive(Clone)]
struct Mortal {
    at: Boundary,
    death: Death,
    kafka: Kafka,
    partitions: u32,
}

impl Mortal {
    fn around<In: 'static, Out: 'static>(self, work: Arc<dyn Work<In, Out>>) -> Arc<dyn Work<In, Out>> {
        Arc::new(Stage { mortal: self, work })
    }

    fn is_exactly_once(&self) -> bool {
        self.kafka.exactly_once == ExactlyOnce::Always
    }

    fn done(&self) {
        if self.death.is_now(self.at) {
            die();
        }
        match self.at {
            Boundary::Upload => {
                let within = [Boundary::Begin, Boundary::Send, Boundary::Offsets, Boundary::Close];
                let at_commit = self.is_exactly_once().then_some(Boundary::Commit);
                if within.into_iter().chain(at_commit).any(|at| self.death.is_now(at)) {
                    self.death.trigger.arm();
                }
            }
            Boundary::Publish if !self.is_exactly_once() && self.death.is_now(Boundary::Commit) => {
                let (kafka, partitions) = (self.kafka.clone(), self.partitions);
                std::thread::spawn(move || die_at_a_commit(&kafka, partitions));
            }
            _ => {}
        }
    }
}

/// Dies when the broker has another commit than now.
fn die_at_a_commit(kafka: &Kafka, partitions: u32) {
    let topics = Topics {
        tasks: kafka.topic_tasks.clone(),
        results: kafka.result_topic.clone(),
        dead_letters: kafka.dlq_topic.clone(),
        group: kafka.group_id.clone(),
    };
    let client = Client::new(&kafka.bootstrap_servers, &topics);
    let committed = || client.committed(partitions as i32);
    let before = committed();
    while committed() == before {}
    die();
}

struct Stage<W: ?Sized> {
    mortal: Mortal,
    work: Arc<W>,
}

impl<In, Out, W> Work<In, Out> for Stage<W>
where
    In: 'static,
    Out: 'static,
    W: Work<In, Out> + ?Sized,
{
    fn begin(&self, job: Arc<Job>, input: In) -> BoxFuture<'static, Result<Out, Failure>> {
        if self.mortal.at == Boundary::Admit {
            let now = jiff::Timestamp::now().to_string();
            let line = json!({"timestamp": now, "event": BEGUN, "task": job.position.to_string()});
            // Whole lines, so that they do not mix with those of the log; at once, so that death takes none back.
            let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
        }
        let working = self.work.begin(job, input);
        let mortal = self.mortal.clone();
        async move {
            let done = working.await;
            if done.is_ok() {
                mortal.done();
            }
            done
        }
        .boxed()
    }
}

/// A source whose claims go through something on their way to the path.
fn through(
    source: Source,
    config: &Config,
    mut passes: impl FnMut(Claim) -> Option<Claim> + Send + 'static,
) -> Source {
    let Source { mut claims, intake, ended } = source;
    let (passed, received) = mpsc::channel(config.worker.tasks_max);
    tokio::spawn(async move {
        while let Some(claim) = claims.recv().await {
            let Some(claim) = passes(claim) else { continue };
            if passed.send(claim).await.is_err() {
                return;
            }
        }
    });
    Source { claims: received, intake, ended }
}

/// The canary: an offset is finished when its task is claimed, and the work is done for books that nobody commits.
fn finished_at_claim(source: Source, config: &Config) -> Source {
    let bounds: source::Bounds = intake_bounds(&config.worker);
    // More than ever waits: these books must not stop what the real ones let pass.
    let shadow = Intake::new(source::Bounds { tasks_max: usize::MAX, ..bounds });
    through(source, config, move |claim| {
        let (position, message) = (claim.position().clone(), Arc::clone(&claim.message));
        claim.finish().ok()?;
        shadow.receive(position.clone(), Arc::clone(&message)).ok().or_else(|| {
            shadow.assign(position.partition.clone());
            shadow.receive(position, message).ok()
        })
    })
}
