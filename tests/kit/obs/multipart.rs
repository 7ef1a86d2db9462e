//! Multipart uploads, from their beginning to an object or to nothing.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use super::answer::{Answer, Outcome, Refusal, xml_date};
use super::content::{Content, hex, md5};
use super::operate::{Call, copy_source, range};
use super::store::{Attributes, Part, Stored, Upload};
use super::xml::{self, tag};

/// Highest number of a part.
const PART_NUMBER_MAX: u32 = 10_000;

fn upload_id(call: &Call) -> String {
    call.head.query("uploadId").unwrap_or_default()
}

/// `POST /key?uploads`.
pub(super) fn initiate(call: &Call) -> Outcome {
    let (id, key) = (call.store.next_upload_id(), call.target.key.clone());
    let fields = tag("Bucket", &call.target.bucket) + &tag("Key", &key) + &tag("UploadId", &id);
    let attributes = Attributes::of(call.head);
    let upload = Upload { key, attributes, parts: Default::default(), begun: Timestamp::now() };
    call.store.with(&call.target.bucket, |bucket| {
        bucket.uploads.insert(id, upload);
        Ok(Answer::xml(
            200,
            &format!("<InitiateMultipartUploadResult>{fields}</InitiateMultipartUploadResult>"),
        ))
    })
}

/// `PUT /key?partNumber=…&uploadId=…`. A part of the same number is replaced.
pub(super) fn part(call: &Call) -> Outcome {
    let number = call.head.query("partNumber").and_then(|text| text.parse().ok());
    let number = number.filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    let number: u32 = number.ok_or_else(|| Refusal::invalid("partNumber"))?;
    let copied = call.own_header("copy-source").is_some();
    let bytes = if copied { copied_bytes(call)? } else { call.body.clone() };
    let part = Part { md5: md5(&bytes), bytes, modified: Timestamp::now() };
    let (etag, modified) = (quoted(&part), xml_date(part.modified));
    call.store.with(&call.target.bucket, |bucket| {
        bucket.upload(&call.target.key, &upload_id(call))?.parts.insert(number, part);
        Ok(())
    })?;
    Ok(match copied {
        true => {
            let fields = tag("LastModified", &modified) + &tag("ETag", &etag);
            Answer::xml(200, &format!("<CopyPartResult>{fields}</CopyPartResult>"))
        }
        false => Answer::empty(200).header("ETag", etag),
    })
}

fn copied_bytes(call: &Call) -> Result<Bytes, Refusal> {
    let content: Content = copy_source(call)?.content;
    let wanted = call.own_header("copy-source-range").and_then(|text| range(text, content.length()));
    let wanted = wanted.transpose()?.unwrap_or(0..content.length());
    Ok(content.bytes(wanted))
}

fn quoted(part: &Part) -> String {
    format!("\"{}\"", hex(&part.md5))
}

/// `POST /key?uploadId=…`: the listed parts become an object, the upload ends.
pub(super) fn complete(call: &Call) -> Outcome {
    let Call { target, store, .. } = call;
    let listed = listed_parts(&call.body)?;
    let id = upload_id(call);
    let etag = store.with(&target.bucket, |bucket| {
        let upload = bucket.upload(&target.key, &id)?;
        let object = assemble(upload, &listed, call.part_bytes_min)?;
        let etag = object.etag.clone();
        bucket.uploads.remove(&id);
        bucket.objects.insert(target.key.clone(), object);
        Ok(etag)
    })?;
    let location = format!("http://{}{}", call.head.authority, call.head.path);
    let fields = [("Location", &location), ("Bucket", &target.bucket), ("Key", &target.key), ("ETag", &etag)];
    let fields: String = fields.iter().map(|(name, text)| tag(name, text)).collect();
    Ok(Answer::xml(200, &format!("<CompleteMultipartUploadResult>{fields}</CompleteMultipartUploadResult>")))
}

