//! Tests of the intake.

use super::*;

fn partition(id: i32) -> Partition {
    Partition { topic: "tasks".into(), id }
}

fn receive(intake: &Arc<Intake>, id: i32, offset: i64) -> Result<Claim, Refused> {
    intake.receive(Position { partition: partition(id), offset: Offset(offset) }, Arc::default())
}

#[test]
fn pauses_at_a_bound_and_resumes_when_a_quarter_is_free() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    let mut claims: Vec<Claim> = (0..4).map(|offset| receive(&intake, 0, offset).unwrap()).collect();
    assert_eq!(intake.paused().len(), 1);
    claims.pop().unwrap().finish().unwrap();
    assert_eq!(intake.paused().len(), 0);
    assert!(!at_bound(true, 0, 1), "a bound of one must not pause for ever");
}

#[test]
fn a_slow_task_pauses_only_its_own_partition() {
    let intake = Intake::new(Bounds { tasks_max: 100, window_max: 8, deaths_max: 3 });
    intake.assign(partition(0));
    intake.assign(partition(1));
    let _slow = receive(&intake, 0, 0).unwrap();
    let _other = receive(&intake, 1, 0).unwrap();
    for offset in 1..8 {
        receive(&intake, 0, offset).unwrap().finish().unwrap();
    }
    assert_eq!(intake.paused(), BTreeSet::from([partition(0)]));
    assert_eq!(intake.live(), 2);
}

/// Every 16th offset is finished, so that each costs two bytes.
fn finish_sparsely(intake: &Arc<Intake>, numbers: std::ops::RangeInclusive<i64>) {
    for number in numbers {
        receive(intake, 0, number * 16).unwrap().finish().unwrap();
    }
}

#[test]
fn a_map_near_the_brokers_limit_pauses_its_partition_until_the_position_moves() {
    let intake = Intake::new(Bounds { tasks_max: 100_000, window_max: 100_000, deaths_max: 3 });
    intake.assign(partition(0));
    let slow = receive(&intake, 0, 0).unwrap();
    finish_sparsely(&intake, 1..=1_100);
    assert_eq!(intake.paused().len(), 0);
    finish_sparsely(&intake, 1_101..=1_200);
    assert_eq!(intake.paused().len(), 1, "three quarters of what a broker takes");
    // What was received before the pause, and ends in the worst order.
    let block: Vec<Claim> = (20_000..20_500).map(|offset| receive(&intake, 0, offset).unwrap()).collect();
    for claim in block.into_iter().step_by(2) {
        claim.finish().unwrap();
    }
    let checkpoint = &intake.checkpoints()[0].1;
    assert!(checkpoint.metadata.len() <= METADATA_BYTES_MAX);
    let read = Metadata::decode(checkpoint.metadata.as_bytes(), checkpoint.next).unwrap();
    assert_eq!(read.finished.count(), 1_200 + 250, "all of it is still remembered");
    slow.finish().unwrap();
    assert_eq!(intake.paused().len(), 0);
}

#[test]
fn a_map_that_is_restored_full_does_not_pause_what_it_waits_for() {
    let (next, finished) =
        (NextOffset(0), (1..=1_300).map(|number| crate::task::Offset(number * 16)).collect());
    let intake = Intake::new(Bounds { tasks_max: 100, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    intake.restore(&partition(0), next, Metadata { finished, ..Metadata::default() });
    assert_eq!(intake.paused().len(), 0);
    receive(&intake, 0, 0).unwrap().finish().unwrap();
    assert_eq!(receive(&intake, 0, 16).unwrap_err(), Refused::AlreadyFinished);
    assert_eq!(intake.paused().len(), 0, "nothing but the rest of it can move the position");
    assert_eq!(intake.live(), 0);
}

#[test]
fn a_dropped_claim_frees_its_place_but_not_its_offset() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    drop(receive(&intake, 0, 5).unwrap());
    receive(&intake, 0, 6).unwrap().finish().unwrap();
    assert_eq!(intake.live(), 0);
    assert_eq!(intake.committable(), vec![(partition(0), NextOffset(5))]);
}

#[test]
fn leaving_waits_for_live_claims_and_a_late_one_is_fenced() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    let first = receive(&intake, 0, 0).unwrap();
    let late = receive(&intake, 0, 1).unwrap();
    let finisher = std::thread::spawn(move || {
        first.finish().unwrap();
        late
    });
    let late_claim = finisher.join().unwrap();
    let checkpoints = intake.leave(&[partition(0)], Duration::ZERO, false);
    assert_eq!(checkpoints, [(partition(0), Checkpoint { next: NextOffset(1), metadata: String::new() })]);
    assert_eq!(late_claim.hold(), Hold::Lost);
    assert_eq!(late_claim.finish(), Err(Fenced));
    assert_eq!(intake.live(), 0);
}

