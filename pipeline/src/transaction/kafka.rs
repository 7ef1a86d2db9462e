//! Kafka's transactions: one transactional producer, and the group that the worker's consumer is in.
//!
//! Promises: the step of a transaction that librdkafka may try again is told apart from what needs an abort and from what
//! never passes; the offsets are the group's only if it still knows this worker as it did (KIP-447).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::commit::Checkpoint;
use crate::config::{ExactlyOnce, Kafka, WorkerType};
use crate::failure::{Failure, Kind, Stage, Status};
use crate::kafka::{COMPRESSION, client_config, headers_of, setup_failure};
use crate::message::Message;
use crate::publish::kafka::{BUFFER_KBYTES, Context, LINGER_MS, undelivered};
use crate::source::Source;
use crate::source::kafka::{Membership, add};
use crate::task::Partition;
use crate::telemetry;
use crate::transaction::{Course, Publish, Refused, Topic, Transactions, open};

/// How long the broker lets a transaction of a worker that died stand. Until then readers of committed results see nothing
/// behind it, and whoever gets the worker's partitions waits. Ours take milliseconds.
const TRANSACTION_TIMEOUT_MS: &str = "20000";
/// For one step; then it is tried again, and said.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// A producer with a name, between a group and a topic.
pub struct KafkaTransactions {
    producer: ThreadedProducer<Context>,
    membership: Membership,
    results: Arc<str>,
    dead_letters: Arc<str>,
}

/// The stage that publishes results in transactions, for a source that was opened for that, and that source.
///
/// # Errors
/// [`Kind::Misconfigured`] when the producer cannot be created.
pub fn publish(
    kafka: &Kafka,
    worker_type: WorkerType,
    source: Source,
    membership: Membership,
) -> Result<(Source, Publish), Failure> {
    let transactions = KafkaTransactions::new(kafka, membership)?;
    open(transactions, source, worker_type, kafka.commit_interval)
}

/// Whether a worker makes transactions: as configured, or where it can. Then it is tried, and why not is told. Blocks.
pub fn is_chosen(kafka: &Kafka) -> bool {
    match kafka.exactly_once {
        ExactlyOnce::Always => true,
        ExactlyOnce::Never => false,
        ExactlyOnce::Auto => {
            kafka.enable_producer
                && check(kafka).map_err(|failure| telemetry::transactions_impossible(&failure)).is_ok()
        }
    }
}

/// Tries whether this user may make transactions, under a name of the same beginning that no worker has. Gives the name.
///
/// # Errors
/// [`Kind::PermissionDenied`] when it may not; else what is in the way.
pub fn check(kafka: &Kafka) -> Result<String, Failure> {
    let name = format!("{}-check", kafka.group_id);
    let mut transactions = KafkaTransactions::named(kafka, &name, Membership::default())?;
    transactions.prepare().map_err(|refused| refused.failure)?;
    Ok(name)
}

impl KafkaTransactions {
    /// A producer of the configured brokers. Its name is new for every process: what fences a worker that lost its
    /// partitions is the group. Only who has a `KAFKA_GROUP_INSTANCE_ID`, and so has promised that it is the only one of
    /// that name, keeps it, and gives up at once what it left open when it died.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when it cannot be created.
    pub fn new(kafka: &Kafka, membership: Membership) -> Result<KafkaTransactions, Failure> {
        let own = match &kafka.group_instance_id {
            Some(id) => id.clone(),
            None => format!("{:016x}", RandomState::new().hash_one(std::process::id())),
        };
        KafkaTransactions::named(kafka, &format!("{}-{own}", kafka.group_id), membership)
    }

    fn named(kafka: &Kafka, name: &str, membership: Membership) -> Result<KafkaTransactions, Failure> {
        let config = client_config(
            kafka,
            &[
                ("transactional.id", name),
                ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS),
                ("linger.ms", LINGER_MS),
                ("compression.type", COMPRESSION),
                ("queue.buffering.max.kbytes", BUFFER_KBYTES),
            ],
        );
        let producer = config
            .create_with_context(Context)
            .map_err(|error| setup_failure(Stage::Publish, "transactional producer", error))?;
        Ok(KafkaTransactions {
            producer,
            membership,
            results: kafka.result_topic.as_str().into(),
            dead_letters: kafka.dlq_topic.as_str().into(),
        })
    }

    fn judge(&self, done: KafkaResult<()>) -> Result<(), Refused> {
        done.map_err(|error| {
            let course = course(&error);
            let failure = explain(&self.results, course, error);
            // What no task survives is not tried in a transaction of its own.
            let course = if failure.status() == Status::Fatal { Course::Stop } else { course };
            Refused { course, failure }
        })
    }
}

