//! An asynchronous commit whose result is reported.
//!
//! `Consumer::commit` of rdkafka 0.39 with `CommitMode::Async` names no queue for the answer, so the commit
//! callback never runs and a refused commit goes unseen (rust-rdkafka issue 856). This names the consumer's own
//! queue, which the poll serves. To be removed when rdkafka does the same.
#![expect(unsafe_code, reason = "the call that rdkafka does not wrap")]

use std::ptr::null_mut;

use rdkafka::TopicPartitionList;
use rdkafka::bindings;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError, KafkaResult};

/// Asks for a commit of these offsets; the result comes to `ConsumerContext::commit_callback` through the poll.
///
/// # Errors
/// When the request cannot even be queued.
pub(super) fn commit_async<X, C>(consumer: &C, offsets: &TopicPartitionList) -> KafkaResult<()>
where
    X: ConsumerContext,
    C: Consumer<X>,
{
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives as long as the borrow of the consumer. The queue is a reference of our own, given
    // back below; librdkafka takes one more for the answer. The offsets are copied by the call. Without a callback
    // the answer is an event of the queue, and needs no opaque.
    let error = unsafe {
        let queue = bindings::rd_kafka_queue_get_consumer(client);
        if queue.is_null() {
            return Err(KafkaError::Canceled);
        }
        let error = bindings::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, null_mut());
        bindings::rd_kafka_queue_destroy(queue);
        error
    };
    if error.is_error() { Err(KafkaError::ConsumerCommit(error.into())) } else { Ok(()) }
}
