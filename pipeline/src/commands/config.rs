//! `pipeline config …`: the settings, and whether they work.

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::json;

use crate::commands::{Error, Exit, Settings, print};
use crate::config::{self, Config, Invalid, Layers, OffsetReset, Setting, WorkerType};

mod check;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every variable: its value, secrets masked, and where that comes from
    Show(Show),
    /// All errors of the settings at once; then brokers, topics, group and buckets
    #[command(
        after_help = "Exit codes: 0 all is well, 1 something does not answer as it should, 2 a setting is wrong."
    )]
    Check(Check),
}

#[derive(Debug, Args)]
struct Show {
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Check {
    /// Also write and delete a small object in the destination bucket
    #[arg(long)]
    write: bool,
    /// JSON instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(options: Options) -> Result<Exit, Error> {
    match options.command {
        Command::Show(show) => show.run(),
        Command::Check(check) => check.run().await,
    }
}

/// What stands for a secret.
const MASK: &str = "***";

fn shown(setting: &Setting) -> Option<&str> {
    setting.value.as_deref().map(|value| if setting.is_secret { MASK } else { value })
}

impl Show {
    fn run(&self) -> Result<Exit, Error> {
        let layers = self.settings.layers()?;
        let variables = layers.variables();
        let settings = config::settings(&variables, WorkerType::MultiProcess);
        print(&if self.json { as_json(&layers, &settings) } else { as_table(&layers, &settings) })?;
        // Shown all the same, but wrong is wrong.
        Config::from_variables(&variables, WorkerType::MultiProcess)?;
        Ok(Exit::Done)
    }
}

fn as_json(layers: &Layers, settings: &[Setting]) -> String {
    let settings: Vec<_> = settings
        .iter()
        .map(|setting| {
            let origin = layers.source(setting);
            json!({ "name": setting.name, "value": shown(setting), "origin": origin })
        })
        .collect();
    format!("{:#}\n", json!(settings))
}

fn as_table(layers: &Layers, settings: &[Setting]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["variable", "value", "from"]);
    for setting in settings {
        let origin = layers.source(setting);
        table.add_row([setting.name.as_str(), shown(setting).unwrap_or("–"), &origin]);
    }
    let mut text = format!("{table}\n");
    for remark in layers.remarks(settings) {
        text.push_str(&format!("{remark}\n"));
    }
    text
}

impl Check {
    async fn run(&self) -> Result<Exit, Error> {
        let layers = self.settings.layers()?;
        let variables = layers.variables();
        let config = match Config::from_variables(&variables, WorkerType::MultiProcess) {
            Err(error) if self.json => {
                let told = |invalid: &Invalid| json!({ "name": invalid.name, "value": invalid.value, "allowed": invalid.allowed });
                let errors: Vec<_> = error.0.iter().map(told).collect();
                print(&format!("{:#}\n", json!({ "ok": false, "settings": errors })))?;
                return Err(error.into());
            }
            read => read?,
        };
        let checks = check::all(&config, self.write).await;
        let ok = checks.iter().all(|check| check.outcome.is_ok());
        let warnings = warnings(&layers, &config);
        if self.json {
            let checks: Vec<_> = checks.iter().map(check::Check::json).collect();
            print(&format!("{:#}\n", json!({ "ok": ok, "checks": checks, "warnings": warnings })))?;
        } else {
            print(&checks.iter().map(check::Check::line).collect::<String>())?;
            print(&warnings.iter().map(|warning| format!("note    {warning}\n")).collect::<String>())?;
        }
        Ok(if ok { Exit::Done } else { Exit::Failed })
    }
}

/// What is allowed, and probably not meant.
fn warnings(layers: &Layers, config: &Config) -> Vec<String> {
    let settings = config::settings(&layers.variables(), WorkerType::MultiProcess);
    let mut warnings: Vec<String> = layers.remarks(&settings);
    if config.kafka.auto_offset_reset == OffsetReset::Latest {
        warnings.push(
            "KAFKA_AUTO_OFFSET_RESET=latest: tasks that were sent before a group's first worker are never processed"
                .to_owned(),
        );
    }
    if !config.kafka.enable_producer {
        warnings.push("KAFKA_ENABLE_PRODUCER=false: nobody is told what became of a task".to_owned());
    }
    warnings
}
