//! Brokers for tests, and the clients around a worker: topics, tasks, results, offsets.
//!
//! The broker is real Apache Kafka: the one that `PIPELINE_TEST_KAFKA` names (`host:port`), else one that
//! `tests/kafka/kafka` fetches and starts. Where neither can be had, tests say so and skip, except under CI,
//! where that is a failure.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pipeline::dead_letter::DeadLetter;
use pipeline::kafka::{message_of, record_of};
use pipeline::message::{Message, WHOLE};
use pipeline::publish::ResultMessage;
use pipeline::task::{self, Partition, Position};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;

mod access;
mod gaps;
mod group;
mod mock;
mod trouble;

pub use group::{Committed, GroupHistory};
pub use mock::{mock, refuse_commits, refuse_restores};

/// For one request of a test's own clients.
const REQUEST: Duration = Duration::from_secs(30);
/// For a look whether there is something new.
const LOOK: Duration = Duration::from_millis(10);

/// A running Apache Kafka. Ends with this process, or when dropped.
pub struct Apache {
    /// `host:port` without encryption.
    pub bootstrap: String,
    /// The listener with TLS and SASL; none on a broker that was only named.
    pub secure: Option<Secure>,
    process: Option<Child>,
    /// The broker's own process, behind the script that started it.
    id: Option<u32>,
}

/// The listener with TLS and SASL.
pub struct Secure {
    /// `host:port`.
    pub bootstrap: String,
    /// The certificate authority, PEM.
    pub ca: String,
    /// A user that PLAIN and both SCRAM mechanisms know.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// The broker that all tests of this process share, or `None` where there can be none.
///
/// # Panics
/// With `CI` set, when there is none.
pub fn apache() -> Option<&'static Apache> {
    static BROKER: OnceLock<Option<Apache>> = OnceLock::new();
    let broker = BROKER.get_or_init(|| {
        if let Ok(bootstrap) = std::env::var("PIPELINE_TEST_KAFKA") {
            return Some(Apache { bootstrap, secure: None, process: None, id: None });
        }
        Apache::start()
            .inspect_err(|why| {
                assert!(std::env::var_os("CI").is_none(), "CI must have a broker: {why}");
                eprintln!("no Apache Kafka here: {why}");
            })
            .ok()
    });
    if broker.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!(
            "SKIPPED {test}: it needs Apache Kafka; name one in PIPELINE_TEST_KAFKA, or install java and mvn"
        );
    }
    broker.as_ref()
}

impl Apache {
    /// Starts a broker of one's own.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start() -> Result<Apache, String> {
        Apache::run(&[], Stdio::inherit())
    }

    fn run(options: &[&str], complaints: Stdio) -> Result<Apache, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/kafka");
        let mut process = Command::new(&script)
            .arg("run")
            .args(options)
            // Held open: the broker ends when this process does, however it ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .map_err(|error| format!("{}: {error}", script.display()))?;
        let stdout = process.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let ready: Value = serde_json::from_str(&line)
            .map_err(|_| "the broker did not start; its reasons are above".to_owned())?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        Ok(Apache {
            bootstrap: text("bootstrap"),
            secure: Some(Secure {
                bootstrap: text("sasl_ssl"),
                ca: text("ca"),
                user: text("user"),
                password: text("password"),
            }),
            process: Some(process),
            id: ready["pid"].as_u64().and_then(|id| u32::try_from(id).ok()),
        })
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

/// The names of one test's topics and group.
#[derive(Clone, Debug)]
pub struct Topics {
    /// The task topic.
    pub tasks: String,
    /// The result topic.
    pub results: String,
    /// The dead-letter topic.
    pub dead_letters: String,
    /// The consumer group.
    pub group: String,
}

impl Topics {
    /// Names that no other test uses.
    pub fn new(test: &str) -> Topics {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{test}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Topics {
            tasks: format!("{name}-tasks"),
            results: format!("{name}-results"),
            dead_letters: format!("{name}-dead-letters"),
            group: format!("{name}-group"),
        }
    }
}

/// A test's view of a broker.
pub struct Client {
    config: ClientConfig,
    producer: FutureProducer,
    topics: Topics,
}

impl Client {
    /// A view of the broker at `bootstrap`.
    ///
    /// # Panics
    /// When the clients cannot be created.
    pub fn new(bootstrap: &str, topics: &Topics) -> Client {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("allow.auto.create.topics", "false");
        let producer = config.create().expect("a producer");
        Client { config, producer, topics: topics.clone() }
    }

