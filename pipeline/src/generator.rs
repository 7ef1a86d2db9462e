//! The task generator: objects become task messages, one a file.
//!
//! Promises: tasks leave while the listing goes on, a bounded number of them unconfirmed, so a bucket of millions needs
//! no more memory than one of a thousand; a task counts as sent when the broker confirmed it; what failed or was
//! interrupted does not hide what was sent.
//!
//! Never: a key that the workers would refuse: it is reported instead of sent.
//!
//! ```no_run
//! use pipeline::config::{Config, WorkerType};
//! use pipeline::generator::{IN_FLIGHT_MAX, TaskGenerator, tasks_from_list};
//! use pipeline::pattern::Routes;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::from_variables(&Config::variables()?, WorkerType::MultiProcess)?;
//! let generator = TaskGenerator::connect(&config.kafka, Routes::default())?;
//!
//! // Tasks from a list of files, 50 at a time on their way to Kafka.
//! let files = ["data/file1.csv", "data/file2.json"];
//! let report = generator.send(tasks_from_list(files, "my-bucket"), 50).await?;
//! assert_eq!(report.sent, 2);
//!
//! generator.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A whole bucket: [`Selection::tasks`] into [`TaskGenerator::send_stream`].

use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::Kafka;
use crate::failure::{Failure, Stage};
use crate::pattern::Routes;
use crate::storage::Listed;
use crate::storage::location::check_key;

pub mod batch;
mod kafka;
pub mod seen;
pub mod selection;

pub use selection::Selection;

/// Tasks on their way to the broker. Enough to fill its batches, little enough to forget about the memory.
pub const IN_FLIGHT_MAX: usize = 1_000;

/// A task message, as the user's guide has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewTask {
    /// The object's key.
    pub key: String,
    /// Its bucket.
    pub bucket: String,
    /// Where the summary goes; the worker's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_bucket: Option<String>,
    /// Its key there; `{key}.parsed.json` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_key: Option<String>,
    /// Bytes, when the listing told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When the object was last written, UTC, when the listing told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// When this task was made, UTC.
    pub generated_at: String,
    /// The version of the object: its etag, else its size and time. No part of the message.
    #[serde(skip)]
    pub version: Option<String>,
}

impl NewTask {
    /// The task of one object, made now.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> NewTask {
        NewTask {
            key: key.into(),
            bucket: bucket.into(),
            dest_bucket: None,
            dest_key: None,
            size: None,
            last_modified: None,
            generated_at: written(Timestamp::now()),
            version: None,
        }
    }

    /// The task of an object that was listed.
    pub fn of(bucket: &str, object: Listed) -> NewTask {
        let last_modified = object.modified.map(written);
        // Not the message's seconds: a file may be written twice in one.
        let by_time = || object.modified.map(|time| format!("{}@{time}", object.size));
        NewTask {
            version: object.etag.clone().or_else(by_time),
            size: Some(object.size),
            last_modified,
            ..NewTask::new(bucket, object.key)
        }
    }
}

/// The guide's form of a time: seconds, UTC.
fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The tasks of some files of a bucket.
pub fn tasks_from_list<K: Into<String>>(
    keys: impl IntoIterator<Item = K>,
    bucket: &str,
) -> impl Iterator<Item = NewTask> {
    keys.into_iter().map(move |key| NewTask::new(bucket, key))
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tasks that the broker confirmed.
    pub sent: u64,
    /// Objects whose keys no worker could address.
    pub refused: u64,
}

/// Sends tasks to their topics.
pub struct TaskGenerator {
    sender: kafka::Sender,
    routes: Routes,
}

impl TaskGenerator {
    /// Connects to the brokers of the configuration. A task goes where its route leads, else to the task topic.
    ///
    /// # Errors
    /// When the producer cannot be created.
    pub fn connect(kafka: &Kafka, routes: Routes) -> Result<TaskGenerator, Failure> {
        Ok(TaskGenerator { sender: kafka::Sender::new(kafka)?, routes })
    }

    /// Sends every task, at most `batch_size` of them unconfirmed at a time, and waits for the confirmations.
    ///
    /// # Errors
    /// The first failure. What was confirmed before is in the topic.
    pub async fn send(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
        batch_size: usize,
    ) -> Result<Report, Failure> {
        self.send_stream(stream::iter(tasks.into_iter().map(Ok)), batch_size, |_, _| Ok(())).await
    }

    /// The same for tasks as they come. `confirmed` is told of each task that is in the topic, and of the state of
    /// things.
    ///
    /// # Errors
    /// The first failure of the stream, of the broker or of `confirmed`. Nothing new is sent after it; what was on its
    /// way is waited for.
    pub async fn send_stream(
        &self,
        tasks: impl Stream<Item = Result<NewTask, Failure>>,
        batch_size: usize,
        mut confirmed: impl FnMut(&NewTask, &Report) -> Result<(), Failure>,
    ) -> Result<Report, Failure> {
        let (mut report, mut failure) = (Report::default(), None);
        let failed = CancellationToken::new();
        let until_failure = tasks.take_until(failed.clone().cancelled_owned());
        let sends = until_failure.map_ok(|task| self.send_one(task)).map(async |send| send?.await);
        let mut sends = std::pin::pin!(sends.buffer_unordered(batch_size.max(1)));
        while let Some(sent) = sends.next().await {
            let told = sent.and_then(|(task, sent)| {
                match sent {
                    true => report.sent += 1,
                    false => report.refused += 1,
                }
                if sent { confirmed(&task, &report) } else { Ok(()) }
            });
            if let Err(error) = told {
                failed.cancel();
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(report), Err)
    }

    async fn send_one(&self, task: NewTask) -> Result<(NewTask, bool), Failure> {
        if check_key(&task.key, Stage::Claim).is_err() {
            return Ok((task, false));
        }
        self.sender.send(&task, self.routes.topic(&task.key)).await?;
        Ok((task, true))
    }

    /// Ends the connection. Everything that was sent is confirmed already, so this only says goodbye.
    ///
    /// # Errors
    /// When the broker does not answer any more.
    pub async fn close(self) -> Result<(), Failure> {
        tokio::task::spawn_blocking(move || self.sender.close()).await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task;

    #[test]
    fn what_is_generated_is_a_task() {
        let modified = "2025-08-25T12:00:00Z".parse().unwrap();
        let listed = Listed {
            key: "data/a.csv".into(),
            size: 1024,
            etag: Some("\"e\"".into()),
            modified: Some(modified),
        };
        let new = NewTask::of("in", listed.clone());
        let message = serde_json::to_value(&new).unwrap();
        assert_eq!(message["last_modified"], "2025-08-25T12:00:00Z");
        assert!(message.get("version").is_none(), "no part of the message");
        let task = task::parse(&serde_json::to_vec(&new).unwrap()).unwrap();
        assert_eq!(
            (task.key.as_str(), task.bucket.as_deref(), task.size),
            ("data/a.csv", Some("in"), Some(1024))
        );
        assert_eq!((task.dest_bucket, task.dest_key), (None, None));
        assert_eq!(new.version.as_deref(), Some("\"e\""));
        let folder = NewTask::of("in", Listed { etag: None, ..listed });
        assert_eq!(folder.version.as_deref(), Some("1024@2025-08-25T12:00:00Z"));
    }
}
