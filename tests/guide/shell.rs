//! A shell in which the commands of the old system's guide run as they are written.
//!
//! - `guide.md` is the guide, byte for byte; [`block`] and [`example`] are its fenced blocks. What
//!   [`Shell::guide`] runs must stand in it.
//! - `bin/` comes first on PATH. `pixi` translates the command word and nothing else; `pipeline` is the program
//!   that was built; `kafka-*` are Apache Kafka's own tools. The broker is one for all tests, so `pixi` and
//!   `kafka-*` put the test's own prefix in front of the guide's names of topics and groups.
//! - `jq`, `grep`, `sort`, `uniq` and `date` are those of this machine.
//! - `.env` is the guide's, with the values that must lead to the tests' broker and OBS server instead.
//!
//! What follows is ended as by a person who closes only that program: then `grep` and `jq`, which keep their
//! output back while it goes to a file, write it and end by themselves.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use kit::kafka::{Apache, Client, Topics};
use kit::obs::{ObsServer, Options};
use serde_json::Value;
use tempfile::TempDir;

/// The heading of the guide's minimal `.env`.
pub const MINIMAL: &str = "#### 最小配置示例（.env文件）";
const GUIDE: &str = include_str!("guide.md");

/// The variables of the guide's `.env` that lead somewhere else here. Its buckets, pool and clean-up stay.
const ELSEWHERE: [&str; 7] = [
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_TOPIC_TASKS",
    "KAFKA_RESULT_TOPIC",
    "KAFKA_GROUP_ID",
    "OBS_SERVER",
    "OBS_ACCESS_KEY",
    "OBS_SECRET_KEY",
];
/// The guide's own, which [`kit::live::variables`] would set as well.
const AS_WRITTEN: [&str; 3] = ["OBS_SOURCE_BUCKET", "OBS_DEST_BUCKET", "POOL_SIZE"];

/// The first fenced block below a heading of the guide.
pub fn block(heading: &str) -> &'static str {
    let below = GUIDE.split_once(&format!("\n{heading}\n")).map(|(_, below)| below);
    let fenced = below.and_then(|below| below.split("```").nth(1)).and_then(|fenced| fenced.split_once('\n'));
    fenced.unwrap_or_else(|| panic!("the guide has no block below {heading:?}")).1
}

/// The example of a message or a log line below a heading of the guide, its comments left out.
pub fn example(heading: &str) -> Value {
    let lines = block(heading).lines().map(|line| line.split("//").next().unwrap_or_default());
    serde_json::from_str(&lines.collect::<String>()).expect("JSON but for the comments")
}

/// Every line of the guide's bash blocks that is no comment, behind the heading it stands below.
pub fn lines() -> Vec<(&'static str, &'static str)> {
    let (mut heading, mut fence, mut found) = ("", None, Vec::new());
    for line in GUIDE.lines() {
        let text = line.trim();
        match (text.strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (None, None) if line.starts_with('#') => heading = line,
            (None, Some("bash")) if !text.is_empty() && !text.starts_with('#') => found.push((heading, text)),
            (None, _) => {}
        }
    }
    found
}

/// Every field of the guide's example is there, with a value of its type. More may be.
///
/// # Panics
/// When one is missing, or of another type.
pub fn assert_fields(value: &Value, example: &Value) {
    assert_eq!(std::mem::discriminant(value), std::mem::discriminant(example), "{value} for {example}");
    for (name, field) in example.as_object().into_iter().flatten() {
        assert!(!value[name].is_null(), "{name} is missing: {value}");
        assert_fields(&value[name], field);
    }
}

/// A test's shell, the server and the topics that its `.env` names, and the folder where it stands.
pub struct Shell {
    folder: TempDir,
    bootstrap: String,
    /// In front of every name of the guide.
    pub prefix: String,
    /// The guide's names, made this test's own. Not created yet.
    pub topics: Topics,
    /// A view of these topics.
    pub client: Client,
    /// With the buckets of the guide's `.env`.
    pub server: ObsServer,
    terminals: Cell<usize>,
}

