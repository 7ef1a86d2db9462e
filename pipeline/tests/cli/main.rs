//! The program from the outside: help, exit codes, and that bad input is told apart from bad luck.
//!
//! These also make `cargo test` build the program, which the tests of the workspace start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod summarize;

use std::process::{Command, Output};

fn pipeline(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(directory.path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_command() {
    let help = pipeline(&["--help"], &[]);
    assert!(help.status.success());
    let commands = [
        "run",
        "worker",
        "tasks",
        "results",
        "dlq",
        "config",
        "summarize",
        "convert",
        "demo",
        "completions",
        "man",
    ];
    for command in commands {
        assert!(text(&help.stdout).contains(command), "{command}");
    }
}

#[test]
fn a_wrong_configuration_is_told_whole_with_exit_code_2() {
    let output = pipeline(&["run"], &[("POOL_SIZE", "many"), ("KAFKA_AUTO_OFFSET_RESET", "newest")]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("POOL_SIZE=many"), "{stderr}");
    assert!(stderr.contains("KAFKA_AUTO_OFFSET_RESET=newest"), "{stderr}");
}

#[test]
fn flags_win_over_the_environment() {
    let output = pipeline(&["worker", "--set", "POOL_SIZE=many"], &[("POOL_SIZE", "4")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("POOL_SIZE=many"));
}

#[test]
fn demo_ends_well() {
    let output = pipeline(&["demo"], &[]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", text(&output.stderr));
    assert!(stdout.contains("12 files summarised, 2 refused"), "{stdout}");
    assert!(
        stdout.contains("failed: corrupt_file") && stdout.contains("failed: unsupported_format"),
        "{stdout}"
    );
}

/// Each variable that can be wrong, with a value that is. `config show` lists all variables: one that is new and
/// not in either list here fails the test.
const WRONG: &[(&str, &str)] = &[
    ("KAFKA_BOOTSTRAP_SERVERS", "localhost"),
    ("KAFKA_TOPIC_TASKS", "a topic"),
    ("KAFKA_RESULT_TOPIC", "ergebnisse/ü"),
    ("KAFKA_DLQ_TOPIC", "dead letters"),
    ("KAFKA_AUTO_OFFSET_RESET", "newest"),
    ("KAFKA_ENABLE_AUTO_COMMIT", "perhaps"),
    ("KAFKA_AUTO_COMMIT_INTERVAL_MS", "1"),
    ("KAFKA_SESSION_TIMEOUT_MS", "10s"),
    ("KAFKA_HEARTBEAT_INTERVAL_MS", "99999"),
    ("KAFKA_MAX_POLL_INTERVAL_MS", "0"),
    ("KAFKA_MAX_POLL_RECORDS", "-1"),
    ("KAFKA_ENABLE_PRODUCER", "2"),
    ("KAFKA_EXACTLY_ONCE", "at least"),
    ("KAFKA_SECURITY_PROTOCOL", "TLS"),
    ("KAFKA_SASL_MECHANISM", "GSSAPI"),
    ("KAFKA_SSL_CA_LOCATION", "/nowhere/ca.pem"),
    ("OBS_SERVER", "ftp://obs"),
    ("OBS_RESOLVE", "localhost"),
    ("OBS_CREDENTIALS_FILE", "/nowhere/credentials"),
    ("AWS_ENDPOINT_URL", "s3"),
    ("POOL_SIZE", "many"),
    ("PIPELINE_WINDOW_MAX", "0"),
    ("PIPELINE_DOWNLOADS_MAX", "0"),
    ("PIPELINE_UPLOADS_MAX", "9999"),
    ("PIPELINE_PUBLISHES_MAX", "x"),
    ("PIPELINE_MEMORY_MAX", "1 elephant"),
    ("PIPELINE_ATTEMPTS_MAX", "0"),
    ("PIPELINE_DEATHS_MAX", "0"),
    ("PIPELINE_STALL_AFTER_MS", "0"),
    ("PIPELINE_RETRY_MIN_MS", "0"),
    ("PIPELINE_RETRY_MAX_MS", "1"),
    ("PIPELINE_DRAIN_TIMEOUT_MS", "soon"),
    ("PIPELINE_REVOKE_TIMEOUT_MS", "60000"),
    ("PIPELINE_DOWNLOAD_TIMEOUT_MS", "0"),
    ("PIPELINE_PARSE_TIMEOUT_MS", "0"),
    ("PIPELINE_UPLOAD_TIMEOUT_MS", "0"),
    ("PIPELINE_PUBLISH_TIMEOUT_MS", "0"),
    ("PIPELINE_KEEP_MAX", "all"),
    ("CLEANUP_FILES", "maybe"),
    ("CLEANUP_ON_ERROR", "maybe"),
    ("FILE_INCLUDE", "["),
    ("FILE_EXCLUDE", "{a"),
    ("FILE_SIZE_MIN", "small"),
    ("FILE_SIZE_MAX", "large"),
    ("FILE_MODIFIED_SINCE", "yesterday"),
    ("MAX_FILES", "0"),
    ("SINGLE_FILE", "/a"),
    ("DEST_KEY", "a//b"),
    ("TASK_ROUTES", "csv"),
    ("LOG_FORMAT", "xml"),
    ("LOG_LANG", "fr"),
    ("LOG_LEVEL", "a=b=c"),
];

/// Wrong only together with others or with a server: each in a run of its own.
const WRONG_ALONE: &[(&str, &[(&str, &str)])] = &[
    ("OBS_SOURCE_BUCKET", &[("OBS_SOURCE_BUCKET", "a bucket")]),
    ("OBS_DEST_BUCKET", &[("OBS_DEST_BUCKET", "ftp://b")]),
    ("SOURCE_BUCKET", &[("SOURCE_BUCKET", "../in")]),
    ("DEST_BUCKET", &[("DEST_BUCKET", "a/b")]),
    ("OBS_ACCESS_KEY", &[("OBS_SECRET_KEY", "hush")]),
    ("OBS_SECRET_KEY", &[("OBS_ACCESS_KEY", "ak")]),
    ("KAFKA_SASL_USERNAME", &[("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")]),
    ("KAFKA_SASL_PASSWORD", &[("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")]),
    ("OBS_SERVER", &[("OBS_SERVER", ""), ("OBS_SOURCE_BUCKET", "in")]),
];

/// Free text: what is wrong with them only a broker or a storage can tell.
const FREE: &[&str] = &[
    "KAFKA_GROUP_ID",
    "KAFKA_GROUP_INSTANCE_ID",
    "OBS_SECURITY_TOKEN",
    "OBS_REGION",
    "OBS_DOWNLOAD_DIR",
    "OBS_UPLOAD_DIR",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "DBC_FACTORY",
    "FILE_PREFIX",
];

#[test]
fn every_variable_refuses_wrong_values() {
    let output = pipeline(&["run"], WRONG);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    for (name, value) in WRONG {
        let line =
            stderr.lines().find(|line| line.trim_start().starts_with(&format!("{name}={value}: must be ")));
        assert!(line.is_some(), "{name}={value} is not refused:\n{stderr}");
    }
    for (name, variables) in WRONG_ALONE {
        let server = ("OBS_SERVER", "memory://");
        let variables: Vec<_> = [server].into_iter().chain(variables.iter().copied()).collect();
        let output = pipeline(&["run"], &variables);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert!(stderr.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {stderr}");
        assert!(!stderr.contains("hush"), "{stderr}");
    }
    let shown = pipeline(&["config", "show", "--json"], &[("OBS_SERVER", "memory://")]);
    let settings: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    for setting in settings.as_array().unwrap() {
        let name = setting["name"].as_str().unwrap();
        let tried = WRONG.iter().any(|(wrong, _)| *wrong == name)
            || WRONG_ALONE.iter().any(|(wrong, _)| *wrong == name)
            || FREE.contains(&name);
        assert!(tried, "{name} is tried by no test");
    }
}

#[test]
fn config_show_names_origins_and_masks_secrets() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join(".env"),
        "OBS_SECRET_KEY='pa$word'\nOBS_ACCESS_KEY=ak\nLOG_LANG=zh\n",
    )
    .unwrap();
    std::fs::write(
        directory.path().join("pipeline.toml"),
        "pool_size = 3\n[log]\nlang = 'en'\nformat = 'pretty'\n[obs]\nserver = 'memory://'\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .args(["config", "show", "--json", "--set", "KAFKA_GROUP_ID=flagged"])
        .env_clear()
        .env("KAFKA_TOPIC_TASKS", "from-environment")
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("pa$word"));
    let settings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let find = |name: &str| {
        let found = settings.as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap_or("").to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    for (name, value, origin) in [
        ("KAFKA_GROUP_ID", "flagged", "flag"),
        ("KAFKA_TOPIC_TASKS", "from-environment", "environment"),
        ("LOG_LANG", "zh", ".env"),
        ("OBS_SECRET_KEY", "***", ".env"),
        ("POOL_SIZE", "3", "pipeline.toml"),
        ("LOG_FORMAT", "pretty", "pipeline.toml"),
        ("KAFKA_RESULT_TOPIC", "file-processing-results", "default"),
    ] {
        assert_eq!(find(name), (value.to_owned(), origin.to_owned()), "{name}");
    }
}

#[test]
fn misspelt_names_are_warned_about_with_the_right_one() {
    let variables =
        [("OBS_SERVER", "memory://"), ("OBS_SOURCE_BUCKET", "in"), ("KAFKA_BOOTSTRAP_SERVER", "a:1")];
    let output = pipeline(&["tasks", "file", "a.csv", "--dry-run"], &variables);
    assert!(output.status.success());
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("KAFKA_BOOTSTRAP_SERVER") && stderr.contains("did you mean KAFKA_BOOTSTRAP_SERVERS?"),
        "{stderr}"
    );
}

/// `pipeline tasks … --dry-run | head -1`: the end of the reader is a good end of the command.
#[test]
fn a_reader_that_goes_away_ends_the_command_well() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .args(["tasks", "list", "-", "--bucket", "in", "--dry-run"])
        .env_clear()
        .env("OBS_SERVER", "memory://")
        .current_dir(directory.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // The command may be gone before all of it is written.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), "a.csv\n".repeat(100_000).as_bytes());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_command_that_lacks_something_names_it() {
    let storage = [("OBS_SERVER", "memory://")];
    for (arguments, name) in [
        (&["tasks", "scan"][..], "SOURCE_BUCKET"),
        (&["tasks", "file", "--bucket", "in"], "SINGLE_FILE"),
        (&["tasks", "batch"], "tasks.toml"),
    ] {
        let output = pipeline(arguments, &storage);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(name), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn completions_and_the_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = pipeline(&["completions", shell], &[]);
        assert!(script.status.success());
        assert!(
            text(&script.stdout).contains("create-topics") || text(&script.stdout).contains("create_topics"),
            "{shell}"
        );
    }
    let page = text(&pipeline(&["man"], &[]).stdout);
    for part in [
        ".TH pipeline",
        "pipeline\\-tasks\\-scan",
        "\\-\\-modified\\-since",
        "pipeline\\-config\\-check",
        "pipeline\\-dlq\\-replay",
    ] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
}

/// The folder that a job names is a person's choice, as that of a scan.
#[test]
fn a_job_may_name_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("files")).unwrap();
    std::fs::write(directory.path().join("files/a.csv"), "a\n1\n").unwrap();
    let jobs = directory.path().join("jobs.toml");
    let folder = directory.path().join("files");
    std::fs::write(&jobs, format!("[jobs.local]\nbucket = 'file://{}'\n", folder.display())).unwrap();
    let arguments = ["tasks", "batch", jobs.to_str().unwrap(), "--dry-run"];
    let output = pipeline(&arguments, &[("OBS_SOURCE_BUCKET", "s3://elsewhere")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\"key\":\"a.csv\""), "{}", text(&output.stdout));
}

/// The template for a `.env` is accepted as it is, and every name in it, commented out or not, is read.
#[test]
fn the_example_of_an_env_file_is_good() {
    let directory = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../env.example")).unwrap();
    std::fs::write(directory.path().join(".env"), &text).unwrap();
    let show = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_pipeline"))
            .args(arguments)
            .env_clear()
            .current_dir(directory.path())
            .output()
            .unwrap()
    };
    let output = show(&["config", "show", "--json"]);
    assert!(output.status.success(), "{}", text_of(&output));
    let settings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let known = |name: &str| settings.as_array().unwrap().iter().any(|setting| setting["name"] == name);
    let assignments = text.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='));
    let mut names = assignments
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    assert!(names.clone().count() > 30);
    assert_eq!(names.find(|name| !known(name)), None);
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// What a pipe has brought is read at once: it may be long before more comes, and the writer may wait for the answer.
#[test]
fn an_error_in_a_pipe_that_stays_open_is_told() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .args(["summarize", "-", "--strict"])
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let rows = format!("a,b\n1,2\n3\n{}", "4,5\n".repeat(250_000));
    // It may be gone before all is written.
    let _ = std::io::Write::write_all(&mut pipe, rows.as_bytes());
    let (done, is_done) = std::sync::mpsc::channel();
    let keep_open = std::thread::spawn(move || {
        let in_time = is_done.recv_timeout(std::time::Duration::from_secs(60)).is_ok();
        drop(pipe);
        in_time
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    assert!(keep_open.join().unwrap(), "told only when the pipe was closed");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("line 3"), "{}", text(&output.stderr));
}
