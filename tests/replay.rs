//! Invariant 4: what was finished is never run again, whatever lies before it, and whoever goes on with it.

use std::collections::BTreeMap;

use kit::crew::{Crew, HELD};
use kit::kafka::{Apache, Client, Topics, apache, mock, refuse_restores};
use kit::rig::task;
use pipeline::commit::Metadata;
use pipeline::task::NextOffset;

/// A broker's topics, and tasks of which the first in each partition is held.
struct Scene {
    topics: Topics,
    client: Client,
    partitions: i32,
}

impl Scene {
    async fn set(test: &str, broker: &Apache, partitions: i32, tasks: usize) -> Scene {
        let topics = Topics::new(test);
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_topics(partitions).await;
        let messages: Vec<String> = (0..tasks)
            .map(|number| match number < partitions as usize {
                true => task(&format!("{HELD}.csv")),
                false => task(&format!("{number}.csv")),
            })
            .collect();
        client.send(&messages, partitions).await;
        Scene { topics, client, partitions }
    }

    /// Waits until every partition's commit remembers that all but its first task are finished; gives the longest of the
    /// texts that say so.
    async fn wait_until_remembered(&self, each: u64) -> usize {
        let mut longest = 0;
        kit::eventually("a commit that remembers everything behind the held tasks", || {
            (0..self.partitions).all(|partition| {
                // Until the first commit there is none.
                if self.client.committed(self.partitions).get(&partition) != Some(&0) {
                    return false;
                }
                let (next, text) = self.client.checkpoint(partition);
                longest = longest.max(text.len());
                Metadata::decode(text.as_bytes(), NextOffset(next)).unwrap().finished.count() == each
            })
        })
        .await;
        longest
    }
}

/// How often tasks were dispatched beyond the first time.
fn repeats(counts: &BTreeMap<(i32, i64), usize>) -> BTreeMap<(i32, i64), usize> {
    counts.iter().filter(|(_, count)| **count > 1).map(|(task, count)| (*task, *count - 1)).collect()
}

/// One task that does not end, fifty thousand behind it: they cost bytes, not repeats.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_finished_behind_a_slow_one_cost_bytes_not_repeats() {
    const BEHIND: usize = 50_000;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("behind", broker, 1, 1 + BEHIND).await;
    // The work is none: with the default the worker would mostly wait for messages.
    let crew = Crew::new(&broker.bootstrap, &scene.topics, &[("KAFKA_MAX_POLL_RECORDS", "50000")]);
    let first = crew.worker().await;
    let longest = scene.wait_until_remembered(BEHIND as u64).await;
    assert!(longest < 100, "{longest} bytes");
    first.stop().await.unwrap();
    assert_eq!(crew.dispatches.tasks(), 1 + BEHIND);

    crew.release();
    let second = crew.worker().await;
    scene.client.wait_for_no_lag(1).await;
    assert_eq!(second.stop().await.unwrap().failed, 1, "the held one, and no other");
    assert_eq!(repeats(&crew.dispatches.counts()), BTreeMap::from([((0, 0), 1)]));
    assert_eq!(scene.client.checkpoint(0), (1 + BEHIND as i64, String::new()), "nothing is left to remember");
}

