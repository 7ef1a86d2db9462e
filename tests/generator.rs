//! The generator, on Apache Kafka and the OBS server: what it sends is what the workers do, once.

use std::collections::BTreeMap;

use kit::kafka::{Apache, Client, Topics, apache};
use kit::live::{variables, with};
use kit::obs::{Effect, Fault, ObsServer, Op, Options};
use kit::program::Program;
use serde_json::{Value, json};

const PARTITIONS: i32 = 3;

/// Runs the program to its end; its exit code and what it printed.
async fn ended(arguments: &[&str], variables: &[(String, String)]) -> (Option<i32>, String) {
    let mut program = Program::start(arguments, variables);
    let status = program.wait().await;
    (status.code(), program.all_lines().join("\n"))
}

/// Runs the program to its good end and gives what it printed.
async fn pipeline(arguments: &[&str], variables: &[(String, String)]) -> String {
    let (code, printed) = ended(arguments, variables).await;
    assert_eq!(code, Some(0), "{printed}");
    printed
}

/// A broker's topics, a server, a bucket `my-bucket`.
struct Scene {
    client: Client,
    topics: Topics,
    server: ObsServer,
    variables: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn set(test: &str, broker: &Apache) -> Scene {
        let topics = Topics::new(test);
        let buckets = vec!["in".into(), "out".into(), "my-bucket".into()];
        let server = ObsServer::start(Options { buckets, ..Options::default() }).await;
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_topics(PARTITIONS).await;
        let variables =
            with(variables(&broker.bootstrap, &topics, &server), &[("SOURCE_BUCKET", "my-bucket")]);
        Scene { client, topics, server, variables, folder: tempfile::tempdir().unwrap() }
    }

