//! The variables, section by section, and the rules between them.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::reader::{Reader, Setting};
use crate::config::{
    Config, ConfigError, ExactlyOnce, Generator, Invalid, Kafka, Keep, LIBRDKAFKA_PREFIX, Log, LogFormat,
    LogLang, OffsetReset, S3, SaslMechanism, Secret, Security, SecurityProtocol, Storage, Variables, Worker,
    WorkerType,
};
use crate::failure::Stage;
use crate::kafka::options;
use crate::pattern::is_topic;
use crate::storage::location;

pub(super) fn config(variables: &Variables, worker_type: WorkerType) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(variables);
    let config = read(&mut reader, worker_type);
    reader.done(config)
}

pub(super) fn kafka_alone(variables: &Variables) -> Result<Kafka, ConfigError> {
    let mut reader = Reader::new(variables);
    let kafka = kafka(&mut reader);
    reader.done(kafka)
}

pub(super) fn settings(variables: &Variables, worker_type: WorkerType) -> Vec<Setting> {
    let mut reader = Reader::new(variables);
    read(&mut reader, worker_type);
    reader.settings()
}

fn read(reader: &mut Reader, worker_type: WorkerType) -> Config {
    let config = Config {
        kafka: kafka(reader),
        storage: storage(reader),
        worker: worker(reader, worker_type),
        generator: generator(reader),
        log: log(reader),
    };
    check_together(reader, &config);
    config
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
        dlq_topic: reader.text_or("KAFKA_DLQ_TOPIC", "file-processing-dead-letters"),
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
        exactly_once: reader.choice("KAFKA_EXACTLY_ONCE", ExactlyOnce::Auto, ExactlyOnce::ALL),
        security: security(reader),
        options: librdkafka(reader),
    };
    for (name, topic) in [
        ("KAFKA_TOPIC_TASKS", &kafka.topic_tasks),
        ("KAFKA_RESULT_TOPIC", &kafka.result_topic),
        ("KAFKA_DLQ_TOPIC", &kafka.dlq_topic),
    ] {
        reader.refuse_unless(is_topic(topic), name, "a topic name: at most 249 of a-z A-Z 0-9 . _ -");
    }
    let is_own = ![&kafka.topic_tasks, &kafka.result_topic].contains(&&kafka.dlq_topic);
    // Among the tasks a dead letter would fail again, for ever.
    reader.refuse_unless(is_own, "KAFKA_DLQ_TOPIC", "a topic of its own, for nothing but dead letters");
    let is_broker = |broker: &str| {
        broker
            .trim()
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let are_brokers = kafka.bootstrap_servers.split(',').all(is_broker);
    reader.refuse_unless(are_brokers, "KAFKA_BOOTSTRAP_SERVERS", "host:port, with commas between several");
    if kafka.heartbeat_interval >= kafka.session_timeout {
        reader
            .refuse("KAFKA_HEARTBEAT_INTERVAL_MS", "below KAFKA_SESSION_TIMEOUT_MS, a third of it is usual");
    }
    if kafka.exactly_once == ExactlyOnce::Always && !kafka.enable_producer {
        reader.refuse("KAFKA_EXACTLY_ONCE", "false, since KAFKA_ENABLE_PRODUCER=false: there are no results");
    }
    if kafka.max_poll_interval < kafka.session_timeout {
        reader.refuse("KAFKA_MAX_POLL_INTERVAL_MS", "at least KAFKA_SESSION_TIMEOUT_MS");
    }
    kafka
}

/// `KAFKA_LIBRDKAFKA_…`, checked by librdkafka itself.
fn librdkafka(reader: &mut Reader) -> Vec<(String, Secret)> {
    let mut read = Vec::new();
    for variable in reader.variables.keys() {
        let Some(name) = variable.strip_prefix(LIBRDKAFKA_PREFIX) else { continue };
        let Some(value) = reader.get(variable) else { continue };
        let option = options::name(name);
        match options::check(&option, value) {
            Ok(()) => {
                let is_secret = options::is_secret(&option);
                reader.record(variable, Some(value.to_owned()), is_secret);
                read.push((option, Secret::new(value)));
            }
            // Not the value: it may be a password.
            Err(allowed) => {
                reader.invalid.push(Invalid { name: variable.clone(), value: None, allowed });
            }
        }
    }
    read
}

