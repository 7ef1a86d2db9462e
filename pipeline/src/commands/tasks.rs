//! `pipeline tasks …`: objects become tasks.

use std::io::{self, BufRead, IsTerminal};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::commands::{Error, Exit, Settings, print};
use crate::config::{Config, ConfigError, Invalid, Variables, WorkerType};
use crate::failure::Failure;
use crate::generator::{Generator, NewTask, Report, Selection};
use crate::storage::Storage;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One task for each object of a bucket, while it is listed
    Scan(Scan),
    /// The task of one object
    File(OneFile),
    /// One task for each key in a file, or on standard input
    List(List),
}

#[derive(Debug, Args)]
struct Common {
    /// The bucket of the objects [default: SOURCE_BUCKET, OBS_SOURCE_BUCKET]
    #[arg(long)]
    bucket: Option<String>,
    /// The bucket for the summaries [default: DEST_BUCKET, the worker's OBS_DEST_BUCKET]
    #[arg(long)]
    dest_bucket: Option<String>,
    /// Print the tasks instead of sending them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Scan {
    /// Only keys that begin with this [default: FILE_PREFIX]
    #[arg(long)]
    prefix: Option<String>,
    /// At most so many tasks [default: MAX_FILES]
    #[arg(long)]
    max_files: Option<usize>,
    /// Only objects of at least so many bytes
    #[arg(long, default_value_t = 0)]
    min_size: u64,
    /// Only objects of at most so many bytes
    #[arg(long)]
    max_size: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct OneFile {
    /// The object's key [default: SINGLE_FILE]
    key: Option<String>,
    /// The key of the summary [default: DEST_KEY, KEY.parsed.json]
    #[arg(long)]
    dest_key: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct List {
    /// A file of keys, one a line; `-` is standard input
    #[arg(default_value = "-")]
    file: String,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(options: Options) -> Result<Exit, Error> {
    match options.command {
        Command::Scan(Scan { prefix, max_files, min_size, max_size, common }) => {
            let Opened { config, variables, bucket, dest_bucket } = common.open()?;
            let count_max = match (max_files, given(&variables, "MAX_FILES")) {
                (None, Some(text)) => Some(text.parse().map_err(|_| not_a_number("MAX_FILES", &text))?),
                (max_files, _) => max_files,
            };
            let prefix = prefix.or_else(|| given(&variables, "FILE_PREFIX")).unwrap_or_default();
            let selection =
                Selection { bucket, prefix, count_max, size_min: min_size, size_max: max_size, dest_bucket };
            let storage = Storage::new(&config.storage)?;
            let tasks = selection.tasks(&storage).await?;
            common.send(&config, tasks).await
        }
        Command::File(OneFile { key, dest_key, common }) => {
            let Opened { config, variables, bucket, dest_bucket } = common.open()?;
            let missing = || Error::Other("which file? name its key, or set SINGLE_FILE".to_owned());
            let key = key.or_else(|| given(&variables, "SINGLE_FILE")).ok_or_else(missing)?;
            let dest_key = dest_key.or_else(|| given(&variables, "DEST_KEY"));
            let task = NewTask { dest_bucket, dest_key, ..NewTask::new(bucket, key) };
            common.send(&config, stream::iter([Ok(task)])).await
        }
        Command::List(List { file, common }) => {
            let Opened { config, bucket, dest_bucket, .. } = common.open()?;
            let keys = read_keys(&file).map_err(Error::io(format!("could not read {file}")))?;
            let tasks = keys
                .into_iter()
                .map(|key| Ok(NewTask { dest_bucket: dest_bucket.clone(), ..NewTask::new(&bucket, key) }));
            common.send(&config, stream::iter(tasks)).await
        }
    }
}

/// A variable that is set, and not to nothing.
fn given(variables: &Variables, name: &str) -> Option<String> {
    variables.get(name).filter(|value| !value.is_empty()).cloned()
}

fn not_a_number(name: &str, value: &str) -> ConfigError {
    let invalid = Invalid {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        allowed: "a whole number".to_owned(),
    };
    ConfigError(vec![invalid])
}

/// What every command needs.
struct Opened {
    config: Config,
    variables: Variables,
    bucket: String,
    dest_bucket: Option<String>,
}

fn read_keys(file: &str) -> io::Result<Vec<String>> {
    let lines: Box<dyn BufRead> = match file {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(io::BufReader::new(std::fs::File::open(path)?)),
    };
    lines.lines().filter(|line| line.as_ref().map_or(true, |line| !line.is_empty())).collect()
}

impl Common {
    fn open(&self) -> Result<Opened, Error> {
        let mut variables = self.settings.variables()?;
        if let Some(bucket) = self.bucket.clone().or_else(|| given(&variables, "SOURCE_BUCKET")) {
            // The bucket that is scanned is the source: it may be a folder, too.
            variables.insert("OBS_SOURCE_BUCKET".to_owned(), bucket);
        }
        let config = Config::from_variables(&variables, WorkerType::MultiProcess)?;
        let missing =
            || Error::Other("which bucket? set --bucket, SOURCE_BUCKET or OBS_SOURCE_BUCKET".to_owned());
        let bucket = config.storage.source_bucket.clone().ok_or_else(missing)?;
        let dest_bucket = self.dest_bucket.clone().or_else(|| given(&variables, "DEST_BUCKET"));
        Ok(Opened { config, variables, bucket, dest_bucket })
    }

    async fn send(
        &self,
        config: &Config,
        tasks: impl stream::Stream<Item = Result<NewTask, Failure>>,
    ) -> Result<Exit, Error> {
        if self.dry_run {
            let mut tasks = std::pin::pin!(tasks);
            while let Some(task) = tasks.next().await.transpose()? {
                let line = serde_json::to_string(&task).map_err(|error| Error::Other(error.to_string()))?;
                print(&(line + "\n"))?;
            }
            return Ok(Exit::Done);
        }
        let begun = Instant::now();
        let hidden = !io::stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let progress = ProgressBar::with_draw_target(None, target);
        progress.enable_steady_tick(Duration::from_millis(100));
        let listed = tasks.inspect_ok(|_| progress.inc(1));
        let show = |report: &Report| progress.set_message(format!("listed, {} sent", report.sent));
        let report = Generator::connect(&config.kafka)?.send(listed, show).await;
        progress.finish_and_clear();
        let Report { sent, refused } = report?;
        let topic = &config.kafka.topic_tasks;
        print(&format!("{sent} tasks sent to {topic} in {:.1} s\n", begun.elapsed().as_secs_f64()))?;
        if refused == 0 {
            return Ok(Exit::Done);
        }
        print(&format!(
            "{refused} objects were left out: their keys cannot be addressed (docs/configuration.md)\n"
        ))?;
        Ok(Exit::Failed)
    }
}
