//! Configuration: variables in, one validated [`Config`] out.
//!
//! Promises: every error is reported, all together, each with the variable, its value and what is allowed;
//! secrets are never printed; the rest of the crate never looks at the environment. What is read is recorded
//! while it is read ([`settings`]), so that the list of all variables cannot differ from what has an effect.
//!
//! The variables are those of the user's guide, with its names and meanings; `docs/configuration.md` lists
//! them all. Two defaults differ from the guide on purpose, see there: `KAFKA_AUTO_OFFSET_RESET` is
//! `earliest`, and `KAFKA_ENABLE_AUTO_COMMIT=true` commits finished work only.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::pattern::{Bytes, Globs, Routes, Since};

pub(crate) mod env_file;
mod layers;
mod read;
mod reader;

pub use layers::{Layers, Origin, Unknown};
pub use reader::{ConfigError, Invalid, Setting};

/// The variables a configuration is made of: name → value.
pub type Variables = BTreeMap<String, String>;

/// Variables that begin so are options of librdkafka, with `_` for `.`: `KAFKA_LIBRDKAFKA_FETCH_MIN_BYTES`.
pub const LIBRDKAFKA_PREFIX: &str = "KAFKA_LIBRDKAFKA_";

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Broker, topics, group.
    pub kafka: Kafka,
    /// Object storage.
    pub storage: Storage,
    /// Bounds and deadlines of the path.
    pub worker: Worker,
    /// Which objects become tasks.
    pub generator: Generator,
    /// Logging.
    pub log: Log,
}

/// Broker, topics, group.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `KAFKA_BOOTSTRAP_SERVERS`, `host:port[,host:port…]`.
    pub bootstrap_servers: String,
    /// `KAFKA_TOPIC_TASKS`.
    pub topic_tasks: String,
    /// `KAFKA_RESULT_TOPIC`.
    pub result_topic: String,
    /// `KAFKA_DLQ_TOPIC`: where the messages of failed tasks go, as they were.
    pub dlq_topic: String,
    /// `KAFKA_GROUP_ID`.
    pub group_id: String,
    /// `KAFKA_GROUP_INSTANCE_ID`: static membership, so that a planned restart moves no partition.
    pub group_instance_id: Option<String>,
    /// `KAFKA_AUTO_OFFSET_RESET`: where a group without offsets begins.
    pub auto_offset_reset: OffsetReset,
    /// How long finished work may stay uncommitted: `KAFKA_AUTO_COMMIT_INTERVAL_MS`, or almost nothing with
    /// `KAFKA_ENABLE_AUTO_COMMIT=false`.
    pub commit_interval: Duration,
    /// `KAFKA_SESSION_TIMEOUT_MS`.
    pub session_timeout: Duration,
    /// `KAFKA_HEARTBEAT_INTERVAL_MS`.
    pub heartbeat_interval: Duration,
    /// `KAFKA_MAX_POLL_INTERVAL_MS`.
    pub max_poll_interval: Duration,
    /// `KAFKA_ENABLE_PRODUCER`: whether results are published.
    pub enable_producer: bool,
    /// `KAFKA_EXACTLY_ONCE`: whether results and offsets are committed in one transaction.
    pub exactly_once: ExactlyOnce,
    /// TLS and SASL.
    pub security: Security,
    /// Further options of librdkafka, `KAFKA_LIBRDKAFKA_…`: name → value. They win over our own choices.
    pub options: Vec<(String, Secret)>,
}

/// Where a group without committed offsets begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first task that is still there.
    Earliest,
    /// Behind the last task: what was sent before is never processed.
    Latest,
}

/// TLS and SASL towards the broker.
#[derive(Clone, Debug)]
pub struct Security {
    /// `KAFKA_SECURITY_PROTOCOL`.
    pub protocol: SecurityProtocol,
    /// `KAFKA_SASL_MECHANISM`, with a SASL protocol.
    pub sasl_mechanism: SaslMechanism,
    /// `KAFKA_SASL_USERNAME`.
    pub sasl_username: String,
    /// `KAFKA_SASL_PASSWORD`.
    pub sasl_password: Secret,
    /// `KAFKA_SSL_CA_LOCATION`: a PEM file; the system's certificates when absent.
    pub ssl_ca_location: Option<PathBuf>,
}

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            const ALL: &'static [(&'static str, $name)] = &[$(($text, $name::$variant),)+];

            /// The value as it is written in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }
    };
}

