//! `pipeline demo`: the whole loop on one machine, with nothing installed.
//!
//! Real parts: the same worker, over a broker in this process (librdkafka's mock cluster) and a folder as the
//! bucket. It proves the path, not the guarantees: those need a real broker.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::commands::{Error, Exit, print};
use crate::config::{Config, Log, LogFormat, LogLang, Variables, WorkerType};
use crate::generator::{IN_FLIGHT_MAX, Selection, TaskGenerator};
use crate::kafka::reader::Begin;
use crate::pattern::Routes;
use crate::publish::{ResultMessage, ResultStatus};
use crate::results::kafka::follow;
use crate::storage::Storage;
use crate::telemetry::format::{self, Output};
use crate::worker;

mod kafka;
mod samples;

use kafka::Broker;
use samples::{Expected, SAMPLES};

/// Two, so that the group has something to share out.
const WORKERS: usize = 2;
/// The partitions of the task topic: more than workers, fewer than files.
const PARTITIONS: i32 = 3;
/// The demo takes seconds; a machine on which it takes longer than this has another problem.
const DEADLINE: Duration = Duration::from_secs(180);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The folder for the sample files and their summaries; what is there is overwritten
    #[arg(long, value_name = "DIR", default_value = "pipeline-demo")]
    dir: PathBuf,
}

pub(super) async fn run(options: &Options) -> Result<Exit, Error> {
    // The files that fail on purpose would fill the terminal with warnings.
    let level = Config::variables()?.remove("LOG_LEVEL").unwrap_or_else(|| "error".to_owned());
    let _logs = format::start(&Log { format: LogFormat::Pretty, lang: LogLang::En, level }, Output::Stderr)?;

    let folder = Folder::fill(&options.dir)?;
    let broker = Broker::start(PARTITIONS)?;
    let config = folder.config(&broker)?;

    print(&format!(
        "bucket   {}\nbroker   {} (in this process)\n",
        folder.input.display(),
        broker.servers()
    ))?;
    let tasks = generate(&config).await?;
    print(&format!("tasks    {tasks}, one a file, in {PARTITIONS} partitions\nworkers  {WORKERS}\n\n"))?;

    let stop = CancellationToken::new();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (config, stop) = (config.clone(), stop.clone());
            tokio::spawn(async move { worker::run(&config, stop.cancelled_owned()).await })
        })
        .collect();
    let results = collect(&config, tasks).await;
    stop.cancel();
    for worker in workers {
        worker.await.map_err(|error| Error::Other(format!("a worker died: {error}")))??;
    }
    let results = results?;

    print(&table(&results))?;
    print(&format!("\nsummaries in {}\n", folder.output.display()))?;
    let surprises = surprises(&results, &folder.output);
    if surprises.is_empty() {
        let failed = SAMPLES.iter().filter(|sample| sample.expected == Expected::Failed).count();
        print(&format!(
            "{} files summarised, {failed} refused, as they should be\n",
            SAMPLES.len() - failed
        ))?;
        return Ok(Exit::Done);
    }
    print(&format!("\nNOT as it should be:\n  {}\n", surprises.join("\n  ")))?;
    Ok(Exit::Failed)
}

/// The folders that stand for the buckets.
struct Folder {
    input: PathBuf,
    output: PathBuf,
}

impl Folder {
    /// Writes the samples, and clears away the summaries of an earlier demo.
    fn fill(dir: &Path) -> Result<Folder, Error> {
        let folder = (|| {
            std::fs::create_dir_all(dir)?;
            let dir = dir.canonicalize()?;
            let folder = Folder { input: dir.join("input"), output: dir.join("output") };
            std::fs::create_dir_all(&folder.input)?;
            std::fs::create_dir_all(&folder.output)?;
            for sample in SAMPLES {
                std::fs::write(folder.input.join(sample.name), sample.bytes)?;
                let summary = folder.output.join(summary_name(sample.name));
                if summary.exists() {
                    std::fs::remove_file(summary)?;
                }
            }
            Ok(folder)
        })();
        folder.map_err(Error::io(format!("could not write the samples to {}", dir.display())))
    }

