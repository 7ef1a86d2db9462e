//! Dead letters on Apache Kafka: what a failed task leaves behind, and how it is sent again.

use bytes::Bytes;
use futures::TryStreamExt;
use kit::dataset::sample;
use kit::kafka::{Apache, Client, Topics, apache};
use kit::live::{variables, with};
use kit::obs::{ObsServer, Options};
use kit::program::Program;
use pipeline::config::Kafka;
use pipeline::dead_letter::kafka::{Replayer, survey};
use pipeline::dead_letter::{Buried, DeadLetter};
use pipeline::kafka::reader::Begin;
use pipeline::message::Message;
use pipeline::task::PAYLOAD_BYTES_MAX;
use serde_json::{Value, json};

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

    /// Runs a worker until there are so many results. (Behind a transaction a lag of 1 stays: its end is an offset.)
    async fn work(&self, results: usize) {
        let mut worker = Program::start(&["run"], &self.variables);
        self.client.wait_for_results(results).await;
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
    scene.server.put("in", "torn.json", "[{\"a\": 1},\n{\"a\": 2");
    scene.server.put("in", "corrupt.csv.gz", sample("corrupt.csv.gz"));
    let task = |key: &str| message(json!({ "key": key, "colour": "red" }).to_string());
    let sent = [
        ("", task("good.csv")),
        ("malformed_file", task("torn.json")),
        ("corrupt_file", task("corrupt.csv.gz")),
        ("not_found", task("missing.csv")),
        ("not_a_task", message("no task \u{0}")),
        ("not_a_task", Message { value: None, ..message("") }),
        ("not_a_task", message(vec![b' '; PAYLOAD_BYTES_MAX + 2])),
    ];
    for (_, message) in &sent {
        scene.client.send_message(&scene.topics.tasks, message).await;
    }
    scene.work(sent.len()).await;
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
    assert_eq!((place.record, place.line, place.byte), (2, 1, 9), "{}", torn.error);
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

impl Scene {
    /// Runs `pipeline dlq …` to its end; gives its exit code and what it printed.
    async fn dlq(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let arguments = [&["dlq"], arguments].concat();
        let mut program = Program::start(&arguments, &self.variables);
        let status = program.wait().await;
        (status.code(), program.all_lines().join("\n"))
    }

    /// As [`Scene::dlq`], which must end well.
    async fn dlq_says(&self, arguments: &[&str]) -> String {
        let (code, printed) = self.dlq(arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {printed}");
        printed
    }

    /// Three tasks that fail in two ways, and a message that is none.
    async fn with_failures(test: &str, broker: &Apache) -> Scene {
        let scene = Scene::set(test, broker).await;
        scene.server.put("in", "torn.json", "[{\"a\": 1},\n{\"a\": 2");
        for value in [
            json!({ "key": "a/missing.csv" }).to_string(),
            json!({ "key": "torn.json" }).to_string(),
            json!({ "key": "b/missing.csv" }).to_string(),
            "no task".to_owned(),
        ] {
            scene.client.send_message(&scene.topics.tasks, &message(value)).await;
        }
        scene.work(4).await;
        assert_eq!(scene.client.dead_letters().len(), 4);
        scene
    }

    fn tasks(&self) -> Vec<Message> {
        self.client.read(&self.topics.tasks).into_iter().map(|(_, message)| message).collect()
    }

    fn config(&self) -> Kafka {
        Kafka::from_variables(&self.variables.iter().cloned().collect()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_by_kind() {
    let Some(broker) = apache() else { return };
    let scene = Scene::with_failures("list", broker).await;
    let listed = scene.dlq_says(&["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let kinds: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (group["error_kind"].as_str(), group["count"].as_u64()))
        .collect();
    let one = |kind| (Some(kind), Some(1));
    assert_eq!(kinds, [(Some("not_found"), Some(2)), one("malformed_file"), one("not_a_task")]);
    let example = &listed[0]["example"];
    assert!(example["key"].as_str().unwrap().ends_with("/missing.csv"), "{example}");
    assert_eq!(example["replays"], 0);
    assert!(listed[0]["first"].as_str() <= listed[0]["last"].as_str());
    assert!(example["error"].as_str().unwrap().contains("/missing.csv"), "{example}");

    let table = scene.dlq_says(&["list"]).await;
    let row = table.lines().find(|line| line.contains("malformed_file")).unwrap();
    assert!(row.contains("torn.json") && row.contains(" 1 "), "{table}");
    for (filter, found) in [
        (["--key", "a/*"], "not_found"),
        (["--kind", "malformed_file"], "torn.json"),
        (["--since", "1h"], "not_a_task"),
        (["--since", "2999-01-01"], "no dead letters"),
        (["--kind", "panicked"], "no dead letters"),
    ] {
        let table = scene.dlq_says(&[&["list"], &filter[..]].concat()).await;
        assert!(table.contains(found), "{filter:?}: {table}");
    }
    assert_eq!(scene.dlq(&["list", "--kind", "notfound"]).await.0, Some(2), "a kind that is none");
}

/// A rehearsal changes nothing; what is sent again is the original, once; what fails again is a new letter.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_sent_again_once() {
    let Some(broker) = apache() else { return };
    let scene = Scene::with_failures("replay", broker).await;
    let before = scene.tasks();
    let choice = ["replay", "--kind", "not_found", "--since", "1h"];
    let rehearsed = scene.dlq_says(&[&choice[..], &["--dry-run"]].concat()).await;
    assert!(
        rehearsed.contains("a/missing.csv") && rehearsed.contains("2 would be sent again"),
        "{rehearsed}"
    );
    assert_eq!((scene.tasks(), scene.client.dead_letters().len()), (before.clone(), 4), "nothing changed");

    // One of the two is there by now.
    scene.server.put("in", "a/missing.csv", "a\n1\n");
    let done = scene.dlq_says(&choice).await;
    assert_eq!(done, format!("2 sent again to {}", scene.topics.tasks));
    let again = scene.dlq_says(&choice).await;
    assert_eq!(again, "no dead letters", "not twice");
    let tasks = scene.tasks();
    assert_eq!(tasks.len(), before.len() + 2);
    // In the order in which they died, which is not that of the tasks.
    for original in [&before[0], &before[2]] {
        let mut revived = tasks[before.len()..].iter().filter(|task| task.value == original.value);
        let (Some(revived), None) = (revived.next(), revived.next()) else { panic!("{original:?} once") };
        assert_eq!(revived.key, original.key);
        assert_eq!(revived.headers[..original.headers.len()], original.headers[..]);
        assert!(revived.text("pipeline-replay").unwrap().starts_with(&scene.topics.dead_letters));
        assert_eq!(revived.text("pipeline-replay-count"), Some("1"));
    }
    let listed = scene.dlq_says(&["list"]).await;
    assert!(!listed.contains("not_found"), "what was sent again is not listed: {listed}");

    scene.work(6).await;
    let results = scene.client.results();
    let of = |key: &str| results.iter().filter(|result| result.source.key == key).count();
    assert_eq!((of("a/missing.csv"), of("b/missing.csv")), (2, 2));
    let listed: Value = serde_json::from_str(&scene.dlq_says(&["list", "--json"]).await).unwrap();
    let group = listed.as_array().unwrap().iter().find(|group| group["error_kind"] == "not_found").unwrap();
    assert_eq!((&group["count"], &group["example"]["replays"]), (&json!(1), &json!(1)), "{group}");
    assert_eq!(group["example"]["key"], "b/missing.csv");
    scene.dlq_says(&choice).await;
    assert_eq!(scene.tasks().last().unwrap().text("pipeline-replay-count"), Some("2"));
}

/// The process dies between sending and committing: a reader of what is committed sees the task once.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_breaks_off_sends_nothing_and_the_next_one_all() {
    let Some(broker) = apache() else { return };
    let scene = Scene::with_failures("broken", broker).await;
    let config = scene.config();
    let letters = async || -> Vec<Buried> {
        let letters = survey(&config).await.unwrap().letters(&config, Begin::Beginning).await.unwrap();
        letters.try_collect().await.unwrap()
    };
    let dies = Replayer::open(&config).await.unwrap();
    dies.send(&letters().await).await.unwrap();
    drop(dies);
    assert_eq!(scene.tasks().len(), 4, "nothing is sent until all of it is");
    let done = scene.dlq_says(&["replay"]).await;
    assert_eq!(done, format!("4 sent again to {}", scene.topics.tasks));
    assert_eq!(scene.tasks().len(), 8, "each once");
    assert_eq!(letters().await, []);

    // Two at the same time: the later one ends the earlier one, whatever that has read.
    scene.work(8).await;
    let earlier = Replayer::open(&config).await.unwrap();
    let read = letters().await;
    assert_eq!(read.len(), 4, "all failed again");
    let later = Replayer::open(&config).await.unwrap();
    later.replay(&letters().await).await.unwrap();
    let refused = earlier.replay(&read).await.unwrap_err();
    assert!(refused.context.contains("another replay"), "{}", refused.chain());
    assert_eq!(scene.tasks().len(), 12);
}

/// What was too long to be kept whole is not sent in part.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_is_not_sent_again() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("cut", broker).await;
    scene.client.send_message(&scene.topics.tasks, &message(vec![b' '; PAYLOAD_BYTES_MAX + 2])).await;
    scene.work(1).await;
    let (code, printed) = scene.dlq(&["replay"]).await;
    assert_eq!((code, printed.as_str()), (Some(1), "no dead letters"));
    assert_eq!(scene.tasks().len(), 1);
}
