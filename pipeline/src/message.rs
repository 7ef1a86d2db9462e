//! Messages: what lies in a topic, as it came.
//!
//! Promises: key, value and headers are kept byte for byte. What is longer than any task is cut, and the message says
//! so: received messages wait in memory, and what is passed on must fit into a message again.
//!
//! Never: what a message means. That is for [`task`](crate::task) and [`dead_letter`](crate::dead_letter).

use bytes::Bytes;

use crate::task::PAYLOAD_BYTES_MAX;

/// How much of a message is kept, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the key.
    pub key: usize,
    /// Of the value.
    pub value: usize,
    /// Of all headers together.
    pub headers: usize,
}

/// What may be a task. Its key is bucket and key, and both are shorter than half of the limit; of its value one byte
/// beyond what a task may have is enough to see that it is none; tracing and routing need a few hundred of headers.
pub const TASK: Limits = Limits { key: 8 << 10, value: PAYLOAD_BYTES_MAX + 1, headers: 16 << 10 };
/// All of it, where one message at a time is looked at.
pub const WHOLE: Limits = Limits { key: usize::MAX, value: usize::MAX, headers: usize::MAX };

/// What a header costs beside its name and its value, so that many empty ones have a bound as well.
const HEADER_COST: usize = 16;

/// A header: its name, and its value if it has one.
pub type Header = (String, Option<Bytes>);

/// A message of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; none in a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in their order; a name may come more than once.
    pub headers: Vec<Header>,
    /// When it was made, or taken by the broker: milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Whether it was longer than what is kept.
    pub is_cut: bool,
}

impl Message {
    /// Copies a message, as much of it as is kept. A borrowed one would pin the buffer it came in.
    pub fn copy<'a>(
        limits: &Limits,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        timestamp: Option<i64>,
    ) -> Message {
        let mut message = Message { timestamp, ..Message::default() };
        let mut cut = |bytes: &[u8], max: usize| {
            message.is_cut |= bytes.len() > max;
            Bytes::copy_from_slice(&bytes[..bytes.len().min(max)])
        };
        message.key = key.map(|key| cut(key, limits.key));
        message.value = value.map(|value| cut(value, limits.value));
        let mut left = limits.headers;
        for (name, value) in headers {
            let cost = name.len() + value.map_or(0, <[u8]>::len) + HEADER_COST;
            let Some(rest) = left.checked_sub(cost) else {
                message.is_cut = true;
                break;
            };
            left = rest;
            message.headers.push((name.to_owned(), value.map(Bytes::copy_from_slice)));
        }
        message
    }

    /// A message that is nothing but a value.
    pub fn of(value: Bytes) -> Message {
        Message { value: Some(value), ..Message::default() }
    }

    /// The value; empty when there is none.
    pub fn payload(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The text of a header: of the last one of that name, which is the newest.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(other, _)| other == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(key: &[u8], value: &[u8], headers: &[(&str, Option<&[u8]>)]) -> Message {
        Message::copy(&TASK, Some(key), Some(value), headers.iter().copied(), Some(7))
    }

    #[test]
    fn a_message_is_kept_as_it_came() {
        let message = copy(b"\xff", b"{}", &[("a", Some(b"1")), ("none", None), ("a", Some(b"2"))]);
        assert_eq!((message.key.as_deref(), message.payload()), (Some(&b"\xff"[..]), &b"{}"[..]));
        assert_eq!(message.headers.len(), 3);
        assert_eq!((message.text("a"), message.text("none"), message.text("b")), (Some("2"), None, None));
        assert_eq!((message.timestamp, message.is_cut), (Some(7), false));
        let tombstone = Message::copy(&TASK, None, None, std::iter::empty(), None);
        assert_eq!(tombstone, Message::default());
    }

    #[test]
    fn what_is_longer_than_any_task_is_cut_and_says_so() {
        let most = copy(&[0; TASK.key], &[0; TASK.value], &[]);
        assert!(!most.is_cut);
        let value = copy(b"", &[0; TASK.value + 1], &[]);
        assert!(value.is_cut && value.payload().len() == TASK.value);
        let key = copy(&[0; TASK.key + 1], b"", &[]);
        assert!(key.is_cut && key.key.unwrap().len() == TASK.key);
        let many = vec![("", None); TASK.headers];
        let headers = copy(b"", b"", &many);
        assert!(headers.is_cut && headers.headers.len() == TASK.headers / HEADER_COST);
    }
}