closed_set! {
    /// Whether results and the offsets that they finish are committed in one transaction.
    ExactlyOnce {
        /// Where the brokers let this user make transactions; else results are published at least once.
        Auto = "auto",
        /// In any case: a worker that cannot stops.
        Always = "true",
        /// Never.
        Never = "false",
    }
}

closed_set! {
    /// How the connection to the broker is secured.
    SecurityProtocol {
        /// Neither encrypted nor authenticated.
        Plaintext = "PLAINTEXT",
        /// Authenticated, not encrypted.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// Both.
        SaslSsl = "SASL_SSL",
        /// Encrypted.
        Ssl = "SSL",
    }
}

closed_set! {
    /// How the client proves who it is.
    SaslMechanism {
        /// Name and password, in the clear inside the connection.
        Plain = "PLAIN",
        /// Salted challenge, SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// Salted challenge, SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    }
}

closed_set! {
    /// How log lines look.
    LogFormat {
        /// One JSON object a line, with the guide's fields.
        Json = "json",
        /// For people.
        Pretty = "pretty",
    }
}

closed_set! {
    /// The language of the log's event texts.
    LogLang {
        /// English.
        En = "en",
        /// Chinese: the guide's own texts.
        Zh = "zh",
    }
}

/// Object storage.
#[derive(Clone, Debug)]
pub struct Storage {
    /// `OBS_SERVER`: where plain bucket names live. `https://host[:port]`, `file:///dir` or `memory://`.
    pub server: String,
    /// `OBS_ACCESS_KEY`.
    pub access_key: Option<String>,
    /// `OBS_SECRET_KEY`.
    pub secret_key: Option<Secret>,
    /// `OBS_SECURITY_TOKEN`: with temporary credentials.
    pub security_token: Option<Secret>,
    /// `OBS_CREDENTIALS_FILE`: a `NAME=value` file with the three above, read again whenever it changes, for
    /// temporary credentials that something else renews.
    pub credentials_file: Option<PathBuf>,
    /// `OBS_RESOLVE`: connect to this address whatever the OBS host name resolves to.
    pub resolve: Option<SocketAddr>,
    /// `OBS_SOURCE_BUCKET`: for tasks that name none.
    pub source_bucket: Option<String>,
    /// `OBS_DEST_BUCKET`: for tasks that name none.
    pub dest_bucket: Option<String>,
    /// For `s3://` buckets.
    pub s3: S3,
}

/// S3, by the variables of its own tools. What is not set is looked for where those look: profile, container, instance.
#[derive(Clone, Debug)]
pub struct S3 {
    /// `AWS_ENDPOINT_URL`; Amazon's own when absent.
    pub endpoint: Option<String>,
    /// `AWS_REGION`, or `AWS_DEFAULT_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`: with temporary credentials.
    pub session_token: Option<Secret>,
}

/// Bounds and deadlines of the path. Each bound keeps one resource from running out.
#[derive(Clone, Debug)]
pub struct Worker {
    /// `POOL_SIZE`: threads that parse. Default: the number of cores.
    pub pool_size: usize,
    /// `KAFKA_MAX_POLL_RECORDS`: tasks received and not yet settled.
    pub tasks_max: usize,
    /// `PIPELINE_WINDOW_MAX`: offsets of a partition received and not yet committable.
    pub window_max: usize,
    /// `PIPELINE_DOWNLOADS_MAX`: objects opened at the same time; hides the latency of the storage.
    pub downloads_max: usize,
    /// `PIPELINE_UPLOADS_MAX`: summaries stored at the same time.
    pub uploads_max: usize,
    /// `PIPELINE_PUBLISHES_MAX`: results on their way to the broker; the producer batches them.
    pub publishes_max: usize,
    /// `PIPELINE_MEMORY_MAX`: bytes that the tasks between download and upload may hold together.
    pub memory_bytes_max: u64,
    /// `PIPELINE_ATTEMPTS_MAX`: tries of a task whose failure may pass.
    pub attempts_max: u32,
    /// `PIPELINE_DEATHS_MAX`: workers that may die of a task, each with nothing else at work, until it is failed.
    pub deaths_max: u32,
    /// `PIPELINE_RETRY_MIN_MS`: the pause before the second try; doubled for each further one.
    pub retry_min: Duration,
    /// `PIPELINE_RETRY_MAX_MS`: the longest pause between tries.
    pub retry_max: Duration,
    /// `PIPELINE_DRAIN_TIMEOUT_MS`: how long a shutdown waits for work in flight. With the leaving below
    /// the 30 s that most orchestrators grant.
    pub drain_timeout: Duration,
    /// `PIPELINE_REVOKE_TIMEOUT_MS`: how long a rebalance waits for work in flight. Below the session
    /// timeout, else the broker gives up on this worker.
    pub revoke_timeout: Duration,
    /// `PIPELINE_DOWNLOAD_TIMEOUT_MS`: until an object is open and its first buffer full.
    pub download_timeout: Duration,
    /// `PIPELINE_PARSE_TIMEOUT_MS`: for one whole file, its bytes arriving meanwhile.
    pub parse_timeout: Duration,
    /// `PIPELINE_UPLOAD_TIMEOUT_MS`: for one summary, storage retries included.
    pub upload_timeout: Duration,
    /// `PIPELINE_PUBLISH_TIMEOUT_MS`: until the broker confirmed one result.
    pub publish_timeout: Duration,
    /// `PIPELINE_STALL_AFTER_MS`: a partition with lag that does not move for so long is told about. Longer than a
    /// download or an upload with its tries may take, so that what is told wants a look.
    pub stall_after: Duration,
    /// What is left on this machine's disk for people to look at.
    pub keep: Keep,
    /// How results name this worker.
    pub worker_type: WorkerType,
}

/// Copies on this machine's disk. The worker itself needs none: they are for people who look for an error.
#[derive(Clone, Debug)]
pub struct Keep {
    /// `CLEANUP_FILES=false`: object and summary of every success.
    pub succeeded: bool,
    /// `CLEANUP_ON_ERROR=false`: the object of every failure.
    pub failed: bool,
    /// `OBS_DOWNLOAD_DIR`: where objects are kept.
    pub objects: PathBuf,
    /// `OBS_UPLOAD_DIR`: where summaries are kept.
    pub summaries: PathBuf,
    /// `PIPELINE_KEEP_MAX`: bytes that this process keeps at most, so that no disk runs full.
    pub bytes_max: u64,
}

/// Which objects become tasks, by the variables of the guide's generator.
#[derive(Clone, Debug)]
pub struct Generator {
    /// `SOURCE_BUCKET`, else `OBS_SOURCE_BUCKET`.
    pub bucket: Option<String>,
    /// `FILE_PREFIX`: keys begin with this.
    pub prefix: String,
    /// `FILE_INCLUDE`: only keys that match; all when there is none.
    pub include: Globs,
    /// `FILE_EXCLUDE`: no keys that match.
    pub exclude: Globs,
    /// `FILE_SIZE_MIN`.
    pub size_min: Bytes,
    /// `FILE_SIZE_MAX`.
    pub size_max: Option<Bytes>,
    /// `FILE_MODIFIED_SINCE`.
    pub modified_since: Option<Since>,
    /// `MAX_FILES`.
    pub count_max: Option<usize>,
    /// `DEST_BUCKET`: named in the tasks; the worker's own when absent.
    pub dest_bucket: Option<String>,
    /// `SINGLE_FILE`: the key of `tasks file`.
    pub single_file: Option<String>,
    /// `DEST_KEY`: the key of its summary.
    pub dest_key: Option<String>,
    /// `TASK_ROUTES`: topics by type of file.
    pub routes: Routes,
}

/// The kind of worker, as the guide names it in its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerType {
    /// `pipeline worker`: one task at a time.
    SingleProcess,
    /// `pipeline run`: a pool.
    MultiProcess,
}

/// Logging.
#[derive(Clone, Debug)]
pub struct Log {
    /// `LOG_FORMAT`.
    pub format: LogFormat,
    /// `LOG_LANG`.
    pub lang: LogLang,
    /// `LOG_LEVEL`: a level, or tracing's directives.
    pub level: String,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Config {
    /// Makes a configuration out of variables.
    ///
    /// # Errors
    /// Every variable that is wrong, together.
    pub fn from_variables(variables: &Variables, worker_type: WorkerType) -> Result<Config, ConfigError> {
        read::config(variables, worker_type)
    }

    /// The variables of the process, over those of the files in the working directory: see [`Layers`].
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn variables() -> Result<Variables, ConfigError> {
        Ok(Layers::of_process(Variables::new())?.variables())
    }
}

impl Kafka {
    /// The part about Kafka alone, for what needs no storage.
    ///
    /// # Errors
    /// As [`Config::from_variables`].
    pub fn from_variables(variables: &Variables) -> Result<Kafka, ConfigError> {
        read::kafka_alone(variables)
    }
}

/// Every variable that is read, with the value that takes effect.
pub fn settings(variables: &Variables, worker_type: WorkerType) -> Vec<Setting> {
    read::settings(variables, worker_type)
}
