//! Tasks: what a message of the task topic asks for, and where that message lies.
//!
//! Promises: a message either becomes a [`Task`] or an error that says why not; fields this version does
//! not know are ignored (a dead letter has the whole message). A storage's own notification of a new object is a task, too (`task/notification.rs`).
//!
//! Never: no clock, no runtime, no Kafka: bytes in, values out.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

mod notification;

/// The longest message that is read as a task, in bytes: a hundred times a usual one. Received tasks wait in memory.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// The longest bucket or key, in bytes: more than OBS and S3 allow (1024 for a key).
pub const NAME_BYTES_MAX: usize = 2048;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub id: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.id)
    }
}

/// The offset of a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Offset(pub i64);

/// The offset to read next: what is committed. Never interchangeable with [`Offset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextOffset(pub i64);

impl Offset {
    /// Reading starts behind this message.
    pub fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }

    /// Reading starts again at this message.
    pub fn again(self) -> NextOffset {
        NextOffset(self.0)
    }
}

/// Where a message lies: the identity of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The offset in it.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset.0)
    }
}

/// A file to summarise: the task message of the user's guide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// The object's key. The only required field.
    pub key: String,
    /// The source bucket; the worker's default when absent.
    pub bucket: Option<String>,
    /// The destination bucket; the worker's default when absent.
    pub dest_bucket: Option<String>,
    /// The destination key; `{key}.parsed.json` when absent.
    pub dest_key: Option<String>,
    /// Bytes, as the generator saw it. Informative.
    pub size: Option<u64>,
}

/// Why a message is no task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATask {
    /// A tombstone.
    #[error("the message is empty; a task is a JSON object with at least `key`")]
    Empty,
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    #[error("the message is longer than {PAYLOAD_BYTES_MAX} bytes, which no task is")]
    TooLarge,
    /// A name longer than [`NAME_BYTES_MAX`].
    #[error("the field `{0}` is longer than {NAME_BYTES_MAX} bytes; no bucket or key is")]
    NameTooLong(&'static str),
    /// Not JSON, or not UTF-8.
    #[error("the message is not JSON ({0}); a task is a JSON object with at least `key`")]
    NotJson(String),
    /// JSON, but no object.
    #[error("the message is JSON but not an object; a task is a JSON object with at least `key`")]
    NotAnObject,
    /// An object without a usable key.
    #[error("the field `key` is missing or empty; it names the object to process")]
    NoKey,
    /// A field that must be a string is none.
    #[error("the field `{0}` must be a string")]
    NotAString(&'static str),
    /// A notification about something else than a new object.
    #[error(
        "the notification tells of {0:?}, not of a new object; let the storage notify of ObjectCreated only"
    )]
    NoNewObject(String),
    /// A notification about so many objects.
    #[error("the notification names {0} objects, and a task is about one: send one message for each")]
    ManyObjects(usize),
    /// A notification that lacks something.
    #[error("the notification has no usable {0}")]
    BadNotification(&'static str),
}

/// Reads the payload of a message as a task.
///
/// # Errors
/// Says which rule of the contract the message breaks. Informative fields never break it.
pub fn parse(payload: &[u8]) -> Result<Task, NotATask> {
    if payload.is_empty() {
        return Err(NotATask::Empty);
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(NotATask::TooLarge);
    }
    let value: Value =
        serde_json::from_slice(payload).map_err(|error| NotATask::NotJson(error.to_string()))?;
    let Value::Object(mut fields) = value else { return Err(NotATask::NotAnObject) };
    if let Some(task) = notification::read(&fields) {
        return task;
    }

    let key = take_string(&mut fields, "key")?.filter(|key| !key.is_empty()).ok_or(NotATask::NoKey)?;
    let bucket = take_string(&mut fields, "bucket")?;
    let dest_bucket = take_string(&mut fields, "dest_bucket")?;
    let dest_key = take_string(&mut fields, "dest_key")?;
    let size = fields.get("size").and_then(Value::as_u64);
    Ok(Task { key, bucket, dest_bucket, dest_key, size })
}

/// A missing, null or empty string is absent: generators write all three.
fn take_string(fields: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, NotATask> {
    match fields.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() > NAME_BYTES_MAX => Err(NotATask::NameTooLong(name)),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(NotATask::NotAString(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_example_is_a_task() {
        let task = parse(
            br#"{"key":"data/input.csv","bucket":"source-bucket","dest_bucket":"processed-bucket",
                 "dest_key":"processed/input.csv.json","size":1024,
                 "last_modified":"2025-08-25T12:00:00Z","generated_at":"2025-08-25T12:05:00Z"}"#,
        )
        .unwrap();
        assert_eq!(task.key, "data/input.csv");
        assert_eq!(task.bucket.as_deref(), Some("source-bucket"));
        assert_eq!(task.dest_bucket.as_deref(), Some("processed-bucket"));
        assert_eq!(task.dest_key.as_deref(), Some("processed/input.csv.json"));
        assert_eq!(task.size, Some(1024));
    }

    #[test]
    fn what_is_no_task_says_why() {
        for (payload, reason) in [
            (&b""[..], NotATask::Empty),
            (b"[]", NotATask::NotAnObject),
            (b"{}", NotATask::NoKey),
            (br#"{"key":""}"#, NotATask::NoKey),
            (br#"{"key":7}"#, NotATask::NotAString("key")),
            (br#"{"key":"a","bucket":["b"]}"#, NotATask::NotAString("bucket")),
        ] {
            assert_eq!(parse(payload), Err(reason), "{}", String::from_utf8_lossy(payload));
        }
        let long = format!(r#"{{"key":"{}"}}"#, "k".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(parse(long.as_bytes()), Err(NotATask::NameTooLong("key")));
        let large = format!(r#"{{"key":"a","more":"{}"}}"#, "m".repeat(PAYLOAD_BYTES_MAX));
        assert!(parse(large.as_bytes()) == Err(NotATask::TooLarge));
        assert!(matches!(parse(b"{\"key\":"), Err(NotATask::NotJson(_))));
        assert!(matches!(parse(b"\xff\xfe"), Err(NotATask::NotJson(_))));
    }

    #[test]
    fn informative_and_unknown_fields_never_break_a_task() {
        let task =
            parse(br#"{"key":"a.csv","size":"big","bucket":null,"dest_key":"","colour":"red"}"#).unwrap();
        assert_eq!((task.size, task.bucket, task.dest_key), (None, None, None));
    }
}
