//! The probe: asks a bucket for one key, once, to tell what a failure was about: the object, the bucket, the
//! credentials, or everything.
//!
//! One forbidden object must not stop the workers, expired credentials must not fail a topic, and an outage must not use
//! up the tries of a task. The answers to a single request do not tell these apart.

use std::time::Duration;

use futures::TryStreamExt;
use opendal::{ErrorKind, Operator};

use crate::failure::{Kind, Stage};

/// For the probe's one request, which is not retried.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a bucket answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It lists its keys.
    Answers,
    /// It knows us, and does not let us list.
    NoListing,
    /// There is no such bucket.
    Missing,
    /// It does not know us.
    BadCredentials,
    /// Nothing, or an error of its own.
    Silent,
}

/// Asks for one key. `operator` does not retry.
pub async fn probe(operator: &Operator) -> Probe {
    let listed = async {
        let mut lister = operator.lister_with("").limit(1).await?;
        lister.try_next().await
    };
    match listed.await {
        Ok(_) => Probe::Answers,
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Probe::Missing,
            // The service's word for a right that is missing; all other refusals are about who asks.
            ErrorKind::PermissionDenied if error.message().contains("AccessDenied") => Probe::NoListing,
            ErrorKind::PermissionDenied | ErrorKind::ConfigInvalid => Probe::BadCredentials,
            _ => Probe::Silent,
        },
    }
}

/// What a refused request means. `configured`: the configuration names the bucket for this stage, not only a task.
pub fn refused(stage: Stage, configured: bool, probe: Probe) -> Kind {
    match (probe, configured) {
        (Probe::BadCredentials, _) => Kind::PermissionDenied,
        (Probe::Silent, _) => Kind::StorageDown,
        // No summary can be stored: that is no task's fault.
        _ if configured && stage == Stage::Upload => Kind::PermissionDenied,
        // Listing works, so it is this object.
        (Probe::Answers, true) => Kind::Forbidden,
        // Nothing in the bucket that all tasks are about can be had, or objects that are not there answer so, too:
        // better to stop than to fail a topic.
        (Probe::NoListing | Probe::Missing, true) => Kind::PermissionDenied,
        // The task's own choice of a bucket.
        (Probe::Answers | Probe::NoListing | Probe::Missing, false) => Kind::Forbidden,
    }
}

/// What a request means that failed for another reason, and was retried.
pub fn unavailable(stage: Stage, configured: bool, probe: Probe) -> Kind {
    match (probe, stage) {
        (Probe::Silent, _) => Kind::StorageDown,
        (Probe::BadCredentials, _) => Kind::PermissionDenied,
        (Probe::Missing, Stage::Upload) if configured => Kind::Misconfigured,
        (Probe::Missing, _) => Kind::NotFound,
        (Probe::Answers | Probe::NoListing, _) => Kind::StorageUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_never_stops_the_worker_and_bad_credentials_never_fail_a_task() {
        for stage in [Stage::Download, Stage::Upload] {
            for configured in [false, true] {
                assert_eq!(refused(stage, configured, Probe::BadCredentials), Kind::PermissionDenied);
                assert_eq!(refused(stage, configured, Probe::Silent), Kind::StorageDown);
                assert_eq!(unavailable(stage, configured, Probe::Silent), Kind::StorageDown);
            }
            for probe in [Probe::Answers, Probe::NoListing, Probe::Missing] {
                assert_eq!(refused(stage, false, probe), Kind::Forbidden);
            }
        }
        assert_eq!(refused(Stage::Download, true, Probe::Answers), Kind::Forbidden);
        assert_eq!(refused(Stage::Download, true, Probe::NoListing), Kind::PermissionDenied);
        assert_eq!(refused(Stage::Upload, true, Probe::Answers), Kind::PermissionDenied);
    }
}