impl Shell {
    /// A shell with the guide's minimal `.env`, or `None` where its programs are missing.
    ///
    /// # Panics
    /// With `CI` set, when there is none.
    pub async fn open(test: &str, broker: &Apache) -> Option<Shell> {
        if let Err(why) = tools() {
            assert!(std::env::var_os("CI").is_none(), "CI must have the guide's programs: {why}");
            eprintln!("SKIPPED {test}: {why}");
            return None;
        }
        let unique = Topics::new(test).group;
        let prefix = format!("{}-", unique.trim_end_matches("-group"));
        let topics = Topics {
            tasks: format!("{prefix}file-processing-tasks"),
            results: format!("{prefix}file-processing-results"),
            dead_letters: format!("{prefix}file-processing-dead-letters"),
            group: format!("{prefix}obs-workers"),
        };
        let buckets = vec!["input-files".to_owned(), "processed-files".to_owned()];
        let shell = Shell {
            folder: tempfile::tempdir().expect("a folder"),
            bootstrap: broker.bootstrap.clone(),
            prefix,
            client: Client::new(&broker.bootstrap, &topics),
            topics,
            server: ObsServer::start(Options { buckets, ..Options::default() }).await,
            terminals: Cell::new(0),
        };
        shell.configure(block(MINIMAL), "");
        Some(shell)
    }

    /// Writes `.env`: the guide's text, led to this broker, these topics and this server, and `more` below it.
    pub fn configure(&self, text: &str, more: &str) {
        let variables = kit::live::variables(&self.bootstrap, &self.topics, &self.server);
        let mut lines = Vec::new();
        for line in text.lines() {
            let (name, value) = line.split_once('=').unwrap_or_default();
            match variables.iter().find(|(other, _)| other == name && ELSEWHERE.contains(&name)) {
                Some((_, new)) => {
                    let comment = value.find(char::is_whitespace).map_or("", |end| &value[end..]);
                    lines.push(format!("{name}={new}{comment}"));
                }
                None => lines.push(line.to_owned()),
            }
        }
        // What the guide does not name: the way to the server, and shorter times for the group.
        for (name, value) in &variables {
            let named = text.lines().any(|line| line.starts_with(&format!("{name}=")));
            if !named && !AS_WRITTEN.contains(&name.as_str()) {
                lines.push(format!("{name}={value}"));
            }
        }
        lines.push(more.to_owned());
        self.write(".env", &lines.join("\n"));
    }

    /// A path in the folder where the commands run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file in the test's folder");
    }

    /// Runs texts of the guide, one below the other: variables first, then commands.
    ///
    /// # Panics
    /// When one of them does not stand in the guide exactly so.
    pub fn guide(&self, texts: &[&str]) -> Running {
        for text in texts {
            assert!(GUIDE.contains(text), "not in the guide: {text}");
        }
        self.start(&texts.join("\n"))
    }

    /// Runs a command that the guide does not have.
    pub fn start(&self, text: &str) -> Running {
        let number = self.terminals.replace(self.terminals.get() + 1);
        let folder = self.path(&format!("terminal-{number}"));
        fs::create_dir(&folder).expect("a folder in the test's folder");
        let file = |name: &str| File::create(folder.join(name)).expect("a file in the test's folder");
        let group = format!("{}console-{number}", self.prefix);
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("bash")
            .arg(here.join("guide/terminal"))
            .arg(text)
            .current_dir(self.folder.path())
            .env_clear()
            // What Java, and the cache of Apache Kafka, are found by.
            .envs(
                ["HOME", "JAVA_HOME", "TMPDIR", "XDG_CACHE_HOME", "PIPELINE_CACHE"]
                    .into_iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
            )
            .env("PATH", format!("{}:{path}", here.join("guide/bin").display()))
            // The guide's script compares times as texts: the hour of `date` with the UTC of the results.
            .env("TZ", "UTC")
            .env("GUIDE_PIPELINE", kit::program::path())
            .env("GUIDE_KAFKA", here.join("kafka/kafka"))
            .env("GUIDE_BOOTSTRAP", &self.bootstrap)
            .env("GUIDE_PREFIX", &self.prefix)
            .env("GUIDE_GROUP", &group)
            .env("GUIDE_PID", folder.join("pid"))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("bash should start");
        // A console consumer's reading of the results, in the place of a worker's reading of tasks.
        let reading = Topics { tasks: self.topics.results.clone(), group, ..self.topics.clone() };
        Running { child, text: text.to_owned(), folder, bootstrap: self.bootstrap.clone(), reading }
    }
}

