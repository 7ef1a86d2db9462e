//! Storage: buckets in OBS, S3, a folder or memory. The only module that knows opendal.
//!
//! Promises:
//!
//! - a key names exactly the object it says, or is refused ([`location`]);
//! - a read is pinned to the version that [`Bucket::stat`] saw, where the backend has versions;
//! - a write is done only when the storage shows an object of that length; one that fails is aborted, also when
//!   its caller went away, as long as this process lives;
//! - throttling, timeouts and lost connections are retried here; what is left is classified by one table.
//!
//! Layers, from the inside: timeout, then retry. The other way round a retry would sit inside one timeout.
//! No concurrency layer: it holds its permit as long as a stream is open, and the path bounds that already.
//!
//! Never: a place on this machine that only a message names ([`Storage::bucket`]).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::services::{Fs, Memory, S3};
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::failure::{Failure, Kind, Stage};

mod answer;
mod credentials;
mod list;
pub mod location;
mod obs;
mod probe;
mod write;

use answer::Answer;
use credentials::Credentials;
pub use list::Listed;
use location::{Endpoint, Location, check_key, locate};
use probe::{PROBE_TIMEOUT, Probe};

/// For one metadata request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For one piece read or written: [`CHUNK_BYTES`] at 150 kB/s.
const IO_TIMEOUT: Duration = Duration::from_secs(60);
/// Tries of one request after the first; with the delays below about ten seconds of patience. Longer outages
/// are the worker's own retries' business, which hold no connection meanwhile.
const RETRIES_MAX: usize = 6;
/// The pause before the first retry; doubled for each further one.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
/// The longest pause between retries.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// Objects up to this size are written with one request, larger ones in parts of it.
const CHUNK_BYTES: usize = 8 << 20;
/// Buckets kept open. Tasks name buckets, so their number is not ours to choose.
const BUCKETS_MAX: usize = 1024;

/// The buckets a worker can reach.
#[derive(Debug)]
pub struct Storage {
    settings: config::Storage,
    credentials: Arc<Credentials>,
    client: reqwest::Client,
    buckets: Mutex<HashMap<String, Bucket>>,
}

/// One bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    name: Arc<str>,
    operator: Operator,
    /// Where opendal's own listing does not do.
    lister: Option<list::Obs>,
    /// The same without retries, for the probe.
    probing: Operator,
    credentials: Arc<Credentials>,
    /// Whether an object without an etag is one that was not stored.
    has_etags: bool,
    /// Whether the configuration names the bucket as source, as destination.
    is_source: bool,
    is_dest: bool,
}

/// What is known of an object before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes.
    pub size: u64,
    /// The version, where the backend has one.
    pub etag: Option<String>,
}

/// Objects as they are listed.
pub type Listing = BoxStream<'static, Result<Listed, Failure>>;

impl Storage {
    /// The storage that the configuration describes. Connects to nothing.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when the configured buckets are no places, or TLS cannot be set up.
    pub fn new(settings: &config::Storage) -> Result<Arc<Storage>, Failure> {
        let client = obs::client(settings.resolve).map_err(|error| {
            Failure::new(Stage::Download, Kind::Misconfigured, "could not set up the HTTP client")
                .because(error)
        })?;
        let storage = Storage {
            credentials: Arc::new(Credentials::new(settings)),
            settings: settings.clone(),
            client,
            buckets: Mutex::default(),
        };
        for bucket in [&settings.source_bucket, &settings.dest_bucket].into_iter().flatten() {
            storage
                .bucket(bucket, Stage::Download)
                .map_err(|failure| Failure { kind: Kind::Misconfigured, ..failure })?;
        }
        Ok(Arc::new(storage))
    }

    /// Makes sure that the configured buckets are there and know us, before a task fails because of them.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when a bucket or the credentials are missing, [`Kind::PermissionDenied`] when they are
    /// wrong. A storage that does not answer is no error: tasks wait for it.
    pub async fn check(&self) -> Result<(), Failure> {
        let config::Storage { server, source_bucket, dest_bucket, .. } = &self.settings;
        if !server.is_empty() && !server.starts_with("file:") && !server.starts_with("memory:") {
            self.credentials.current()?;
        }
        for name in [source_bucket, dest_bucket].into_iter().flatten() {
            self.bucket(name, Stage::Claim)?.demand().await?;
        }
        Ok(())
    }

