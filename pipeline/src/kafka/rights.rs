//! What this client may do with topics and a group, as the broker tells it: without trying, and so without a trace.
//!
//! rdkafka 0.39 does not wrap librdkafka's "describe" requests. This does, for one field of their answers.
#![expect(unsafe_code, reason = "the calls that rdkafka does not wrap")]

use std::ffi::{CString, c_int};
use std::ptr::null_mut;
use std::slice;
use std::time::Duration;

use rdkafka::bindings::{self, rd_kafka_AclOperation_t as Operation};
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError, KafkaResult, RDKafkaErrorCode as Code};

/// What a client may do with something. All of it where the broker knows no access control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Read messages of a topic; join a group and commit.
    pub read: bool,
    /// Write messages to a topic.
    pub write: bool,
}

/// What this client may do with a topic. Blocks.
///
/// # Errors
/// The broker's, also when there is no such topic.
pub fn of_topic<X, C>(consumer: &C, topic: &str, timeout: Duration) -> KafkaResult<Rights>
where
    X: ConsumerContext,
    C: Consumer<X>,
{
    let name = name(topic)?;
    let client = consumer.client().native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: librdkafka copies the name; the collection is ours and given back after the request was queued, which
    // copies it as well. The answer is borrowed from the event, which outlives the reading of it.
    unsafe {
        describe(
            client,
            bindings::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            timeout,
            |options, queue| {
                let topics =
                    bindings::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
                bindings::rd_kafka_DescribeTopics(client, topics, options, queue);
                bindings::rd_kafka_TopicCollection_destroy(topics);
            },
            |event| {
                let mut count = 0;
                let result = bindings::rd_kafka_event_DescribeTopics_result(event);
                let topics = bindings::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                let topic = first(topics, count)?;
                check(bindings::rd_kafka_TopicDescription_error(topic))?;
                let operations =
                    bindings::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
                Ok(rights(operations, count))
            },
        )
    }
}

/// What this client may do with a group. Blocks.
///
/// # Errors
/// The broker's.
pub fn of_group<X, C>(consumer: &C, group: &str, timeout: Duration) -> KafkaResult<Rights>
where
    X: ConsumerContext,
    C: Consumer<X>,
{
    let name = name(group)?;
    let client = consumer.client().native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: as above.
    unsafe {
        describe(
            client,
            bindings::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            timeout,
            |options, queue| {
                bindings::rd_kafka_DescribeConsumerGroups(
                    client,
                    names.as_mut_ptr(),
                    names.len(),
                    options,
                    queue,
                );
            },
            |event| {
                let mut count = 0;
                let result = bindings::rd_kafka_event_DescribeConsumerGroups_result(event);
                let groups = bindings::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
                let group = first(groups, count)?;
                check(bindings::rd_kafka_ConsumerGroupDescription_error(group))?;
                let operations =
                    bindings::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &raw mut count);
                Ok(rights(operations, count))
            },
        )
    }
}

fn name(text: &str) -> KafkaResult<CString> {
    CString::new(text).map_err(KafkaError::Nul)
}

/// Sends one request with `ask` and reads its answer with `read`.
///
/// # Safety
/// `client` must live; `ask` must queue exactly one request of the kind `operation`; `read` must not keep anything of
/// the event.
unsafe fn describe(
    client: *mut bindings::rd_kafka_t,
    operation: bindings::rd_kafka_admin_op_t,
    timeout: Duration,
    ask: impl FnOnce(*const bindings::rd_kafka_AdminOptions_t, *mut bindings::rd_kafka_queue_t),
    read: impl FnOnce(*mut bindings::rd_kafka_event_t) -> KafkaResult<Rights>,
) -> KafkaResult<Rights> {
    let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: every handle made here is destroyed here, after its last use; librdkafka keeps references of its own to
    // the queue and copies the options. An answer that comes too late goes with the queue.
    unsafe {
        let options = bindings::rd_kafka_AdminOptions_new(client, operation);
        bindings::rd_kafka_AdminOptions_set_request_timeout(options, millis, null_mut(), 0);
        let refused = bindings::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            bindings::rd_kafka_error_destroy(refused);
        }
        let queue = bindings::rd_kafka_queue_new(client);
        ask(options, queue);
        let event = bindings::rd_kafka_queue_poll(queue, millis.saturating_add(1_000));
        let answer = if event.is_null() {
            Err(KafkaError::AdminOp(Code::OperationTimedOut))
        } else {
            let error = bindings::rd_kafka_event_error(event);
            if error.is_error() { Err(KafkaError::AdminOp(error.into())) } else { read(event) }
        };
        if !event.is_null() {
            bindings::rd_kafka_event_destroy(event);
        }
        bindings::rd_kafka_queue_destroy(queue);
        bindings::rd_kafka_AdminOptions_destroy(options);
        answer
    }
}

/// The only element of an answer about one thing.
///
/// # Safety
/// `elements` must point to `count` elements.
unsafe fn first<T>(elements: *mut *const T, count: usize) -> KafkaResult<*const T> {
    if elements.is_null() || count == 0 {
        return Err(KafkaError::AdminOp(Code::BadMessage));
    }
    // SAFETY: there is at least one.
    Ok(unsafe { *elements })
}

/// # Safety
/// `error` must be null or borrowed from a live answer.
unsafe fn check(error: *const bindings::rd_kafka_error_t) -> KafkaResult<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, see above.
    let code = unsafe { bindings::rd_kafka_error_code(error) };
    if code.is_error() { Err(KafkaError::AdminOp(code.into())) } else { Ok(()) }
}

/// # Safety
/// `operations` must be null or point to `count` elements.
unsafe fn rights(operations: *const Operation, count: usize) -> Rights {
    if operations.is_null() {
        // A broker that does not tell refuses nothing here.
        return Rights { read: true, write: true };
    }
    // SAFETY: see above.
    let operations = unsafe { slice::from_raw_parts(operations, count) };
    let may = |operation| {
        operations.contains(&operation) || operations.contains(&Operation::RD_KAFKA_ACL_OPERATION_ALL)
    };
    Rights {
        read: may(Operation::RD_KAFKA_ACL_OPERATION_READ),
        write: may(Operation::RD_KAFKA_ACL_OPERATION_WRITE),
    }
}
