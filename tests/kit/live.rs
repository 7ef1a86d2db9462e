//! The variables of a worker between a broker and an OBS server.

use crate::kafka::Topics;
use crate::obs::{ObsServer, Options};

/// The service host under which tests reach the OBS server.
pub const SERVICE: &str = "http://obs.test-1.myhuaweicloud.com";

/// The environment of a worker: this broker, this test's topics, this server's buckets `in` and `out`.
pub fn variables(bootstrap: &str, topics: &Topics, server: &ObsServer) -> Vec<(String, String)> {
    let Options { access_key, secret_key, .. } = Options::default();
    let address = server.address().to_string();
    [
        ("KAFKA_BOOTSTRAP_SERVERS", bootstrap),
        ("KAFKA_TOPIC_TASKS", &topics.tasks),
        ("KAFKA_RESULT_TOPIC", &topics.results),
        ("KAFKA_DLQ_TOPIC", &topics.dead_letters),
        ("KAFKA_GROUP_ID", &topics.group),
        ("KAFKA_SESSION_TIMEOUT_MS", "6000"),
        ("KAFKA_HEARTBEAT_INTERVAL_MS", "300"),
        ("KAFKA_AUTO_COMMIT_INTERVAL_MS", "200"),
        ("OBS_SERVER", SERVICE),
        ("OBS_RESOLVE", &address),
        ("OBS_ACCESS_KEY", &access_key),
        ("OBS_SECRET_KEY", &secret_key),
        ("OBS_SOURCE_BUCKET", "in"),
        ("OBS_DEST_BUCKET", "out"),
        ("POOL_SIZE", "2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The same with some of them changed or added.
pub fn with(mut variables: Vec<(String, String)>, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    for (name, value) in changes {
        variables.retain(|(other, _)| other != name);
        variables.push(((*name).to_owned(), (*value).to_owned()));
    }
    variables
}
