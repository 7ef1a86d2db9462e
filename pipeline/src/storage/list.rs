//! Listings: the objects of a bucket, as they arrive.
//!
//! Promises: one page of keys in memory, however many there are; a key is given as the storage has it.
//!
//! OBS is listed here and not by opendal, whose listing knows neither etags nor times, and begins at folders only:
//! "List Objects", version 1, through the same signing transport. Pages follow each other by the last key, so a
//! listing misses no object that was there all the while, whatever is added or removed meanwhile.

use std::sync::Arc;
use std::time::SystemTime;

use backon::{ExponentialBuilder, Retryable};
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use http::{Request, StatusCode};
use jiff::Timestamp;
use opendal::{Buffer, Error, ErrorKind, HttpTransporter, Operator};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::storage::{REQUEST_TIMEOUT, RETRIES_MAX, RETRY_DELAY_MAX, RETRY_DELAY_MIN};

/// Keys of a page: the most that the service gives.
const PAGE_KEYS: &str = "1000";

/// What stays as it is in a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// An object as a listing shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The version, where the storage has one.
    pub etag: Option<String>,
    /// When it was last written, where the storage says so.
    pub modified: Option<Timestamp>,
}

/// Lists whatever opendal lists with etags and times. Folders are no objects.
pub(super) async fn operator(
    operator: &Operator,
    prefix: &str,
) -> opendal::Result<impl Stream<Item = opendal::Result<Listed>> + Send + Unpin + use<>> {
    // A folder is listed as a whole: what lies behind the last `/` of the prefix is sorted out here.
    let folder = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
    let lister = operator.lister_with(folder).recursive(true).await?;
    let prefix = prefix.to_owned();
    Ok(lister.try_filter_map(move |entry| {
        let metadata = entry.metadata();
        let modified = metadata.last_modified().map(SystemTime::from);
        let object = (metadata.is_file() && entry.path().starts_with(&prefix)).then(|| Listed {
            key: entry.path().to_owned(),
            size: metadata.content_length(),
            etag: metadata.etag().map(str::to_owned),
            modified: modified.and_then(|time| Timestamp::try_from(time).ok()),
        });
        future::ready(Ok(object))
    }))
}

/// The listing of one OBS bucket.
#[derive(Clone, Debug)]
pub(super) struct Obs {
    /// Signs, and knows where the bucket is.
    transport: HttpTransporter,
    /// Keys are below this: empty, or ending in `/`.
    root: Arc<str>,
}

impl Obs {
    pub(super) fn new(transport: HttpTransporter, root: &str) -> Obs {
        let root = if root.is_empty() { String::new() } else { format!("{root}/") };
        Obs { transport, root: root.into() }
    }

    /// Every object whose key begins with `prefix`. Keys that end in `/` stand for folders, and are left out.
    pub(super) fn list(
        &self,
        prefix: &str,
    ) -> impl Stream<Item = opendal::Result<Listed>> + Send + Unpin + use<> {
        let (lister, prefix) = (self.clone(), format!("{}{prefix}", self.root));
        let pages = stream::try_unfold(Some(String::new()), move |marker| {
            let (lister, prefix) = (lister.clone(), prefix.clone());
            async move {
                let Some(marker) = marker else { return Ok(None) };
                let page = lister.page_with_patience(&prefix, &marker).await?;
                let next = page.next(&marker)?;
                Ok::<_, Error>(Some((lister.objects(page), next)))
            }
        });
        Box::pin(pages.map_ok(|objects| stream::iter(objects).map(Ok)).try_flatten())
    }

    fn objects(&self, page: Page) -> Vec<Listed> {
        let files = page.contents.into_iter().filter(|object| !object.key.ends_with('/'));
        files
            .map(|Contents { key, size, etag, modified }| Listed {
                key: key.strip_prefix(&*self.root).map(str::to_owned).unwrap_or(key),
                size,
                etag: etag.filter(|etag| !etag.is_empty()),
                modified: modified.and_then(|time| time.parse().ok()),
            })
            .collect()
    }

    async fn page_with_patience(&self, prefix: &str, marker: &str) -> opendal::Result<Page> {
        let delays = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(RETRY_DELAY_MIN)
            .with_max_delay(RETRY_DELAY_MAX)
            .with_max_times(RETRIES_MAX);
        (|| self.page(prefix, marker)).retry(delays).when(Error::is_temporary).await
    }

    async fn page(&self, prefix: &str, marker: &str) -> opendal::Result<Page> {
        // The transport puts the real host in front.
        let mut address = format!("http://bucket/?max-keys={PAGE_KEYS}");
        for (name, value) in [("prefix", prefix), ("marker", marker)] {
            if !value.is_empty() {
                address.push_str(&format!("&{name}={}", utf8_percent_encode(value, PLAIN)));
            }
        }
        let request = Request::get(address)
            .body(Buffer::new())
            .map_err(|error| Error::new(ErrorKind::Unexpected, "no listing request").set_source(error))?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.transport.send(request))
            .await
            .map_err(|_| Error::new(ErrorKind::Unexpected, "the listing timed out").set_temporary())??;
        let (status, body) = (answer.status(), answer.into_body().to_bytes());
        if status.is_success() {
            return read(&body);
        }
        Err(refusal(status, &String::from_utf8_lossy(&body)))
    }
}

