//! The work of every operation on buckets and whole objects.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use jiff::{Timestamp, fmt::rfc2822};

use super::address::{Target, decode};
use super::answer::{Answer, Outcome, Refusal, http_date, xml_date};
use super::content::md5;
use super::route::Op;
use super::sign::Scheme;
use super::store::{Attributes, Store, Stored};
use super::wire::Head;
use super::{list, multipart, xml};

/// A request whose signature was found valid, with all that is needed to do it.
pub(super) struct Call<'a> {
    pub op: Op,
    pub head: &'a Head,
    pub target: &'a Target,
    pub scheme: Scheme,
    pub body: Bytes,
    pub store: &'a Store,
    /// Smallest part of a multipart upload, the last one apart.
    pub part_bytes_min: usize,
}

impl Call<'_> {
    /// Does the work.
    pub fn run(&self) -> Outcome {
        self.check_md5()?;
        match self.op {
            Op::Get | Op::Head => read(self),
            Op::Put => put(self),
            Op::Delete => delete(self),
            Op::DeleteMany => delete_many(self),
            Op::Copy => copy(self),
            Op::Append => append(self),
            Op::Initiate => multipart::initiate(self),
            Op::Part => multipart::part(self),
            Op::Complete => multipart::complete(self),
            Op::Abort => multipart::abort(self),
            Op::ListParts => multipart::list_parts(self),
            Op::ListUploads => multipart::list_uploads(self),
            Op::List => list::list(self),
            Op::ListBuckets => list::list_buckets(self),
            Op::HeadBucket => self.store.with(&self.target.bucket, |_| Ok(Answer::empty(200))),
            Op::CreateBucket => create_bucket(self),
            Op::DeleteBucket => delete_bucket(self),
            Op::ApiVersion => Ok(Answer::empty(200).header("x-obs-api", "3.0")),
            Op::Unknown => {
                Err(Refusal::new(501, "NotImplemented", "This server does not know the operation."))
            }
        }
    }

    /// The value of a header of the dialect, given the rest of its name.
    pub fn own_header(&self, name: &str) -> Option<&str> {
        self.head.header(&format!("{}{name}", self.scheme.prefix()))
    }

    fn check_md5(&self) -> Result<(), Refusal> {
        let Some(announced) = self.head.header("content-md5") else { return Ok(()) };
        let announced = STANDARD.decode(announced.trim()).ok().filter(|digest| digest.len() == 16);
        let digest = announced.ok_or_else(|| Refusal::new(400, "InvalidDigest", "Content-MD5 is no MD5."))?;
        match digest == md5(&self.body) {
            true => Ok(()),
            false => Err(Refusal::new(400, "BadDigest", "The body does not have the announced MD5.")),
        }
    }
}

/// `GET /key` and `HEAD /key`.
fn read(call: &Call) -> Outcome {
    let object = call.store.object(&call.target.bucket, &call.target.key)?;
    check_conditions(call, "", &object)?;
    let total = object.content.length();
    let range = call.head.header("range").and_then(|text| range(text, total)).transpose()?;
    let mut answer = Answer::with(200, object.content.clone());
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        answer = Answer { status: 206, range, ..answer }.header("Content-Range", text);
    }
    answer = answer
        .header("ETag", &object.etag)
        .header("Last-Modified", http_date(object.modified))
        .header("Accept-Ranges", "bytes");
    let Attributes { headers, metadata } = &object.attributes;
    if !headers.contains_key("content-type") {
        answer = answer.header("Content-Type", "binary/octet-stream");
    }
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    for (name, value) in metadata {
        answer = answer.header(&format!("{}meta-{name}", call.scheme.prefix()), value);
    }
    Ok(answer)
}

/// The bytes that a `Range` header asks for: `None` when it is none that HTTP knows, which means the whole
/// object.
pub(super) fn range(text: &str, total: u64) -> Option<Result<Range<u64>, Refusal>> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse::<u64>().ok().map(Some) };
    let range = match (number(first)?, number(last)?) {
        (Some(first), Some(last)) if first > last => return None,
        (Some(first), last) => first..last.map_or(total, |last| last.saturating_add(1).min(total)),
        (None, Some(length)) => total.saturating_sub(length)..total,
        (None, None) => return None,
    };
    let refusal = || Refusal::new(416, "InvalidRange", "The range lies outside the object.");
    Some(if range.start < range.end { Ok(range) } else { Err(refusal()) })
}

/// Conditions on an object; `prefix` stands in front of their headers' names.
fn check_conditions(call: &Call, prefix: &str, object: &Stored) -> Result<(), Refusal> {
    let header = |name: &str| call.head.header(&format!("{prefix}{name}"));
    let names = |list: &str| {
        let etag = object.etag.trim_matches('"');
        list.split(',').map(str::trim).any(|item| item == "*" || item.trim_matches('"') == etag)
    };
    let changed_since = |date: &str| {
        let time = rfc2822::DateTimeParser::new().parse_timestamp(date.trim()).ok()?;
        Some(object.modified.as_second() > time.as_second())
    };
    let failed = Refusal::new(412, "PreconditionFailed", "A condition of the request does not hold.");
    match (header("if-match"), header("if-unmodified-since").and_then(changed_since)) {
        (Some(list), _) if !names(list) => return Err(failed),
        (None, Some(true)) => return Err(failed),
        _ => {}
    }
    let unchanged = match (header("if-none-match"), header("if-modified-since").and_then(changed_since)) {
        (Some(list), _) => names(list),
        (None, Some(changed)) => !changed,
        (None, None) => false,
    };
    match unchanged {
        true if prefix.is_empty() => Err(Refusal::new(304, "NotModified", "The object has not changed.")),
        true => Err(failed),
        false => Ok(()),
    }
}

