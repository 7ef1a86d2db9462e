//! The storage on the OBS server: signatures, addresses, versions, keys, and every fault it must see through.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use kit::obs::{Effect, Fault, ObsServer, Op, Options};
use pipeline::config::{Config, Variables, WorkerType};
use pipeline::failure::{Failure, Kind, Stage};
use pipeline::storage::{Bucket, Storage};

/// A service host, as production has it.
const SERVICE: &str = "http://obs.test-1.myhuaweicloud.com";

fn storage(variables: &[(&str, &str)]) -> std::sync::Arc<Storage> {
    let server = [("OBS_SERVER", "memory://")];
    let variables: Variables = server
        .iter()
        .chain(variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Storage::new(&Config::from_variables(&variables, WorkerType::MultiProcess).unwrap().storage).unwrap()
}

/// A bucket of the server through `endpoint`, connected to the server's address.
fn bucket_at(server: &ObsServer, endpoint: &str) -> Bucket {
    let options = Options::default();
    let address = server.address().to_string();
    let storage = storage(&[
        ("OBS_SERVER", endpoint),
        ("OBS_RESOLVE", &address),
        ("OBS_ACCESS_KEY", &options.access_key),
        ("OBS_SECRET_KEY", &options.secret_key),
    ]);
    storage.bucket("in", Stage::Download).unwrap()
}

async fn server() -> (ObsServer, Bucket) {
    let server = ObsServer::start(Options { buckets: vec!["in".to_owned()], ..Options::default() }).await;
    let bucket = bucket_at(&server, SERVICE);
    (server, bucket)
}

async fn read(bucket: &Bucket, key: &str) -> Result<Bytes, Failure> {
    let meta = bucket.stat(key, Stage::Download).await?;
    let pieces: Vec<Bytes> = bucket.read(key, &meta, 0).await?.try_collect().await?;
    Ok(Bytes::from(pieces.concat()))
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|index| (index % 251) as u8).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn what_is_written_is_read_whole_through_every_kind_of_address() {
    let (server, _) = server().await;
    let address = format!("http://{}", server.address());
    for endpoint in
        [SERVICE, "http://obs.cn.huawei.com", "http://obs.private.example", "http://obs.private.example:8443"]
    {
        let bucket = bucket_at(&server, endpoint);
        for length in [0, 1, 100_000, 20 << 20] {
            let key = format!("数据/a b+c%2F?#&'()*!~ {length}.csv");
            bucket.put(&key, bytes(length)).await.unwrap();
            assert_eq!(server.get("in", &key).unwrap().bytes, bytes(length), "{endpoint}: stored");
            assert_eq!(read(&bucket, &key).await.unwrap(), bytes(length), "{endpoint}: read");
        }
        assert_eq!(server.uploads_open(), 0);
    }
    // An address, with its port in the endpoint and nothing fixed.
    let options = Options::default();
    let storage = storage(&[
        ("OBS_SERVER", &address),
        ("OBS_ACCESS_KEY", &options.access_key),
        ("OBS_SECRET_KEY", &options.secret_key),
    ]);
    let bucket = storage.bucket("obs://in/below", Stage::Download).unwrap();
    bucket.put("a.csv", bytes(10)).await.unwrap();
    assert_eq!(server.get("in", "below/a.csv").unwrap().bytes, bytes(10));
    let listed: Vec<_> = bucket.list("").await.unwrap().try_collect().await.unwrap();
    assert_eq!(
        listed.iter().map(|object| (object.key.as_str(), object.size)).collect::<Vec<_>>(),
        [("a.csv", 10)]
    );
}

#[tokio::test]
async fn a_wrong_secret_stops_and_a_missing_object_does_not() {
    let (server, bucket) = server().await;
    assert_eq!(read(&bucket, "missing.csv").await.unwrap_err().kind, Kind::NotFound);
    server.rotate("AKTEST0123456789", "another secret", None);
    let failure = read(&bucket, "missing.csv").await.unwrap_err();
    assert_eq!(failure.kind, Kind::PermissionDenied, "{}", failure.chain());
}

/// A storage whose source and destination are `in`.
fn configured(server: &ObsServer, source: &str) -> std::sync::Arc<Storage> {
    let options = Options::default();
    storage(&[
        ("OBS_SERVER", SERVICE),
        ("OBS_RESOLVE", &server.address().to_string()),
        ("OBS_ACCESS_KEY", &options.access_key),
        ("OBS_SECRET_KEY", &options.secret_key),
        ("OBS_SOURCE_BUCKET", source),
        ("OBS_DEST_BUCKET", "in"),
    ])
}

#[tokio::test]
async fn one_forbidden_object_fails_its_task_and_a_forbidden_destination_stops_the_worker() {
    let (server, _) = server().await;
    let bucket = configured(&server, "in").bucket("in", Stage::Download).unwrap();
    let forbid =
        |operation| Fault::new(operation, Effect::Status(403, "AccessDenied")).on("private/*").always();
    server.faults().add(forbid(Op::Head));
    server.faults().add(forbid(Op::Put));
    assert_eq!(read(&bucket, "private/a.csv").await.unwrap_err().kind, Kind::Forbidden);
    assert_eq!(bucket.put("private/a.json", bytes(10)).await.unwrap_err().kind, Kind::PermissionDenied);
    // A bucket that only a task names is the task's own fault.
    server.put("other", "private/a.csv", bytes(1));
    let other = configured(&server, "in").bucket("other", Stage::Upload).unwrap();
    assert_eq!(other.put("private/a.json", bytes(10)).await.unwrap_err().kind, Kind::Forbidden);
    // Without the right to list, a missing object of the source looks like this: better stop than fail a topic.
    server.faults().add(Fault::new(Op::List, Effect::Status(403, "AccessDenied")).always());
    assert_eq!(read(&bucket, "private/a.csv").await.unwrap_err().kind, Kind::PermissionDenied);
}

#[tokio::test]
async fn a_misspelt_bucket_is_noticed_before_a_task_is_taken() {
    let (server, _) = server().await;
    configured(&server, "in").check().await.unwrap();
    assert_eq!(configured(&server, "inn").check().await.unwrap_err().kind, Kind::Misconfigured);
    server.rotate("another", "secret", None);
    assert_eq!(configured(&server, "in").check().await.unwrap_err().kind, Kind::PermissionDenied);

    let folder = tempfile::tempdir().unwrap();
    let misspelt = format!("file://{}/misspelt", folder.path().display());
    let variables = [("OBS_SOURCE_BUCKET".to_owned(), misspelt)].into();
    let config = Config::from_variables(&variables, WorkerType::MultiProcess).unwrap();
    assert_eq!(Storage::new(&config.storage).unwrap_err().kind, Kind::Misconfigured);
    assert!(!folder.path().join("misspelt").exists(), "and not made");
}

#[tokio::test]
async fn an_outage_is_told_from_a_failing_object() {
    let (server, bucket) = server().await;
    server.put("in", "a.csv", bytes(10));
    server.faults().add(Fault::new(Op::Head, Effect::Status(500, "InternalError")).always());
    assert_eq!(read(&bucket, "a.csv").await.unwrap_err().kind, Kind::StorageUnavailable);
    server.faults().add(Fault::new(Op::List, Effect::Status(500, "InternalError")).always());
    assert_eq!(read(&bucket, "a.csv").await.unwrap_err().kind, Kind::StorageDown);
}

#[tokio::test]
async fn temporary_credentials_are_used_and_renewed_from_their_file() {
    let (server, _) = server().await;
    server.rotate("AK1", "SK1", Some("token-1+/="));
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |number: u32, token: &str| {
        let text =
            format!("OBS_ACCESS_KEY=AK{number}\nOBS_SECRET_KEY=SK{number}\nOBS_SECURITY_TOKEN={token}\n");
        std::fs::write(file.path(), text).unwrap();
    };
    write(1, "token-1+/=");
    let storage = storage(&[
        ("OBS_SERVER", SERVICE),
        ("OBS_RESOLVE", &server.address().to_string()),
        ("OBS_CREDENTIALS_FILE", file.path().to_str().unwrap()),
    ]);
    let bucket = storage.bucket("in", Stage::Download).unwrap();
    // Parts, too: each request carries the token.
    bucket.put("a", bytes(20 << 20)).await.unwrap();

    server.rotate("AK2", "SK2", Some("token-2"));
    write(2, "token-2");
    // The file is looked at once a second: until then the old key is refused.
    let renewed = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while bucket.stat("a", Stage::Download).await.is_err() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(kit::DEADLINE, renewed).await.expect("renewed credentials are picked up");
}

#[tokio::test]
async fn throttling_and_broken_connections_are_seen_through() {
    for operation in [Op::Head, Op::Get, Op::Put] {
        for effect in [
            Effect::Status(503, "SlowDown"),
            Effect::Status(500, "InternalError"),
            Effect::Status(429, "TooManyRequests"),
            Effect::Status(408, "RequestTimeout"),
            Effect::EmptyStatus(502),
            Effect::Hangup,
            Effect::LostAnswer,
        ] {
            let (server, bucket) = server().await;
            server.faults().add(Fault::new(operation, effect.clone()).times(2));
            bucket.put("a.csv", bytes(100_000)).await.unwrap();
            assert_eq!(read(&bucket, "a.csv").await.unwrap(), bytes(100_000), "{operation:?} × {effect:?}");
            assert_eq!(server.faults().left(), 0, "{operation:?} × {effect:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_is_read_on_where_it_ended() {
    let (server, bucket) = server().await;
    server.put("in", "a.csv", bytes(3 << 20));
    server.faults().add(Fault::new(Op::Get, Effect::CutBody).times(2));
    assert_eq!(read(&bucket, "a.csv").await.unwrap(), bytes(3 << 20));
    let ranges = server.requests().into_iter().filter(|request| request.range.is_some()).count();
    assert_eq!(ranges, 2, "resumed, not begun again");
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_never_mixed() {
    let (server, bucket) = server().await;
    server.put("in", "a.csv", bytes(3 << 20));
    let replace = Effect::Replace { after: 1 << 20, bytes: vec![b'x'; 3 << 20].into() };
    server.faults().add(Fault::new(Op::Get, replace));
    let failure = read(&bucket, "a.csv").await.unwrap_err();
    assert_eq!(failure.kind, Kind::ObjectChanged, "{}", failure.chain());
}

#[tokio::test]
async fn an_object_replaced_between_look_and_read_is_noticed() {
    let (server, bucket) = server().await;
    server.put("in", "a.csv", bytes(1000));
    let meta = bucket.stat("a.csv", Stage::Download).await.unwrap();
    server.put("in", "a.csv", bytes(999));
    let read: Result<Vec<Bytes>, Failure> = bucket.read("a.csv", &meta, 0).await.unwrap().try_collect().await;
    assert_eq!(read.unwrap_err().kind, Kind::ObjectChanged);
}

/// Two parts and a completion.
const MULTIPART: usize = 12 << 20;

#[tokio::test]
async fn a_multipart_upload_sees_through_faults_of_every_request() {
    for (operation, effect) in [
        (Op::Initiate, Effect::Status(503, "SlowDown")),
        (Op::Part, Effect::Status(429, "TooManyRequests")),
        (Op::Part, Effect::Hangup),
        (Op::Part, Effect::LostAnswer),
        (Op::Complete, Effect::Status(503, "SlowDown")),
        (Op::Complete, Effect::EmptyStatus(503)),
        // Errors inside a 200, and a completion whose answer is lost.
        (Op::Complete, Effect::OkWithError),
        (Op::Complete, Effect::LostAnswer),
    ] {
        let (server, bucket) = server().await;
        server.faults().add(Fault::new(operation, effect.clone()));
        bucket.put("big.json", bytes(MULTIPART)).await.unwrap_or_else(|failure| {
            panic!("{operation:?} × {effect:?}: {}", failure.chain());
        });
        assert_eq!(
            server.get("in", "big.json").unwrap().bytes,
            bytes(MULTIPART),
            "{operation:?} × {effect:?}"
        );
        assert_eq!(server.faults().left(), 0, "{operation:?} × {effect:?}");
    }
}

#[tokio::test]
async fn a_multipart_upload_that_fails_is_aborted_and_stores_nothing() {
    for operation in [Op::Part, Op::Complete] {
        let (server, bucket) = server().await;
        server.faults().add(Fault::new(operation, Effect::Status(400, "InvalidRequest")).always());
        bucket.put("big.json", bytes(MULTIPART)).await.unwrap_err();
        assert_eq!(server.get("in", "big.json").map(|object| object.bytes.len()), None, "{operation:?}");
        assert_eq!(server.uploads_open(), 0, "{operation:?}: aborted");
    }
}

#[tokio::test]
async fn an_upload_whose_caller_left_is_aborted() {
    let (server, bucket) = server().await;
    server.faults().add(Fault::new(Op::Part, Effect::Status(503, "SlowDown")));
    {
        let put = std::pin::pin!(bucket.put("big.json", bytes(40 << 20)));
        let begun = server.wait_for(|requests| requests.iter().any(|request| request.op == Op::Part));
        futures::future::select(put, std::pin::pin!(begun)).await;
    }
    kit::eventually("the upload is aborted", || server.uploads_open() == 0).await;
    assert!(server.get("in", "big.json").is_none());
}

#[tokio::test]
async fn keys_that_cannot_be_addressed_touch_nothing() {
    let (server, bucket) = server().await;
    server.put("in", "a/b", bytes(1));
    for key in ["a//b", "/a/b", " a/b", "a/b ", "a/./b", "x/../a/b", "a/b/", ""] {
        assert_eq!(read(&bucket, key).await.unwrap_err().kind, Kind::UnaddressableKey, "{key:?}");
        assert_eq!(bucket.put(key, bytes(2)).await.unwrap_err().kind, Kind::UnaddressableKey, "{key:?}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn s3_is_a_bucket() {
    let (server, _) = server().await;
    let options = Options::default();
    let storage = storage(&[
        ("AWS_ENDPOINT_URL", &format!("http://{}", server.address())),
        ("AWS_ACCESS_KEY_ID", &options.access_key),
        ("AWS_SECRET_ACCESS_KEY", &options.secret_key),
    ]);
    let bucket = storage.bucket("s3://in/below", Stage::Download).unwrap();
    for length in [0, 1000, MULTIPART] {
        bucket.put("数据/a b.csv", bytes(length)).await.unwrap();
        assert_eq!(server.get("in", "below/数据/a b.csv").unwrap().bytes, bytes(length));
        assert_eq!(read(&bucket, "数据/a b.csv").await.unwrap(), bytes(length));
    }
    assert_eq!(read(&bucket, "missing").await.unwrap_err().kind, Kind::NotFound);
    server.faults().add(Fault::new(Op::Get, Effect::Status(503, "SlowDown")).times(2));
    assert_eq!(read(&bucket, "数据/a b.csv").await.unwrap().len(), MULTIPART);
    server.rotate("another", "secret", None);
    assert_eq!(read(&bucket, "missing").await.unwrap_err().kind, Kind::PermissionDenied);
}

#[tokio::test]
async fn a_folder_is_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let storage = storage(&[("OBS_SOURCE_BUCKET", &url)]);
    let bucket = storage.bucket(&url, Stage::Download).unwrap();
    bucket.put("x/y z.csv", bytes(1000)).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("x/y z.csv")).unwrap(), bytes(1000));
    assert_eq!(read(&bucket, "x/y z.csv").await.unwrap(), bytes(1000));
    assert_eq!(read(&bucket, "x/missing").await.unwrap_err().kind, Kind::NotFound);
    // Only what the configuration names: a message must not read this machine.
    let failure = storage.bucket("file:///etc", Stage::Download).unwrap_err();
    assert_eq!(failure.kind, Kind::ForbiddenLocation);
}
