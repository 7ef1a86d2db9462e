//! The worker: the loop around the path. Claims go in, verdicts come out, offsets get finished.
//!
//! Promises:
//!
//! - an offset is finished only when its task's outcome is published and confirmed;
//! - a failure that may pass is tried again after a pause that doubles, a bounded number of times, and holds no
//!   place in any stage meanwhile;
//! - a fatal failure stops the worker; its task, and every other one in flight, stays unfinished;
//! - a partition that stands still is told about, with what holds it;
//! - shutdown ends intake, lets the work in flight end until the drain deadline, commits, and leaves the group.
//!
//! Never: a task's work on this loop.

use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use parsers::Limits;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};

use crate::admit::Admit;
use crate::budget::Budget;
use crate::config::{Config, Kafka, Worker};
use crate::download::Download;
use crate::failure::{Failure, Kind, Stage};
use crate::kafka::inspect::demand_topics;
use crate::keep::Keep;
use crate::parse::{CpuPool, Parse};
use crate::path::{Bounds, Defaults, Outcome, Settled, Stages, Verdict, Work, path};
use crate::publish;
use crate::source::{self, Claim, Source, Stalls};
use crate::storage::Storage;
use crate::telemetry;
use crate::transaction;
use crate::upload::Upload;

/// How long the worker waits for the source to commit and leave, when the broker does not answer.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(8);

/// How often it is looked whether a partition stands still, in the time after which that is told.
const LOOKS: u32 = 4;

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tasks whose summary is stored.
    pub succeeded: u64,
    /// Tasks whose failure is published.
    pub failed: u64,
}

/// Runs a worker as configured, on Kafka, until `shutdown` resolves and the work in flight is settled.
///
/// # Errors
/// The failure that stopped it.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Report, Failure> {
    let report = run_unheard(config, shutdown).await;
    match &report {
        Ok(Report { succeeded, failed }) => telemetry::worker_stopped(*succeeded, *failed),
        Err(failure) => telemetry::worker_failed(failure),
    }
    report
}

