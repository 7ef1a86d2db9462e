//! Listing a bucket, version 1: prefix, delimiter, marker, pages.

use std::{fmt, ops::Bound, sync::Arc};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::{Answer, Outcome, Refusal, xml_date};
use super::operate::Call;
use super::store::Bucket;
use super::xml::{escape, tag};

/// Most entries of a page.
const PAGE_MAX: usize = 1000;

/// What stays bare with `encoding-type=url`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A listing of keys that are not stored.
#[derive(Clone)]
pub(super) struct Synthetic {
    pub count: u64,
    /// The key of a number; must ascend with it.
    pub key: Arc<dyn Fn(u64) -> String + Send + Sync>,
}

impl fmt::Debug for Synthetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Synthetic({} keys)", self.count)
    }
}

impl Synthetic {
    /// The number of the first key within `bound`.
    fn seek(&self, bound: Bound<&str>) -> u64 {
        let before = |key: &str| match bound {
            Bound::Included(start) => key < start,
            Bound::Excluded(start) => key <= start,
            Bound::Unbounded => false,
        };
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match before(&(self.key)(middle)) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

/// One line of a listing.
struct Entry {
    key: String,
    size: u64,
    etag: String,
    modified: Timestamp,
}

impl Bucket {
    /// The entries from `bound` on, in the order of the keys' bytes.
    fn entries(&self, bound: Bound<&str>) -> Box<dyn Iterator<Item = Entry> + '_> {
        if let Some(synthetic) = &self.synthetic {
            let entry =
                |key| Entry { key, size: 0, etag: "\"\"".to_owned(), modified: Timestamp::UNIX_EPOCH };
            let numbers = synthetic.seek(bound)..synthetic.count;
            return Box::new(numbers.map(move |number| entry((synthetic.key)(number))));
        }
        let objects = self.objects.range::<str, _>((bound, Bound::Unbounded));
        Box::new(objects.map(|(key, object)| Entry {
            key: key.clone(),
            size: object.content.length(),
            etag: object.etag.clone(),
            modified: object.modified,
        }))
    }
}

/// What a client asks for.
struct Query {
    prefix: String,
    delimiter: String,
    marker: String,
    entries_max: usize,
    encoded: bool,
}

impl Query {
    fn of(call: &Call) -> Result<Self, Refusal> {
        if call.head.has("list-type") {
            let message = "Only listing version 1 is served, as OBS documents it.";
            return Err(Refusal::new(501, "NotImplemented", message));
        }
        let text = |name| call.head.query(name).unwrap_or_default();
        let entries_max = match call.head.query("max-keys") {
            Some(number) => number.parse::<usize>().map_err(|_| Refusal::invalid("max-keys"))?,
            None => PAGE_MAX,
        };
        let encoded = match text("encoding-type").as_str() {
            "" => false,
            "url" => true,
            _ => return Err(Refusal::invalid("encoding-type")),
        };
        Ok(Query {
            prefix: text("prefix"),
            delimiter: text("delimiter"),
            marker: text("marker"),
            entries_max: entries_max.min(PAGE_MAX),
            encoded,
        })
    }

    /// The group that `key` falls into, if a delimiter follows its prefix.
    fn group<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = &key[self.prefix.len()..];
        let end = rest.find(&self.delimiter)? + self.delimiter.len();
        Some(&key[..self.prefix.len() + end])
    }

    fn written(&self, text: &str) -> String {
        match self.encoded {
            true => utf8_percent_encode(text, ENCODED).to_string(),
            false => escape(text),
        }
    }
}

/// One page of a listing.
#[derive(Default)]
struct Page {
    entries: Vec<Entry>,
    groups: Vec<String>,
    /// The last entry or group of the page, when more follow.
    next: Option<String>,
}

/// Walks the bucket from the marker on; a group is left with one step, however many keys it has.
fn page(bucket: &Bucket, query: &Query) -> Page {
    let mut page = Page::default();
    let mut last = String::new();
    let mut walk = match query.marker.strip_prefix(&query.prefix).and_then(|_| query.group(&query.marker)) {
        Some(group) => bucket.entries(Bound::Included(&after_group(group))),
        None if query.marker >= query.prefix => bucket.entries(Bound::Excluded(&query.marker)),
        None => bucket.entries(Bound::Included(&query.prefix)),
    };
    while let Some(entry) = walk.next() {
        if !entry.key.starts_with(&query.prefix) || query.entries_max == 0 {
            break;
        }
        if page.entries.len() + page.groups.len() == query.entries_max {
            page.next = Some(last);
            break;
        }
        match query.group(&entry.key) {
            Some(group) => {
                last = group.to_owned();
                walk = bucket.entries(Bound::Included(&after_group(group)));
                page.groups.push(group.to_owned());
            }
            None => {
                last.clone_from(&entry.key);
                page.entries.push(entry);
            }
        }
    }
    page
}

/// A text above every key that starts with `group` and below all others above them (but for keys that go on
/// with U+10FFFF, which is no character).
fn after_group(group: &str) -> String {
    let mut text = group.to_owned();
    text.push(char::MAX);
    text
}

/// `GET /`.
pub(super) fn list(call: &Call) -> Outcome {
    let query = Query::of(call)?;
    let page = call.store.with(&call.target.bucket, |bucket| Ok(page(bucket, &query)))?;
    let tag = |name: &str, text: &str| format!("<{name}>{}</{name}>", query.written(text));
    let mut root = format!("<ListBucketResult><Name>{}</Name>", escape(&call.target.bucket));
    root += &tag("Prefix", &query.prefix);
    root += &tag("Marker", &query.marker);
    if let Some(next) = &page.next {
        root += &tag("NextMarker", next);
    }
    root += &format!(
        "<MaxKeys>{}</MaxKeys><IsTruncated>{}</IsTruncated>",
        query.entries_max,
        page.next.is_some()
    );
    if !query.delimiter.is_empty() {
        root += &tag("Delimiter", &query.delimiter);
    }
    if query.encoded {
        root += "<EncodingType>url</EncodingType>";
    }
    for entry in &page.entries {
        root += &contents(entry, &tag("Key", &entry.key));
    }
    for group in &page.groups {
        root += &format!("<CommonPrefixes>{}</CommonPrefixes>", tag("Prefix", group));
    }
    Ok(Answer::xml(200, &(root + "</ListBucketResult>")))
}

fn contents(entry: &Entry, key: &str) -> String {
    let (modified, etag, size) = (xml_date(entry.modified), escape(&entry.etag), entry.size);
    format!(
        "<Contents>{key}<LastModified>{modified}</LastModified><ETag>{etag}</ETag><Size>{size}</Size>\
         <Owner><ID>test</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
    )
}

/// `GET /` without a bucket.
pub(super) fn list_buckets(call: &Call) -> Outcome {
    let created = xml_date(Timestamp::UNIX_EPOCH);
    let names: Vec<String> = call.store.lock().keys().cloned().collect();
    let buckets: String = names
        .iter()
        .map(|name| format!("<Bucket>{}{}</Bucket>", tag("Name", name), tag("CreationDate", &created)))
        .collect();
    let root = format!(
        "<ListAllMyBucketsResult><Owner><ID>test</ID></Owner><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>"
    );
    Ok(Answer::xml(200, &root))
}
