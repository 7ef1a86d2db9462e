//! Where a proof takes place: the tasks and their files, the storage and its faults, the broker and its topics; and what is
//! to be seen there when it is over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::dataset::{good_samples, sample};
use kit::kafka::{Apache, Client, Committed, Topics};
use kit::live::{variables, with};
use kit::obs::{Effect, Fault, ObsServer, Op, Options};
use kit::program::Program;
use kit::proof::oracle::{Commit, Diary, Expected, History, Seen};
use kit::proof::schedule::{Storm, Trouble};
use pipeline::commit::Metadata;
use pipeline::dead_letter::DeadLetter;
use pipeline::publish::ResultMessage;
use pipeline::task::{NextOffset, Offset};
use serde_json::json;

/// More than there are workers, and not a multiple.
pub const PARTITIONS: i32 = 7;
/// Where a calm run leaves its artefacts.
const CALM: &str = "calm";
/// A body of a few hundred bytes takes about a second.
const SLOW: u64 = 400;
/// A stalled request costs a worker its time-out, and another one with the same luck as much again.
const STALLS_MAX: usize = 2;
/// How long nothing may change before a proof is given up.
const PATIENCE: Duration = Duration::from_secs(150);

/// Tasks and their files.
pub struct Work {
    /// The messages, in their order.
    pub messages: Vec<String>,
    expected: BTreeMap<String, Expected>,
    /// The storage.
    pub server: ObsServer,
}

impl Work {
    /// So many tasks. Of fifty, four fail.
    pub async fn new(tasks: usize) -> Work {
        let buckets = vec!["in".to_owned(), "out".to_owned(), CALM.to_owned()];
        let server = ObsServer::start(Options { buckets, ..Options::default() }).await;
        let samples = good_samples();
        let mut work = Work { messages: Vec::new(), expected: BTreeMap::new(), server };
        for number in 0..tasks {
            let (name, bytes, expected) = match number % 50 {
                7 => ("missing.csv".to_owned(), None, Some("not_found")),
                17 => ("corrupt.csv.gz".to_owned(), Some(sample("corrupt.csv.gz")), Some("corrupt_file")),
                27 => ("photo.png".to_owned(), Some(sample("photo.png")), Some("unsupported_format")),
                37 => ("none".to_owned(), None, Some("not_a_task")),
                5 => {
                    let name = &samples[number / 50 % samples.len()];
                    (name.clone(), Some(sample(name)), None)
                }
                _ => ("rows.csv".to_owned(), Some(rows(number).into_bytes()), None),
            };
            let key = format!("{number:06}/{name}");
            let size = bytes.as_ref().map(Vec::len);
            if let Some(bytes) = bytes {
                work.server.put("in", &key, bytes);
            }
            let message = match expected {
                Some("not_a_task") => format!("no task {number}"),
                _ => json!({ "key": key, "size": size }).to_string(),
            };
            let expected =
                expected.map_or(Expected::Success(format!("{key}.parsed.json")), Expected::Failure);
            work.expected.insert(message.clone(), expected);
            work.messages.push(message);
        }
        work
    }

    /// Runs all tasks once, with one worker and no faults: what it leaves is what every other run must leave.
    pub async fn run_calmly(&self, bootstrap: &str) -> BTreeMap<String, Vec<u8>> {
        let topics = Topics::new("prove-calm");
        let client = Client::new(bootstrap, &topics);
        client.create_topics(PARTITIONS).await;
        client.send(&self.messages, PARTITIONS).await;
        let variables = with(variables(bootstrap, &topics, &self.server), &[("OBS_DEST_BUCKET", CALM)]);
        let mut worker = Program::start(&["run"], &variables);
        wait_for_no_lag(&client, || {}).await;
        worker.signal("TERM");
        assert!(worker.wait().await.success(), "a calm worker ends well");
        self.artefacts(CALM)
    }

    fn artefacts(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let object = |key: String| Some((key.clone(), self.server.get(bucket, &key)?.bytes.to_vec()));
        self.server.keys(bucket).into_iter().filter_map(object).collect()
    }

    /// Forgets the artefacts of an earlier proof, and the faults.
    pub fn clear(&self) {
        self.server.faults().clear();
        self.server.clear_requests();
        for key in self.server.keys("out") {
            self.server.remove("out", &key);
        }
    }

    /// Plans a fault. Gives how many requests it will hit.
    pub fn storm(&self, storm: Storm, hits: usize) -> usize {
        let (operations, effect, hits): (&[Op], Effect, usize) = match storm {
            Storm::Throttles => (&[Op::Get, Op::Put, Op::Head], Effect::Status(503, "SlowDown"), hits),
            Storm::Fails => (&[Op::Get, Op::Put, Op::Head], Effect::Status(500, "InternalError"), hits),
            Storm::Resets => (&[Op::Get, Op::Put, Op::Head], Effect::Hangup, hits),
            Storm::LosesAnswers => (&[Op::Put], Effect::LostAnswer, hits),
            Storm::CutsBodies => (&[Op::Get], Effect::CutBody, hits),
            Storm::IsSlow => (&[Op::Get], Effect::SlowBody(SLOW), hits),
            Storm::Stalls => (&[Op::Get], Effect::StalledBody, hits.min(STALLS_MAX)),
        };
        for operation in operations {
            self.server.faults().add(Fault::new(*operation, effect.clone()).times(hits));
        }
        operations.len() * hits
    }

