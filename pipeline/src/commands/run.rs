//! `pipeline run` and `pipeline worker`: a worker until a signal ends it.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::{Error, Exit, Settings};
use crate::config::WorkerType;
use crate::telemetry::format::{self, Output};
use crate::worker;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(options: Options, worker_type: WorkerType) -> Result<Exit, Error> {
    let config = options.settings.config(worker_type)?;
    let _logs = format::start(&config.log, Output::Stdout)?;
    let shutdown = shutdown().map_err(Error::io("could not listen for signals"))?;
    worker::run(&config, shutdown).await?;
    Ok(Exit::Done)
}

/// Resolves at the first SIGTERM or SIGINT. The second ends the process, with the code that a shell expects of
/// it.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            std::process::exit(code);
        });
    })
}
