//! The program on Apache Kafka and the OBS server: the promises that only a real broker can prove.

use kit::dataset::sample;
use kit::kafka::{Apache, apache};
use kit::live::{PARTITIONS, Scene, results_by_task, stop, with};
use kit::obs::{Effect, Fault, Op};
use kit::program::Program;
use pipeline::commit::Metadata;
use pipeline::task::NextOffset;
use serde_json::json;

/// 1,000 tasks, 3 partitions, 2 processes: each task exactly one result, lag 0, and a second run does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_task_has_exactly_one_result_and_a_second_run_does_nothing() {
    const TASKS: usize = 1000;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("exactly-one", broker, TASKS).await;
    let (mut first, mut second) = (scene.worker(), scene.worker());
    first.wait_for("partitions assigned", 1).await;
    second.wait_for("partitions assigned", 1).await;
    scene.client.wait_for_results(TASKS).await;
    scene.client.wait_for_no_lag(PARTITIONS).await;
    stop(first).await;
    stop(second).await;
    let counts = results_by_task(&scene.client.results());
    assert_eq!(counts.len(), TASKS);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(scene.server.keys("out").len(), TASKS);

    // A task behind all others: when it is done, the second run has been through everything.
    let third = scene.worker();
    scene.send(TASKS..TASKS + PARTITIONS as usize).await;
    let results = scene.client.wait_for_results(TASKS + PARTITIONS as usize).await;
    assert_eq!(results.len(), TASKS + PARTITIONS as usize, "nothing ran again");
    stop(third).await;
    assert_eq!(scene.client.results().len(), TASKS + PARTITIONS as usize, "also not behind our back");
}

/// SIGKILL in the middle: nothing is lost; what was in flight may run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing() {
    const TASKS: usize = 1000;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("sigkill", broker, TASKS).await;
    let (first, second) = (scene.worker(), scene.worker());
    scene.client.wait_for_results(TASKS / 4).await;
    // Killed by the destructor.
    drop(first);
    scene.client.wait_for_no_lag(PARTITIONS).await;
    stop(second).await;
    let counts = results_by_task(&scene.client.results());
    assert_eq!(counts.len(), TASKS, "every task has a result");
}

/// SIGTERM under load: exit 0 within the deadline, nothing lost, nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_ends_with_0_and_loses_nothing() {
    const TASKS: usize = 400;
    let Some(broker) = apache() else { return };
    let mut scene = Scene::set("sigterm", broker, TASKS).await;
    // So that much is left when the signal comes.
    scene.variables = with(scene.variables, &[("KAFKA_MAX_POLL_RECORDS", "40")]);
    let first = scene.worker();
    scene.client.wait_for_results(TASKS / 8).await;
    let begun = std::time::Instant::now();
    stop(first).await;
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(45),
        "drain deadline and leaving: {:?}",
        begun.elapsed()
    );
    let done = scene.client.results().len();
    assert!(done < TASKS, "it was under load: {done}");
    let second = scene.worker();
    scene.client.wait_for_no_lag(PARTITIONS).await;
    stop(second).await;
    let counts = results_by_task(&scene.client.results());
    assert_eq!(counts.len(), TASKS);
    assert!(counts.values().all(|count| *count == 1), "nothing ran twice: {counts:?}");
}

/// A worker that joins under load takes partitions over without a task lost or run twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_under_load_loses_nothing_and_repeats_nothing() {
    const TASKS: usize = 3000;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("rebalance", broker, TASKS).await;
    let mut first = scene.worker();
    scene.client.wait_for_results(50).await;
    let mut second = scene.worker();
    first.wait_for("partitions revoked", 1).await;
    let done = scene.client.results().len();
    assert!(done < TASKS, "there was load: {done}");
    second.wait_for("partitions assigned", 1).await;
    scene.client.wait_for_no_lag(PARTITIONS).await;
    stop(first).await;
    stop(second).await;
    let counts = results_by_task(&scene.client.results());
    assert_eq!(counts.len(), TASKS);
    assert!(counts.values().all(|count| *count == 1), "work in flight was waited for: {counts:?}");
}

