//! `pipeline dlq`: what the dead-letter topic holds, and sending it again.

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use futures::TryStreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::commands::{Error, Exit, Settings, glob, print, remark, since, warn_of_unknown};
use crate::config::Kafka;
use crate::dead_letter::kafka::{Replayer, Survey, survey};
use crate::dead_letter::{Buried, Filter, Group, Groups};
use crate::failure::Kind;
use crate::kafka::reader::Begin;
use crate::pattern::{Globs, Since};

pub(super) const HELP: &str = "Examples:\n  \
    pipeline dlq list                                 what failed, by kind\n  \
    pipeline dlq list --since 1d --json | jq .\n  \
    pipeline dlq replay --kind not_found --dry-run    what would be sent again\n  \
    pipeline dlq replay --kind not_found --key 'data/**/*.csv'\n\
    A dead letter is sent again once; a task that fails again is a new one.";

/// Letters of one transaction: with their marks a second's work for a broker.
const BATCH: usize = 500;
/// Characters of an error in the table; `--json` has all.
const ERROR_CHARACTERS: usize = 80;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count dead letters by kind of failure, with an example each
    List(List),
    /// Send the tasks of dead letters again, to the topics they came from
    Replay(Replay),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    choice: Choice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    choice: Choice,
    /// Print what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Choice {
    /// Only failures of these kinds, such as not_found; docs/operations.md has them all
    #[arg(long, value_name = "KIND", value_delimiter = ',', hide_possible_values = true,
          value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.as_str())))]
    kind: Vec<String>,
    /// Only keys of objects that match this glob, such as 'data/**/*.csv'
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    key: Option<Globs>,
    /// Only what failed at this time or later: 2025-08-25T12:00:00Z, a date, or how long ago (1h, 2d)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    #[command(flatten)]
    settings: Settings,
}

impl Choice {
    fn kafka(&self) -> Result<Kafka, Error> {
        let layers = self.settings.layers()?;
        warn_of_unknown(&layers);
        Ok(Kafka::from_variables(&layers.variables())?)
    }

    fn filter(self) -> Filter {
        let since = self.since.map(|since| since.moment(Timestamp::now()));
        Filter { kinds: self.kind, key: self.key.unwrap_or_default(), since }
    }
}

pub(super) async fn run(options: Options) -> Result<Exit, Error> {
    match options.command {
        Command::List(list) => list.run().await,
        Command::Replay(replay) => replay.run().await,
    }
}

/// The letters that are wanted, each given to `take`.
async fn each(
    kafka: &Kafka,
    filter: &Filter,
    survey: Survey,
    mut take: impl AsyncFnMut(Buried) -> Result<(), Error>,
) -> Result<(), Error> {
    let begin = filter.since.map_or(Begin::Beginning, Begin::At);
    let mut letters = std::pin::pin!(survey.letters(kafka, begin).await?);
    while let Some(buried) = letters.try_next().await? {
        if filter.takes(&buried) {
            take(buried).await?;
        }
    }
    Ok(())
}

impl List {
    async fn run(self) -> Result<Exit, Error> {
        let kafka = self.choice.kafka()?;
        let filter = self.choice.filter();
        let survey = survey(&kafka).await?;
        let replayed = survey.replayed();
        let mut groups = Groups::default();
        each(&kafka, &filter, survey, async |buried| {
            groups.add(&buried);
            Ok(())
        })
        .await?;
        if self.json {
            let groups: Vec<Value> = groups.sorted().into_iter().map(as_json).collect();
            print(&format!("{:#}\n", json!(groups)))?;
            return Ok(Exit::Done);
        }
        match groups.sorted().as_slice() {
            [] => print("no dead letters\n")?,
            sorted => print(&table(sorted))?,
        }
        if replayed > 0 {
            remark(&format!("{replayed} more were sent again, and are not counted"));
        }
        Ok(Exit::Done)
    }
}

fn time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn as_json((kind, group): (&str, &Group)) -> Value {
    json!({
        "error_kind": kind,
        "count": group.count,
        "first": time(group.first),
        "last": time(group.last),
        "example": {
            "dead_letter": group.example.at.to_string(),
            "task": group.example.letter.origin.to_string(),
            "key": group.example.letter.key(),
            "error": group.example.letter.error,
            "replays": group.example.letter.replays(),
        },
    })
}

fn table(groups: &[(&str, &Group)]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["count", "kind", "first", "last", "for example", "error"]);
    for (kind, group) in groups {
        let letter = &group.example.letter;
        let error: String = letter.error.chars().take(ERROR_CHARACTERS).collect();
        let key = letter.key().unwrap_or_else(|| letter.origin.to_string());
        table.add_row([
            group.count.to_string(),
            (*kind).to_owned(),
            time(group.first),
            time(group.last),
            key,
            error.replace('\n', " "),
        ]);
    }
    if let Some(count) = table.column_mut(0) {
        count.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

impl Replay {
    async fn run(self) -> Result<Exit, Error> {
        let kafka = self.choice.kafka()?;
        let dry = self.dry_run;
        let filter = self.choice.filter();
        // First of all: what is read after it nobody else can send again meanwhile.
        let replayer = if dry { None } else { Some(Replayer::open(&kafka).await?) };
        let survey = survey(&kafka).await?;
        let mut batch = Vec::new();
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        let mut cut = 0_usize;
        each(&kafka, &filter, survey, async |buried| {
            if buried.letter.original.is_cut {
                cut += 1;
                return Ok(());
            }
            let topic = buried.letter.origin.partition.topic.to_string();
            match &replayer {
                None => print(&format!("{}\n", line(&buried)))?,
                Some(replayer) => {
                    batch.push(buried);
                    if batch.len() == BATCH {
                        replayer.replay(&batch).await?;
                        batch.clear();
                    }
                }
            }
            *sent.entry(topic).or_default() += 1;
            Ok(())
        })
        .await?;
        if let (Some(replayer), false) = (&replayer, batch.is_empty()) {
            replayer.replay(&batch).await?;
        }
        let verb = if dry { "would be sent again" } else { "sent again" };
        if sent.is_empty() {
            print("no dead letters\n")?;
        }
        for (topic, count) in sent {
            print(&format!("{count} {verb} to {topic}\n"))?;
        }
        if cut > 0 {
            remark(&format!("{cut} left out: they were longer than a task, and are not whole"));
            return Ok(Exit::Failed);
        }
        Ok(Exit::Done)
    }
}

fn line(buried: &Buried) -> String {
    let letter = &buried.letter;
    let key = letter.key().unwrap_or_else(|| letter.origin.to_string());
    format!("{}  {:<20}  {key}", time(buried.arrived), letter.kind)
}
