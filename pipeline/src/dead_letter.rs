//! Dead letters: messages whose task failed for good, with what was known about the failure.
//!
//! Promises: a dead letter is the original message, byte for byte, and headers of ours beside its own; from it the task
//! can be sent again as it was. What [`DeadLetter::message`] writes, [`DeadLetter::read`] reads.
//!
//! Never: a decision about the task, or a format that hides the original from other tools.

use std::fmt::Write;

use bytes::Bytes;
use parsers::Position as Place;

use crate::failure::Failure;
use crate::message::{Header, Message};
use crate::path::Job;
use crate::task::{Offset, Partition, Position};

/// Our headers. Those of the same names that a message brings are replaced.
mod name {
    pub(super) const TOPIC: &str = "pipeline-topic";
    pub(super) const PARTITION: &str = "pipeline-partition";
    pub(super) const OFFSET: &str = "pipeline-offset";
    pub(super) const TIMESTAMP: &str = "pipeline-timestamp";
    pub(super) const KIND: &str = "pipeline-error-kind";
    pub(super) const STAGE: &str = "pipeline-stage";
    pub(super) const ERROR: &str = "pipeline-error";
    pub(super) const ATTEMPTS: &str = "pipeline-attempts";
    pub(super) const RECORD: &str = "pipeline-record";
    pub(super) const LINE: &str = "pipeline-line";
    pub(super) const BYTE: &str = "pipeline-byte";
    pub(super) const WORKER: &str = "pipeline-worker";
    pub(super) const VERSION: &str = "pipeline-version";
    pub(super) const CUT: &str = "pipeline-cut";

    pub(super) const ALL: [&str; 14] = [
        TOPIC, PARTITION, OFFSET, TIMESTAMP, KIND, STAGE, ERROR, ATTEMPTS, RECORD, LINE, BYTE, WORKER,
        VERSION, CUT,
    ];
}

/// The longest error text, in bytes: a parser's panic may say anything, and headers should stay small.
const ERROR_BYTES_MAX: usize = 4_000;

/// A message whose task failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message as it lay in the task topic.
    pub original: Message,
    /// Where it lay.
    pub origin: Position,
    /// The kind of failure, for programs.
    pub kind: String,
    /// The stage that failed.
    pub stage: String,
    /// What went wrong, for a person.
    pub error: String,
    /// The try that was the last.
    pub attempts: u32,
    /// Where in the file, when the parser knows.
    pub place: Option<Place>,
    /// Which worker gave it up.
    pub worker: String,
    /// The version of that worker.
    pub version: String,
}