    /// What there is to be seen when everything is over.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn history(
        &self,
        client: &Client,
        topics: &Topics,
        exactly_once: bool,
        calm: &BTreeMap<String, Vec<u8>>,
        diaries: Vec<Diary>,
    ) -> (History, Seldom) {
        let group = client.group_history();
        let place = |position: &pipeline::task::Position| (position.partition.id, position.offset.0);
        let tasks = client.read(&topics.tasks).into_iter().map(|(position, message)| {
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            (place(&position), self.expected.get(&text).cloned())
        });
        let results = client.read(&topics.results).into_iter().map(|(_, message)| {
            let result: ResultMessage = serde_json::from_slice(message.payload()).expect("a result");
            Seen {
                task: (result.task.partition, result.task.offset),
                failure: result.error_kind,
                at_ms: message.timestamp.expect("every message has a time"),
            }
        });
        let letters = client.read(&topics.dead_letters).into_iter().map(|(_, message)| {
            let letter = DeadLetter::read(message).expect("a dead letter");
            place(&letter.origin)
        });
        let history = History {
            exactly_once,
            tasks: tasks.collect(),
            results: results.collect(),
            letters: letters.collect(),
            artefacts: self.artefacts("out"),
            calm: calm.clone(),
            commits: group.commits.iter().map(commit).collect(),
            diaries,
        };
        let sent = client.read_all(&topics.results, "read_uncommitted").len();
        let seldom = Seldom { generations: group.generations.len(), given_up: sent - history.results.len() };
        (history, seldom)
    }
}

/// What is to be seen besides, and only counted.
pub struct Seldom {
    /// Generations of the group.
    pub generations: usize,
    /// Results of transactions that were given up.
    pub given_up: usize,
}

fn commit(committed: &Committed) -> Commit {
    let Committed { partition, at_ms, next, metadata } = committed;
    let decoded = Metadata::decode(metadata.as_bytes(), NextOffset(*next)).expect("metadata of ours");
    let finished = (*next..).filter(|offset| decoded.finished.contains(Offset(*offset)));
    let finished = finished.take(decoded.finished.count() as usize).collect();
    Commit { partition: *partition, at_ms: *at_ms, next: *next, finished }
}

fn rows(number: usize) -> String {
    let row =
        |row: usize| format!("{row},name {},{}.{:02}\n", row * number % 13, number * 7 + row, row % 100);
    let rows: String = (0..1 + number % 40).map(row).collect();
    format!("id,name,price\n{rows}")
}

/// How long it takes until the broker has ended what dead workers left open, and more.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(40);

/// Waits until readers of committed messages see all there is. Whether it came to that.
pub async fn wait_until_settled(client: &Client, topics: &Topics) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let begun = Instant::now();
    while begun.elapsed() < SETTLE_TIMEOUT {
        ticks.tick().await;
        if [&topics.results, &topics.dead_letters].into_iter().all(|topic| client.is_settled(topic)) {
            return true;
        }
    }
    false
}

/// Waits until everything is committed; `meanwhile` is called all the while. Whether it came to that.
pub async fn wait_for_no_lag(client: &Client, mut meanwhile: impl FnMut()) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let (mut last, mut changed) = (-1, Instant::now());
    while changed.elapsed() < PATIENCE {
        ticks.tick().await;
        meanwhile();
        let lag = client.lag(PARTITIONS).values().sum();
        if lag == 0 {
            return true;
        }
        if lag != last {
            (last, changed) = (lag, Instant::now());
        }
    }
    false
}

/// A broker of the proof's own, in a folder of its own.
pub struct Broker {
    /// `host:port`, the same after a restart.
    pub bootstrap: String,
    folder: PathBuf,
    apache: Option<Apache>,
    course: Option<Course>,
}

/// What a broker in trouble goes through.
enum Course {
    /// It is killed, and starts again.
    Restart(tokio::task::JoinHandle<Result<Apache, String>>),
    /// It does not answer before then.
    Frozen(Instant),
}

impl Broker {
    /// Starts it.
    ///
    /// # Panics
    /// When there can be none.
    pub fn start(folder: &Path) -> Broker {
        std::fs::create_dir_all(folder).expect("a folder for the broker");
        let folder = &folder.join("broker");
        let apache = Apache::start_in(folder).expect("Apache Kafka: it needs java and mvn");
        let (bootstrap, folder) = (apache.bootstrap.clone(), folder.to_owned());
        Broker { bootstrap, folder, apache: Some(apache), course: None }
    }

    /// Whether it is in trouble. Looks whether that is over.
    ///
    /// # Panics
    /// When it does not come back.
    pub async fn is_in_trouble(&mut self) -> bool {
        match self.course.take() {
            None => {}
            Some(Course::Restart(back)) if back.is_finished() => {
                let back = back.await.expect("no panic");
                self.apache = Some(back.expect("the broker should come back"));
            }
            Some(Course::Frozen(until)) if until <= Instant::now() => self.signal("CONT"),
            course => self.course = course,
        }
        self.course.is_some()
    }

    /// Something happens to it, beside everything else.
    ///
    /// # Panics
    /// When it cannot be stopped.
    pub fn meet(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Restart => {
                let (Some(apache), folder) = (self.apache.take(), self.folder.clone()) else { return };
                self.course = Some(Course::Restart(tokio::task::spawn_blocking(move || {
                    apache.kill()?;
                    Apache::start_in(&folder)
                })));
            }
            Trouble::Freeze(millis) => {
                self.signal("STOP");
                self.course = Some(Course::Frozen(Instant::now() + Duration::from_millis(millis)));
            }
        }
    }

    fn signal(&self, name: &str) {
        let apache = self.apache.as_ref().expect("a broker that is not just starting again");
        apache.signal(name).expect("a broker of the proof's own");
    }
}
