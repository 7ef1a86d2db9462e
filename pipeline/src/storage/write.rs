//! One write: in parts when it is large, ended or aborted, and looked at when it is done.

use bytes::Bytes;
use opendal::{ErrorKind, Writer};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Kind, Stage};
use crate::storage::{Bucket, CHUNK_BYTES};

impl Bucket {
    /// Stores an object, unless its caller has left before that is done.
    pub(super) async fn write(
        &self,
        key: &str,
        bytes: Bytes,
        left: CancellationToken,
    ) -> Result<(), Failure> {
        let length = bytes.len() as u64;
        let explain = |error| self.explain(Stage::Upload, "write", key, error);
        let opened = self.operator.writer_with(key).chunk(CHUNK_BYTES).content_type("application/json").await;
        let mut writer = match opened {
            Ok(writer) => writer,
            Err(error) => return Err(explain(error).await),
        };
        let mut rest = bytes;
        while !rest.is_empty() && !left.is_cancelled() {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            if let Err(error) = writer.write(chunk).await {
                abort(&mut writer).await;
                return Err(explain(error).await);
            }
        }
        if left.is_cancelled() {
            abort(&mut writer).await;
            return Err(Failure::new(Stage::Upload, Kind::Cancelled, "the upload was given up"));
        }
        let etag = match writer.close().await {
            Ok(metadata) => metadata.etag().map(str::to_owned),
            // A multipart upload that is gone may have completed, and only the answer was lost: look.
            Err(error) if error.kind() == ErrorKind::NotFound && length > CHUNK_BYTES as u64 => {
                self.stat(key, Stage::Upload).await?.etag
            }
            Err(error) => {
                abort(&mut writer).await;
                return Err(explain(error).await);
            }
        };
        self.verify(key, length, etag).await
    }

    /// The storage must show what was sent.
    async fn verify(&self, key: &str, length: u64, etag: Option<String>) -> Result<(), Failure> {
        let name = &self.name;
        if self.has_etags && etag.is_none_or(|etag| etag.is_empty()) {
            let context = format!("the storage confirmed {name}/{key} without an etag");
            return Err(Failure::new(Stage::Upload, Kind::UploadUnverified, context));
        }
        let stored = self.stat(key, Stage::Upload).await?;
        if stored.size == length {
            return Ok(());
        }
        let context = format!("{name}/{key}: sent {length} bytes, the storage shows {}", stored.size);
        Err(Failure::new(Stage::Upload, Kind::UploadUnverified, context))
    }
}

/// Forgets what was begun. An answer that says neither yes nor no is asked for once more: what stays is paid for.
async fn abort(writer: &mut Writer) {
    if writer.abort().await.is_err() {
        let _ = writer.abort().await;
    }
}
