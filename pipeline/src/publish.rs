//! Publish: what became of a task, as a message on the result topic.
//!
//! Promises: the messages are those of the user's guide, extended and never changed, so readers written for it
//! go on working; a failure is a dead letter besides; the stage ends when the broker has confirmed all of it, and not
//! before.
//!
//! Never: a decision about the task. What is announced was decided by the path.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::WorkerType;
use crate::dead_letter::DeadLetter;
use crate::failure::{Failure, Kind, Stage, Status};
use crate::message::Message;
use crate::path::{Job, Outcome, Place, Success};

pub mod kafka;
pub mod memory;

/// The longest `error` of a result: a parser's panic may say anything, and the broker limits messages.
const ERROR_CHARACTERS_MAX: usize = 4_000;

/// What is announced about a settled task: all of it, or it counts for nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// For the result topic.
    pub result: ResultMessage,
    /// For the dead-letter topic, when the task failed.
    pub dead_letter: Option<Message>,
}

impl Notice {
    /// The notice about a task that is settled now. `worker`: by whom.
    pub fn new(job: &Job, outcome: &Outcome, worker_type: WorkerType, worker: &str) -> Notice {
        let letter = outcome.as_ref().as_ref().err().map(|failure| DeadLetter::new(job, failure, worker));
        Notice {
            result: ResultMessage::new(job, outcome, worker_type),
            dead_letter: letter.as_ref().map(DeadLetter::message),
        }
    }
}

/// A message of the result topic. The first seven fields are the guide's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultMessage {
    /// When the task was settled, UTC.
    pub timestamp: String,
    /// The kind of worker.
    pub worker_type: WorkerType,
    /// Success or failure.
    pub status: ResultStatus,
    /// What was read.
    pub source: Place,
    /// What was written. Only on success.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub destination: Option<Place>,
    /// What went wrong, for a person. Only on failure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Sizes.
    pub file_info: FileInfo,
    /// Which message asked for it.
    pub task: TaskInfo,
    /// Seconds from the beginning of this try.
    pub processing_time: f64,
    /// Rows of the file. Only on success.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// Columns of the file. Only on success.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub columns: Option<u64>,
    /// The stage that failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stage: Option<String>,
    /// The kind of failure, for programs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_kind: Option<String>,
    /// Whether the failure was of a kind that may pass (its tries are used up).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retriable: Option<bool>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultStatus {
    /// The summary is stored.
    Success,
    /// There is none.
    Failed,
}

/// Sizes in bytes, and as people read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Bytes of the object.
    pub input_size: u64,
    /// Bytes of the summary.
    pub output_size: u64,
    /// The same, such as `1.0 KB`. Only on success.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input_size_formatted: Option<String>,
    /// The same. Only on success.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_size_formatted: Option<String>,
}

/// The identity of a task: readers that must not count a repeat twice use it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskInfo {
    /// The task topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The try.
    pub attempt: u32,
}

impl ResultMessage {
    /// The message about a task that is settled now.
    pub fn new(job: &Job, outcome: &Result<Success, Failure>, worker_type: WorkerType) -> ResultMessage {
        let position = &job.position;
        let message = ResultMessage {
            timestamp: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            worker_type,
            status: ResultStatus::Failed,
            source: job.source.clone(),
            destination: None,
            error: None,
            file_info: FileInfo { input_size: job.size.unwrap_or(0), ..FileInfo::default() },
            task: TaskInfo {
                topic: position.partition.topic.to_string(),
                partition: position.partition.id,
                offset: position.offset.0,
                attempt: job.attempt,
            },
            processing_time: job.begun.elapsed().as_secs_f64(),
            rows: None,
            columns: None,
            stage: None,
            error_kind: None,
            retriable: None,
        };
        match outcome {
            Ok(success) => ResultMessage {
                status: ResultStatus::Success,
                destination: Some(job.destination.clone()),
                file_info: FileInfo {
                    input_size: success.input_size,
                    output_size: success.output_size,
                    input_size_formatted: Some(format_size(success.input_size)),
                    output_size_formatted: Some(format_size(success.output_size)),
                },
                rows: Some(success.rows),
                columns: Some(success.columns),
                ..message
            },
            Err(failure) => ResultMessage {
                error: Some(failure.chain().chars().take(ERROR_CHARACTERS_MAX).collect()),
                stage: Some(failure.stage.as_str().to_owned()),
                error_kind: Some(failure.kind.as_str().to_owned()),
                retriable: Some(failure.status() == Status::Retry),
                ..message
            },
        }
    }