    fn config(&self, broker: &Broker) -> Result<Config, Error> {
        let variables: Variables = [
            ("KAFKA_BOOTSTRAP_SERVERS", broker.servers().to_owned()),
            ("KAFKA_SESSION_TIMEOUT_MS", "6000".to_owned()),
            ("KAFKA_HEARTBEAT_INTERVAL_MS", "500".to_owned()),
            // The broker in this process keeps no promise of that kind.
            ("KAFKA_EXACTLY_ONCE", "false".to_owned()),
            ("OBS_SOURCE_BUCKET", format!("file://{}", self.input.display())),
            ("OBS_DEST_BUCKET", format!("file://{}", self.output.display())),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        Ok(Config::from_variables(&variables, WorkerType::MultiProcess)?)
    }
}

fn summary_name(sample: &str) -> String {
    format!("{sample}.parsed.json")
}

/// Lists the bucket and sends one task a file, as `pipeline tasks scan` does.
async fn generate(config: &Config) -> Result<usize, Error> {
    let storage = Storage::new(&config.storage)?;
    let bucket = config.storage.source_bucket.clone().unwrap_or_default();
    let tasks = Selection { bucket, ..Selection::default() }.tasks(&storage).await?;
    // What else lies in the folder is none of the demo's business.
    let ours =
        tasks.try_filter(|task| std::future::ready(SAMPLES.iter().any(|sample| sample.name == task.key)));
    let generator = TaskGenerator::connect(&config.kafka, Routes::default())?;
    let report = generator.send_stream(ours, IN_FLIGHT_MAX, |_, _| Ok(())).await?;
    Ok(report.sent as usize)
}

/// Follows the result topic until every task has a result.
async fn collect(config: &Config, tasks: usize) -> Result<BTreeMap<String, ResultMessage>, Error> {
    let progress = ProgressBar::with_draw_target(
        Some(tasks as u64),
        // Drawn on a terminal only; a log file gets the table alone.
        if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} {msg}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));
    progress.set_message("the group is forming (3 s)");
    let mut results = BTreeMap::new();
    let mut records = Box::pin(follow(&config.kafka, Begin::Beginning, false).await?);
    let waiting = async {
        while results.len() < tasks {
            let Some(record) = records.try_next().await? else { break };
            let message: ResultMessage = serde_json::from_str(&record.line)
                .map_err(|error| Error::Other(format!("a result cannot be read: {error}")))?;
            progress.set_message(message.source.key.clone());
            results.insert(message.source.key.clone(), message);
            progress.set_position(results.len() as u64);
        }
        Ok::<(), Error>(())
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    progress.finish_and_clear();
    match waited {
        Ok(done) => done.map(|()| results),
        Err(_) => Err(Error::Other(format!(
            "only {} of {tasks} results came within {} s; LOG_LEVEL=debug says more",
            results.len(),
            DEADLINE.as_secs()
        ))),
    }
}

fn table(results: &BTreeMap<String, ResultMessage>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["file", "rows", "columns", "ms", "state"]);
    for (key, result) in results {
        let count = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
        let state = match result.status {
            ResultStatus::Success => "success".to_owned(),
            ResultStatus::Failed => format!("failed: {}", result.error_kind.as_deref().unwrap_or("?")),
        };
        let milliseconds = format!("{:.0}", result.processing_time * 1000.0);
        table.add_row([key.clone(), count(result.rows), count(result.columns), milliseconds, state]);
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// Everything that is not as the samples promise, for a person.
fn surprises(results: &BTreeMap<String, ResultMessage>, output: &Path) -> Vec<String> {
    let judge = |sample: &samples::Sample| {
        let stored = output.join(summary_name(sample.name)).is_file();
        match (sample.expected, results.get(sample.name)) {
            (_, None) => Some(format!("{}: no result", sample.name)),
            (Expected::Success, Some(ResultMessage { status: ResultStatus::Failed, error, .. })) => {
                Some(format!("{}: failed: {}", sample.name, error.as_deref().unwrap_or("?")))
            }
            (Expected::Success, Some(_)) if !stored => Some(format!("{}: no summary is stored", sample.name)),
            (Expected::Failed, Some(ResultMessage { status: ResultStatus::Success, .. })) => {
                Some(format!("{}: was summarised, and should have failed", sample.name))
            }
            _ => None,
        }
    };
    SAMPLES.iter().filter_map(judge).collect()
}
