//! Everything that goes wrong: refusals, broken requests, planned faults.

use std::time::Duration;

use super::client::Client;
use super::{Effect, Fault, ObsServer, Op, Options};

fn start_with(options: Options) -> (ObsServer, Client) {
    let server = ObsServer::start_blocking(options);
    server.put("b", "k", "0123456789");
    let client = Client::new(&server);
    (server, client)
}

fn start() -> (ObsServer, Client) {
    start_with(Options::default())
}

#[track_caller]
fn refused(client: &mut Client, line: &str, status: u16, code: &str) {
    let reply = client.call(line, &[], b"");
    assert_eq!(reply.error(), (status, code.to_owned()), "{line}");
}

#[test]
fn a_wrong_signature_is_refused() {
    let (server, mut client) = start();
    client.secret_key.push('!');
    for line in ["GET /k", "PUT /k", "DELETE /k", "GET /", "POST /k?uploads"] {
        refused(&mut client, line, 403, "SignatureDoesNotMatch");
    }
    assert_eq!(client.call("HEAD /k", &[], b"").status, 403);
    client.access_key.push('!');
    refused(&mut client, "GET /k", 403, "InvalidAccessKeyId");
    client.write(b"GET /k HTTP/1.1\r\nhost: b.obs.test-1.myhuaweicloud.com\r\n\r\n");
    assert_eq!(client.reply(false).expect("an answer").error(), (403, "AccessDenied".to_owned()));
    assert_eq!(&server.get("b", "k").expect("untouched").bytes[..], b"0123456789");
    assert!(server.requests().iter().all(|request| request.status == Some(403)));
}

#[test]
fn the_version_is_told_without_a_signature() {
    let (_server, mut client) = start();
    client.write(b"HEAD /?apiversion HTTP/1.1\r\nhost: b.obs.test-1.myhuaweicloud.com\r\n\r\n");
    let reply = client.reply(true).expect("an answer");
    assert_eq!((reply.status, reply.header("x-obs-api")), (200, "3.0"));
}

#[test]
fn temporary_credentials_need_their_token_and_end() {
    let token = Some("T+/=".to_owned());
    let (server, mut client) = start_with(Options { security_token: token.clone(), ..Options::default() });
    refused(&mut client, "GET /k", 403, "InvalidAccessKeyId");
    client.token = Some("T".to_owned());
    refused(&mut client, "GET /k", 403, "InvalidAccessKeyId");
    client.token = token;
    assert_eq!(client.get("/k").status, 200);
    server.rotate("AK2", "SK2", Some("T2"));
    refused(&mut client, "GET /k", 403, "InvalidAccessKeyId");
    (client.access_key, client.secret_key, client.token) = ("AK2".into(), "SK2".into(), Some("T2".into()));
    assert_eq!(client.get("/k").status, 200);
}

#[test]
fn a_bucket_is_addressed_in_four_ways() {
    let domains = [("files.example.test".to_owned(), "b".to_owned())].into();
    let (server, mut client) = start_with(Options { domains, ..Options::default() });
    let ip = server.address().to_string();
    for (host, resource, target) in [
        ("b.obs.cn-north-4.myhuaweicloud.com:443", "/b", "/k"),
        ("b.obs.ap.huawei.com", "/b", "/k"),
        ("files.example.test", "/files.example.test", "/k"),
        (&ip, "", "/b/k"),
        ("ignored", "/b", "http://b.obs.private.example/k"),
    ] {
        (client.host, client.resource) = (host.to_owned(), resource.to_owned());
        for scheme in ["OBS", "AWS"] {
            client.scheme = scheme;
            assert_eq!(client.get(target).text(), "0123456789", "{scheme} {host} {target}");
        }
    }
    assert!(!client.get("http://b.obs.private.example/k").header("x-amz-request-id").is_empty());
}

#[test]
fn an_announced_md5_is_checked() {
    let (server, mut client) = start();
    let mut put = |md5| client.call("PUT /new", &[("content-md5", md5)], b"abc");
    assert_eq!(put("kAFQmDzST7DWlj99KOF/cg==").status, 200);
    assert_eq!(put("kAFQmDzST7DWlj99KOF/cQ==").error(), (400, "BadDigest".to_owned()));
    assert_eq!(put("abc").error(), (400, "InvalidDigest".to_owned()));
    assert_eq!(server.keys("b"), ["k", "new"]);
}

#[test]
fn bodies_arrive_in_every_framing() {
    let (server, mut client) = start();
    client.send("PUT /chunked", &[("transfer-encoding", "chunked")], b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.reply(false).expect("an answer").status, 200);
    assert_eq!(&server.get("b", "chunked").expect("stored").bytes[..], b"abcde");

    client.send("PUT /waited", &[("content-length", "2"), ("expect", "100-continue")], b"");
    assert_eq!(client.reply_head().expect("leave to go on").status, 100);
    client.write(b"ok");
    assert_eq!(client.reply(false).expect("an answer").status, 200);

    client.send("PUT /cut", &[("content-length", "1000")], b"half");
    drop(client);
    let mut other = Client::new(&server);
    other.write(b"no request\r\n\r\n");
    assert_eq!(other.reply(false).expect("an answer").status, 400);
    assert_eq!(other.rest(), b"");
    drop(other);
    assert_eq!(server.keys("b"), ["chunked", "k", "waited"]);
}

