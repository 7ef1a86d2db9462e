//! The task generator: objects become task messages, one a file.
//!
//! Promises: tasks leave while the listing goes on, at most [`IN_FLIGHT_MAX`] of them unconfirmed, so a bucket of
//! millions needs no more memory than one of a thousand; a task counts as sent when the broker confirmed it.
//!
//! Never: a key that the workers would refuse: it is reported instead of sent.
//!
//! ```no_run
//! use pipeline::config::{Config, WorkerType};
//! use pipeline::generator::{Generator, NewTask};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::from_variables(&Config::variables()?, WorkerType::MultiProcess)?;
//! let generator = Generator::connect(&config.kafka)?;
//! let files = ["data/file1.csv", "data/file2.json"];
//! let tasks = files.map(|key| Ok(NewTask::new("my-bucket", key)));
//! let report = generator.send(futures::stream::iter(tasks), |_| ()).await?;
//! assert_eq!(report.sent, 2);
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::Kafka;
use crate::failure::{Failure, Stage};
use crate::storage::location::check_key;
use crate::storage::{Listed, Storage};

mod kafka;

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
    /// When this task was made, UTC.
    pub generated_at: String,
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
            generated_at: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }
}

/// Which objects of a bucket become tasks.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The bucket.
    pub bucket: String,
    /// Keys begin with this; empty for all.
    pub prefix: String,
    /// At most so many tasks.
    pub count_max: Option<usize>,
    /// Objects of at least so many bytes.
    pub size_min: u64,
    /// Objects of at most so many bytes.
    pub size_max: Option<u64>,
    /// Where the summaries go.
    pub dest_bucket: Option<String>,
}

impl Selection {
    fn takes(&self, object: &Listed) -> bool {
        object.key.starts_with(&self.prefix)
            && object.size >= self.size_min
            && self.size_max.is_none_or(|size_max| object.size <= size_max)
    }

    /// The tasks of the selected objects, as the listing arrives.
    ///
    /// # Errors
    /// When the listing cannot begin; later errors come in the stream.
    pub async fn tasks(
        &self,
        storage: &Arc<Storage>,
    ) -> Result<impl Stream<Item = Result<NewTask, Failure>> + Send + Unpin + use<>, Failure> {
        let bucket = storage.bucket(&self.bucket, Stage::Claim)?;
        // A store lists by folders: what lies behind the last `/` of the prefix is sorted out here.
        let folder = self.prefix.rfind('/').map_or("", |end| &self.prefix[..=end]);
        let listing = bucket.list(folder).await?;
        let selection = self.clone();
        let count_max = self.count_max.unwrap_or(usize::MAX);
        let tasks = listing.try_filter_map(move |object| {
            let task = selection.takes(&object).then(|| NewTask {
                dest_bucket: selection.dest_bucket.clone(),
                size: Some(object.size),
                ..NewTask::new(&selection.bucket, object.key)
            });
            std::future::ready(Ok(task))
        });
        Ok(tasks.take(count_max))
    }
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tasks that the broker confirmed.
    pub sent: u64,
    /// Objects whose keys no worker could address.
    pub refused: u64,
}

/// Sends tasks to the task topic.
pub struct Generator {
    sender: kafka::Sender,
}

impl Generator {
    /// Connects to the brokers of the configuration.
    ///
    /// # Errors
    /// When the producer cannot be created.
    pub fn connect(kafka: &Kafka) -> Result<Generator, Failure> {
        Ok(Generator { sender: kafka::Sender::new(kafka)? })
    }

    /// Sends every task and waits for the confirmations. `progress` is told after each.
    ///
    /// # Errors
    /// The first failure of the listing or the broker. What was confirmed before is in the topic.
    pub async fn send(
        &self,
        tasks: impl Stream<Item = Result<NewTask, Failure>>,
        mut progress: impl FnMut(&Report),
    ) -> Result<Report, Failure> {
        let mut report = Report::default();
        let sends = tasks.map(|task| async move {
            let task = task?;
            match check_key(&task.key, Stage::Claim) {
                Ok(()) => self.sender.send(&task).await.map(|()| true),
                Err(_) => Ok(false),
            }
        });
        let mut sends = std::pin::pin!(sends.buffer_unordered(IN_FLIGHT_MAX));
        while let Some(sent) = sends.next().await {
            match sent? {
                true => report.sent += 1,
                false => report.refused += 1,
            }
            progress(&report);
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task;

    #[test]
    fn what_is_generated_is_a_task() {
        let new = NewTask { size: Some(1024), ..NewTask::new("in", "data/a.csv") };
        let task = task::parse(&serde_json::to_vec(&new).unwrap()).unwrap();
        assert_eq!(
            (task.key.as_str(), task.bucket.as_deref(), task.size),
            ("data/a.csv", Some("in"), Some(1024))
        );
        assert_eq!((task.dest_bucket, task.dest_key), (None, None));
    }

    #[test]
    fn a_selection_is_a_prefix_and_sizes() {
        let selection = Selection {
            prefix: "data/2024".into(),
            size_min: 10,
            size_max: Some(20),
            ..Selection::default()
        };
        let takes = |key: &str, size| selection.takes(&Listed { key: key.into(), size });
        assert!(takes("data/2024-08/a.csv", 10) && takes("data/2024/a.csv", 20));
        assert!(
            !takes("data/2023/a.csv", 10) && !takes("data/2024/a.csv", 9) && !takes("data/2024/a.csv", 21)
        );
    }
}
