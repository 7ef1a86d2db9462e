//! Who may do what on the tests' broker: its listener with TLS and SASL, and rules. Without a rule, all is allowed.

use std::path::Path;
use std::process::Command;

use crate::kafka::{Apache, Secure};

impl Secure {
    /// What makes a worker come this way, as this user.
    pub fn variables(&self) -> [(&'static str, &str); 5] {
        [
            ("KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap),
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
            ("KAFKA_SSL_CA_LOCATION", &self.ca),
            ("KAFKA_SASL_USERNAME", &self.user),
            ("KAFKA_SASL_PASSWORD", &self.password),
        ]
    }

    /// The user, as rules name it.
    pub fn principal(&self) -> String {
        format!("User:{}", self.user)
    }
}

impl Apache {
    /// Adds a rule, by the arguments of Kafka's own `kafka-acls.sh`.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub fn add_rule(&self, rule: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/kafka");
        let mut acls = Command::new(script);
        acls.args(["tool", "acls", "--bootstrap-server", &self.bootstrap, "--add"]).args(rule);
        let output = acls.output().expect("the script should start");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
