//! The program from the outside: help, exit codes, and that bad input is told apart from bad luck.
//!
//! These also make `cargo test` build the program, which the tests of the workspace start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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
    for command in ["run", "worker", "tasks", "summarize", "demo"] {
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
