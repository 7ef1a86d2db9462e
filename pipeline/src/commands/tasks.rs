//! `pipeline tasks …`: objects become tasks.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use futures::{Stream, StreamExt, stream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::commands::signals::shutdown;
use crate::commands::{Error, Exit, Settings, Topics, configured, missing, print, remark};
use crate::config::{self, Config};
use crate::failure::Status;
use crate::generator::batch::{Batch, Job, Language};
use crate::generator::seen::Seen;
use crate::generator::{NewTask, Selection};
use crate::pattern::{Globs, Routes};
use crate::storage::Storage;

mod send;

use send::{Destination, Sending};

pub(super) const HELP: &str = "Examples:\n  \
    SOURCE_BUCKET=my-bucket FILE_PREFIX=data/2024/08/ pipeline tasks scan\n  \
    pipeline tasks scan --include '**/*.csv' --modified-since 2d --dry-run\n  \
    pipeline tasks scan --state sent.redb --watch\n  \
    SINGLE_FILE=urgent/data.csv SOURCE_BUCKET=my-bucket pipeline tasks file\n  \
    pipeline tasks batch jobs.toml --job daily-csv\n  \
    obsutil ls … | pipeline tasks list -\n\
    A task counts as sent when Kafka has confirmed it.";

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One task for each object of a bucket, while it is listed
    Scan(Box<Scan>),
    /// The task of one object
    File(OneFile),
    /// The named jobs of a file, each a scan or a list of keys
    #[command(after_help = BATCH_HELP)]
    Batch(Jobs),
    /// One task for each key in a file, or on standard input
    List(List),
}

const BATCH_HELP: &str = "A file of jobs, in TOML; YAML has the same fields:\n\n  \
    [jobs.daily-csv]\n  \
    bucket = \"input-files\"            # default: SOURCE_BUCKET\n  \
    prefix = \"data/2024/08/\"\n  \
    include = [\"**/*.csv\"]            # also: exclude, min_size, max_size, modified_since, max_files\n  \
    dest_bucket = \"processed-files\"\n  \
    route = { csv = \"csv-processing-tasks\" }\n\n  \
    [jobs.urgent]\n  \
    files = [\"urgent/data.csv\"]       # keys instead of a listing";

