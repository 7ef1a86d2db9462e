//! What a broker itself keeps of a group: every offset that was committed, in its order, and every generation.
//!
//! It is the topic `__consumer_offsets`, read as Apache Kafka writes it (`OffsetCommitKey`, `OffsetCommitValue`,
//! `GroupMetadataKey`, `GroupMetadataValue` of its sources), so that no commit can be missed between two looks.

use std::collections::BTreeSet;

use pipeline::message::Message;
use rdkafka::consumer::Consumer;

use super::{Client, REQUEST};

/// The broker's own topic.
const TOPIC: &str = "__consumer_offsets";

/// A commit, as the broker keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The partition of the task topic.
    pub partition: i32,
    /// When the broker took it, milliseconds since 1970.
    pub at_ms: i64,
    /// The offset to read next.
    pub next: i64,
    /// What is written beside it.
    pub metadata: String,
}

/// What a group did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupHistory {
    /// Its commits in the task topic, those of transactions if they were committed.
    pub commits: Vec<Committed>,
    /// The generations that it went through: one more for each rebalance.
    pub generations: BTreeSet<i32>,
}

impl Client {
    /// How many members the test's group has now.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn group_members(&self) -> usize {
        let group = &self.topics.group;
        let list = self.consumer().fetch_group_list(Some(group), REQUEST).expect("the group");
        list.groups().iter().map(|group| group.members().len()).sum()
    }

    /// What the broker keeps of the test's group.
    ///
    /// # Panics
    /// When it cannot be read, or is written in a way that is not known here.
    pub fn group_history(&self) -> GroupHistory {
        let mut history = GroupHistory::default();
        for (_, message) in self.read(TOPIC) {
            history
                .add(&message, &self.topics.group, &self.topics.tasks)
                .unwrap_or_else(|| panic!("{TOPIC}: {message:?} is written in a way that is not known here"));
        }
        history
    }
}

impl GroupHistory {
    fn add(&mut self, message: &Message, group: &str, topic: &str) -> Option<()> {
        let mut key = Fields(message.key.as_deref()?);
        let (version, of) = (key.int16()?, key.text()?);
        // A tombstone, or another group.
        let (Some(value), true) = (message.value.as_deref(), of == group) else { return Some(()) };
        let mut value = Fields(value);
        match (version, value.int16()?) {
            (0 | 1, layout @ (0..=4)) => {
                let (of, partition) = (key.text()?, key.int32()?);
                let next = value.int64()?;
                if layout >= 3 {
                    let _leader_epoch = value.int32()?;
                }
                let metadata = if layout >= 4 { value.compact_text()? } else { value.text()? };
                let at_ms = value.int64()?;
                if of == topic {
                    self.commits.push(Committed { partition, at_ms, next, metadata });
                }
            }
            (2, layout @ (0..=4)) => {
                let _protocol = if layout >= 4 { value.compact_text()? } else { value.text()? };
                self.generations.insert(value.int32()?);
            }
            // Other kinds of groups, which these tests have none of.
            _ => return None,
        }
        Some(())
    }
}

/// A reader of the broker's binary form. `None`: it ends too early, or is no text.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn int16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn int64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        match self.int16()? {
            -1 => Some(String::new()),
            length => self.text_of(usize::try_from(length).ok()?),
        }
    }

    /// Its length, plus one, is a varint; 0 is none.
    fn compact_text(&mut self) -> Option<String> {
        let mut length = 0_usize;
        for shift in (0..).step_by(7).take(4) {
            let [byte] = self.take()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return self.text_of(length.saturating_sub(1));
            }
        }
        None
    }

    fn text_of(&mut self, length: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn message(key: &[&[u8]], value: Option<&[&[u8]]>) -> Message {
        Message {
            key: Some(Bytes::from(key.concat())),
            value: value.map(|value| Bytes::from(value.concat())),
            ..Message::default()
        }
    }

    #[test]
    fn commits_and_generations_are_read_as_the_broker_writes_them() {
        let offset_key =
            |group: &str| [&[0, 1][..], &text(group), &text("tasks"), &7_i32.to_be_bytes()].concat();
        let third = [&[0, 3][..], &5_i64.to_be_bytes(), &[0xff; 4], &text("beside"), &99_i64.to_be_bytes()];
        let fourth =
            [&[0, 4][..], &6_i64.to_be_bytes(), &[0xff; 4], b"\x07beside", &100_i64.to_be_bytes(), &[0]];
        let group = [&[0, 3][..], &text("consumer"), &42_i32.to_be_bytes(), &text("cooperative-sticky")];
        let mut history = GroupHistory::default();
        for (message, is_known) in [
            (message(&[&offset_key("group")], Some(&third)), true),
            (message(&[&offset_key("group")], Some(&fourth)), true),
            (message(&[&offset_key("another")], Some(&third)), true),
            (message(&[&offset_key("group")], None), true),
            (message(&[&[0, 2], &text("group")], Some(&group)), true),
            (message(&[&[0, 2], &text("group")], Some(&[&[0, 9]])), false),
            (message(&[&offset_key("group")], Some(&third[..3])), false),
        ] {
            assert_eq!(history.add(&message, "group", "tasks").is_some(), is_known, "{message:?}");
        }
        let commit = |at_ms, next| Committed { partition: 7, at_ms, next, metadata: "beside".to_owned() };
        assert_eq!(history.commits, [commit(99, 5), commit(100, 6)]);
        assert_eq!(history.generations, BTreeSet::from([42]));
    }
}
