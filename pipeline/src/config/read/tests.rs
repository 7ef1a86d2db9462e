//! Tests of the reading of variables.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let server = [("OBS_SERVER", "memory://")];
    let variables = server
        .iter()
        .chain(pairs)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
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
            "OBS_RESOLVE",
            "OBS_SECRET_KEY",
            "POOL_SIZE",
            "PIPELINE_MEMORY_MAX",
            "KAFKA_HEARTBEAT_INTERVAL_MS",
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