#[test]
fn nothing_is_received_after_the_end() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    intake.drain();
    assert_eq!(receive(&intake, 0, 0).unwrap_err(), Refused::Closed);
    assert_eq!(intake.live(), 0);
}

#[test]
fn leaving_ends_as_soon_as_the_last_claim_is_settled() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    let claim = receive(&intake, 0, 0).unwrap();
    let (leaving, waits) = std::sync::mpsc::channel();
    let other = Arc::clone(&intake);
    let leaver = std::thread::spawn(move || {
        leaving.send(()).unwrap();
        other.leave(&[partition(0)], Duration::from_secs(3600), false)
    });
    waits.recv().unwrap();
    claim.finish().unwrap();
    assert_eq!(leaver.join().unwrap()[0].1.next, NextOffset(1));
}

/// Committed, lag, and what holds partition 0.
fn facts(intake: &Intake) -> (Option<i64>, Option<u64>, Holder) {
    let [(_, facts)] = &intake.facts()[..] else { panic!("one partition") };
    (facts.committed.map(|next| next.0), facts.lag, facts.holder.clone())
}

fn reach(fetched: i64, end: i64) -> Option<Reach> {
    Some(Reach { fetched: NextOffset(fetched), end: NextOffset(end) })
}

#[test]
fn what_holds_a_partition_is_known_at_every_step() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    assert_eq!(intake.facts(), []);
    intake.assign(partition(0));
    assert_eq!(facts(&intake), (None, None, Holder::Messages), "nothing is known");
    intake.see_reach(&partition(0), reach(3, 9));
    assert_eq!(facts(&intake), (None, Some(6), Holder::Messages));
    intake.restore(&partition(0), NextOffset(5), Metadata::default());
    assert_eq!(facts(&intake), (Some(5), Some(4), Holder::Messages), "and they do not come");

    let position = Position { partition: partition(0), offset: Offset(5) };
    let message = Message::of(bytes::Bytes::from_static(br#"{"key":"slow.csv"}"#));
    let mut slow = intake.receive(position, Arc::new(message)).unwrap();
    let other = receive(&intake, 0, 6).unwrap();
    let task = |stage, attempt, key: Option<&str>| Holder::Task {
        offset: Offset(if key.is_some() { 5 } else { 6 }),
        stage,
        attempt,
        key: key.map(str::to_owned),
    };
    assert_eq!(facts(&intake), (Some(5), Some(4), task(Stage::Claim, 1, Some("slow.csv"))));
    slow.attempt = 2;
    slow.enter(Stage::Parse);
    other.enter(Stage::Publish);
    assert_eq!(facts(&intake).2, task(Stage::Parse, 2, Some("slow.csv")));
    slow.finish().unwrap();
    assert_eq!(facts(&intake), (Some(5), Some(4), task(Stage::Publish, 1, None)), "not committed yet");
    intake.see_committed(&partition(0), NextOffset(6));
    assert_eq!(facts(&intake).1, Some(3));
    other.finish().unwrap();
    assert_eq!(facts(&intake), (Some(6), Some(3), Holder::Commit));
    intake.see_committed(&partition(0), NextOffset(7));
    assert_eq!(facts(&intake), (Some(7), Some(2), Holder::Messages));

    drop(receive(&intake, 0, 8).unwrap());
    assert_eq!(facts(&intake), (Some(7), Some(2), Holder::Nobody { offset: Offset(8) }), "it was given up");
}

#[test]
fn markers_at_the_end_are_no_lag_and_an_end_that_is_not_known_is_no_end() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    intake.restore(&partition(0), NextOffset(5), Metadata::default());
    intake.see_reach(&partition(0), reach(6, 6));
    assert_eq!(facts(&intake), (Some(5), Some(0), Holder::Messages));
    intake.see_reach(&partition(0), None);
    assert_eq!(facts(&intake), (Some(5), None, Holder::Messages));
    let claim = receive(&intake, 0, 7).unwrap();
    assert_eq!(facts(&intake).1, Some(3), "what was received is lag in any case");
    intake.see_reach(&partition(0), reach(20, 20));
    assert_eq!(facts(&intake).1, Some(3));
    drop(claim);
    intake.assign(partition(0));
    assert_eq!(facts(&intake), (None, None, Holder::Messages), "another assignment knows nothing");
}

