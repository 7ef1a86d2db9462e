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
