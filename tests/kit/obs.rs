//! An OBS server for tests and benches: real sockets, real signatures, planned faults, everything in memory.
//!
//! It promises what a client can see of the service on the wire:
//!
//! - **Signatures** are checked for every request, headers and presigned URLs, in both dialects (`OBS`, `AWS`
//!   V2): key, date (15 minutes), signed resource as it came over the wire, sub-resources, token; and V4 in
//!   the header, over an unsigned payload. `Content-MD5` is checked, too.
//! - **Addresses**: the bucket in front of a service host, under a custom domain, or in the path of any other
//!   host (an IP address). Path style on a service host is refused, as by the service.
//! - **Operations**: objects (get, ranges, conditions, head, put, delete, copy, append), multipart uploads,
//!   listing version 1, batch delete, buckets.
//! - **Faults** of [`Effect`], for the requests that a [`Fault`] names.
//!
//! It does not promise: access rights (one key pair may do everything), versions, lifecycle, server-side
//! encryption, TLS, presigned URLs of V4, streamed payloads, conditional writes, or that refusals carry the
//! service's own texts. Where the service's behaviour is not documented, the comment at the place says what
//! was assumed.
//!
//! The server runs on threads of its own, so that tests may block or stop their clock. It was written from
//! the protocol's description and shares no code with the client it tests.
//!
//! ```text
//! socket ─ wire ─ address ─ sign ─ fault ─ operate ─┬─ store
//!                                                   ├─ multipart
//!                                                   └─ list
//! ```

mod address;
mod answer;
#[cfg(test)]
mod client;
mod content;
mod fault;
#[cfg(test)]
mod fault_tests;
mod list;
mod multipart;
mod operate;
mod route;
mod serve;
mod sign;
mod sign_v4;
mod store;
#[cfg(test)]
mod tests;
mod wire;
mod xml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock, atomic::AtomicU64};
use std::{io, thread};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use self::address::Addressing;
use self::content::{Content, hex, md5};
use self::list::Synthetic;
use self::serve::Service;
use self::sign::Credentials;
use self::store::{Attributes, Store, Stored};

pub use self::content::Generator;
pub use self::fault::{Effect, Fault, Faults};
pub use self::route::Op;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 finds a free one.
    pub listen: SocketAddr,
    /// The only access key that is known.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Makes the key a temporary one: every request must carry this token.
    pub security_token: Option<String>,
    /// Service hosts, in which `*` stands for any text; a bucket stands in front of them.
    pub hosts: Vec<String>,
    /// Custom domains, each bound to a bucket.
    pub domains: BTreeMap<String, String>,
    /// Buckets that exist from the start. [`ObsServer::put`] creates others.
    pub buckets: Vec<String>,
    /// Smallest part of a multipart upload, the last one apart.
    pub part_bytes_min: usize,
}

impl Default for Options {
    fn default() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            access_key: "AKTEST0123456789".to_owned(),
            secret_key: "SKTESTabcdefghijklmnopqrstuvwxyz".to_owned(),
            security_token: None,
            hosts: owned(&["obs.*.myhuaweicloud.com", "obs.*.huawei.com", "obs.private.example"]),
            domains: BTreeMap::new(),
            buckets: Vec::new(),
            part_bytes_min: 100 << 10,
        }
    }
}

/// An object as a test looks at it.
#[derive(Clone, Debug)]
pub struct Object {
    /// All its bytes.
    pub bytes: Bytes,
    /// As answered, with quotes.
    pub etag: String,
    /// Empty when the upload named none.
    pub content_type: String,
    /// User metadata, without `x-obs-meta-` in front of the names.
    pub metadata: BTreeMap<String, String>,
    /// When it was last written.
    pub modified: Timestamp,
}

/// A request that was answered, or was to be left without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was asked.
    pub op: Op,
    /// Of which bucket.
    pub bucket: String,
    /// Of which key, decoded; empty for a bucket.
    pub key: String,
    /// The query as it came.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The status that was sent; `None` when a fault took the answer.
    pub status: Option<u16>,
}

