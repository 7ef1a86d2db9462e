//! One table: stage × the way it fails → what becomes of the task, what is published, what may be committed.
//!
//! Three tasks in one partition; the middle one is hit. The first and the last must be untouched by it.

use std::sync::Arc;

use kit::faulty::{Fault, Faulty};
use kit::rig::{Outcome, Rig, SHORT, task};
use pipeline::failure::{Kind, Stage};
use pipeline::path::Stages;
use pipeline::publish::ResultStatus;
use pipeline::task::{NextOffset, Partition};

/// The task that is hit.
const VICTIM: &str = "victim.csv";
/// More often than the worker tries.
const ALWAYS: u32 = u32::MAX;
/// The tries of a task in these tests.
const ATTEMPTS: u32 = 3;

/// What must become of the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A success, at this try.
    Success { attempt: u32 },
    /// A failure of this kind, published at this try.
    Failed { kind: Kind, attempt: u32 },
    /// Nothing is published or finished, and the worker stops with this kind.
    Stopped { kind: Kind },
}
use Expect::{Failed, Stopped, Success};

const STAGES: [Stage; 4] = [Stage::Download, Stage::Parse, Stage::Upload, Stage::Publish];

async fn run(stage: Stage, times: u32, fault: Fault) -> (Rig, Outcome) {
    let attempts = ATTEMPTS.to_string();
    let rig = Rig::new(&[("PIPELINE_ATTEMPTS_MAX", &attempts)]);
    for key in ["first.csv", VICTIM, "last.csv"] {
        rig.put(key, "a\n1\n").await;
    }
    let mut stages = rig.stages();
    if matches!(fault, Fault::Hang) {
        set_deadline(&mut stages, stage);
    }
    insert(&mut stages, stage, times, fault);
    let source = rig.source(&["first.csv", VICTIM, "last.csv"].map(task), 1);
    let outcome = rig.run_with(source, stages, std::future::pending()).await;
    (rig, outcome)
}

fn insert(stages: &mut Stages, stage: Stage, times: u32, fault: Fault) {
    match stage {
        Stage::Download => {
            stages.download = Faulty::around(Arc::clone(&stages.download), stage, VICTIM, times, fault);
        }
        Stage::Parse => stages.parse = Faulty::around(Arc::clone(&stages.parse), stage, VICTIM, times, fault),
        Stage::Upload => {
            stages.upload = Faulty::around(Arc::clone(&stages.upload), stage, VICTIM, times, fault)
        }
        Stage::Publish => {
            stages.publish = Faulty::around(Arc::clone(&stages.publish), stage, VICTIM, times, fault)
        }
        Stage::Claim | Stage::Commit => unreachable!("no stage of the path"),
    }
}

fn set_deadline(stages: &mut Stages, stage: Stage) {
    let bounds = &mut stages.bounds;
    *match stage {
        Stage::Download => &mut bounds.download_timeout,
        Stage::Parse => &mut bounds.parse_timeout,
        Stage::Upload => &mut bounds.upload_timeout,
        _ => &mut bounds.publish_timeout,
    } = SHORT;
}

fn check(rig: &Rig, outcome: &Outcome, expect: Expect, case: &str) {
    let published: Vec<_> = rig
        .results_of(VICTIM)
        .into_iter()
        .map(|result| (result.status, result.error_kind, result.task.attempt))
        .collect();
    let failed = |kind: Kind| Some(kind.as_str().to_owned());
    let dead: Vec<_> = rig.results.dead_letters();
    let dead: Vec<_> = dead.iter().map(|letter| (letter.kind.as_str(), letter.attempts)).collect();
    match expect {
        Failed { kind, attempt } => assert_eq!(dead, [(kind.as_str(), attempt)], "{case}"),
        Success { .. } | Stopped { .. } => assert_eq!(dead, [], "{case}: only what failed for good is dead"),
    }
    match expect {
        Success { attempt } => assert_eq!(published, [(ResultStatus::Success, None, attempt)], "{case}"),
        Failed { kind, attempt } => {
            assert_eq!(published, [(ResultStatus::Failed, failed(kind), attempt)], "{case}");
        }
        Stopped { kind } => {
            assert_eq!(published, [], "{case}");
            assert_eq!(outcome.report.as_ref().unwrap_err().kind, kind, "{case}");
            let [(0, committable)] = outcome.committable[..] else { panic!("{case}: one partition") };
            assert!(committable <= NextOffset(1), "{case}: nothing passes the victim, {committable:?}");
            return;
        }
    }
    assert!(outcome.report.is_ok(), "{case}: {outcome:?}");
    assert_eq!(outcome.committable, [(0, NextOffset(3))], "{case}: every task is finished");
    for bystander in ["first.csv", "last.csv"] {
        let [result] = &rig.results_of(bystander)[..] else { panic!("{case}: one result of {bystander}") };
        assert_eq!((result.status, result.task.attempt), (ResultStatus::Success, 1), "{case}: {bystander}");
    }
}

