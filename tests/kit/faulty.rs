//! A stage that fails as planned, around the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::failure::{Failure, Kind, Stage};
use pipeline::path::{Job, Work};

/// What happens instead of the work.
#[derive(Clone)]
pub enum Fault {
    /// It fails in this way.
    Error(Kind),
    /// It never ends.
    Hang,
    /// It panics.
    Panic,
    /// Something happens to the worker, and then the work never ends.
    Meanwhile(Arc<dyn Fn() + Send + Sync>),
}

/// A stage with a fault for the tasks whose key contains `key`, the first `times` times.
pub struct Faulty<W: ?Sized> {
    stage: Stage,
    key: &'static str,
    fault: Fault,
    left: AtomicU32,
    work: Arc<W>,
}

impl<W: ?Sized> Faulty<W> {
    /// Puts a fault around `work`.
    pub fn around(work: Arc<W>, stage: Stage, key: &'static str, times: u32, fault: Fault) -> Arc<Faulty<W>> {
        Arc::new(Faulty { stage, key, fault, left: AtomicU32::new(times), work })
    }

    fn strikes(&self, job: &Job) -> bool {
        let left = |left: u32| left.checked_sub(1);
        job.source.key.contains(self.key)
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok()
    }
}

impl<In, Out, W> Work<In, Out> for Faulty<W>
where
    In: Send + 'static,
    Out: Send + 'static,
    W: Work<In, Out> + ?Sized,
{
    fn begin(&self, job: Arc<Job>, input: In) -> BoxFuture<'static, Result<Out, Failure>> {
        if !self.strikes(&job) {
            return self.work.begin(job, input);
        }
        let (stage, fault) = (self.stage, self.fault.clone());
        async move {
            // Held, as the real work would.
            let _input = input;
            match fault {
                Fault::Error(kind) => return Err(Failure::new(stage, kind, "planned")),
                Fault::Panic => panic!("planned"),
                Fault::Hang => {}
                Fault::Meanwhile(happens) => happens(),
            }
            std::future::pending().await
        }
        .boxed()
    }
}