#[test]
fn many_connections_are_served_at_once() {
    let (server, _) = start();
    let mut clients: Vec<_> = (0..100).map(|_| Client::new(&server)).collect();
    for client in &mut clients {
        client.send("GET /k", &[], b"");
    }
    for client in clients.iter_mut().rev() {
        assert_eq!(client.reply(false).expect("an answer").text(), "0123456789");
    }
}

/// A server with one fault for the next request of `op`.
fn faulty(op: Op, effect: Effect) -> (ObsServer, Client) {
    let (server, client) = start();
    server.faults().add(Fault::new(op, effect).in_bucket("b"));
    (server, client)
}

#[test]
fn a_status_fault_does_nothing_and_keeps_the_connection() {
    let (server, mut client) = faulty(Op::Put, Effect::Status(503, "SlowDown"));
    assert_eq!(client.put("/new", b"x").error(), (503, "SlowDown".to_owned()));
    assert_eq!((server.keys("b").len(), server.faults().left()), (1, 0));
    server.faults().add(Fault::new(Op::Put, Effect::EmptyStatus(500)));
    let empty = client.put("/new", b"x");
    assert_eq!((empty.status, empty.body.len()), (500, 0));
    assert_eq!(client.put("/new", b"x").status, 200);
    let statuses: Vec<_> = server.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(503), Some(500), Some(200)]);
}

#[test]
fn a_refused_request_does_not_use_up_a_fault() {
    let (server, mut client) = faulty(Op::Get, Effect::Status(500, "InternalError"));
    let secret = std::mem::replace(&mut client.secret_key, "wrong".to_owned());
    refused(&mut client, "GET /k", 403, "SignatureDoesNotMatch");
    assert_eq!(server.faults().left(), 1);
    client.secret_key = secret;
    refused(&mut client, "GET /k", 500, "InternalError");
}

#[test]
fn a_listing_is_hit_by_its_prefix() {
    let (server, mut client) = start();
    server.faults().add(Fault::new(Op::List, Effect::Status(503, "SlowDown")).on("in/*").after(1));
    assert_eq!(
        ["/", "/?prefix=in/", "/?prefix=in/a"].map(|target| client.get(target).status),
        [200, 200, 503]
    );
}

#[test]
fn a_completion_may_fail_with_200() {
    let (server, mut client) = faulty(Op::Complete, Effect::OkWithError);
    let reply = client.call("POST /m?uploadId=1", &[], b"");
    assert_eq!(reply.error(), (200, "InternalError".to_owned()));
    assert_eq!(server.keys("b"), ["k"]);
}

#[test]
fn a_lost_answer_leaves_the_work_done() {
    let (server, mut client) = faulty(Op::Put, Effect::LostAnswer);
    client.send("PUT /new", &[], b"x");
    assert_eq!(client.rest(), b"");
    assert_eq!(server.keys("b"), ["k", "new"]);
    assert_eq!(server.requests()[0].status, None);
}

#[test]
fn a_hangup_leaves_the_work_undone() {
    let (server, mut client) = faulty(Op::Put, Effect::Hangup);
    client.send("PUT /new", &[], b"x");
    assert_eq!(client.rest(), b"");
    assert_eq!(server.keys("b"), ["k"]);
}

#[test]
fn a_cut_body_ends_at_its_half() {
    let (_server, mut client) = faulty(Op::Get, Effect::CutBody);
    client.send("GET /k", &[], b"");
    let head = client.reply_head().expect("a head");
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    assert_eq!(client.rest(), b"01234");
}

#[tokio::test]
async fn a_stalled_request_stays_open_until_the_client_leaves() {
    let (server, mut client) = faulty(Op::Get, Effect::StalledBody);
    server.faults().add(Fault::new(Op::Put, Effect::StalledAnswer));
    let mut other = Client::new(&server);
    client.send("GET /k", &[], b"");
    other.send("PUT /new", &[], b"x");
    assert_eq!(client.reply_head().expect("a head").header("content-length"), "10");
    assert_eq!(client.bytes(5).expect("half"), b"01234");
    server.wait_for(|log| log.len() == 2).await;
    assert!(server.requests().iter().any(|request| request.op == Op::Put && request.status.is_none()));
    assert_eq!(server.keys("b"), ["k"]);
    drop(server);
    assert_eq!((client.rest(), other.rest()), (vec![], vec![]));
}

#[test]
fn a_slow_body_is_whole() {
    let (_server, mut client) = faulty(Op::Get, Effect::SlowBody(1_000));
    assert_eq!(client.get("/k").text(), "0123456789");
}

#[test]
fn an_object_is_replaced_under_its_reader() {
    let new = |after| Effect::Replace { after, bytes: "new".into() };
    let (server, mut client) = faulty(Op::Get, new(4));
    client.send("GET /k", &[], b"");
    assert_eq!(client.reply_head().expect("a head").status, 200);
    assert_eq!(client.rest(), b"0123");
    assert_eq!(&server.get("b", "k").expect("replaced").bytes[..], b"new");

    // Between two ranges of one reader, and between the look at an object and its read.
    for (op, line, body) in [(Op::Get, "GET /k", "0123456789"), (Op::Head, "HEAD /k", "")] {
        let (server, mut client) = faulty(op, new(10));
        assert_eq!(client.call(line, &[], b"").text(), body);
        assert_eq!(&server.get("b", "k").expect("replaced").bytes[..], b"new");
        assert_eq!(client.get("/k").text(), "new");
    }
}

#[test]
fn a_dropped_server_is_gone() {
    let (server, mut client) = start();
    let address = server.address();
    drop(server);
    assert_eq!(client.rest(), b"");
    assert!(std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_err());
}
