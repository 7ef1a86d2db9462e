//! The dead-letter topic: read, and its letters sent again.
//!
//! Promises: a letter is sent again once, however often that is asked for and whenever it breaks off. The task and the
//! mark that the letter was sent again are one transaction, and only one process at a time can make such: whoever
//! begins later puts an end to the others.
//!
//! Readers must skip what was not committed (`isolation.level=read_committed`, librdkafka's and this program's own
//! default): others see a task of a transaction that was given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{Stream, TryStreamExt};
use jiff::Timestamp;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureProducer, Producer};
use rdkafka::util::Timeout;

use crate::config::Kafka;
use crate::dead_letter::{Buried, DeadLetter, replayed};
use crate::failure::{Failure, Kind, Stage};
use crate::kafka::reader::{Begin, follow};
use crate::kafka::{COMPRESSION, Noting, client_config, message_of, record_of, refusal, setup_failure};
use crate::message::WHOLE;
use crate::task::{Offset, Partition, Position};

/// For one transaction to be begun or ended: a person waits.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What is known of the topic before its letters are looked at: which of them were sent again, and where it ends.
pub struct Survey {
    replayed: BTreeSet<Position>,
    last: BTreeMap<Partition, Offset>,
}

/// Reads the whole topic once. A mark stands behind its letter, so no letter can be judged before that.
///
/// # Errors
/// When the topic cannot be read.
pub async fn survey(kafka: &Kafka) -> Result<Survey, Failure> {
    let marks = follow(kafka, &kafka.dlq_topic, Begin::Beginning, true, |message| {
        let at = position(message);
        let mark = replayed(&message_of(message, &WHOLE)).map(|offset| Position { offset, ..at.clone() });
        (at, mark)
    });
    let mut survey = Survey { replayed: BTreeSet::new(), last: BTreeMap::new() };
    let mut marks = std::pin::pin!(marks.await?);
    while let Some((at, mark)) = marks.try_next().await? {
        survey.last.insert(at.partition, at.offset);
        survey.replayed.extend(mark);
    }
    Ok(survey)
}

impl Survey {
    /// How many letters were sent again.
    pub fn replayed(&self) -> usize {
        self.replayed.len()
    }

    /// The letters that were not sent again, up to the end as it was surveyed: what fails again meanwhile is for the
    /// next time.
    ///
    /// # Errors
    /// When the topic cannot be read; later errors come in the stream.
    pub async fn letters(
        self,
        kafka: &Kafka,
        begin: Begin,
    ) -> Result<impl Stream<Item = Result<Buried, Failure>> + use<>, Failure> {
        let letters = follow(kafka, &kafka.dlq_topic, begin, true, move |message| {
            let at = position(message);
            let is_known = self.last.get(&at.partition).is_some_and(|last| at.offset <= *last);
            if !is_known || self.replayed.contains(&at) {
                return None;
            }
            let arrived = message.timestamp().to_millis().map(Timestamp::from_millisecond);
            let letter = DeadLetter::read(message_of(message, &WHOLE))?;
            Some(Buried { at, arrived: arrived.and_then(Result::ok).unwrap_or_default(), letter })
        });
        Ok(letters.await?.try_filter_map(|buried| std::future::ready(Ok(buried))))
    }
}

fn position(message: &BorrowedMessage<'_>) -> Position {
    let partition = Partition { topic: message.topic().into(), id: message.partition() };
    Position { partition, offset: Offset(message.offset()) }
}

/// The only one who sends letters of this topic again.
pub struct Replayer {
    producer: FutureProducer<Noting>,
    noting: Noting,
}

impl Replayer {
    /// Ends what others, dead or alive, have begun and not committed. What is surveyed after this stays true.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn open(kafka: &Kafka) -> Result<Replayer, Failure> {
        let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
        let config = client_config(
            kafka,
            &[
                // The same for all: so that the later one ends the earlier one.
                ("transactional.id", &format!("pipeline-replay-{}", kafka.dlq_topic)),
                ("transaction.timeout.ms", &timeout),
                ("message.timeout.ms", &timeout),
                ("compression.type", COMPRESSION),
            ],
        );
        let noting = Noting::default();
        let producer = config
            .create_with_context(noting.clone())
            .map_err(|error| setup_failure(Stage::Publish, "producer", error))?;
        let replayer = Replayer { producer, noting };
        replayer.blocking(|producer| producer.init_transactions(TRANSACTION_TIMEOUT)).await?;
        Ok(replayer)
    }

    /// Sends letters again: all of them, or on an error none.
    ///
    /// # Errors
    /// When the broker refuses, or another process has begun to send letters again.
    pub async fn replay(&self, letters: &[Buried]) -> Result<(), Failure> {
        self.send(letters).await?;
        self.commit().await
    }

    /// Sends letters again, with their marks, without effect as yet. What follows must be a commit.
    ///
    /// # Errors
    /// As [`Replayer::replay`]; then nothing is left to be committed.
    pub async fn send(&self, letters: &[Buried]) -> Result<(), Failure> {
        self.blocking(|producer| producer.begin_transaction()).await?;
        let sends = letters.iter().map(|buried| async move {
            let (task, mark) = (buried.revived(), buried.mark());
            let at = &buried.at.partition;
            let task =
                self.producer.send(record_of(&buried.letter.origin.partition.topic, &task), Timeout::Never);
            let mark = self.producer.send(record_of(&at.topic, &mark).partition(at.id), Timeout::Never);
            let (task, mark) = futures::future::join(task, mark).await;
            task.and(mark).map_err(|(error, _)| error)
        });
        match futures::future::try_join_all(sends).await {
            Ok(_confirmed) => Ok(()),
            Err(error) => {
                // Given up on either way: whoever begins next ends it.
                let _ = self.blocking(|producer| producer.abort_transaction(TRANSACTION_TIMEOUT)).await;
                Err(self.failure(error))
            }
        }
    }

    /// Makes what was sent be sent.
    ///
    /// # Errors
    /// As [`Replayer::replay`]. Where the broker's answer is missing, asking again finds out.
    pub async fn commit(&self) -> Result<(), Failure> {
        self.blocking(|producer| producer.commit_transaction(TRANSACTION_TIMEOUT)).await
    }

    async fn blocking(
        &self,
        call: impl FnOnce(&FutureProducer<Noting>) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), Failure> {
        let producer = self.producer.clone();
        match tokio::task::spawn_blocking(move || call(&producer)).await {
            Ok(done) => done.map_err(|error| self.failure(error)),
            Err(error) => {
                Err(Failure::new(Stage::Publish, Kind::Panicked, "the producer panicked").because(error))
            }
        }
    }

    fn failure(&self, error: KafkaError) -> Failure {
        // What a producer says after its end is only that it has ended.
        let fatal = self.producer.client().fatal_error().map(|(code, _)| KafkaError::Global(code));
        let error = self.noting.refusal().or(fatal).unwrap_or(error);
        let (kind, advice) = match error.rdkafka_error_code() {
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => (
                Kind::Misconfigured,
                "a task topic is gone; create it, or choose others by --kind, --key or --since",
            ),
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
                (Kind::Misconfigured, "another replay has begun, and this one ends")
            }
            Some(Code::TransactionalIdAuthorizationFailed) => (
                Kind::PermissionDenied,
                "grant this user the right to write with the transactional id pipeline-replay-…",
            ),
            code => code
                .and_then(refusal)
                .unwrap_or((Kind::ResultUndelivered, "ask again: nothing is sent twice")),
        };
        Failure::new(Stage::Publish, kind, format!("could not send dead letters again; {advice}"))
            .because(error)
    }
}