/// A file that hangs holds up its own partition's commit, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_download_blocks_no_other_task() {
    const TASKS: usize = 60;
    let Some(broker) = apache() else { return };
    let mut scene = Scene::set("stalled", broker, 0).await;
    scene.variables = with(scene.variables, &[("PIPELINE_DRAIN_TIMEOUT_MS", "500")]);
    // Task 0 is the first of partition 0.
    scene.server.faults().add(Fault::new(Op::Get, Effect::StalledBody).on("00000/*").always());
    scene.send(0..TASKS).await;
    let worker = scene.worker();
    let results = scene.client.wait_for_results(TASKS - 1).await;
    assert_eq!(results_by_task(&results).len(), TASKS - 1);
    kit::eventually("the other partitions are committed", || {
        let lag = scene.client.lag(PARTITIONS);
        lag[&1] == 0 && lag[&2] == 0
    })
    .await;
    assert_eq!(scene.client.lag(PARTITIONS)[&0], TASKS as i64 / 3, "nothing passes the stalled one");
    stop(worker).await;
    assert_eq!(scene.client.lag(PARTITIONS)[&0], TASKS as i64 / 3, "what was given up is not finished");
}

/// SIGKILL, with much finished behind a file that hangs: only that file runs again.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_repeats_nothing_that_a_commit_remembers() {
    const TASKS: usize = 600;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("remembered", broker, 0).await;
    // The first task of each partition.
    let stalled = PARTITIONS as usize;
    for number in 0..stalled {
        let hangs = Fault::new(Op::Get, Effect::StalledBody).on(&format!("{number:05}/*"));
        scene.server.faults().add(hangs.always());
    }
    scene.send(0..TASKS).await;
    let first = scene.worker();
    scene.client.wait_for_results(TASKS - stalled).await;
    kit::eventually("commits that remember them", || {
        (0..PARTITIONS).all(|partition| {
            scene.client.committed(PARTITIONS).contains_key(&partition) && {
                let (next, text) = scene.client.checkpoint(partition);
                let metadata = Metadata::decode(text.as_bytes(), NextOffset(next)).unwrap();
                (next, metadata.finished.count()) == (0, (TASKS / stalled - 1) as u64)
            }
        })
    })
    .await;
    // Killed by the destructor.
    drop(first);

    let mut second = scene.worker();
    // Tasks behind all others: when they are done, the second one has been through everything.
    scene.send(TASKS..TASKS + stalled).await;
    scene.client.wait_for_results(TASKS).await;
    second.wait_for("finished tasks remembered", stalled).await;
    let counts = results_by_task(&scene.client.results());
    assert_eq!(counts.len(), TASKS);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

/// With `KAFKA_EXACTLY_ONCE=true` not even what was in flight when a process was killed has two results.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_a_killed_process_repeats_no_result() {
    const TASKS: usize = 1000;
    let Some(broker) = apache() else { return };
    let mut scene = Scene::set("once", broker, TASKS).await;
    let once = [("KAFKA_EXACTLY_ONCE", "true"), ("KAFKA_LIBRDKAFKA_TRANSACTION_TIMEOUT_MS", "10000")];
    scene.variables = with(scene.variables, &once);
    let (first, second) = (scene.worker(), scene.worker());
    scene.client.wait_for_results(TASKS / 4).await;
    // Killed by the destructor.
    drop(first);
    scene.client.wait_for_no_lag(PARTITIONS).await;
    let results = scene.client.wait_for_results(TASKS).await;
    stop(second).await;
    let counts = results_by_task(&results);
    assert_eq!((counts.len(), results.len()), (TASKS, TASKS), "{counts:?}");
    assert_eq!(scene.client.results().len(), TASKS, "also not behind our back");
}