async fn run_unheard(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Report, Failure> {
    let Config { kafka, worker, .. } = config;
    let storage = Storage::new(&config.storage)?;
    // Before a task is taken: a misspelt bucket must not turn a topic into failures.
    storage.check().await?;
    if kafka.enable_producer {
        demand_topics(kafka, &[&kafka.result_topic, &kafka.dlq_topic]).await?;
    }
    let exactly_once = is_exactly_once(kafka).await?;
    let (source, publish) = connect(kafka, worker, exactly_once).await?;
    let defaults = Defaults {
        source_bucket: config.storage.source_bucket.clone(),
        dest_bucket: config.storage.dest_bucket.clone(),
    };
    let (publish, keep) = Keep::around(publish, &worker.keep, &storage);
    let stages = stages(worker, defaults, storage, publish)?;
    telemetry::worker_started(&kafka.group_id, &kafka.topic_tasks, worker.pool_size, exactly_once);
    let report = drive(source, stages, worker, shutdown).await;
    if let Some(keep) = keep {
        keep.end().await;
    }
    report
}

/// Whether results are published in transactions: see [`transaction::kafka::is_chosen`].
async fn is_exactly_once(kafka: &Kafka) -> Result<bool, Failure> {
    let kafka = kafka.clone();
    let chosen = tokio::task::spawn_blocking(move || transaction::kafka::is_chosen(&kafka)).await;
    chosen.map_err(|error| {
        Failure::new(Stage::Publish, Kind::Panicked, "the try of a transaction panicked").because(error)
    })
}

/// Joins the group, and connects the stage that publishes. Together, since for results exactly once the one commits what
/// the other finishes.
///
/// # Errors
/// When consumer or producer cannot be created.
pub async fn connect(
    kafka: &Kafka,
    worker: &Worker,
    exactly_once: bool,
) -> Result<(Source, Arc<dyn Work<Outcome, ()>>), Failure> {
    let (bounds, revoke_timeout) = (intake_bounds(worker), worker.revoke_timeout);
    if exactly_once {
        let (source, membership) = source::kafka::open_uncommitting(kafka, bounds, revoke_timeout).await?;
        let (source, publish) = transaction::kafka::publish(kafka, worker.worker_type, source, membership)?;
        return Ok((source, Arc::new(publish)));
    }
    let publish: Arc<dyn Work<Outcome, ()>> = match kafka.enable_producer {
        true => Arc::new(publish::kafka::Publish::new(kafka, worker.worker_type, worker.publish_timeout)?),
        false => Arc::new(publish::memory::Silent),
    };
    Ok((source::kafka::open(kafka, bounds, revoke_timeout).await?, publish))
}

/// The stages over a storage, with the decoders of the [`parsers`] crate.
///
/// # Errors
/// When the parser threads cannot be started.
pub fn stages(
    worker: &Worker,
    defaults: Defaults,
    storage: Arc<Storage>,
    publish: Arc<dyn Work<Outcome, ()>>,
) -> Result<Arc<Stages>, Failure> {
    let limits = Limits::default();
    let budget = Budget::new(worker.memory_bytes_max);
    Ok(Arc::new(Stages {
        admit: Arc::new(Admit::new(Arc::clone(&storage), budget, limits.clone())),
        download: Arc::new(Download),
        parse: Arc::new(Parse::new(CpuPool::new(worker.pool_size)?, limits)),
        upload: Arc::new(Upload::new(storage)),
        publish,
        bounds: Bounds::new(worker),
        defaults,
    }))
}

/// The bounds of the intake.
pub fn intake_bounds(worker: &Worker) -> source::Bounds {
    source::Bounds {
        tasks_max: worker.tasks_max,
        window_max: worker.window_max,
        deaths_max: worker.deaths_max,
    }
}

/// Drives a source's claims along the path until the source is dry, or `shutdown` resolves and the work in
/// flight is settled.
///
/// # Errors
/// The failure that stopped it.
pub async fn drive(
    source: Source,
    stages: Arc<Stages>,
    worker: &Worker,
    shutdown: impl Future<Output = ()>,
) -> Result<Report, Failure> {
    let Source { claims, intake, mut ended } = source;
    let (again, retries) = mpsc::unbounded_channel();
    // At most as many retries as there are live tasks: the intake bounds this channel.
    let claims = stream::select(ReceiverStream::new(claims), UnboundedReceiverStream::new(retries));
    let mut settled = Box::pin(path(claims, stages));
    let mut shutdown = pin!(shutdown);
    let mut drained = pin!(intake.drained());
    let mut desk = Desk { worker, again, pauses: FuturesUnordered::new(), report: Report::default() };
    let mut phase = Phase::Running;
    let mut stalls = Stalls::new(worker.stall_after);
    let mut looks = interval((worker.stall_after / LOOKS).max(Duration::from_millis(1)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            // A shutdown must not starve; then verdicts, since they free places and intake only fills them.
            biased;
            () = &mut shutdown, if phase == Phase::Running => {
                intake.drain();
                // What waits for another try does not begin it either: that is for the next worker.
                desk.pauses.clear();
                phase = Phase::Draining { until: Instant::now() + worker.drain_timeout };
                telemetry::worker_draining(intake.live(), worker.drain_timeout);
            }
            () = phase.deadline() => {
                telemetry::drain_timed_out(intake.live());
                intake.abandon();
                phase = Phase::Abandoned;
            }
            _ = looks.tick() => {
                for news in stalls.look(std::time::Instant::now(), intake.facts()) {
                    telemetry::partition_watched(&news);
                }
            }
            Some(settled) = settled.next() => {
                if let Err(failure) = desk.settle(settled, phase == Phase::Running) {
                    break End::Failed(failure);
                }
            }
            Some(claim) = desk.pauses.next() => desk.try_again(claim),
            () = &mut drained => break End::Drained,
            early = &mut ended => break match early {
                Ok(Ok(())) => End::Left,
                Ok(Err(failure)) => End::Failed(failure),
                Err(_) => End::Failed(Failure::new(Stage::Claim, Kind::Panicked, "the source died")),
            },
        }
    };
    let report = desk.report;
    match outcome {
        End::Left => Ok(report),
        End::Drained => {
            drop((settled, desk));
            leave(ended).await.map(|()| report)
        }
        End::Failed(failure) => {
            // Nothing in flight will be finished any more; what was finished is committed.
            intake.close();
            intake.abandon();
            drop((settled, desk));
            if !ended.is_terminated() {
                let _ = leave(ended).await;
            }
            Err(failure)
        }
    }
}

/// How the loop ended.
enum End {
    /// Every claim is settled; the source still has to commit and leave.
    Drained,
    /// The source is already gone.
    Left,
    /// No task can succeed.
    Failed(Failure),
}

/// Where a worker is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining { until: Instant },
    Abandoned,
}

