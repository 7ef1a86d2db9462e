//! A topic, all its partitions, read without a group.
//!
//! Promises: nobody's offset moves; of a transaction only what was committed is read; a reader that wants to come to an
//! end comes to it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{Stream, stream};
use jiff::Timestamp;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::timeout;

use crate::config::Kafka;
use crate::failure::{Failure, Kind, Stage};
use crate::kafka::inspect::Inspector;
use crate::kafka::{Noting, client_config, refusal, setup_failure};

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

/// The messages of a topic as they come, each read by `read`; with `to_end`, up to the last that is there now.
///
/// # Errors
/// When the topic cannot be read; later errors come in the stream. Lost connections are none: the client reconnects.
pub async fn follow<T, F>(
    kafka: &Kafka,
    topic: &str,
    begin: Begin,
    to_end: bool,
    read: F,
) -> Result<impl Stream<Item = Result<T, Failure>> + use<T, F>, Failure>
where
    F: Fn(&BorrowedMessage<'_>) -> T,
{
    let (kafka, name) = (kafka.clone(), topic.to_owned());
    let opened = tokio::task::spawn_blocking(move || open(&kafka, &name, begin)).await;
    let (consumer, partitions) = opened.map_err(|error| {
        Failure::new(Stage::Claim, Kind::Panicked, format!("could not open the topic {topic}")).because(error)
    })??;
    let unread = if to_end { partitions } else { BTreeSet::new() };
    let topic = topic.to_owned();
    let state = (consumer, unread, topic, read);
    Ok(stream::unfold(state, move |(consumer, mut unread, topic, read)| async move {
        while !to_end || !unread.is_empty() {
            let received = match to_end {
                true => timeout(SILENCE_MAX, consumer.recv()).await,
                false => Ok(consumer.recv().await),
            };
            let Ok(received) = received else {
                let context = format!(
                    "the brokers went silent before the end of {topic} was read; check KAFKA_BOOTSTRAP_SERVERS"
                );
                let silent = Failure::new(Stage::Claim, Kind::ResultUndelivered, context);
                return Some((Err(silent), (consumer, BTreeSet::new(), topic, read)));
            };
            let message = match received {
                Ok(message) => Ok(read(&message)),
                Err(KafkaError::PartitionEOF(partition)) => {
                    unread.remove(&partition);
                    continue;
                }
                Err(error) => match error.rdkafka_error_code().and_then(refusal) {
                    Some((kind, advice)) => Err(failure(&topic, kind, advice, error)),
                    // It passes, or a person ends the waiting.
                    None => continue,
                },
            };
            return Some((message, (consumer, unread, topic, read)));
        }
        None
    }))
}

fn open(
    kafka: &Kafka,
    topic: &str,
    begin: Begin,
) -> Result<(StreamConsumer<Noting>, BTreeSet<i32>), Failure> {
    let partitions: BTreeSet<i32> = Inspector::new(kafka)?.partitions(topic)?.into_iter().collect();
    let config = client_config(
        kafka,
        &[
            // Only a name: nothing is subscribed or committed.
            ("group.id", "pipeline-reader"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
        ],
    );
    let consumer: StreamConsumer<Noting> = config
        .create_with_context(Noting::default())
        .map_err(|error| setup_failure(Stage::Claim, "reader", error))?;
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
    assigned.map_err(|error| failure(topic, Kind::Misconfigured, "check its name", error))?;
    Ok((consumer, partitions))
}

fn failure(topic: &str, kind: Kind, advice: &str, error: KafkaError) -> Failure {
    Failure::new(Stage::Claim, kind, format!("could not read the topic {topic}; {advice}")).because(error)
}
