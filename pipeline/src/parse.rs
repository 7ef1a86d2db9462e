//! Parse: an object's bytes become its summary, on the CPU pool.
//!
//! Promises:
//!
//! - CPU work goes through one door, [`CpuPool::run`]: it skips work whose caller left and turns a panic into
//!   a failure;
//! - a thread of the pool is taken only while there are bytes to work on, never to wait for the network;
//! - the summary depends on the bytes alone, not on how they were cut;
//! - a decoder that needs the end of the object first gets it first.
//!
//! Never: I/O, or a format of its own: those are in [`parsers`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parsers::{Decode, ErrorKind, Limits, Summary};
use tokio::sync::oneshot;

use crate::budget::Share;
use crate::download::Object;
use crate::failure::{Failure, Kind, Stage};
use crate::path::{Job, Work, panic_text};
use crate::storage::Meta;

/// Chooses the decoder of an object by its key.
pub type Choose = dyn Fn(&str) -> Result<Box<dyn Decode>, parsers::Error> + Send + Sync;

/// A summary, and what it was made of.
#[derive(Debug)]
pub struct Parsed {
    /// The summary.
    pub summary: Summary,
    /// The object's size and version.
    pub meta: Meta,
    /// Held until the summary is stored.
    pub share: Share,
}

/// The stage.
#[derive(Clone)]
pub struct Parse {
    pool: Arc<CpuPool>,
    choose: Arc<Choose>,
}

impl Parse {
    /// Parses on `pool` with the decoders of the [`parsers`] crate.
    pub fn new(pool: Arc<CpuPool>, limits: Limits) -> Parse {
        Parse::with(pool, move |key| Ok(parsers::decoder(key, &limits.for_name(key))))
    }

    /// Parses on `pool` with decoders of your own.
    pub fn with<F>(pool: Arc<CpuPool>, choose: F) -> Parse
    where
        F: Fn(&str) -> Result<Box<dyn Decode>, parsers::Error> + Send + Sync + 'static,
    {
        Parse { pool, choose: Arc::new(choose) }
    }

    async fn summarize(self, job: Arc<Job>, mut object: Object) -> Result<Parsed, Failure> {
        let key = job.source.key.as_str();
        let size = object.meta.size;
        let mut decoder = (self.choose)(key).map_err(|error| rejected(key, error))?;
        while let Some(piece) = object.pieces.recv().await {
            // What is already here goes to the pool in one hop.
            let mut here = vec![piece?];
            while let Ok(piece) = object.pieces.try_recv() {
                here.push(piece?);
            }
            let fed = self.pool.run(move || feed(decoder, here, size)).await?;
            let jump;
            (decoder, jump) = fed.map_err(|error| rejected(key, error))?;
            if let Some(place) = jump {
                object.jump(place);
            }
        }
        let Object { meta, share, .. } = object;
        let summary = self.pool.run(move || decoder.finish()).await?.map_err(|error| rejected(key, error))?;
        Ok(Parsed { summary, meta, share })
    }
}

impl Work<Object, Parsed> for Parse {
    fn begin(&self, job: Arc<Job>, object: Object) -> BoxFuture<'static, Result<Parsed, Failure>> {
        self.clone().summarize(job, object).boxed()
    }
}

/// Feeds the pieces, as far as the decoder wants them: it may want to go on somewhere else.
fn feed(
    mut decoder: Box<dyn Decode>,
    pieces: Vec<Bytes>,
    size: u64,
) -> Result<(Box<dyn Decode>, Option<u64>), parsers::Error> {
    for piece in pieces {
        decoder.feed(&piece)?;
        if let Some(place) = decoder.jump(size) {
            return Ok((decoder, Some(place)));
        }
    }
    Ok((decoder, None))
}

/// The parsers' errors as failures of the task.
fn rejected(key: &str, error: parsers::Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Unsupported => Kind::UnsupportedFormat,
        ErrorKind::Corrupt => Kind::CorruptFile,
        ErrorKind::Limit => Kind::LimitExceeded,
        _ => Kind::MalformedFile,
    };
    Failure::new(Stage::Parse, kind, format!("could not summarise {key}")).because(error)
}

/// The threads that parse, apart from those that wait for network and broker.
#[derive(Debug)]
pub struct CpuPool {
    threads: rayon::ThreadPool,
}

impl CpuPool {
    /// Starts `size` threads.
    ///
    /// # Errors
    /// When the system grants no threads.
    pub fn new(size: usize) -> Result<Arc<CpuPool>, Failure> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(size)
            .thread_name(|index| format!("parse-{index}"))
            .build()
            .map_err(|error| {
                Failure::new(
                    Stage::Parse,
                    Kind::Misconfigured,
                    format!("could not start {size} parser threads"),
                )
                .because(error)
            })?;
        Ok(Arc::new(CpuPool { threads }))
    }

    /// Runs `work` on the pool. Dropping the future before the work began means that it never begins.
    ///
    /// # Errors
    /// [`Kind::Panicked`] when the work panicked; the pool lives on.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.threads.spawn(move || {
            if sender.is_closed() {
                return;
            }
            // Whatever the panic left behind is owned by the closure and dropped with it.
            let outcome = catch_unwind(AssertUnwindSafe(work));
            let _ = sender.send(outcome);
        });
        match receiver.await {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(panic)) => {
                let context = format!("the parser panicked: {}", panic_text(panic));
                Err(Failure::new(Stage::Parse, Kind::Panicked, context))
            }
            Err(_) => Err(Failure::new(Stage::Parse, Kind::Cancelled, "the pool is gone")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_panic_is_a_failure_and_the_pool_survives() {
        let pool = CpuPool::new(1).unwrap();
        let failure = pool.run(|| -> u32 { panic!("boom") }).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Panicked);
        assert!(failure.to_string().contains("boom"));
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_whose_caller_left_is_skipped() {
        let pool = CpuPool::new(1).unwrap();
        let (release, blocked) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(move || blocked.recv().is_ok()).await }
        });
        let (ran, has_run) = mpsc::channel::<()>();
        let mut abandoned = Box::pin(pool.run(move || ran.send(())));
        assert!(abandoned.as_mut().now_or_never().is_none());
        drop(abandoned);
        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        // The pool has one thread: when this ran, the abandoned work was passed over.
        pool.run(|| ()).await.unwrap();
        assert!(has_run.recv().is_err());
    }
}
