//! Reading and checking the variables. Collects every error before it gives up.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use crate::config::{
    Config, Kafka, Log, LogFormat, LogLang, OffsetReset, S3, SaslMechanism, Secret, Security,
    SecurityProtocol, Storage, Variables, Worker, WorkerType,
};

/// One variable that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The variable.
    pub name: String,
    /// Its value, when it has one and is no secret.
    pub value: Option<String>,
    /// What is allowed.
    pub allowed: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Invalid>);

impl std::error::Error for ConfigError {}

impl ConfigError {
    pub(super) fn env_file(error: &dotenvy::Error) -> ConfigError {
        ConfigError(vec![Invalid {
            name: ".env".to_owned(),
            value: None,
            // The error of a line would quote the line, and with it a secret.
            allowed: match error {
                dotenvy::Error::LineParse(_, at) => {
                    format!(
                        "lines of NAME=value, with quotes around values that have blanks (see byte {at} of a line)"
                    )
                }
                error => format!("a readable file of NAME=value lines ({error})"),
            },
        }])
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration is wrong in {} place(s):", self.0.len())?;
        for Invalid { name, value, allowed } in &self.0 {
            match value {
                Some(value) => writeln!(f, "  {name}={value}: must be {allowed}")?,
                None => writeln!(f, "  {name}: must be {allowed}")?,
            }
        }
        Ok(())
    }
}

/// Reads variables, remembers what was wrong.
struct Reader<'a> {
    variables: &'a Variables,
    invalid: Vec<Invalid>,
}

impl Reader<'_> {
    /// An empty value counts as absent: `.env` templates are full of them.
    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn text_or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    fn refuse(&mut self, name: &str, allowed: impl Into<String>) {
        let value = self.text(name);
        self.invalid.push(Invalid { name: name.to_owned(), value, allowed: allowed.into() });
    }

    fn number<T>(&mut self, name: &str, default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let Some(value) = self.get(name) else { return default };
        match value.parse() {
            Ok(number) if number >= min && number <= max => number,
            _ => {
                self.refuse(name, format!("a whole number from {min} to {max}"));
                default
            }
        }
    }

    fn millis(&mut self, name: &str, default: u64, min: u64, max: u64) -> Duration {
        Duration::from_millis(self.number(name, default, min, max))
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                self.refuse(name, "true or false");
                default
            }
        }
    }

    fn choice<T: Copy>(&mut self, name: &str, default: T, all: &[(&str, T)]) -> T {
        let Some(value) = self.get(name) else { return default };
        match all.iter().find(|(text, _)| text.eq_ignore_ascii_case(value)) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<&str> = all.iter().map(|(text, _)| *text).collect();
                self.refuse(name, format!("one of {}", names.join(", ")));
                default
            }
        }
    }

    /// Bytes, with an optional binary unit: `512MiB`, `2GiB`, `1048576`.
    fn bytes(&mut self, name: &str, default: u64, min: u64) -> u64 {
        let Some(value) = self.get(name) else { return default };
        let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match value[digits.len()..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "k" | "kb" | "kib" => Some(1 << 10),
            "m" | "mb" | "mib" => Some(1 << 20),
            "g" | "gb" | "gib" => Some(1_u64 << 30),
            _ => None,
        };
        match digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit)) {
            Some(bytes) if bytes >= min => bytes,
            _ => {
                self.refuse(name, format!("a number of bytes, at least {min}, such as 512MiB"));
                default
            }
        }
    }
}

pub(super) fn config(variables: &Variables, worker_type: WorkerType) -> Result<Config, ConfigError> {
    let mut reader = Reader { variables, invalid: Vec::new() };
    let config = Config {
        kafka: kafka(&mut reader),
        storage: storage(&mut reader),
        worker: worker(&mut reader, worker_type),
        log: log(&mut reader),
    };
    check_together(&mut reader, &config);
    if reader.invalid.is_empty() { Ok(config) } else { Err(ConfigError(reader.invalid)) }
}

/// The largest timeout that makes sense anywhere here.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// With `KAFKA_ENABLE_AUTO_COMMIT=false` finished work is committed at once; this gathers a few.
const COMMIT_AT_ONCE: Duration = Duration::from_millis(100);