fn read(body: &[u8]) -> opendal::Result<Page> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "the listing is not UTF-8").set_source(error))?;
    quick_xml::de::from_str(text).map_err(|error| {
        // Cut off in the middle, most likely.
        Error::new(ErrorKind::Unexpected, "the listing is no XML").set_temporary().set_source(error)
    })
}

fn refusal(status: StatusCode, body: &str) -> Error {
    let said = match quick_xml::de::from_str(body) {
        Ok(Refusal { code, message }) => format!("{code} {message}"),
        // A proxy's page, perhaps: its beginning must do.
        Err(_) => body.chars().take(100).collect(),
    };
    let error = |kind| Error::new(kind, format!("{status}: {}", said.trim()));
    match status {
        StatusCode::NOT_FOUND => error(ErrorKind::NotFound),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => error(ErrorKind::PermissionDenied),
        status if status.is_server_error() => error(ErrorKind::Unexpected).set_temporary(),
        _ => error(ErrorKind::Unexpected),
    }
}

/// What the service says of a request that it refuses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
    #[serde(default)]
    message: String,
}

/// One page: `ListBucketResult`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// Required: it tells a listing from whatever else may be answered.
    is_truncated: bool,
    next_marker: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
}

#[derive(Debug, Deserialize)]
struct Contents {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "ETag")]
    etag: Option<String>,
    #[serde(rename = "LastModified")]
    modified: Option<String>,
}

impl Page {
    /// Where the page after this one begins, which began behind `marker`. Without a delimiter some servers name no
    /// marker: then it is the last key.
    fn next(&self, marker: &str) -> opendal::Result<Option<String>> {
        if !self.is_truncated {
            return Ok(None);
        }
        let named = self.next_marker.clone().filter(|next| !next.is_empty());
        let next = named.or_else(|| self.contents.last().map(|object| object.key.clone()));
        match next.filter(|next| next.as_str() != marker) {
            Some(next) => Ok(Some(next)),
            None => {
                Err(Error::new(ErrorKind::Unexpected, "the listing does not advance; is this an OBS server?"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> Page {
        let head = r#"<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://obs">"#;
        let truncated = if inner.contains("IsTruncated") { "" } else { "<IsTruncated>false</IsTruncated>" };
        read(format!("{head}{truncated}{inner}</ListBucketResult>").as_bytes()).unwrap()
    }

    fn contents(key: &str) -> String {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2025-08-25T12:00:00.000Z</LastModified>\
             <ETag>\"abc\"</ETag><Size>7</Size><Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
        )
    }

    #[test]
    fn keys_come_as_the_storage_has_them() {
        for (written, key) in [
            ("a&amp;b&lt;c.csv", "a&b<c.csv"),
            (" edge ", " edge "),
            ("数据/文件.csv", "数据/文件.csv"),
            ("a&#x20;b", "a b"),
        ] {
            assert_eq!(page(&contents(written)).contents[0].key, key, "{written}");
        }
    }

    #[test]
    fn a_page_names_the_next_one() {
        let two = contents("a") + &contents("b");
        let next = |inner: &str, marker| page(inner).next(marker).map_err(|error| error.message().to_owned());
        assert_eq!(next("<IsTruncated>false</IsTruncated><NextMarker>m</NextMarker>", ""), Ok(None));
        assert_eq!(next(&format!("<IsTruncated>true</IsTruncated>{two}"), "a"), Ok(Some("b".to_owned())));
        let named = format!("<IsTruncated>true</IsTruncated><NextMarker>m</NextMarker>{two}");
        assert_eq!(next(&named, "b"), Ok(Some("m".to_owned())));
        assert!(next(&named, "m").is_err(), "a listing that does not advance would never end");
        assert!(next("<IsTruncated>true</IsTruncated>", "").is_err());
    }

    #[test]
    fn what_is_no_listing_is_no_empty_bucket() {
        for answer in [
            "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>",
            "<Error><Code>InternalError</Code></Error>",
            "<html><body>Please log in</body></html>",
        ] {
            assert!(read(answer.as_bytes()).is_err(), "{answer}");
        }
        assert!(refusal(StatusCode::BAD_GATEWAY, "<html>proxy</html>").message().contains("proxy"));
    }

    #[test]
    fn a_page_that_was_cut_off_is_asked_for_again() {
        let error = read(b"<ListBucketResult><Contents><Key>a").unwrap_err();
        assert!(error.is_temporary());
        assert!(refusal(StatusCode::SERVICE_UNAVAILABLE, "").is_temporary());
        assert!(!refusal(StatusCode::FORBIDDEN, "").is_temporary());
        let told =
            refusal(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>");
        assert_eq!(told.message(), "403 Forbidden: AccessDenied No.");
    }
}
