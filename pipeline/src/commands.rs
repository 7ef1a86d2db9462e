//! The commands of the program. `main` parses the arguments and turns the answer into an exit code; everything
//! else happens here and below.
//!
//! Exit codes: 0 done; 1 it failed, and said why; 2 the arguments or the configuration are wrong.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Invalid, Kafka, Layers, Variables, WorkerType};
use crate::failure::Failure;
use crate::kafka::inspect::create_topics;
use crate::pattern::{Globs, Routes, Since};

mod config;
mod convert;
mod demo;
mod dlq;
mod manual;
mod merge;
mod reading;
mod results;
mod run;
mod signals;
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
    pipeline config check             whether brokers, topics and buckets can be reached\n  \
    pipeline tasks scan --prefix P    one task for each object of a bucket\n  \
    pipeline run                      a worker, configured by the environment or a .env file\n  \
    pipeline results                  what became of the tasks\n  \
    pipeline dlq list                 what failed, by kind; `dlq replay` sends it again\n\n\
    Settings, the first one wins: flags, environment, .env, pipeline.toml, defaults.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Take tasks from Kafka with a pool of parser threads
    #[command(after_help = RUN_HELP)]
    Run(run::Options),
    /// Take tasks from Kafka one at a time
    #[command(after_help = RUN_HELP)]
    Worker(run::Options),
    /// Make tasks of objects: a bucket, one file, a batch, a list of keys
    #[command(after_help = tasks::HELP)]
    Tasks(tasks::Options),
    /// Follow, filter or count the results
    #[command(after_help = results::HELP)]
    Results(results::Options),
    /// List the messages of failed tasks, or send them again
    #[command(after_help = dlq::HELP)]
    Dlq(dlq::Options),
    /// Show the settings, or check them against brokers and buckets
    Config(config::Options),
    /// Summarise files, to the terminal; no Kafka needed
    Summarize(summarize::Options),
    /// Merge what `summarize --format partial` wrote into one summary
    Merge(merge::Options),
    /// Write the rows of a file as CSV or Parquet, as they are understood
    Convert(convert::Options),
    /// Run the whole loop on this machine: broker, bucket, workers, results
    Demo(demo::Options),
    /// Print completions for a shell
    #[command(after_help = manual::COMPLETIONS_HELP)]
    Completions(manual::Completions),
    /// Print the manual page
    #[command(after_help = "Read it at once:  pipeline man | man -l -")]
    Man,
}

const RUN_HELP: &str = "Configuration: environment variables, or a .env file in the working directory.\n  \
    KAFKA_BOOTSTRAP_SERVERS  KAFKA_TOPIC_TASKS  KAFKA_RESULT_TOPIC  KAFKA_DLQ_TOPIC  KAFKA_GROUP_ID\n  \
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
    fn layers(&self) -> Result<Layers, Error> {
        self.layers_with([])
    }

    /// `flags`: those with a variable of their own, by its name.
    fn layers_with(
        &self,
        flags: impl IntoIterator<Item = (&'static str, Option<String>)>,
    ) -> Result<Layers, Error> {
        let mut variables: Variables = self.set.iter().cloned().collect();
        let given = flags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        variables.extend(given);
        Ok(Layers::of_process(variables)?)
    }
}

/// The making of topics, for commands that need them.
#[derive(Debug, Args)]
struct Topics {
    /// Create the topics that are not there
    #[arg(long)]
    create_topics: bool,
    /// Partitions of task topics that are created: as many workers can share one [default: the broker's]
    #[arg(long, value_name = "N", requires = "create_topics", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Copies of topics that are created [default: the broker's]
    #[arg(long, value_name = "N", requires = "create_topics", value_parser = clap::value_parser!(i32).range(1..))]
    replication: Option<i32>,
}

impl Topics {
    /// Creates what is missing, when that is wanted; gives the names.
    async fn create(&self, kafka: &Kafka, routes: &Routes) -> Result<Vec<String>, Error> {
        if !self.create_topics {
            return Ok(Vec::new());
        }
        let mut tasks: Vec<&str> = routes.topics().chain([kafka.topic_tasks.as_str()]).collect();
        tasks.sort_unstable();
        tasks.dedup();
        let mut created = create_topics(kafka, &tasks, self.partitions, self.replication).await?;
        let outcomes = [kafka.result_topic.as_str(), kafka.dlq_topic.as_str()];
        created.extend(create_topics(kafka, &outcomes, None, self.replication).await?);
        Ok(created)
    }
}

/// An argument that is a glob.
fn glob(text: &str) -> Result<Globs, String> {
    Globs::new([text]).map_err(|allowed| format!("must be {allowed}"))
}

/// An argument that is a time.
fn since(text: &str) -> Result<Since, String> {
    text.parse().map_err(|allowed| format!("must be {allowed}"))
}

/// A setting without which a command cannot begin.
fn missing(name: &str, allowed: &str) -> Error {
    Error::Config(ConfigError(vec![Invalid {
        name: name.to_owned(),
        value: None,
        allowed: allowed.to_owned(),
    }]))
}

/// Says something to a person beside a command's output.
fn remark(text: &str) {
    #[expect(clippy::print_stderr, reason = "beside the output")]
    {
        eprintln!("pipeline: {text}");
    }
}

/// Says what was probably misspelt.
fn warn_of_unknown(layers: &Layers) {
    let variables = layers.variables();
    for warning in layers.remarks(&crate::config::settings(&variables, WorkerType::MultiProcess)) {
        remark(&format!("warning: {warning}"));
    }
}

/// The configuration of a command for people.
fn configured(layers: &Layers) -> Result<Config, Error> {
    warn_of_unknown(layers);
    Ok(Config::from_variables(&layers.variables(), WorkerType::MultiProcess)?)
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done,
    /// It failed, and said why.
    Failed,
}

impl Exit {
    /// All is well only if all of it is.
    fn and(self, other: Exit) -> Exit {
        if self == Exit::Done { other } else { self }
    }
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
    /// Whoever read our output has gone. Nothing is wrong.
    #[error("nobody reads the output any more")]
    ReaderGone,
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
            Error::ReaderGone => ExitCode::SUCCESS,
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
            Command::Results(options) => results::run(options).await,
            Command::Dlq(options) => dlq::run(options).await,
            Command::Config(options) => config::run(options).await,
            Command::Summarize(options) => summarize::run(&options),
            Command::Merge(options) => merge::run(&options),
            Command::Convert(options) => convert::run(&options),
            Command::Demo(options) => demo::run(&options).await,
            Command::Completions(options) => manual::completions(&options),
            Command::Man => manual::man(),
        }
    });
    // What is still blocked, on a broker that does not answer say, must not hold up the exit.
    runtime.shutdown_background();
    match exit {
        Err(Error::ReaderGone) => Ok(Exit::Done),
        exit => exit,
    }
}

/// Writes to the terminal.
///
/// # Errors
/// [`Error::ReaderGone`] when nobody reads any more, as `head` does: the end of the command, and a good one.
fn print(text: &str) -> Result<(), Error> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Error::ReaderGone),
        done => done.map_err(Error::io("could not write to the terminal")),
    }
}
