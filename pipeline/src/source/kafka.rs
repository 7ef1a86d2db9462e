//! Tasks from a Kafka topic: the consumer, alone on a thread of its own.
//!
//! Promises:
//!
//! - the consumer is polled all the while: at a bound it pauses partitions and goes on polling;
//! - a rebalance waits, at most the revoke timeout, for the work in flight of the partitions that go, and
//!   commits what was finished before they go;
//! - commits are asynchronous and never pass an unfinished offset; the last one is waited for; each says what is
//!   finished behind it, which whoever gets the partition next reads before its first message;
//! - the end is bounded even when the broker is gone.
//!
//! Never: work on this thread, or a blocking call on a thread of the main runtime. Rebalance callbacks run
//! where the consumer is polled, and librdkafka's calls can block.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::commit::Refused;
use crate::config::{Kafka, OffsetReset};
use crate::failure::{Failure, Kind, Stage};
use crate::kafka::{client_config, message_of, refusal, setup_failure};
use crate::message::TASK;
use crate::source::{Bounds, Claim, Intake, Source};
use crate::task::{Offset, Partition, Position};
use crate::telemetry;

mod commit_async;
mod context;
mod restore;

use context::Context;
pub(crate) use context::add;

/// Messages prefetched per partition. A task is small and its work long: more would only be thrown away at
/// every pause.
const PREFETCH_MESSAGES: &str = "200";
/// Memory for prefetched messages.
const PREFETCH_KBYTES: &str = "4096";
/// How soon a partition that ran dry or was resumed is fetched again; librdkafka's second would be felt.
const FETCH_BACKOFF_MS: &str = "50";
/// How long a broker without messages holds a fetch. A partition that is resumed waits behind the fetch of the others:
/// with librdkafka's 500 ms a worker that takes one task at a time made two a second.
const FETCH_WAIT_MS: &str = "50";
/// How often the consumer tells how far partitions go on at the broker: twice in the shortest time after which a
/// partition may be said to stand still.
const STATISTICS_INTERVAL_MS: &str = "5000";
/// How long a worker that was served before puts up with a broker that refuses it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the same error is reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How long the end may wait for the last commit's confirmation.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the task topic on a new thread and joins the consumer group.
///
/// # Errors
/// [`Kind::Misconfigured`] when the consumer cannot be created. Everything later comes through
/// [`Source::ended`].
pub async fn open(kafka: &Kafka, bounds: Bounds, revoke_timeout: Duration) -> Result<Source, Failure> {
    start(kafka, bounds, revoke_timeout, None).await
}

/// The same, for whoever commits the offsets together with the results: the source itself commits nothing.
///
/// # Errors
/// As [`open`].
pub async fn open_uncommitting(
    kafka: &Kafka,
    bounds: Bounds,
    revoke_timeout: Duration,
) -> Result<(Source, Membership), Failure> {
    let membership = Membership::default();
    let source = start(kafka, bounds, revoke_timeout, Some(membership.clone())).await?;
    Ok((source, membership))
}

async fn start(
    kafka: &Kafka,
    bounds: Bounds,
    revoke_timeout: Duration,
    membership: Option<Membership>,
) -> Result<Source, Failure> {
    let intake = Intake::new(bounds);
    let (claims_tx, claims) = mpsc::channel(bounds.tasks_max);
    let (ended_tx, ended) = oneshot::channel();
    let (ready_tx, ready) = oneshot::channel();
    let Bounds { deaths_max, .. } = bounds;
    let desk =
        Desk { kafka: kafka.clone(), revoke_timeout, deaths_max, intake: Arc::clone(&intake), membership };
    std::thread::Builder::new()
        .name("kafka-consumer".to_owned())
        .spawn(move || desk.run(claims_tx, ready_tx, ended_tx))
        .map_err(|error| {
            Failure::new(Stage::Claim, Kind::Misconfigured, "could not start the consumer's thread")
                .because(error)
        })?;
    match ready.await {
        Ok(Ok(())) => Ok(Source { claims, intake, ended }),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::new(Stage::Claim, Kind::Panicked, "the consumer's thread died at its start")),
    }
}

/// As whom the group knows a source's consumer, for those who commit in its place.
#[derive(Clone, Default)]
pub struct Membership(Arc<Mutex<Option<Arc<StreamConsumer<Context>>>>>);

