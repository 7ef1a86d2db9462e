//! The whole worker in this process, on librdkafka's mock cluster and the OBS server.

use kit::dataset::{good_samples, sample};
use kit::kafka::{Client, Topics, mock, refuse_commits};
use kit::live::{variables, with};
use kit::obs::{Effect, Fault, ObsServer, Op, Options};
use kit::rig::task;
use pipeline::config::{Config, WorkerType};
use pipeline::publish::ResultStatus;
use pipeline::worker;
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 3;

/// A commit that was refused is sent again by the client, after newer ones: the position must end at the newest.
#[tokio::test(flavor = "multi_thread")]
async fn refused_commits_do_not_take_the_position_back() {
    let topics = Topics::new("refused");
    let cluster = mock(&topics, 1);
    let server = ObsServer::start(Options { buckets: vec!["out".to_owned()], ..Options::default() }).await;
    let client = Client::new(&cluster.bootstrap_servers(), &topics);
    let variables = variables(&cluster.bootstrap_servers(), &topics, &server);
    let variables = with(variables, &[("KAFKA_AUTO_COMMIT_INTERVAL_MS", "10")]).into_iter().collect();
    let config = Config::from_variables(&variables, WorkerType::MultiProcess).unwrap();
    server.put("in", "a.csv", "a\n1\n");
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { worker::run(&config, stop.cancelled_owned()).await }
    });
    for sent in 1..=10 {
        client.send(&[task("a.csv")], 1).await;
        client.wait_for_results(sent).await;
    }
    client.wait_for_no_lag(1).await;
    // The next commit is refused and the one after it is not; then the client sends the refused one again. The second
    // task is done a moment after the first: before that, and after its commit.
    server.put("in", "slow.csv", "a\n1\n");
    server.faults().add(Fault::new(Op::Get, Effect::SlowBody(80)).on("slow.csv"));
    refuse_commits(&cluster, 1);
    client.send(&[task("a.csv"), task("slow.csv")], 1).await;
    client.wait_for_results(12).await;
    client.wait_for_no_lag(1).await;
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().succeeded, 12);
    assert_eq!(client.lag(1)[&0], 0, "still at the newest");
}

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
