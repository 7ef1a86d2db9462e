//! `pipeline results`: what became of the tasks, as it happens or as numbers.

use clap::{Args, ValueEnum};
use futures::TryStreamExt;
use jiff::{Timestamp, ToSpan};

use crate::commands::{Error, Exit, Settings, glob, print, since, warn_of_unknown};
use crate::config::Kafka;
use crate::kafka::reader::Begin;
use crate::pattern::{Globs, Since};
use crate::publish::ResultStatus;
use crate::results::kafka::follow;
use crate::results::{Counts, Filter, Record};

pub(super) const HELP: &str = "Examples:\n  \
    pipeline results                                  as they happen\n  \
    pipeline results --status failed --since 1d       what went wrong since yesterday, then as it happens\n  \
    pipeline results --key 'data/**/*.csv' --json | jq .rows\n  \
    pipeline results --count                          how many of which status in the last hour\n\
    It joins no consumer group and moves no offset.";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only keys that match this glob, such as 'data/**/*.csv'
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    key: Option<Globs>,
    /// Begin there: a time (2025-08-25T12:00:00Z), a date, or how long ago (1h, 2d) [default: now]
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Begin with the first result there is
    #[arg(long, conflicts_with = "since")]
    from_beginning: bool,
    /// Count by status instead, since one hour ago if nothing else is said, and end
    #[arg(long)]
    count: bool,
    /// Print each result as it lies in the topic, one JSON a line
    #[arg(long)]
    json: bool,
    /// End with the last result that is there now
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Success,
    Failed,
}

pub(super) async fn run(options: Options) -> Result<Exit, Error> {
    let layers = options.settings.layers()?;
    warn_of_unknown(&layers);
    let kafka = Kafka::from_variables(&layers.variables())?;
    let now = Timestamp::now();
    let hour_ago = options.count && !options.from_beginning;
    let since = match &options.since {
        Some(since) => Some(since.moment(now)),
        None => hour_ago.then(|| now - 1.hour()),
    };
    let begin = match since {
        Some(moment) => Begin::At(moment),
        None if options.from_beginning || options.no_follow => Begin::Beginning,
        None => Begin::Now,
    };
    let status = options.status.map(|status| match status {
        Status::Success => ResultStatus::Success,
        Status::Failed => ResultStatus::Failed,
    });
    let filter = Filter { status, key: options.key.unwrap_or_default(), since };
    let records = follow(&kafka, begin, options.count || options.no_follow).await?;
    let mut records = std::pin::pin!(records.try_filter(|record| std::future::ready(filter.takes(record))));
    if options.count {
        let mut counts = Counts::default();
        while let Some(record) = records.try_next().await? {
            counts.add(&record);
        }
        print(&if options.json { json(&counts) } else { table(&counts) })?;
        return Ok(Exit::Done);
    }
    if !options.json {
        print(&format!("{}\n", line(["time", "status", "rows", "seconds", "key", "summary or error"])))?;
    }
    while let Some(record) = records.try_next().await? {
        let text = if options.json { record.line } else { row(&record) };
        print(&(text + "\n"))?;
    }
    Ok(Exit::Done)
}

fn json(counts: &Counts) -> String {
    serde_json::json!(counts.0).to_string() + "\n"
}

/// As `sort | uniq -c` prints it.
fn table(counts: &Counts) -> String {
    counts.0.iter().map(|(status, count)| format!("{count:>7} {status}\n")).collect()
}

/// One line of a table that goes on for ever, so its widths are chosen once: the last columns may be long.
fn line([time, status, rows, seconds, key, outcome]: [&str; 6]) -> String {
    format!("{time:<20}  {status:<7}  {rows:>10}  {seconds:>8}  {key:<40}  {outcome}")
}

fn row(record: &Record) -> String {
    let Some(status) = record.status() else { return record.line.clone() };
    let status = match status {
        ResultStatus::Success => "success",
        ResultStatus::Failed => "failed",
    };
    let time = record.time().map_or(String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let rows = record.rows().map_or_else(|| "–".to_owned(), |rows| rows.to_string());
    let seconds = record.seconds().map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.3}"));
    let outcome = record.outcome().unwrap_or("").replace('\n', " ");
    line([&time, status, &rows, &seconds, record.key().unwrap_or("?"), &outcome])
}
