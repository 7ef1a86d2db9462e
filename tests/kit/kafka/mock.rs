//! librdkafka's broker in this process, for refusals that a real one does not make to order.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::kafka::Topics;

/// librdkafka's in-process broker, with a task topic of so many partitions, a result topic and a
/// dead-letter topic.
///
/// # Panics
/// When it cannot be started.
pub fn mock(topics: &Topics, partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("the mock cluster should start");
    cluster.create_topic(&topics.tasks, partitions, 1).expect("a topic on the mock cluster");
    cluster.create_topic(&topics.results, 1, 1).expect("a topic on the mock cluster");
    cluster.create_topic(&topics.dead_letters, 1, 1).expect("a topic on the mock cluster");
    cluster
}

/// The next `count` commits are refused in a way that the client repeats, in its own time.
pub fn refuse_commits(cluster: &MockCluster<'_, DefaultProducerContext>, count: usize) {
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &vec![refusal; count]);
}

/// The next `count` questions for what was committed are refused in a way that the client does not repeat.
pub fn refuse_restores(cluster: &MockCluster<'_, DefaultProducerContext>, count: usize) {
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetFetch, &vec![refusal; count]);
}
