//! Download: reads an admitted object as a stream pinned to the version that was admitted.
//!
//! Promises:
//!
//! - the bytes of one object all come from one version of it, or the read fails with
//!   [`Kind::ObjectChanged`];
//! - a jump reads on from another place of the same version;
//! - at most [`BUFFER_BYTES`] of an object are held here, whatever its size: a slow parser slows the network;
//! - the download counts as done when its buffer is full or its bytes are all here, so a small object is
//!   complete before a parser takes it.
//!
//! Never: an object whole in memory or on disk because it is big.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::admit::Admitted;
use crate::budget::Share;
use crate::failure::{Failure, Kind, Stage};
use crate::path::{Job, Work};
use crate::storage::{Bucket, Meta};

/// Bytes are handed on in pieces of about this size: large enough that a hop to the CPU pool costs nothing,
/// small enough to stay in the cache.
const PIECE_BYTES: usize = 512 << 10;
/// Pieces buffered between network and parser.
const PIECES_MAX: usize = 4;
/// What one open object may hold: its buffer, as much again in the parser's hands, and the pieces between them.
pub const BUFFER_BYTES: u64 = (PIECE_BYTES * (2 * PIECES_MAX + 2)) as u64;

/// An open object.
#[derive(Debug)]
pub struct Object {
    /// Size and version.
    pub meta: Meta,
    /// Its bytes, piece by piece.
    pub pieces: mpsc::Receiver<Result<Bytes, Failure>>,
    /// The memory it and its parser may use, until the object is dropped.
    pub share: Share,
    source: Source,
    _pump: AbortOnDropHandle<()>,
}

/// Where the bytes come from.
#[derive(Clone, Debug)]
struct Source {
    bucket: Bucket,
    key: String,
    meta: Meta,
}

impl Object {
    /// Goes on with the bytes from `place` on: of the same version, and whatever was on its way is given up.
    pub fn jump(&mut self, place: u64) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        self.pieces = pieces;
        self._pump = AbortOnDropHandle::new(tokio::spawn(pump(self.source.clone(), place, sender, None)));
    }
}

/// The stage.
#[derive(Clone, Copy, Debug)]
pub struct Download;

impl Work<Admitted, Object> for Download {
    fn begin(&self, job: Arc<Job>, admitted: Admitted) -> BoxFuture<'static, Result<Object, Failure>> {
        async move {
            let Admitted { bucket, meta, share } = admitted;
            open(Source { bucket, key: job.source.key.clone(), meta }, share).await
        }
        .boxed()
    }
}

/// Opens the stream and waits until its buffer is full or its end is here.
async fn open(source: Source, share: Share) -> Result<Object, Failure> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let (ready_tx, ready) = oneshot::channel();
    let pump = AbortOnDropHandle::new(tokio::spawn(pump(source.clone(), 0, sender, Some(ready_tx))));
    match ready.await {
        Ok(Ok(())) => Ok(Object { meta: source.meta.clone(), pieces, share, source, _pump: pump }),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::new(Stage::Download, Kind::Panicked, "the read died at its start")),
    }
}

/// Reads the object from `from` on into the channel. Failures before the buffer was full go through `ready`, where there
/// is one, later ones through the channel.
async fn pump(
    source: Source,
    from: u64,
    pieces: mpsc::Sender<Result<Bytes, Failure>>,
    mut ready: Option<oneshot::Sender<Result<(), Failure>>>,
) {
    let done = fill(&source, from, &pieces, &mut ready).await;
    match (done, ready) {
        (done, Some(ready)) => {
            let _ = ready.send(done);
        }
        (Err(failure), None) => {
            let _ = pieces.send(Err(failure)).await;
        }
        (Ok(()), None) => {}
    }
}

async fn fill(
    source: &Source,
    from: u64,
    pieces: &mpsc::Sender<Result<Bytes, Failure>>,
    ready: &mut Option<oneshot::Sender<Result<(), Failure>>>,
) -> Result<(), Failure> {
    let Source { bucket, key, meta } = source;
    if from > 0 && from >= meta.size {
        return Ok(());
    }
    let mut chunks = bucket.read(key, meta, from).await?;
    let mut piece: Vec<u8> = Vec::new();
    let mut read = from;
    loop {
        let chunk = chunks.next().await.transpose()?;
        let ended = chunk.is_none();
        let chunk = chunk.unwrap_or_default();
        read += chunk.len() as u64;
        piece.extend_from_slice(&chunk);
        if !piece.is_empty() && (ended || piece.len() >= PIECE_BYTES) {
            // Full, or nobody listens any more: either way nothing is gained by waiting at the start.
            if pieces.capacity() == 0
                && let Some(ready) = ready.take()
            {
                let _ = ready.send(Ok(()));
            }
            if pieces.send(Ok(Bytes::from(std::mem::take(&mut piece)))).await.is_err() {
                return Ok(());
            }
        }
        if ended {
            break;
        }
    }
    if read == meta.size {
        return Ok(());
    }
    let context = format!("{key}: read up to byte {read} of an object of {} bytes", meta.size);
    Err(Failure::new(Stage::Download, Kind::ObjectChanged, context))
}
