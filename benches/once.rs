//! What exactly-once results cost: `pipeline run` as a process between Apache Kafka and the OBS server, on many small files,
//! with `KAFKA_EXACTLY_ONCE` and without, in turn. Tasks per second, from the first result to the last one.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::{Duration, Instant};

use kit::kafka::{Client, Topics, apache};
use kit::live::{variables, with};
use kit::obs::{ObsServer, Options};
use kit::program::Program;
use kit::rig::task;

const TASKS: usize = 6_000;
/// Results before the clock starts: the worker is under way.
const BEGUN: usize = 500;
const ROUNDS: usize = 5;
const PARTITIONS: i32 = 3;

async fn run(bootstrap: &str, exactly_once: bool) -> f64 {
    let topics = Topics::new("once");
    let server =
        ObsServer::start(Options { buckets: vec!["in".into(), "out".into()], ..Options::default() }).await;
    let client = Client::new(bootstrap, &topics);
    client.create_topics(PARTITIONS).await;
    let keys: Vec<String> = (0..TASKS).map(|number| format!("{number}.csv")).collect();
    for key in &keys {
        server.put("in", key, "id,name\n1,one\n2,two\n");
    }
    client.send(&keys.iter().map(|key| task(key)).collect::<Vec<_>>(), PARTITIONS).await;
    let once = [("KAFKA_EXACTLY_ONCE", if exactly_once { "true" } else { "false" })];
    let worker = Program::start(&["run"], &with(variables(bootstrap, &topics, &server), &once));
    let mut times = Vec::new();
    for count in [BEGUN, TASKS] {
        client.wait_for_count(count).await;
        times.push(Instant::now());
    }
    drop(worker);
    let took: Duration = times[1] - times[0];
    (TASKS - BEGUN) as f64 / took.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = apache().expect("Apache Kafka");
    let (mut least, mut once) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        least.push(runtime.block_on(run(&broker.bootstrap, false)));
        once.push(runtime.block_on(run(&broker.bootstrap, true)));
        println!(
            "round {round}: at least once {:.0} tasks/s, exactly once {:.0}",
            least[round - 1],
            once[round - 1]
        );
    }
    let (least, once) = (median(least), median(once));
    println!("medians: {least:.0} and {once:.0} tasks/s, ratio {:.2}", once / least);
}
