//! Exactly-once results on Apache Kafka: what a reader of committed messages sees, whatever happens to a worker within a
//! transaction. And task topics that were written so.

use std::collections::{BTreeMap, BTreeSet};

use kit::broken::{Boundary, Broken, Mishap, Trigger};
use kit::crew::{Crew, HELD, Worker};
use kit::kafka::{Apache, Client, Topics, apache};
use kit::rig::task;
use pipeline::commit::Metadata;
use pipeline::failure::Kind;
use pipeline::source::kafka::Membership;
use pipeline::task::{NextOffset, Offset};
use pipeline::transaction::kafka::KafkaTransactions;
use pipeline::transaction::{Course, Transactions};
use tokio::sync::watch;

const PARTITIONS: i32 = 3;
/// Tasks before the mishap, the first of each partition held, and as many with it.
const WAVE: usize = 30;

struct Scene {
    client: Client,
    crew: Crew,
    trigger: Trigger,
}

impl Scene {
    /// The first wave is done, but for what is held.
    async fn set(test: &str, broker: &Apache, variables: &[(&str, &str)]) -> Scene {
        let topics = Topics::new(test);
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_topics(PARTITIONS).await;
        // So that a test need not wait for the broker to end what a dead worker left open.
        let brief = [("KAFKA_LIBRDKAFKA_TRANSACTION_TIMEOUT_MS", "6000")];
        let variables: Vec<_> = brief.into_iter().chain(variables.iter().copied()).collect();
        let crew = Crew::new(&broker.bootstrap, &topics, &variables);
        let scene = Scene { client, crew, trigger: Trigger::default() };
        let key = |number: usize| match number < PARTITIONS as usize {
            true => format!("{HELD}{number}.csv"),
            false => format!("{number}.csv"),
        };
        scene.send((0..WAVE).map(key)).await;
        scene
    }

    async fn send(&self, keys: impl Iterator<Item = String>) {
        let messages: Vec<String> = keys.map(|key| task(&key)).collect();
        self.client.send(&messages, PARTITIONS).await;
    }

    /// A worker that meets with something at a step, when it is time.
    async fn worker(&self, at: Boundary, mishap: Mishap) -> Worker {
        self.worker_of(|inner| Broken::around(inner, at, mishap, self.trigger.clone())).await
    }

    async fn worker_of<T: Transactions>(&self, wrap: impl FnOnce(KafkaTransactions) -> T) -> Worker {
        let worker = self.crew.transactional(wrap).await;
        self.client.wait_for_results(WAVE - PARTITIONS as usize).await;
        worker
    }

    /// It is time, and there is work.
    async fn strike(&self) {
        self.trigger.arm();
        self.send((WAVE..2 * WAVE).map(|number| format!("{number}.csv"))).await;
        kit::eventually("the mishap", || self.trigger.struck()).await;
    }

    async fn finish(&self) {
        self.crew.release();
        self.client.wait_for_no_lag(PARTITIONS).await;
    }

    /// How many results each task has.
    fn results(&self) -> BTreeMap<(i32, i64), usize> {
        let mut counts = BTreeMap::new();
        for result in self.client.results() {
            *counts.entry((result.task.partition, result.task.offset)).or_insert(0) += 1;
        }
        counts
    }

    fn assert_exactly_once(&self, case: &str) {
        let results = self.results();
        assert_eq!(results.len(), 2 * WAVE, "{case}: every task has a result");
        assert!(results.values().all(|count| *count == 1), "{case}: {results:?}");
    }
}

/// The broker gives a transaction up at any of its steps: the worker repeats it.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_seen_once_although_transactions_are_given_up() {
    let Some(broker) = apache() else { return };
    let boundaries = [Boundary::Begin, Boundary::Send, Boundary::Offsets, Boundary::Commit];
    futures::future::join_all(boundaries.map(|at| async move {
        let scene = Scene::set("given-up", broker, &[]).await;
        let worker = scene.worker(at, Mishap::Refused(Course::Abort)).await;
        scene.strike().await;
        scene.finish().await;
        worker.stop().await.unwrap();
        scene.assert_exactly_once(&format!("{at:?}"));
        for partition in 0..PARTITIONS {
            let end = (2 * WAVE / PARTITIONS as usize) as i64;
            assert_eq!(scene.client.checkpoint(partition), (end, String::new()), "{at:?}: it left in peace");
        }
        let repeated = scene.crew.dispatches.counts().into_values().filter(|count| *count > 1).count();
        assert_eq!(repeated, 0, "{at:?}: the results are repeated, not the work");
    }))
    .await;
}

