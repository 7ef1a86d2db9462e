//! Results and dead letters to Kafka topics, by an idempotent producer: retried by the client without doubling.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::config::{Kafka, WorkerType};
use crate::dead_letter;
use crate::failure::{Failure, Kind, Stage};
use crate::kafka::{COMPRESSION, client_config, record_of, refusal, setup_failure};
use crate::message::Message;
use crate::path::{Job, Outcome, Work};
use crate::publish::Notice;
use crate::telemetry;

/// How long the client gathers results for one request.
pub(crate) const LINGER_MS: &str = "5";
/// Memory for results on their way; far above what the path's own bound lets in.
pub(crate) const BUFFER_KBYTES: &str = "65536";

/// How much earlier: the client looks for late messages once a second.
const EARLIER: Duration = Duration::from_secs(3);

/// The stage.
#[derive(Clone)]
pub struct Publish {
    producer: FutureProducer<Context>,
    results: Arc<str>,
    dead_letters: Arc<str>,
    worker_type: WorkerType,
    worker: Arc<str>,
}

impl Publish {
    /// Connects to the brokers of the configuration.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when the producer cannot be created.
    pub fn new(kafka: &Kafka, worker_type: WorkerType, timeout: Duration) -> Result<Publish, Failure> {
        // The client gives up before the stage does: a task must not run again while its result may still arrive.
        let patience = timeout.saturating_sub(EARLIER).as_millis().max(1000).to_string();
        let config = client_config(
            kafka,
            &[
                ("enable.idempotence", "true"),
                ("linger.ms", LINGER_MS),
                ("compression.type", COMPRESSION),
                ("queue.buffering.max.kbytes", BUFFER_KBYTES),
                ("message.timeout.ms", &patience),
            ],
        );
        let producer = config
            .create_with_context(Context)
            .map_err(|error| setup_failure(Stage::Publish, "producer", error))?;
        Ok(Publish {
            producer,
            results: kafka.result_topic.as_str().into(),
            dead_letters: kafka.dlq_topic.as_str().into(),
            worker_type,
            worker: dead_letter::worker().into(),
        })
    }

    async fn announce(self, job: Arc<Job>, outcome: Outcome) -> Result<(), Failure> {
        let Notice { result, dead_letter } = Notice::new(&job, &outcome, self.worker_type, &self.worker);
        let payload = result.payload()?;
        let key = result.key();
        let result = self.send(FutureRecord::to(&self.results).key(key.as_bytes()).payload(&payload));
        let Some(dead_letter) = dead_letter else { return result.await };
        // Both are waited for, whatever becomes of one: nothing may be on its way when the task runs again.
        let (result, buried) = join(result, self.bury(&dead_letter)).await;
        result.and(buried)
    }

    async fn bury(&self, dead_letter: &Message) -> Result<(), Failure> {
        self.send(record_of(&self.dead_letters, dead_letter)).await
    }

    async fn send(&self, record: FutureRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
        let topic = record.topic;
        match self.producer.send(record, Timeout::Never).await {
            Ok(_confirmed) => Ok(()),
            Err((error, _)) => Err(undelivered(topic, error)),
        }
    }
}

/// Why what became of a task is not in its topic.
pub(crate) fn undelivered(topic: &str, error: KafkaError) -> Failure {
    let code = error.rdkafka_error_code();
    let (kind, advice) = match code {
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => (
            Kind::Misconfigured,
            "create the topic (--create-topics), or check KAFKA_RESULT_TOPIC and KAFKA_DLQ_TOPIC",
        ),
        Some(Code::MessageSizeTooLarge) => {
            (Kind::Misconfigured, "let the topic take messages of 256 KiB (max.message.bytes)")
        }
        code => code.and_then(refusal).unwrap_or((Kind::ResultUndelivered, "it is tried again")),
    };
    let context = format!("could not deliver what became of a task to {topic}; {advice}");
    Failure::new(Stage::Publish, kind, context).because(error)
}

impl Work<Outcome, ()> for Publish {
    fn begin(&self, job: Arc<Job>, outcome: Outcome) -> BoxFuture<'static, Result<(), Failure>> {
        self.clone().announce(job, outcome).boxed()
    }
}

/// What librdkafka calls back into.
pub(crate) struct Context;

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        // The consumer reports the same broker; what concerns a result comes with its delivery.
        telemetry::client_log(&error.to_string(), reason);
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        telemetry::client_log(facility, message);
    }
}
