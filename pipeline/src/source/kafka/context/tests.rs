//! Tests of the callbacks, on a consumer without a broker.

use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use rdkafka::ClientConfig;

use super::*;
use crate::source::Bounds;

/// Longer than any test: a rebalance that waits for what the test holds.
const HOUR: Duration = Duration::from_secs(3600);

fn partition(id: i32) -> Partition {
    Partition { topic: "tasks".into(), id }
}

/// A consumer that holds partitions 0 and 1, as far as its books go. `commits`: or somebody else does.
fn consumer(commits: bool) -> Arc<BaseConsumer<Context>> {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "no-broker");
    // So long its end waits for a coordinator.
    config.set("session.timeout.ms", "100").set("heartbeat.interval.ms", "10");
    let consumer: BaseConsumer<Context> =
        config.create_with_context(Context::new(intake, HOUR, 3, commits)).unwrap();
    for id in [0, 1] {
        consumer.context().intake.assign(partition(id));
    }
    Arc::new(consumer)
}

fn receive(context: &Context, id: i32, offset: i64) -> Claim {
    let position = Position { partition: partition(id), offset: Offset(offset) };
    context.intake.receive(position, Arc::default()).unwrap()
}

/// Revokes partition 0, on a thread of its own; comes back when that waits.
fn revoke(consumer: &Arc<BaseConsumer<Context>>, held: &Claim) -> JoinHandle<()> {
    let other = Arc::clone(consumer);
    let revoke = std::thread::spawn(move || {
        let mut list = list_of(&[partition(0)]);
        let event = RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
        other.context().rebalance(&other, event, &mut list);
    });
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(held.leaving());
    revoke
}

/// While a revoke waits for work in flight, everything that leads to a commit goes on: no lock of the one is wanted by the
/// other.
#[test]
fn a_revoke_that_waits_holds_no_lock_that_a_commit_wants() {
    let consumer = consumer(true);
    let held = receive(consumer.context(), 0, 0);
    let revoke = revoke(&consumer, &held);
    let (done, answer) = channel();
    let other = Arc::clone(&consumer);
    std::thread::spawn(move || {
        let context = other.context();
        let begun = receive(context, 1, 0);
        begun.finish().unwrap();
        context.commit(&*other);
        context.begin(&*other);
        context.pause_and_resume(&*other);
        let mut confirmed = TopicPartitionList::new();
        let checkpoint = Checkpoint { next: NextOffset(1), metadata: String::new() };
        add(&mut confirmed, &partition(1), Some(&checkpoint)).unwrap();
        context.commit_callback(Ok(()), &confirmed);
        context.part(&[partition(1)]);
        done.send((context.is_committed(), context.failure().is_some())).unwrap();
    });
    let answer = answer.recv_timeout(Duration::from_secs(60));
    assert_eq!(answer, Ok((false, false)), "they answer; the partition that leaves is not committed yet");
    assert!(!revoke.is_finished(), "the revoke waits for what is at work");
    held.finish().unwrap();
    revoke.join().unwrap();
    assert_eq!(consumer.context().intake.assigned(), [partition(1)]);
    let requested = consumer.context().books().requested.clone();
    let next = requested.get(&partition(0)).map(|checkpoint| checkpoint.next);
    assert_eq!(next, Some(NextOffset(1)), "and asks for the commit of what was finished, before it goes");
}

/// Without asking: the broker has given the partitions to someone else, and whatever is finished is void.
#[test]
fn partitions_that_are_lost_are_committed_for_no_more() {
    let consumer = consumer(true);
    let context = consumer.context();
    let (finished, late) = (receive(context, 0, 0), receive(context, 1, 0));
    finished.finish().unwrap();
    let mut list = list_of(&[partition(0), partition(1)]);
    // An error of the group's: no revoke, and nobody is asked.
    context.rebalance(&consumer, RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, &mut list);
    assert_eq!(context.intake.assigned(), []);
    late.finish().unwrap_err();
    context.commit(&*consumer);
    assert!(context.books().requested.is_empty(), "nothing is asked for");
}

/// A commit that the broker refused, whole or for one partition, is asked for again: else the lag would stay until the next
/// task is finished.
#[test]
fn a_refused_commit_is_asked_for_again() {
    let consumer = consumer(true);
    let context = consumer.context();
    let requested = || context.books().requested.keys().map(|partition| partition.id).collect::<Vec<_>>();
    for id in [0, 1] {
        receive(context, id, 0).finish().unwrap();
    }
    context.commit(&*consumer);
    assert_eq!(requested(), [0, 1]);
    context.commit(&*consumer);
    assert!(context.books().asked.is_some(), "it waits for the answer");

    let refusal = KafkaError::ConsumerCommit(RDKafkaErrorCode::CoordinatorLoadInProgress);
    context.commit_callback(Err(refusal), &list_of(&[partition(0), partition(1)]));
    assert!(requested().is_empty(), "forgotten, and so not taken for asked");
    context.commit(&*consumer);
    assert_eq!(requested(), [0, 1], "asked for again");

    // The answer is about one of them, and not what was asked: something older arrived last.
    let mut older = TopicPartitionList::new();
    let checkpoint = Checkpoint { next: NextOffset(0), metadata: String::new() };
    add(&mut older, &partition(0), Some(&checkpoint)).unwrap();
    context.commit_callback(Ok(()), &older);
    assert_eq!(requested(), [1]);
    context.commit(&*consumer);
    assert_eq!(requested(), [0, 1]);
    assert!(!context.is_committed());
}

/// Of a commit without an answer nobody knows what became of it. It is asked for again even when nothing new has been
/// finished since: else the lag would stay.
#[test]
fn a_commit_that_nobody_answers_is_asked_for_again() {
    let consumer = consumer(true);
    let context = consumer.context();
    for id in [0, 1] {
        receive(context, id, 0).finish().unwrap();
    }
    let mut confirmed = TopicPartitionList::new();
    let checkpoint = Checkpoint { next: NextOffset(1), metadata: String::new() };
    add(&mut confirmed, &partition(1), Some(&checkpoint)).unwrap();
    context.commit(&*consumer);
    context.commit_callback(Ok(()), &confirmed);
    let long_ago = Instant::now().checked_sub(ANSWER_TIMEOUT);
    context.books().asked = long_ago;
    context.commit(&*consumer);
    assert!(context.books().asked > long_ago, "asked for again");
    assert_eq!(context.books().requested.len(), 2);
    assert!(!context.is_committed());
}

/// With results in transactions: a partition goes when what is finished there is committed, and not before, so that whoever
/// gets it repeats nothing.
#[test]
fn a_revoke_waits_for_the_transaction_that_holds_what_is_finished() {
    let consumer = consumer(false);
    let intake = Arc::clone(&consumer.context().intake);
    let held = receive(consumer.context(), 0, 0);
    let (position, generation) = (held.position().clone(), held.generation());
    let revoke = revoke(&consumer, &held);
    // Nothing is at work any more, and a transaction is on its way.
    let ahead = intake.ahead([(&position, generation)]);
    held.finish().unwrap();
    let mut urged = false;
    while !urged {
        assert_eq!(intake.assigned(), [partition(0), partition(1)], "it does not go without its commit");
        urged = intake.is_urged();
        std::thread::yield_now();
    }
    assert!(!revoke.is_finished());
    intake.confirm([(&position, generation)], ahead);
    revoke.join().unwrap();
    assert_eq!(intake.assigned(), [partition(1)]);
}
