//! The result topic, all its partitions, without a group.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{Stream, stream};
use jiff::Timestamp;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::time::timeout;

use crate::config::Kafka;
use crate::failure::{Failure, Kind, Stage};
use crate::kafka::inspect::Inspector;
use crate::kafka::{Noting, client_config, refusal, setup_failure};
use crate::results::Record;

/// For finding the place of a time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reader that wants to come to an end waits for the next message, or for the news that there is none.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the next message.
    Now,
    /// With the first that arrived at or after this.
    At(Timestamp),
    /// With the first there is.
    Beginning,
}

/// The results as they come; with `to_end`, up to the last that is there now.
///
/// # Errors
/// When the topic cannot be read; later errors come in the stream. Lost connections are none: the client reconnects.
pub async fn follow(
    kafka: &Kafka,
    begin: Begin,
    to_end: bool,
) -> Result<impl Stream<Item = Result<Record, Failure>> + use<>, Failure> {
    let kafka = kafka.clone();
    let opened = tokio::task::spawn_blocking(move || open(&kafka, begin)).await;
    let (consumer, partitions) = opened.map_err(|error| {
        Failure::new(Stage::Publish, Kind::Panicked, "could not open the result topic").because(error)
    })??;
    let unread = if to_end { partitions } else { BTreeSet::new() };
    Ok(stream::unfold((consumer, unread), move |(consumer, mut unread)| async move {
        while !to_end || !unread.is_empty() {
            let received = match to_end {
                true => timeout(SILENCE_MAX, consumer.recv()).await,
                false => Ok(consumer.recv().await),
            };
            let Ok(received) = received else {
                let context =
                    "the brokers went silent before the last result was read; check KAFKA_BOOTSTRAP_SERVERS";
                let silent = Failure::new(Stage::Publish, Kind::ResultUndelivered, context);
                return Some((Err(silent), (consumer, BTreeSet::new())));
            };
            let record = match received {
                Ok(message) => {
                    let arrived = message.timestamp().to_millis().map(Timestamp::from_millisecond);
                    Ok(Record::new(message.payload().unwrap_or_default(), arrived.and_then(Result::ok)))
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    unread.remove(&partition);
                    continue;
                }
                Err(error) => match error.rdkafka_error_code().and_then(refusal) {
                    Some((kind, advice)) => Err(failure(kind, advice, error)),
                    // It passes, or a person ends the waiting.
                    None => continue,
                },
            };
            return Some((record, (consumer, unread)));
        }
        None
    }))
}

fn open(kafka: &Kafka, begin: Begin) -> Result<(StreamConsumer<Noting>, BTreeSet<i32>), Failure> {
    let topic = &kafka.result_topic;
    let partitions: BTreeSet<i32> = Inspector::new(kafka)?.partitions(topic)?.into_iter().collect();
    let config = client_config(
        kafka,
        &[
            // Only a name: nothing is subscribed or committed.
            ("group.id", "pipeline-results"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
        ],
    );
    let consumer: StreamConsumer<Noting> = config
        .create_with_context(Noting::default())
        .map_err(|error| setup_failure(Stage::Publish, "reader of results", error))?;
    let assign = || {
        let offset = match begin {
            Begin::Now => Offset::End,
            Begin::Beginning => Offset::Beginning,
            Begin::At(time) => Offset::Offset(time.as_millisecond().max(0)),
        };
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(topic, *partition, offset)?;
        }
        if matches!(begin, Begin::At(_)) {
            list = consumer.offsets_for_times(list, REQUEST_TIMEOUT)?;
            for element in list.elements() {
                element.error()?;
            }
        }
        consumer.assign(&list)
    };
    let assigned = assign();
    assigned.map_err(|error| failure(Kind::Misconfigured, "check KAFKA_RESULT_TOPIC", error))?;
    Ok((consumer, partitions))
}

fn failure(kind: Kind, advice: &str, error: KafkaError) -> Failure {
    Failure::new(Stage::Publish, kind, format!("could not read the results; {advice}")).because(error)
}