/// A worker dies at any step of a transaction, the last one being that it is committed: another one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_seen_once_although_a_worker_dies_within_a_transaction() {
    let Some(broker) = apache() else { return };
    let boundaries = [Boundary::Begin, Boundary::Send, Boundary::Offsets, Boundary::Commit, Boundary::Done];
    futures::future::join_all(boundaries.map(|at| async move {
        let scene = Scene::set("dies", broker, &[]).await;
        let first = scene.worker(at, Mishap::Death).await;
        scene.strike().await;
        // It can publish nothing more, and ends.
        let _ = first.stop().await;
        let second = scene.crew.transactional(|inner| inner).await;
        scene.finish().await;
        second.stop().await.unwrap();
        scene.assert_exactly_once(&format!("{at:?}"));
    }))
    .await;
}

/// A worker falls asleep within a transaction, loses partitions to another one, which does their work, and wakes up.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_partitions_cannot_commit_for_them() {
    let Some(broker) = apache() else { return };
    futures::future::join_all([Boundary::Offsets, Boundary::Commit].map(|at| async move {
        let scene = Scene::set("zombie", broker, &[("PIPELINE_REVOKE_TIMEOUT_MS", "200")]).await;
        let (wake, asleep) = watch::channel(true);
        let broken = |inner| Broken::around(inner, at, Mishap::Halt(asleep), scene.trigger.clone());
        let zombie = scene.worker_of(|inner| broken(inner).in_one_of(WAVE / 2)).await;
        // All at once, so that a transaction has results of every partition.
        scene.send((WAVE..2 * WAVE).map(|number| format!("{HELD}{number}.csv"))).await;
        kit::eventually("all are held", || scene.crew.dispatches.tasks() == 2 * WAVE).await;
        scene.trigger.arm();
        scene.crew.release();
        kit::eventually("the sleep", || scene.trigger.struck()).await;
        let other = scene.crew.transactional(|inner| inner).await;
        kit::eventually("the other one begins what was the sleeper's", || {
            scene.crew.dispatches.counts().values().any(|count| *count > 1)
        })
        .await;
        wake.send_replace(false);
        scene.finish().await;
        other.stop().await.unwrap();
        // A transaction that the broker has ended meanwhile may end the worker, too: its name is taken from it.
        let _ = zombie.stop().await;
        scene.assert_exactly_once(&format!("{at:?}"));
    }))
    .await;
}

/// What a worker is at is said before it is at it, also when transactions say it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_before_a_transaction_has_said_so() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("said", broker, &[]).await;
    let (go, waits) = watch::channel(true);
    scene.trigger.arm();
    let broken = |inner| Broken::around(inner, Boundary::Commit, Mishap::Halt(waits), scene.trigger.clone());
    let worker = scene.crew.transactional(broken).await;
    kit::eventually("the first transaction", || scene.trigger.struck()).await;
    // Everyone has had time to go too far.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert_eq!(scene.crew.dispatches.tasks(), 0);
    }
    go.send_replace(false);
    scene.client.wait_for_results(WAVE - PARTITIONS as usize).await;
    scene.finish().await;
    worker.stop().await.unwrap();
}

/// It has left the group when it ends: nobody waits for the end of its session.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_can_make_no_more_transactions_leaves_its_group() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("stops", broker, &[]).await;
    let worker = scene.worker(Boundary::Commit, Mishap::Refused(Course::Stop)).await;
    assert_eq!(scene.client.group_members(), 1);
    scene.strike().await;
    let failure = worker.end().await.unwrap_err();
    assert!(failure.chain().contains("planned"), "{}", failure.chain());
    assert_eq!(scene.client.group_members(), 0);
    let other = scene.crew.transactional(|inner| inner).await;
    scene.finish().await;
    other.stop().await.unwrap();
    scene.assert_exactly_once("stopped");
}

