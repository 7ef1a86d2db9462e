//! `pipeline run` and `pipeline worker`: a worker until a signal ends it.

use clap::Args;

use crate::commands::signals::shutdown;
use crate::commands::{Error, Exit, Settings, Topics};
use crate::config::{self, Config, WorkerType};
use crate::pattern::Routes;
use crate::telemetry::format::{self, Output};
use crate::{telemetry, worker};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    topics: Topics,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(options: Options, worker_type: WorkerType) -> Result<Exit, Error> {
    let layers = options.settings.layers()?;
    let variables = layers.variables();
    let config = Config::from_variables(&variables, worker_type)?;
    let _logs = format::start(&config.log, Output::Stdout)?;
    for warning in layers.remarks(&config::settings(&variables, worker_type)) {
        telemetry::setting_unknown(&warning);
    }
    if variables.get("DBC_FACTORY").is_some_and(|factory| !factory.is_empty()) {
        let reason = "a Python function cannot be called from here; see docs/migrating.md";
        telemetry::setting_without_effect("DBC_FACTORY", reason);
    }
    let shutdown = shutdown().map_err(Error::io("could not listen for signals"))?;
    for topic in options.topics.create(&config.kafka, &Routes::default()).await? {
        telemetry::topic_created(&topic);
    }
    worker::run(&config, shutdown).await?;
    Ok(Exit::Done)
}
