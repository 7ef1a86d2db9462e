//! Huawei's own SDK on the other end: what it wrote is what the worker reads, what the worker wrote is what it
//! reads. It shares no code with the worker's client, nor with the server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kit::dataset::sample;
use kit::obs::{ObsServer, Options};
use pipeline::config::{Config, Variables, WorkerType};
use pipeline::path::Defaults;
use pipeline::publish::memory::Publish;
use pipeline::source;
use pipeline::storage::Storage;
use pipeline::worker::{drive, intake_bounds, stages};
use serde_json::Value;

/// A Python with the SDK: the one that `PIPELINE_TEST_PYTHON` names, else a virtual environment that is made once.
/// `None` where there can be none, which is a failure under CI.
fn python() -> Option<&'static PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let made = match std::env::var_os("PIPELINE_TEST_PYTHON") {
            Some(python) => Ok(PathBuf::from(python)),
            None => make_environment(),
        };
        made.inspect_err(|why| {
            assert!(std::env::var_os("CI").is_none(), "CI must have the SDK: {why}");
            eprintln!("SKIPPED the tests with Huawei's SDK: {why}; install python3 with venv, or name one in PIPELINE_TEST_PYTHON");
        })
        .ok()
    });
    python.as_ref()
}

fn make_environment() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-venv");
    let python = home.join("bin/python");
    let requirements = root().join("tests/sdk/requirements.txt");
    if !home.join("complete").is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(requirements))?;
        std::fs::write(home.join("complete"), "").map_err(|error| error.to_string())?;
    }
    Ok(python)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{command:?}: {}{}", text(&output.stdout), text(&output.stderr))),
    }
}

fn sdk(python: &Path, server: &ObsServer, verb: &str, bucket: &str, key: &str, file: &Path) -> Value {
    let address = format!("{}:{}", kit::live::SERVICE, server.address().port());
    let mut command = Command::new(python);
    let Options { access_key, secret_key, .. } = Options::default();
    command
        .envs([("OBS_ACCESS_KEY_ID", access_key), ("OBS_SECRET_ACCESS_KEY", secret_key)])
        .arg(root().join("tests/sdk/sdk.py"))
        .arg(verb)
        .args(["--server", &address, "--bucket", bucket, "--key", key, "--file"])
        .arg(file);
    serde_json::from_str(&run(&mut command).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_wrote_the_worker_reads_and_what_the_worker_wrote_the_sdk_reads() {
    let Some(python) = python() else { return };
    let server =
        ObsServer::start(Options { buckets: vec!["in".into(), "out".into()], ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let flights = folder.path().join("flights.csv");
    std::fs::write(&flights, sample("flights.csv")).unwrap();
    // As one request, and in parts; keys that the two clients encode differently.
    let keys =
        [("put", "plain.csv"), ("put", "数据/it's (1)!*~ +&.csv"), ("multipart-put", "parts/flights.csv")];
    for (verb, key) in keys {
        sdk(python, &server, verb, "in", key, &flights);
    }

    let Options { access_key, secret_key, .. } = Options::default();
    let address = server.address().to_string();
    let variables: Variables = [
        ("OBS_SERVER", kit::live::SERVICE),
        ("OBS_RESOLVE", &address),
        ("OBS_ACCESS_KEY", &access_key),
        ("OBS_SECRET_KEY", &secret_key),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let config = Config::from_variables(&variables, WorkerType::MultiProcess).unwrap();
    let results = Publish::new(WorkerType::MultiProcess);
    let defaults = Defaults { source_bucket: Some("in".to_owned()), dest_bucket: Some("out".to_owned()) };
    let storage = Storage::new(&config.storage).unwrap();
    let stages = stages(&config.worker, defaults, storage, std::sync::Arc::new(results.clone())).unwrap();
    let messages = keys.map(|(_, key)| kit::rig::task(key).into()).to_vec();
    let source = source::memory::open(messages, 1, intake_bounds(&config.worker));
    let report = drive(source, stages, &config.worker, std::future::pending()).await.unwrap();
    assert_eq!(report.succeeded, 3, "{:?}", results.messages());

    for (_, key) in keys {
        let summary = folder.path().join("summary.json");
        sdk(python, &server, "get", "out", &format!("{key}.parsed.json"), &summary);
        let summary: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
        assert_eq!(summary["source"]["key"], key);
        assert_eq!(summary["total_rows"], 2246);
    }
}
