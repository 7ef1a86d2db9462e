//! Dead letters: messages whose task failed for good, with what was known about the failure.
//!
//! Promises: a dead letter is the original message, byte for byte, and headers of ours beside its own; from it the task
//! can be sent again as it was. What [`DeadLetter::message`] writes, [`DeadLetter::read`] reads. [`kafka`] reads the
//! topic, and sends its letters again.
//!
//! Never: a decision about the task, or a format that hides the original from other tools.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use jiff::Timestamp;
use parsers::Position as Place;

use crate::failure::Failure;
use crate::message::{Header, Message};
use crate::path::Job;
use crate::pattern::Globs;
use crate::task::{self, Offset, Partition, Position};

pub mod kafka;

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

/// The header of a task that was sent again: the dead letter it was, as `TOPIC[PARTITION]@OFFSET`.
const REPLAY: &str = "pipeline-replay";
/// How often it was sent again by now.
const REPLAY_COUNT: &str = "pipeline-replay-count";
/// The header of a mark: the offset, in the same partition, of the dead letter that was sent again.
const REPLAYED: &str = "pipeline-replayed";

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

impl DeadLetter {
    /// The key of the object, when the message was a task.
    pub fn key(&self) -> Option<String> {
        task::parse(self.original.payload()).ok().map(|task| task.key)
    }

    /// How often the task was sent again before it died this time.
    pub fn replays(&self) -> u32 {
        self.original.text(REPLAY_COUNT).and_then(|count| count.parse().ok()).unwrap_or_default()
    }
}

/// A dead letter in its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    /// Where it lies.
    pub at: Position,
    /// When it came there.
    pub arrived: Timestamp,
    /// What it says.
    pub letter: DeadLetter,
}

impl Buried {
    /// The task once more, as it was; headers say that it is sent again, and how often it was.
    pub fn revived(&self) -> Message {
        let mut message = Message { timestamp: None, ..self.letter.original.clone() };
        message.headers.retain(|(name, _)| name != REPLAY && name != REPLAY_COUNT);
        message.headers.push(header(REPLAY, self.at.to_string()));
        message.headers.push(header(REPLAY_COUNT, self.letter.replays().saturating_add(1).to_string()));
        message
    }

    /// The mark that it was sent again, for its own partition.
    pub fn mark(&self) -> Message {
        let Position { partition, offset } = &self.at;
        let key = Bytes::from(format!("{}/{}", partition.id, offset.0));
        let headers = vec![header(REPLAYED, offset.0.to_string())];
        Message { key: Some(key), headers, ..Message::default() }
    }
}

/// Which letter a mark is about; `None`: the message is no mark.
pub fn replayed(message: &Message) -> Option<Offset> {
    message.text(REPLAYED)?.parse().ok().map(Offset)
}

/// Which dead letters are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of these kinds; of all when there is none.
    pub kinds: Vec<String>,
    /// Only of keys that match; of all when there is no glob.
    pub key: Globs,
    /// Only what died at or after this.
    pub since: Option<Timestamp>,
}

impl Filter {
    /// Whether it is wanted. What is no task has no key, and matches no glob.
    pub fn takes(&self, Buried { arrived, letter, .. }: &Buried) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&letter.kind))
            && (self.key.is_empty() || letter.key().is_some_and(|key| self.key.matches(&key)))
            && self.since.is_none_or(|since| *arrived >= since)
    }
}

/// Dead letters of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// When the first came.
    pub first: Timestamp,
    /// When the last came.
    pub last: Timestamp,
    /// One of them: the last.
    pub example: Buried,
}

/// Dead letters by kind of failure.
#[derive(Clone, Debug, Default)]
pub struct Groups(BTreeMap<String, Group>);

impl Groups {
    /// Counts one more.
    pub fn add(&mut self, buried: &Buried) {
        let at = buried.arrived;
        let group = self.0.entry(buried.letter.kind.clone()).or_insert_with(|| Group {
            count: 0,
            first: at,
            last: at,
            example: buried.clone(),
        });
        group.count += 1;
        group.first = group.first.min(at);
        if at >= group.last {
            group.last = at;
            group.example = buried.clone();
        }
    }

