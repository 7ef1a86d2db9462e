//! Which operation a request asks for.

use super::address::Target;
use super::wire::Head;

/// An operation of the protocol, as faults and the log name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `GET /key`.
    Get,
    /// `HEAD /key`.
    Head,
    /// `PUT /key`.
    Put,
    /// `DELETE /key`.
    Delete,
    /// `PUT /key` with a copy source.
    Copy,
    /// `POST /key?append&position=…`.
    Append,
    /// `POST /key?uploads`: a multipart upload begins.
    Initiate,
    /// `PUT /key?partNumber=…&uploadId=…`, with a body or with a copy source.
    Part,
    /// `POST /key?uploadId=…`: a multipart upload becomes an object.
    Complete,
    /// `DELETE /key?uploadId=…`: a multipart upload is forgotten.
    Abort,
    /// `GET /key?uploadId=…`.
    ListParts,
    /// `GET /`: the objects of a bucket.
    List,
    /// `GET /?uploads`: the open multipart uploads of a bucket.
    ListUploads,
    /// `POST /?delete`: many keys at once.
    DeleteMany,
    /// `HEAD /`.
    HeadBucket,
    /// `PUT /`.
    CreateBucket,
    /// `DELETE /`.
    DeleteBucket,
    /// `GET /` without a bucket.
    ListBuckets,
    /// `HEAD /?apiversion`: which signature the server understands; needs none itself.
    ApiVersion,
    /// Anything else, which is refused.
    Unknown,
}

/// Sub-resources whose operations exist in OBS and not here: to take `GET /key?acl` for `GET /key` would be a
/// lie.
const NOT_SERVED: &[&str] = &[
    "acl",
    "cors",
    "encryption",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metadata",
    "modify",
    "notification",
    "policy",
    "quota",
    "rename",
    "replication",
    "restore",
    "storageClass",
    "storageinfo",
    "storagePolicy",
    "tagging",
    "torrent",
    "truncate",
    "versionId",
    "versioning",
    "versions",
    "website",
];

impl Op {
    /// Reads the operation off method, target and query.
    pub(super) fn of(head: &Head, target: &Target) -> Op {
        if head.method == "HEAD" && head.has("apiversion") {
            return Op::ApiVersion;
        }
        if NOT_SERVED.iter().any(|name| head.has(name)) {
            return Op::Unknown;
        }
        match (target.bucket.is_empty(), target.key.is_empty()) {
            (true, _) if head.method == "GET" && target.key.is_empty() => Op::ListBuckets,
            (true, _) => Op::Unknown,
            (false, true) => Self::of_bucket(head),
            (false, false) => Self::of_object(head),
        }
    }

    fn of_bucket(head: &Head) -> Op {
        match head.method.as_str() {
            "GET" if head.has("uploads") => Op::ListUploads,
            "GET" => Op::List,
            "HEAD" => Op::HeadBucket,
            "PUT" => Op::CreateBucket,
            "DELETE" => Op::DeleteBucket,
            "POST" if head.has("delete") => Op::DeleteMany,
            _ => Op::Unknown,
        }
    }

    fn of_object(head: &Head) -> Op {
        let copied = head.header("x-obs-copy-source").or(head.header("x-amz-copy-source")).is_some();
        match head.method.as_str() {
            "GET" if head.has("uploadId") => Op::ListParts,
            "GET" => Op::Get,
            "HEAD" => Op::Head,
            "PUT" if head.has("uploadId") => Op::Part,
            "PUT" if copied => Op::Copy,
            "PUT" => Op::Put,
            "DELETE" if head.has("uploadId") => Op::Abort,
            "DELETE" => Op::Delete,
            "POST" if head.has("uploads") => Op::Initiate,
            "POST" if head.has("uploadId") => Op::Complete,
            "POST" if head.has("append") => Op::Append,
            _ => Op::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, bucket: &str, key: &str, expected: Op) {
        let text = format!("{line} HTTP/1.1\r\nhost: h\r\n\r\n");
        let (head, _) = Head::parse(text.as_bytes()).expect("valid").expect("whole");
        let target = Target { bucket: bucket.to_owned(), key: key.to_owned(), ..Target::default() };
        assert_eq!(Op::of(&head, &target), expected, "{line}");
    }

    #[test]
    fn requests_are_told_apart_by_method_key_and_query() {
        check("GET /k", "b", "k", Op::Get);
        check("GET /?prefix&delimiter=/", "b", "", Op::List);
        check("GET /", "", "", Op::ListBuckets);
        check("POST /k?uploads", "b", "k", Op::Initiate);
        check("POST /k?uploadId=1", "b", "k", Op::Complete);
        check("PUT /k?partNumber=1&uploadId=1", "b", "k", Op::Part);
        check("DELETE /k?uploadId=1", "b", "k", Op::Abort);
        check("HEAD /?apiversion", "b", "", Op::ApiVersion);
        check("GET /k?acl", "b", "k", Op::Unknown);
        check("POST /k", "b", "k", Op::Unknown);
    }
}
