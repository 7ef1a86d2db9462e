//! Copies of files on this machine's disk, for people who look for an error: the guide's `CLEANUP_…=false`.
//!
//! Promises: a task never waits for a copy, and never fails because of one; a copy appears under its name only when it
//! is whole; all of them together stay below a bound, since disks run full.
//!
//! The path itself leaves nothing on disk. What is kept is read from the storage once more.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config;
use crate::failure::{Failure, Kind, Stage};
use crate::path::{Job, Outcome, Place, Work};
use crate::storage::Storage;
use crate::telemetry;

/// Files that wait to be copied. More are left out: whoever debugs looks at a few.
const WAITING_MAX: usize = 256;
/// How long the end of the worker may wait for copies: with draining and leaving the 30 s that orchestrators grant.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps copies, in a task of its own.
pub struct Keep {
    copies: mpsc::Sender<Copy>,
    keeping: JoinHandle<()>,
}

/// What is to be copied where.
struct Copy {
    place: Place,
    folder: PathBuf,
}

/// The publish stage, with copies asked for on the way.
#[derive(Clone)]
struct Kept {
    settings: config::Keep,
    copies: mpsc::Sender<Copy>,
    publish: Arc<dyn Work<Outcome, ()>>,
}

impl Keep {
    /// Begins to keep copies of what passes `publish`, when the settings ask for any.
    pub fn around(
        publish: Arc<dyn Work<Outcome, ()>>,
        settings: &config::Keep,
        storage: &Arc<Storage>,
    ) -> (Arc<dyn Work<Outcome, ()>>, Option<Keep>) {
        if !settings.succeeded && !settings.failed {
            return (publish, None);
        }
        let (copies, waiting) = mpsc::channel(WAITING_MAX);
        let keeping = tokio::spawn(keep(waiting, Arc::clone(storage), settings.bytes_max));
        let kept = Kept { settings: settings.clone(), copies: copies.clone(), publish };
        (Arc::new(kept), Some(Keep { copies, keeping }))
    }

    /// Waits for the copies that were asked for, for a while. The stages must be gone.
    pub async fn end(self) {
        drop(self.copies);
        let _ = timeout(END_TIMEOUT, self.keeping).await;
    }
}

impl Kept {
    fn ask(&self, place: &Place, folder: &Path) {
        let copy = Copy { place: place.clone(), folder: folder.to_owned() };
        if let Err(error) = self.copies.try_send(copy) {
            let reason = match error {
                TrySendError::Full(_) => "too many others are waiting to be copied",
                TrySendError::Closed(_) => "the worker ends",
            };
            telemetry::file_not_kept(&place.key, &reason);
        }
    }

    /// Once the outcome is confirmed: a result that is not published comes again.
    fn ask_for(&self, job: &Job, outcome: &Outcome) {
        let Wanted { object, summary } = wanted(&self.settings, outcome);
        if object {
            self.ask(&job.source, &self.settings.objects);
        }
        if summary {
            self.ask(&job.destination, &self.settings.summaries);
        }
    }
}

/// What is kept of a task.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    object: bool,
    summary: bool,
}

fn wanted(settings: &config::Keep, outcome: &Outcome) -> Wanted {
    match &**outcome {
        Ok(_) => Wanted { object: settings.succeeded, summary: settings.succeeded },
        Err(failure) => Wanted { object: settings.failed && has_object(failure), summary: false },
    }
}

impl Work<Outcome, ()> for Kept {
    fn begin(&self, job: Arc<Job>, outcome: Outcome) -> BoxFuture<'static, Result<(), Failure>> {
        let kept = self.clone();
        async move {
            kept.publish.begin(Arc::clone(&job), Arc::clone(&outcome)).await?;
            kept.ask_for(&job, &outcome);
            Ok(())
        }
        .boxed()
    }
}

/// Whether there is anything to copy.
fn has_object(failure: &Failure) -> bool {
    !matches!(
        failure.kind,
        Kind::NotATask | Kind::UnaddressableKey | Kind::ForbiddenLocation | Kind::Forbidden | Kind::NotFound
    )
}

