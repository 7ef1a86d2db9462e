//! Buckets, objects and open uploads, all in memory behind one lock.

use std::collections::BTreeMap;
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use jiff::Timestamp;

use super::answer::Refusal;
use super::content::{Content, hex, md5};
use super::list::Synthetic;
use super::wire::Head;

/// Headers of an upload that come back with every read, in lower case.
const KEPT_HEADERS: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

/// Everything a server keeps.
#[derive(Debug, Default)]
pub(super) struct Store {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    uploads_begun: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// By key, hence in the order of the keys' bytes.
    pub objects: BTreeMap<String, Stored>,
    /// By upload id.
    pub uploads: BTreeMap<String, Upload>,
    pub synthetic: Option<Synthetic>,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub content: Content,
    /// With its quotes.
    pub etag: String,
    pub attributes: Attributes,
    pub modified: Timestamp,
}

/// What a client says about an object besides its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    /// Of [`KEPT_HEADERS`].
    pub headers: BTreeMap<String, String>,
    /// User metadata, without the `x-obs-meta-` in front.
    pub metadata: BTreeMap<String, String>,
}

/// A multipart upload that is neither complete nor aborted.
#[derive(Debug)]
pub(super) struct Upload {
    pub key: String,
    pub attributes: Attributes,
    pub parts: BTreeMap<u32, Part>,
    pub begun: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub bytes: Bytes,
    pub md5: [u8; 16],
    pub modified: Timestamp,
}

impl Store {
    /// Works on a bucket that must exist.
    pub fn with<T>(
        &self,
        bucket: &str,
        work: impl FnOnce(&mut Bucket) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        work(self.lock().get_mut(bucket).ok_or_else(Refusal::no_such_bucket)?)
    }

    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().expect("no panic while the store is held")
    }

    /// Stores an object, creating its bucket if need be.
    pub fn put(&self, bucket: &str, key: &str, object: Stored) {
        self.lock().entry(bucket.to_owned()).or_default().objects.insert(key.to_owned(), object);
    }

    /// A clone of the object, which shares its bytes.
    pub fn object(&self, bucket: &str, key: &str) -> Result<Stored, Refusal> {
        self.with(bucket, |bucket| bucket.object(key))
    }

    /// An upload id nobody has seen before.
    pub fn next_upload_id(&self) -> String {
        format!("{:032X}", self.uploads_begun.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Bucket {
    pub fn object(&self, key: &str) -> Result<Stored, Refusal> {
        self.objects.get(key).cloned().ok_or_else(Refusal::no_such_key)
    }

    /// The open upload of this id, if it is for this key.
    pub fn upload(&mut self, key: &str, id: &str) -> Result<&mut Upload, Refusal> {
        self.uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(Refusal::no_such_upload)
    }
}

impl Stored {
    /// An object with its MD5 as etag.
    pub fn new(bytes: Bytes, attributes: Attributes) -> Self {
        let etag = format!("\"{}\"", hex(&md5(&bytes)));
        Stored { content: bytes.into(), etag, attributes, modified: Timestamp::now() }
    }
}

impl Attributes {
    /// Those that the headers of an upload give, in either dialect.
    pub fn of(head: &Head) -> Self {
        let mut attributes = Attributes::default();
        for (name, value) in &head.headers {
            let meta = name.strip_prefix("x-obs-meta-").or_else(|| name.strip_prefix("x-amz-meta-"));
            if let Some(meta) = meta {
                attributes.metadata.insert(meta.to_owned(), value.clone());
            } else if KEPT_HEADERS.contains(&name.as_str()) {
                attributes.headers.insert(name.clone(), value.clone());
            }
        }
        attributes
    }
}
