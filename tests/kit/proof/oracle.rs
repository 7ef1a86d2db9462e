//! What must be true of a proof, whatever happened in it: a history goes in, the broken promises come out.
//!
//! Promises: everything is judged by what readers, the broker and the storage have, never by what a worker says of its
//! success; a worker is only asked what it began, and when it was given a partition.
//!
//! Never: a tolerance. What may happen (a repeat of what was in flight) is counted, not judged.

use std::collections::{BTreeMap, BTreeSet};

/// A task: partition and offset of its message.
pub type Task = (i32, i64);

/// How a task must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// With a summary under this key.
    Success(String),
    /// With a failure of this kind.
    Failure(&'static str),
}

/// A result, as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is about.
    pub task: Task,
    /// The kind of the failure; none in a success.
    pub failure: Option<String>,
    /// When it was sent.
    pub at_ms: i64,
}

/// A commit of the group, as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Of which partition.
    pub partition: i32,
    /// When the broker took it.
    pub at_ms: i64,
    /// The offset to read next.
    pub next: i64,
    /// The offsets behind it that are remembered as finished.
    pub finished: BTreeSet<i64>,
}

impl Commit {
    fn covers(&self, offset: i64) -> bool {
        offset < self.next || self.finished.contains(&offset)
    }
}

/// What one worker says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diary {
    /// When it was given which partition.
    pub assigned: Vec<(i64, i32)>,
    /// When it began which task.
    pub begun: Vec<(i64, Task)>,
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Whether each result must be seen once.
    pub exactly_once: bool,
    /// Every message of the task topic.
    pub tasks: BTreeMap<Task, Option<Expected>>,
    /// Every result that a reader of committed messages sees.
    pub results: Vec<Seen>,
    /// Every dead letter that it sees.
    pub letters: Vec<Task>,
    /// What the storage has.
    pub artefacts: BTreeMap<String, Vec<u8>>,
    /// What it has after a calm run of the same tasks.
    pub calm: BTreeMap<String, Vec<u8>>,
    /// Every commit, in the broker's order.
    pub commits: Vec<Commit>,
    /// The workers.
    pub diaries: Vec<Diary>,
}

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// No task without an outcome.
    Outcome,
    /// Success or failure, never both, and the right one.
    OneOutcome,
    /// No outcome without a task.
    Task,
    /// A reader of committed messages sees a result, and a dead letter, once.
    Once,
    /// A failed task, and no other, is a dead letter.
    DeadLetter,
    /// The storage has what a calm run leaves there, byte for byte.
    Artefact,
    /// A committed offset never goes back.
    Position,
    /// Nothing is committed before its outcome was sent.
    Order,
    /// What a commit remembers as finished does not begin again.
    Memory,
    /// At the end everything is committed.
    End,
}

impl Promise {
    /// All of them.
    pub const ALL: [Promise; 10] = [
        Promise::Outcome,
        Promise::OneOutcome,
        Promise::Task,
        Promise::Once,
        Promise::DeadLetter,
        Promise::Artefact,
        Promise::Position,
        Promise::Order,
        Promise::Memory,
        Promise::End,
    ];

    /// What its breach is called.
    pub fn breach(self) -> &'static str {
        match self {
            Promise::Outcome => "lost tasks",
            Promise::OneOutcome => "wrong outcomes",
            Promise::Task => "outcomes of no task",
            Promise::Once => "outcomes visible twice",
            Promise::DeadLetter => "dead letters missing or too many",
            Promise::Artefact => "artefacts unlike a calm run's",
            Promise::Position => "committed offsets that went back",
            Promise::Order => "offsets committed before their outcome",
            Promise::Memory => "finished tasks that began again",
            Promise::End => "partitions not committed to their end",
        }
    }
}

/// What the oracle says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The breaches, each with what it is about.
    pub broken: BTreeMap<Promise, Vec<String>>,
    /// Results beyond the first of their task.
    pub repeats: usize,
    /// Tasks that succeeded, and that failed.
    pub succeeded: usize,
    /// See [`Judgement::succeeded`].
    pub failed: usize,
    /// Tasks that were begun, and begun again, as far as workers could say so.
    pub begun: usize,
}

impl Judgement {
    /// How often a promise was broken.
    pub fn count(&self, promise: Promise) -> usize {
        self.broken.get(&promise).map_or(0, Vec::len)
    }

    fn accuse(&mut self, promise: Promise, what: String) {
        self.broken.entry(promise).or_default().push(what);
    }
}

/// Judges a history.
pub fn judge(history: &History) -> Judgement {
    let mut judgement = Judgement::default();
    judge_outcomes(history, &mut judgement);
    judge_artefacts(history, &mut judgement);
    judge_commits(history, &mut judgement);
    judge_memory(history, &mut judgement);
    judgement
}