    fn put(&self, key: &str, text: &str) {
        self.server.put("my-bucket", key, text.to_owned());
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// How often each key was sent to the task topic.
    fn sent(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for task in self.client.messages(&self.topics.tasks) {
            *counts.entry(task["key"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        counts
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scan_file_and_list_send_what_the_workers_do() {
    let Some(broker) = apache() else { return };
    let topics = Topics::new("generator");
    let server = ObsServer::start(Options {
        buckets: vec!["in".into(), "out".into(), "results".into()],
        ..Options::default()
    })
    .await;
    let client = Client::new(&broker.bootstrap, &topics);
    client.create_topics(PARTITIONS).await;
    // More than one page of the listing; two with another prefix, one too large.
    for number in 0..1_200 {
        server.put("my-bucket", &format!("data/2024/08/{number}.csv"), "a\n1\n");
    }
    server.put("my-bucket", "data/2024/08/large.csv", "a\n".repeat(1000));
    server.put("my-bucket", "data/2023/old.csv", "a\n1\n");
    server.put("my-bucket", "urgent/data.csv", "a\n1\n");
    let variables = variables(&broker.bootstrap, &topics, &server);

    // SOURCE_BUCKET=my-bucket FILE_PREFIX=data/2024/08/ pixi run generate-tasks
    let scan = with(variables.clone(), &[("SOURCE_BUCKET", "my-bucket"), ("FILE_PREFIX", "data/2024/08/")]);
    let printed = pipeline(&["tasks", "scan", "--max-size", "100"], &scan).await;
    assert!(printed.starts_with("1200 tasks sent"), "{printed}");
    let dry = with(scan.clone(), &[("MAX_FILES", "5")]);
    let printed = pipeline(&["tasks", "scan", "--dry-run"], &dry).await;
    let tasks: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tasks.len(), 5);
    assert_eq!((&tasks[0]["bucket"], &tasks[0]["size"]), (&"my-bucket".into(), &4.into()));

    // SINGLE_FILE=urgent/data.csv SOURCE_BUCKET=my-bucket pixi run generate-single-task
    let single = [
        ("SINGLE_FILE", "urgent/data.csv"),
        ("SOURCE_BUCKET", "my-bucket"),
        ("DEST_BUCKET", "results"),
        ("DEST_KEY", "processed/data.json"),
    ];
    pipeline(&["tasks", "file"], &with(variables.clone(), &single)).await;
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "data/2023/old.csv\n\n").unwrap();
    let list = with(variables.clone(), &[("SOURCE_BUCKET", "my-bucket")]);
    pipeline(&["tasks", "list", keys.path().to_str().unwrap()], &list).await;

    let mut worker = Program::start(&["run"], &variables);
    let results = client.wait_for_results(1_202).await;
    client.wait_for_no_lag(PARTITIONS).await;
    worker.signal("TERM");
    assert!(worker.wait().await.success());
    assert_eq!(results.len(), 1_202);
    assert!(results.iter().all(|result| result.source.bucket == "my-bucket" && result.rows == Some(1)));
    assert!(server.get("results", "processed/data.json").is_some());
    assert!(server.get("out", "data/2023/old.csv.parsed.json").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn globs_sizes_and_times_choose_and_routes_lead_to_topics() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("choose", broker).await;
    for key in ["data/a.csv", "data/deep/b.csv.gz", "data/c.json", "data/d.log", "tmp/e.csv"] {
        scene.put(key, "a\n1\n");
    }
    let (csv, json) = (format!("{}-csv", scene.topics.tasks), format!("{}-json", scene.topics.tasks));
    let route = format!("csv={csv},json={json}");
    let choice =
        ["--include", "data/**", "--include", "tmp/*", "--exclude", "*/*.log", "--modified-since", "1h"];
    let scan =
        [&["tasks", "scan", "--route", &route, "--create-topics", "--partitions", "2"], &choice[..]].concat();
    let printed = pipeline(&scan, &scene.variables).await;
    assert!(printed.starts_with("4 tasks sent"), "{printed}");
    let keys = |topic: &str| {
        let tasks = scene.client.messages(topic);
        let mut keys: Vec<_> = tasks.iter().map(|task| task["key"].as_str().unwrap().to_owned()).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(&csv), ["data/a.csv", "data/deep/b.csv.gz", "tmp/e.csv"]);
    assert_eq!(keys(&json), ["data/c.json"]);
    assert_eq!(keys(&scene.topics.tasks), [""; 0]);
    let future = ["tasks", "scan", "--dry-run", "--modified-since", "2999-01-01"];
    assert_eq!(pipeline(&future, &scene.variables).await, "");
}

/// A listing that breaks in the middle: the next scan sends the rest, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_resumes_a_broken_scan_and_sends_nothing_twice() {
    const OBJECTS: usize = 2_500;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("resume", broker).await;
    for number in 0..OBJECTS {
        scene.put(&format!("{number:05}.csv"), "a\n1\n");
    }
    // One that is not wanted: a whole page of tasks would be written by itself, those of this one wait for the end.
    scene.put("00000.aaa", "");
    let state = scene.path("state");
    let scan = ["tasks", "scan", "--state", &state, "--include", "*.csv"];
    // The second page is refused; a refusal is not tried again.
    scene.server.faults().add(Fault::new(Op::List, Effect::Status(403, "AccessDenied")).after(1));
    let (code, _) = ended(&scan, &scene.variables).await;
    assert_eq!(code, Some(1));
    let before = scene.sent();
    assert!(before.len() >= 999 && before.len() < OBJECTS, "it broke in the middle: {}", before.len());

    // MAX_FILES counts what is new.
    let some = [&scan[..], &["--max-files", "10"]].concat();
    assert!(pipeline(&some, &scene.variables).await.starts_with("10 tasks sent"));
    let printed = pipeline(&scan, &scene.variables).await;
    assert!(printed.contains(&format!("{} were sent before", before.len() + 10)), "{printed}");
    let sent = scene.sent();
    assert_eq!(sent.len(), OBJECTS, "all of them");
    assert!(sent.values().all(|count| *count == 1), "none twice");
    assert!(pipeline(&scan, &scene.variables).await.starts_with("0 tasks sent"));
}

/// Keys that cannot be sent do not use up the number of those that can, and are told of.
#[tokio::test(flavor = "multi_thread")]
async fn refused_keys_use_up_no_number() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("refused", broker).await;
    let keys = scene.path("jobs.toml");
    std::fs::write(&keys, "[jobs.a]\nfiles = ['a//b', 'ok.csv', 'later.csv']\nmax_files = 1\n").unwrap();
    let state = scene.path("state");
    for sent in [1, 2] {
        let (code, _) = ended(&["tasks", "batch", &keys, "--state", &state], &scene.variables).await;
        assert_eq!(code, Some(1), "a key was left out");
        assert_eq!(scene.sent().len(), sent);
    }
}

/// A watch finds what is new whatever its key and time, knows what it sent, and ends with 0.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_finds_late_and_replaced_objects_and_survives_an_outage() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("watch", broker).await;
    scene.put("m.csv", "a\n1\n");
    let state = scene.path("state");
    let scan = ["tasks", "scan", "--state", &state, "--watch", "--every", "1"];
    let mut watch = Program::start(&scan, &scene.variables);
    watch.wait_for_line("1 task sent").await;
    // Sorted before and behind what was listed; and one that was replaced.
    scene.put("a.csv", "a\n2\n");
    scene.put("z.csv", "a\n3\n");
    kit::eventually("the late ones", || scene.sent().len() == 3).await;
    scene.server.faults().add(Fault::new(Op::List, Effect::Status(400, "Strange")).times(2));
    kit::eventually("the outage", || scene.server.faults().left() == 0).await;
    scene.put("m.csv", "a\n4\n");
    kit::eventually("the new version", || scene.sent()["m.csv"] == 2).await;
    watch.signal("TERM");
    assert!(watch.wait().await.success());
    let scan = ["tasks", "scan", "--state", &state];
    assert!(
        pipeline(&scan, &scene.variables).await.starts_with("0 tasks sent"),
        "what a watch sent is known"
    );
    assert_eq!(scene.sent(), BTreeMap::from([("a.csv".into(), 1), ("m.csv".into(), 2), ("z.csv".into(), 1)]));
}

/// SIGTERM in the middle of a scan: what was sent is remembered.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_scan_goes_on_where_it_was() {
    const OBJECTS: u64 = 300_000;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("interrupted", broker).await;
    scene.server.set_synthetic_listing("my-bucket", OBJECTS, |number| format!("{number:08}.csv"));
    let state = scene.path("state");
    let scan = ["tasks", "scan", "--state", &state];
    let mut first = Program::start(&scan, &scene.variables);
    scene.server.wait_for(|requests| requests.len() > 10).await;
    first.signal("TERM");
    assert_eq!(first.wait().await.code(), Some(1));
    let printed = first.all_lines().join("\n");
    assert!(printed.contains("interrupted"), "{printed}");
    let sent: usize = printed.split(' ').next().unwrap().parse().unwrap();
    assert!(sent > 0 && (sent as u64) < OBJECTS, "{printed}");
    assert_eq!(scene.client.messages(&scene.topics.tasks).len(), sent, "said and done");
    let rest = pipeline(&[&scan[..], &["--max-files", "5000"]].concat(), &scene.variables).await;
    assert!(rest.contains(&format!("{sent} were sent before")), "{rest}");
    assert!(scene.sent().values().all(|count| *count == 1), "none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_runs_its_jobs_by_name() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("batch", broker).await;
    for key in ["data/2024/08/1.csv", "data/2024/08/2.csv", "data/2024/08/note.txt", "urgent/data.csv"] {
        scene.put(key, "a\n1\n");
    }
    let jobs = scene.path("jobs.toml");
    let text = "[jobs.daily-csv]\nprefix = 'data/2024/08/'\ninclude = ['**/*.csv']\ndest_bucket = 'processed'\n\
                [jobs.urgent]\nbucket = 'other'\nfiles = ['urgent/data.csv']\n";
    std::fs::write(&jobs, text).unwrap();
    let printed = pipeline(&["tasks", "batch", &jobs, "--job", "urgent"], &scene.variables).await;
    assert!(printed.starts_with("urgent: 1 task sent"), "{printed}");
    pipeline(&["tasks", "batch", &jobs], &scene.variables).await;
    let tasks = scene.client.messages(&scene.topics.tasks);
    let mut sent: Vec<_> = tasks
        .iter()
        .map(|task| {
            [&task["bucket"], &task["key"], &task["dest_bucket"]].map(|text| text.as_str().unwrap_or(""))
        })
        .collect();
    sent.sort_unstable();
    assert_eq!(
        sent,
        [
            ["my-bucket", "data/2024/08/1.csv", "processed"],
            ["my-bucket", "data/2024/08/2.csv", "processed"],
            ["other", "urgent/data.csv", ""],
            ["other", "urgent/data.csv", ""],
        ]
    );
    let (code, _) = ended(&["tasks", "batch", &jobs, "--job", "unknown"], &scene.variables).await;
    assert_eq!(code, Some(2));

    // What is said on the command line wins, and a dry run leaves nothing behind.
    let state = scene.path("state");
    let staging =
        ["tasks", "batch", &jobs, "--job", "urgent", "--bucket", "staging", "--dest-bucket", "staging-out"];
    let printed =
        pipeline(&[&staging[..], &["--dry-run", "--state", &state]].concat(), &scene.variables).await;
    let task: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&task["bucket"], &task["dest_bucket"]), (&"staging".into(), &"staging-out".into()));
    assert!(!std::path::Path::new(&state).exists());
}

