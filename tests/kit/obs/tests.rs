//! The server as a client meets it, on the wire.

use std::sync::Arc;

use super::client::{Client, Reply};
use super::content::{hex, md5};
use super::{ObsServer, Op, Options, xml};

fn start() -> (ObsServer, Client) {
    let server = ObsServer::start_blocking(Options { buckets: vec!["b".to_owned()], ..Options::default() });
    let client = Client::new(&server);
    (server, client)
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.error(), (status, code.to_owned()));
}

#[test]
fn an_object_comes_back_as_it_was_put() {
    let (server, mut client) = start();
    let key = "/in/a%20file%2B%C3%A9!*'().csv";
    let headers = [("content-type", "text/csv"), ("cache-control", "no-cache"), ("x-obs-meta-job", "j 1")];
    let put = client.call(&format!("PUT {key}"), &headers, b"a,b\n1,2\n");
    let etag = format!("\"{}\"", hex(&md5(b"a,b\n1,2\n")));
    assert_eq!((put.status, put.header("etag"), put.header("content-length")), (200, etag.as_str(), "0"));
    for method in ["GET", "HEAD"] {
        let got = client.call(&format!("{method} {key}"), &[], b"");
        assert_eq!(got.body, if method == "GET" { b"a,b\n1,2\n".as_slice() } else { b"" });
        let names = ["content-length", "content-type", "cache-control", "x-obs-meta-job", "etag"];
        assert_eq!(names.map(|name| got.header(name)), ["8", "text/csv", "no-cache", "j 1", &etag]);
        assert!(got.header("last-modified").ends_with(" GMT"));
    }
    let object = server.get("b", "in/a file+é!*'().csv").expect("stored");
    assert_eq!(
        (&object.bytes[..], object.etag, object.content_type),
        (&b"a,b\n1,2\n"[..], etag, "text/csv".into())
    );
    assert_eq!(object.metadata["job"], "j 1");
    for _ in 0..2 {
        assert_eq!(client.call(&format!("DELETE {key}"), &[], b"").status, 204);
    }
    refused(&client.get(key), 404, "NoSuchKey");
    let head = client.call(&format!("HEAD {key}"), &[], b"");
    assert_eq!((head.status, head.header("content-length")), (404, "0"));
    assert_eq!(server.keys("b"), Vec::<String>::new());
}

#[test]
fn requests_are_logged() {
    let (server, mut client) = start();
    server.put("b", "k", "0123456789");
    client.call("GET /k?x=1", &[("range", "bytes=2-5")], b"");
    client.get("/missing");
    let log = server.requests();
    assert_eq!((log[0].op, log[0].status, log[0].range.as_deref()), (Op::Get, Some(206), Some("bytes=2-5")));
    assert_eq!((log[0].bucket.as_str(), log[0].key.as_str(), log[0].query.as_str()), ("b", "k", "x=1"));
    assert_eq!((log[1].key.as_str(), log[1].status), ("missing", Some(404)));
    server.clear_requests();
    assert_eq!(server.requests(), []);
}

#[test]
fn ranges_and_conditions() {
    let (server, mut client) = start();
    let etag = server.put("b", "k", "0123456789");
    let part = client.call("GET /k", &[("range", "bytes=2-5")], b"");
    assert_eq!((part.status, part.header("content-range"), part.text()), (206, "bytes 2-5/10", "2345"));
    let tail = client.call("GET /k", &[("range", "bytes=-3"), ("if-match", &etag)], b"");
    assert_eq!((tail.status, tail.text()), (206, "789"));
    refused(&client.call("GET /k", &[("range", "bytes=10-")], b""), 416, "InvalidRange");
    refused(&client.call("GET /k", &[("if-match", "\"0\"")], b""), 412, "PreconditionFailed");
    for (name, value, status) in [
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "\"0\"", 200),
        ("if-match", "*", 200),
        ("if-match", "\"0\", W/\"1\"", 412),
        ("if-modified-since", "Tue, 24 Nov 2099 00:00:00 GMT", 304),
        ("if-unmodified-since", "Tue, 24 Nov 2009 00:00:00 GMT", 412),
        ("if-unmodified-since", "no date", 200),
    ] {
        assert_eq!(client.call("HEAD /k", &[(name, value)], b"").status, status, "{name}: {value}");
        assert_eq!(client.call("GET /k", &[(name, value)], b"").status, status, "{name}: {value}");
    }
}

