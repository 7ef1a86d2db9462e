//! The path on memory source and memory store: what goes in, what comes out, and within which bounds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use kit::dataset::{good_samples, sample};
use kit::rig::{Rig, task};
use parsers::{Decode, Limits, ParquetRows, Reading};
use pipeline::failure::Failure;
use pipeline::path::{Job, Work};
use pipeline::publish::ResultStatus;
use pipeline::task::NextOffset;
use pipeline::worker::Report;
use serde_json::Value;
use tokio::sync::Notify;

#[tokio::test]
async fn every_sample_becomes_a_stored_summary_and_one_result() {
    let rig = Rig::default();
    let names = good_samples();
    for name in &names {
        rig.put(name, sample(name)).await;
    }
    let tasks: Vec<String> = names.iter().map(|name| task(name)).collect();
    let outcome = rig.run(&tasks, 3).await;
    assert_eq!(outcome.report.unwrap(), Report { succeeded: names.len() as u64, failed: 0 });
    assert_eq!(outcome.committable, [(0, NextOffset(4)), (1, NextOffset(4)), (2, NextOffset(4))]);
    for name in &names {
        let [result] = &rig.results_of(name)[..] else { panic!("{name}: one result") };
        assert_eq!(result.status, ResultStatus::Success);
        let bytes = rig.summary(&format!("{name}.parsed.json")).await.unwrap();
        assert_eq!(result.file_info.output_size, bytes.len() as u64);
        let summary: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(summary["total_rows"].as_u64(), result.rows, "{name}");
        assert_eq!(summary["source"]["key"], name.as_str());
    }
}

/// Too large to be held: its end is read first, then the chunks of its columns.
#[tokio::test]
async fn a_large_parquet_object_says_what_its_rows_say() {
    let (reading, limits) = (Reading::default(), Limits::default());
    let rows = (0..600_000).map(|row| format!("{}.5,{}.25\n", row, row * 7 % 600_011));
    let text = format!("a,b\n{}", rows.collect::<String>());
    let read = |mut decoder: Box<dyn Decode>| {
        decoder.feed(text.as_bytes()).unwrap();
        decoder.finish().unwrap()
    };
    let told = read(reading.decoder("t.csv", &limits));
    let sink = ParquetRows::new(&told, &reading).unwrap();
    let output = sink.output();
    read(reading.rows("t.csv", &limits, Box::new(sink)));
    let file = output.take();
    assert!(file.len() > 9 << 20, "{}", file.len());

    let rig = Rig::default();
    rig.put("large.parquet", file).await;
    let outcome = rig.run(&[task("large.parquet")], 1).await;
    assert_eq!(outcome.report.unwrap(), Report { succeeded: 1, failed: 0 });
    let bytes = rig.summary("large.parquet.parsed.json").await.unwrap();
    let summary: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(summary["total_rows"], 600_000);
    for (name, stats) in &told.summary {
        let found = &summary["summary"][name];
        let told = serde_json::to_value(stats).unwrap();
        for what in ["count", "min", "max"] {
            assert_eq!(found[what], told[what], "{name} {what}");
        }
        let (found, told) = (found["mean"].as_f64().unwrap(), told["mean"].as_f64().unwrap());
        assert!((found / told - 1.0).abs() < 1e-12, "{name} {found} {told}");
    }
}

/// Invariant 7: a repeat overwrites itself.
#[tokio::test]
async fn a_repeat_stores_the_same_bytes() {
    let rig = Rig::default();
    rig.put("flights.csv", sample("flights.csv")).await;
    rig.run(&[task("flights.csv")], 1).await;
    let first = rig.summary("flights.csv.parsed.json").await.unwrap();
    rig.run(&[task("flights.csv")], 1).await;
    assert_eq!(rig.summary("flights.csv.parsed.json").await.unwrap(), first);
}

