//! Invariant 9: a file that kills its worker does not kill the fleet for ever, and no other file is blamed for it.
//!
//! Real processes on Apache Kafka, whose parser aborts on some keys; who dies is started again.

use std::collections::BTreeSet;

use kit::kafka::{Apache, Client, Topics, apache};
use kit::live::{variables, with};
use kit::obs::{ObsServer, Options};
use kit::program::Program;
use kit::rig::task;
use pipeline::publish::ResultStatus;

const PARTITIONS: i32 = 2;
const TASKS: usize = 60;
/// Deaths by which a file is condemned, in these tests.
const DEATHS_MAX: usize = 2;

/// The fleet, and what it has to do.
struct Fleet {
    client: Client,
    _server: ObsServer,
    variables: Vec<(String, String)>,
    workers: Vec<Program>,
    deaths: usize,
}

impl Fleet {
    /// So many workers with these variables, and tasks of which those with these numbers kill.
    async fn set(
        test: &str,
        broker: &Apache,
        workers: usize,
        poison: &[usize],
        more: &[(&str, &str)],
    ) -> Fleet {
        let topics = Topics::new(test);
        let buckets = vec!["in".to_owned(), "out".to_owned()];
        let server = ObsServer::start(Options { buckets, ..Options::default() }).await;
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_topics(PARTITIONS).await;
        let tasks: Vec<String> = (0..TASKS)
            .map(|number| {
                let key = if poison.contains(&number) {
                    format!("{number}.poison.csv")
                } else {
                    format!("{number}.csv")
                };
                server.put("in", &key, "a\n1\n");
                task(&key)
            })
            .collect();
        client.send(&tasks, PARTITIONS).await;
        let variables = variables(&broker.bootstrap, &topics, &server);
        let variables = with(variables, &[("PIPELINE_DEATHS_MAX", &DEATHS_MAX.to_string())]);
        let variables = with(variables, more);
        let mut fleet = Fleet { client, _server: server, variables, workers: Vec::new(), deaths: 0 };
        fleet.workers = (0..workers).map(|_| fleet.worker()).collect();
        fleet
    }

    fn worker(&self) -> Program {
        Program::start_other("deadly", &[], &self.variables)
    }

    /// Starts again who dies, until every task is finished.
    async fn work(&mut self) {
        let (client, variables) = (&self.client, &self.variables);
        let (workers, deaths) = (&mut self.workers, &mut self.deaths);
        kit::eventually("the end of all tasks", || {
            for worker in workers.iter_mut() {
                if worker.ended().is_some() {
                    *deaths += 1;
                    *worker = Program::start_other("deadly", &[], variables);
                }
            }
            client.lag(PARTITIONS).values().all(|lag| *lag == 0)
        })
        .await;
        for mut worker in self.workers.drain(..) {
            worker.signal("TERM");
            assert!(worker.wait().await.success());
        }
    }

    /// Every good task has succeeded, those that kill are dead letters that say so, and nothing else is.
    fn check(&self, poison: &[usize]) {
        let results = self.client.results();
        let of = |status| -> BTreeSet<&str> {
            let results = results.iter().filter(|result| result.status == status);
            results.map(|result| result.source.key.as_str()).collect()
        };
        assert_eq!(of(ResultStatus::Success).len(), TASKS - poison.len());
        let mut condemned: Vec<String> = Vec::new();
        for letter in self.client.dead_letters() {
            assert_eq!((letter.kind.as_str(), letter.stage.as_str()), ("killed_worker", "parse"));
            assert!(letter.error.contains(&format!("{DEATHS_MAX} workers died")), "{}", letter.error);
            condemned.push(letter.key().unwrap());
        }
        condemned.sort();
        condemned.dedup();
        let mut expected: Vec<String> = poison.iter().map(|number| format!("{number}.poison.csv")).collect();
        expected.sort();
        assert_eq!(condemned, expected, "no other is blamed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_kills_its_worker_is_condemned_and_no_other_is_blamed() {
    let Some(broker) = apache() else { return };
    let poison = [20];
    let mut fleet = Fleet::set("poison", broker, 1, &poison, &[]).await;
    fleet.work().await;
    fleet.check(&poison);
    // One that makes careful, one that makes suspects, and those that condemn.
    assert!((DEATHS_MAX..=2 + DEATHS_MAX).contains(&fleet.deaths), "{} deaths", fleet.deaths);
}

/// Two workers and two killers, in different partitions: what one leaves behind the other takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_gets_over_several() {
    let Some(broker) = apache() else { return };
    let poison = [20, 41];
    let mut fleet = Fleet::set("poisons", broker, 2, &poison, &[]).await;
    fleet.work().await;
    fleet.check(&poison);
}

/// What is said before a task begins is said in transactions, too. A worker that is always the same one ends what it
/// left open when it died.
#[tokio::test(flavor = "multi_thread")]
async fn with_exactly_once_results_it_is_condemned_as_well() {
    let Some(broker) = apache() else { return };
    let poison = [20];
    let more = [("KAFKA_EXACTLY_ONCE", "true"), ("KAFKA_GROUP_INSTANCE_ID", "the-one")];
    let mut fleet = Fleet::set("poison-once", broker, 1, &poison, &more).await;
    fleet.work().await;
    fleet.check(&poison);
    assert_eq!(fleet.client.results().len(), TASKS, "each result once");
    assert_eq!(fleet.client.dead_letters().len(), 1);
}