/// A completion of parts given by number and etag.
fn completion(parts: &[(u32, &str)]) -> Vec<u8> {
    let part = |(number, etag): &(u32, &str)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", xml::escape(etag))
    };
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into_bytes()
}

fn initiate(client: &mut Client) -> String {
    let reply = client.call("POST /m?uploads", &[("content-type", "text/csv"), ("x-obs-meta-a", "1")], b"");
    assert_eq!(reply.status, 200);
    xml::text(reply.text(), "UploadId").expect("an upload id")
}

#[test]
fn parts_become_an_object() {
    let (server, mut client) = start();
    let id = initiate(&mut client);
    let parts = [vec![b'x'; 100 << 10], b"the end".to_vec()];
    let mut etags = Vec::new();
    for (number, part) in [(2, &parts[1]), (1, &parts[1]), (1, &parts[0])] {
        let reply = client.put(&format!("/m?partNumber={number}&uploadId={id}"), part);
        etags.push(reply.header("etag").to_owned());
    }
    assert_eq!(etags[1], etags[0], "the same bytes");
    let listed = client.get(&format!("/m?uploadId={id}"));
    assert_eq!(xml::elements(listed.text(), "PartNumber").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((server.uploads_open(), server.keys("b").len()), (1, 0));

    let body = completion(&[(1, &etags[2]), (2, etags[0].trim_matches('"'))]);
    let done = client.call(&format!("POST /m?uploadId={id}"), &[("content-type", "application/xml")], &body);
    let etag = format!("\"{}-2\"", hex(&md5(&[md5(&parts[0]), md5(&parts[1])].concat())));
    assert_eq!((done.status, xml::text(done.text(), "ETag")), (200, Some(etag.clone())));
    let object = server.get("b", "m").expect("complete");
    assert_eq!((object.bytes, object.etag), (parts.concat().into(), etag));
    assert_eq!((object.content_type.as_str(), object.metadata["a"].as_str()), ("text/csv", "1"));
    assert_eq!(server.uploads_open(), 0);
    refused(&client.call(&format!("POST /m?uploadId={id}"), &[], &body), 404, "NoSuchUpload");
}

#[test]
fn a_wrong_completion_is_refused_and_may_be_repeated() {
    let (server, mut client) = start();
    let id = initiate(&mut client);
    let etags: Vec<_> = (1..=2)
        .map(|number| client.put(&format!("/m?partNumber={number}&uploadId={id}"), b"small"))
        .map(|reply| reply.header("etag").to_owned())
        .collect();
    let (one, two) = ((1, etags[0].as_str()), (2, etags[1].as_str()));
    let mut complete = |body: &[u8]| client.call(&format!("POST /m?uploadId={id}"), &[], body);
    refused(&complete(&completion(&[two, one])), 400, "InvalidPartOrder");
    refused(&complete(&completion(&[one, one])), 400, "InvalidPartOrder");
    refused(&complete(&completion(&[one, two])), 400, "EntityTooSmall");
    refused(&complete(&completion(&[one, (3, one.1)])), 400, "InvalidPart");
    refused(&complete(&completion(&[(1, "\"0\"")])), 400, "InvalidPart");
    refused(&complete(b""), 400, "MalformedXML");
    refused(&complete(b"<CompleteMultipartUpload></CompleteMultipartUpload>"), 400, "MalformedXML");
    assert_eq!((server.uploads_open(), server.keys("b").len()), (1, 0));
    assert_eq!(complete(&completion(&[one])).status, 200);
    assert_eq!(&server.get("b", "m").expect("complete").bytes[..], b"small");
}

#[test]
fn an_aborted_upload_leaves_nothing() {
    let (server, mut client) = start();
    let id = initiate(&mut client);
    let listed = client.get("/?uploads&prefix=m");
    assert_eq!(xml::text(listed.text(), "UploadId"), Some(id.clone()));
    refused(&client.put(&format!("/other?partNumber=1&uploadId={id}"), b"x"), 404, "NoSuchUpload");
    refused(&client.put(&format!("/m?partNumber=10001&uploadId={id}"), b"x"), 400, "InvalidArgument");
    assert_eq!(client.call(&format!("DELETE /m?uploadId={id}"), &[], b"").status, 204);
    refused(&client.put(&format!("/m?partNumber=1&uploadId={id}"), b"x"), 404, "NoSuchUpload");
    refused(&client.call(&format!("DELETE /m?uploadId={id}"), &[], b""), 404, "NoSuchUpload");
    assert_eq!((server.uploads_open(), server.keys("b").len()), (0, 0));
}

#[test]
fn an_object_is_copied_with_its_metadata_or_with_new() {
    let (server, mut client) = start();
    client.call("PUT /a%20b", &[("content-type", "text/csv")], b"abc");
    let copied = client.call("PUT /c", &[("x-obs-copy-source", "/b/a%20b")], b"");
    let etag = server.get("b", "a b").expect("stored").etag;
    assert_eq!((copied.status, xml::text(copied.text(), "ETag")), (200, Some(etag)));
    let replace =
        [("x-obs-copy-source", "b/a%20b"), ("x-obs-metadata-directive", "REPLACE"), ("x-obs-meta-n", "1")];
    assert_eq!(client.call("PUT /d", &replace, b"").status, 200);
    let [c, d] = ["c", "d"].map(|key| server.get("b", key).expect("copied"));
    assert_eq!((&c.bytes[..], c.content_type.as_str()), (&b"abc"[..], "text/csv"));
    assert_eq!((&d.bytes[..], d.content_type.as_str(), d.metadata["n"].as_str()), (&b"abc"[..], "", "1"));
    refused(&client.call("PUT /e", &[("x-obs-copy-source", "/b/none")], b""), 404, "NoSuchKey");
    let unless = [("x-obs-copy-source", "/b/c"), ("x-obs-copy-source-if-match", "\"0\"")];
    refused(&client.call("PUT /e", &unless, b""), 412, "PreconditionFailed");
}

#[test]
fn an_object_grows_at_its_end_only() {
    let (server, mut client) = start();
    let first = client.call("POST /log?append&position=0", &[], b"one");
    assert_eq!((first.status, first.header("x-obs-next-append-position")), (200, "3"));
    refused(&client.call("POST /log?append&position=2", &[], b"!"), 409, "PositionNotEqualToLength");
    assert_eq!(client.call("POST /log?append&position=3", &[], b"two").status, 200);
    assert_eq!(&server.get("b", "log").expect("stored").bytes[..], b"onetwo");
}

fn listed(reply: &Reply, name: &str) -> Vec<String> {
    let parent = if name == "Key" { "Contents" } else { "CommonPrefixes" };
    xml::elements(reply.text(), parent).filter_map(|element| xml::text(element, name)).collect()
}

#[test]
fn a_listing_has_prefixes_and_pages() {
    let (server, mut client) = start();
    for key in ["a", "d/1", "d/2", "d/e/3", "d0", "é&<", "B"] {
        server.put("b", key, "xy");
    }
    let all = client.get("/?prefix&delimiter=/");
    assert_eq!(listed(&all, "Key"), ["B", "a", "d0", "é&<"]);
    assert_eq!(listed(&all, "Prefix"), ["d/"]);
    assert!(all.text().contains("<IsTruncated>false") && !all.text().contains("NextMarker"));
    assert_eq!(xml::text(all.text(), "Size").as_deref(), Some("2"));
    assert_eq!(listed(&client.get("/?prefix=d/"), "Key"), ["d/1", "d/2", "d/e/3"]);
    assert_eq!(listed(&client.get("/?prefix=d/&delimiter=%2F"), "Prefix"), ["d/e/"]);
    assert_eq!(listed(&client.get("/?marker=d/2"), "Key"), ["d/e/3", "d0", "é&<"]);
    assert_eq!(listed(&client.get("/?encoding-type=url&prefix=%C3%A9"), "Key"), ["%C3%A9%26%3C"]);
    assert_eq!(listed(&client.get("/?max-keys=0"), "Key"), [""; 0]);
    refused(&client.get("/?max-keys=x"), 400, "InvalidArgument");
    refused(&client.get("/?list-type=2"), 501, "NotImplemented");

    let (mut marker, mut pages) = (String::new(), Vec::new());
    loop {
        let page = client.get(&format!("/?delimiter=/&max-keys=2&marker={marker}"));
        pages.push([listed(&page, "Key"), listed(&page, "Prefix")].concat().join(" "));
        match xml::text(page.text(), "NextMarker") {
            Some(next) => marker = next,
            None => break,
        }
    }
    assert_eq!(pages, ["B a", "d0 d/", "é&<"]);
}

#[test]
fn a_synthetic_listing_pages_through_any_number_of_keys() {
    let (server, mut client) = start();
    server.set_synthetic_listing("b", 2_500, |number| format!("{}/{number:07}", number / 1_000));
    let (mut marker, mut keys) = (String::new(), Vec::new());
    loop {
        let page = client.get(&format!("/?marker={marker}"));
        keys.extend(listed(&page, "Key"));
        match xml::text(page.text(), "NextMarker") {
            Some(next) => marker = next,
            None => break,
        }
    }
    assert_eq!((keys.len(), keys.is_sorted(), keys[2_499].as_str()), (2_500, true, "2/0002499"));
    assert_eq!(listed(&client.get("/?delimiter=/"), "Prefix"), ["0/", "1/", "2/"]);
    assert_eq!(listed(&client.get("/?prefix=2/00024&max-keys=1"), "Key"), ["2/0002400"]);
}

#[test]
fn a_generated_object_is_read_like_a_stored_one() {
    let (server, mut client) = start();
    let byte = |offset: u64| (offset % 251) as u8;
    let fill = move |offset: u64, buffer: &mut [u8]| {
        for (at, slot) in (offset..).zip(buffer) {
            *slot = byte(at);
        }
    };
    let etag = server.put_generated("b", "big", 200_000, Arc::new(fill));
    let whole = client.get("/big");
    assert_eq!((whole.status, whole.header("etag")), (200, etag.as_str()));
    assert!(whole.body.iter().copied().eq((0..200_000).map(byte)));
    let part = client.call("GET /big", &[("range", "bytes=70000-140000"), ("if-match", &etag)], b"");
    assert!(part.body.iter().copied().eq((70_000..140_001).map(byte)));
    assert_eq!(client.call("HEAD /big", &[], b"").header("content-length"), "200000");
    assert_eq!(server.put_generated("b", "huge", 1 << 41, Arc::new(fill)).len(), etag.len());
    let far = client.call("GET /huge", &[("range", "bytes=-1")], b"");
    assert_eq!(far.body, [byte((1 << 41) - 1)]);
}

#[test]
fn buckets() {
    let (server, mut client) = start();
    for method in ["HEAD", "PUT"] {
        assert_eq!(client.call(&format!("{method} /"), &[], b"").status, 200);
    }
    (client.host, client.resource) = ("c.obs.private.example:90".to_owned(), "/c".to_owned());
    refused(&client.get("/k"), 404, "NoSuchBucket");
    refused(&client.put("/k", b"x"), 404, "NoSuchBucket");
    assert_eq!(client.call("HEAD /", &[], b"").status, 404);
    assert_eq!(client.call("PUT /", &[], b"").status, 200);
    assert_eq!(client.put("/k", b"x").status, 200);
    refused(&client.call("DELETE /", &[], b""), 409, "BucketNotEmpty");
    let many = b"<Delete><Object><Key>k</Key></Object><Object><Key>none</Key></Object></Delete>";
    let deleted = client.call("POST /?delete", &[], many);
    assert_eq!(xml::elements(deleted.text(), "Deleted").count(), 2);
    assert_eq!(server.keys("c"), Vec::<String>::new());
    assert_eq!(client.call("DELETE /", &[], b"").status, 204);
    (client.host, client.resource) = ("obs.private.example".to_owned(), String::new());
    assert_eq!(xml::text(client.get("/").text(), "Name").as_deref(), Some("b"));
    refused(&client.get("/b/k"), 400, "VirtualHostDomainRequired");
    refused(&client.get("/?acl"), 403, "SignatureDoesNotMatch");
}