    /// The bucket that `name` means.
    ///
    /// # Errors
    /// [`Kind::ForbiddenLocation`] when the name cannot be used, [`Kind::Misconfigured`] when the server or its
    /// credentials are missing.
    pub fn bucket(&self, name: &str, stage: Stage) -> Result<Bucket, Failure> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return Ok(bucket.clone());
        }
        let opened = locate(name, &self.settings.server, stage).and_then(|location| {
            self.permit(name, &location, stage)?;
            self.open(name, location, stage)
        });
        let bucket = match opened {
            // The task's choice, and no reason to stop.
            Err(failure) if failure.kind == Kind::Misconfigured && !self.is_configured(name) => {
                return Err(Failure { kind: Kind::ForbiddenLocation, ..failure });
            }
            opened => opened?,
        };
        if buckets.len() < BUCKETS_MAX {
            buckets.insert(name.to_owned(), bucket.clone());
        }
        Ok(bucket)
    }

    /// A message may choose a bucket, but not a place on this machine: folders and memory only where the
    /// configuration itself points there.
    fn permit(&self, name: &str, location: &Location, stage: Stage) -> Result<(), Failure> {
        let plain = !name.contains("://");
        match location {
            Location::Folder(_) | Location::Memory(_) if !plain && !self.is_configured(name) => {
                let context = format!(
                    "{name} lies on this machine, and only OBS_SOURCE_BUCKET and OBS_DEST_BUCKET may name such a place"
                );
                Err(Failure::new(stage, Kind::ForbiddenLocation, context))
            }
            _ => Ok(()),
        }
    }

    fn is_configured(&self, name: &str) -> bool {
        [&self.settings.source_bucket, &self.settings.dest_bucket]
            .into_iter()
            .flatten()
            .any(|own| own == name)
    }

    fn open(&self, name: &str, location: Location, stage: Stage) -> Result<Bucket, Failure> {
        let named = |bucket: &Option<String>| bucket.as_deref() == Some(name);
        let (is_source, is_dest) = (named(&self.settings.source_bucket), named(&self.settings.dest_bucket));
        let has_etags = matches!(location, Location::Obs { .. } | Location::S3 { .. });
        let mut lister = None;
        let operator = match location {
            Location::Obs { endpoint, bucket, prefix } => {
                self.credentials.current().map_err(|failure| Failure { stage, ..failure })?;
                let transport = self.obs_transport(&endpoint, &bucket);
                lister = Some(list::Obs::new(transport.clone(), &prefix));
                obs::open(transport, &endpoint, &bucket, &prefix)
            }
            Location::S3 { bucket, prefix } => self.open_s3(&bucket, &prefix),
            Location::Folder(path) => {
                // opendal would make the folder; a misspelt source must not become an empty one.
                if !is_dest && !Path::new(&path).is_dir() {
                    let context = format!("the folder {path} does not exist");
                    return Err(Failure::new(stage, Kind::NotFound, context));
                }
                let mut backend = Fs::default().root(&path);
                if !is_source {
                    // Written beside and renamed: a crash leaves no half summary under its final name.
                    backend = backend
                        .atomic_write_dir(&format!("{}/.pipeline-uploads", path.trim_end_matches('/')));
                }
                Operator::new(backend)
            }
            Location::Memory(_) => Operator::new(Memory::default()),
        };
        let operator = operator.map_err(|error| {
            Failure::new(stage, Kind::Misconfigured, format!("could not open the bucket {name}"))
                .because(error)
        })?;
        let retries = RetryLayer::new()
            .with_jitter()
            .with_min_delay(RETRY_DELAY_MIN)
            .with_max_delay(RETRY_DELAY_MAX)
            .with_max_times(RETRIES_MAX);
        let timeouts = TimeoutLayer::new().with_timeout(REQUEST_TIMEOUT).with_io_timeout(IO_TIMEOUT);
        let probes = TimeoutLayer::new().with_timeout(PROBE_TIMEOUT).with_io_timeout(PROBE_TIMEOUT);
        Ok(Bucket {
            name: name.into(),
            lister,
            probing: operator.clone().layer(probes),
            operator: operator.layer(timeouts).layer(retries),
            credentials: Arc::clone(&self.credentials),
            has_etags,
            is_source,
            is_dest,
        })
    }

    fn obs_transport(&self, endpoint: &Endpoint, bucket: &str) -> HttpTransporter {
        let resolved = self.settings.resolve.is_some();
        let credentials = Arc::clone(&self.credentials);
        HttpTransporter::new(obs::Transport::new(
            self.client.clone(),
            credentials,
            endpoint,
            bucket,
            resolved,
        ))
    }

    fn open_s3(&self, bucket: &str, prefix: &str) -> opendal::Result<Operator> {
        let transport = HttpTransporter::new(ReqwestTransport::new(self.client.clone()));
        let config::S3 { endpoint, region, access_key, secret_key, session_token } = &self.settings.s3;
        let mut backend = S3::default().bucket(bucket).root(prefix).region(region);
        if let Some(endpoint) = endpoint {
            backend = backend.endpoint(endpoint);
        }
        // Without a pair of keys opendal looks where Amazon's own tools look.
        if let Some((access, secret)) = access_key.as_ref().zip(secret_key.as_ref()) {
            backend = backend.access_key_id(access).secret_access_key(secret.reveal()).disable_config_load();
        }
        if let Some(token) = session_token {
            backend = backend.session_token(token.reveal());
        }
        Ok(Operator::new(backend)?.with_context(OperationContext::new().with_http_transport(transport)))
    }
}

