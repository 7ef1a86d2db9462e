//! What the worker says about itself: one function per notable event.
//!
//! Promises: a notable event has one place that words it, so that texts, fields and levels cannot drift;
//! each says who must act: `error` a person now, `warn` a person some day, `info` nobody.
//!
//! The fields are the user's guide's: `timestamp level event filename func_name lineno file_key
//! processing_time input_size output_size`. [`format`](mod@format) writes the lines.
//!
//! Never: metrics, spans, or anything a stage would have to wait for.

use std::fmt::Display;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

use crate::failure::Failure;
use crate::path::{Job, Success};
use crate::source::{Holder, News};
use crate::task::{NextOffset, Offset, Partition, Position};

pub mod format;

/// The place of an event in the code, for the guide's `filename` and `lineno`.
#[track_caller]
fn place() -> (&'static str, u32) {
    let caller = Location::caller();
    let file = Path::new(caller.file()).file_name().and_then(|name| name.to_str()).unwrap_or("");
    (file, caller.line())
}

macro_rules! event {
    ($level:ident, $func:literal, $text:literal $(, $($fields:tt)*)?) => {{
        let (filename, lineno) = place();
        tracing::$level!(target: "pipeline", filename, func_name = $func, lineno, $($($fields)*,)? $text);
    }};
}

/// The worker begins.
#[track_caller]
pub fn worker_started(group: &str, topic: &str, pool_size: usize, exactly_once: bool) {
    event!(info, "run", "worker started", group, topic, pool_size, exactly_once);
}

/// The brokers do not let this worker make transactions.
#[track_caller]
pub fn transactions_impossible(failure: &Failure) {
    let advice = "results are published at least once; with KAFKA_EXACTLY_ONCE=false this is not tried";
    event!(warn, "run", "no transactions", error = failure.chain(), advice);
}

/// A name in the settings that nothing reads.
#[track_caller]
pub fn setting_unknown(hint: &str) {
    event!(warn, "configure", "unknown setting", hint);
}

/// A setting that is known and can have no effect.
#[track_caller]
pub fn setting_without_effect(name: &str, reason: &str) {
    event!(warn, "configure", "setting has no effect", name, reason);
}

/// A topic was missing, and was made.
#[track_caller]
pub fn topic_created(topic: &str) {
    event!(info, "configure", "topic created", topic);
}

/// A copy of a file was left on this machine's disk, because the settings ask for it.
#[track_caller]
pub fn file_kept(key: &str, path: &Path) {
    event!(info, "keep", "file kept", file_key = key, path = %path.display());
}

/// A copy could not be made. The task is as it was.
#[track_caller]
pub fn file_not_kept(key: &str, reason: &impl Display) {
    event!(warn, "keep", "file not kept", file_key = key, reason = %reason);
}

/// Intake has ended, work in flight goes on.
#[track_caller]
pub fn worker_draining(live: usize, deadline: Duration) {
    event!(info, "run", "worker draining", live, deadline_ms = deadline.as_millis() as u64);
}

/// The drain deadline passed: work in flight is given up, and runs again later.
#[track_caller]
pub fn drain_timed_out(live: usize) {
    event!(warn, "run", "drain timed out", live);
}

/// The worker has ended.
#[track_caller]
pub fn worker_stopped(succeeded: u64, failed: u64) {
    event!(info, "run", "worker stopped", succeeded, failed);
}

/// The worker cannot go on.
#[track_caller]
pub fn worker_failed(failure: &Failure) {
    let error = failure.chain();
    event!(
        error,
        "run",
        "worker failed",
        stage = failure.stage.as_str(),
        error_kind = failure.kind.as_str(),
        error
    );
}

/// A task is done and its result confirmed.
#[track_caller]
pub fn task_succeeded(job: &Job, success: &Success, processing_time: Duration) {
    event!(
        info,
        "settle",
        "file processed",
        file_key = job.source.key,
        bucket = job.source.bucket,
        processing_time = processing_time.as_secs_f64(),
        input_size = success.input_size,
        output_size = success.output_size,
        rows = success.rows,
        task = %job.position
    );
}

/// A task cannot succeed, and its failure is published.
#[track_caller]
pub fn task_failed(job: &Job, failure: &Failure, processing_time: Duration) {
    let error = failure.chain();
    event!(
        warn,
        "settle",
        "file failed",
        file_key = job.source.key,
        bucket = job.source.bucket,
        processing_time = processing_time.as_secs_f64(),
        stage = failure.stage.as_str(),
        error_kind = failure.kind.as_str(),
        error,
        task = %job.position
    );
}

/// A task failed in a way that may pass.
#[track_caller]
pub fn task_retried(position: &Position, failure: &Failure, attempt: u32, pause: Duration) {
    let error = failure.chain();
    event!(
        warn,
        "settle",
        "file will be tried again",
        attempt,
        pause_ms = pause.as_millis() as u64,
        stage = failure.stage.as_str(),
        error_kind = failure.kind.as_str(),
        error,
        task = %position
    );
}