/// Two producers of one name: the older one is out, and its worker says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_name_is_taken_stops() {
    let Some(broker) = apache() else { return };
    let scene = Scene::set("named", broker, &[("KAFKA_GROUP_INSTANCE_ID", "one")]).await;
    let worker = scene.crew.transactional(|inner| inner).await;
    scene.client.wait_for_results(WAVE - PARTITIONS as usize).await;
    let kafka = scene.crew.config().kafka.clone();
    let other = std::thread::spawn(move || {
        let mut other = KafkaTransactions::new(&kafka, Membership::default()).unwrap();
        other.prepare().unwrap();
        other
    });
    let _other = other.join().unwrap();
    scene.send(std::iter::once("late.csv".to_owned())).await;
    let failure = worker.end().await.unwrap_err();
    assert_eq!(failure.kind, Kind::BrokerRefused, "{}", failure.chain());
    assert!(failure.chain().contains("KAFKA_GROUP_INSTANCE_ID"), "{}", failure.chain());
    assert_eq!(scene.results().len(), WAVE - PARTITIONS as usize);
}

/// A topic of tasks with holes: markers of transactions, some of them given up, and compacted away what has a newer
/// version.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_gaps_is_processed_to_its_end() {
    const KEYS: usize = 50;
    let Some(broker) = apache() else { return };
    for exactly_once in [false, true] {
        let topics = Topics::new("gaps");
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_compacted().await;
        let tasks = |keys: std::ops::Range<usize>| -> Vec<(String, String)> {
            keys.map(|key| (key.to_string(), task(&format!("{key}.csv")))).collect()
        };
        let held = (HELD.to_owned(), task(&format!("{HELD}.csv")));
        client.send_in_transaction(&[held], true);
        for begin in (0..KEYS).step_by(10) {
            client.send_in_transaction(&tasks(begin..begin + 10), true);
            client.send_in_transaction(&tasks(begin..begin + 10), false);
        }
        // Newer versions, each in a transaction of its own, until some of the older ones are gone.
        let (mut kept, mut newer) = (Vec::new(), 0);
        kit::eventually("compaction", || {
            client.send_in_transaction(&tasks(newer % KEYS..newer % KEYS + 1), true);
            newer += 1;
            kept = client.task_offsets();
            kept.len() < 1 + KEYS + newer
        })
        .await;

        // The newest one stays.
        let end = Offset(*kept.last().unwrap()).next();
        let crew = Crew::new(&broker.bootstrap, &topics, &[]);
        let start = || async {
            match exactly_once {
                true => crew.transactional(|inner| inner).await,
                false => crew.worker().await,
            }
        };
        let first = start().await;
        kit::eventually("a commit that remembers everything behind the held one", || {
            client.committed(1).contains_key(&0) && {
                let (next, text) = client.checkpoint(0);
                let finished = Metadata::decode(text.as_bytes(), NextOffset(next)).unwrap().finished;
                finished.contains(Offset(end.0 - 1)) && finished.count() == crew.dispatches.tasks() as u64 - 1
            }
        })
        .await;
        first.stop().await.unwrap();
        crew.release();
        let second = start().await;
        kit::eventually("the end", || client.committed(1).get(&0) == Some(&end.0)).await;
        second.stop().await.unwrap();
        let counts = crew.dispatches.counts();
        let dispatched: BTreeSet<i64> = counts.keys().map(|(_, offset)| *offset).collect();
        // Compaction goes on meanwhile, and only takes away.
        let missed: Vec<i64> =
            client.task_offsets().into_iter().filter(|offset| !dispatched.contains(offset)).collect();
        assert_eq!(missed, [0_i64; 0], "every task that is there");
        let again: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert_eq!(again, [(&(0, 0), &2)], "only the held one ran again");
    }
}
