//! The integration tests: the promises, through the public API, on real parts.
//!
//! One binary, so that all tests share one broker. Unit tests of pure parts stand beside the code.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says aloud what it skips"
)]

/// Messages of failed tasks: kept whole, listed, sent again once.
mod dead_letters;
/// Licences and advisories of what the program stands on.
mod dependencies;
/// Every stage × every way to fail: what becomes of the task, and what is committed.
mod faults;
/// Disks that take no more, wherever there is a disk.
mod full_disk;
/// The commands that make tasks.
mod generator;
/// Summaries against pandas.
mod golden;
/// The old system's guide: its commands, as they are written.
mod guide;
/// The program on Apache Kafka and the OBS server.
mod live;
/// The whole worker on librdkafka's mock cluster and the OBS server.
mod mock;
/// Exactly-once results, and task topics with gaps: on Apache Kafka.
mod once;
/// The ledger against a naive model, in random order.
mod order;
/// The path on the memory source and the memory store: formats, failures, bounds.
mod path;
/// Files that kill their worker.
mod poison;
/// Workers that come and go, stall, and lose their partitions; brokers that restart.
mod rebalance;
/// What was finished is not run again: on Apache Kafka, with workers in this process.
mod replay;
/// Huawei's own SDK on the other end.
mod sdk;
/// The storage on the OBS server: signatures, faults, versions, keys.
mod storage;
/// Every way the storage fails × every request of a task.
mod storage_faults;
/// Rules of the house that a compiler does not know.
mod tidy;