    /// The groups, the largest first.
    pub fn sorted(&self) -> Vec<(&str, &Group)> {
        let mut groups: Vec<_> = self.0.iter().map(|(kind, group)| (kind.as_str(), group)).collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        groups
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

    fn buried(offset: i64, seconds: i64, letter: DeadLetter) -> Buried {
        let partition = Partition { topic: "dead".into(), id: 1 };
        let arrived = Timestamp::from_second(seconds).unwrap();
        Buried { at: Position { partition, offset: Offset(offset) }, arrived, letter }
    }

    fn not_found(message: Message) -> DeadLetter {
        DeadLetter::new(&job(message), &Failure::new(Stage::Download, Kind::NotFound, "gone"), "host/1")
    }

    #[test]
    fn a_revived_task_is_the_original_and_counts_its_deaths() {
        let once = buried(5, 0, not_found(original())).revived();
        assert_eq!((&once.key, &once.value), (&original().key, &original().value));
        assert_eq!(once.headers[..2], original().headers[..]);
        assert_eq!((once.text(REPLAY), once.text(REPLAY_COUNT)), (Some("dead[1]@5"), Some("1")));
        assert_eq!(once.headers.len(), 4, "nothing of the failure: {once:?}");
        let died_again = DeadLetter::read(not_found(once).message()).unwrap();
        assert_eq!(died_again.replays(), 1);
        let twice = buried(9, 0, died_again).revived();
        assert_eq!((twice.text(REPLAY), twice.text(REPLAY_COUNT)), (Some("dead[1]@9"), Some("2")));
        assert_eq!(twice.headers.len(), 4);
    }

    #[test]
    fn a_mark_is_about_its_letter_and_no_letter() {
        let mark = buried(5, 0, not_found(original())).mark();
        assert_eq!(replayed(&mark), Some(Offset(5)));
        assert_eq!(mark.key.as_deref(), Some(&b"1/5"[..]));
        assert_eq!(DeadLetter::read(mark), None);
        assert_eq!(replayed(&not_found(original()).message()), None);
    }

    #[test]
    fn a_filter_asks_for_kind_key_and_time() {
        let task = buried(0, 100, not_found(original()));
        let nothing = buried(0, 100, not_found(Message::default()));
        let all = Filter::default();
        assert!(all.takes(&task) && all.takes(&nothing));
        let kinds = |kind: &str| Filter { kinds: vec!["timed_out".into(), kind.into()], ..Filter::default() };
        assert!(kinds("not_found").takes(&task) && !kinds("panicked").takes(&task));
        let key = |glob: &str| Filter { key: glob.parse().unwrap(), ..Filter::default() };
        assert!(key("*.csv").takes(&task) && !key("b/**").takes(&task) && !key("**").takes(&nothing));
        let since =
            |second| Filter { since: Some(Timestamp::from_second(second).unwrap()), ..Filter::default() };
        assert!(since(100).takes(&task) && !since(101).takes(&task));
    }

    #[test]
    fn groups_count_by_kind_and_show_the_last() {
        let mut groups = Groups::default();
        let panicked = Failure::new(Stage::Parse, Kind::Panicked, "boom");
        groups.add(&buried(0, 7, DeadLetter::new(&job(original()), &panicked, "host/1")));
        for (offset, second) in [(1, 50), (2, 90), (3, 20)] {
            groups.add(&buried(offset, second, not_found(original())));
        }
        let [("not_found", most), ("panicked", one)] = &groups.sorted()[..] else { panic!("{groups:?}") };
        assert_eq!((most.count, most.first.as_second(), most.last.as_second()), (3, 20, 90));
        assert_eq!((most.example.at.offset, one.count), (Offset(2), 1));
    }

    #[test]
    fn a_worker_has_a_name() {
        let worker = worker();
        let (machine, process) = worker.split_once('/').unwrap();
        assert!(!machine.is_empty() && process.parse() == Ok(std::process::id()), "{worker}");
    }
}
