//! Sending tasks in front of a person: progress on a terminal, a summary at the end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::commands::{Error, Exit, print, remark};
use crate::config::Config;
use crate::failure::{Failure, Stage};
use crate::generator::seen::Seen;
use crate::generator::{IN_FLIGHT_MAX, NewTask, Report, TaskGenerator};
use crate::pattern::Routes;
use crate::storage::location::check_key;

/// Where tasks go.
pub(super) enum Destination {
    /// Printed, one JSON a line.
    Terminal,
    /// Sent.
    Kafka(Box<TaskGenerator>),
}

impl Destination {
    pub(super) fn kafka(config: &Config, routes: &Routes) -> Result<Destination, Error> {
        Ok(Destination::Kafka(Box::new(TaskGenerator::connect(&config.kafka, routes.clone())?)))
    }
}

/// What every way of making tasks ends in.
pub(super) struct Sending {
    destination: Destination,
    /// The topics, for a person.
    topic: String,
    stop: CancellationToken,
}

/// What came of it.
pub(super) struct Sent {
    pub(super) report: Report,
    /// Objects that the state file knew.
    known: u64,
    topic: String,
    took: Duration,
    printed: bool,
}

impl Sending {
    pub(super) fn new(
        destination: Destination,
        config: &Config,
        routes: &Routes,
        stop: &CancellationToken,
    ) -> Sending {
        let mut topic = config.kafka.topic_tasks.clone();
        for route in routes.topics() {
            topic.push_str(&format!(", {route}"));
        }
        Sending { destination, topic, stop: stop.clone() }
    }

    /// Sends tasks until they end, a signal comes, or `count_max` of them are sent. What `seen` knows is left out.
    pub(super) async fn send(
        &self,
        tasks: impl Stream<Item = Result<NewTask, Failure>>,
        count_max: Option<usize>,
        seen: Option<&Seen>,
    ) -> Result<Sent, Error> {
        let begun = Instant::now();
        let progress = Progress::new(matches!(self.destination, Destination::Kafka(_)));
        let (mut known, mut refused) = (0, 0);
        let mut fresh = |task: NewTask| {
            // Left out before they are counted: what cannot be sent must not use up the number of those that can.
            let is_refused = check_key(&task.key, Stage::Claim).is_err();
            refused += u64::from(is_refused);
            let is_known = !is_refused && seen.map_or(Ok(false), |seen| seen.has(&task))?;
            known += u64::from(is_known);
            Ok((!is_refused && !is_known).then_some(task))
        };
        let tasks = tasks
            .inspect_ok(|_| progress.listed())
            .map(|task| task.and_then(&mut fresh))
            .try_filter_map(|task| std::future::ready(Ok(task)))
            .take(count_max.unwrap_or(usize::MAX))
            .take_until(self.stop.clone().cancelled_owned());
        let mut report = match &self.destination {
            Destination::Terminal => print_tasks(tasks).await?,
            Destination::Kafka(generator) => {
                let confirmed = |task: &NewTask, report: &Report| {
                    progress.sent(report);
                    seen.map_or(Ok(()), |seen| seen.insert(task))
                };
                let report = generator.send_stream(tasks, IN_FLIGHT_MAX, confirmed).await;
                // Also after a failure: what was sent was sent.
                let remembered = seen.map_or(Ok(()), Seen::write);
                progress.end();
                let report = report?;
                remembered?;
                report
            }
        };
        report.refused += refused;
        let printed = matches!(self.destination, Destination::Terminal);
        Ok(Sent { report, known, topic: self.topic.clone(), took: begun.elapsed(), printed })
    }
}

async fn print_tasks(tasks: impl Stream<Item = Result<NewTask, Failure>>) -> Result<Report, Error> {
    let mut tasks = std::pin::pin!(tasks);
    while let Some(task) = tasks.next().await.transpose()? {
        let line = serde_json::to_string(&task).map_err(|error| Error::Other(error.to_string()))?;
        print(&(line + "\n"))?;
    }
    Ok(Report::default())
}

impl Sent {
    pub(super) fn line(&self) -> String {
        let Sent { report, known, topic, took, .. } = self;
        let known = if *known == 0 { String::new() } else { format!(", {known} were sent before") };
        let noun = if report.sent == 1 { "task" } else { "tasks" };
        format!("{} {noun} sent to {topic} in {:.1} s{known}\n", report.sent, took.as_secs_f64())
    }

    /// What a person must know of keys that were left out.
    pub(super) fn refusal(&self) -> String {
        let count = self.report.refused;
        format!("{count} left out: their keys cannot be addressed (docs/configuration.md)\n")
    }

    /// Says what came of it, and what a person should know.
    pub(super) fn conclude(&self, stop: &CancellationToken) -> Result<Exit, Error> {
        let mut exit = Exit::Done;
        if self.report.refused > 0 {
            remark(self.refusal().trim_end());
            exit = Exit::Failed;
        }
        if self.printed {
            return Ok(exit);
        }
        print(&self.line())?;
        if stop.is_cancelled() {
            print("interrupted: the rest was not sent\n")?;
            exit = Exit::Failed;
        }
        Ok(exit)
    }
}

/// On a terminal: listed, sent, rate.
struct Progress(ProgressBar);

impl Progress {
    /// `wanted`: nothing else is printed meanwhile.
    fn new(wanted: bool) -> Progress {
        let hidden = !wanted || !std::io::stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} listed, {pos} sent, {per_sec}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.set_length(0);
        bar.set_message("0");
        Progress(bar)
    }

    fn listed(&self) {
        // The length counts, the message shows it: a bar has one position only.
        self.0.inc_length(1);
        if !self.0.is_hidden() {
            self.0.set_message(self.0.length().unwrap_or(0).to_string());
        }
    }

    fn sent(&self, report: &Report) {
        self.0.set_position(report.sent);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