impl Membership {
    /// Asked anew each time: every rebalance changes it. `None`: the consumer is gone, or in no group.
    pub(crate) fn ask(&self) -> Option<ConsumerGroupMetadata> {
        self.slot().as_ref()?.group_metadata()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<StreamConsumer<Context>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread starts with.
struct Desk {
    kafka: Kafka,
    revoke_timeout: Duration,
    deaths_max: u32,
    intake: Arc<Intake>,
    /// For whoever commits in the source's place.
    membership: Option<Membership>,
}

impl Desk {
    fn run(
        self,
        claims: mpsc::Sender<Claim>,
        ready: oneshot::Sender<Result<(), Failure>>,
        ended: oneshot::Sender<Result<(), Failure>>,
    ) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let failure = Failure::new(Stage::Claim, Kind::Misconfigured, "could not start a runtime");
                let _ = ready.send(Err(failure.because(error)));
                return;
            }
        };
        let outcome = runtime.block_on(async {
            let consumer = match self.subscribe() {
                Ok(consumer) => Arc::new(consumer),
                Err(failure) => {
                    let _ = ready.send(Err(failure));
                    return Ok(());
                }
            };
            if let Some(membership) = &self.membership {
                *membership.slot() = Some(Arc::clone(&consumer));
            }
            let _ = ready.send(Ok(()));
            let outcome = poll(&consumer, &self, claims).await;
            // Whatever is still alive can no longer be committed by anyone here.
            self.intake.abandon();
            // Not by whoever borrows it at this moment.
            if let Some(membership) = &self.membership {
                membership.slot().take();
            }
            // Leaves the group, in the destructor, and waits for the answer.
            drop(consumer);
            outcome
        });
        let _ = ended.send(outcome);
    }

    fn subscribe(&self) -> Result<StreamConsumer<Context>, Failure> {
        let kafka = &self.kafka;
        let millis = |duration: Duration| duration.as_millis().to_string();
        let mut config = client_config(
            kafka,
            &[
                ("group.id", &kafka.group_id),
                ("partition.assignment.strategy", "cooperative-sticky"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                (
                    "auto.offset.reset",
                    match kafka.auto_offset_reset {
                        OffsetReset::Earliest => "earliest",
                        OffsetReset::Latest => "latest",
                    },
                ),
                ("session.timeout.ms", &millis(kafka.session_timeout)),
                ("heartbeat.interval.ms", &millis(kafka.heartbeat_interval)),
                ("max.poll.interval.ms", &millis(kafka.max_poll_interval)),
                ("queued.min.messages", PREFETCH_MESSAGES),
                ("queued.max.messages.kbytes", PREFETCH_KBYTES),
                ("fetch.queue.backoff.ms", FETCH_BACKOFF_MS),
                ("fetch.wait.max.ms", FETCH_WAIT_MS),
                ("statistics.interval.ms", STATISTICS_INTERVAL_MS),
            ],
        );
        if let Some(id) = &kafka.group_instance_id {
            config.set("group.instance.id", id);
        }
        let commits = self.membership.is_none();
        let context = Context::new(Arc::clone(&self.intake), self.revoke_timeout, self.deaths_max, commits);
        let consumer: StreamConsumer<Context> = config
            .create_with_context(context)
            .map_err(|error| setup_failure(Stage::Claim, "consumer", error))?;
        consumer
            .subscribe(&[&kafka.topic_tasks])
            .map_err(|error| setup_failure(Stage::Claim, "subscription", error))?;
        Ok(consumer)
    }
}

/// The loop: polls until the intake has ended and every claim is settled, then commits for the last time.
async fn poll(
    consumer: &StreamConsumer<Context>,
    desk: &Desk,
    claims: mpsc::Sender<Claim>,
) -> Result<(), Failure> {
    let intake = &desk.intake;
    let mut judge = Judge::default();
    let mut served = false;
    let mut claims = Some(claims);
    let mut changes = intake.changes();
    let mut commits = interval(desk.kafka.commit_interval);
    commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // What is finished goes first: it frees places and offsets, intake only fills them.
            biased;
            _ = changes.changed() => {}
            _ = commits.tick() => consumer.context().commit(consumer),
            received = consumer.recv() => match received {
                Ok(message) => {
                    judge.clear();
                    receive(&message, consumer.context(), claims.is_some());
                }
                Err(error) => judge.judge(error, &desk.kafka.topic_tasks, served)?,
            },
        }
        if let Some(failure) = consumer.context().failure() {
            return Err(failure);
        }
        served = served || !intake.assigned().is_empty();
        if claims.as_ref().is_some_and(mpsc::Sender::is_closed) && !intake.is_closed() {
            // The worker is gone without a word: its partitions are for others.
            intake.drain();
            intake.abandon();
        }
        let begun = consumer.context().begin(consumer);
        if let Some(claims) = &claims {
            for claim in begun {
                // The channel holds as many claims as may be live, so it has room; it is closed when the
                // worker is gone, and then the claim is dropped and its offset stays unfinished.
                let _ = claims.try_send(claim);
            }
        }
        if intake.is_closed() {
            claims = None;
            consumer.context().part(&intake.assigned());
            if intake.live() == 0 {
                break;
            }
        }
        consumer.context().pause_and_resume(consumer);
    }
    commit_for_the_last_time(consumer).await
}

