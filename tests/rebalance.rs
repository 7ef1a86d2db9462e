//! Workers that come and go, stall, and lose their partitions; brokers that restart: on Apache Kafka, with the program as a
//! process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kit::kafka::{Apache, apache};
use kit::live::{PARTITIONS, Scene, results_by_task, stop, with};
use kit::obs::{Effect, Fault, Op};
use kit::program::Program;
use pipeline::commit::Metadata;
use pipeline::task::{NextOffset, Offset};

/// A small file.
const FILE: &[u8] = b"a\n1\n2\n3\n4\n";

/// A task, by partition and offset.
type Task = (i32, i64);

/// A scene, what was sent there, and what was remembered on the way.
struct Storm {
    scene: Scene,
    sent: usize,
    /// Tasks that a commit once remembered, and how many results they had by then.
    remembered: BTreeMap<Task, usize>,
    /// Tasks that had a result when a worker died, and were not remembered.
    forgotten: BTreeSet<Task>,
}

impl Storm {
    /// Each file takes half a second, so that there is work in flight whenever something happens.
    async fn set(test: &str, broker: &Apache, variables: &[(&str, &str)]) -> Storm {
        let mut scene = Scene::set(test, broker, 0).await;
        let own = [("PIPELINE_REVOKE_TIMEOUT_MS", "5000"), ("PIPELINE_DOWNLOADS_MAX", "4")];
        scene.variables = with(with(scene.variables, &own), variables);
        scene.server.faults().add(Fault::new(Op::Get, Effect::SlowBody(20)).always());
        Storm { scene, sent: 0, remembered: BTreeMap::new(), forgotten: BTreeSet::new() }
    }

    async fn send(&mut self, count: usize) {
        let numbers = self.sent..self.sent + count;
        self.scene.send_of(numbers, |_| (FILE.to_vec(), "slow.csv".to_owned())).await;
        self.sent += count;
    }

    fn lag(&self) -> i64 {
        self.scene.client.lag(PARTITIONS).values().sum()
    }

    /// Sends until there is this much to do.
    async fn fill(&mut self, lag: i64) {
        let missing = lag - self.lag();
        if missing > 0 {
            self.send(missing as usize).await;
        }
    }

    /// Notes what the commits remember. `death`: a worker has just died, and nobody has its partitions yet.
    async fn note(&mut self, death: bool) {
        let client = &self.scene.client;
        let mut remembered = BTreeSet::new();
        for (partition, next) in client.committed(PARTITIONS) {
            let (at, text) = client.checkpoint(partition);
            assert!(at >= next, "a position goes back");
            let finished = Metadata::decode(text.as_bytes(), NextOffset(at)).unwrap().finished;
            let ends = 1 + self.sent as i64 / i64::from(PARTITIONS);
            remembered.extend((0..ends).filter_map(|offset| {
                (offset < at || finished.contains(Offset(offset))).then_some((partition, offset))
            }));
        }
        // A transaction is committed in each partition for itself: its results may be seen a moment after its offsets.
        let mut results = BTreeMap::new();
        kit::eventually("the results of what is finished", || {
            results = results_by_task(&client.results());
            remembered.iter().all(|task| results.contains_key(task))
        })
        .await;
        for task in &remembered {
            self.remembered.entry(*task).or_insert(results[task]);
        }
        if death {
            self.forgotten.extend(results.into_keys().filter(|task| !remembered.contains(task)));
        }
    }

    /// Every partition is consumed to its end, nothing is lost, and what a commit remembered has no other result since.
    /// Gives what has several.
    async fn finish(&self) -> BTreeSet<Task> {
        self.scene.client.wait_for_no_lag(PARTITIONS).await;
        let results = results_by_task(&self.scene.client.results());
        assert_eq!(results.len(), self.sent, "every task has a result");
        for (task, count) in &self.remembered {
            assert_eq!(results.get(task), Some(count), "{task:?} was remembered, and ran again");
        }
        results.into_iter().filter(|(_, count)| *count > 1).map(|(task, _)| task).collect()
    }
}

/// The partitions that a worker has, by its own log.
fn held(worker: &Program) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    for line in worker.lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let partitions = event["partitions"].as_str().unwrap_or_default().split(',').map(str::to_owned);
        let partitions = partitions.filter(|partition| !partition.is_empty());
        match event["event"].as_str() {
            Some("partitions assigned") => held.extend(partitions),
            Some("partitions revoked") => partitions.for_each(|partition| {
                held.remove(&partition);
            }),
            _ => {}
        }
    }
    held
}

async fn wait_until_held(worker: &Program, at_least: usize) {
    kit::eventually(&format!("{at_least} partitions"), || held(worker).len() >= at_least).await;
}

