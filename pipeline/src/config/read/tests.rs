//! Tests of the reading of variables.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let server = [("OBS_SERVER", "memory://")];
    let variables =
        server.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config(&variables, WorkerType::MultiProcess)
}

#[test]
fn the_guides_minimal_file_is_enough() {
    let config = read(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        ("KAFKA_TOPIC_TASKS", "file-processing-tasks"),
        ("KAFKA_RESULT_TOPIC", "file-processing-results"),
        ("KAFKA_GROUP_ID", "obs-workers"),
        ("OBS_ACCESS_KEY", "your_access_key"),
        ("OBS_SECRET_KEY", "your_secret_key"),
        ("OBS_SERVER", "https://obs.cn-north-4.myhuaweicloud.com"),
        ("OBS_REGION", "cn-north-4"),
        ("OBS_SOURCE_BUCKET", "input-files"),
        ("OBS_DEST_BUCKET", "processed-files"),
        ("POOL_SIZE", "4"),
        ("CLEANUP_FILES", "true"),
        ("CLEANUP_ON_ERROR", "false"),
    ])
    .unwrap();
    assert_eq!(config.worker.pool_size, 4);
    assert_eq!(config.kafka.auto_offset_reset, OffsetReset::Earliest);
    assert_eq!(config.storage.source_bucket.as_deref(), Some("input-files"));
}

#[test]
fn all_errors_come_together_and_name_what_is_allowed() {
    let ConfigError(invalid) = read(&[
        ("POOL_SIZE", "many"),
        ("KAFKA_AUTO_OFFSET_RESET", "newest"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("OBS_ACCESS_KEY", "ak"),
        ("OBS_RESOLVE", "localhost"),
        ("PIPELINE_MEMORY_MAX", "1 elephant"),
        ("KAFKA_HEARTBEAT_INTERVAL_MS", "10000"),
    ])
    .unwrap_err();
    let names: Vec<&str> = invalid.iter().map(|invalid| invalid.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "KAFKA_AUTO_OFFSET_RESET",
            "KAFKA_SASL_USERNAME",
            "KAFKA_SASL_PASSWORD",
            "KAFKA_HEARTBEAT_INTERVAL_MS",
            "OBS_RESOLVE",
            "OBS_SECRET_KEY",
            "POOL_SIZE",
            "PIPELINE_MEMORY_MAX",
        ]
    );
    let text = ConfigError(invalid).to_string();
    assert!(text.contains("KAFKA_AUTO_OFFSET_RESET=newest: must be one of earliest, latest"), "{text}");
}

#[test]
fn secrets_are_never_printed() {
    let config = read(&[
        ("OBS_ACCESS_KEY", "ak"),
        ("OBS_SECRET_KEY", "hush-obs"),
        ("OBS_SECURITY_TOKEN", "hush-token"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_USERNAME", "me"),
        ("KAFKA_SASL_PASSWORD", "hush-kafka"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

/// The guide's "环境变量完整列表", and the variables of its other examples.
const GUIDE: &[&str] = &[
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_TOPIC_TASKS",
    "KAFKA_RESULT_TOPIC",
    "KAFKA_GROUP_ID",
    "KAFKA_AUTO_OFFSET_RESET",
    "KAFKA_ENABLE_AUTO_COMMIT",
    "KAFKA_AUTO_COMMIT_INTERVAL_MS",
    "KAFKA_SESSION_TIMEOUT_MS",
    "KAFKA_HEARTBEAT_INTERVAL_MS",
    "KAFKA_MAX_POLL_INTERVAL_MS",
    "KAFKA_MAX_POLL_RECORDS",
    "KAFKA_ENABLE_PRODUCER",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
    "OBS_ACCESS_KEY",
    "OBS_SECRET_KEY",
    "OBS_SERVER",
    "OBS_REGION",
    "OBS_SOURCE_BUCKET",
    "OBS_DEST_BUCKET",
    "OBS_DOWNLOAD_DIR",
    "OBS_UPLOAD_DIR",
    "POOL_SIZE",
    "CLEANUP_FILES",
    "CLEANUP_ON_ERROR",
    "DBC_FACTORY",
    "SOURCE_BUCKET",
    "FILE_PREFIX",
    "DEST_BUCKET",
    "MAX_FILES",
    "SINGLE_FILE",
    "DEST_KEY",
];

#[test]
fn every_variable_of_the_guide_is_known() {
    let settings = settings(&Variables::new(), WorkerType::MultiProcess);
    for name in GUIDE {
        assert!(settings.iter().any(|setting| setting.name == *name), "{name}");
    }
}

#[test]
fn a_region_is_a_server_and_a_server_wins() {
    let read = |pairs: &[(&str, &str)]| {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        config(&variables, WorkerType::MultiProcess).map(|config| config.storage.server)
    };
    let region = ("OBS_REGION", "cn-north-4");
    assert_eq!(read(&[region]).unwrap(), "https://obs.cn-north-4.myhuaweicloud.com");
    assert_eq!(
        read(&[region, ("OBS_SERVER", "https://obs.private.example")]).unwrap(),
        "https://obs.private.example"
    );
    let error = read(&[("OBS_SOURCE_BUCKET", "in")]).unwrap_err().to_string();
    assert!(error.contains("OBS_SERVER: must be set"), "{error}");
    assert!(read(&[("OBS_SOURCE_BUCKET", "s3://in")]).is_ok(), "a URL needs no server");
}

#[test]
fn options_of_librdkafka_pass_and_their_errors_come_with_the_others() {
    let passed = read(&[("KAFKA_LIBRDKAFKA_FETCH_MIN_BYTES", "7")]).unwrap();
    let (name, value) = &passed.kafka.options[0];
    assert_eq!((name.as_str(), value.reveal()), ("fetch.min.bytes", "7"));
    let refused = [
        ("KAFKA_LIBRDKAFKA_FETCH_MIN_BITES", "7"),
        ("KAFKA_LIBRDKAFKA_SSL_KEY_PASSWORD_", "hush"),
        ("KAFKA_LIBRDKAFKA_ENABLE_AUTO_COMMIT", "true"),
        ("POOL_SIZE", "0"),
    ];
    let error = read(&refused).unwrap_err();
    assert_eq!(error.0.len(), 4);
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[test]
fn the_revoke_timeout_is_half_the_session_timeout() {
    let config = read(&[("KAFKA_SESSION_TIMEOUT_MS", "30000")]).unwrap();
    assert_eq!(config.worker.revoke_timeout, Duration::from_secs(15));
}

#[test]
fn nothing_is_kept_by_default() {
    let keep = read(&[]).unwrap().worker.keep;
    assert!(!keep.succeeded && !keep.failed);
    let keep = read(&[("CLEANUP_FILES", "false"), ("CLEANUP_ON_ERROR", "true")]).unwrap().worker.keep;
    assert!(keep.succeeded && !keep.failed);
}
