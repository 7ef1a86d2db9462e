//! Task topics with gaps: written in transactions, and compacted.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{Client, REQUEST};

impl Client {
    /// Creates the test's topics: tasks in one partition that is compacted whenever there is something to compact, and
    /// results.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn create_compacted(&self) {
        let admin = AdminClient::<DefaultClientContext>::from_config(&self.config).expect("an admin client");
        let tasks = NewTopic::new(&self.topics.tasks, 1, TopicReplication::Fixed(1))
            .set("cleanup.policy", "compact")
            .set("segment.ms", "100")
            .set("min.cleanable.dirty.ratio", "0")
            .set("delete.retention.ms", "0");
        let created = admin.create_topics([&tasks], &AdminOptions::new()).await;
        created.expect("the broker should answer")[0].as_ref().expect("the topic should be created");
        self.create(&[(&self.topics.results, 1), (&self.topics.dead_letters, 1)]).await;
    }

    /// Sends tasks with keys into the only partition, in one transaction, which is committed or given up.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn send_in_transaction(&self, tasks: &[(String, String)], commits: bool) {
        let mut config = self.config.clone();
        config.set("transactional.id", &self.topics.tasks);
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(REQUEST).expect("a name");
        producer.begin_transaction().expect("a transaction");
        for (key, payload) in tasks {
            let record = BaseRecord::to(&self.topics.tasks).key(key).payload(payload).partition(0);
            producer.send(record).expect("room in the queue");
        }
        // What is given up shall have been sent.
        producer.flush(REQUEST).expect("the broker should confirm");
        let ended =
            if commits { producer.commit_transaction(REQUEST) } else { producer.abort_transaction(REQUEST) };
        ended.expect("the broker should end the transaction");
    }

    /// The offsets of the committed messages that the only partition of the task topic still has.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn task_offsets(&self) -> Vec<i64> {
        let consumer = self.reader(&self.topics.tasks);
        let next = || match consumer.poll(REQUEST) {
            Some(Ok(message)) => Some(message.offset()),
            Some(Err(KafkaError::PartitionEOF(_))) | None => None,
            Some(Err(error)) => panic!("a readable topic: {error}"),
        };
        std::iter::from_fn(next).collect()
    }
}
