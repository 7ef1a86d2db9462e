//! Dead letters on Apache Kafka: what a failed task leaves behind, and how it is sent again.

use bytes::Bytes;
use kit::dataset::sample;
use kit::kafka::{Apache, Client, Topics, apache};
use kit::live::{variables, with};
use kit::obs::{ObsServer, Options};
use kit::program::Program;
use pipeline::dead_letter::DeadLetter;
use pipeline::message::Message;
use pipeline::task::PAYLOAD_BYTES_MAX;
use serde_json::json;

/// A broker's topics, a server's buckets, and a worker between them.
struct Scene {
    topics: Topics,
    client: Client,
    server: ObsServer,
    variables: Vec<(String, String)>,
}

impl Scene {
    /// The topics are still to be created.
    async fn empty(test: &str, broker: &Apache) -> Scene {
        let topics = Topics::new(test);
        let buckets = vec!["in".to_owned(), "out".to_owned()];
        let server = ObsServer::start(Options { buckets, ..Options::default() }).await;
        let client = Client::new(&broker.bootstrap, &topics);
        let variables = variables(&broker.bootstrap, &topics, &server);
        Scene { topics, client, server, variables }
    }

    async fn set(test: &str, broker: &Apache) -> Scene {
        let scene = Scene::empty(test, broker).await;
        scene.client.create_topics(1).await;
        scene
    }

    /// Runs a worker until every task is finished.
    async fn work(&self) {
        let mut worker = Program::start(&["run"], &self.variables);
        self.client.wait_for_no_lag(1).await;
        worker.signal("TERM");
        assert!(worker.wait().await.success());
    }
}

fn message(value: impl Into<Bytes>) -> Message {
    Message {
        key: Some(Bytes::from_static(b"in/\xffkey")),
        headers: vec![
            ("trace".to_owned(), Some(Bytes::from_static(b"\x00\x01"))),
            ("trace".to_owned(), Some(Bytes::from_static(b"again"))),
            ("empty".to_owned(), None),
        ],
        // Not now, and not so old that the broker may delete it.
        timestamp: Some(jiff::Timestamp::now().as_millisecond() - 3_600_000),
        ..Message::of(value.into())
    }
}

/// Rejected by each stage, no task at all, a tombstone, and one that is too long: each is there as it was, and only
/// failures are.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_kept_as_it_came_with_all_that_is_known() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("dead", broker).await;
    scene.server.put("in", "good.csv", "a\n1\n");
    scene.server.put("in", "torn.csv", "a,b\n1,2\n\"never closed");
    scene.server.put("in", "corrupt.csv.gz", sample("corrupt.csv.gz"));
    let task = |key: &str| message(json!({ "key": key, "colour": "red" }).to_string());
    let sent = [
        ("", task("good.csv")),
        ("malformed_file", task("torn.csv")),
        ("corrupt_file", task("corrupt.csv.gz")),
        ("not_found", task("missing.csv")),
        ("not_a_task", message("no task \u{0}")),
        ("not_a_task", Message { value: None, ..message("") }),
        ("not_a_task", message(vec![b' '; PAYLOAD_BYTES_MAX + 2])),
    ];
    for (_, message) in &sent {
        scene.client.send_message(&scene.topics.tasks, message).await;
    }
    scene.work().await;
    let letters = scene.client.dead_letters();
    assert_eq!(scene.client.results().len(), sent.len(), "the results are there as well");
    assert_eq!(letters.len(), sent.len() - 1, "{letters:?}");
    for (offset, (kind, message)) in (0..).zip(&sent).skip(1) {
        let found = letters.iter().find(|letter| letter.origin.offset.0 == offset);
        let letter = found.unwrap_or_else(|| panic!("{kind} is there: {letters:?}"));
        assert_eq!((letter.kind.as_str(), letter.attempts), (*kind, 1));
        assert_eq!(&*letter.origin.partition.topic, scene.topics.tasks);
        let whole = message.payload().len() <= PAYLOAD_BYTES_MAX + 1;
        assert_eq!(letter.original.is_cut, !whole);
        if whole {
            assert_eq!(letter.original, *message, "{kind}");
        }
        assert!(!letter.worker.is_empty() && letter.version == env!("CARGO_PKG_VERSION"));
    }
    let torn = letters.iter().find(|letter| letter.kind == "malformed_file").unwrap();
    let place = torn.place.unwrap();
    assert_eq!((place.record, place.line, place.byte), (2, 3, 8), "{}", torn.error);
}

/// A failure is finished only when result and dead letter are both there: here the second is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_buried_is_not_finished() {
    let Some(broker) = apache() else { return };
    let scene = Scene::empty("unburied", broker).await;
    scene.client.create(&[(&scene.topics.tasks, 1), (&scene.topics.results, 1)]).await;
    scene.client.create_for_small(&scene.topics.dead_letters, 150).await;
    scene.client.send(&[json!({ "key": "missing.csv" }).to_string()], 1).await;
    let mut worker = Program::start(&["run"], &scene.variables);
    assert_eq!(worker.wait().await.code(), Some(1));
    let [event] = &worker.events("worker failed")[..] else { panic!("it says why") };
    assert_eq!(event["error_kind"], "misconfigured", "{event}");
    assert!(event["error"].as_str().unwrap().contains("max.message.bytes"), "{event}");
    assert_eq!(scene.client.lag(1)[&0], 1, "the task is for the next worker");
}

/// The first failed file, days later, is a bad moment to learn of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_does_not_begin_without_a_place_for_failures() {
    let Some(broker) = apache() else { return };
    let scene = Scene::empty("homeless", broker).await;
    scene.client.create(&[(&scene.topics.tasks, 1), (&scene.topics.results, 1)]).await;
    let mut worker = Program::start(&["run"], &scene.variables);
    assert_eq!(worker.wait().await.code(), Some(1));
    let [event] = &worker.events("worker failed")[..] else { panic!("it says why") };
    let error = event["error"].as_str().unwrap();
    assert!(error.contains(&scene.topics.dead_letters) && error.contains("--create-topics"), "{error}");
    // Nobody is told of failures then, in one place or the other.
    let silent = with(scene.variables.clone(), &[("KAFKA_ENABLE_PRODUCER", "false")]);
    scene.client.send(&[json!({ "key": "missing.csv" }).to_string()], 1).await;
    let mut worker = Program::start(&["run", "--create-topics"], &silent);
    scene.client.wait_for_no_lag(1).await;
    worker.signal("TERM");
    assert!(worker.wait().await.success());
    assert_eq!(scene.client.dead_letters(), Vec::<DeadLetter>::new(), "made by --create-topics, and empty");
}
