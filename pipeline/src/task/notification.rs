//! Notifications of new objects, as storages send them: read as tasks. Pure.
//!
//! | sender | shape | key |
//! |---|---|---|
//! | S3, MinIO | `Records: [{eventName, s3: {bucket, object}}]` | as in a form: `%2F`, `+` |
//! | Ceph | the same, `eventSource: "ceph:s3"` | as it is |
//! | OBS by its message service | `Records: [{eventName, obs: {bucket, object}}]` | as in a form |
//! | OBS by EventGrid | `{specversion, data: {eventName, obs: {bucket, object}}}`, also in `events: […]` | as in a form |
//! | S3 by EventBridge | `{detail-type: "Object Created", detail: {bucket, object}}` | as it is |
//!
//! The bucket of an `obs` is one at the OBS server, that of the others one at the S3 endpoint: `s3://NAME`.
//!
//! Sources: "Event message structure" (Amazon S3), "Using SMN to enable event notification" and "OBS events"
//! (Huawei OBS, EventGrid), "S3 bucket notifications" (Ceph). The shapes are told from a task by their own fields.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::task::{NAME_BYTES_MAX, NotATask, Task};

/// Reads a notification. `None`: the message is none.
pub(super) fn read(message: &Map<String, Value>) -> Option<Result<Task, NotATask>> {
    // A task may have further fields of any name.
    if message.get("key").is_some_and(Value::is_string) {
        return None;
    }
    if let Some(records) = message.get("Records").or_else(|| message.get("events")).and_then(Value::as_array)
    {
        return Some(match records.as_slice() {
            [one] => event(one),
            many => Err(NotATask::ManyObjects(many.len())),
        });
    }
    let is_event = message.contains_key("specversion") || message.contains_key("detail-type");
    let is_test = message.get("Event").and_then(Value::as_str) == Some("s3:TestEvent");
    match message {
        _ if is_event => Some(event(&Value::Object(message.clone()))),
        _ if is_test => Some(Err(NotATask::NoNewObject("s3:TestEvent".to_owned()))),
        _ => None,
    }
}

/// One event, in whichever of the shapes.
fn event(event: &Value) -> Result<Task, NotATask> {
    let event = event.get("data").unwrap_or(event);
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let name = text("/eventName").or_else(|| text("/detail-type"));
    let name = name.ok_or(NotATask::BadNotification("name of the event"))?;
    // `ObjectCreated:Put`, `s3:ObjectCreated:Put`, `Object Created`.
    if !name.replace(' ', "").contains("ObjectCreated") {
        return Err(NotATask::NoNewObject(name.chars().take(100).collect()));
    }
    let about = ["obs", "s3", "detail"].iter().find_map(|field| event.get(field));
    let about = about.ok_or(NotATask::BadNotification("object"))?;
    let is_raw = event.get("detail").is_some() || text("/eventSource") == Some("ceph:s3");
    let key = about.pointer("/object/key").and_then(Value::as_str).unwrap_or_default();
    let key = if is_raw { key.to_owned() } else { decode(key)? };
    let bucket = about.pointer("/bucket/name").and_then(Value::as_str).unwrap_or_default();
    for (what, text) in [("key", key.as_str()), ("bucket", bucket)] {
        if text.is_empty() {
            return Err(NotATask::BadNotification(what));
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NotATask::NameTooLong(what));
        }
    }
    let size = about.pointer("/object/size");
    // Older Ceph writes it in quotes.
    let size = size.and_then(|size| size.as_u64().or_else(|| size.as_str()?.parse().ok()));
    let is_obs = event.get("obs").is_some();
    let bucket = if is_obs { bucket.to_owned() } else { format!("s3://{bucket}") };
    Ok(Task { key, bucket: Some(bucket), size, ..Task::default() })
}

/// A key as forms write it: `+` is a blank, `%2F` a slash.
fn decode(key: &str) -> Result<String, NotATask> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(String::from).map_err(|_| NotATask::BadNotification("key: it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::parse;
    use serde_json::json;

    fn read(message: Value) -> Result<Task, NotATask> {
        parse(message.to_string().as_bytes())
    }

    #[test]
    fn a_new_object_is_a_task_in_every_shape() {
        let encoded = json!({ "key": "data%2F2024+08/%E6%96%87.csv", "size": 1024, "eTag": "e" });
        let raw = json!({ "key": "data/2024 08/文.csv", "size": 1024, "etag": "e" });
        let bucket = json!({ "name": "input-files" });
        let s3 = json!({ "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                         "s3": { "bucket": bucket, "object": encoded } });
        let obs = json!({ "eventSource": "OBS", "eventName": "ObjectCreated:CompleteMultipartUpload",
                          "obs": { "Version": "1.0", "bucket": bucket, "object": encoded } });
        let minio = json!({ "eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put",
                            "s3": { "bucket": bucket, "object": encoded } });
        let ceph = json!({ "eventSource": "ceph:s3", "eventName": "ObjectCreated:Copy",
                           "s3": { "bucket": bucket, "object": raw } });
        let grid = json!({ "specversion": "1.0", "source": "HC.OBS.DWR", "type": "OBS:DWR:ObjectCreated:PUT",
                           "data": obs });
        let bridge = json!({ "detail-type": "Object Created", "source": "aws.s3",
                             "detail": { "bucket": bucket, "object": raw } });
        for message in [
            json!({ "Records": [s3] }),
            json!({ "Records": [obs] }),
            json!({ "EventName": "s3:ObjectCreated:Put", "Key": "input-files/data", "Records": [minio] }),
            json!({ "Records": [ceph] }),
            grid.clone(),
            json!({ "events": [grid] }),
            bridge,
        ] {
            let task = read(message.clone()).unwrap();
            assert_eq!(task.key, "data/2024 08/文.csv", "{message}");
            let bucket = if message.to_string().contains("obs") { "input-files" } else { "s3://input-files" };
            assert_eq!((task.bucket.as_deref(), task.size), (Some(bucket), Some(1024)), "{message}");
            assert_eq!((task.dest_bucket, task.dest_key), (None, None));
        }
    }

    #[test]
    fn what_is_no_new_object_says_so() {
        let removed = json!({ "eventName": "ObjectRemoved:Delete", "s3": {} });
        let created = json!({ "eventName": "ObjectCreated:Put", "s3": { "object": { "key": "a" } } });
        for (message, reason) in [
            (json!({ "Records": [removed] }), NotATask::NoNewObject("ObjectRemoved:Delete".into())),
            (json!({ "Records": [created, created] }), NotATask::ManyObjects(2)),
            (json!({ "Records": [] }), NotATask::ManyObjects(0)),
            (json!({ "Records": [created] }), NotATask::BadNotification("bucket")),
            (json!({ "Records": [{}] }), NotATask::BadNotification("name of the event")),
            (
                json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b" }),
                NotATask::NoNewObject("s3:TestEvent".into()),
            ),
        ] {
            assert_eq!(read(message.clone()), Err(reason), "{message}");
        }
    }

    #[test]
    fn a_task_with_other_fields_of_such_names_stays_a_task() {
        for fields in [
            json!({ "key": "a.csv", "Records": [], "data": 7, "Event": "s3:TestEvent" }),
            json!({ "key": "a.csv", "events": [], "specversion": "1.0", "detail-type": "x" }),
        ] {
            assert_eq!(read(fields).unwrap().key, "a.csv");
        }
    }
}