fn kafka(reader: &mut Reader) -> Kafka {
    let interval = reader.millis("KAFKA_AUTO_COMMIT_INTERVAL_MS", 5_000, 10, DAY_MS);
    let by_interval = reader.flag("KAFKA_ENABLE_AUTO_COMMIT", true);
    let kafka = Kafka {
        bootstrap_servers: reader.text_or("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        topic_tasks: reader.text_or("KAFKA_TOPIC_TASKS", "file-processing-tasks"),
        result_topic: reader.text_or("KAFKA_RESULT_TOPIC", "file-processing-results"),
        group_id: reader.text_or("KAFKA_GROUP_ID", "obs-workers"),
        group_instance_id: reader.text("KAFKA_GROUP_INSTANCE_ID"),
        auto_offset_reset: reader.choice(
            "KAFKA_AUTO_OFFSET_RESET",
            OffsetReset::Earliest,
            &[("earliest", OffsetReset::Earliest), ("latest", OffsetReset::Latest)],
        ),
        commit_interval: if by_interval { interval } else { COMMIT_AT_ONCE },
        session_timeout: reader.millis("KAFKA_SESSION_TIMEOUT_MS", 10_000, 1_000, 3_600_000),
        heartbeat_interval: reader.millis("KAFKA_HEARTBEAT_INTERVAL_MS", 3_000, 100, 3_600_000),
        max_poll_interval: reader.millis("KAFKA_MAX_POLL_INTERVAL_MS", 300_000, 1_000, DAY_MS),
        enable_producer: reader.flag("KAFKA_ENABLE_PRODUCER", true),
        security: security(reader),
    };
    for topic in ["KAFKA_TOPIC_TASKS", "KAFKA_RESULT_TOPIC"] {
        let legal = |name: &str| {
            name.len() <= 249 && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if reader.get(topic).is_some_and(|name| !legal(name)) {
            reader.refuse(topic, "a topic name: at most 249 of a-z A-Z 0-9 . _ -");
        }
    }
    kafka
}

fn security(reader: &mut Reader) -> Security {
    let protocol =
        reader.choice("KAFKA_SECURITY_PROTOCOL", SecurityProtocol::Plaintext, SecurityProtocol::ALL);
    let security = Security {
        protocol,
        sasl_mechanism: reader.choice("KAFKA_SASL_MECHANISM", SaslMechanism::Plain, SaslMechanism::ALL),
        sasl_username: reader.text_or("KAFKA_SASL_USERNAME", ""),
        sasl_password: Secret::new(reader.text_or("KAFKA_SASL_PASSWORD", "")),
        ssl_ca_location: reader.text("KAFKA_SSL_CA_LOCATION").map(Into::into),
    };
    let sasl = matches!(protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl);
    for name in ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"] {
        if sasl && reader.get(name).is_none() {
            reader.refuse(name, format!("set, since KAFKA_SECURITY_PROTOCOL={}", protocol.as_str()));
        }
    }
    security
}

fn storage(reader: &mut Reader) -> Storage {
    let storage = Storage {
        server: reader.text_or("OBS_SERVER", ""),
        access_key: reader.text("OBS_ACCESS_KEY"),
        secret_key: reader.text("OBS_SECRET_KEY").map(Secret::new),
        security_token: reader.text("OBS_SECURITY_TOKEN").map(Secret::new),
        credentials_file: reader.text("OBS_CREDENTIALS_FILE").map(Into::into),
        resolve: reader.get("OBS_RESOLVE").and_then(|address| address.parse().ok()),
        source_bucket: reader.text("OBS_SOURCE_BUCKET"),
        dest_bucket: reader.text("OBS_DEST_BUCKET"),
        s3: s3(reader),
    };
    if reader.get("OBS_RESOLVE").is_some() && storage.resolve.is_none() {
        reader.refuse("OBS_RESOLVE", "an IP address and a port, such as 10.0.0.7:443");
    }
    for (name, other) in [("OBS_ACCESS_KEY", "OBS_SECRET_KEY"), ("OBS_SECRET_KEY", "OBS_ACCESS_KEY")] {
        if reader.get(name).is_none() && reader.get(other).is_some() {
            reader.refuse(name, format!("set, since {other} is"));
        }
    }
    storage
}

/// The region that Amazon's tools take when none is named, and that other servers do not care about.
const S3_REGION: &str = "us-east-1";

fn s3(reader: &mut Reader) -> S3 {
    let region = reader.text("AWS_REGION").or_else(|| reader.text("AWS_DEFAULT_REGION"));
    S3 {
        endpoint: reader.text("AWS_ENDPOINT_URL"),
        region: region.unwrap_or_else(|| S3_REGION.to_owned()),
        access_key: reader.text("AWS_ACCESS_KEY_ID"),
        secret_key: reader.text("AWS_SECRET_ACCESS_KEY").map(Secret::new),
        session_token: reader.text("AWS_SESSION_TOKEN").map(Secret::new),
    }
}

/// The smallest default of the memory budget: a few of the largest parsers.
const MEMORY_BYTES_MIN: u64 = 512 << 20;
/// What the default grows by with each thread: two of the largest parsers, one at work and one being filled.
const MEMORY_BYTES_PER_THREAD: u64 = 256 << 20;

fn worker(reader: &mut Reader, worker_type: WorkerType) -> Worker {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let session_ms = reader.number("KAFKA_SESSION_TIMEOUT_MS", 10_000_u64, 1_000, 3_600_000);
    let mut worker = Worker {
        pool_size: reader.number("POOL_SIZE", cores, 1, 1024),
        tasks_max: reader.number("KAFKA_MAX_POLL_RECORDS", 500, 1, 100_000),
        window_max: reader.number("PIPELINE_WINDOW_MAX", 10_000, 1, 1_000_000),
        downloads_max: reader.number("PIPELINE_DOWNLOADS_MAX", 16, 1, 1024),
        uploads_max: reader.number("PIPELINE_UPLOADS_MAX", 16, 1, 1024),
        publishes_max: reader.number("PIPELINE_PUBLISHES_MAX", 256, 1, 100_000),
        memory_bytes_max: 0,
        attempts_max: reader.number("PIPELINE_ATTEMPTS_MAX", 5, 1, 1000),
        retry_min: reader.millis("PIPELINE_RETRY_MIN_MS", 500, 1, DAY_MS),
        retry_max: reader.millis("PIPELINE_RETRY_MAX_MS", 30_000, 1, DAY_MS),
        drain_timeout: reader.millis("PIPELINE_DRAIN_TIMEOUT_MS", 20_000, 0, DAY_MS),
        revoke_timeout: reader.millis("PIPELINE_REVOKE_TIMEOUT_MS", session_ms / 2, 0, DAY_MS),
        download_timeout: reader.millis("PIPELINE_DOWNLOAD_TIMEOUT_MS", 120_000, 1, DAY_MS),
        parse_timeout: reader.millis("PIPELINE_PARSE_TIMEOUT_MS", 3_600_000, 1, DAY_MS),
        upload_timeout: reader.millis("PIPELINE_UPLOAD_TIMEOUT_MS", 300_000, 1, DAY_MS),
        publish_timeout: reader.millis("PIPELINE_PUBLISH_TIMEOUT_MS", 120_000, 1, DAY_MS),
        worker_type,
    };
    let memory_default = MEMORY_BYTES_MIN.max(worker.pool_size as u64 * MEMORY_BYTES_PER_THREAD);
    worker.memory_bytes_max = reader.bytes("PIPELINE_MEMORY_MAX", memory_default, 128 << 20);
    if worker_type == WorkerType::SingleProcess {
        // One at a time, as the guide's single-process worker: easy to follow, smallest footprint.
        worker.pool_size = 1;
        worker.tasks_max = 1;
    }
    worker
}

fn log(reader: &mut Reader) -> Log {
    Log {
        format: reader.choice("LOG_FORMAT", LogFormat::Json, LogFormat::ALL),
        lang: reader.choice("LOG_LANG", LogLang::En, LogLang::ALL),
        level: reader.text_or("LOG_LEVEL", "info"),
    }
}

/// Rules between variables.
fn check_together(reader: &mut Reader, config: &Config) {
    let Kafka { session_timeout, heartbeat_interval, max_poll_interval, .. } = config.kafka;
    if heartbeat_interval >= session_timeout {
        reader
            .refuse("KAFKA_HEARTBEAT_INTERVAL_MS", "below KAFKA_SESSION_TIMEOUT_MS, a third of it is usual");
    }
    if max_poll_interval < session_timeout {
        reader.refuse("KAFKA_MAX_POLL_INTERVAL_MS", "at least KAFKA_SESSION_TIMEOUT_MS");
    }
    if config.worker.revoke_timeout >= session_timeout {
        reader.refuse("PIPELINE_REVOKE_TIMEOUT_MS", "below KAFKA_SESSION_TIMEOUT_MS");
    }
    if config.storage.server.is_empty() && config.storage.source_bucket.is_none() {
        reader.refuse("OBS_SERVER", "set, or OBS_SOURCE_BUCKET be a URL: else there is nowhere to read from");
    }
    if config.worker.retry_max < config.worker.retry_min {
        reader.refuse("PIPELINE_RETRY_MAX_MS", "at least PIPELINE_RETRY_MIN_MS");
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn units_of_bytes() {
        for (text, bytes) in [("512MiB", 512 << 20), ("1 GiB", 1 << 30), ("268435456", 268_435_456)] {
            assert_eq!(read(&[("PIPELINE_MEMORY_MAX", text)]).unwrap().worker.memory_bytes_max, bytes);
        }
    }
}
