//! The whole worker in this process, on librdkafka's mock cluster and the OBS server.

use kit::dataset::{good_samples, sample};
use kit::kafka::{Client, Topics, mock};
use kit::live::variables;
use kit::obs::{Effect, Fault, ObsServer, Op, Options};
use kit::rig::task;
use pipeline::config::{Config, WorkerType};
use pipeline::publish::ResultStatus;
use pipeline::worker;
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn every_task_is_summarised_published_and_committed_through_storage_faults() {
    let topics = Topics::new("mock");
    let cluster = mock(&topics, PARTITIONS);
    let server = ObsServer::start(Options { buckets: vec!["out".to_owned()], ..Options::default() }).await;
    let client = Client::new(&cluster.bootstrap_servers(), &topics);
    let names = good_samples();
    for name in &names {
        server.put("in", name, sample(name));
    }
    for (operation, effect) in [
        (Op::Get, Effect::CutBody),
        (Op::Get, Effect::Status(503, "SlowDown")),
        (Op::Head, Effect::EmptyStatus(500)),
        (Op::Put, Effect::LostAnswer),
        (Op::Put, Effect::Status(429, "TooManyRequests")),
    ] {
        server.faults().add(Fault::new(operation, effect).times(2));
    }
    let tasks: Vec<String> = names.iter().map(|name| task(name)).collect();
    client.send(&tasks, PARTITIONS).await;

    let variables = variables(&cluster.bootstrap_servers(), &topics, &server).into_iter().collect();
    let config = Config::from_variables(&variables, WorkerType::MultiProcess).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { worker::run(&config, stop.cancelled_owned()).await }
    });
    let results = client.wait_for_results(names.len()).await;
    stop.cancel();
    let report = running.await.unwrap().unwrap();

    assert_eq!(report.succeeded, names.len() as u64);
    assert!(results.iter().all(|result| result.status == ResultStatus::Success), "{results:?}");
    assert_eq!(server.faults().left(), 0, "every fault struck");
    assert_eq!(server.keys("out").len(), names.len());
    assert!(client.lag(PARTITIONS).values().all(|lag| *lag == 0), "committed at the end");
}