#[derive(Debug, Args)]
struct Common {
    /// The bucket of the objects [default: SOURCE_BUCKET, OBS_SOURCE_BUCKET]
    #[arg(long)]
    bucket: Option<String>,
    /// The bucket for the summaries [default: DEST_BUCKET, the worker's OBS_DEST_BUCKET]
    #[arg(long)]
    dest_bucket: Option<String>,
    /// Topics by type of file, such as 'csv=csv-tasks,json=json-tasks'; others go to the task topic [default: TASK_ROUTES]
    #[arg(long, value_name = "TYPE=TOPIC,…")]
    route: Option<String>,
    /// Print the tasks instead of sending them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    topics: Topics,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Scan {
    /// Only keys that begin with this [default: FILE_PREFIX]
    #[arg(long)]
    prefix: Option<String>,
    /// Only keys that match a glob; * stays within a folder, ** does not [default: FILE_INCLUDE]
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// No keys that match a glob [default: FILE_EXCLUDE]
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Only objects of at least so many bytes, such as 1MiB [default: FILE_SIZE_MIN]
    #[arg(long, value_name = "BYTES")]
    min_size: Option<String>,
    /// Only objects of at most so many bytes [default: FILE_SIZE_MAX]
    #[arg(long, value_name = "BYTES")]
    max_size: Option<String>,
    /// Only objects written since a time, a date, or so long ago (36h, 2d) [default: FILE_MODIFIED_SINCE]
    #[arg(long, value_name = "TIME")]
    modified_since: Option<String>,
    /// At most so many tasks [default: MAX_FILES]
    #[arg(long, value_name = "N")]
    max_files: Option<usize>,
    /// Remember in this file what was sent; what it knows is not sent again, so a scan goes on where it broke off
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Scan again and again for new objects, until a signal
    #[arg(long, requires = "state", conflicts_with = "dry_run")]
    watch: bool,
    /// Seconds between the scans of a watch
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "watch",
          value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
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
struct Jobs {
    /// The file of jobs: .toml, .yaml or .yml [default: tasks.toml, tasks.yaml, tasks.yml]
    file: Option<PathBuf>,
    /// Only this job; may be given several times
    #[arg(long = "job", value_name = "NAME")]
    names: Vec<String>,
    /// Remember in this file what was sent, and do not send it again
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct List {
    /// The file with the keys, one a line; `-` is standard input
    #[arg(default_value = "-")]
    file: String,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(options: Options) -> Result<Exit, Error> {
    // A first signal ends the listing; what is on its way is waited for.
    let stop = CancellationToken::new();
    let (signal, stopping) = (shutdown().map_err(Error::io("could not listen for signals"))?, stop.clone());
    tokio::spawn(async move {
        signal.await;
        stopping.cancel();
    });
    match options.command {
        Command::Scan(scan) => scan.run(&stop).await,
        Command::File(file) => file.run(&stop).await,
        Command::Batch(jobs) => jobs.run(&stop).await,
        Command::List(list) => list.run(&stop).await,
    }
}

impl Scan {
    async fn run(&self, stop: &CancellationToken) -> Result<Exit, Error> {
        let mut config = self.common.config([
            ("FILE_PREFIX", self.prefix.clone()),
            ("FILE_SIZE_MIN", self.min_size.clone()),
            ("FILE_SIZE_MAX", self.max_size.clone()),
            ("FILE_MODIFIED_SINCE", self.modified_since.clone()),
            ("MAX_FILES", self.max_files.map(|max| max.to_string())),
        ])?;
        // Not by way of the variables: a glob on the command line may have a comma.
        for (flag, globs, own) in [
            ("--include", &self.include, &mut config.generator.include),
            ("--exclude", &self.exclude, &mut config.generator.exclude),
        ] {
            if !globs.is_empty() {
                *own = Globs::new(globs).map_err(|allowed| missing(flag, &allowed))?;
            }
        }
        let selection = Selection::new(bucket(&config)?, &config.generator);
        let storage = Storage::new(&config.storage)?;
        let sending = self.common.sending(&config, &config.generator.routes, stop).await?;
        let seen = self.common.open_seen(self.state.as_deref(), &config)?;
        if !self.watch {
            let tasks = selection.tasks(&storage).await?;
            return sending.send(tasks, config.generator.count_max, seen.as_ref()).await?.conclude(stop);
        }
        let mut refused = 0;
        while !stop.is_cancelled() {
            let round = async {
                let tasks = selection.tasks(&storage).await?;
                sending.send(tasks, config.generator.count_max, seen.as_ref()).await
            };
            match round.await {
                Ok(sent) => {
                    if sent.report.sent > 0 {
                        print(&sent.line())?;
                    }
                    // Said once, and not every round.
                    if sent.report.refused != refused {
                        refused = sent.report.refused;
                        remark(sent.refusal().trim_end());
                    }
                }
                // An outage is waited for; wrong credentials and a bucket that is not there are not.
                Err(Error::Failure(failure)) if failure.kind.status() == Status::Retry => {
                    remark(&format!("{}; trying again in {} s", failure.chain(), self.every));
                }
                Err(error) => return Err(error),
            }
            let _ = tokio::time::timeout(Duration::from_secs(self.every), stop.cancelled()).await;
        }
        Ok(Exit::Done)
    }
}

impl OneFile {
    async fn run(&self, stop: &CancellationToken) -> Result<Exit, Error> {
        let flags = [("SINGLE_FILE", self.key.clone()), ("DEST_KEY", self.dest_key.clone())];
        let config = self.common.config(flags)?;
        let which = || missing("SINGLE_FILE", "set, or the key given as the argument: which file?");
        let key = config.generator.single_file.clone().ok_or_else(which)?;
        let dest_key = config.generator.dest_key.clone();
        let dest_bucket = config.generator.dest_bucket.clone();
        let task = NewTask { dest_bucket, dest_key, ..NewTask::new(bucket(&config)?, key) };
        let sending = self.common.sending(&config, &config.generator.routes, stop).await?;
        sending.send(stream::iter([Ok(task)]), None, None).await?.conclude(stop)
    }
}

impl Jobs {
    async fn run(&self, stop: &CancellationToken) -> Result<Exit, Error> {
        let config = self.common.config([])?;
        let path = self.path()?;
        let batch = self.read(&path)?;
        let jobs = batch.jobs.iter().filter(|(name, _)| self.takes(name));
        // All of them, before the first is sent.
        let jobs: Vec<(&String, Job)> = jobs
            .map(|(name, job)| Ok((name, self.settle(name, job, &config)?)))
            .collect::<Result<_, Error>>()?;
        let seen = self.common.open_seen(self.state.as_deref(), &config)?;
        let mut exit = Exit::Done;
        for (name, job) in &jobs {
            // The bucket of a job is a person's choice, as that of a scan is: it may be a folder, too.
            let settings = config::Storage { source_bucket: job.bucket.clone(), ..config.storage.clone() };
            let storage = Storage::new(&settings)?;
            let sending = self.common.sending(&config, &job.route, stop).await?;
            let sent = match &job.files {
                Some(keys) => {
                    let tasks = listed(job, keys).map(Ok);
                    sending.send(stream::iter(tasks), job.max_files, seen.as_ref()).await
                }
                None => {
                    let tasks = job.selection().tasks(&storage).await?;
                    sending.send(tasks, job.max_files, seen.as_ref()).await
                }
            }?;
            if !self.common.dry_run {
                print(&format!("{name}: "))?;
            }
            exit = exit.and(sent.conclude(stop)?);
            if stop.is_cancelled() {
                break;
            }
        }
        Ok(exit)
    }

    /// A job with everything it leaves open filled in. What is given on the command line wins.
    fn settle(&self, name: &str, job: &Job, config: &Config) -> Result<Job, Error> {
        let Common { bucket: given, dest_bucket, route, .. } = &self.common;
        let generator = &config.generator;
        let default = || generator.bucket.clone();
        let source = given.clone().or_else(|| job.bucket.clone()).or_else(default);
        let lacking = || {
            missing(&format!("jobs.{name}.bucket"), "set, or --bucket, SOURCE_BUCKET or OBS_SOURCE_BUCKET")
        };
        let by_flag = route.is_some() || job.route == Routes::default();
        Ok(Job {
            bucket: Some(source.ok_or_else(lacking)?),
            dest_bucket: dest_bucket
                .clone()
                .or_else(|| job.dest_bucket.clone())
                .or_else(|| generator.dest_bucket.clone()),
            route: if by_flag { generator.routes.clone() } else { job.route.clone() },
            ..job.clone()
        })
    }

    fn path(&self) -> Result<PathBuf, Error> {
        let usual = ["tasks.toml", "tasks.yaml", "tasks.yml"];
        let found = || usual.iter().map(PathBuf::from).find(|path| path.is_file());
        self.file.clone().or_else(found).ok_or_else(|| {
            missing(
                "tasks.toml",
                "there, or a file of jobs given as the argument; `pipeline tasks batch --help` shows one",
            )
        })
    }

    fn read(&self, path: &Path) -> Result<Batch, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(Error::io(format!("could not read the jobs in {}", path.display())))?;
        let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        let language = if is_yaml { Language::Yaml } else { Language::Toml };
        let wrong = |reason: &str| missing(&path.display().to_string(), reason);
        let batch = Batch::read(&text, language)
            .map_err(|reason| wrong(&format!("a file of jobs:\n{}", reason.trim_end())))?;
        let known: Vec<&str> = batch.jobs.keys().map(String::as_str).collect();
        match self.names.iter().find(|name| !batch.jobs.contains_key(*name)) {
            Some(name) => Err(wrong(&format!("a file with the job {name}; it has {}", known.join(", ")))),
            None => Ok(batch),
        }
    }

    fn takes(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

/// The tasks of a job that names its keys.
fn listed<'a>(job: &'a Job, keys: &'a [String]) -> impl Iterator<Item = NewTask> + 'a {
    let bucket = job.bucket.as_deref().unwrap_or_default();
    keys.iter().map(move |key| NewTask { dest_bucket: job.dest_bucket.clone(), ..NewTask::new(bucket, key) })
}

impl List {
    async fn run(&self, stop: &CancellationToken) -> Result<Exit, Error> {
        let config = self.common.config([])?;
        let bucket = bucket(&config)?;
        let dest_bucket = config.generator.dest_bucket.clone();
        let sending = self.common.sending(&config, &config.generator.routes, stop).await?;
        let mut unreadable = None;
        let keys = lines(&self.file).map_err(Error::io(format!("could not read {}", self.file)))?;
        let tasks = keys
            .filter_map(|key| std::future::ready(key.map_err(|error| unreadable = Some(error)).ok()))
            .map(|key| Ok(NewTask { dest_bucket: dest_bucket.clone(), ..NewTask::new(&bucket, key) }));
        let sent = sending.send(tasks, None, None).await?;
        match unreadable {
            Some(error) => Err(Error::io(format!("could not read {} to its end", self.file))(error)),
            None => sent.conclude(stop),
        }
    }
}

/// Lines that wait to be sent.
const LINES_MAX: usize = 1_000;

/// The lines of a file or of standard input that are not empty, read by a thread: they may come slowly.
fn lines(file: &str) -> io::Result<impl Stream<Item = io::Result<String>> + use<>> {
    let reader: Box<dyn io::Read + Send> = match file {
        "-" => Box::new(io::stdin()),
        path => Box::new(std::fs::File::open(path)?),
    };
    let (lines, arriving) = tokio::sync::mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in io::BufReader::new(reader).lines() {
            let broken = line.is_err();
            let is_empty = line.as_ref().is_ok_and(String::is_empty);
            if !is_empty && (lines.blocking_send(line).is_err() || broken) {
                break;
            }
        }
    });
    Ok(ReceiverStream::new(arriving))
}

fn bucket(config: &Config) -> Result<String, Error> {
    let which = || missing("SOURCE_BUCKET", "set, or --bucket, or OBS_SOURCE_BUCKET: which bucket?");
    config.generator.bucket.clone().ok_or_else(which)
}

impl Common {
    fn open_seen(&self, path: Option<&Path>, config: &Config) -> Result<Option<Seen>, Error> {
        // A dry run leaves nothing behind.
        let path = path.filter(|path| !self.dry_run || path.exists());
        Ok(path.map(|path| Seen::open(path, &config.kafka.topic_tasks)).transpose()?)
    }

    fn config(
        &self,
        flags: impl IntoIterator<Item = (&'static str, Option<String>)>,
    ) -> Result<Config, Error> {
        let common = [
            ("SOURCE_BUCKET", self.bucket.clone()),
            ("DEST_BUCKET", self.dest_bucket.clone()),
            ("TASK_ROUTES", self.route.clone()),
        ];
        let mut config = configured(&self.settings.layers_with(common.into_iter().chain(flags))?)?;
        // The bucket that is scanned is the source: it may be a folder, too.
        config.storage.source_bucket = config.generator.bucket.clone();
        Ok(config)
    }

    async fn sending(
        &self,
        config: &Config,
        routes: &Routes,
        stop: &CancellationToken,
    ) -> Result<Sending, Error> {
        if self.dry_run {
            return Ok(Sending::new(Destination::Terminal, config, routes, stop));
        }
        for topic in self.topics.create(&config.kafka, routes).await? {
            remark(&format!("created the topic {topic}"));
        }
        Ok(Sending::new(Destination::kafka(config, routes)?, config, routes, stop))
    }
}
