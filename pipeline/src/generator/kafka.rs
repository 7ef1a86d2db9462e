//! Tasks to the task topic, by an idempotent producer.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::future_producer::OwnedDeliveryResult;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;
use tokio::time::timeout;

use crate::config::Kafka;
use crate::failure::{Failure, Kind, Stage};
use crate::generator::NewTask;
use crate::kafka::{COMPRESSION, Noting, client_config, refusal, setup_failure};

/// Until a broker that does not answer is given up: a person waits.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How soon a refusal is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the client gathers tasks for one request.
const LINGER_MS: &str = "20";

pub(super) struct Sender {
    producer: FutureProducer<Noting>,
    noting: Noting,
    topic: String,
}

impl Sender {
    pub(super) fn new(kafka: &Kafka) -> Result<Sender, Failure> {
        let config = client_config(
            kafka,
            &[
                ("enable.idempotence", "true"),
                ("linger.ms", LINGER_MS),
                ("compression.type", COMPRESSION),
                ("message.timeout.ms", &DELIVERY_TIMEOUT.as_millis().to_string()),
            ],
        );
        let noting = Noting::default();
        let producer = config
            .create_with_context(noting.clone())
            .map_err(|error| setup_failure(Stage::Claim, "producer", error))?;
        Ok(Sender { producer, noting, topic: kafka.topic_tasks.clone() })
    }

    /// Sends one task to the task topic, or to another one, and waits for its confirmation.
    pub(super) async fn send(&self, task: &NewTask, topic: Option<&str>) -> Result<(), Failure> {
        let topic = topic.unwrap_or(&self.topic);
        let payload = serde_json::to_vec(task).map_err(|error| {
            Failure::new(Stage::Claim, Kind::Panicked, "could not write a task as JSON").because(error)
        })?;
        let key = format!("{}/{}", task.bucket, task.key);
        let record = FutureRecord::to(topic).key(&key).payload(&payload);
        let Err(error) = self.deliver(self.producer.send(record, Timeout::Never)).await else {
            return Ok(());
        };
        let (kind, advice) = match error.rdkafka_error_code() {
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                (Kind::Misconfigured, "create the topic (--create-topics), or check its name")
            }
            code => {
                code.and_then(refusal).unwrap_or((Kind::ResultUndelivered, "check KAFKA_BOOTSTRAP_SERVERS"))
            }
        };
        let context = format!("could not send the task of {key} to {topic}; {advice}");
        Err(Failure::new(Stage::Claim, kind, context).because(error))
    }

    /// Waits for a delivery, but not for one to a broker that refuses us: librdkafka would go on trying.
    async fn deliver(&self, delivery: impl Future<Output = OwnedDeliveryResult>) -> Result<(), KafkaError> {
        let mut delivery = std::pin::pin!(delivery);
        loop {
            let waited = timeout(LOOK_EVERY, &mut delivery).await;
            match (waited, self.noting.refusal()) {
                (Ok(Ok(_)), _) => return Ok(()),
                (_, Some(refusal)) => return Err(refusal),
                (Ok(Err((error, _))), None) => return Err(error),
                (Err(_), None) => {}
            }
        }
    }

    /// Waits until nothing is on its way. Blocks.
    pub(super) fn close(&self) -> Result<(), Failure> {
        self.producer.flush(DELIVERY_TIMEOUT).map_err(|error| {
            Failure::new(Stage::Claim, Kind::ResultUndelivered, "the broker does not answer any more")
                .because(error)
        })
    }
}
