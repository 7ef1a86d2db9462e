//! The program between a broker and an OBS server: its variables, its tasks, what became of them.

use std::collections::BTreeMap;
use std::ops::Range;

use pipeline::publish::{ResultMessage, ResultStatus};
use serde_json::json;

use crate::dataset::{good_samples, sample};
use crate::kafka::{Apache, Client, Topics};
use crate::obs::{ObsServer, Options};
use crate::program::Program;

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
        // The weaker promise, unless a test is about the other one.
        ("KAFKA_EXACTLY_ONCE", "false"),
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

/// The partitions of a scene's task topic.
pub const PARTITIONS: i32 = 3;

/// A broker's topics, a server's buckets, and so many tasks over the real files of the sample datasets.
pub struct Scene {
    /// The test's view of the broker.
    pub client: Client,
    /// The server of both buckets.
    pub server: ObsServer,
    /// The environment of its workers.
    pub variables: Vec<(String, String)>,
}

impl Scene {
    /// Sets it, with topics and a group of its own.
    pub async fn set(test: &str, broker: &Apache, tasks: usize) -> Scene {
        let topics = Topics::new(test);
        let buckets = vec!["in".into(), "out".into()];
        let server = ObsServer::start(Options { buckets, ..Options::default() }).await;
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_topics(PARTITIONS).await;
        let variables = variables(&broker.bootstrap, &topics, &server);
        let scene = Scene { client, server, variables };
        scene.send(0..tasks).await;
        scene
    }

    /// One task a number, each with an object of its own, taken from the samples in turn.
    pub async fn send(&self, numbers: Range<usize>) {
        let samples: Vec<_> = good_samples().into_iter().map(|name| (sample(&name), name)).collect();
        self.send_of(numbers, |number| samples[number % samples.len()].clone()).await;
    }

    /// The same with objects of these bytes and names; the key begins with the number, in five digits.
    pub async fn send_of(&self, numbers: Range<usize>, object: impl Fn(usize) -> (Vec<u8>, String)) {
        let messages: Vec<String> = numbers
            .map(|number| {
                let (bytes, name) = object(number);
                let key = format!("{number:05}/{name}");
                let size = bytes.len();
                self.server.put("in", &key, bytes);
                json!({ "key": key, "size": size }).to_string()
            })
            .collect();
        self.client.send(&messages, PARTITIONS).await;
    }

    /// Starts a worker.
    pub fn worker(&self) -> Program {
        Program::start(&["run"], &self.variables)
    }
}

/// How many results each task has, by partition and offset.
///
/// # Panics
/// When one is no success.
pub fn results_by_task(results: &[ResultMessage]) -> BTreeMap<(i32, i64), usize> {
    let mut counts = BTreeMap::new();
    for result in results {
        assert_eq!(result.status, ResultStatus::Success, "{result:?}");
        *counts.entry((result.task.partition, result.task.offset)).or_insert(0) += 1;
    }
    counts
}

/// Ends a worker as an operator does, which must go well.
///
/// # Panics
/// When it does not.
pub async fn stop(mut worker: Program) {
    worker.signal("TERM");
    let status = worker.wait().await;
    assert!(status.success(), "{status}: {}", worker.lines().join("\n"));
}
