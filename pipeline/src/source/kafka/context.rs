//! What librdkafka calls back into, on the polling thread: rebalances and commit results; and the requests that
//! belong to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use crate::commit::{Checkpoint, Refused, Watch};
use crate::failure::Failure;
use crate::message::Message;
use crate::source::gate::{Begin, Gate, World};
use crate::source::kafka::commit_async::commit_async;
use crate::source::kafka::restore::restore;
use crate::source::trace::Reach;
use crate::source::{Claim, Intake};
use crate::task::{NextOffset, Offset, Partition, Position};
use crate::telemetry;

/// A commit without an answer for so long is given up for lost, and the next one is asked for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What librdkafka calls back into, on the polling thread.
pub(super) struct Context {
    intake: Arc<Intake>,
    revoke_timeout: Duration,
    /// Whether commits are made here.
    commits: bool,
    books: Mutex<Books>,
    /// What was received and has not begun.
    gate: Mutex<Gate<Claim>>,
}

/// What was asked of the broker.
#[derive(Default)]
struct Books {
    requested: BTreeMap<Partition, Checkpoint>,
    confirmed: BTreeMap<Partition, Checkpoint>,
    paused: BTreeSet<Partition>,
    /// When a commit was asked for that is not answered yet.
    asked: Option<Instant>,
    /// The broker takes less metadata than others: positions are committed without.
    without_metadata: bool,
    /// Why the consumer cannot go on.
    failure: Option<Failure>,
}

impl Books {
    /// The checkpoint as this broker takes it.
    fn allowed(&self, mut checkpoint: Checkpoint) -> Checkpoint {
        if self.without_metadata {
            checkpoint.metadata.clear();
        }
        checkpoint
    }
}

impl Context {
    pub(super) fn new(
        intake: Arc<Intake>,
        revoke_timeout: Duration,
        deaths_max: u32,
        commits: bool,
    ) -> Context {
        let gate = Mutex::new(Gate::new(deaths_max));
        Context { intake, revoke_timeout, commits, books: Mutex::default(), gate }
    }

    fn gate(&self) -> MutexGuard<'_, Gate<Claim>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books a received message, and lets its claim wait until it may begin.
    pub(super) fn receive(&self, position: Position, message: Arc<Message>) -> Result<(), Refused> {
        let claim = self.intake.receive(position.clone(), message)?;
        self.gate().receive(&position.partition, position.offset, claim);
        Ok(())
    }

    /// A partition begins from nothing, in this assignment.
    pub(super) fn assign_anew(&self, partition: &Partition) {
        self.part(std::slice::from_ref(partition));
        self.intake.assign(partition.clone());
        self.books().confirmed.remove(partition);
        self.gate().open(partition.clone(), Watch::default());
    }

    /// Partitions are going: what waits is dropped, and what is said of them is said for the last time.
    pub(super) fn part(&self, partitions: &[Partition]) {
        let mut gate = self.gate();
        for partition in partitions {
            if let Some(watch) = gate.forget(partition) {
                self.intake.say(std::iter::once((partition, &watch)));
            }
        }
    }

    /// The claims that may begin now. What must be said before others may is asked of the broker at once.
    pub(super) fn begin<C: Consumer<Context>>(&self, consumer: &C) -> Vec<Claim> {
        let mut gate = self.gate();
        let begun = gate.step(self, Instant::now());
        self.intake.say(gate.watches());
        let waits = gate.waiting() > 0;
        drop(gate);
        if waits {
            self.commit(consumer);
        }
        let claims = begun.into_iter();
        claims.map(|Begin { claim, condemned }| Claim { condemned, ..claim }).collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the consumer cannot go on, once.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.books().failure.take()
    }

