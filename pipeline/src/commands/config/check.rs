//! The checks of `pipeline config check`: each part by itself, so that all that is wrong is seen at once.

use serde_json::{Value, json};

use crate::config::{Config, ExactlyOnce, Kafka};
use crate::failure::{Failure, Kind, Stage};
use crate::generator::TaskGenerator;
use crate::kafka::inspect::Inspector;
use crate::pattern::Routes;
use crate::storage::Storage;
use crate::transaction;

/// One thing that was looked at.
pub(super) struct Check {
    name: String,
    pub(super) outcome: Result<String, String>,
}

impl Check {
    fn new(name: impl Into<String>, outcome: Result<String, Failure>) -> Check {
        Check { name: name.into(), outcome: outcome.map_err(|failure| failure.chain()) }
    }

    pub(super) fn line(&self) -> String {
        let (state, detail) = match &self.outcome {
            Ok(detail) => ("ok", detail),
            Err(reason) => ("FAILED", reason),
        };
        format!("{state:<7} {:<12} {detail}\n", self.name)
    }

    pub(super) fn json(&self) -> Value {
        match &self.outcome {
            Ok(detail) => json!({ "check": self.name, "ok": true, "detail": detail }),
            Err(reason) => json!({ "check": self.name, "ok": false, "error": reason }),
        }
    }
}

/// Looks at everything a worker needs.
pub(super) async fn all(config: &Config, write: bool) -> Vec<Check> {
    let (kafka, routes) = (config.kafka.clone(), config.generator.routes.clone());
    let looked = tokio::task::spawn_blocking(move || brokers(&kafka, &routes)).await;
    let mut checks = looked.unwrap_or_else(|error| {
        let failure = Failure::new(Stage::Claim, Kind::Panicked, "the check panicked").because(error);
        vec![Check::new("brokers", Err(failure))]
    });
    checks.push(Check::new("source", source(config).await));
    checks.push(Check::new("destination", destination(config, write).await));
    checks
}

/// Blocks until the brokers answer, or do not.
fn brokers(kafka: &Kafka, routes: &Routes) -> Vec<Check> {
    let reached = Inspector::new(kafka).and_then(|inspector| Ok((inspector.brokers()?, inspector)));
    let (count, inspector) = match reached {
        Ok(reached) => reached,
        // Nothing else can be asked.
        Err(failure) => return vec![Check::new("brokers", Err(failure))],
    };
    let Kafka { topic_tasks, result_topic, dlq_topic, group_id, .. } = kafka;
    let topic = |topic: &str, read| {
        let partitions = inspector.partitions(topic)?;
        inspector.demand_topic(topic, read)?;
        Ok::<_, Failure>(partitions)
    };
    let tasks = topic(topic_tasks, true);
    let group = tasks.as_deref().ok().map(|partitions| {
        inspector.demand_group(group_id)?;
        inspector.lag(topic_tasks, partitions)
    });
    let described = |name: &str, partitions: Result<Vec<i32>, Failure>, may: &str| {
        partitions.map(|partitions| format!("{name}, partitions: {}, may be {may}", partitions.len()))
    };
    let mut checks = vec![
        Check::new("brokers", Ok(format!("{count} at {}", kafka.bootstrap_servers))),
        Check::new("clients", clients(kafka)),
        Check::new("tasks", described(topic_tasks, tasks, "read")),
    ];
    for (name, outcomes) in [("results", result_topic), ("dead letters", dlq_topic)] {
        checks.push(match kafka.enable_producer {
            true => Check::new(name, described(outcomes, topic(outcomes, false), "written")),
            false => Check::new(name, Ok("none are published".to_owned())),
        });
    }
    checks.extend(transactions(kafka));
    for route in routes.topics() {
        checks.push(Check::new("route", described(route, topic(route, false), "written")));
    }
    // Without its topic there is nothing to ask of the group.
    checks.extend(group.map(|lag| {
        Check::new("group", lag.map(|lag| format!("{group_id}, may be joined, {lag} tasks unfinished")))
    }));
    checks
}

/// Whether transactions can be made, if they are wanted. Where they need not be, it is no failure that they cannot.
fn transactions(kafka: &Kafka) -> Option<Check> {
    if kafka.exactly_once == ExactlyOnce::Never || !kafka.enable_producer {
        return None;
    }
    let tried = transaction::kafka::check(kafka);
    let told = tried.map(|name| format!("can be made, tried as {name}: results exactly once"));
    Some(Check::new(
        "transactions",
        match (told, kafka.exactly_once) {
            (Err(failure), ExactlyOnce::Auto) => {
                Ok(format!("cannot be made, so results at least once: {}", failure.chain()))
            }
            (told, _) => told,
        },
    ))
}

/// Options that librdkafka takes one by one may contradict each other.
fn clients(kafka: &Kafka) -> Result<String, Failure> {
    TaskGenerator::connect(kafka, Routes::default())?;
    Ok("can be made".to_owned())
}

async fn source(config: &Config) -> Result<String, Failure> {
    let Some(name) = &config.storage.source_bucket else {
        return Ok("none by default: every task must name its bucket".to_owned());
    };
    let storage = Storage::new(&config.storage)?;
    let first = storage.bucket(name, Stage::Download)?.first_key().await?;
    Ok(match first {
        Some(key) => format!("{name} lists, first {key}"),
        None => format!("{name} lists, and is empty"),
    })
}

async fn destination(config: &Config, write: bool) -> Result<String, Failure> {
    let Some(name) = &config.storage.dest_bucket else {
        return Ok("none by default: every task must name its dest_bucket".to_owned());
    };
    let bucket = Storage::new(&config.storage)?.bucket(name, Stage::Upload)?;
    if !write {
        // To be allowed to write is enough for a worker.
        bucket.demand().await?;
        return Ok(format!("{name} is there; --write tries whether it takes objects"));
    }
    // Beside the summaries, under a name that nothing else has, nor another check at the same time.
    let now = jiff::Timestamp::now().as_nanosecond();
    let key = format!("pipeline-config-check-{}-{now}", std::process::id());
    bucket.put(&key, bytes::Bytes::from_static(b"{}")).await?;
    bucket.delete(&key).await?;
    Ok(format!("{name} takes objects, and deletes them"))
}
