//! What was sent before: a file of keys and versions, so that a scan goes on where it broke off, and a watch finds
//! what is new.
//!
//! Promises: an object is known by bucket, key and version (etag), never by its time alone: one that arrives late,
//! or with an old time, is new; one that was replaced is new again. Memory is bounded: the keys are in the file.
//!
//! Not promised: that nothing is sent twice when the process is killed. What the broker confirmed in the last moment
//! before, at most [`PENDING_MAX`] tasks, may not have reached the file; then it is sent again. An end by a signal or an
//! error loses nothing.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::failure::{Failure, Kind, Stage};
use crate::generator::NewTask;

/// Confirmed tasks that are not yet in the file.
pub const PENDING_MAX: usize = 1_000;
/// How long one may be missing there.
const PENDING_TIME_MAX: Duration = Duration::from_millis(500);
/// Pages of the file that are kept in memory.
const CACHE_BYTES: usize = 16 << 20;

/// `bucket/key` → version.
const OBJECTS: TableDefinition<&str, &str> = TableDefinition::new("objects");
/// What the file is for.
const ABOUT: TableDefinition<&str, &str> = TableDefinition::new("about");

/// The file.
pub struct Seen {
    database: Database,
    name: String,
    pending: Mutex<Pending>,
}

/// What is confirmed and not yet in the file.
struct Pending {
    objects: Vec<(String, String)>,
    written: Instant,
}

impl Seen {
    /// Opens the file, or begins a new one. `topic`: where the tasks go; a file remembers the one it was begun for.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when it cannot be used, or belongs to another topic.
    pub fn open(path: &Path, topic: &str) -> Result<Seen, Failure> {
        let name = path.display().to_string();
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| failure(&name, "open", error))?;
        let pending = Mutex::new(Pending { objects: Vec::new(), written: Instant::now() });
        let seen = Seen { database, name, pending };
        let begun = seen.begin(topic).map_err(|error| seen.failure("read", error))?;
        match begun {
            Some(other) if other != topic => {
                let context = format!(
                    "{} remembers what was sent to {other}, not to {topic}: use another file",
                    seen.name
                );
                Err(Failure::new(Stage::Claim, Kind::Misconfigured, context))
            }
            _ => Ok(seen),
        }
    }

    /// The topic of an older file; a new one takes `topic`.
    fn begin(&self, topic: &str) -> Result<Option<String>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let before = {
            transaction.open_table(OBJECTS)?;
            let mut about = transaction.open_table(ABOUT)?;
            let before = about.get("topic")?.map(|topic| topic.value().to_owned());
            if before.is_none() {
                about.insert("topic", topic)?;
            }
            before
        };
        transaction.commit()?;
        Ok(before)
    }

    /// Whether this version of the object was sent before. One without a version is known by its key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn has(&self, task: &NewTask) -> Result<bool, Failure> {
        let find = || -> Result<bool, redb::Error> {
            let objects = self.database.begin_read()?.open_table(OBJECTS)?;
            let sent = objects.get(name(task).as_str())?;
            Ok(sent.is_some_and(|sent| version(task).is_empty() || sent.value() == version(task)))
        };
        find().map_err(|error| self.failure("read", error))
    }

    /// Remembers a task that was confirmed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn insert(&self, task: &NewTask) -> Result<(), Failure> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.objects.push((name(task), version(task).to_owned()));
        let due = pending.objects.len() >= PENDING_MAX || pending.written.elapsed() >= PENDING_TIME_MAX;
        if due { self.write_pending(&mut pending) } else { Ok(()) }
    }

    /// Brings everything that is remembered into the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> Result<(), Failure> {
        self.write_pending(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_pending(&self, pending: &mut Pending) -> Result<(), Failure> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut objects = transaction.open_table(OBJECTS)?;
                for (name, version) in &pending.objects {
                    // A key that is named without a version does not take away the one that is known.
                    if !version.is_empty() || objects.get(name.as_str())?.is_none() {
                        objects.insert(name.as_str(), version.as_str())?;
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|error| self.failure("write", error))?;
        pending.objects.clear();
        pending.written = Instant::now();
        Ok(())
    }

    fn failure(&self, verb: &str, error: redb::Error) -> Failure {
        failure(&self.name, verb, error)
    }
}

fn name(task: &NewTask) -> String {
    format!("{}/{}", task.bucket, task.key)
}

fn version(task: &NewTask) -> &str {
    task.version.as_deref().unwrap_or("")
}

fn failure(name: &str, verb: &str, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    let context = format!(
        "could not {verb} the state file {name}; is it one, is it used by another process, is there room on the disk?"
    );
    Failure::new(Stage::Claim, Kind::Misconfigured, context).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(key: &str, version: &str) -> NewTask {
        NewTask { version: Some(version.to_owned()), ..NewTask::new("in", key) }
    }

    #[test]
    fn a_version_is_remembered_across_a_restart_and_a_new_one_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let seen = Seen::open(&path, "tasks").unwrap();
        assert!(!seen.has(&task("a", "1")).unwrap());
        seen.insert(&task("a", "1")).unwrap();
        seen.write().unwrap();
        drop(seen);
        let seen = Seen::open(&path, "tasks").unwrap();
        assert!(seen.has(&task("a", "1")).unwrap());
        assert!(!seen.has(&task("a", "2")).unwrap(), "replaced");
        assert!(seen.has(&NewTask::new("in", "a")).unwrap(), "named without a version");
        seen.insert(&NewTask::new("in", "a")).unwrap();
        seen.write().unwrap();
        assert!(seen.has(&task("a", "1")).unwrap(), "the version is kept");
        assert!(!seen.has(&NewTask { bucket: "other".into(), ..task("a", "1") }).unwrap());
    }

    #[test]
    fn a_file_of_another_topic_or_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        drop(Seen::open(&path, "tasks").unwrap());
        let refused = Seen::open(&path, "others").err().unwrap();
        assert!(refused.context.contains("to tasks, not to others"), "{}", refused.context);
        std::fs::write(folder.path().join("notes.txt"), "no state").unwrap();
        assert!(Seen::open(&folder.path().join("notes.txt"), "tasks").is_err());
        assert_eq!(std::fs::read(folder.path().join("notes.txt")).unwrap(), b"no state", "and left alone");
    }
}
