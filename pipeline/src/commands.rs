//! The commands of the program. `main` parses the arguments and turns the answer into an exit code; everything
//! else happens here and below.
//!
//! Exit codes: 0 done; 1 it failed, and said why; 2 the arguments or the configuration are wrong.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Variables, WorkerType};
use crate::failure::Failure;

mod demo;
mod run;
mod summarize;
mod tasks;

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(name = "pipeline", version, about, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Turns a bucket full of files into trustworthy columnar summaries.\n\n\
    Tasks, one a file, lie in a Kafka topic. Workers of one consumer group download each file from OBS, S3 or a \
    folder, summarise it, upload the summary, publish a result, and commit the offset when that is confirmed.";

const AFTER_HELP: &str = "First steps:\n  \
    pipeline demo                     the whole loop on this machine, no Kafka or OBS needed\n  \
    pipeline summarize FILE.csv       one summary, to the terminal\n  \
    pipeline tasks scan --prefix P    one task for each object of a bucket\n  \
    pipeline run                      a worker, configured by the environment or a .env file";

#[derive(Debug, Subcommand)]
enum Command {
    /// Take tasks from Kafka with a pool of parser threads
    #[command(after_help = RUN_HELP)]
    Run(run::Options),
    /// Take tasks from Kafka one at a time
    #[command(after_help = RUN_HELP)]
    Worker(run::Options),
    /// Make tasks of objects: a bucket, one file, a list of keys
    Tasks(tasks::Options),
    /// Summarise files, to the terminal; no Kafka needed
    Summarize(summarize::Options),
    /// Run the whole loop on this machine: broker, bucket, workers, results
    Demo(demo::Options),
}

const RUN_HELP: &str = "Configuration: environment variables, or a .env file in the working directory.\n  \
    KAFKA_BOOTSTRAP_SERVERS  KAFKA_TOPIC_TASKS  KAFKA_RESULT_TOPIC  KAFKA_GROUP_ID\n  \
    OBS_SERVER  OBS_ACCESS_KEY  OBS_SECRET_KEY  OBS_SOURCE_BUCKET  OBS_DEST_BUCKET\n  \
    POOL_SIZE  LOG_FORMAT=json|pretty  LOG_LANG=en|zh\n\
    All of them, with meanings and defaults: docs/configuration.md\n\n\
    SIGTERM or SIGINT: stop taking tasks, finish those in flight, commit, exit 0. A second one: exit at once.";

/// Settings from the command line.
#[derive(Debug, Args)]
struct Settings {
    /// Set a configuration variable; wins over the environment and the .env file
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must look like NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Settings {
    /// Flags win over the environment, the environment over `.env`, that over defaults.
    fn variables(&self) -> Result<Variables, Error> {
        let mut variables = Config::variables()?;
        variables.extend(self.set.iter().cloned());
        Ok(variables)
    }

    fn config(&self, worker_type: WorkerType) -> Result<Config, Error> {
        Ok(Config::from_variables(&self.variables()?, worker_type)?)
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done,
    /// It failed, and said why.
    Failed,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A task or the worker failed.
    #[error("{}", .0.chain())]
    Failure(#[from] Failure),
    /// The terminal or a file of our own.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// What happened.
        source: io::Error,
    },
    /// Something else, in its own words.
    #[error("{0}")]
    Other(String),
}

impl Error {
    fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let context = context.into();
        move |source| Error::Io { context, source }
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        match self {
            Error::Config(_) => ExitCode::from(2),
            Error::Failure(_) | Error::Io { .. } | Error::Other(_) => ExitCode::FAILURE,
        }
    }
}

/// Carries out a command.
///
/// # Errors
/// Why it could not be done.
pub fn execute(cli: Cli) -> Result<Exit, Error> {
    let runtime = tokio::runtime::Runtime::new().map_err(Error::io("could not start the runtime"))?;
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Run(options) => run::run(options, WorkerType::MultiProcess).await,
            Command::Worker(options) => run::run(options, WorkerType::SingleProcess).await,
            Command::Tasks(options) => tasks::run(options).await,
            Command::Summarize(options) => summarize::run(&options),
            Command::Demo(options) => demo::run(&options).await,
        }
    });
    // What is still blocked, on a broker that does not answer say, must not hold up the exit.
    runtime.shutdown_background();
    exit
}

/// Writes to the terminal. A reader that went away, as `head` does, is no error.
fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(Error::io("could not write to the terminal")),
    }
}