/// Who sets nothing has it where the broker allows it.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_is_the_default() {
    let Some(broker) = apache() else { return };
    let mut scene = Scene::set("default", broker, 1).await;
    scene.variables.retain(|(name, _)| name != "KAFKA_EXACTLY_ONCE");
    let worker = scene.worker();
    scene.client.wait_for_results(1).await;
    scene.send(1..2).await;
    scene.client.wait_for_results(2).await;
    assert_eq!(worker.events("worker started")[0]["exactly_once"], true, "{:?}", worker.lines());
    stop(worker).await;
    // Behind the first result lies the marker that made it visible.
    let results = scene.client.read(&scene.client.topics().results);
    assert!(results[1].0.offset.0 > results[0].0.offset.next().0, "{results:?}");
}

/// A broker that does not let a worker make transactions: it is told, and results come all the same. Who asked for
/// transactions gets no other promise instead.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_transactions_results_are_published_at_least_once() {
    let Some((broker, secure)) = apache().and_then(|broker| Some((broker, broker.secure.as_ref()?))) else {
        return;
    };
    let mut scene = Scene::set("no-right", broker, 1).await;
    let (principal, group) = (secure.principal(), scene.client.topics().group.clone());
    let names = ["--transactional-id", &group, "--resource-pattern-type", "prefixed"];
    broker.add_rule(&[&["--deny-principal", &principal, "--operation", "Write"], &names[..]].concat());
    scene.variables = with(scene.variables, &secure.variables());
    let asked = with(scene.variables.clone(), &[("KAFKA_EXACTLY_ONCE", "true")]);
    let mut worker = Program::start(&["run"], &asked);
    let status = worker.wait().await;
    assert_eq!(status.code(), Some(1));
    let said = worker.all_lines().join("\n");
    assert!(said.contains("grant this user Write and Describe on the transactional ids"), "{said}");
    assert!(scene.client.results().is_empty());

    scene.variables.retain(|(name, _)| name != "KAFKA_EXACTLY_ONCE");
    let mut check = Program::start(&["config", "check"], &scene.variables);
    assert!(check.wait().await.success());
    let said = check.all_lines().join("\n");
    assert!(said.contains("cannot be made, so results at least once: "), "{said}");
    let worker = scene.worker();
    scene.client.wait_for_results(1).await;
    scene.client.wait_for_no_lag(PARTITIONS).await;
    let told = worker.events("no transactions");
    assert!(told[0]["error"].as_str().is_some_and(|error| error.contains("transactional ids")), "{told:?}");
    assert_eq!(worker.events("worker started")[0]["exactly_once"], false);
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_results_and_are_committed() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("failures", broker, 0).await;
    scene.server.put("in", "photo.png", sample("photo.png"));
    scene.server.put("in", "corrupt.csv.gz", sample("corrupt.csv.gz"));
    let messages = [
        "no task".to_owned(),
        json!({"key": "missing.csv"}).to_string(),
        json!({"key": "photo.png"}).to_string(),
        json!({"key": "corrupt.csv.gz"}).to_string(),
    ];
    scene.client.send(&messages, PARTITIONS).await;
    let worker = scene.worker();
    let results = scene.client.wait_for_results(messages.len()).await;
    let mut kinds: Vec<_> = results.iter().map(|result| result.error_kind.as_deref().unwrap_or("")).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["corrupt_file", "not_a_task", "not_found", "unsupported_format"]);
    scene.client.wait_for_no_lag(PARTITIONS).await;
    // The guide's log fields, as its jq filters read them.
    let events = worker.events("file failed");
    assert_eq!(events.len(), 4);
    for event in events {
        for field in
            ["timestamp", "level", "event", "filename", "func_name", "lineno", "file_key", "processing_time"]
        {
            assert!(!event[field].is_null(), "{field}: {event}");
        }
    }
    stop(worker).await;
}

/// `KAFKA_ENABLE_PRODUCER=false`: the work is done and committed, and nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_producer_there_are_no_results() {
    const TASKS: usize = 12;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("silent", broker, TASKS).await;
    let silent = with(scene.variables.clone(), &[("KAFKA_ENABLE_PRODUCER", "false")]);
    let worker = Program::start(&["run"], &silent);
    scene.client.wait_for_no_lag(PARTITIONS).await;
    stop(worker).await;
    assert_eq!(scene.server.keys("out").len(), TASKS);
    assert!(scene.client.results().is_empty());
}