    /// Asks the broker to commit what became committable, or finished behind that, since it was asked last.
    pub(super) fn commit<C: Consumer<Context>>(&self, consumer: &C) {
        // One at a time: of two on their way the older could arrive last.
        let mut books = self.books();
        if books.asked.is_some_and(|asked| asked.elapsed() < ANSWER_TIMEOUT) {
            return;
        }
        if books.asked.take().is_some() {
            let Books { requested, confirmed, .. } = &mut *books;
            requested.retain(|partition, checkpoint| confirmed.get(partition) == Some(checkpoint));
            telemetry::commit_failed(&KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut));
        }
        drop(books);
        self.commit_these(consumer, self.intake.checkpoints());
    }

    fn commit_these<C: Consumer<Context>>(&self, consumer: &C, checkpoints: Vec<(Partition, Checkpoint)>) {
        if !self.commits {
            self.intake.urge();
            return;
        }
        let mut books = self.books();
        let mut list = TopicPartitionList::new();
        for (partition, checkpoint) in checkpoints {
            let checkpoint = books.allowed(checkpoint);
            if books.requested.get(&partition) == Some(&checkpoint) {
                continue;
            }
            if add(&mut list, &partition, Some(&checkpoint)).is_ok() {
                books.requested.insert(partition, checkpoint);
            }
        }
        if list.count() == 0 {
            return;
        }
        books.asked = Some(Instant::now());
        drop(books);
        if let Err(error) = commit_async(consumer, &list) {
            // No answer will come.
            self.books().asked = None;
            self.forget_requests(&list);
            telemetry::commit_failed(&error);
        }
    }

    /// Whether everything committable is confirmed.
    pub(super) fn is_committed(&self) -> bool {
        if !self.commits {
            return self.intake.is_told();
        }
        let checkpoints = self.intake.checkpoints();
        let books = self.books();
        checkpoints.into_iter().all(|(partition, checkpoint)| {
            books.confirmed.get(&partition) == Some(&books.allowed(checkpoint))
        })
    }

    /// A commit that failed is asked for again.
    fn forget_requests(&self, list: &TopicPartitionList) {
        let mut books = self.books();
        for partition in partitions(list) {
            books.requested.remove(&partition);
        }
    }

    /// Brings the consumer's pauses in line with the bounds.
    pub(super) fn pause_and_resume<C: Consumer<Context>>(&self, consumer: &C) {
        let wanted = self.intake.paused();
        let mut books = self.books();
        if books.paused == wanted {
            return;
        }
        let stop = list_of(wanted.difference(&books.paused));
        let go = list_of(books.paused.difference(&wanted));
        books.paused = wanted;
        drop(books);
        for (list, result) in [(&stop, consumer.pause(&stop)), (&go, consumer.resume(&go))] {
            if let (true, Err(error)) = (list.count() > 0, result) {
                // A partition that just went away; the next assignment applies the state anew.
                telemetry::pause_failed(&error);
            }
        }
    }

    fn assign(&self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
        let assigned: Vec<Partition> = partitions(list).collect();
        for partition in &assigned {
            self.intake.assign(partition.clone());
        }
        {
            let mut books = self.books();
            for partition in &assigned {
                books.requested.remove(partition);
                books.confirmed.remove(partition);
                books.paused.remove(partition);
            }
        }
        let list = &restore(consumer, &self.intake, list).unwrap_or_else(|failure| {
            self.books().failure = Some(failure);
            // Wakes the loop, and lets nothing be received before it looks.
            self.intake.close();
            list.clone()
        });
        for partition in &assigned {
            let before = self.intake.watch(partition).unwrap_or_default();
            self.gate().open(partition.clone(), before);
        }
        self.intake.say(self.gate().watches());
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list)?,
            _ => consumer.assign(list)?,
        }
        telemetry::partitions_assigned(&assigned);
        if !assigned.is_empty() {
            // A pause outlives the assignment that it was made for: start from none.
            consumer.resume(&list_of(&assigned))?;
        }
        self.pause_and_resume(consumer);
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
        let revoked: Vec<Partition> = partitions(list).collect();
        let lost = consumer.assignment_lost();
        // Before the wait: what has not begun does not, and nobody should wait for it.
        self.part(&revoked);
        if !lost {
            // At the end of the intake the last commit was waited for.
            let told = !self.commits && !self.intake.is_closed();
            let checkpoints = self.intake.leave(&revoked, self.revoke_timeout, told);
            self.commit_these(consumer, checkpoints);
        }
        // Also what was lost without asking.
        self.intake.lose(&revoked);
        {
            let mut books = self.books();
            for partition in &revoked {
                books.paused.remove(partition);
            }
        }
        telemetry::partitions_revoked(&revoked, lost);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        }
    }
}

