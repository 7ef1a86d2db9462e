//! A source without a broker: a list of messages, spread over partitions. For library users, the tests and
//! the benches; a real source, with the same books and bounds as Kafka's.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::message::Message;
use crate::source::{Bounds, Intake, Source};
use crate::task::{Offset, Partition, Position};

/// Opens a source over `messages`. Message `i` lies in partition `i % partitions`, at the next offset there.
/// The source is dry, and its intake closed, after the last one.
pub fn open(messages: Vec<Bytes>, partitions: usize, bounds: Bounds) -> Source {
    let intake = Intake::new(bounds);
    let topic: Arc<str> = "memory".into();
    let partitions: Vec<Partition> =
        (0..partitions.max(1)).map(|id| Partition { topic: topic.clone(), id: id as i32 }).collect();
    for partition in &partitions {
        intake.assign(partition.clone());
    }
    let (claims_tx, claims) = mpsc::channel(bounds.tasks_max);
    let (ended_tx, ended) = oneshot::channel();
    tokio::spawn(deliver(messages, partitions, Arc::clone(&intake), claims_tx, ended_tx));
    Source { claims, intake, ended }
}

async fn deliver(
    messages: Vec<Bytes>,
    partitions: Vec<Partition>,
    intake: Arc<Intake>,
    claims: mpsc::Sender<crate::source::Claim>,
    ended: oneshot::Sender<Result<(), crate::failure::Failure>>,
) {
    let mut changes = intake.changes();
    for (index, payload) in messages.into_iter().enumerate() {
        let partition = partitions[index % partitions.len()].clone();
        while intake.paused().contains(&partition) && !intake.is_closed() {
            if changes.changed().await.is_err() {
                return;
            }
        }
        if intake.is_closed() {
            break;
        }
        let offset = Offset((index / partitions.len()) as i64);
        let Ok(claim) = intake.receive(Position { partition, offset }, Arc::new(Message::of(payload))) else {
            break;
        };
        if claims.send(claim).await.is_err() {
            break;
        }
    }
    drop(claims);
    intake.close();
    intake.drained().await;
    let _ = ended.send(Ok(()));
}
