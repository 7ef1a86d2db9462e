//! Disks that take no more, wherever one is used: folders as buckets, copies for people, the state file of the generator.
//!
//! `/dev/full` is a disk that is always full: what is written through a link to it fails as on a full one, without rights
//! or mounts.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use kit::kafka::{Client, Topics, apache};
use kit::live::{variables, with};
use kit::obs::{ObsServer, Options};
use kit::program;
use kit::rig::{Rig, task};
use pipeline::failure::Failure;
use pipeline::keep::Keep;
use pipeline::parse::Parsed;
use pipeline::path::{Job, Success, Work};
use pipeline::publish::ResultStatus;
use pipeline::task::NextOffset;

/// Whatever is written under this name does not fit.
fn fill(name: &Path) {
    std::fs::create_dir_all(name.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", name).unwrap();
}

/// The upload, whose tries are counted.
struct Counted {
    tries: AtomicUsize,
    upload: Arc<dyn Work<Parsed, Success>>,
}

impl Work<Parsed, Success> for Counted {
    fn begin(&self, job: Arc<Job>, parsed: Parsed) -> BoxFuture<'static, Result<Success, Failure>> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        self.upload.begin(job, parsed)
    }
}

/// A summary that does not fit fails no task: it waits, uncounted, until there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_destination_fails_no_task_and_uses_up_no_tries() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    // One folder for both, so that the name under which is written is known.
    let rig =
        Rig::new(&[("OBS_SOURCE_BUCKET", &url), ("OBS_DEST_BUCKET", &url), ("PIPELINE_ATTEMPTS_MAX", "2")]);
    for key in ["full.csv", "other.csv"] {
        std::fs::write(folder.path().join(key), "a\n1\n").unwrap();
    }
    let summary = folder.path().join("full.csv.parsed.json");
    fill(&summary);
    let mut stages = rig.stages();
    let upload = Arc::new(Counted { tries: AtomicUsize::new(0), upload: Arc::clone(&stages.upload) });
    stages.upload = Arc::clone(&upload) as Arc<dyn Work<Parsed, Success>>;
    let source = rig.source(&["full.csv", "other.csv"].map(task), 1);
    let room = async {
        // More tries than a task has, and the one of the other task.
        kit::eventually("many tries", || upload.tries.load(Ordering::SeqCst) > 3).await;
        assert_eq!(rig.results_of("full.csv"), [], "it waits");
        assert!(rig.results.dead_letters().is_empty());
        std::fs::remove_file(&summary).unwrap();
        std::future::pending::<()>().await;
    };
    let outcome = rig.run_with(source, stages, room).await;
    assert_eq!(outcome.report.unwrap().succeeded, 2);
    assert_eq!(outcome.committable, [(0, NextOffset(2))]);
    let [result] = &rig.results_of("full.csv")[..] else { panic!("one result") };
    assert_eq!((result.status, result.task.attempt), (ResultStatus::Success, 1), "no try was counted");
    assert!(std::fs::metadata(&summary).unwrap().len() > 0);
}

/// A copy that does not fit is left out, and leaves nothing; the task does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_copies_costs_the_copy_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (objects, summaries) = (folder.path().join("objects"), folder.path().join("summaries"));
    let rig = Rig::new(&[
        ("CLEANUP_FILES", "false"),
        ("OBS_DOWNLOAD_DIR", objects.to_str().unwrap()),
        ("OBS_UPLOAD_DIR", summaries.to_str().unwrap()),
    ]);
    for key in ["full.csv", "other.csv"] {
        rig.put(key, "a\n1\n").await;
    }
    let unfinished = objects.join("in/full.csv.part");
    fill(&unfinished);
    let mut stages = rig.stages();
    let (publish, keep) = Keep::around(Arc::clone(&stages.publish), &rig.config.worker.keep, &rig.storage);
    stages.publish = publish;
    let source = rig.source(&["full.csv", "other.csv"].map(task), 1);
    let outcome = rig.run_with(source, stages, std::future::pending()).await;
    assert_eq!(outcome.report.unwrap().succeeded, 2);
    keep.unwrap().end().await;
    let kept = |name: &str| objects.join("in").join(name).exists();
    assert_eq!((kept("full.csv"), kept("other.csv")), (false, true));
    assert!(!unfinished.is_symlink(), "half a copy is no copy");
    assert!(summaries.join("out/full.csv.parsed.json").exists(), "the next one may fit");
}

/// A state file that cannot grow ends the scan with its reason; the next one, with room, sends what is missing, and what was
/// remembered only once.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_state_file_ends_the_scan_and_forgets_nothing() {
    const OBJECTS: usize = 20_000;
    /// Blocks of 512 bytes: room for a part of what is to be remembered.
    const BLOCKS: &str = "4096";
    let Some(broker) = apache() else { return };
    let topics = Topics::new("full-state");
    let server = ObsServer::start(Options { buckets: vec!["in".into()], ..Options::default() }).await;
    let long = "x".repeat(200);
    for number in 0..OBJECTS {
        server.put("in", &format!("{number:05}/{long}.csv"), "a\n1\n");
    }
    let client = Client::new(&broker.bootstrap, &topics);
    client.create_topics(3).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let variables = with(variables(&broker.bootstrap, &topics, &server), &[("SOURCE_BUCKET", "in")]);
    let scan = |limit: &str| {
        // A file beyond the limit is an error of the write, as on a full disk; without `trap` a signal would end the
        // process.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" tasks scan --state \"$1\"");
        let output = Command::new("sh")
            .args(["-c", &script])
            .args([&program::path(), &state])
            .env_clear()
            .envs(variables.iter().cloned())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = tokio::task::block_in_place(|| scan(BLOCKS));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("state") && !said.contains("panicked"), "it says which file: {said}");
    let sent = client.messages(&topics.tasks).len();
    assert!((1..OBJECTS).contains(&sent), "it ended on the way: {sent}");

    let (code, said) = tokio::task::block_in_place(|| scan("unlimited"));
    assert_eq!(code, Some(0), "{said}");
    let messages = client.messages(&topics.tasks);
    let keys: BTreeSet<&str> = messages.iter().map(|message| message["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), OBJECTS, "nothing is missing");
    // What was sent and could not be remembered any more.
    let twice = messages.len() - OBJECTS;
    assert!(twice <= 2_000, "{twice} of {sent} were sent again");
    let (code, _) = tokio::task::block_in_place(|| scan("unlimited"));
    assert_eq!((code, client.messages(&topics.tasks).len()), (Some(0), messages.len()), "all is remembered");
}