impl World for Context {
    fn live(&self) -> usize {
        self.intake.live()
    }

    fn is_unfinished(&self, partition: &Partition, offset: Offset) -> bool {
        self.intake.is_unfinished(partition, offset)
    }

    fn said(&self, partition: &Partition) -> Option<Watch> {
        let books = self.books();
        if !self.commits {
            return self.intake.told(partition);
        }
        if books.without_metadata {
            // Nothing can be said: as if it were.
            return self.intake.watch(partition);
        }
        books.confirmed.get(partition)?.watch()
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        telemetry::client_log(facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        for (topic, of_topic) in statistics.topics {
            for (id, known) in of_topic.partitions {
                let is_known = known.fetch_state == "active" && known.ls_offset >= 0;
                let reach = is_known.then_some(Reach {
                    fetched: NextOffset(known.next_offset),
                    end: NextOffset(known.ls_offset),
                });
                self.intake.see_reach(&Partition { topic: topic.as_str().into(), id }, reach);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The same error comes through the poll.
        telemetry::client_log(&error.to_string(), reason);
    }
}

impl ConsumerContext for Context {
    /// Replaces the default, which ignores the errors of (un)assign.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            error => {
                let all: Vec<Partition> = self.intake.assigned();
                self.part(&all);
                self.intake.lose(&all);
                consumer.unassign().and(Err(KafkaError::Rebalance(error.into())))
            }
        };
        if let Err(error) = done {
            telemetry::rebalance_failed(&error);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        self.books().asked = None;
        if let Err(error) = result {
            // NoOffset: there was nothing to commit.
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset) {
                telemetry::commit_failed(&error);
            }
            self.forget_requests(offsets);
            return;
        }
        let mut refused = TopicPartitionList::new();
        {
            let mut books = self.books();
            for element in &offsets.elements() {
                let partition = partition_of(element);
                match (element.error(), element.offset()) {
                    (Ok(()), rdkafka::Offset::Offset(next)) => {
                        let metadata = element.metadata().to_owned();
                        let checkpoint = Checkpoint { next: NextOffset(next), metadata };
                        self.intake.see_committed(&partition, checkpoint.next);
                        // librdkafka may send a refused commit again after a newer one: then the newer one is
                        // asked for again.
                        if books.requested.get(&partition) != Some(&checkpoint) {
                            books.requested.remove(&partition);
                        }
                        books.confirmed.insert(partition, checkpoint);
                    }
                    (Err(error), _) => {
                        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OffsetMetadataTooLarge) {
                            books.without_metadata = true;
                        }
                        telemetry::commit_failed(&error);
                        let _ = add(&mut refused, &partition, None);
                    }
                    _ => {}
                }
            }
        }
        self.forget_requests(&refused);
        // Something may wait for it.
        self.intake.notify();
    }
}

pub(super) fn partition_of(element: &TopicPartitionListElem<'_>) -> Partition {
    Partition { topic: element.topic().into(), id: element.partition() }
}

fn partitions(list: &TopicPartitionList) -> impl Iterator<Item = Partition> {
    list.elements().iter().map(partition_of).collect::<Vec<_>>().into_iter()
}

fn list_of<'a>(partitions: impl IntoIterator<Item = &'a Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.id);
    }
    list
}

/// Adds a partition with what is to be committed for it.
pub(crate) fn add(
    list: &mut TopicPartitionList,
    partition: &Partition,
    checkpoint: Option<&Checkpoint>,
) -> KafkaResult<()> {
    let mut element = list.add_partition(&partition.topic, partition.id);
    if let Some(Checkpoint { next, metadata }) = checkpoint {
        element.set_offset(rdkafka::Offset::Offset(next.0))?;
        if !metadata.is_empty() {
            element.set_metadata(metadata);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
