//! What every Kafka client of this crate shares: connection settings, messages, the reading of errors and of topics.
//!
//! Never: a consumer of a group, or a producer; see [`crate::source::kafka`] and [`crate::publish::kafka`].

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use rdkafka::{ClientConfig, ClientContext, Message as _};

use crate::config::{Kafka, SecurityProtocol};
use crate::failure::{Failure, Kind, Stage};
use crate::message::{Limits, Message};
use crate::telemetry;

pub mod inspect;
pub(crate) mod options;
pub mod reader;
pub mod rights;

/// How messages are compressed: what every reader can undo. The Python clients need further packages for lz4 and zstd.
pub const COMPRESSION: &str = "gzip";

/// The settings of one client: where the brokers are and how to talk to them, what it is to do, and over that the
/// options that the configuration passes on.
pub fn client_config(kafka: &Kafka, own: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    let security = &kafka.security;
    config
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("client.id", "pipeline")
        // Topics are created on purpose, with a number of partitions someone chose.
        .set("allow.auto.create.topics", "false")
        .set("security.protocol", security.protocol.as_str());
    if matches!(security.protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl) {
        config
            .set("sasl.mechanism", security.sasl_mechanism.as_str())
            .set("sasl.username", &security.sasl_username)
            .set("sasl.password", security.sasl_password.reveal());
    }
    // Left alone, a vendored OpenSSL would look for the system's certificates where it was built to, not where they are.
    match &security.ssl_ca_location {
        Some(path) => config.set("ssl.ca.location", path.to_string_lossy()),
        None => config.set("ssl.ca.location", "probe"),
    };
    for (name, value) in own {
        config.set(*name, *value);
    }
    for (name, value) in &kafka.options {
        config.set(name, value.reveal());
    }
    config
}

/// What librdkafka calls back into, for clients of commands: its log goes where the worker's goes, and an error by
/// which a broker refuses us is kept, since the requests themselves only say that no broker can be reached.
#[derive(Clone, Debug, Default)]
pub struct Noting {
    refusal: Arc<Mutex<Option<Code>>>,
}

impl Noting {
    /// The last refusal.
    pub fn refusal(&self) -> Option<KafkaError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).map(KafkaError::Global)
    }
}

impl ClientContext for Noting {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        telemetry::client_log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code().filter(|code| refusal(*code).is_some()) {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
        }
        telemetry::client_log(&error.to_string(), reason);
    }
}

impl ConsumerContext for Noting {}

/// A message that came, copied.
pub fn message_of(message: &BorrowedMessage<'_>, limits: &Limits) -> Message {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let headers = headers.map(|header| (header.key, header.value));
    Message::copy(limits, message.key(), message.payload(), headers, message.timestamp().to_millis())
}

/// The headers of a message that goes to a topic.
pub(crate) fn headers_of(message: &Message) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
    for (key, value) in &message.headers {
        headers = headers.insert(Header { key, value: value.as_deref() });
    }
    headers
}

/// A message that goes to a topic.
pub fn record_of<'a>(topic: &'a str, message: &'a Message) -> FutureRecord<'a, [u8], [u8]> {
    let (key, payload) = (message.key.as_deref(), message.value.as_deref());
    let record = FutureRecord { key, payload, timestamp: message.timestamp, ..FutureRecord::to(topic) };
    record.headers(headers_of(message))
}

/// Whether an error means that this client will never be served, and what to do about it.
pub fn refusal(code: Code) -> Option<(Kind, &'static str)> {
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => Some((
            Kind::PermissionDenied,
            "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM",
        )),
        Code::UnsupportedSASLMechanism => {
            Some((Kind::Misconfigured, "the broker does not offer KAFKA_SASL_MECHANISM"))
        }
        Code::SSL => Some((
            Kind::Misconfigured,
            "the TLS connection failed; check KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_CA_LOCATION",
        )),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => {
            Some((Kind::PermissionDenied, "grant this user the rights on topic and group"))
        }
        Code::InconsistentGroupProtocol => Some((
            Kind::Misconfigured,
            "other members of the group use another assignment strategy; stop them or choose another KAFKA_GROUP_ID",
        )),
        Code::FencedInstanceId => {
            Some((Kind::Misconfigured, "another worker runs under the same KAFKA_GROUP_INSTANCE_ID"))
        }
        Code::InvalidGroupId => Some((Kind::Misconfigured, "check KAFKA_GROUP_ID")),
        Code::InvalidSessionTimeout => {
            Some((Kind::Misconfigured, "KAFKA_SESSION_TIMEOUT_MS lies outside of what the broker allows"))
        }
        Code::Fatal => Some((Kind::BrokerRefused, "restart the worker")),
        _ => None,
    }
}

/// A failure to set up a client: the configuration cannot work.
pub fn setup_failure(stage: Stage, what: &str, error: KafkaError) -> Failure {
    Failure::new(stage, Kind::Misconfigured, format!("could not create the {what}")).because(error)
}