fn judge_outcomes(history: &History, judgement: &mut Judgement) {
    let mut outcomes: BTreeMap<Task, Vec<Option<&str>>> = BTreeMap::new();
    for result in &history.results {
        outcomes.entry(result.task).or_default().push(result.failure.as_deref());
    }
    let mut letters: BTreeMap<Task, usize> = BTreeMap::new();
    for task in &history.letters {
        *letters.entry(*task).or_default() += 1;
    }
    for task in outcomes.keys().chain(letters.keys()).filter(|task| !history.tasks.contains_key(task)) {
        judgement.accuse(Promise::Task, format!("{task:?}"));
    }
    for (task, expected) in &history.tasks {
        let seen = outcomes.get(task).map(Vec::as_slice).unwrap_or_default();
        let Some(expected) = expected else {
            judgement.accuse(Promise::Task, format!("{task:?} is a message that nobody sent"));
            continue;
        };
        let wanted = match expected {
            Expected::Success(_) => None,
            Expected::Failure(kind) => Some(*kind),
        };
        match seen.first() {
            None => judgement.accuse(Promise::Outcome, format!("{task:?}")),
            Some(None) => judgement.succeeded += 1,
            Some(Some(_)) => judgement.failed += 1,
        }
        if seen.iter().any(|outcome| *outcome != wanted) {
            judgement.accuse(Promise::OneOutcome, format!("{task:?}: {seen:?} instead of {wanted:?}"));
        }
        judgement.repeats += seen.len().saturating_sub(1);
        let letters = letters.get(task).copied().unwrap_or(0);
        if (letters > 0) != wanted.is_some() {
            judgement.accuse(Promise::DeadLetter, format!("{task:?}: {letters}"));
        }
        if history.exactly_once && (seen.len() > 1 || letters > 1) {
            judgement.accuse(Promise::Once, format!("{task:?}: {} results, {letters} letters", seen.len()));
        }
    }
}

fn judge_artefacts(history: &History, judgement: &mut Judgement) {
    let History { artefacts, calm, tasks, .. } = history;
    let wanted: BTreeSet<&String> = tasks
        .values()
        .filter_map(|expected| match expected {
            Some(Expected::Success(key)) => Some(key),
            Some(Expected::Failure(_)) | None => None,
        })
        .collect();
    for key in artefacts.keys().chain(calm.keys()).chain(wanted.iter().copied()).collect::<BTreeSet<_>>() {
        let what = match (artefacts.get(key), calm.get(key)) {
            _ if !wanted.contains(key) => "nobody asked for it",
            (None, _) => "it is missing",
            (_, None) => "a calm run has none",
            (Some(one), Some(other)) if one != other => "its bytes differ",
            _ => continue,
        };
        judgement.accuse(Promise::Artefact, format!("{key}: {what}"));
    }
}

fn judge_commits(history: &History, judgement: &mut Judgement) {
    let mut sent: BTreeMap<Task, i64> = BTreeMap::new();
    for result in &history.results {
        let first = sent.entry(result.task).or_insert(result.at_ms);
        *first = result.at_ms.min(*first);
    }
    let mut position: BTreeMap<i32, i64> = BTreeMap::new();
    let mut covered: BTreeSet<Task> = BTreeSet::new();
    for Commit { partition, at_ms, next, finished } in &history.commits {
        let before = position.insert(*partition, *next).unwrap_or(0);
        if *next < before {
            judgement.accuse(Promise::Position, format!("{partition}: from {before} to {next}"));
        }
        for offset in (before..*next).chain(finished.iter().copied()) {
            let task = (*partition, offset);
            let is_new = covered.insert(task);
            // One without any outcome is lost, which is said elsewhere.
            if is_new && let Some(sent) = sent.get(&task).filter(|sent| *sent > at_ms) {
                judgement.accuse(Promise::Order, format!("{task:?}: by {} ms", sent - at_ms));
            }
        }
    }
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    for (partition, offset) in history.tasks.keys() {
        let end = ends.entry(*partition).or_default();
        *end = (*end).max(offset + 1);
    }
    for (partition, end) in ends {
        let next = position.get(&partition).copied().unwrap_or(0);
        if next != end {
            judgement.accuse(Promise::End, format!("{partition}: {next} of {end}"));
        }
    }
}

/// Who gets a partition reads what was committed last. What that says is finished must not begin under this assignment. What
/// it does not say was in flight, or finished since: it may, and is counted.
fn judge_memory(history: &History, judgement: &mut Judgement) {
    let mut commits: BTreeMap<i32, Vec<&Commit>> = BTreeMap::new();
    for commit in &history.commits {
        commits.entry(commit.partition).or_default().push(commit);
    }
    for diary in &history.diaries {
        for (at_ms, (partition, offset)) in &diary.begun {
            judgement.begun += 1;
            let assigned = diary
                .assigned
                .iter()
                .filter(|(assigned_ms, assigned)| assigned == partition && assigned_ms <= at_ms)
                .map(|(assigned_ms, _)| assigned_ms)
                .max();
            let Some(assigned) = assigned else {
                judgement.accuse(
                    Promise::Memory,
                    format!("({partition}, {offset}): of a partition never assigned"),
                );
                continue;
            };
            let known = commits.get(partition).map(Vec::as_slice).unwrap_or_default();
            let known = &known[..known.partition_point(|commit| commit.at_ms <= *assigned)];
            if known.last().is_some_and(|commit| commit.covers(*offset)) {
                judgement.accuse(Promise::Memory, format!("({partition}, {offset})"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
