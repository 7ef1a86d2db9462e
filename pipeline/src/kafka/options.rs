//! Options of librdkafka that the configuration passes on. Pure, but for librdkafka's own opinion of a value.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// Options with a variable of their own, and that variable.
const NAMED: &[(&str, &str)] = &[
    ("bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS"),
    ("metadata.broker.list", "KAFKA_BOOTSTRAP_SERVERS"),
    ("group.id", "KAFKA_GROUP_ID"),
    ("group.instance.id", "KAFKA_GROUP_INSTANCE_ID"),
    ("auto.offset.reset", "KAFKA_AUTO_OFFSET_RESET"),
    ("auto.commit.interval.ms", "KAFKA_AUTO_COMMIT_INTERVAL_MS"),
    ("session.timeout.ms", "KAFKA_SESSION_TIMEOUT_MS"),
    ("heartbeat.interval.ms", "KAFKA_HEARTBEAT_INTERVAL_MS"),
    ("max.poll.interval.ms", "KAFKA_MAX_POLL_INTERVAL_MS"),
    ("security.protocol", "KAFKA_SECURITY_PROTOCOL"),
    ("sasl.mechanism", "KAFKA_SASL_MECHANISM"),
    ("sasl.mechanisms", "KAFKA_SASL_MECHANISM"),
    ("sasl.username", "KAFKA_SASL_USERNAME"),
    ("sasl.password", "KAFKA_SASL_PASSWORD"),
    ("ssl.ca.location", "KAFKA_SSL_CA_LOCATION"),
    ("message.timeout.ms", "PIPELINE_PUBLISH_TIMEOUT_MS"),
    ("delivery.timeout.ms", "PIPELINE_PUBLISH_TIMEOUT_MS"),
];

/// Options on which the worker's promises rest.
const KEPT: &[&str] = &[
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "enable.partition.eof",
    "delivery.report.only.error",
    "acks",
    "request.required.acks",
    "transactional.id",
    "isolation.level",
    "partition.assignment.strategy",
    "group.protocol",
    "group.remote.assignor",
];

/// The option that a variable's name means: lower case, dots for underscores, but for the one that has an underscore.
pub fn name(variable: &str) -> String {
    match variable.to_ascii_lowercase().as_str() {
        "log_level" => "log_level".to_owned(),
        name => name.replace('_', "."),
    }
}

/// Whether the value of an option is never to be shown: rather one too many.
pub fn is_secret(option: &str) -> bool {
    ["password", "secret", "token", "key", "pem", "sasl", "oauth", "jaas"]
        .iter()
        .any(|word| option.contains(word))
}

/// Whether an option may be set, and to this.
///
/// # Errors
/// What is allowed, continuing "must be …".
pub fn check(option: &str, value: &str) -> Result<(), String> {
    if let Some((_, variable)) = NAMED.iter().find(|(name, _)| *name == option) {
        return Err(format!("left away: {option} has a variable of its own, {variable}"));
    }
    if KEPT.contains(&option) {
        return Err(format!("left away: what the worker promises rests on its own choice of {option}"));
    }
    match ClientConfig::new().set(option, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, _, _)) => {
            // librdkafka may quote the value, which may be a password.
            let reason = reason.replace(value, "***");
            Err(format!("an option of librdkafka with a value that it takes ({reason})"))
        }
        Err(error) => Err(format!("an option of librdkafka ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_by_librdkafka_and_ours_are_kept() {
        assert_eq!(name("FETCH_MIN_BYTES"), "fetch.min.bytes");
        assert_eq!(check("fetch.min.bytes", "1"), Ok(()));
        assert_eq!(check(&name("LOG_LEVEL"), "7"), Ok(()));
        assert!(check("fetch.min.bites", "1").unwrap_err().contains("fetch.min.bites"));
        assert!(check("fetch.min.bytes", "many").is_err());
        assert!(check("group.id", "x").unwrap_err().contains("KAFKA_GROUP_ID"));
        assert!(check("enable.auto.commit", "true").unwrap_err().contains("promises"));
    }
}
