//! Failures: what went wrong, where, and what happens to the task because of it.
//!
//! Promises: every failure names its stage and its kind, and one table ([`Kind`]) decides what a
//! kind means for the task. Nothing else in the crate decides that.
//!
//! Never: a failure that is only a string, or a retry decided at the place where the error was seen.

use std::error::Error as StdError;
use std::fmt;

/// The stage of the path in which something failed. Reading order is path order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the message as a task.
    Claim,
    /// Finding, opening and reading the object.
    Download,
    /// Bytes to summary.
    Parse,
    /// Summary to object.
    Upload,
    /// Result to the result topic.
    Publish,
    /// Offsets to the broker.
    Commit,
}

impl Stage {
    /// The stage's name in messages, results and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Claim => "claim",
            Stage::Download => "download",
            Stage::Parse => "parse",
            Stage::Upload => "upload",
            Stage::Publish => "publish",
            Stage::Commit => "commit",
        }
    }
}

/// What a failure means for the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Try the task again, a bounded number of times.
    Retry,
    /// The task can never succeed: publish the failure, then its offset is finished.
    Reject,
    /// No task can succeed: stop the worker with the reason. The task stays unfinished.
    Fatal,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal => $status:ident,)+) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[doc = $doc])+ $kind,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)+];

            /// What happens to the task.
            pub fn status(self) -> Status {
                match self { $(Kind::$kind => Status::$status,)+ }
            }

            /// The kind's name in results (`error_kind`), dead letters and logs.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$kind => $name,)+ }
            }
        }
    };
}

// The one table: kind of failure, its name → what happens to the task.
kinds! {
    /// The message is no task.
    NotATask = "not_a_task" => Reject,
    /// The key names an object that the storage client cannot address unchanged.
    UnaddressableKey = "unaddressable_key" => Reject,
    /// The task names a place this worker may not touch.
    ForbiddenLocation = "forbidden_location" => Reject,
    /// This worker, whose credentials are good, may not touch what the task names.
    Forbidden = "forbidden" => Reject,
    /// The object does not exist.
    NotFound = "not_found" => Reject,
    /// No parser knows this kind of file.
    UnsupportedFormat = "unsupported_format" => Reject,
    /// The file breaks the rules of its format.
    MalformedFile = "malformed_file" => Reject,
    /// The compressed data is damaged.
    CorruptFile = "corrupt_file" => Reject,
    /// The file goes beyond a limit that protects the worker.
    LimitExceeded = "limit_exceeded" => Reject,
    /// The object was replaced while it was read.
    ObjectChanged = "object_changed" => Retry,
    /// The storage answered with an error that may pass, or not at all.
    StorageUnavailable = "storage_unavailable" => Retry,
    /// The storage answers nobody: an outage, which no number of tries ends.
    StorageDown = "storage_down" => Retry,
    /// What was stored is not what was sent.
    UploadUnverified = "upload_unverified" => Retry,
    /// The stage did not end within its deadline.
    TimedOut = "timed_out" => Retry,
    /// The code of a stage panicked. The parser is deterministic: what panicked once panics again.
    Panicked = "panicked" => Reject,
    /// The file has killed its workers: out of memory, abort.
    KilledWorker = "killed_worker" => Reject,
    /// The work was cancelled before it ended.
    Cancelled = "cancelled" => Retry,
    /// The broker did not confirm the last commit.
    CommitUnconfirmed = "commit_unconfirmed" => Retry,
    /// The result could not be delivered to the result topic.
    ResultUndelivered = "result_undelivered" => Retry,
    /// Credentials are wrong, missing, or do not allow the operation.
    PermissionDenied = "permission_denied" => Fatal,
    /// The configuration cannot work.
    Misconfigured = "misconfigured" => Fatal,
    /// The broker refused this client for good.
    BrokerRefused = "broker_refused" => Fatal,
}

impl Kind {
    /// Whether tries are not counted: nothing about the task is wrong.
    pub fn is_outage(self) -> bool {
        self == Kind::StorageDown
    }
}

/// A failure of one task, or of the worker.
#[derive(Debug)]
pub struct Failure {
    /// Where on the path.
    pub stage: Stage,
    /// What went wrong.
    pub kind: Kind,
    /// What, where (key, line, byte) and what to do, for a person.
    pub context: String,
    /// The error below, when there is one.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    /// A failure with nothing below it.
    pub fn new(stage: Stage, kind: Kind, context: impl Into<String>) -> Failure {
        Failure { stage, kind, context: context.into(), source: None }
    }

    /// The same failure with the error that caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Failure {
        self.source = Some(source.into());
        self
    }

    /// What happens to the task.
    pub fn status(&self) -> Status {
        self.kind.status()
    }

    /// The failure and everything below it in one line, for results and logs.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut below = self.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(source) = below {
            let text = source.to_string();
            // Some libraries already print their source: say everything once.
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            below = source.source();
        }
        line
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage.as_str(), self.context)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_says_everything_once() {
        let below = std::io::Error::other("connection reset");
        let failure =
            Failure::new(Stage::Download, Kind::StorageUnavailable, "could not read a.csv").because(below);
        assert_eq!(failure.chain(), "download: could not read a.csv: connection reset");
        assert_eq!(failure.to_string(), "download: could not read a.csv");
    }
}