async fn keep(mut waiting: mpsc::Receiver<Copy>, storage: Arc<Storage>, bytes_max: u64) {
    let mut bytes_left = bytes_max;
    while let Some(Copy { place, folder }) = waiting.recv().await {
        let path = folder.join(relative(&place));
        match copy(&storage, &place, &path, bytes_left).await {
            Ok(bytes) => {
                bytes_left = bytes_left.saturating_sub(bytes);
                telemetry::file_kept(&place.key, &path);
            }
            Err(reason) => telemetry::file_not_kept(&place.key, &reason),
        }
    }
}

/// `BUCKET/KEY`, without anything that would lead out of the folder.
fn relative(place: &Place) -> PathBuf {
    let bucket = place.bucket.split_once("://").map_or(place.bucket.as_str(), |(_, rest)| rest);
    let parts = Path::new(bucket).components().chain(Path::new(&place.key).components());
    parts.filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Copies one object; gives its bytes.
async fn copy(storage: &Storage, place: &Place, path: &Path, bytes_max: u64) -> Result<u64, String> {
    let told = |failure: Failure| failure.chain();
    let bucket = storage.bucket(&place.bucket, Stage::Download).map_err(told)?;
    let meta = bucket.stat(&place.key, Stage::Download).await.map_err(told)?;
    if meta.size > bytes_max {
        return Err("the copies have reached PIPELINE_KEEP_MAX".to_owned());
    }
    let mut stream = bucket.read(&place.key, &meta, 0).await.map_err(told)?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let written = async {
        let mut file = blocking(create(unfinished.clone())).await?;
        while let Some(bytes) = stream.try_next().await.map_err(told)? {
            file = blocking(move || file.write_all(&bytes).map(|()| file)).await?;
        }
        drop(file);
        let (from, to) = (unfinished.clone(), path.to_owned());
        blocking(move || std::fs::rename(from, to)).await
    };
    let written = written.await;
    if written.is_err() {
        // Half a file is no copy, and takes up room.
        let _ = std::fs::remove_file(&unfinished);
    }
    written.map(|()| meta.size).map_err(|reason| format!("{}: {reason}", path.display()))
}

fn create(path: PathBuf) -> impl FnOnce() -> io::Result<File> {
    move || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        File::create(&path)
    }
}

/// The disk's work, beside the threads that must not wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Success;

    #[test]
    fn success_and_failure_are_kept_each_for_itself() {
        let settings = |succeeded, failed| config::Keep {
            succeeded,
            failed,
            objects: PathBuf::new(),
            summaries: PathBuf::new(),
            bytes_max: 0,
        };
        let success: Outcome = Arc::new(Ok(Success { input_size: 1, output_size: 1, rows: 1, columns: 1 }));
        let failure = |kind| -> Outcome { Arc::new(Err(Failure::new(Stage::Parse, kind, ""))) };
        let (both, object) =
            (Wanted { object: true, summary: true }, Wanted { object: true, summary: false });
        let nothing = Wanted { object: false, summary: false };
        assert_eq!(wanted(&settings(true, false), &success), both);
        assert_eq!(wanted(&settings(false, true), &success), nothing);
        assert_eq!(wanted(&settings(false, true), &failure(Kind::CorruptFile)), object);
        assert_eq!(wanted(&settings(true, false), &failure(Kind::CorruptFile)), nothing);
        assert_eq!(
            wanted(&settings(true, true), &failure(Kind::NotFound)),
            nothing,
            "there is nothing to copy"
        );
    }

    #[test]
    fn a_copy_stays_in_its_folder() {
        let at = |bucket: &str, key: &str| {
            let place = Place { bucket: bucket.into(), key: key.into() };
            relative(&place).display().to_string()
        };
        assert_eq!(at("in", "data/a.csv"), "in/data/a.csv");
        assert_eq!(at("s3://in/2024", "a.csv"), "in/2024/a.csv");
        assert_eq!(at("file:///data/../in", "a.csv"), "data/in/a.csv");
        assert_eq!(at("in", "../../etc/passwd"), "in/etc/passwd");
    }
}
