//! A worker that dies of some files: what `pipeline run` is, but for a parser that aborts the process when a key
//! contains `poison`, as running out of memory would.

use std::sync::Arc;

use parsers::Limits;
use pipeline::config::{Config, WorkerType};
use pipeline::parse::{CpuPool, Parse};
use pipeline::path::Defaults;
use pipeline::storage::Storage;
use pipeline::telemetry::format::{self, Output};
use pipeline::worker;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Config { kafka, worker, storage, log, .. } =
        &Config::from_variables(&std::env::vars().collect(), WorkerType::MultiProcess)?;
    let _logs = format::start(log, Output::Stdout)?;
    let defaults =
        Defaults { source_bucket: storage.source_bucket.clone(), dest_bucket: storage.dest_bucket.clone() };
    let (source, publish) = worker::connect(kafka, worker).await?;
    let stages = worker::stages(worker, defaults, Storage::new(storage)?, publish)?;
    let mut stages = Arc::unwrap_or_clone(stages);
    let limits = Limits::default();
    stages.parse = Arc::new(Parse::with(CpuPool::new(worker.pool_size)?, move |key| {
        if key.contains("poison") {
            std::process::abort();
        }
        Ok(parsers::decoder(key, &limits))
    }));
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        terminate.recv().await;
    };
    worker::drive(source, Arc::new(stages), worker, shutdown).await?;
    Ok(())
}