/// One worker comes and the one before it goes, twenty times, two of them by SIGKILL; there is always work in flight.
async fn come_and_go(test: &str, exactly_once: bool) {
    const ROUNDS: usize = 20;
    let Some(broker) = apache() else { return };
    let once = exactly_once.to_string();
    let variables =
        [("KAFKA_EXACTLY_ONCE", once.as_str()), ("KAFKA_LIBRDKAFKA_TRANSACTION_TIMEOUT_MS", "6000")];
    let mut storm = Storm::set(test, broker, &variables).await;
    storm.send(100).await;
    let mut older = storm.scene.worker();
    wait_until_held(&older, 3).await;
    for round in 1..=ROUNDS {
        storm.fill(100).await;
        let younger = storm.scene.worker();
        wait_until_held(&younger, 1).await;
        storm.fill(60).await;
        let kill = round % 8 == 0;
        storm.note(false).await;
        assert!(storm.lag() > 0, "{round}: there is work when a worker goes");
        if kill {
            drop(older);
            storm.note(true).await;
        } else {
            stop(older).await;
        }
        older = younger;
    }
    storm.note(false).await;
    let repeated = storm.finish().await;
    stop(older).await;
    if exactly_once {
        assert_eq!(repeated, BTreeSet::new());
    }
    let unexplained: Vec<_> = repeated.difference(&storm.forgotten).collect();
    assert!(unexplained.is_empty(), "only what a killed worker had not committed yet: {unexplained:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_workers_come_and_go_under_load_and_every_partition_is_consumed_to_its_end() {
    come_and_go("come-and-go", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_workers_come_and_go_and_every_task_has_exactly_one_result() {
    come_and_go("come-and-go-once", true).await;
}

/// `KAFKA_GROUP_INSTANCE_ID`: a worker that comes back within the session timeout has its partitions again, and the others
/// notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_restarts_moves_no_partition() {
    let Some(broker) = apache() else { return };
    let mut storm = Storm::set("static", broker, &[("KAFKA_SESSION_TIMEOUT_MS", "45000")]).await;
    let variables = storm.scene.variables.clone();
    let named =
        |name: &str| Program::start(&["run"], &with(variables.clone(), &[("KAFKA_GROUP_INSTANCE_ID", name)]));
    let (first, mut second) = (named("one"), named("two"));
    kit::eventually("each has some", || {
        let (first, second) = (held(&first), held(&second));
        !first.is_empty() && !second.is_empty() && first.len() + second.len() == PARTITIONS as usize
    })
    .await;
    let moves = |worker: &Program| {
        worker.events("partitions assigned").len() + worker.events("partitions revoked").len()
    };
    let (before, moved) = (held(&first), moves(&second));
    storm.send(60).await;
    storm.scene.client.wait_for_count(5).await;
    stop(first).await;
    let first = named("one");
    wait_until_held(&first, before.len()).await;
    assert_eq!(held(&first), before, "the same ones");
    assert_eq!(storm.finish().await, BTreeSet::new(), "no task has two results");
    second.wait_for("file processed", 1).await;
    assert_eq!(moves(&second), moved, "no rebalance");
    stop(first).await;
    stop(second).await;
}

/// A file that takes longer than `max.poll.interval.ms`, with the worker at its bound: the consumer is polled all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_longer_than_the_poll_interval_keeps_its_worker() {
    let Some(broker) = apache() else { return };
    let mut scene = Scene::set("long-file", broker, 0).await;
    let interval = Duration::from_secs(6);
    let brief = [("KAFKA_MAX_POLL_INTERVAL_MS", "6000"), ("KAFKA_MAX_POLL_RECORDS", "1")];
    scene.variables = with(scene.variables, &brief);
    // One byte a second.
    scene.server.faults().add(Fault::new(Op::Get, Effect::SlowBody(1)).on("00000/*"));
    scene.send_of(0..6, |_| (FILE.to_vec(), "long.csv".to_owned())).await;
    let worker = scene.worker();
    scene.server.wait_for(|requests| requests.iter().any(|request| request.op == Op::Get)).await;
    let begun = Instant::now();
    scene.client.wait_for_no_lag(PARTITIONS).await;
    assert!(begun.elapsed() > interval, "it was longer: {:?}", begun.elapsed());
    let results = scene.client.results();
    assert_eq!(results_by_task(&results).into_values().collect::<Vec<_>>(), [1; 6]);
    assert!(results.iter().all(|result| result.task.attempt == 1), "{results:?}");
    assert_eq!((worker.events("partitions revoked").len(), worker.events("consumer error").len()), (0, 0));
    stop(worker).await;
}

/// A process that stands still for longer than its session, while another one has its partitions, and wakes up with work
/// that ends at once: nothing of it is committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_wakes_up_after_its_session_commits_nothing_that_it_lost() {
    const FIRST: usize = PARTITIONS as usize;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("sleeper", broker, 0).await;
    // Five seconds for the sleeper, so that all bytes are there when it wakes up; never for whoever comes after it.
    for number in 0..FIRST {
        let key = format!("{number:05}/*");
        scene.server.faults().add(Fault::new(Op::Get, Effect::SlowBody(2)).on(&key));
        scene.server.faults().add(Fault::new(Op::Get, Effect::StalledBody).on(&key).always());
    }
    let send = async |numbers| scene.send_of(numbers, |_| (FILE.to_vec(), "a.csv".to_owned())).await;
    send(0..FIRST).await;
    let begun = |count: usize| {
        scene.server.wait_for(move |requests| {
            requests.iter().filter(|request| request.op == Op::Get).count() >= count
        })
    };
    let mut sleeper = scene.worker();
    begun(FIRST).await;
    sleeper.signal("STOP");
    let other = scene.worker();
    wait_until_held(&other, FIRST).await;
    begun(2 * FIRST).await;
    sleeper.signal("CONT");
    sleeper.wait_for("partitions revoked", 1).await;
    let revoked = sleeper.events("partitions revoked");
    assert_eq!(revoked[0]["lost"], true, "{revoked:?}");
    // It is a member again, with a generation of its own.
    wait_until_held(&sleeper, 1).await;

    // Commits of both go on: behind what hangs everything is done and remembered, and nobody has passed that.
    send(FIRST..3 * FIRST).await;
    kit::eventually("what comes after it is remembered", || {
        (0..PARTITIONS).all(|partition| {
            scene.client.committed(PARTITIONS).contains_key(&partition) && {
                let (next, text) = scene.client.checkpoint(partition);
                let finished = Metadata::decode(text.as_bytes(), NextOffset(next)).unwrap().finished;
                assert_eq!(next, 0, "{partition}: the sleeper's work is not committed");
                assert!(!finished.contains(Offset(0)), "{partition}: nor remembered");
                finished.count() == 2
            }
        })
    })
    .await;

    drop((sleeper, other));
    scene.server.faults().clear();
    let last = scene.worker();
    scene.client.wait_for_no_lag(PARTITIONS).await;
    let results = results_by_task(&scene.client.results());
    assert_eq!(results.len(), 3 * FIRST);
    let twice = results.iter().filter(|((_, offset), count)| *offset > 0 && **count > 1).count();
    assert_eq!(twice, 0, "{results:?}: what was remembered did not run again");
    stop(last).await;
}

