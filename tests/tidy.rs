//! Rules of the house that a compiler does not know.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the repository, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = ["parsers/src", "parsers/tests", "pipeline", "tests", "benches", "fuzz"]
        .map(|folder| root().join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(files.len() > 50, "the walk finds the sources");
    files
}

fn complain(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_promises_and_is_short_enough_to_read() {
    /// A file longer than this has a room inside that wants its own door.
    const LINES_MAX: usize = 500;
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            broken.push(format!("{}: opens without //! docs", path.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{}: {lines} lines, at most {LINES_MAX}", path.display()));
        }
    }
    complain(&broken);
}

/// A test that sleeps is slow where nothing is wrong, and fails where a machine is busy: it waits for a condition, with a
/// deadline (`kit::eventually`).
#[test]
fn no_test_sleeps() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let is_test =
            path.components().any(|part| ["tests", "tests.rs"].iter().any(|name| part.as_os_str() == *name));
        // In two pieces, since this file is a test, too.
        let sleeps =
            text.lines().enumerate().filter(|(_, line)| is_test && line.contains(concat!("sleep", "(")));
        broken.extend(sleeps.map(|(at, line)| format!("{}:{}: {}", path.display(), at + 1, line.trim())));
    }
    complain(&broken);
}

/// Who may use what: module (a prefix of its path) → words that must not occur in its code.
#[test]
fn dependencies_point_one_way() {
    let stages = ["admit", "download", "parse", "upload", "publish"];
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let name = path.to_str().unwrap().replace('\\', "/");
        // Tests may read files; the rules are for what is shipped.
        let shipped = text
            .split(
                "#[cfg(test)]
",
            )
            .next()
            .unwrap_or_default();
        let code = shipped
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        let mut forbid = |word: &str, why: &str| {
            if code.contains(word) {
                broken.push(format!("{name}: {word:?}: {why}"));
            }
        };
        if name.starts_with("parsers/src") && !name.ends_with("/tests.rs") {
            for word in
                ["tokio", "rdkafka", "opendal", "std::env", "std::time", "std::fs", "std::net", "std::thread"]
            {
                // Which thread does what may depend on how long it took before; no value does.
                if (name.as_str(), word) != ("parsers/src/aggregate/lanes.rs", "std::time") {
                    forbid(word, "parsers take bytes and give values");
                }
            }
        }
        if !name.ends_with("kafka.rs") && !name.contains("/kafka/") && name != "tests/tidy.rs" {
            forbid("rdkafka::", "rdkafka appears only in modules named kafka");
        }
        if name.starts_with("pipeline/src") && !name.starts_with("pipeline/src/storage") {
            forbid("opendal::", "opendal appears only in storage");
            forbid("reqsign", "signing belongs to storage");
        }
        for pure in ["pipeline/src/commit.rs", "pipeline/src/task.rs"] {
            if name == pure {
                for word in ["tokio", "Instant", "SystemTime", "Mutex"] {
                    forbid(word, "pure: facts in, decisions out");
                }
            }
        }
        if name.starts_with("pipeline/src") && !name.starts_with("pipeline/src/main") {
            forbid("anyhow", "anyhow belongs to main");
        }
        // A stage may know the shape of what it takes from the one above, and nothing else of it.
        for stage in stages {
            let own = format!("pipeline/src/{stage}");
            if name == format!("{own}.rs") || name.starts_with(&format!("{own}/")) {
                for other in ["crate::worker", "crate::commit", "crate::source"] {
                    forbid(other, "a stage knows neither the loop nor the books");
                }
            }
        }
    }
    complain(&broken);
}

/// Every variable that the program reads is documented, and nothing else is.
#[test]
fn the_configuration_is_documented_whole() {
    let code = std::fs::read_to_string(root().join("pipeline/src/config/read.rs")).unwrap();
    let code = code.split("#[cfg(test)]").next().unwrap();
    let documented = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let is_name = |word: &&str| {
        let beginnings = [
            "KAFKA_",
            "OBS_",
            "PIPELINE_",
            "LOG_",
            "POOL_",
            "AWS_",
            "CLEANUP_",
            "DBC_",
            "FILE_",
            "TASK_",
            "SOURCE_",
            "DEST_",
            "MAX_FILES",
            "SINGLE_FILE",
        ];
        beginnings.iter().any(|prefix| word.starts_with(prefix))
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let mut read: Vec<&str> = code.split('"').filter(is_name).collect();
    read.sort_unstable();
    read.dedup();
    assert!(read.len() > 30, "the scan finds the variables");
    let missing: Vec<String> = read
        .iter()
        .filter(|name| !documented.contains(&format!("`{name}`")))
        .map(|name| format!("{name} is not in docs/configuration.md"))
        .collect();
    complain(&missing);
}

/// A page that names a test names one that is there.
#[test]
fn tests_that_the_docs_name_exist() {
    let code: String = sources().into_iter().map(|(_, text)| text).collect();
    let mut broken = Vec::new();
    let mut named = 0;
    for page in ["docs/guarantees.md", "docs/migrating.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for word in text.split('`').skip(1).step_by(2).filter(|word| word.contains("::")) {
            let name = word.rsplit("::").next().unwrap_or_default();
            let is_test = name.contains('_')
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            named += usize::from(is_test);
            if is_test && !code.contains(&format!("fn {name}(")) {
                broken.push(format!("{page}: {word}: there is no such function"));
            }
        }
    }
    assert!(named > 40, "the scan finds the names: {named}");
    complain(&broken);
}

/// The committed data is the data that was described and expected.
#[test]
fn datasets_have_their_checksums() {
    let checked = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(root().join("datasets"))
        .output();
    match checked {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => assert!(std::env::var_os("CI").is_none(), "sha256sum: {error}"),
    }
}