/// A task's partition was lost: whoever holds it now runs the task.
#[track_caller]
pub fn task_released(position: &Position) {
    event!(info, "settle", "task released", task = %position);
}

/// The group gave this worker partitions.
#[track_caller]
pub fn partitions_assigned(partitions: &[Partition]) {
    event!(info, "rebalance", "partitions assigned", partitions = list(partitions));
}

/// The group took partitions away. `lost`: without asking.
#[track_caller]
pub fn partitions_revoked(partitions: &[Partition], lost: bool) {
    event!(info, "rebalance", "partitions revoked", partitions = list(partitions), lost);
}

/// The rebalance could not be applied.
#[track_caller]
pub fn rebalance_failed(error: &impl Display) {
    event!(error, "rebalance", "rebalance failed", error = %error);
}

/// A partition with lag stands still, or goes on after that was told.
#[track_caller]
pub fn partition_watched(news: &News) {
    let (partition, facts, stalled) = match news {
        News::Stalled(partition, facts, stalled) => (partition, facts, stalled),
        News::GoesOn(partition, stalled) => {
            let stalled_ms = stalled.as_millis() as u64;
            event!(info, "watch", "partition goes on", partition = %partition, stalled_ms);
            return;
        }
    };
    let task = |offset: &Offset| format!("{partition}@{}", offset.0);
    let (held_by, task, file_key, stage, attempt) = match &facts.holder {
        Holder::Task { offset, stage, attempt, key } => {
            ("task", Some(task(offset)), key.as_deref(), Some(stage.as_str()), Some(*attempt))
        }
        Holder::Nobody { offset } => ("nobody", Some(task(offset)), None, None, None),
        Holder::Commit => ("commit", None, None, None, None),
        Holder::Messages => ("messages", None, None, None, None),
    };
    event!(
        warn,
        "watch",
        "partition stands still",
        partition = %partition,
        lag = facts.lag,
        committed = facts.committed.map(|next| next.0),
        stalled_ms = stalled.as_millis() as u64,
        held_by,
        task,
        file_key,
        stage,
        attempt
    );
}

/// A commit was refused; it is asked for again.
#[track_caller]
pub fn commit_failed(error: &impl Display) {
    event!(warn, "commit", "commit failed", error = %error);
}

/// The broker does not tell yet what was committed; it is asked again.
#[track_caller]
pub fn restore_delayed(error: &impl Display) {
    event!(warn, "restore", "restore delayed", error = %error);
}

/// What someone else wrote beside a commit is left aside: tasks behind it may run again.
#[track_caller]
pub fn metadata_ignored(partition: &Partition, reason: &impl Display) {
    event!(warn, "restore", "commit metadata ignored", partition = %partition, reason = %reason);
}

/// Tasks behind the committed offset that were finished before, and will not run again.
#[track_caller]
pub fn finished_remembered(partition: &Partition, next: NextOffset, count: u64) {
    event!(info, "restore", "finished tasks remembered", partition = %partition, committed = next.0, count);
}

/// A step of a transaction is tried again.
#[track_caller]
pub fn transaction_delayed(failure: &Failure) {
    event!(warn, "publish", "transaction delayed", error = failure.chain());
}

/// A transaction was given up; its results go into the next one.
#[track_caller]
pub fn transaction_aborted(failure: &Failure) {
    event!(warn, "publish", "transaction aborted", error = failure.chain());
}

/// Partitions could not be paused or resumed.
#[track_caller]
pub fn pause_failed(error: &impl Display) {
    event!(warn, "pause", "pause failed", error = %error);
}

/// The consumer reported an error.
#[track_caller]
pub fn consumer_error(topic: &str, error: &impl Display, advice: &str) {
    event!(warn, "consume", "consumer error", topic, error = %error, advice);
}

/// A line of the Kafka client's own log. At `debug`: it calls a lost connection an error, and reconnects.
pub fn client_log(facility: &str, message: &str) {
    tracing::debug!(target: "pipeline::librdkafka", facility, message);
}

/// The offsets of a partition went back: its topic was made anew, or cut.
#[track_caller]
pub fn offsets_went_back(position: &Position) {
    event!(warn, "receive", "offsets went back", task = %position);
}

/// A message was delivered that this worker may not take.
#[track_caller]
pub fn message_refused(position: &Position, reason: &impl Display) {
    event!(warn, "receive", "message refused", task = %position, reason = %reason);
}

/// Credentials were read again.
#[track_caller]
pub fn credentials_reloaded(file: &Path) {
    event!(info, "credentials", "credentials reloaded", file = %file.display());
}

/// Credentials could not be read again; the old ones stay in use.
#[track_caller]
pub fn credentials_unreadable(file: &Path, reason: &impl Display) {
    event!(warn, "credentials", "credentials unreadable", file = %file.display(), reason = %reason);
}

fn list(partitions: &[Partition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
