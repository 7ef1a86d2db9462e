//! The program from the outside: help, exit codes, and that bad input is told apart from bad luck.
//!
//! These also make `cargo test` build the program, which the tests of the workspace start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};
use std::slice::from_ref;

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
fn summarize_writes_json_or_a_table_and_goes_on_after_a_bad_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("good.csv"), "name,age\nAda,36\nAlan,41\n").unwrap();
    std::fs::write(path("photo.png"), [0x89, b'P', b'N', b'G']).unwrap();

    let output = pipeline(&["summarize", &path("photo.png"), &path("good.csv")], &[]);
    assert_eq!(output.status.code(), Some(1), "one file failed");
    assert!(text(&output.stderr).contains("photo.png"));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["total_rows"], 2);
    assert_eq!(summary["summary"]["age"]["mean"], 38.5);

    let output = pipeline(&["summarize", "--format", "table", &path("good.csv")], &[]);
    assert!(output.status.success());
    let table = text(&output.stdout);
    assert!(table.contains("2 rows, 2 columns") && table.contains("38.5"), "{table}");
}

/// Small files are read side by side and merged in neighbourhoods: the answer is that of one file with all rows, in their
/// order. All words are equally frequent, so that `top` is the one that came first.
#[test]
fn merged_files_are_as_one_and_partials_merge_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (mut rows, mut files) = (String::from("id,word\n"), Vec::new());
    for file in 0..50 {
        let lines: String = (0..20).map(|row| format!("{},w{file}\n", file * 20 + row)).collect();
        files.push(path(&format!("{file}.csv")));
        std::fs::write(&files[file], format!("id,word\n{lines}")).unwrap();
        rows += &lines;
    }
    std::fs::write(path("all.csv"), rows).unwrap();
    let summarize = |arguments: &[&str], files: &[String]| {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        pipeline(&[&["summarize"], arguments, &files[..]].concat(), &[])
    };
    let whole = summarize(&[], &[path("all.csv")]);
    let together = summarize(&["--merge"], &files);
    assert!(together.status.success(), "{}", text(&together.stderr));
    assert_eq!(text(&together.stdout), text(&whole.stdout));

    for (name, files) in [("first.partial", &files[..30]), ("second.partial", &files[30..])] {
        let partial = summarize(&["--merge", "--format", "partial"], files);
        assert!(partial.status.success(), "{}", text(&partial.stderr));
        std::fs::write(path(name), partial.stdout).unwrap();
    }
    let merged = pipeline(&["merge", &path("first.partial"), &path("second.partial")], &[]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    assert_eq!(text(&merged.stdout), text(&whole.stdout));

    // A total that lacks a file is none.
    let lacking = summarize(&["--merge"], &[files[0].clone(), path("not.csv"), files[1].clone()]);
    assert_eq!((lacking.status.code(), text(&lacking.stdout)), (Some(1), String::new()));
    assert!(text(&lacking.stderr).contains("not.csv"), "{}", text(&lacking.stderr));
    // All that fail are named, also those that do not fit to the ones before, and no other.
    std::fs::write(path("other.jsonl"), "{\"id\":1}\n").unwrap();
    std::fs::write(path("empty.csv"), "").unwrap();
    std::fs::write(path("large.csv"), format!("id,word\n{}", "1,one\n".repeat(200_000))).unwrap();
    let [other, empty, large] = ["other.jsonl", "empty.csv", "large.csv"].map(path);
    let good = &files[..6];
    for (all, failing) in [
        ([&good[..3], from_ref(&other), &good[3..], from_ref(&empty)].concat(), [&other, &empty]),
        ([&good[..3], &[empty.clone(), other.clone()], &good[3..]].concat(), [&empty, &other]),
        // By itself, and then a share that begins with none.
        (vec![large, empty.clone(), other.clone()], [&empty, &other]),
    ] {
        let unfit = summarize(&["--merge"], &all);
        assert_eq!((unfit.status.code(), text(&unfit.stdout)), (Some(1), String::new()));
        let said = text(&unfit.stderr);
        let named: Vec<&str> = said.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        assert_eq!(named[..2], failing, "{said}");
        let count = format!("2 of {} files failed", all.len());
        assert!(said.contains(&count) && said.contains("written with their types"), "{said}");
    }
    let no_partial = pipeline(&["merge", &path("first.partial"), &path("all.csv")], &[]);
    assert_eq!((no_partial.status.code(), text(&no_partial.stdout)), (Some(1), String::new()));
    assert!(text(&no_partial.stderr).contains("--format partial"), "{}", text(&no_partial.stderr));
    let several = summarize(&["--format", "partial"], &files);
    assert_eq!((several.status.code(), text(&several.stdout)), (Some(1), String::new()));
    assert!(text(&several.stderr).contains("--merge"), "{}", text(&several.stderr));
}

#[test]
fn convert_writes_rows_as_they_were_understood() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("odd.csv"), "Ages\n\nname;age\nAda;36\n\"Alan;41\nKurt\n").unwrap();
    std::fs::write(path("empty.csv"), "").unwrap();

    let output = pipeline(&["convert", &path("odd.csv"), "--to", "csv"], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "name,age\nAda,36\n\"\"\"Alan\",41\nKurt,\n");
    assert!(text(&output.stderr).contains("1 unclosed_quote, first in line 5"), "{}", text(&output.stderr));

    let output = pipeline(&["convert", &path("odd.csv"), "--to", "csv", "--strict"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("line 5"), "{}", text(&output.stderr));

    let told = ["--delimiter", ",", "--header", "no", "--skip-lines", "2", "--quote", "none"];
    let output = pipeline(&[&["convert", &path("odd.csv"), "--to", "csv"], &told[..]].concat(), &[]);
    assert_eq!(text(&output.stdout).lines().next(), Some("name;age"));

    let output = pipeline(&["convert", &path("empty.csv"), "--to", "csv", "-o", &path("out.csv")], &[]);
    assert!(output.status.success() && std::fs::read(path("out.csv")).unwrap().is_empty());

    let output = pipeline(&["convert", &path("odd.csv"), "--to", "parquet", "-o", &path("out.parquet")], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(std::fs::read(path("out.parquet")).unwrap().starts_with(b"PAR1"));
    let output = pipeline(&["convert", "-", "--to", "parquet"], &[]);
    assert_eq!(output.status.code(), Some(1), "standard input cannot be read twice");
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
