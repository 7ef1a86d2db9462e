//! A look at topics and a group, and the making of topics. Joins no group and disturbs nobody.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use crate::config::Kafka;
use crate::failure::{Failure, Kind, Stage};
use crate::kafka::{Noting, client_config, refusal, rights, setup_failure};

/// For one answer of the broker: a person waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// For a look that may as well fail: the start of a worker should not wait long for it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// A client that only looks. Every method blocks until the broker answers or the time is up.
pub struct Inspector {
    consumer: BaseConsumer<Noting>,
}

impl Inspector {
    /// A client of the configured brokers, under the group's name.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when it cannot be created.
    pub fn new(kafka: &Kafka) -> Result<Inspector, Failure> {
        let config = client_config(kafka, &[("group.id", &kafka.group_id), ("enable.auto.commit", "false")]);
        let consumer = config
            .create_with_context(Noting::default())
            .map_err(|error| setup_failure(Stage::Claim, "client", error))?;
        Ok(Inspector { consumer })
    }

    /// How many brokers the cluster has.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses us.
    pub fn brokers(&self) -> Result<usize, Failure> {
        let metadata = self.consumer.fetch_metadata(None, REQUEST_TIMEOUT).map_err(|error| {
            let error = self.refused().unwrap_or(error);
            failure("could not reach the brokers", "KAFKA_BOOTSTRAP_SERVERS", error)
        })?;
        Ok(metadata.brokers().len())
    }

    /// What a broker refuses is told beside the answers, through the poll.
    fn refused(&self) -> Option<KafkaError> {
        const EVENTS_MAX: usize = 10;
        const EVENT_TIMEOUT: Duration = Duration::from_millis(50);
        (0..EVENTS_MAX).find_map(|_| match self.consumer.poll(EVENT_TIMEOUT) {
            Some(Err(error)) if error.rdkafka_error_code().and_then(refusal).is_some() => Some(error),
            _ => self.consumer.client().context().refusal(),
        })
    }

    /// The partitions of a topic.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when there is no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, Failure> {
        let what = format!("could not look at the topic {topic}");
        match self.find(topic, REQUEST_TIMEOUT) {
            Ok(Some(partitions)) => Ok(partitions),
            Ok(None) => Err(absent(topic)),
            Err(error) => Err(failure(&what, "KAFKA_BOOTSTRAP_SERVERS and the rights on it", error)),
        }
    }

    /// The partitions of a topic; none when it does not exist.
    fn find(&self, topic: &str, timeout: Duration) -> Result<Option<Vec<i32>>, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| (found.error().map(Code::from), found.partitions())) {
            Some((Some(Code::UnknownTopicOrPartition | Code::UnknownTopic), _)) | None => Ok(None),
            Some((Some(code), _)) => Err(KafkaError::MetadataFetch(code)),
            Some((None, partitions)) => Ok(Some(partitions.iter().map(|partition| partition.id()).collect())),
        }
    }

    /// Refuses a topic that may not be used: `read` from, else written to.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`] with the right that is missing.
    pub fn demand_topic(&self, topic: &str, read: bool) -> Result<(), Failure> {
        let rights = rights::of_topic(&self.consumer, topic, REQUEST_TIMEOUT)
            .map_err(|error| failure(&format!("could not ask for the rights on {topic}"), "them", error))?;
        let (has, right) = if read { (rights.read, "read from") } else { (rights.write, "write to") };
        demand(has, &format!("may not {right} the topic {topic}"))
    }

    /// Refuses a group that may not be joined.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`].
    pub fn demand_group(&self, group: &str) -> Result<(), Failure> {
        let rights = rights::of_group(&self.consumer, group, REQUEST_TIMEOUT)
            .map_err(|error| failure(&format!("could not ask for the rights on {group}"), "them", error))?;
        demand(rights.read, &format!("may not join the group {group}"))
    }

    /// Tasks that the group has not finished.
    ///
    /// # Errors
    /// When topic or group may not be read.
    pub fn lag(&self, topic: &str, partitions: &[i32]) -> Result<i64, Failure> {
        let what = format!("could not read the group's place in {topic}");
        let read = || {
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition(topic, *partition);
            }
            let committed = self.consumer.committed_offsets(list, REQUEST_TIMEOUT)?;
            let mut lag = 0;
            for element in committed.elements() {
                element.error()?;
                let (first, end) =
                    self.consumer.fetch_watermarks(topic, element.partition(), REQUEST_TIMEOUT)?;
                lag += match element.offset() {
                    Offset::Offset(next) => end - next.max(first),
                    _ => end - first,
                };
            }
            Ok(lag)
        };
        read().map_err(|error| failure(&what, "KAFKA_GROUP_ID and the rights on it", error))
    }
}

/// Refuses to begin while a topic that outcomes go to is known not to exist: the first failed task would find out.
/// Brokers that do not answer are waited for by others.
///
/// # Errors
/// [`Kind::Misconfigured`] when one does not exist.
pub async fn demand_topics(kafka: &Kafka, topics: &[&str]) -> Result<(), Failure> {
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let inspector = Inspector::new(kafka)?;
    let look =
        move || topics.into_iter().find(|topic| matches!(inspector.find(topic, LOOK_TIMEOUT), Ok(None)));
    match tokio::task::spawn_blocking(look).await {
        Ok(Some(topic)) => Err(absent(&topic)),
        _ => Ok(()),
    }
}

fn absent(topic: &str) -> Failure {
    let context = format!("the topic {topic} does not exist; create it (--create-topics)");
    Failure::new(Stage::Claim, Kind::Misconfigured, context)
}

fn demand(has: bool, lack: &str) -> Result<(), Failure> {
    if has {
        return Ok(());
    }
    let context = format!("this user {lack}; grant it the right");
    Err(Failure::new(Stage::Claim, Kind::PermissionDenied, context))
}

/// Creates the topics that are not there; gives their names. `partitions` and `replication`: the broker's own choice
/// when absent.
///
/// # Errors
/// When the broker refuses, with its reason.
pub async fn create_topics(
    kafka: &Kafka,
    topics: &[&str],
    partitions: Option<i32>,
    replication: Option<i32>,
) -> Result<Vec<String>, Failure> {
    // librdkafka's word for "the broker's own".
    const BROKERS_CHOICE: i32 = -1;
    let admin: AdminClient<Noting> = client_config(kafka, &[])
        .create_with_context(Noting::default())
        .map_err(|error| setup_failure(Stage::Claim, "client", error))?;
    let (partitions, replication) =
        (partitions.unwrap_or(BROKERS_CHOICE), replication.unwrap_or(BROKERS_CHOICE));
    let topics: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(replication)))
        .collect();
    let options =
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let answers = admin.create_topics(&topics, &options).await.map_err(|error| {
        let error = admin.inner().context().refusal().unwrap_or(error);
        failure("could not create the topics", "KAFKA_BOOTSTRAP_SERVERS", error)
    })?;
    let mut created = Vec::new();
    for answer in answers {
        match answer {
            Ok(topic) => created.push(topic),
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let what = format!("could not create the topic {topic}");
                let advice = "partitions, replication and the rights on it";
                return Err(failure(&what, advice, KafkaError::AdminOp(code)));
            }
        }
    }
    Ok(created)
}

fn failure(what: &str, advice: &str, error: KafkaError) -> Failure {
    let (kind, advice) = match error.rdkafka_error_code().and_then(refusal) {
        Some((kind, advice)) => (kind, advice.to_owned()),
        None => (Kind::Misconfigured, format!("check {advice}")),
    };
    Failure::new(Stage::Claim, kind, format!("{what}; {advice}")).because(error)
}