/// A notification of the storage is a task; one of something else has a failed result; both are committed.
#[tokio::test(flavor = "multi_thread")]
async fn notifications_of_the_storage_are_tasks() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("notified", broker).await;
    scene.put("data/2024 08/文.csv", "a\n1\n2\n");
    let notification = |event: &str| {
        let object = json!({ "key": "data%2F2024+08/%E6%96%87.csv", "size": 6, "eTag": "e" });
        let about = json!({ "bucket": { "name": "my-bucket" }, "object": object });
        json!({ "Records": [{ "eventSource": "OBS", "eventName": event, "obs": about }] }).to_string()
    };
    let messages = [notification("ObjectCreated:Put"), notification("ObjectRemoved:Delete")];
    scene.client.send(&messages, PARTITIONS).await;
    let mut worker = Program::start(&["run"], &scene.variables);
    let mut results = scene.client.wait_for_results(2).await;
    scene.client.wait_for_no_lag(PARTITIONS).await;
    worker.signal("TERM");
    assert!(worker.wait().await.success());
    results.sort_by_key(|result| result.rows);
    assert_eq!(results[0].error_kind.as_deref(), Some("not_a_task"));
    assert!(results[0].error.as_deref().unwrap().contains("ObjectRemoved:Delete"));
    assert_eq!((results[1].source.key.as_str(), results[1].rows), ("data/2024 08/文.csv", Some(2)));
    assert!(scene.server.get("out", "data/2024 08/文.csv.parsed.json").is_some());
}

