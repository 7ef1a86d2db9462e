//! What tests and benches share: real parts, and ways to break them.
//!
//! - [`obs`]: an OBS server that checks signatures and fails as planned;
//! - [`kafka`]: Apache Kafka, found or started, and the clients that tests need around a worker;
//! - [`program`]: the `pipeline` program as a process: its log, signals, exit;
//! - [`rig`]: a worker in memory;
//! - [`crew`]: workers in this process on a broker, whose work is counted and not done;
//! - [`altered`]: a worker as a process of its own, with something altered;
//! - [`proof`]: the schedule of a proof, and the oracle that judges it, as pure values;
//! - [`broken`]: transactions with a mishap;
//! - [`faulty`]: a stage of the path that fails as planned;
//! - [`eventually`]: waiting for a condition, with a deadline.
//!
//! No part of it stands in for Kafka or decides what is right; the tests do.
#![expect(clippy::print_stderr, reason = "test support says aloud what it skips")]

pub mod altered;
pub mod broken;
pub mod crew;
pub mod dataset;
pub mod faulty;
pub mod kafka;
pub mod live;
pub mod obs;
pub mod program;
pub mod proof;
pub mod rig;

use std::time::Duration;

/// How long anything may take before a test gives up: far more than it needs on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within [`DEADLINE`]; `what` says what was waited for.
pub async fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds(condition).await, "waited in vain for: {what}");
}

/// Whether `condition` holds within [`DEADLINE`]; comes back as soon as it does.
pub async fn holds(mut condition: impl FnMut() -> bool) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !condition() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.is_ok()
}
