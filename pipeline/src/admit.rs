//! Admission: finds a task's object, and lets it in when there is memory for it.
//!
//! Promises: what a task may cost is known before its first byte is read, from the object's own size and not
//! from what the message says; a small object need not wait behind a huge one ([`crate::budget`]).
//!
//! Never: a deadline. Waiting for memory is no failure; the lookup has the storage's own timeouts.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use parsers::{Compression, Format, Limits};

use crate::budget::{Budget, Share};
use crate::download::BUFFER_BYTES;
use crate::failure::{Failure, Stage};
use crate::path::{Job, Work};
use crate::storage::{Bucket, Meta, Storage};

/// How much a parser may need for every byte of the object: in the worst file each byte is a column with tables of its
/// own. Above the decoder's own bound more input needs no more memory.
const EXPANSION: u64 = 256;

/// An object that may be downloaded.
#[derive(Debug)]
pub struct Admitted {
    /// Where it lies.
    pub bucket: Bucket,
    /// Size and version, as the download must find them.
    pub meta: Meta,
    /// The memory that buffer and parser may use.
    pub share: Share,
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Admit {
    storage: Arc<Storage>,
    budget: Arc<Budget>,
    limits: Limits,
}

impl Admit {
    /// Looks into `storage`, shares out `budget` to parsers with these limits.
    pub fn new(storage: Arc<Storage>, budget: Arc<Budget>, limits: Limits) -> Admit {
        Admit { storage, budget, limits }
    }

    /// The memory, in bytes, that an object will need: buffer and parser together.
    fn cost(&self, key: &str, size: u64) -> u64 {
        // What unfolds may be a thousand times as large: there the size says nothing.
        let packs = matches!(Format::from_name(key), Some(Format::Parquet | Format::Arrow));
        let unfolds = packs || Compression::from_name(key) != Compression::None;
        let most = self.limits.for_name(key).memory_bytes_max();
        let parser = if unfolds { most } else { size.saturating_mul(EXPANSION) };
        size.min(BUFFER_BYTES) + parser.min(most)
    }

    async fn admit(self, job: Arc<Job>) -> Result<Admitted, Failure> {
        let bucket = self.storage.bucket(&job.source.bucket, Stage::Download)?;
        let meta = bucket.stat(&job.source.key, Stage::Download).await?;
        let share = self.budget.take(self.cost(&job.source.key, meta.size)).await;
        Ok(Admitted { bucket, meta, share })
    }
}

impl Work<(), Admitted> for Admit {
    fn begin(&self, job: Arc<Job>, (): ()) -> BoxFuture<'static, Result<Admitted, Failure>> {
        self.clone().admit(job).boxed()
    }
}
