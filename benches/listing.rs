//! The generator on a bucket of many objects: objects per second and peak memory of `pipeline tasks scan`, between the
//! OBS server, which lists keys it makes on demand, and Apache Kafka, which confirms every task. Fails when a million
//! objects need more memory than ten thousand, or a task is missing.
//!
//! Linux only: the peak is the kernel's own `VmHWM`.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::{Duration, Instant};

use kit::kafka::{Apache, Client, Topics};
use kit::live::{variables, with};
use kit::obs::{ObsServer, Options};
use kit::program::Program;

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;
/// Allocators, queues and caches that fill up once. A list of a million keys would be several times as much.
const SLACK_BYTES: u64 = 32 << 20;
const PARTITIONS: i32 = 3;

struct Measured {
    seconds: f64,
    peak: u64,
}

async fn scan(broker: &Apache, objects: u64, state: Option<&str>) -> Measured {
    let topics = Topics::new("listing");
    let buckets = vec!["in".into(), "out".into()];
    let server = ObsServer::start(Options { buckets, ..Options::default() }).await;
    server.set_synthetic_listing("in", objects, |number| format!("data/2025/08/{number:09}.csv"));
    let client = Client::new(&broker.bootstrap, &topics);
    client.create_topics(PARTITIONS).await;
    let mut arguments = vec!["tasks", "scan", "--bucket", "in"];
    arguments.extend(state.map(|state| ["--state", state]).into_iter().flatten());
    let variables = with(variables(&broker.bootstrap, &topics, &server), &[]);
    let begun = Instant::now();
    let mut program = Program::start(&arguments, &variables);
    let mut peak = 0;
    let status = loop {
        peak = peak.max(program.peak_bytes().unwrap_or(0));
        if let Some(status) = program.ended() {
            break status;
        }
        assert!(begun.elapsed().as_secs() < 1200, "the scan does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let seconds = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{:?}", program.all_lines());
    let unfinished: i64 = client.lag(PARTITIONS).values().sum();
    assert_eq!(unfinished as u64, objects, "one task an object is in Kafka");
    Measured { seconds, peak }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let broker = Apache::start().expect("Apache Kafka: it needs java and mvn");
        let folder = std::env::temp_dir().join(format!("pipeline-listing-{}", std::process::id()));
        let state = folder.to_str().expect("a path of text").to_owned();
        let mut peaks = Vec::new();
        for (name, objects, state) in
            [("few", FEW, None), ("many", MANY, None), ("many, --state", MANY, Some(state.as_str()))]
        {
            let Measured { seconds, peak } = scan(&broker, objects, state).await;
            println!(
                "{name:<14} objects {objects:>8}  seconds {seconds:>6.1}  objects/s {:>7.0}  peak {:>4} MiB",
                objects as f64 / seconds,
                peak >> 20
            );
            peaks.push(peak);
        }
        let _ = std::fs::remove_file(&folder);
        assert!(peaks[1] <= peaks[0] + SLACK_BYTES, "memory grows with the number of objects");
        assert!(peaks[2] <= peaks[0] + 2 * SLACK_BYTES, "memory grows with the number of objects remembered");
    });
}
