//! The demo's broker.

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::commands::Error;

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
            cluster.create_topic("file-processing-dead-letters", 1, 1)?;
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

fn kafka_error(what: &str, error: &KafkaError) -> Error {
    Error::Other(format!("{what}: {error}"))
}