impl Bucket {
    /// Size and version of an object.
    ///
    /// # Errors
    /// As the probe and the one table classify them; [`Kind::UnaddressableKey`] for a key that cannot be used.
    pub async fn stat(&self, key: &str, stage: Stage) -> Result<Meta, Failure> {
        check_key(key, stage)?;
        let metadata = match self.operator.stat(key).await {
            Ok(metadata) => metadata,
            Err(error) => return Err(self.explain(stage, "find", key, error).await),
        };
        let etag = metadata.etag().filter(|etag| !etag.is_empty()).map(str::to_owned);
        Ok(Meta { size: metadata.content_length(), etag })
    }

    /// Every object whose key begins with `prefix`, as the listing arrives. Folders are no objects.
    ///
    /// # Errors
    /// When the listing cannot begin; later errors come in the stream.
    pub async fn list(&self, prefix: &str) -> Result<Listing, Failure> {
        let failure = |error| self.failure(Stage::Claim, "list", prefix, error);
        let objects = match &self.lister {
            Some(lister) => lister.list(prefix).left_stream(),
            None => list::operator(&self.operator, prefix).await.map_err(failure)?.right_stream(),
        };
        let (bucket, prefix) = (self.clone(), prefix.to_owned());
        Ok(objects.map_err(move |error| bucket.failure(Stage::Claim, "list", &prefix, error)).boxed())
    }

    /// Refuses a bucket that is missing or does not know us. One that does not answer, or may not be listed, passes.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`], [`Kind::PermissionDenied`].
    pub async fn demand(&self) -> Result<(), Failure> {
        let (kind, reason) = match probe::probe(&self.probing).await {
            Probe::Missing => {
                (Kind::Misconfigured, "does not exist; check OBS_SOURCE_BUCKET and OBS_DEST_BUCKET")
            }
            Probe::BadCredentials => (
                Kind::PermissionDenied,
                "does not accept the credentials; check OBS_ACCESS_KEY, OBS_SECRET_KEY and this machine's clock",
            ),
            Probe::Answers | Probe::NoListing | Probe::Silent => return Ok(()),
        };
        Err(Failure::new(Stage::Claim, kind, format!("the bucket {} {reason}", self.name)))
    }