/// What the guide's one-liners need besides the usual: `jq`, and Java for Apache Kafka's tools.
fn tools() -> Result<(), String> {
    let found = |program: &str, argument: &str| {
        let status = Command::new(program).arg(argument).stdout(Stdio::null()).stdin(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !found("jq", "--version") {
        return Err("the guide's filters need jq".to_owned());
    }
    if !found(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/kafka"), "fetch") {
        return Err("Apache Kafka's tools cannot be had; the reasons are above".to_owned());
    }
    Ok(())
}

/// A text that runs in a terminal of its own. Killed, with everything in it, when dropped.
pub struct Running {
    child: Child,
    text: String,
    folder: PathBuf,
    bootstrap: String,
    reading: Topics,
}

impl Running {
    /// What it printed so far.
    pub fn output(&self) -> String {
        self.read("stdout")
    }

    /// What it complained about so far.
    pub fn complaints(&self) -> String {
        self.read("stderr")
    }

    /// Its output as JSON values, one behind the other, however many lines each takes.
    ///
    /// # Panics
    /// When it is something else.
    pub fn values(&self) -> Vec<Value> {
        let output = self.output();
        let values = serde_json::Deserializer::from_str(&output).into_iter();
        values.map(|value| value.unwrap_or_else(|error| panic!("{error} in:\n{output}"))).collect()
    }

    /// Waits until its output contains this.
    ///
    /// # Panics
    /// When it ends before.
    pub async fn wait_for(&mut self, needle: &str) {
        let what = format!("{needle} in the output of {}", self.text);
        let mut ended = false;
        kit::eventually(&what, || {
            let seen = self.output().contains(needle);
            assert!(seen || !ended, "it ended before {what}");
            ended = self.status().is_some();
            seen
        })
        .await;
    }

    /// Waits until a console consumer follows the results: it has committed where it began.
    pub async fn wait_until_it_follows(&self) {
        let client = Client::new(&self.bootstrap, &self.reading);
        kit::eventually("the consumer follows", || !client.committed(1).is_empty()).await;
    }

    /// Waits until a console consumer has printed all results: it commits a batch when it asks for the next.
    pub async fn wait_until_it_has_all(&self) {
        Client::new(&self.bootstrap, &self.reading).wait_for_no_lag(1).await;
    }

    /// Waits for its end and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn end(mut self) -> String {
        let status = self.wait().await;
        assert!(status.success(), "{status}: {}", self.text);
        self.output()
    }

    /// Ends the worker or the console consumer with SIGTERM, and waits for what reads its output.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut id = String::new();
        kit::eventually("a program to end", || {
            id = self.read("pid").trim().to_owned();
            !id.is_empty()
        })
        .await;
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill should be there");
        assert!(sent.success(), "it had ended before: {}", self.text);
        self.wait().await
    }

    async fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.text);
        kit::eventually(&what, || self.status().is_some()).await;
        self.status().expect("it has ended")
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    fn read(&self, name: &str) -> String {
        // Not written yet, or only half of a character, while it runs.
        String::from_utf8_lossy(&fs::read(self.folder.join(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The terminal takes the end of its stdin for the end of all.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("$ {}\n{}\n{}", self.text, self.output(), self.complaints());
        }
    }
}