#[tokio::test]
async fn what_cannot_succeed_fails_with_a_result_and_blocks_nothing() {
    let rig = Rig::default();
    rig.put("good.csv", "a\n1\n").await;
    rig.put("corrupt.csv.gz", sample("corrupt.csv.gz")).await;
    rig.put("photo.png", sample("photo.png")).await;
    rig.put("empty.csv", "").await;
    rig.put("torn.json", "[{\"a\": 1},\n{\"a\": 2").await;
    let messages = [
        "no json".to_owned(),
        task("missing.csv"),
        task("corrupt.csv.gz"),
        task("photo.png"),
        task("a//b.csv"),
        task("empty.csv"),
        task("torn.json"),
        r#"{"key":"good.csv","bucket":"file:///etc"}"#.to_owned(),
        // Places that this worker, without OBS_SERVER, does not know.
        r#"{"key":"good.csv","bucket":"whatever"}"#.to_owned(),
        r#"{"key":"good.csv","dest_bucket":"obs://b"}"#.to_owned(),
        task("good.csv"),
    ];
    let outcome = rig.run(&messages, 1).await;
    assert_eq!(outcome.report.unwrap(), Report { succeeded: 1, failed: 10 });
    assert_eq!(outcome.committable, [(0, NextOffset(11))]);
    let kinds: Vec<(i64, Option<String>)> = {
        let mut results = rig.results.messages();
        results.sort_by_key(|result| result.task.offset);
        results.into_iter().map(|result| (result.task.offset, result.error_kind)).collect()
    };
    let expected = [
        Some("not_a_task"),
        Some("not_found"),
        Some("corrupt_file"),
        Some("unsupported_format"),
        Some("unaddressable_key"),
        Some("malformed_file"),
        Some("malformed_file"),
        Some("forbidden_location"),
        Some("forbidden_location"),
        Some("forbidden_location"),
        None,
    ];
    let expected: Vec<_> = (0..).zip(expected.map(|kind| kind.map(str::to_owned))).collect();
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_task_chooses_its_destination() {
    let rig = Rig::default();
    rig.put("a.csv", "a\n1\n").await;
    rig.run(&[r#"{"key":"a.csv","dest_key":"elsewhere/a.json"}"#.to_owned()], 1).await;
    assert!(rig.summary("elsewhere/a.json").await.is_some());
    assert!(rig.summary("a.csv.parsed.json").await.is_none());
}

/// Counts how many works of a stage are under way, and holds them until told to go on.
struct Gate<W: ?Sized> {
    work: Arc<W>,
    inside: Arc<AtomicUsize>,
    open: Arc<Notify>,
}

impl<In: Send + 'static, Out: Send + 'static, W: Work<In, Out> + ?Sized> Work<In, Out> for Gate<W> {
    fn begin(&self, job: Arc<Job>, input: In) -> BoxFuture<'static, Result<Out, Failure>> {
        let (inside, open) = (Arc::clone(&self.inside), Arc::clone(&self.open));
        let work = self.work.begin(job, input);
        async move {
            inside.fetch_add(1, Ordering::SeqCst);
            open.notified().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            work.await
        }
        .boxed()
    }
}

/// Invariant 6: neither tasks nor the window exceed their bounds, and a stage works on while the one below it is
/// stuck.
#[tokio::test]
async fn stages_fill_up_to_their_bounds_and_no_further() {
    let rig = Rig::new(&[("PIPELINE_UPLOADS_MAX", "3"), ("KAFKA_MAX_POLL_RECORDS", "20")]);
    let keys: Vec<String> = (0..50).map(|number| format!("{number}.csv")).collect();
    for key in &keys {
        rig.put(key, "a\n1\n").await;
    }
    let mut stages = rig.stages();
    let (inside, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    stages.upload =
        Arc::new(Gate { work: stages.upload, inside: Arc::clone(&inside), open: Arc::clone(&open) });
    let tasks: Vec<String> = keys.iter().map(|key| task(key)).collect();
    let source = rig.source(&tasks, 1);
    let intake = Arc::clone(&source.intake);
    let watch = async {
        kit::eventually("three uploads under way and intake at its bound", || {
            inside.load(Ordering::SeqCst) == 3 && intake.live() == 20
        })
        .await;
        // Everything is stuck behind the uploads now, and everyone has had time to go too far.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            assert!(inside.load(Ordering::SeqCst) <= 3 && intake.live() <= 20);
        }
        kit::eventually("the end", || {
            open.notify_waiters();
            intake.is_closed() && intake.live() == 0
        })
        .await;
    };
    let (outcome, ()) = tokio::join!(rig.run_with(source, stages, std::future::pending()), watch);
    assert_eq!(outcome.report.unwrap().succeeded, 50);
    let offsets: BTreeSet<i64> = rig.results.messages().iter().map(|result| result.task.offset).collect();
    assert_eq!(offsets.len(), 50);
}

/// One thread, and one file whose parse does not end: the others go on.
#[tokio::test]
async fn a_stuck_parse_stops_no_other_file_even_with_one_thread() {
    let mut rig = Rig::new(&[("POOL_SIZE", "1")]);
    rig.put("stuck.csv", "a\n1\n").await;
    let mut tasks = vec![task("stuck.csv")];
    for number in 0..20 {
        rig.put(&format!("{number}.csv"), "a\n1\n").await;
        tasks.push(task(&format!("{number}.csv")));
    }
    let mut stages = rig.stages();
    let parse = pipeline::failure::Stage::Parse;
    stages.parse = kit::faulty::Faulty::around(stages.parse, parse, "stuck", 1, kit::faulty::Fault::Hang);
    let results = rig.results.clone();
    rig.config.worker.drain_timeout = kit::rig::SHORT;
    let shutdown = async move { kit::eventually("the others", || results.messages().len() == 20).await };
    let outcome = rig.run_with(rig.source(&tasks, 1), stages, shutdown).await;
    assert_eq!(outcome.report.unwrap().succeeded, 20);
}

/// Invariant 1, and the product's promise: a slow file does not hold up the others, only their commit.
#[tokio::test]
async fn a_slow_file_blocks_no_other_and_holds_the_commit() {
    let rig = Rig::default();
    for number in 0..40 {
        rig.put(&format!("{number}.csv"), "a\n1\n").await;
    }
    let mut stages = rig.stages();
    let open = Arc::new(Notify::new());
    stages.upload = kit::faulty::Faulty::around(
        stages.upload,
        pipeline::failure::Stage::Upload,
        "0.csv.slow",
        1,
        kit::faulty::Fault::Hang,
    );
    rig.put("0.csv.slow.csv", "a\n1\n").await;
    let mut tasks = vec![task("0.csv.slow.csv")];
    tasks.extend((0..40).map(|number| task(&format!("{number}.csv"))));
    let source = rig.source(&tasks, 1);
    let intake = Arc::clone(&source.intake);
    let results = rig.results.clone();
    let shutdown = {
        let open = Arc::clone(&open);
        async move { open.notified().await }
    };
    let watch = async {
        kit::eventually("all others are published", || results.messages().len() == 40).await;
        kit::eventually("all others are finished", || intake.live() == 1).await;
        assert_eq!(intake.committable()[0].1, NextOffset(0), "the slow one holds the commit");
        open.notify_one();
    };
    let mut rig = rig;
    rig.config.worker.drain_timeout = kit::rig::SHORT;
    let (outcome, ()) = tokio::join!(rig.run_with(source, stages, shutdown), watch);
    assert_eq!(outcome.report.unwrap().succeeded, 40);
    assert_eq!(outcome.committable, [(0, NextOffset(0))], "given up, not committed");
}