/// `PUT /key`.
fn put(call: &Call) -> Outcome {
    let object = Stored::new(call.body.clone(), Attributes::of(call.head));
    let etag = object.etag.clone();
    call.store.with(&call.target.bucket, |bucket| {
        bucket.objects.insert(call.target.key.clone(), object);
        Ok(Answer::empty(200).header("ETag", etag))
    })
}

/// `POST /key?append&position=…`.
fn append(call: &Call) -> Outcome {
    let position = call.head.query("position").and_then(|text| text.parse::<u64>().ok());
    let position = position.ok_or_else(|| Refusal::invalid("position"))?;
    call.store.with(&call.target.bucket, |bucket| {
        let old = bucket.objects.get(&call.target.key);
        let length = old.map_or(0, |object| object.content.length());
        if position != length {
            let message = format!("The object is {length} bytes long.");
            return Err(Refusal::new(409, "PositionNotEqualToLength", &message));
        }
        let mut bytes =
            BytesMut::from(&old.map_or(Bytes::new(), |object| object.content.bytes(0..length))[..]);
        bytes.extend_from_slice(&call.body);
        let attributes = old.map_or_else(|| Attributes::of(call.head), |object| object.attributes.clone());
        let next = bytes.len().to_string();
        let object = Stored::new(bytes.freeze(), attributes);
        let answer = Answer::empty(200).header("ETag", &object.etag);
        bucket.objects.insert(call.target.key.clone(), object);
        Ok(answer.header(&format!("{}next-append-position", call.scheme.prefix()), next))
    })
}

/// The object that a copy source header names, if its conditions hold.
pub(super) fn copy_source(call: &Call) -> Result<Stored, Refusal> {
    let source = call.own_header("copy-source").unwrap_or_default();
    let path = source.split_once('?').map_or(source, |(path, _)| path);
    let path = decode(path.strip_prefix('/').unwrap_or(path))?;
    let (bucket, key) = path.split_once('/').ok_or_else(|| Refusal::invalid("The copy source"))?;
    let object = call.store.object(bucket, key)?;
    check_conditions(call, &format!("{}copy-source-", call.scheme.prefix()), &object)?;
    Ok(object)
}

/// `PUT /key` with a copy source.
fn copy(call: &Call) -> Outcome {
    let mut object = Stored { modified: Timestamp::now(), ..copy_source(call)? };
    if call.own_header("metadata-directive").is_some_and(|text| text.eq_ignore_ascii_case("replace")) {
        object.attributes = Attributes::of(call.head);
    }
    let fields = xml::tag("LastModified", &xml_date(object.modified)) + &xml::tag("ETag", &object.etag);
    call.store.with(&call.target.bucket, |bucket| {
        bucket.objects.insert(call.target.key.clone(), object);
        Ok(Answer::xml(200, &format!("<CopyObjectResult>{fields}</CopyObjectResult>")))
    })
}

/// `DELETE /key`.
fn delete(call: &Call) -> Outcome {
    call.store.with(&call.target.bucket, |bucket| {
        bucket.objects.remove(&call.target.key);
        Ok(Answer::empty(204))
    })
}

/// `POST /?delete`.
fn delete_many(call: &Call) -> Outcome {
    let document = std::str::from_utf8(&call.body).map_err(|_| Refusal::malformed_xml())?;
    let quiet = xml::text(document, "Quiet").is_some_and(|text| text == "true");
    let keys: Option<Vec<_>> =
        xml::elements(document, "Object").map(|object| xml::text(object, "Key")).collect();
    let keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(Refusal::malformed_xml)?;
    call.store.with(&call.target.bucket, |bucket| {
        let mut deleted = String::new();
        for key in &keys {
            bucket.objects.remove(key);
            if !quiet {
                deleted += &format!("<Deleted>{}</Deleted>", xml::tag("Key", key));
            }
        }
        Ok(Answer::xml(200, &format!("<DeleteResult>{deleted}</DeleteResult>")))
    })
}

/// `PUT /`.
fn create_bucket(call: &Call) -> Outcome {
    call.store.lock().entry(call.target.bucket.clone()).or_default();
    Ok(Answer::empty(200))
}

/// `DELETE /`.
fn delete_bucket(call: &Call) -> Outcome {
    let mut buckets = call.store.lock();
    let bucket = buckets.get(&call.target.bucket).ok_or_else(Refusal::no_such_bucket)?;
    if !bucket.objects.is_empty() || !bucket.uploads.is_empty() {
        return Err(Refusal::new(409, "BucketNotEmpty", "The bucket is not empty."));
    }
    buckets.remove(&call.target.bucket);
    Ok(Answer::empty(204))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |text, expected: Option<Result<Range<u64>, u16>>| {
            assert_eq!(
                range(text, 10).map(|range| range.map_err(|refusal| refusal.status)),
                expected,
                "{text}"
            );
        };
        check("bytes=2-5", Some(Ok(2..6)));
        check("bytes=0-0", Some(Ok(0..1)));
        check("bytes=9-99", Some(Ok(9..10)));
        check("bytes=4-", Some(Ok(4..10)));
        check("bytes=-3", Some(Ok(7..10)));
        check("bytes=-30", Some(Ok(0..10)));
        check("bytes=10-", Some(Err(416)));
        check("bytes=-0", Some(Err(416)));
        check("bytes=5-2", None);
        check("bytes=0-1,3-4", None);
        check("lines=0-1", None);
    }
}
