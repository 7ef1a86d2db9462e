//! Upload: the summary becomes an object at the task's destination.
//!
//! Promises: the same object gives the same key and the same bytes, so a repeat overwrites itself; the upload
//! is done when the storage shows an object of the right length.
//!
//! Never: a clock, an attempt or an offset in the artefact.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parsers::Summary;
use serde::Serialize;

use crate::failure::{Failure, Kind, Stage};
use crate::parse::Parsed;
use crate::path::{Job, Success, Work};
use crate::storage::{Meta, Storage};

/// The summary as it is stored: with the object that it describes.
#[derive(Serialize)]
struct Artefact<'a> {
    source: Source<'a>,
    #[serde(flatten)]
    summary: &'a Summary,
}

#[derive(Serialize)]
struct Source<'a> {
    bucket: &'a str,
    key: &'a str,
    size: u64,
    etag: Option<&'a str>,
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Upload {
    storage: Arc<Storage>,
}

impl Upload {
    /// Writes to `storage`.
    pub fn new(storage: Arc<Storage>) -> Upload {
        Upload { storage }
    }

    async fn store(self, job: Arc<Job>, parsed: Parsed) -> Result<Success, Failure> {
        let Parsed { summary, meta, share } = parsed;
        let bytes = artefact(&job, &meta, &summary)?;
        let success = Success {
            input_size: meta.size,
            output_size: bytes.len() as u64,
            rows: summary.total_rows,
            columns: summary.columns.len() as u64,
        };
        drop(summary);
        let bucket = self.storage.bucket(&job.destination.bucket, Stage::Upload)?;
        bucket.put(&job.destination.key, bytes).await?;
        drop(share);
        Ok(success)
    }
}

impl Work<Parsed, Success> for Upload {
    fn begin(&self, job: Arc<Job>, parsed: Parsed) -> BoxFuture<'static, Result<Success, Failure>> {
        self.clone().store(job, parsed).boxed()
    }
}

/// The artefact's bytes: indented and not escaped, as the guide's script writes them.
fn artefact(job: &Job, meta: &Meta, summary: &Summary) -> Result<Bytes, Failure> {
    let source = Source {
        bucket: &job.source.bucket,
        key: &job.source.key,
        size: meta.size,
        etag: meta.etag.as_deref(),
    };
    serde_json::to_vec_pretty(&Artefact { source, summary }).map(Bytes::from).map_err(|error| {
        Failure::new(Stage::Upload, Kind::Panicked, "could not write the summary as JSON").because(error)
    })
}