/// `pipeline worker`: one at a time, and it says so.
#[tokio::test(flavor = "multi_thread")]
async fn the_single_worker_takes_one_task_at_a_time() {
    const TASKS: usize = 12;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("single", broker, TASKS).await;
    let worker = Program::start(&["worker"], &with(scene.variables.clone(), &[("LOG_LANG", "zh")]));
    let results = scene.client.wait_for_results(TASKS).await;
    assert_eq!(results_by_task(&results).len(), TASKS);
    assert!(results.iter().all(|result| result.worker_type == pipeline::config::WorkerType::SingleProcess));
    kit::eventually("the guide's own event texts", || worker.events("处理完成").len() == TASKS).await;
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_every_sasl_mechanism() {
    let Some(secure) = apache().and_then(|broker| Some((broker, broker.secure.as_ref()?))) else { return };
    let (broker, secure) = secure;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let scene = Scene::set("sasl", broker, 3).await;
        let changes = |password| {
            with(
                scene.variables.clone(),
                &[
                    ("KAFKA_BOOTSTRAP_SERVERS", &secure.bootstrap),
                    ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
                    ("KAFKA_SSL_CA_LOCATION", &secure.ca),
                    ("KAFKA_SASL_MECHANISM", mechanism),
                    ("KAFKA_SASL_USERNAME", &secure.user),
                    ("KAFKA_SASL_PASSWORD", password),
                ],
            )
        };
        let worker = Program::start(&["run"], &changes(secure.password.as_str()));
        scene.client.wait_for_results(3).await;
        stop(worker).await;
        let mut refused = Program::start(&["run"], &changes("wrong"));
        let status = refused.wait().await;
        assert_eq!(status.code(), Some(1), "{mechanism}: a wrong password ends the worker");
        let [event] = &refused.events("worker failed")[..] else { panic!("it says why") };
        assert_eq!(event["error_kind"], "permission_denied", "{event}");
        assert!(!refused.lines().join("\n").contains("wrong\""), "the password is not printed");
    }
}

/// Fatal: stop with the reason, finish nothing, so that nothing is lost to an expired key.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_storage_credentials_stop_the_worker_and_commit_nothing() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("forbidden", broker, 9).await;
    let variables = with(scene.variables.clone(), &[("OBS_SECRET_KEY", "wrong")]);
    let mut worker = Program::start(&["run"], &variables);
    assert_eq!(worker.wait().await.code(), Some(1));
    assert_eq!(worker.events("worker failed")[0]["error_kind"], "permission_denied");
    assert_eq!(scene.client.results().len(), 0);
    assert_eq!(scene.client.lag(PARTITIONS).values().sum::<i64>(), 9);
}

/// The end is bounded even when the broker is gone, also with results that wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_although_the_broker_is_gone() {
    if apache().is_none() {
        return;
    }
    for exactly_once in ["false", "true"] {
        let broker = Apache::start().unwrap();
        let mut scene = Scene::set("gone", &broker, 30).await;
        let brief = [("KAFKA_EXACTLY_ONCE", exactly_once), ("PIPELINE_DRAIN_TIMEOUT_MS", "5000")];
        scene.variables = with(scene.variables, &brief);
        // Five seconds: this one is done only when the broker is gone.
        scene.server.faults().add(Fault::new(Op::Get, Effect::SlowBody(2)).on("00030/*"));
        scene
            .send_of(30..31, |_| {
                (
                    b"a
1
2
3
4
"
                    .to_vec(),
                    "late.csv".to_owned(),
                )
            })
            .await;
        let mut worker = scene.worker();
        scene.client.wait_for_results(30).await;
        drop(broker);
        let begun = std::time::Instant::now();
        worker.signal("TERM");
        // Either everything was committed before, or the exit code says that it could not be.
        worker.wait().await;
        assert!(
            begun.elapsed().as_secs() < 30,
            "drain, last commit and leaving are bounded: {:?}",
            begun.elapsed()
        );
        assert_eq!(worker.events("worker draining").len(), 1);
    }
}