/// The numbers and etags (without quotes) of a completion.
fn listed_parts(body: &[u8]) -> Result<Vec<(u32, String)>, Refusal> {
    let document = std::str::from_utf8(body).map_err(|_| Refusal::malformed_xml())?;
    let listed: Option<Vec<_>> = xml::elements(document, "Part")
        .map(|part| {
            let number = xml::text(part, "PartNumber")?.parse().ok()?;
            Some((number, xml::text(part, "ETag")?.trim_matches('"').to_owned()))
        })
        .collect();
    listed.filter(|listed| !listed.is_empty()).ok_or_else(Refusal::malformed_xml)
}

fn assemble(upload: &Upload, listed: &[(u32, String)], part_bytes_min: usize) -> Result<Stored, Refusal> {
    if !listed.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(Refusal::new(400, "InvalidPartOrder", "The parts are not in ascending order."));
    }
    let part = |(number, etag): &(u32, String)| {
        let message = format!("Part {number} was not uploaded, or has another etag.");
        let part = upload.parts.get(number).filter(|part| hex(&part.md5) == *etag);
        part.ok_or_else(|| Refusal::new(400, "InvalidPart", &message))
    };
    let parts = listed.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let small = |part: &&Part| part.bytes.len() < part_bytes_min;
    if parts[..parts.len() - 1].iter().any(small) {
        let message = format!("A part before the last is smaller than {part_bytes_min} bytes.");
        return Err(Refusal::new(400, "EntityTooSmall", &message));
    }
    let mut bytes = BytesMut::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
    parts.iter().for_each(|part| bytes.extend_from_slice(&part.bytes));
    let digests: Vec<_> = parts.iter().flat_map(|part| part.md5).collect();
    Ok(Stored {
        content: bytes.freeze().into(),
        etag: format!("\"{}-{}\"", hex(&md5(&digests)), listed.len()),
        attributes: upload.attributes.clone(),
        modified: Timestamp::now(),
    })
}

/// `DELETE /key?uploadId=…`.
pub(super) fn abort(call: &Call) -> Outcome {
    call.store.with(&call.target.bucket, |bucket| {
        bucket.upload(&call.target.key, &upload_id(call))?;
        bucket.uploads.remove(&upload_id(call));
        Ok(Answer::empty(204))
    })
}

/// `GET /key?uploadId=…`. All parts on one page.
pub(super) fn list_parts(call: &Call) -> Outcome {
    let (bucket, key, id) = (&call.target.bucket, &call.target.key, upload_id(call));
    let parts: String = call.store.with(bucket, |bucket| {
        let parts = bucket.upload(key, &id)?.parts.iter();
        Ok(parts.map(|(number, part)| listed_part(*number, part)).collect())
    })?;
    let fields = tag("Bucket", bucket) + &tag("Key", key) + &tag("UploadId", &id);
    let root = format!("<ListPartsResult>{fields}<IsTruncated>false</IsTruncated>{parts}</ListPartsResult>");
    Ok(Answer::xml(200, &root))
}

fn listed_part(number: u32, part: &Part) -> String {
    let fields = [
        ("PartNumber", number.to_string()),
        ("LastModified", xml_date(part.modified)),
        ("ETag", quoted(part)),
        ("Size", part.bytes.len().to_string()),
    ];
    let fields: String = fields.iter().map(|(name, text)| tag(name, text)).collect();
    format!("<Part>{fields}</Part>")
}

/// `GET /?uploads`, with a prefix if wanted. All uploads on one page, by key and then by age.
pub(super) fn list_uploads(call: &Call) -> Outcome {
    let prefix = call.head.query("prefix").unwrap_or_default();
    let uploads: String = call.store.with(&call.target.bucket, |bucket| {
        let mut open: Vec<_> =
            bucket.uploads.iter().map(|(id, upload)| (&upload.key, id, upload.begun)).collect();
        open.retain(|(key, ..)| key.starts_with(&prefix));
        open.sort();
        let upload = |(key, id, begun): &(&String, &String, Timestamp)| {
            let fields = tag("Key", key) + &tag("UploadId", id) + &tag("Initiated", &xml_date(*begun));
            format!("<Upload>{fields}</Upload>")
        };
        Ok(open.iter().map(upload).collect())
    })?;
    let fields = tag("Bucket", &call.target.bucket) + &tag("Prefix", &prefix);
    let root = format!(
        "<ListMultipartUploadsResult>{fields}<IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
    );
    Ok(Answer::xml(200, &root))
}
