//! The `pipeline` program as a process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;

/// The program that was built beside this one.
///
/// # Panics
/// When it is not there.
pub fn path() -> PathBuf {
    beside("pipeline")
}

fn beside(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    // Tests and benches lie in target/PROFILE/deps, programs in target/PROFILE.
    let folder =
        this.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("it lies in a folder");
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is missing; `cargo build` or `cargo test --workspace` makes it",
        program.display()
    );
    program
}

/// A running `pipeline`. Killed when dropped.
pub struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts it with these arguments and variables, and nothing else of this environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[&str], variables: &[(String, String)]) -> Program {
        Program::start_other("pipeline", arguments, variables)
    }

    /// The same with another program that was built beside this one.
    ///
    /// # Panics
    /// As [`Program::start`].
    pub fn start_other(name: &str, arguments: &[&str], variables: &[(String, String)]) -> Program {
        let mut child = Command::new(beside(name))
            .args(arguments)
            .env_clear()
            .envs(variables.iter().cloned())
            // Away from any .env file of the person who runs the tests.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program should start");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, kept) = (child.stdout.take().expect("stdout is piped"), Arc::clone(&lines));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Program { child, lines, reader: Some(reader) }
    }

    /// What it printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything it printed. Its output must have ended, as it does with the program.
    pub fn all_lines(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.lines()
    }

    /// Waits for a line that begins so.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn wait_for_line(&self, beginning: &str) {
        let what = format!("a line that begins with {beginning:?}");
        crate::eventually(&what, || self.lines().iter().any(|line| line.starts_with(beginning))).await;
    }

    /// The log events of this text so far.
    pub fn events(&self, text: &str) -> Vec<Value> {
        self.lines()
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["event"] == text)
            .collect()
    }

    /// Waits until there are so many log events of this text.
    ///
    /// # Panics
    /// When the program ends, or nothing comes, before that.
    pub async fn wait_for(&mut self, text: &str, count: usize) {
        let mut ended = false;
        let what = format!("{count} × {text:?} in the program's log");
        let (child, lines) = (&mut self.child, Arc::clone(&self.lines));
        let needle = format!("\"event\":\"{text}\"");
        crate::eventually(&what, || {
            let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = lines.iter().filter(|line| line.contains(&needle)).count() >= count;
            assert!(seen || !ended, "the program ended before {what}:\n{}", lines.join("\n"));
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            seen
        })
        .await;
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Panics
    /// When there is no such process or signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent =
            Command::new("kill").args([format!("-{name}"), id]).status().expect("kill should be there");
        assert!(sent.success(), "kill -{name} failed");
    }

    /// The most memory it ever held, in bytes: the kernel's `VmHWM`. None when it has ended, or where there is no
    /// `/proc`.
    pub fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib << 10)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        crate::eventually("the program's end", || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the program's log:\n{}", self.lines().join("\n"));
        }
    }
}
