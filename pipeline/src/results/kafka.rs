//! The result topic.

use futures::Stream;
use jiff::Timestamp;
use rdkafka::Message;

use crate::config::Kafka;
use crate::failure::Failure;
use crate::kafka::reader::{self, Begin};
use crate::results::Record;

/// The results as they come; with `to_end`, up to the last that is there now.
///
/// # Errors
/// When the topic cannot be read; later errors come in the stream. Lost connections are none: the client reconnects.
pub async fn follow(
    kafka: &Kafka,
    begin: Begin,
    to_end: bool,
) -> Result<impl Stream<Item = Result<Record, Failure>> + use<>, Failure> {
    reader::follow(kafka, &kafka.result_topic, begin, to_end, |message| {
        let arrived = message.timestamp().to_millis().map(Timestamp::from_millisecond);
        Record::new(message.payload().unwrap_or_default(), arrived.and_then(Result::ok))
    })
    .await
}