impl DeadLetter {
    /// The dead letter of a task that failed so.
    pub fn new(job: &Job, failure: &Failure, worker: &str) -> DeadLetter {
        let parser = failure.source.as_ref().and_then(|source| source.downcast_ref::<parsers::Error>());
        let mut error = failure.chain();
        error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
        DeadLetter {
            original: Message::clone(&job.message),
            origin: job.position.clone(),
            kind: failure.kind.as_str().to_owned(),
            stage: failure.stage.as_str().to_owned(),
            error,
            attempts: job.attempt,
            place: parser.and_then(parsers::Error::position),
            worker: worker.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The message for the dead-letter topic.
    pub fn message(&self) -> Message {
        let Position { partition, offset } = &self.origin;
        let mut message = Message { timestamp: None, ..self.original.clone() };
        message.headers.retain(|(other, _)| !name::ALL.contains(&other.as_str()));
        let mut add = |name: &str, value: Option<String>| {
            message.headers.extend(value.map(|value| header(name, value)));
        };
        add(name::TOPIC, Some(partition.topic.to_string()));
        add(name::PARTITION, Some(partition.id.to_string()));
        add(name::OFFSET, Some(offset.0.to_string()));
        add(name::TIMESTAMP, self.original.timestamp.map(|millis| millis.to_string()));
        add(name::KIND, Some(self.kind.clone()));
        add(name::STAGE, Some(self.stage.clone()));
        add(name::ERROR, Some(self.error.clone()));
        add(name::ATTEMPTS, Some(self.attempts.to_string()));
        add(name::RECORD, self.place.map(|place| place.record.to_string()));
        add(name::LINE, self.place.map(|place| place.line.to_string()));
        add(name::BYTE, self.place.map(|place| place.byte.to_string()));
        add(name::WORKER, Some(self.worker.clone()));
        add(name::VERSION, Some(self.version.clone()));
        add(name::CUT, self.original.is_cut.then(|| "true".to_owned()));
        message
    }

    /// Reads a message of the dead-letter topic. `None`: it is no dead letter of ours.
    pub fn read(mut message: Message) -> Option<DeadLetter> {
        let text = |name: &str| message.text(name).map(str::to_owned);
        let number = |name: &str| message.text(name).and_then(|text| text.parse::<u64>().ok());
        let place = || {
            Some(Place {
                record: number(name::RECORD)?,
                line: number(name::LINE)?,
                byte: number(name::BYTE)?,
            })
        };
        let partition = Partition {
            topic: text(name::TOPIC)?.as_str().into(),
            id: message.text(name::PARTITION)?.parse().ok()?,
        };
        let offset = Offset(message.text(name::OFFSET)?.parse().ok()?);
        let letter = DeadLetter {
            original: Message::default(),
            origin: Position { partition, offset },
            kind: text(name::KIND)?,
            stage: text(name::STAGE).unwrap_or_default(),
            error: text(name::ERROR).unwrap_or_default(),
            attempts: number(name::ATTEMPTS).and_then(|number| number.try_into().ok()).unwrap_or_default(),
            place: place(),
            worker: text(name::WORKER).unwrap_or_default(),
            version: text(name::VERSION).unwrap_or_default(),
        };
        message.is_cut = message.text(name::CUT).is_some();
        message.timestamp = message.text(name::TIMESTAMP).and_then(|millis| millis.parse().ok());
        message.headers.retain(|(other, _)| !name::ALL.contains(&other.as_str()));
        Some(DeadLetter { original: message, ..letter })
    }
}

fn header(name: &str, value: String) -> Header {
    (name.to_owned(), Some(Bytes::from(value)))
}

/// Which worker this is: its machine and its process.
pub fn worker() -> String {
    let machine = rustix::system::uname();
    let mut worker = machine.nodename().to_string_lossy().into_owned();
    let _ = write!(worker, "/{}", std::process::id());
    worker
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Kind, Stage};
    use crate::path;
    use std::sync::Arc;

    fn job(message: Message) -> Job {
        let partition = Partition { topic: "tasks".into(), id: 2 };
        Job {
            generation: crate::commit::Ledger::default().assign(partition.clone()),
            position: Position { partition, offset: Offset(17) },
            attempt: 3,
            message: Arc::new(message),
            source: path::Place::default(),
            destination: path::Place::default(),
            size: None,
            begun: std::time::Instant::now(),
        }
    }

    fn original() -> Message {
        Message {
            key: Some(Bytes::from_static(b"in/\xff.csv")),
            value: Some(Bytes::from_static(br#"{"key":"a.csv","colour":"red"}"#)),
            headers: vec![("trace".to_owned(), Some(Bytes::from_static(b"7"))), ("empty".to_owned(), None)],
            timestamp: Some(1_756_123_200_000),
            is_cut: false,
        }
    }

    #[test]
    fn a_dead_letter_is_the_original_message_and_what_is_known_of_the_failure() {
        let place = Place { record: 3, line: 5, byte: 120 };
        let below = parsers::Error::new(parsers::ErrorKind::Malformed, "a quote is never closed").at(place);
        let failure =
            Failure::new(Stage::Parse, Kind::MalformedFile, "could not summarise a.csv").because(below);
        let letter = DeadLetter::new(&job(original()), &failure, "host/1");
        assert_eq!((letter.kind.as_str(), letter.stage.as_str()), ("malformed_file", "parse"));
        assert_eq!((letter.attempts, letter.place), (3, Some(place)));
        assert!(letter.error.contains("a quote is never closed"), "{}", letter.error);
        let message = letter.message();
        assert_eq!((&message.key, &message.value), (&original().key, &original().value));
        assert_eq!(message.headers[..2], original().headers[..], "its own headers come first");
        assert_eq!(message.text("pipeline-offset"), Some("17"));
        assert_eq!(message.text("pipeline-line"), Some("5"));
        assert_eq!(DeadLetter::read(message), Some(letter));
    }

    #[test]
    fn what_dies_again_has_the_headers_of_its_last_death_only() {
        let failure = |text: &str| Failure::new(Stage::Download, Kind::NotFound, text);
        let first = DeadLetter::new(&job(original()), &failure("first"), "host/1").message();
        let again = DeadLetter::new(&job(first), &failure("again"), "host/2").message();
        let named = |name: &str| again.headers.iter().filter(|(other, _)| other == name).count();
        assert!(name::ALL.iter().all(|name| named(name) <= 1), "{again:?}");
        assert_eq!(again.text(name::ERROR), Some("download: again"));
    }

    #[test]
    fn a_tombstone_a_cut_message_and_a_long_error_are_dead_letters_too() {
        let long = Failure::new(Stage::Parse, Kind::Panicked, "ü".repeat(ERROR_BYTES_MAX));
        for message in [Message::default(), Message { is_cut: true, ..original() }] {
            let letter = DeadLetter::new(&job(message), &long, "host/1");
            assert!(letter.error.len() <= ERROR_BYTES_MAX && letter.error.ends_with('ü'));
            assert_eq!(DeadLetter::read(letter.message()), Some(letter));
        }
        assert_eq!(DeadLetter::read(original()), None, "a message of somebody else");
    }

    #[test]
    fn a_worker_has_a_name() {
        let worker = worker();
        let (machine, process) = worker.split_once('/').unwrap();
        assert!(!machine.is_empty() && process.parse() == Ok(std::process::id()), "{worker}");
    }
}