/// The results of a worker as a person sees them.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_filtered_counted_and_followed() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("results", broker).await;
    let mut follower = Program::start(&["results", "--from-beginning", "--json"], &scene.variables);
    for number in 0..3 {
        scene.put(&format!("data/{number}.csv"), "a\n1\n");
    }
    scene.put("data/photo.png", "\u{89}PNG");
    pipeline(&["tasks", "scan"], &scene.variables).await;
    let mut worker = Program::start(&["run"], &scene.variables);
    scene.client.wait_for_results(4).await;
    worker.signal("TERM");
    assert!(worker.wait().await.success());
    kit::eventually("all of them, followed", || follower.lines().len() == 4).await;
    follower.signal("TERM");
    let _ = follower.wait().await;
    for line in follower.lines() {
        assert!(serde_json::from_str::<Value>(&line).unwrap()["task"]["offset"].is_i64(), "{line}");
    }
    let count = pipeline(&["results", "--count"], &scene.variables).await;
    assert_eq!(count, "      1 failed\n      3 success");
    let count = pipeline(&["results", "--count", "--json", "--key", "**/*.csv"], &scene.variables).await;
    assert_eq!(count, r#"{"success":3}"#);
    let none = ["results", "--count", "--since", "2999-01-01"];
    assert_eq!(pipeline(&none, &scene.variables).await, "");
    let table = pipeline(&["results", "--no-follow", "--status", "failed"], &scene.variables).await;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "a head and one line: {table}");
    assert!(lines[1].contains("failed") && lines[1].contains("data/photo.png"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_check_says_what_does_not_work() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("check", broker).await;
    let good = pipeline(&["config", "check", "--write"], &scene.variables).await;
    assert!(!good.contains("FAILED") && good.contains("takes objects"), "{good}");
    assert_eq!(scene.server.keys("out"), [""; 0], "the probe is deleted");

    let bad = with(
        scene.variables.clone(),
        &[
            ("KAFKA_RESULT_TOPIC", "no-such-topic"),
            ("OBS_SECRET_KEY", "wrong"),
            ("KAFKA_AUTO_OFFSET_RESET", "latest"),
        ],
    );
    let (code, printed) = ended(&["config", "check", "--json"], &bad).await;
    assert_eq!(code, Some(1), "{printed}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    let failed: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["results", "source", "destination"], "all at once: {printed}");
    assert!(report["warnings"][0].as_str().unwrap().contains("latest"), "{printed}");
    let gone = with(scene.variables.clone(), &[("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")]);
    let (code, printed) = ended(&["config", "check"], &gone).await;
    assert_eq!(code, Some(1));
    assert!(printed.contains("FAILED  brokers"), "{printed}");
}

/// Rights are asked for and not tried: the check leaves no trace, and names what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn config_check_names_the_right_that_is_missing() {
    let Some((broker, secure)) = apache().and_then(|broker| Some((broker, broker.secure.as_ref()?))) else {
        return;
    };
    let scene = Scene::set("rights", broker).await;
    let variables = with(scene.variables.clone(), &secure.variables());
    let good = pipeline(&["config", "check"], &variables).await;
    assert!(good.contains("may be written") && good.contains("may be joined"), "{good}");

    let wrong = with(variables.clone(), &[("KAFKA_SASL_PASSWORD", "wrong"), ("SINGLE_FILE", "a.csv")]);
    let (code, printed) = ended(&["config", "check"], &wrong).await;
    assert_eq!(code, Some(1));
    assert!(printed.contains("check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"), "{printed}");
    assert_eq!(ended(&["tasks", "file"], &wrong).await.0, Some(1), "and not after a minute of trying");

    // Reading is left to the user, so a check that takes any right for all of them would pass.
    let user = secure.principal();
    let rule = ["--allow-principal", &user, "--operation", "Read", "--topic", &scene.topics.results];
    let somebody =
        ["--allow-principal", "User:somebody", "--operation", "Read", "--group", &scene.topics.group];
    for rule in [rule, somebody] {
        broker.add_rule(&rule);
    }
    let (code, printed) = ended(&["config", "check"], &variables).await;
    assert_eq!(code, Some(1));
    let failed: Vec<_> = printed.lines().filter(|line| line.starts_with("FAILED")).collect();
    let [results, group] = &failed[..] else { panic!("{printed}") };
    assert!(results.contains("may not write to the topic"), "{results}");
    assert!(group.contains("group"), "{group}");
}