    /// The message itself.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn payload(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self).map_err(|error| {
            Failure::new(Stage::Publish, Kind::Panicked, "could not write the result as JSON").because(error)
        })
    }

    /// The message's key: the source, so that all results of one object share a partition.
    pub fn key(&self) -> String {
        format!("{}/{}", self.source.bucket, self.source.key)
    }
}

/// Bytes as people read them: `1.0 KB`, in steps of 1024 as the guide has them.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit < UNITS.len() - 1 {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Offset, Partition, Position};
    use serde_json::json;

    fn job() -> Job {
        let partition = Partition { topic: "tasks".into(), id: 2 };
        Job {
            generation: crate::commit::Ledger::default().assign(partition.clone()),
            position: Position { partition, offset: Offset(17) },
            attempt: 1,
            message: std::sync::Arc::default(),
            source: Place { bucket: "input-bucket".into(), key: "data/input.csv".into() },
            destination: Place { bucket: "output-bucket".into(), key: "data/input.csv.parsed.json".into() },
            size: Some(512),
            begun: std::time::Instant::now(),
        }
    }

    /// Every field of the guide's example is there, with the example's value; ours come on top.
    fn check(outcome: Result<Success, Failure>, worker_type: WorkerType, guide: serde_json::Value) {
        let message = ResultMessage::new(&job(), &outcome, worker_type);
        let value = serde_json::to_value(&message).unwrap();
        for (name, expected) in guide.as_object().unwrap() {
            assert_eq!(&value[name], expected, "{name}");
        }
        assert_eq!(value["task"], json!({"topic": "tasks", "partition": 2, "offset": 17, "attempt": 1}));
        assert_eq!(serde_json::from_value::<ResultMessage>(value).unwrap(), message);
    }

    #[test]
    fn success_is_the_guides() {
        let success = Success { input_size: 1024, output_size: 2048, rows: 3, columns: 2 };
        check(
            Ok(success),
            WorkerType::SingleProcess,
            json!({
                "worker_type": "single_process",
                "status": "success",
                "source": {"bucket": "input-bucket", "key": "data/input.csv"},
                "destination": {"bucket": "output-bucket", "key": "data/input.csv.parsed.json"},
                "file_info": {
                    "input_size": 1024, "output_size": 2048,
                    "input_size_formatted": "1.0 KB", "output_size_formatted": "2.0 KB",
                },
                "rows": 3,
            }),
        );
    }

    #[test]
    fn failure_is_the_guides() {
        check(
            Err(Failure::new(Stage::Parse, Kind::UnsupportedFormat, "文件格式不支持")),
            WorkerType::MultiProcess,
            json!({
                "worker_type": "multi_process",
                "status": "failed",
                "source": {"bucket": "input-bucket", "key": "data/input.csv"},
                "error": "parse: 文件格式不支持",
                "file_info": {"input_size": 512, "output_size": 0},
                "stage": "parse", "error_kind": "unsupported_format", "retriable": false,
            }),
        );
    }

    #[test]
    fn sizes_as_people_read_them() {
        for (bytes, text) in [
            (0, "0.0 B"),
            (1023, "1023.0 B"),
            (1024, "1.0 KB"),
            (5 << 30, "5.0 GB"),
            (u64::MAX, "16777216.0 TB"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }
}
