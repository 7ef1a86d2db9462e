//! A worker without broker or network: memory source, memory store, memory results.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use pipeline::config::{Config, Variables, WorkerType};
use pipeline::failure::{Failure, Stage};
use pipeline::path::{Defaults, Stages};
use pipeline::publish::ResultMessage;
use pipeline::publish::memory::Publish;
use pipeline::source::{Intake, Source, memory};
use pipeline::storage::{Bucket, Storage};
use pipeline::task::NextOffset;
use pipeline::worker::{Report, drive, intake_bounds, stages};
use serde_json::json;

/// The parts of a worker in memory.
pub struct Rig {
    /// Its configuration; change it before [`Rig::stages`].
    pub config: Config,
    /// Its storage, with the buckets `memory://in` and `memory://out`.
    pub storage: Arc<Storage>,
    /// What it published.
    pub results: Publish,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The worker's own report, or what stopped it.
    pub report: Result<Report, Failure>,
    /// The committable offset of each partition; `None` where nothing was received.
    pub committable: Vec<(i32, NextOffset)>,
}

impl Default for Rig {
    fn default() -> Self {
        Rig::new(&[])
    }
}

impl Rig {
    /// A worker with these variables on top of what a test needs.
    ///
    /// # Panics
    /// When the variables are wrong.
    pub fn new(variables: &[(&str, &str)]) -> Rig {
        let defaults = [
            ("OBS_SOURCE_BUCKET", "memory://in"),
            ("OBS_DEST_BUCKET", "memory://out"),
            ("POOL_SIZE", "2"),
            ("PIPELINE_RETRY_MIN_MS", "1"),
            ("PIPELINE_RETRY_MAX_MS", "2"),
        ];
        let variables: Variables = defaults
            .iter()
            .chain(variables)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config =
            Config::from_variables(&variables, WorkerType::MultiProcess).expect("a good configuration");
        let storage = Storage::new(&config.storage).expect("memory needs nothing");
        let results = Publish::new(config.worker.worker_type);
        Rig { config, storage, results }
    }

    /// Stores an object in `memory://in`.
    ///
    /// # Panics
    /// When the store refuses.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.bucket("memory://in").put(key, bytes.into()).await.expect("a stored object");
    }

    /// A stored summary of `memory://out`, if there is one.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn summary(&self, key: &str) -> Option<Bytes> {
        let bucket = self.bucket("memory://out");
        let meta = bucket.stat(key, Stage::Upload).await.ok()?;
        let pieces: Vec<Bytes> =
            bucket.read(key, &meta, 0).await.expect("an open object").try_collect().await.expect("its bytes");
        Some(Bytes::from(pieces.concat()))
    }

    fn bucket(&self, name: &str) -> Bucket {
        self.storage.bucket(name, Stage::Upload).expect("a configured bucket")
    }

    /// The stages, real and whole; a test may put faults around them.
    ///
    /// # Panics
    /// When the parser threads cannot be started.
    pub fn stages(&self) -> Stages {
        let storage = &self.config.storage;
        let defaults = Defaults {
            source_bucket: storage.source_bucket.clone(),
            dest_bucket: storage.dest_bucket.clone(),
        };
        let stages =
            stages(&self.config.worker, defaults, Arc::clone(&self.storage), Arc::new(self.results.clone()));
        Arc::unwrap_or_clone(stages.expect("parser threads"))
    }

    /// Opens a source of messages, spread over so many partitions.
    pub fn source(&self, messages: &[String], partitions: usize) -> Source {
        let messages = messages.iter().map(|message| Bytes::from(message.clone())).collect();
        memory::open(messages, partitions, intake_bounds(&self.config.worker))
    }

    /// Runs these messages to their end.
    pub async fn run(&self, messages: &[String], partitions: usize) -> Outcome {
        self.run_with(self.source(messages, partitions), self.stages(), std::future::pending()).await
    }

    /// Runs a source along stages until its end, or until `shutdown`.
    ///
    /// # Panics
    /// When it takes longer than [`crate::DEADLINE`].
    pub async fn run_with(
        &self,
        source: Source,
        stages: Stages,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome {
        let intake: Arc<Intake> = Arc::clone(&source.intake);
        let driving = drive(source, Arc::new(stages), &self.config.worker, shutdown);
        let report = tokio::time::timeout(crate::DEADLINE, driving).await.expect("the worker should end");
        let committable =
            intake.committable().into_iter().map(|(partition, next)| (partition.id, next)).collect();
        Outcome { report, committable }
    }

    /// What was published about one key, in order.
    pub fn results_of(&self, key: &str) -> Vec<ResultMessage> {
        self.results.messages().into_iter().filter(|message| message.source.key == key).collect()
    }
}

/// A task message for a key.
pub fn task(key: &str) -> String {
    json!({ "key": key }).to_string()
}

/// Deadline of a stage that a test lets run out: short, since it is always waited for in full.
pub const SHORT: Duration = Duration::from_millis(200);