/// Two workers, partitions that go to and fro: only the held tasks begin again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_finished_is_not_run_again_across_rebalances() {
    const PARTITIONS: i32 = 4;
    const TASKS: usize = 4_000;
    let Some(broker) = apache() else { return };
    let scene = Scene::set("handed-over", broker, PARTITIONS, TASKS).await;
    let crew = Crew::new(&broker.bootstrap, &scene.topics, &[]);
    let first = crew.worker().await;
    let each = (TASKS / PARTITIONS as usize - 1) as u64;
    scene.wait_until_remembered(each).await;
    assert_eq!(repeats(&crew.dispatches.counts()), BTreeMap::new());

    // The second one takes some of the partitions: it begins their held tasks.
    let second = crew.worker().await;
    let begun_again = || crew.dispatches.counts().values().map(|count| count - 1).sum::<usize>();
    kit::eventually("partitions go over", || begun_again() >= 1).await;
    let began = repeats(&crew.dispatches.counts()).len();
    assert!(began < PARTITIONS as usize, "some stay");
    // And they come back, to a worker that finishes everything.
    second.stop().await.unwrap();
    kit::eventually("partitions come back", || begun_again() >= 2 * began).await;
    scene.wait_until_remembered(each).await;
    crew.release();
    scene.client.wait_for_no_lag(PARTITIONS).await;
    first.stop().await.unwrap();
    let counts = crew.dispatches.counts();
    assert_eq!(counts.len(), TASKS);
    assert!(repeats(&counts).keys().all(|(_, offset)| *offset == 0), "{:?}", repeats(&counts));
}

/// What others wrote beside the commit is left aside, and does not stop anyone.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_someone_else_is_ignored() {
    const TASKS: usize = 9;
    let Some(broker) = apache() else { return };
    let of_the_future = "pipeline:CQAB";
    // Written for the offset 0, which it does not stand beside: a tool copied it.
    let finished = [1, 2].into_iter().map(pipeline::task::Offset).collect();
    let copied = Metadata { finished, ..Metadata::default() }.encode(NextOffset(0));
    let scene = Scene::set("foreign", broker, 3, TASKS).await;
    for (partition, next, text) in [(0, 0, "someone else's"), (1, 0, of_the_future), (2, 1, &copied)] {
        scene.client.commit(partition, next, text.as_bytes());
    }
    let crew = Crew::new(&broker.bootstrap, &scene.topics, &[]);
    crew.release();
    let worker = crew.worker().await;
    scene.client.wait_for_no_lag(3).await;
    worker.stop().await.unwrap();
    let mut expected: BTreeMap<(i32, i64), usize> =
        (0..TASKS as i64).map(|number| (((number % 3) as i32, number / 3), 1)).collect();
    expected.remove(&(2, 0));
    assert_eq!(crew.dispatches.counts(), expected, "every task behind the commits ran, once");
}

/// Bytes that are no text: Apache Kafka would replace them, other brokers give them back.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_no_text_is_ignored() {
    let topics = Topics::new("no-text");
    let cluster = mock(&topics, 1);
    let client = Client::new(&cluster.bootstrap_servers(), &topics);
    client.send(&[task("a.csv"), task("b.csv")], 1).await;
    client.commit(0, 1, b"\xff\xfe\x00pipeline:");
    let crew = Crew::new(&cluster.bootstrap_servers(), &topics, &[]);
    let worker = crew.worker().await;
    client.wait_for_no_lag(1).await;
    worker.stop().await.unwrap();
    assert_eq!(crew.dispatches.counts(), BTreeMap::from([((0, 1), 1)]));
}

/// A broker that does not tell at once what was committed is asked again: nothing begins without that.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_tell_what_was_committed_is_asked_again() {
    let topics = Topics::new("untold");
    let cluster = mock(&topics, 1);
    let client = Client::new(&cluster.bootstrap_servers(), &topics);
    client.send(&["a.csv", "b.csv", "c.csv"].map(task), 1).await;
    let finished = [1].into_iter().map(pipeline::task::Offset).collect();
    let text = Metadata { finished, ..Metadata::default() }.encode(NextOffset(0));
    client.commit(0, 0, text.as_bytes());
    refuse_restores(&cluster, 2);
    let crew = Crew::new(&cluster.bootstrap_servers(), &topics, &[]);
    let worker = crew.worker().await;
    kit::eventually("the last one", || crew.dispatches.counts().contains_key(&(0, 2))).await;
    client.wait_for_no_lag(1).await;
    worker.stop().await.unwrap();
    assert_eq!(crew.dispatches.counts(), BTreeMap::from([((0, 0), 1), ((0, 2), 1)]));
}