/// A running server. Dropping it closes every connection.
#[derive(Debug)]
pub struct ObsServer {
    address: SocketAddr,
    service: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ObsServer {
    /// Starts a server, which answers from now on.
    ///
    /// # Panics
    ///
    /// When the address is taken or the system has no threads left.
    pub async fn start(options: Options) -> Self {
        Self::start_blocking(options)
    }

    /// [`ObsServer::start`] for tests without a runtime.
    ///
    /// # Panics
    ///
    /// As [`ObsServer::start`].
    pub fn start_blocking(options: Options) -> Self {
        Self::try_start(options).expect("the OBS server should start")
    }

    fn try_start(options: Options) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(options));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = service.clone();
        let run = move || {
            runtime.block_on(async {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("a listener of this thread");
                tokio::select! {
                    () = serve::accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("obs-server".to_owned()).spawn(run)?;
        Ok(ObsServer { address, service, stop: Some(stop), thread: Some(thread) })
    }

    /// Keeps the server up until the caller stops waiting: for a process that is nothing else.
    pub async fn serve_forever(self) {
        std::future::pending().await
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stores an object, and creates its bucket if need be. Returns the etag.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> String {
        self.store_object(bucket, key, Stored::new(bytes.into(), Attributes::default()))
    }

    /// Offers an object of `length` bytes that are made on demand and never stored. Returns the etag, which
    /// depends on the name and the length alone.
    pub fn put_generated(&self, bucket: &str, key: &str, length: u64, generator: Generator) -> String {
        let digest = md5(format!("{bucket}/{key} {length}").as_bytes());
        let object = Stored {
            content: Content::Generated { length, generator },
            // The form of a multipart upload: an etag that is not the MD5 of the bytes.
            etag: format!("\"{}-1\"", hex(&digest)),
            attributes: Attributes::default(),
            modified: Timestamp::now(),
        };
        self.store_object(bucket, key, object)
    }

    fn store_object(&self, bucket: &str, key: &str, object: Stored) -> String {
        let etag = object.etag.clone();
        self.service.store.put(bucket, key, object);
        etag
    }

    /// Lists `count` empty keys in place of the bucket's objects; `key` must ascend with its number. The keys
    /// are listed, not stored: to read one is a 404.
    pub fn set_synthetic_listing(
        &self,
        bucket: &str,
        count: u64,
        key: impl Fn(u64) -> String + Send + Sync + 'static,
    ) {
        let synthetic = Synthetic { count, key: Arc::new(key) };
        self.service.store.lock().entry(bucket.to_owned()).or_default().synthetic = Some(synthetic);
    }

    /// An object, whole; a generated one is made for this call.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Object> {
        let Stored { content, etag, attributes, modified } = self.service.store.object(bucket, key).ok()?;
        let Attributes { mut headers, metadata } = attributes;
        let content_type = headers.remove("content-type").unwrap_or_default();
        Some(Object { bytes: content.bytes(0..content.length()), etag, content_type, metadata, modified })
    }

    /// Deletes an object; whether there was one.
    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        self.service
            .store
            .with(bucket, |bucket| Ok(bucket.objects.remove(key)))
            .is_ok_and(|old| old.is_some())
    }

    /// The keys of a bucket's objects, in the order of their bytes.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.service
            .store
            .with(bucket, |bucket| Ok(bucket.objects.keys().cloned().collect()))
            .unwrap_or_default()
    }

    /// How many multipart uploads are neither complete nor aborted.
    pub fn uploads_open(&self) -> usize {
        self.service.store.lock().values().map(|bucket| bucket.uploads.len()).sum()
    }

    /// The plan of faults.
    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// The requests so far, in the order of their answers, those that were refused included.
    pub fn requests(&self) -> Vec<Request> {
        self.service.log.borrow().clone()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.service.log.send_modify(Vec::clear);
    }

    /// Waits until the log of requests satisfies `seen`.
    pub async fn wait_for(&self, mut seen: impl FnMut(&[Request]) -> bool) {
        let mut log = self.service.log.subscribe();
        log.wait_for(|log| seen(log)).await.expect("the server outlives this borrow");
    }

    /// Replaces the key pair and the token, as temporary credentials are: the old ones are refused from now
    /// on.
    pub fn rotate(&self, access_key: &str, secret_key: &str, security_token: Option<&str>) {
        let credentials = Credentials {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            security_token: security_token.map(str::to_owned),
        };
        *self.service.credentials.write().expect("no panic while the credentials are held") = credentials;
    }
}

impl Drop for ObsServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Service {
    fn new(options: Options) -> Self {
        let Options {
            access_key, secret_key, security_token, hosts, domains, buckets, part_bytes_min, ..
        } = options;
        let store = Store::default();
        store.lock().extend(buckets.into_iter().map(|name| (name, Default::default())));
        Service {
            addressing: Addressing { hosts, domains },
            credentials: RwLock::new(Credentials { access_key, secret_key, security_token }),
            part_bytes_min,
            store,
            faults: Faults::default(),
            log: watch::Sender::new(Vec::new()),
            requests_begun: AtomicU64::new(0),
        }
    }
}