    /// Creates the test's topics: tasks in so many partitions, results and dead letters in one each.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn create_topics(&self, partitions: i32) {
        let Topics { tasks, results, dead_letters, .. } = &self.topics;
        self.create(&[(tasks, partitions), (results, 1), (dead_letters, 1)]).await;
    }

    /// Creates topics of so many partitions.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn create(&self, topics: &[(&str, i32)]) {
        let topics = topics
            .iter()
            .map(|(topic, partitions)| NewTopic::new(topic, *partitions, TopicReplication::Fixed(1)));
        let topics: Vec<NewTopic<'_>> = topics.collect();
        self.create_new(&topics).await;
    }

    /// Creates a topic of one partition that takes only messages up to so many bytes.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn create_for_small(&self, topic: &str, bytes_max: u32) {
        let bytes_max = bytes_max.to_string();
        let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", &bytes_max);
        self.create_new(&[topic]).await;
    }

    async fn create_new(&self, topics: &[NewTopic<'_>]) {
        let admin = AdminClient::<DefaultClientContext>::from_config(&self.config).expect("an admin client");
        let created =
            admin.create_topics(topics, &AdminOptions::new()).await.expect("the broker should answer");
        for topic in created {
            topic.expect("the topic should be created");
        }
    }

    /// Sends messages as tasks; the `n`-th goes to partition `n % partitions`.
    ///
    /// # Panics
    /// When the broker does not confirm.
    pub async fn send(&self, payloads: &[String], partitions: i32) {
        let sends = payloads.iter().enumerate().map(|(number, payload)| {
            let partition = number as i32 % partitions;
            let record =
                FutureRecord::<str, str>::to(&self.topics.tasks).payload(payload).partition(partition);
            self.producer.send(record, REQUEST)
        });
        for sent in futures::future::join_all(sends).await {
            sent.expect("the broker should confirm");
        }
    }

    /// Every committed result so far, up to the end of the topic as it is now.
    ///
    /// # Panics
    /// When the topic cannot be read, or a result is none.
    pub fn results(&self) -> Vec<ResultMessage> {
        let consumer = self.reader(&self.topics.results);
        // Where the end is now: under load it moves away as fast as it is read.
        let (_, end) = consumer.fetch_watermarks(&self.topics.results, 0, REQUEST).expect("watermarks");
        std::iter::from_fn(|| next_result(&consumer, REQUEST))
            .take_while(|(offset, _)| *offset < end)
            .map(|(_, result)| result)
            .collect()
    }

    /// Every message of a topic so far, all its partitions, as JSON.
    ///
    /// # Panics
    /// When the topic cannot be read, or a message is no JSON.
    pub fn messages(&self, topic: &str) -> Vec<Value> {
        let read = self.read(topic);
        read.iter().map(|(_, message)| serde_json::from_slice(message.payload()).expect("JSON")).collect()
    }

    /// Every message of a topic so far, all its partitions; of transactions those that were committed.
    ///
    /// # Panics
    /// When the topic cannot be read.
    pub fn read(&self, topic: &str) -> Vec<(Position, Message)> {
        self.read_all(topic, "read_committed")
    }

    /// The same, and with another isolation also what transactions gave up.
    ///
    /// # Panics
    /// As [`Client::read`].
    pub fn read_all(&self, topic: &str, isolation: &str) -> Vec<(Position, Message)> {
        let mut config = self.config.clone();
        config.set("group.id", &self.topics.group).set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true").set("isolation.level", isolation);
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST).expect("metadata");
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a partition");
        }
        consumer.assign(&list).expect("an assignment");
        let (mut unread, mut messages) = (list.count(), Vec::new());
        while unread > 0 {
            match consumer.poll(REQUEST).expect("a message or the end") {
                Ok(message) => {
                    let partition = Partition { topic: topic.into(), id: message.partition() };
                    let position = Position { partition, offset: task::Offset(message.offset()) };
                    messages.push((position, message_of(&message, &WHOLE)));
                }
                Err(KafkaError::PartitionEOF(_)) => unread -= 1,
                Err(error) => panic!("{topic} cannot be read: {error}"),
            }
        }
        messages
    }

    /// The names of the test.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Whether no transaction is open in a topic of one partition: readers of committed messages see it to its end.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn is_settled(&self, topic: &str) -> bool {
        let end =
            |consumer: BaseConsumer| consumer.fetch_watermarks(topic, 0, REQUEST).expect("watermarks").1;
        end(self.reader(topic)) == end(self.consumer())
    }

    /// Every dead letter so far.
    ///
    /// # Panics
    /// When the topic cannot be read, or has something else.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let read = self.read(&self.topics.dead_letters).into_iter();
        read.map(|(_, message)| DeadLetter::read(message).expect("a dead letter")).collect()
    }

    /// Sends one message to a topic, as it is.
    ///
    /// # Panics
    /// When the broker does not confirm.
    pub async fn send_message(&self, topic: &str, message: &Message) {
        self.producer.send(record_of(topic, message), REQUEST).await.expect("the broker should confirm");
    }

    /// Waits until there are at least so many results, and returns all of them.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for_results(&self, count: usize) -> Vec<ResultMessage> {
        self.wait_for_count(count).await;
        self.results()
    }

    /// Waits until there are at least so many results.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for_count(&self, count: usize) {
        let consumer = self.reader(&self.topics.results);
        let mut seen = 0;
        crate::eventually(&format!("{count} results in {}", self.topics.results), || {
            while seen < count && next_result(&consumer, LOOK).is_some() {
                seen += 1;
            }
            seen >= count
        })
        .await;
    }

    /// Waits until the group's committed offsets are the ends of every partition of the task topic: lag 0.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn wait_for_no_lag(&self, partitions: i32) {
        let mut lag = BTreeMap::new();
        let none = crate::holds(|| {
            lag = self.lag(partitions);
            lag.values().all(|lag| *lag == 0)
        });
        assert!(none.await, "waited in vain for lag 0 in {}; there is {lag:?}", self.topics.tasks);
    }

    /// Uncommitted messages by partition.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn lag(&self, partitions: i32) -> BTreeMap<i32, i64> {
        let consumer = self.consumer();
        let committed = self.committed(partitions);
        (0..partitions)
            .map(|partition| {
                let (start, end) =
                    consumer.fetch_watermarks(&self.topics.tasks, partition, REQUEST).expect("watermarks");
                (partition, end - committed.get(&partition).copied().unwrap_or(start))
            })
            .collect()
    }

    /// The group's committed offsets by partition; none where nothing was committed.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn committed(&self, partitions: i32) -> BTreeMap<i32, i64> {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition(&self.topics.tasks, partition);
        }
        let committed = self.consumer().committed_offsets(list, REQUEST).expect("committed offsets");
        committed
            .elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(next) => Some((element.partition(), next)),
                _ => None,
            })
            .collect()
    }

    /// What is written beside the group's committed offset in a partition of the task topic, and that offset.
    ///
    /// # Panics
    /// When the broker does not answer, or nothing was committed.
    pub fn checkpoint(&self, partition: i32) -> (i64, String) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topics.tasks, partition);
        let committed = self.consumer().committed_offsets(list, REQUEST).expect("committed offsets");
        let elements = committed.elements();
        let Offset::Offset(next) = elements[0].offset() else { panic!("nothing is committed") };
        (next, elements[0].metadata().to_owned())
    }

    /// Commits an offset for the group, which must have no members, with anything beside it.
    ///
    /// # Panics
    /// When the broker refuses.
    #[expect(unsafe_code, reason = "rdkafka only takes text, which other clients do not keep to")]
    pub fn commit(&self, partition: i32, next: i64, metadata: &[u8]) {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&self.topics.tasks, partition);
        element.set_offset(Offset::Offset(next)).expect("an offset");
        element.set_metadata(" ".repeat(metadata.len()));
        // SAFETY: the list has this element, whose metadata are as many bytes, just made.
        unsafe {
            let element = &*(*list.ptr()).elems;
            assert_eq!(element.metadata_size, metadata.len());
            std::ptr::copy_nonoverlapping(metadata.as_ptr(), element.metadata.cast(), metadata.len());
        }
        self.consumer().commit(&list, CommitMode::Sync).expect("a commit");
    }

    /// A consumer at the beginning of a topic of one partition, that tells where its committed messages end.
    fn reader(&self, topic: &str) -> BaseConsumer {
        let mut config = self.config.clone();
        config
            .set("group.id", &self.topics.group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
        consumer.assign(&list).expect("an assignment");
        consumer
    }

    /// A consumer that belongs to the group by name only: it never joins. It sees what is committed now, and does not wait
    /// for transactions.
    fn consumer(&self) -> BaseConsumer {
        let mut config = self.config.clone();
        config.set("group.id", &self.topics.group).set("enable.auto.commit", "false");
        config.set("isolation.level", "read_uncommitted");
        config.create().expect("a consumer")
    }
}

/// The next result and its offset; none at the end of the topic, which is told once each time it is reached.
fn next_result(consumer: &BaseConsumer, deadline: Duration) -> Option<(i64, ResultMessage)> {
    match consumer.poll(deadline) {
        Some(Ok(message)) => {
            let payload = message.payload().unwrap_or_default();
            let result = serde_json::from_slice(payload).expect("a result in the contract's form");
            Some((message.offset(), result))
        }
        Some(Err(KafkaError::PartitionEOF(_))) => None,
        Some(Err(error)) => panic!("a readable topic: {error}"),
        None => None,
    }
}