impl Phase {
    /// Resolves when draining has taken too long.
    async fn deadline(self) {
        match self {
            Phase::Draining { until } => sleep_until(until).await,
            Phase::Running | Phase::Abandoned => std::future::pending().await,
        }
    }
}

/// Waits until the source has committed and left the group.
async fn leave(ended: oneshot::Receiver<Result<(), Failure>>) -> Result<(), Failure> {
    match timeout(LEAVE_TIMEOUT, ended).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Failure::new(Stage::Commit, Kind::Panicked, "the source died")),
        Err(_) => {
            let context = "the broker did not answer; finished tasks may run again";
            Err(Failure::new(Stage::Commit, Kind::CommitUnconfirmed, context))
        }
    }
}

/// Where verdicts are carried out.
struct Desk<'a> {
    worker: &'a Worker,
    again: mpsc::UnboundedSender<Claim>,
    /// Claims that wait for their next try.
    pauses: FuturesUnordered<BoxFuture<'static, Claim>>,
    report: Report,
}

impl Desk<'_> {
    /// Carries out one verdict. `running`: whether new tries may begin.
    fn settle(&mut self, settled: Settled, running: bool) -> Result<(), Failure> {
        let Settled { claim, job, verdict } = settled;
        match verdict {
            Verdict::Published(outcome) => {
                match &*outcome {
                    Ok(success) => {
                        self.report.succeeded += 1;
                        telemetry::task_succeeded(&job, success, job.begun.elapsed());
                    }
                    Err(failure) => {
                        self.report.failed += 1;
                        telemetry::task_failed(&job, failure, job.begun.elapsed());
                    }
                }
                // Fenced: published, but the partition is someone else's by now, who will repeat the task.
                if claim.finish().is_err() {
                    telemetry::task_released(&job.position);
                }
            }
            Verdict::Again(failure) if running => {
                let pause = self.pause(&claim);
                telemetry::task_retried(&job.position, &failure, claim.attempt, pause);
                let counted = !failure.kind.is_outage();
                self.pauses.push(rest(claim, pause, counted).boxed());
            }
            Verdict::Again(_) | Verdict::Released => telemetry::task_released(&job.position),
            Verdict::Fatal(failure) => {
                let context = format!("{} (the task at {})", failure.context, job.position);
                return Err(Failure { context, ..failure });
            }
        }
        Ok(())
    }

    fn pause(&self, claim: &Claim) -> Duration {
        let chance = RandomState::new().hash_one(claim.position()) as f64 / u64::MAX as f64;
        pause(claim.attempt, self.worker.retry_min..=self.worker.retry_max, chance)
    }

    fn try_again(&self, claim: Claim) {
        // The path holds the receiver as long as this loop runs.
        let _ = self.again.send(claim);
    }
}

/// The pause behind a try: doubled each time, from the shortest to the longest; the last half of it by chance (0 to 1),
/// so that tasks that failed together do not come back together.
fn pause(attempt: u32, bounds: RangeInclusive<Duration>, chance: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
    let longest = bounds.start().saturating_mul(doubled).min(*bounds.end());
    longest.mul_f64(0.5 + 0.5 * chance)
}

/// Returns the claim after the pause, or as soon as its partition leaves: then the path releases it, and no
/// rebalance waits for a pause.
///
/// An outage is no try: its end must not find the tasks with none left.
async fn rest(mut claim: Claim, pause: Duration, counted: bool) -> Claim {
    claim.enter(Stage::Claim);
    let _ = timeout(pause, claim.leaving()).await;
    claim.attempt += u32::from(counted);
    claim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_half_of_them_is_chance() {
        let bounds = Duration::from_millis(500)..=Duration::from_secs(30);
        for (attempt, longest_ms) in [(1, 500), (2, 1_000), (3, 2_000), (7, 30_000), (u32::MAX, 30_000)] {
            let pause = |chance| pause(attempt, bounds.clone(), chance);
            assert_eq!(pause(1.0), Duration::from_millis(longest_ms));
            assert_eq!(pause(0.0), Duration::from_millis(longest_ms / 2));
            assert!(pause(0.3) < pause(0.7));
        }
    }
}
