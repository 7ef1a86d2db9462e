//! A worker that is what `pipeline run` is, made of the same public parts, but for what a test alters: its stages, its
//! source, its transactions. For programs of the kit.
//!
//! Never: a hook in the program that is shipped.

use std::error::Error;
use std::sync::Arc;

use pipeline::config::{Config, ExactlyOnce, WorkerType};
use pipeline::path::{Defaults, Outcome, Stages, Work};
use pipeline::source::{self, Source};
use pipeline::storage::Storage;
use pipeline::telemetry::{self, format};
use pipeline::transaction::kafka::KafkaTransactions;
use pipeline::transaction::{self, Transactions};
use pipeline::worker;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a worker as the environment configures it, until SIGTERM and the work in flight is settled. `wrap` may put
/// something around its transactions, if it makes any; `alter` may change its source and its stages.
///
/// # Errors
/// What stopped it, also in its log.
pub async fn run<T: Transactions>(
    wrap: impl FnOnce(KafkaTransactions) -> T,
    alter: impl FnOnce(&Config, Source, Stages) -> Result<(Source, Stages), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let config = &Config::from_variables(&std::env::vars().collect(), WorkerType::MultiProcess)?;
    let Config { kafka, worker, storage, log, .. } = config;
    let _logs = format::start(log, format::Output::Stdout)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let defaults =
        Defaults { source_bucket: storage.source_bucket.clone(), dest_bucket: storage.dest_bucket.clone() };
    let (source, publish): (_, Arc<dyn Work<Outcome, ()>>) = if kafka.exactly_once == ExactlyOnce::Always {
        let (bounds, revoke_timeout) = (worker::intake_bounds(worker), worker.revoke_timeout);
        let (source, membership) = source::kafka::open_uncommitting(kafka, bounds, revoke_timeout).await?;
        let transactions = wrap(KafkaTransactions::new(kafka, membership)?);
        let (source, publish) =
            transaction::open(transactions, source, worker.worker_type, kafka.commit_interval)?;
        (source, Arc::new(publish))
    } else {
        worker::connect(kafka, worker, false).await?
    };
    let stages = worker::stages(worker, defaults, Storage::new(storage)?, publish)?;
    let (source, stages) = alter(config, source, Arc::unwrap_or_clone(stages))?;
    let shutdown = async move {
        terminate.recv().await;
    };
    let ended = worker::drive(source, Arc::new(stages), worker, shutdown).await;
    ended.map(|_| ()).map_err(|failure| {
        telemetry::worker_failed(&failure);
        failure.into()
    })
}