/// stage, how often, fault → expected. The stages of the work behave alike; publishing cannot report itself.
#[tokio::test]
async fn every_stage_times_every_fault() {
    for stage in STAGES {
        let work = stage != Stage::Publish;
        let table = [
            ("an error that passes", 1, Fault::Error(Kind::StorageUnavailable), Success { attempt: 2 }),
            (
                "an error that could pass, and does not",
                ALWAYS,
                Fault::Error(Kind::StorageUnavailable),
                match work {
                    true => Failed { kind: Kind::StorageUnavailable, attempt: ATTEMPTS },
                    false => Stopped { kind: Kind::StorageUnavailable },
                },
            ),
            (
                "an error that never passes",
                ALWAYS,
                Fault::Error(Kind::MalformedFile),
                match work {
                    true => Failed { kind: Kind::MalformedFile, attempt: 1 },
                    false => Stopped { kind: Kind::MalformedFile },
                },
            ),
            (
                "an error that no task survives",
                1,
                Fault::Error(Kind::PermissionDenied),
                Stopped { kind: Kind::PermissionDenied },
            ),
            // Tries are not counted, so none are missing when it ends.
            ("an outage longer than all tries", 7, Fault::Error(Kind::StorageDown), Success { attempt: 1 }),
            ("a timeout that passes", 1, Fault::Hang, Success { attempt: 2 }),
            (
                "a timeout that does not",
                ALWAYS,
                Fault::Hang,
                match work {
                    true => Failed { kind: Kind::TimedOut, attempt: ATTEMPTS },
                    false => Stopped { kind: Kind::TimedOut },
                },
            ),
            (
                "a panic",
                ALWAYS,
                Fault::Panic,
                match work {
                    true => Failed { kind: Kind::Panicked, attempt: 1 },
                    false => Stopped { kind: Kind::Panicked },
                },
            ),
        ];
        for (name, times, fault, expect) in table {
            let (rig, outcome) = run(stage, times, fault).await;
            check(&rig, &outcome, expect, &format!("{} × {name}", stage.as_str()));
        }
    }
}

/// kind → what happens to the task, for every kind there is. Written down once more on purpose: who changes the table of
/// `failure.rs` changes what operators are told.
#[tokio::test]
async fn every_kind_has_its_consequence() {
    use Kind::*;
    /// A new try, up to the last one; at once for good; the worker stops; a new try without end.
    #[derive(Clone, Copy)]
    enum Row {
        Retry,
        Reject,
        Fatal,
        Outage,
    }
    let table = [
        (NotATask, Row::Reject),
        (UnaddressableKey, Row::Reject),
        (ForbiddenLocation, Row::Reject),
        (Forbidden, Row::Reject),
        (NotFound, Row::Reject),
        (UnsupportedFormat, Row::Reject),
        (MalformedFile, Row::Reject),
        (CorruptFile, Row::Reject),
        (LimitExceeded, Row::Reject),
        (Panicked, Row::Reject),
        (KilledWorker, Row::Reject),
        (ObjectChanged, Row::Retry),
        (StorageUnavailable, Row::Retry),
        (StorageDown, Row::Outage),
        (UploadUnverified, Row::Retry),
        (TimedOut, Row::Retry),
        (Cancelled, Row::Retry),
        (CommitUnconfirmed, Row::Retry),
        (ResultUndelivered, Row::Retry),
        (PermissionDenied, Row::Fatal),
        (Misconfigured, Row::Fatal),
        (BrokerRefused, Row::Fatal),
    ];
    for kind in Kind::ALL {
        let rows = table.iter().filter(|(other, _)| other == kind).count();
        assert_eq!(rows, 1, "{kind:?} has a row");
    }
    for (kind, row) in table {
        let (times, expect, retriable) = match row {
            Row::Retry => (ALWAYS, Failed { kind, attempt: ATTEMPTS }, true),
            Row::Reject => (ALWAYS, Failed { kind, attempt: 1 }, false),
            Row::Fatal => (1, Stopped { kind }, false),
            // More often than there are tries, and still the first one when it ends.
            Row::Outage => (ATTEMPTS + 2, Success { attempt: 1 }, true),
        };
        let (rig, outcome) = run(Stage::Parse, times, Fault::Error(kind)).await;
        check(&rig, &outcome, expect, kind.as_str());
        for result in rig.results_of(VICTIM).iter().filter(|result| result.error.is_some()) {
            assert_eq!(result.retriable, Some(retriable), "{}", kind.as_str());
            assert_eq!(result.stage.as_deref(), Some("parse"));
        }
    }
}

