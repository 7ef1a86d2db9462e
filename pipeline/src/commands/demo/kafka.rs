//! The demo's broker, and the reading of results.

use futures::{Stream, stream};
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::commands::Error;
use crate::config::Kafka;
use crate::kafka::client_config;
use crate::publish::ResultMessage;
use crate::telemetry;

/// librdkafka's mock cluster. Alive as long as this value.
pub(super) struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    servers: String,
}

impl Broker {
    pub(super) fn start(partitions: i32) -> Result<Broker, Error> {
        let start = || {
            let cluster = MockCluster::new(1)?;
            cluster.create_topic("file-processing-tasks", partitions, 1)?;
            cluster.create_topic("file-processing-results", 1, 1)?;
            Ok(cluster)
        };
        let cluster = start().map_err(|error| kafka_error("could not start the broker", &error))?;
        Ok(Broker { servers: cluster.bootstrap_servers(), cluster })
    }

    pub(super) fn servers(&self) -> &str {
        debug_assert_eq!(self.servers, self.cluster.bootstrap_servers());
        &self.servers
    }
}

/// The result topic, from its beginning.
pub(super) fn results(kafka: &Kafka) -> Result<impl Stream<Item = Result<ResultMessage, Error>>, Error> {
    let config = client_config(kafka, &[("group.id", "pipeline-demo"), ("enable.auto.commit", "false")]);
    let consumer: StreamConsumer<Quiet> =
        config.create_with_context(Quiet).map_err(|error| kafka_error("could not read results", &error))?;
    let mut partitions = rdkafka::TopicPartitionList::new();
    partitions
        .add_partition_offset(&kafka.result_topic, 0, rdkafka::Offset::Beginning)
        .and_then(|()| consumer.assign(&partitions))
        .map_err(|error| kafka_error("could not read results", &error))?;
    Ok(stream::unfold(consumer, async |consumer| {
        let message = match consumer.recv().await {
            Ok(message) => serde_json::from_slice(message.payload().unwrap_or_default())
                .map_err(|error| Error::Other(format!("a result cannot be read: {error}"))),
            Err(error) => Err(kafka_error("could not read results", &error)),
        };
        Some((message, consumer))
    }))
}

fn kafka_error(what: &str, error: &KafkaError) -> Error {
    Error::Other(format!("{what}: {error}"))
}

/// librdkafka's own log goes where the worker's goes.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        telemetry::client_log(facility, message);
    }
}

impl ConsumerContext for Quiet {}