impl Transactions for KafkaTransactions {
    type Members = ConsumerGroupMetadata;

    fn prepare(&mut self) -> Result<(), Refused> {
        self.judge(self.producer.init_transactions(STEP_TIMEOUT))
    }

    fn members(&mut self) -> Option<ConsumerGroupMetadata> {
        self.membership.ask()
    }

    fn begin(&mut self) -> Result<(), Refused> {
        self.judge(self.producer.begin_transaction())
    }

    fn send(&mut self, to: Topic, message: &Message) -> Result<(), Refused> {
        let topic = match to {
            Topic::Results => &self.results,
            Topic::DeadLetters => &self.dead_letters,
        };
        let (key, payload) = (message.key.as_deref(), message.value.as_deref());
        let record = BaseRecord {
            key,
            payload,
            timestamp: message.timestamp,
            headers: Some(headers_of(message)),
            ..BaseRecord::<[u8], [u8]>::to(topic)
        };
        self.judge(self.producer.send(record).map_err(|(error, _)| error))
    }

    fn offsets(
        &mut self,
        checkpoints: &[(Partition, Checkpoint)],
        members: &ConsumerGroupMetadata,
    ) -> Result<(), Refused> {
        let mut list = TopicPartitionList::new();
        let added = checkpoints
            .iter()
            .try_for_each(|(partition, checkpoint)| add(&mut list, partition, Some(checkpoint)));
        self.judge(
            added.and_then(|()| self.producer.send_offsets_to_transaction(&list, members, STEP_TIMEOUT)),
        )
    }

    fn commit(&mut self) -> Result<(), Refused> {
        self.judge(self.producer.commit_transaction(STEP_TIMEOUT))
    }

    fn abort(&mut self) -> Result<(), Refused> {
        self.judge(self.producer.abort_transaction(STEP_TIMEOUT))
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    /// What became of a result is told by the commit of its transaction.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// What librdkafka itself says about a step.
fn course(error: &KafkaError) -> Course {
    match error {
        KafkaError::Transaction(error) if error.is_fatal() => Course::Stop,
        KafkaError::Transaction(error) if error.txn_requires_abort() => Course::Abort,
        KafkaError::Transaction(error) if error.is_retriable() => Course::Again,
        // The results were not sent within the time of a step: they are not given up by that.
        KafkaError::Flush(_) | KafkaError::MessageProduction(Code::QueueFull) => Course::Again,
        KafkaError::MessageProduction(_) => Course::Abort,
        _ => Course::Stop,
    }
}

fn explain(topic: &str, course: Course, error: KafkaError) -> Failure {
    let (kind, advice) = match error.rdkafka_error_code() {
        Some(Code::TransactionalIdAuthorizationFailed) => (
            Kind::PermissionDenied,
            "grant this user Write and Describe on the transactional ids that begin with the group's name and `-`",
        ),
        Some(Code::OffsetMetadataTooLarge) => (
            Kind::Misconfigured,
            "the broker takes less than 4096 bytes beside a commit; raise its offset.metadata.max.bytes",
        ),
        Some(Code::InvalidTransactionTimeout) => (
            Kind::Misconfigured,
            "the broker allows only shorter transactions; set KAFKA_LIBRDKAFKA_TRANSACTION_TIMEOUT_MS",
        ),
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) if course == Course::Stop => (
            Kind::BrokerRefused,
            "the broker has ended a transaction that took longer than it may (20 s), or another worker has this \
             KAFKA_GROUP_INSTANCE_ID; restart the worker",
        ),
        _ => {
            let failure = undelivered(topic, error);
            return match course {
                Course::Stop if failure.status() != Status::Fatal => {
                    Failure { kind: Kind::BrokerRefused, ..failure }
                }
                _ => failure,
            };
        }
    };
    Failure::new(Stage::Publish, kind, format!("could not commit results to {topic}; {advice}"))
        .because(error)
}
