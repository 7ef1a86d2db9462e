//! Results: reading the result topic, for people and scripts.
//!
//! Promises: a reader joins no group and moves nobody's offset; messages of the Python workers are read as well as our
//! own, and one that is neither is shown, not swallowed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::config::WorkerType;
use crate::pattern::Globs;
use crate::publish::ResultStatus;

pub mod kafka;

/// A message of the result topic, as far as it can be read.
#[derive(Clone, Debug)]
pub struct Record {
    /// The message as it lies there, without line breaks.
    pub line: String,
    /// Its fields; none when it is no JSON.
    pub fields: Option<Value>,
    /// When Kafka took it.
    pub arrived: Option<Timestamp>,
}

impl Record {
    /// Reads a message.
    pub fn new(payload: &[u8], arrived: Option<Timestamp>) -> Record {
        let fields = serde_json::from_slice(payload).ok();
        let line = String::from_utf8_lossy(payload).replace(['\n', '\r'], " ");
        Record { line, fields, arrived }
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.fields.as_ref()?.pointer(pointer)?.as_str()
    }

    fn number(&self, pointer: &str) -> Option<f64> {
        self.fields.as_ref()?.pointer(pointer)?.as_f64()
    }

    /// Success or failure.
    pub fn status(&self) -> Option<ResultStatus> {
        serde_json::from_value(self.fields.as_ref()?.get("status")?.clone()).ok()
    }

    /// The key of the object.
    pub fn key(&self) -> Option<&str> {
        self.text("/source/key")
    }

    /// When the task was settled: what the message says, else when it arrived.
    pub fn time(&self) -> Option<Timestamp> {
        self.text("/timestamp").and_then(|time| time.parse().ok()).or(self.arrived)
    }

    /// The kind of worker.
    pub fn worker_type(&self) -> Option<WorkerType> {
        serde_json::from_value(self.fields.as_ref()?.get("worker_type")?.clone()).ok()
    }

    /// Rows of the file.
    pub fn rows(&self) -> Option<u64> {
        self.fields.as_ref()?.get("rows")?.as_u64()
    }

    /// Seconds of work.
    pub fn seconds(&self) -> Option<f64> {
        self.number("/processing_time")
    }

    /// Where the summary is, or what went wrong.
    pub fn outcome(&self) -> Option<&str> {
        self.text("/destination/key").or_else(|| self.text("/error"))
    }
}

/// Which results are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only such.
    pub status: Option<ResultStatus>,
    /// Only of keys that match; of all when there is no glob.
    pub key: Globs,
    /// Only settled at or after this.
    pub since: Option<Timestamp>,
}

impl Filter {
    /// Whether it is wanted. What cannot be read passes where nothing is asked of it.
    pub fn takes(&self, record: &Record) -> bool {
        self.status.is_none_or(|status| record.status() == Some(status))
            && (self.key.is_empty() || record.key().is_some_and(|key| self.key.matches(key)))
            && self.since.is_none_or(|since| record.time().is_some_and(|time| time >= since))
    }
}

/// How many results of which status, as the guide's monitoring script counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<String, u64>);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, record: &Record) {
        let status = record.text("/status").unwrap_or("unreadable");
        *self.0.entry(status.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guide's own example: a message of the Python workers.
    const OLD: &str = r#"{"timestamp":"2025-08-25T12:30:00Z","worker_type":"multi_process","status":"failed",
        "source":{"bucket":"input-bucket","key":"data/corrupted.csv"},"error":"文件格式不支持",
        "file_info":{"input_size":512,"output_size":0}}"#;

    #[test]
    fn the_old_workers_messages_are_read_too() {
        let record = Record::new(OLD.as_bytes(), None);
        assert_eq!(record.status(), Some(ResultStatus::Failed));
        assert_eq!((record.key(), record.outcome()), (Some("data/corrupted.csv"), Some("文件格式不支持")));
        assert_eq!((record.rows(), record.seconds()), (None, None));
        assert!(!record.line.contains('\n'), "one line each");
    }

    #[test]
    fn a_filter_asks_for_status_key_and_time() {
        let record = Record::new(OLD.as_bytes(), None);
        let since = |text: &str| Filter { since: Some(text.parse().unwrap()), ..Filter::default() };
        assert!(since("2025-08-25T12:30:00Z").takes(&record));
        assert!(!since("2025-08-25T12:30:01Z").takes(&record));
        let status = |status| Filter { status: Some(status), ..Filter::default() };
        assert!(status(ResultStatus::Failed).takes(&record) && !status(ResultStatus::Success).takes(&record));
        let key = |glob: &str| Filter { key: glob.parse().unwrap(), ..Filter::default() };
        assert!(key("data/*.csv").takes(&record) && !key("*.json").takes(&record));
    }

    #[test]
    fn what_is_no_result_is_counted_and_shown() {
        let record = Record::new(b"hello", None);
        assert!(Filter::default().takes(&record));
        let mut counts = Counts::default();
        counts.add(&record);
        counts.add(&Record::new(OLD.as_bytes(), None));
        assert_eq!(counts.0, BTreeMap::from([("failed".to_owned(), 1), ("unreadable".to_owned(), 1)]));
    }
}