/// Whatever the commit path asks of the books is answered while a rebalance waits in them.
#[test]
fn leaving_holds_no_lock_that_the_way_to_a_commit_wants() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    for id in [0, 1] {
        intake.assign(partition(id));
    }
    let held = receive(&intake, 0, 0).unwrap();
    let before = receive(&intake, 0, 1).unwrap();
    let leaver = std::thread::spawn({
        let intake = Arc::clone(&intake);
        move || intake.leave(&[partition(0)], Duration::from_secs(3600), false)
    });
    // Set within the books: from here on the leaver waits in them.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(held.leaving());
    let (done, answer) = std::sync::mpsc::channel();
    let other = Arc::clone(&intake);
    std::thread::spawn(move || {
        let intake = other;
        before.finish().unwrap();
        let elsewhere = receive(&intake, 1, 0).unwrap();
        let (position, generation) = (elsewhere.position().clone(), elsewhere.generation());
        let ahead = intake.ahead([(&position, generation)]);
        intake.confirm([(&position, generation)], ahead);
        intake.say([(&partition(1), &Watch::default())].into_iter());
        intake.urge();
        let _ = (intake.is_urged(), intake.is_told(), intake.told(&partition(1)), intake.facts());
        intake.see_committed(&partition(1), NextOffset(1));
        let paused = intake.paused();
        done.send((intake.checkpoints().len(), intake.committable().len(), paused.len())).unwrap();
    });
    let answer = answer.recv_timeout(Duration::from_secs(60)).expect("the books answer");
    assert_eq!(answer, (2, 2, 0));
    assert!(!leaver.is_finished(), "and the rebalance waits for what is at work");
    held.finish().unwrap();
    let checkpoints = leaver.join().unwrap();
    assert_eq!(checkpoints, [(partition(0), Checkpoint { next: NextOffset(2), metadata: String::new() })]);
}

/// A transaction that is confirmed after its partition came back to this worker: what it says is about the assignment before.
#[test]
fn what_was_committed_under_another_assignment_is_not_booked() {
    let intake = Intake::new(Bounds { tasks_max: 4, window_max: 100, deaths_max: 3 });
    intake.assign(partition(0));
    let claim = receive(&intake, 0, 0).unwrap();
    let task = (claim.position().clone(), claim.generation());
    let ahead = intake.ahead([(&task.0, task.1)]);
    assert_eq!(ahead.checkpoints.len(), 1);
    intake.assign(partition(0));
    let again = receive(&intake, 0, 0).unwrap();
    intake.confirm([(&task.0, task.1)], ahead);
    assert_eq!(intake.told(&partition(0)), None, "nothing is told of this one");
    assert_eq!(facts(&intake).0, Some(0), "nor committed");
    assert_eq!(intake.committable(), [(partition(0), NextOffset(0))], "nor finished");
    again.finish().unwrap();
}
