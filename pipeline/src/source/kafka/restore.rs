//! What the group committed for partitions that were just assigned: where to begin, and what is finished behind that.
//!
//! Promises: partitions begin exactly where the metadata that is read belongs to; metadata of someone else is told about
//! and left aside; the wait for the broker is bounded.
#![expect(unsafe_code, reason = "rdkafka panics on metadata that is not UTF-8, and anyone can commit such")]

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;

use crate::commit::Metadata;
use crate::failure::{Failure, Kind, Stage};
use crate::source::Intake;
use crate::source::kafka::context::{Context, partition_of};
use crate::task::NextOffset;
use crate::telemetry;

/// How long the broker may take to tell what was committed. It has just given us the partitions, so it is there; a
/// transaction of a worker that died holds the answer back until it has timed out.
const PATIENCE: Duration = Duration::from_secs(90);
/// For one of the questions within that: the end of the intake is looked at in between.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads what was committed for the partitions of `list` into the intake, and gives the list with the offsets to begin
/// at; none for partitions without a commit.
///
/// # Errors
/// When the broker does not tell: what was finished must not run again because nobody knew.
pub(super) fn restore<C: Consumer<Context>>(
    consumer: &C,
    intake: &Intake,
    list: &TopicPartitionList,
) -> Result<TopicPartitionList, Failure> {
    if list.count() == 0 {
        return Ok(TopicPartitionList::new());
    }
    let until = Instant::now() + PATIENCE;
    let committed = loop {
        match ask(consumer, list) {
            Ok(committed) => break committed,
            // Nothing will be received any more.
            Err(_) if intake.is_closed() => return Ok(list.clone()),
            Err(error) if Instant::now() >= until => {
                let context =
                    "the broker does not tell what the group committed; restart the worker when it does";
                return Err(Failure::new(Stage::Claim, Kind::BrokerRefused, context).because(error));
            }
            Err(error) => telemetry::restore_delayed(&error),
        }
    };
    // SAFETY: the list lives longer than the borrows of its elements, which nothing changes meanwhile.
    let elements = unsafe {
        let list = &*committed.ptr();
        (0..committed.count()).map(|index| &*list.elems.add(index))
    };
    for (element, raw) in committed.elements().iter().zip(elements) {
        let rdkafka::Offset::Offset(next) = element.offset() else { continue };
        let text: &[u8] = if raw.metadata.is_null() {
            &[]
        } else {
            // SAFETY: librdkafka's own buffer and its length, as long as the list lives.
            unsafe { std::slice::from_raw_parts(raw.metadata.cast(), raw.metadata_size) }
        };
        let (partition, next) = (partition_of(element), NextOffset(next));
        let metadata = Metadata::decode(text, next).unwrap_or_else(|foreign| {
            telemetry::metadata_ignored(&partition, &foreign);
            Metadata::default()
        });
        if !metadata.finished.is_empty() {
            telemetry::finished_remembered(&partition, next, metadata.finished.count());
        }
        intake.restore(&partition, next, metadata);
    }
    Ok(committed)
}

fn ask<C: Consumer<Context>>(consumer: &C, list: &TopicPartitionList) -> KafkaResult<TopicPartitionList> {
    let committed = consumer.committed_offsets(list.clone(), QUESTION_TIMEOUT)?;
    match committed.elements().iter().find_map(|element| element.error().err()) {
        Some(error) => Err(error),
        None => Ok(committed),
    }
}