/// The broker restarts under load, once in peace and once by SIGKILL. It is the coordinator of the group and of the
/// transactions as well, so that these go away and come back with it.
async fn restart(test: &str, exactly_once: bool) {
    if apache().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Apache::start_in(folder.path()).unwrap();
    let mut storm = Storm::set(test, &broker, &[("KAFKA_EXACTLY_ONCE", &exactly_once.to_string())]).await;
    let workers = [storm.scene.worker(), storm.scene.worker()];
    let mut expected = 0;
    for power_failure in [false, true] {
        storm.send(120).await;
        storm.scene.client.wait_for_count(expected + 30).await;
        expected = storm.sent;
        storm.note(false).await;
        assert!(storm.lag() > 0, "there is load");
        match power_failure {
            false => drop(broker),
            true => broker.kill().unwrap(),
        }
        broker = Apache::start_in(folder.path()).unwrap();
        storm.scene.client.wait_for_no_lag(PARTITIONS).await;
        storm.note(false).await;
    }
    let repeated = storm.finish().await;
    if exactly_once {
        assert_eq!(repeated, BTreeSet::new());
    }
    for worker in workers {
        stop(worker).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_under_load_loses_nothing() {
    restart("restart", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_within_transactions_doubles_nothing() {
    restart("restart-once", true).await;
}

/// A download that hangs, with lag behind it: the partition, the task and its stage are told, and that it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stands_still_is_told_about_with_what_holds_it() {
    const TASKS: usize = 30;
    let Some(broker) = apache() else { return };
    let mut scene = Scene::set("stands-still", broker, 0).await;
    let brief = [("PIPELINE_STALL_AFTER_MS", "10000"), ("PIPELINE_DOWNLOAD_TIMEOUT_MS", "18000")];
    scene.variables = with(scene.variables, &brief);
    // Task 0 is the first of partition 0. The second try goes well.
    scene.server.faults().add(Fault::new(Op::Get, Effect::StalledBody).on("00000/*"));
    scene.send_of(0..TASKS, |_| (FILE.to_vec(), "a.csv".to_owned())).await;
    let mut worker = scene.worker();
    worker.wait_for("partition stands still", 1).await;
    scene.client.wait_for_no_lag(PARTITIONS).await;
    worker.wait_for("partition goes on", 1).await;
    let told = worker.events("partition stands still");
    for event in &told {
        let partition = event["partition"].as_str().unwrap();
        assert!(partition.ends_with("[0]"), "no other: {event}");
        let task = format!("{partition}@0");
        assert_eq!((&event["held_by"], &event["task"]), (&"task".into(), &task.into()), "{event}");
        assert_eq!(event["file_key"], "00000/a.csv");
        assert_eq!((&event["lag"], &event["level"]), (&(TASKS / 3).into(), &"warn".into()), "{event}");
        assert!(event["stalled_ms"].as_u64().unwrap() >= 10_000);
    }
    assert_eq!((&told[0]["stage"], &told[0]["attempt"]), (&"download".into(), &1.into()), "{}", told[0]);
    stop(worker).await;
}