/// Turns a message into a claim, which waits at the gate.
fn receive(received: &BorrowedMessage<'_>, context: &Context, is_open: bool) {
    let partition = Partition { topic: received.topic().into(), id: received.partition() };
    let position = Position { partition, offset: Offset(received.offset()) };
    let message = Arc::new(message_of(received, &TASK));
    // After the end of the intake nothing is received any more: the offset stays with the broker.
    if !is_open {
        return;
    }
    let mut received = context.receive(position.clone(), Arc::clone(&message));
    if received == Err(Refused::AlreadyReceived) {
        // Offsets only go back when the topic was made anew or cut: what they name now was not seen before. Another
        // generation begins; at worst tasks run again.
        telemetry::offsets_went_back(&position);
        context.assign_anew(&position.partition);
        received = context.receive(position.clone(), message);
    }
    match received {
        // Ended meanwhile: the offset stays with the broker. Or done before: that is booked.
        Ok(()) | Err(Refused::Closed | Refused::AlreadyFinished) => {}
        Err(refused) => telemetry::message_refused(&position, &refused),
    }
}

/// What to make of the consumer's errors: most pass by themselves, some never do.
#[derive(Default)]
struct Judge {
    /// Since when the broker refuses a worker that it served before.
    refused: Option<Instant>,
    /// When an error was last reported, by its code: a broker that is away is an error many times a second.
    reported: BTreeMap<Option<i32>, Instant>,
}

impl Judge {
    /// The consumer is served.
    fn clear(&mut self) {
        self.refused = None;
    }

    /// `served`: whether this worker ever had partitions.
    fn judge(&mut self, error: KafkaError, topic: &str, served: bool) -> Result<(), Failure> {
        let code = error.rdkafka_error_code();
        if let Some((kind, advice)) = code.and_then(refusal) {
            // A connection that breaks during its handshake looks like a refusal. Who was served before waits.
            let passing = matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL));
            let since = *self.refused.get_or_insert_with(Instant::now);
            if !(passing && served && since.elapsed() < REFUSAL_TIMEOUT) {
                let context = format!("the broker refuses to serve tasks of {topic}; {advice}");
                return Err(Failure::new(Stage::Claim, kind, context).because(error));
            }
        }
        if let KafkaError::MessageConsumptionFatal(_) = error {
            let context = "the consumer cannot go on; restart the worker";
            return Err(Failure::new(Stage::Claim, Kind::BrokerRefused, context).because(error));
        }
        let advice = match code {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                "create the topic; the worker goes on when it is there"
            }
            Some(RDKafkaErrorCode::PollExceeded) => {
                "the worker was stopped for too long and rejoins the group"
            }
            _ => "the worker goes on trying",
        };
        let reported = self.reported.entry(code.map(|code| code as i32));
        let again = match &reported {
            Entry::Occupied(last) => last.get().elapsed() >= REPORT_EVERY,
            Entry::Vacant(_) => true,
        };
        if again {
            telemetry::consumer_error(topic, &error, advice);
            reported.insert_entry(Instant::now());
        }
        Ok(())
    }
}

async fn commit_for_the_last_time(consumer: &StreamConsumer<Context>) -> Result<(), Failure> {
    let context = consumer.context();
    let deadline = Instant::now() + LAST_COMMIT_TIMEOUT;
    loop {
        context.commit(consumer);
        if context.is_committed() {
            return Ok(());
        }
        // The confirmation comes through the poll. Asking again after a while covers a refused commit.
        let again = (Instant::now() + Duration::from_millis(250)).min(deadline);
        while let Ok(received) = timeout_at(again, consumer.recv()).await {
            // A message here is beyond the intake: its offset stays with the broker.
            drop(received);
            if context.is_committed() {
                return Ok(());
            }
        }
        if context.is_committed() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let context = "the last commit was not confirmed; finished tasks may run again";
            return Err(Failure::new(Stage::Commit, Kind::CommitUnconfirmed, context));
        }
    }
}