/// Tasks that wait for their next try hold no place in any stage: with one place in each, and pauses that never end in
/// a test's time, everything else of the partition is done.
#[tokio::test]
async fn waiting_for_another_try_blocks_nothing() {
    let hour = "3600000";
    let one = [
        ("PIPELINE_RETRY_MIN_MS", hour),
        ("PIPELINE_RETRY_MAX_MS", hour),
        ("POOL_SIZE", "1"),
        ("PIPELINE_DOWNLOADS_MAX", "1"),
        ("PIPELINE_UPLOADS_MAX", "1"),
        ("PIPELINE_PUBLISHES_MAX", "1"),
    ];
    for stage in STAGES {
        let rig = Rig::new(&one);
        let mut tasks = Vec::new();
        // More that fail than any stage has places.
        for number in 0..20 {
            for key in [format!("{number}.{VICTIM}"), format!("{number}.csv")] {
                rig.put(&key, "a\n1\n").await;
                tasks.push(task(&key));
            }
        }
        let mut stages = rig.stages();
        insert(&mut stages, stage, ALWAYS, Fault::Error(Kind::StorageUnavailable));
        let results = rig.results.clone();
        let others = async move { kit::eventually("the others", || results.messages().len() == 20).await };
        let outcome = rig.run_with(rig.source(&tasks, 1), stages, others).await;
        let case = stage.as_str();
        assert_eq!(outcome.report.unwrap().succeeded, 20, "{case}");
        assert_eq!(outcome.committable, [(0, NextOffset(0))], "{case}: the first waits, and is not finished");
        assert!(rig.results.dead_letters().is_empty(), "{case}");
    }
}

/// The fourth column of the table: the partition is lost while a stage works. Nobody publishes, nothing is
/// committed any more, the worker goes on.
#[tokio::test]
async fn every_stage_times_cancellation() {
    for stage in STAGES {
        let rig = Rig::default();
        for key in ["first.csv", VICTIM] {
            rig.put(key, "a\n1\n").await;
        }
        // Two partitions: the victim is alone in the second one.
        let source = rig.source(&["first.csv", VICTIM].map(task), 2);
        let intake = Arc::clone(&source.intake);
        let lost = Partition { topic: "memory".into(), id: 1 };
        let mut stages = rig.stages();
        let loses = {
            let intake = Arc::clone(&intake);
            Fault::Meanwhile(Arc::new(move || intake.lose(std::slice::from_ref(&lost))))
        };
        insert(&mut stages, stage, 1, loses);
        let outcome = rig.run_with(source, stages, std::future::pending()).await;
        let case = stage.as_str();
        assert_eq!(outcome.report.unwrap().failed, 0, "{case}");
        assert_eq!(outcome.committable, [(0, NextOffset(1))], "{case}: the lost partition has no books");
        assert_eq!(rig.results_of(VICTIM), [], "{case}");
        assert_eq!(rig.results_of("first.csv").len(), 1, "{case}");
    }
}