fn security(reader: &mut Reader) -> Security {
    let protocol =
        reader.choice("KAFKA_SECURITY_PROTOCOL", SecurityProtocol::Plaintext, SecurityProtocol::ALL);
    let security = Security {
        protocol,
        sasl_mechanism: reader.choice("KAFKA_SASL_MECHANISM", SaslMechanism::Plain, SaslMechanism::ALL),
        sasl_username: reader.text("KAFKA_SASL_USERNAME").unwrap_or_default(),
        sasl_password: reader.secret("KAFKA_SASL_PASSWORD").unwrap_or_else(|| Secret::new("")),
        ssl_ca_location: reader.file("KAFKA_SSL_CA_LOCATION"),
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
    let region = reader.text("OBS_REGION");
    // A region has one endpoint; a server that is named may be a private one.
    let of_region = region.map(|region| format!("https://obs.{region}.myhuaweicloud.com"));
    let server = reader.text_or_of("OBS_SERVER", "OBS_REGION", of_region).unwrap_or_default();
    let storage = Storage {
        server,
        access_key: reader.text("OBS_ACCESS_KEY"),
        secret_key: reader.secret("OBS_SECRET_KEY"),
        security_token: reader.secret("OBS_SECURITY_TOKEN"),
        credentials_file: reader.file("OBS_CREDENTIALS_FILE"),
        resolve: reader.text("OBS_RESOLVE").and_then(|address| address.parse().ok()),
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
    let is_server = storage.server.is_empty() || is_bucket("any", &storage.server);
    reader.refuse_unless(
        is_server,
        "OBS_SERVER",
        "an endpoint such as https://obs.cn-north-4.myhuaweicloud.com, file:///folder or memory://",
    );
    if is_server {
        for name in ["OBS_SOURCE_BUCKET", "OBS_DEST_BUCKET"] {
            check_bucket(reader, name, &storage.server);
        }
    }
    storage
}

const BUCKET: &str = "a bucket's name, or obs://…, s3://…, file:///folder or memory://…";

fn is_bucket(name: &str, server: &str) -> bool {
    location::locate(name, server, Stage::Claim).is_ok()
}

fn check_bucket(reader: &mut Reader, name: &'static str, server: &str) {
    // Without a server only URLs are places; that one is missing is said by another rule.
    let server = if server.is_empty() { "memory://" } else { server };
    let is_place = reader.get(name).is_none_or(|bucket| is_bucket(bucket, server));
    reader.refuse_unless(is_place, name, BUCKET);
}

/// The region that Amazon's tools take when none is named, and that other servers do not care about.
const S3_REGION: &str = "us-east-1";

fn s3(reader: &mut Reader) -> S3 {
    let default_region = reader.text_or("AWS_DEFAULT_REGION", S3_REGION);
    let endpoint = reader.text("AWS_ENDPOINT_URL");
    let is_url = endpoint.as_deref().is_none_or(|url| {
        url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some() && url.scheme().is_some())
    });
    reader.refuse_unless(is_url, "AWS_ENDPOINT_URL", "a URL such as https://s3.example.com");
    S3 {
        endpoint,
        region: reader
            .text_or_of("AWS_REGION", "AWS_DEFAULT_REGION", Some(default_region))
            .unwrap_or_default(),
        access_key: reader.text("AWS_ACCESS_KEY_ID"),
        secret_key: reader.secret("AWS_SECRET_ACCESS_KEY"),
        session_token: reader.secret("AWS_SESSION_TOKEN"),
    }
}

/// The smallest memory budget: one of the largest parsers.
const MEMORY_BYTES_MIN: u64 = 128 << 20;
/// The smallest default of the memory budget: a few of the largest parsers.
const MEMORY_BYTES_DEFAULT: u64 = 512 << 20;
/// What the default grows by with each thread: two of the largest parsers, one at work and one being filled.
const MEMORY_BYTES_PER_THREAD: u64 = 256 << 20;

fn worker(reader: &mut Reader, worker_type: WorkerType) -> Worker {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let session_ms = reader.number("KAFKA_SESSION_TIMEOUT_MS", 10_000_u64, 1_000, 3_600_000);
    let mut worker = Worker {
        pool_size: reader.number("POOL_SIZE", cores, 1, 1024),
        tasks_max: reader.number("KAFKA_MAX_POLL_RECORDS", 500, 1, 100_000),
        window_max: reader.number("PIPELINE_WINDOW_MAX", 100_000, 1, 1_000_000),
        downloads_max: reader.number("PIPELINE_DOWNLOADS_MAX", 16, 1, 1024),
        uploads_max: reader.number("PIPELINE_UPLOADS_MAX", 16, 1, 1024),
        publishes_max: reader.number("PIPELINE_PUBLISHES_MAX", 256, 1, 100_000),
        memory_bytes_max: 0,
        attempts_max: reader.number("PIPELINE_ATTEMPTS_MAX", 5, 1, 1000),
        deaths_max: reader.number("PIPELINE_DEATHS_MAX", 3, 1, 100),
        retry_min: reader.millis("PIPELINE_RETRY_MIN_MS", 500, 1, DAY_MS),
        retry_max: reader.millis("PIPELINE_RETRY_MAX_MS", 30_000, 1, DAY_MS),
        drain_timeout: reader.millis("PIPELINE_DRAIN_TIMEOUT_MS", 20_000, 0, DAY_MS),
        revoke_timeout: reader.millis("PIPELINE_REVOKE_TIMEOUT_MS", session_ms / 2, 0, DAY_MS),
        download_timeout: reader.millis("PIPELINE_DOWNLOAD_TIMEOUT_MS", 120_000, 1, DAY_MS),
        parse_timeout: reader.millis("PIPELINE_PARSE_TIMEOUT_MS", 3_600_000, 1, DAY_MS),
        upload_timeout: reader.millis("PIPELINE_UPLOAD_TIMEOUT_MS", 300_000, 1, DAY_MS),
        publish_timeout: reader.millis("PIPELINE_PUBLISH_TIMEOUT_MS", 120_000, 1, DAY_MS),
        // No less: the consumer tells every five seconds how far partitions go on.
        stall_after: reader.millis("PIPELINE_STALL_AFTER_MS", 600_000, 10_000, DAY_MS),
        keep: keep(reader),
        worker_type,
    };
    let memory_default = MEMORY_BYTES_DEFAULT.max(worker.pool_size as u64 * MEMORY_BYTES_PER_THREAD);
    worker.memory_bytes_max = reader.bytes("PIPELINE_MEMORY_MAX", memory_default, MEMORY_BYTES_MIN);
    if worker_type == WorkerType::SingleProcess {
        // One at a time, as the guide's single-process worker: easy to follow, smallest footprint.
        worker.pool_size = 1;
        worker.tasks_max = 1;
    }
    worker
}

/// The guide's `CLEANUP_…`. Files are streamed and lie nowhere, so only a plain "do not clean up" leaves any.
fn keep(reader: &mut Reader) -> Keep {
    let keep = Keep {
        succeeded: !reader.flag("CLEANUP_FILES", true),
        failed: !reader.flag("CLEANUP_ON_ERROR", true),
        objects: reader.text_or("OBS_DOWNLOAD_DIR", "./work/downloads").into(),
        summaries: reader.text_or("OBS_UPLOAD_DIR", "./work/uploads").into(),
        bytes_max: reader.bytes("PIPELINE_KEEP_MAX", 10 << 30, 0),
    };
    // A Python function, which a program of another language cannot call: read to be known, and warned about.
    reader.text("DBC_FACTORY");
    keep
}

fn generator(reader: &mut Reader) -> Generator {
    let fallback = reader.get("OBS_SOURCE_BUCKET").map(str::to_owned);
    let generator = Generator {
        bucket: reader.text_or_of("SOURCE_BUCKET", "OBS_SOURCE_BUCKET", fallback),
        prefix: reader.text("FILE_PREFIX").unwrap_or_default(),
        include: reader.parsed("FILE_INCLUDE").unwrap_or_default(),
        exclude: reader.parsed("FILE_EXCLUDE").unwrap_or_default(),
        size_min: reader.parsed("FILE_SIZE_MIN").unwrap_or_default(),
        size_max: reader.parsed("FILE_SIZE_MAX"),
        modified_since: reader.parsed("FILE_MODIFIED_SINCE"),
        count_max: reader.optional_number("MAX_FILES", 1, usize::MAX),
        dest_bucket: reader.text("DEST_BUCKET"),
        single_file: reader.text("SINGLE_FILE"),
        dest_key: reader.text("DEST_KEY"),
        routes: reader.parsed("TASK_ROUTES").unwrap_or_default(),
    };
    reader.record("MAX_FILES", generator.count_max.map(|count| count.to_string()), false);
    let server = reader.get("OBS_SERVER").unwrap_or_default().to_owned();
    if server.is_empty() || is_bucket("any", &server) {
        for name in ["SOURCE_BUCKET", "DEST_BUCKET"] {
            check_bucket(reader, name, &server);
        }
    }
    let is_range = generator.size_max.is_none_or(|max| max >= generator.size_min);
    reader.refuse_unless(is_range, "FILE_SIZE_MAX", "at least FILE_SIZE_MIN");
    for (name, key) in [("SINGLE_FILE", &generator.single_file), ("DEST_KEY", &generator.dest_key)] {
        if let Some(Err(failure)) = key.as_deref().map(|key| location::check_key(key, Stage::Claim)) {
            reader.refuse(name, format!("a key that can be addressed ({})", failure.context));
        }
    }
    generator
}

fn log(reader: &mut Reader) -> Log {
    let log = Log {
        format: reader.choice("LOG_FORMAT", LogFormat::Json, LogFormat::ALL),
        lang: reader.choice("LOG_LANG", LogLang::En, LogLang::ALL),
        level: reader.text_or("LOG_LEVEL", "info"),
    };
    if let Err(error) = EnvFilter::try_new(&log.level) {
        let allowed = format!("error, warn, info, debug, trace or directives of tracing ({error})");
        reader.refuse("LOG_LEVEL", allowed);
    }
    log
}

/// Rules between variables.
fn check_together(reader: &mut Reader, config: &Config) {
    if config.worker.revoke_timeout >= config.kafka.session_timeout {
        reader.refuse("PIPELINE_REVOKE_TIMEOUT_MS", "below KAFKA_SESSION_TIMEOUT_MS");
    }
    let buckets = [
        ("OBS_SOURCE_BUCKET", &config.storage.source_bucket),
        ("OBS_DEST_BUCKET", &config.storage.dest_bucket),
        ("SOURCE_BUCKET", &config.generator.bucket),
        ("DEST_BUCKET", &config.generator.dest_bucket),
    ];
    let plain = |bucket: &str| !bucket.contains("://") || bucket.starts_with("obs://");
    if config.storage.server.is_empty() {
        if let Some((name, _)) = buckets.iter().find(|(_, bucket)| bucket.as_deref().is_some_and(plain)) {
            reader.refuse("OBS_SERVER", format!("set (or OBS_REGION), since {name} is a name and no URL"));
        } else if config.generator.bucket.is_none() {
            reader.refuse(
                "OBS_SERVER",
                "set (or OBS_REGION), or OBS_SOURCE_BUCKET be a URL: else there is nowhere to read from",
            );
        }
    }
    if config.worker.retry_max < config.worker.retry_min {
        reader.refuse("PIPELINE_RETRY_MAX_MS", "at least PIPELINE_RETRY_MIN_MS");
    }
}

#[cfg(test)]
mod tests;