    /// The first key that a listing shows, if there is any.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn first_key(&self) -> Result<Option<String>, Failure> {
        Ok(self.list("").await?.try_next().await?.map(|object| object.key))
    }

    /// Deletes an object. One that is not there is no error.
    ///
    /// # Errors
    /// As the table classifies them.
    pub async fn delete(&self, key: &str) -> Result<(), Failure> {
        check_key(key, Stage::Upload)?;
        self.operator.delete(key).await.map_err(|error| self.failure(Stage::Upload, "delete", key, error))
    }

    /// The bytes of the version that `meta` describes, as they arrive, from one place before its end on.
    ///
    /// # Errors
    /// When the object cannot be opened. The stream's own errors come in the stream; a replaced object is
    /// [`Kind::ObjectChanged`].
    pub async fn read(
        &self,
        key: &str,
        meta: &Meta,
        from: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Send + Unpin + use<>, Failure> {
        if self.has_etags && meta.etag.is_none() {
            let context =
                format!("{}/{key} has no etag, so a read could not tell if it is replaced", self.name);
            return Err(Failure::new(Stage::Download, Kind::StorageUnavailable, context));
        }
        let mut reader = self.operator.reader_with(key).content_length_hint(meta.size);
        if let (Some(etag), true) = (&meta.etag, self.operator.info().capability().read_with_if_match) {
            reader = reader.if_match(etag);
        }
        let opened = async { reader.await?.into_bytes_stream(from..).await };
        let stream = opened.await.map_err(|error| self.failure(Stage::Download, "read", key, error))?;
        let (bucket, key) = (self.clone(), key.to_owned());
        Ok(stream.map(move |chunk| {
            chunk.map_err(|error| match error.downcast::<opendal::Error>() {
                Ok(error) => match bucket.failure(Stage::Download, "read", &key, error) {
                    // Refused in the middle, after the lookup was not: the next try tells why.
                    Failure { kind: Kind::PermissionDenied, stage, context, source } => {
                        Failure { kind: Kind::StorageUnavailable, stage, context, source }
                    }
                    failure => failure,
                },
                Err(error) => {
                    let context = format!("could not read {}/{key}", bucket.name);
                    Failure::new(Stage::Download, Kind::StorageUnavailable, context).because(error)
                }
            })
        }))
    }

    /// Stores an object and makes sure that it is there.
    ///
    /// The write goes on in a task of its own: when the caller leaves, it is ended and aborted properly instead of
    /// torn off in the middle.
    ///
    /// # Errors
    /// As the probe and the one table classify them; [`Kind::UploadUnverified`] when the storage shows something else.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Failure> {
        check_key(key, Stage::Upload)?;
        let left = CancellationToken::new();
        let _leaving = left.clone().drop_guard();
        let (bucket, key) = (self.clone(), key.to_owned());
        let writing = tokio::spawn(async move { bucket.write(&key, bytes, left).await });
        match writing.await {
            Ok(written) => written,
            Err(error) => {
                Err(Failure::new(Stage::Upload, Kind::Panicked, "the write panicked").because(error))
            }
        }
    }

    /// The storage's error as a failure, after a probe where the error alone does not tell what it is about.
    async fn explain(&self, stage: Stage, verb: &str, key: &str, error: opendal::Error) -> Failure {
        let failure = self.failure(stage, verb, key, error);
        let configured = if stage == Stage::Upload { self.is_dest } else { self.is_source };
        let kind = match failure.kind {
            // Refused with the credentials of before: not counted, and soon clear.
            Kind::PermissionDenied if self.has_etags && self.credentials.were_just_renewed() => {
                Kind::StorageDown
            }
            Kind::PermissionDenied => probe::refused(stage, configured, probe::probe(&self.probing).await),
            Kind::StorageUnavailable => {
                probe::unavailable(stage, configured, probe::probe(&self.probing).await)
            }
            kind => kind,
        };
        Failure { kind, ..failure }
    }

    /// The storage's errors as failures. After the retry layer only the kind tells them apart.
    fn failure(&self, stage: Stage, verb: &str, key: &str, error: opendal::Error) -> Failure {
        let (kind, advice) = match error.kind() {
            ErrorKind::NotFound if stage == Stage::Upload => (Kind::StorageUnavailable, ""),
            ErrorKind::NotFound => (Kind::NotFound, "; it does not exist"),
            ErrorKind::IsADirectory | ErrorKind::NotADirectory => (Kind::NotFound, "; it is no file"),
            ErrorKind::PermissionDenied => (
                Kind::PermissionDenied,
                "; check the credentials, the bucket's policy and the clock of this machine",
            ),
            ErrorKind::ConfigInvalid | ErrorKind::Unsupported => {
                (Kind::Misconfigured, "; check OBS_SERVER, OBS_ACCESS_KEY and OBS_SECRET_KEY")
            }
            ErrorKind::ConditionNotMatch => (Kind::ObjectChanged, "; it was replaced meanwhile"),
            // Of a folder. No task is to blame, and tries end nothing: as when the storage is away.
            _ if answer::is_disk_full(&error) => (Kind::StorageDown, "; its disk is full, make room"),
            _ => (Kind::StorageUnavailable, ""),
        };
        let context = format!("could not {verb} {}/{key}{advice}", self.name);
        Failure::new(stage, kind, context).because(Answer::of(&error))
    }
}
