//! One table: every way the storage fails × every request that a task makes of it → what becomes of the task, of its
//! summary, and of what was begun.
//!
//! Each cell is a worker of its own on a server of its own: a task is hit, another one beside it must not be. A storage that
//! recovers costs no task anything; one that does not is told apart from credentials that do not hold any more.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use kit::live::SERVICE;
use kit::obs::{Effect, Fault, ObsServer, Op, Options};
use kit::rig::{Rig, task};
use pipeline::failure::{Kind, Stage};
use pipeline::publish::ResultStatus;
use pipeline::task::NextOffset;

/// The task that is hit.
const VICTIM: &str = "victim.csv";
/// The one beside it.
const OTHER: &str = "other.csv";
/// The tries of a task in these tests.
const ATTEMPTS: u32 = 3;
/// Cells at the same time: they mostly wait.
const CELLS: usize = 24;

/// The requests of a task whose summary is one request, in their order.
const SMALL: [Op; 3] = [Op::Head, Op::Get, Op::Put];
/// Those that a large summary adds.
const LARGE: [Op; 3] = [Op::Initiate, Op::Part, Op::Complete];

/// What must become of the task that is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Its summary is stored, as if nothing had been.
    Success,
    /// A result and a dead letter of this kind, and no summary.
    Failed(Kind),
    /// Nothing is published or finished, and the worker stops with this kind.
    Stopped(Kind),
}
use Expect::{Failed, Stopped, Success};

/// A table of a few bytes.
fn small() -> Bytes {
    "id,name\n1,one\n2,two\n".into()
}

/// A table whose summary is longer than one request: its values are, and each of their bytes is six in JSON.
fn large() -> Bytes {
    const COLUMNS: usize = 30;
    let row = vec!["\u{1}".repeat(60_000); COLUMNS].join(",");
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("c{column}")).collect();
    format!("{}\n{row}\n", names.join(",")).into()
}

/// A worker on a server, and what it stores when nothing fails.
struct Cell {
    server: ObsServer,
    rig: Rig,
}

impl Cell {
    async fn set(object: Bytes, variables: &[(&str, &str)]) -> Cell {
        let options = Options { buckets: vec!["in".into(), "out".into()], ..Options::default() };
        let server = ObsServer::start(options.clone()).await;
        let (address, attempts) = (server.address().to_string(), ATTEMPTS.to_string());
        let own = [
            ("OBS_SERVER", SERVICE),
            ("OBS_RESOLVE", &address),
            ("OBS_ACCESS_KEY", &options.access_key),
            ("OBS_SECRET_KEY", &options.secret_key),
            ("OBS_SOURCE_BUCKET", "in"),
            ("OBS_DEST_BUCKET", "out"),
            ("PIPELINE_ATTEMPTS_MAX", &attempts),
        ];
        server.put("in", VICTIM, object);
        server.put("in", OTHER, small());
        Cell { rig: Rig::new(&own.into_iter().chain(variables.iter().copied()).collect::<Vec<_>>()), server }
    }

    fn hit(&self, fault: Fault) {
        self.server.faults().add(fault.on(&format!("{VICTIM}*")));
    }

    fn stored(&self, key: &str) -> Option<Bytes> {
        self.server.get("out", &format!("{key}.parsed.json")).map(|object| object.bytes)
    }

    /// Runs both tasks, in one partition, the victim first; looks at everything that is left.
    /// `orphans`: uploads that nobody can know of.
    async fn run(&self, expect: Expect, expected: &Bytes, orphans: usize, case: &str) {
        let outcome = self.rig.run(&[VICTIM, OTHER].map(task), 1).await;
        let results = |key| {
            let results = self.rig.results_of(key).into_iter();
            results.map(|result| (result.status, result.error_kind)).collect::<Vec<_>>()
        };
        let dead: Vec<_> = self.rig.results.dead_letters().into_iter().map(|letter| letter.kind).collect();
        match expect {
            Success => {
                assert_eq!(results(VICTIM), [(ResultStatus::Success, None)], "{case}: {outcome:?}");
                assert_eq!(self.stored(VICTIM).as_ref(), Some(expected), "{case}: the same bytes");
                assert_eq!(dead, [""; 0], "{case}");
            }
            Failed(kind) => {
                let kind = kind.as_str().to_owned();
                assert_eq!(results(VICTIM), [(ResultStatus::Failed, Some(kind.clone()))], "{case}");
                assert_eq!(dead, [kind], "{case}");
            }
            Stopped(kind) => {
                let failure = outcome.report.as_ref().expect_err(case);
                assert_eq!(failure.kind, kind, "{case}: {}", failure.chain());
                assert_eq!((results(VICTIM), dead), (vec![], vec![]), "{case}: no task is failed for it");
                assert_eq!(outcome.committable, [(0, NextOffset(0))], "{case}: nothing is finished");
            }
        }
        if !matches!(expect, Stopped(_)) {
            assert!(outcome.report.is_ok(), "{case}: {outcome:?}");
            assert_eq!(outcome.committable, [(0, NextOffset(2))], "{case}");
            assert_eq!(results(OTHER), [(ResultStatus::Success, None)], "{case}: the other one");
            assert!(self.stored(OTHER).is_some(), "{case}: the other one");
        }
        // A request whose answer was lost may have been done: then it is whole.
        let whole = self.stored(VICTIM).is_none_or(|stored| stored == *expected);
        assert!(whole, "{case}: half a summary");
        let what = format!("{case}: no upload is left behind");
        kit::eventually(&what, || self.server.uploads_open() <= orphans).await;
    }
}

/// What is stored for an object when nothing fails.
async fn expected(object: &Bytes) -> Bytes {
    let cell = Cell::set(object.clone(), &[]).await;
    cell.rig.run(&[task(VICTIM)], 1).await.report.unwrap();
    cell.stored(VICTIM).unwrap()
}

/// Everything the server can do to an answer.
fn effects() -> Vec<Effect> {
    vec![
        Effect::Status(503, "SlowDown"),
        Effect::Status(500, "InternalError"),
        Effect::Status(429, "TooManyRequests"),
        Effect::Status(408, "RequestTimeout"),
        Effect::EmptyStatus(502),
        Effect::EmptyStatus(503),
        Effect::OkWithError,
        Effect::Hangup,
        Effect::LostAnswer,
        Effect::StalledAnswer,
        Effect::CutBody,
        Effect::StalledBody,
        Effect::SlowBody(1 << 20),
        Effect::Replace { after: 5, bytes: small().slice(..14) },
    ]
}

/// Whatever it is, when it passes the task succeeds, with the bytes that it would have had.
#[tokio::test(flavor = "multi_thread")]
async fn every_fault_that_passes_times_every_request() {
    let operations = SMALL.into_iter().chain(LARGE);
    let cells = operations.flat_map(|operation| effects().into_iter().map(move |effect| (operation, effect)));
    let [small, large] = [small(), large()];
    let (of_small, of_large) = (expected(&small).await, expected(&large).await);
    assert!(of_large.len() > 8 << 20, "more than one request: {}", of_large.len());
    let runs = cells.map(|(operation, effect)| {
        let is_large = LARGE.contains(&operation);
        let (object, expected) = if is_large { (&large, &of_large) } else { (&small, &of_small) };
        async move {
            let case = format!("{operation:?} × {}", name(&effect));
            // So that what hangs is given up soon. A look has a deadline of its own, half a minute.
            let brief = [("PIPELINE_DOWNLOAD_TIMEOUT_MS", "8000"), ("PIPELINE_UPLOAD_TIMEOUT_MS", "20000")];
            let hangs = matches!(effect, Effect::StalledAnswer | Effect::StalledBody);
            let cell = Cell::set(object.clone(), if hangs { &brief } else { &[] }).await;
            let expected = match (&effect, SMALL[..2].contains(&operation)) {
                // Another version of the object: its summary, and nothing of the older one.
                (Effect::Replace { bytes, .. }, true) => self::expected(bytes).await,
                _ => expected.clone(),
            };
            cell.hit(Fault::new(operation, effect.clone()));
            cell.run(Success, &expected, orphans(operation, &effect), &case).await;
            assert_eq!(cell.server.faults().left(), 0, "{case}: it struck");
        }
    });
    futures::stream::iter(runs).buffer_unordered(CELLS).collect::<Vec<()>>().await;
}

/// An upload that was begun, and of which no answer has told the name: only the bucket's own rules can take it away.
fn orphans(operation: Op, effect: &Effect) -> usize {
    let is_lost = matches!(
        effect,
        Effect::LostAnswer
            | Effect::StalledAnswer
            | Effect::CutBody
            | Effect::StalledBody
            | Effect::Replace { .. }
    );
    usize::from(operation == Op::Initiate && is_lost)
}

/// An effect without its bytes.
fn name(effect: &Effect) -> String {
    format!("{effect:?}").split('{').next().unwrap_or_default().trim().to_owned()
}

/// What does not pass fails the task after its tries, and nothing else; what is wrong with the credentials, or with the
/// place of all summaries, stops the worker and fails nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_fault_that_does_not_pass_times_every_request() {
    let unavailable = Failed(Kind::StorageUnavailable);
    let cells = [
        (Effect::Status(503, "SlowDown"), [unavailable; 6]),
        (Effect::Status(429, "TooManyRequests"), [unavailable; 6]),
        (Effect::EmptyStatus(500), [unavailable; 6]),
        (Effect::Hangup, [unavailable; 6]),
        (Effect::Status(400, "InvalidRequest"), [unavailable; 6]),
        (
            // The object's own right to be read; no summary can be stored.
            Effect::Status(403, "AccessDenied"),
            [
                Failed(Kind::Forbidden),
                unavailable,
                Stopped(Kind::PermissionDenied),
                Stopped(Kind::PermissionDenied),
                Stopped(Kind::PermissionDenied),
                Stopped(Kind::PermissionDenied),
            ],
        ),
    ];
    let [small, large] = [small(), large()];
    let (of_small, of_large) = (expected(&small).await, expected(&large).await);
    let operations = || SMALL.into_iter().chain(LARGE);
    let cells = cells.into_iter().flat_map(|(effect, row)| {
        operations().zip(row).map(move |(operation, expect)| (operation, effect.clone(), expect))
    });
    let runs = cells.map(|(operation, effect, expect)| {
        let is_large = LARGE.contains(&operation);
        let (object, expected) = if is_large { (&large, &of_large) } else { (&small, &of_small) };
        async move {
            let case = format!("{operation:?} × {} for ever", name(&effect));
            let cell = Cell::set(object.clone(), &[]).await;
            cell.hit(Fault::new(operation, effect).always());
            cell.run(expect, expected, 0, &case).await;
        }
    });
    futures::stream::iter(runs).buffer_unordered(CELLS).collect::<Vec<()>>().await;
}

/// Credentials that expire at any request of a task: the worker stops, and no task is failed because of them.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_at_any_request_stop_the_worker() {
    let [small, large] = [small(), large()];
    let (of_small, of_large) = (expected(&small).await, expected(&large).await);
    let runs = SMALL.into_iter().chain(LARGE).map(|operation| {
        let is_large = LARGE.contains(&operation);
        let (object, expected) = if is_large { (&large, &of_large) } else { (&small, &of_small) };
        async move {
            let cell = Cell::set(object.clone(), &[]).await;
            // From this request on nothing is answered to anybody. The object was found before, but for the first one.
            let expired =
                |operation| Fault::new(operation, Effect::Status(403, "InvalidAccessKeyId")).always();
            let looked = usize::from(operation != Op::Head);
            let others = [Op::List, Op::Complete, Op::Abort].map(expired);
            for fault in others.into_iter().chain([expired(operation), expired(Op::Head).after(looked)]) {
                cell.hit(fault.clone());
                cell.server.faults().add(fault.on(""));
            }
            let outcome = cell.rig.run(&[task(VICTIM)], 1).await;
            let case = format!("{operation:?}");
            let failure = outcome.report.expect_err(&case);
            assert_eq!(failure.kind, Kind::PermissionDenied, "{case}: {}", failure.chain());
            assert_eq!(cell.rig.results_of(VICTIM), [], "{case}");
            assert!(cell.rig.results.dead_letters().is_empty(), "{case}");
            assert_eq!(outcome.committable, [(0, NextOffset(0))], "{case}");
            assert!(cell.stored(VICTIM).is_none_or(|stored| stored == *expected), "{case}");
        }
    });
    futures::stream::iter(runs).buffer_unordered(CELLS).collect::<Vec<()>>().await;
}

/// A failed upload is forgotten, also when the request that forgets it fails at first.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_forgotten_through_every_fault_that_passes() {
    let large = large();
    let expected = expected(&large).await;
    let passing = effects().into_iter().filter(|effect| {
        // An answer that never comes is waited for longer than a test should take; the others have no body to cut.
        !matches!(effect, Effect::StalledAnswer | Effect::StalledBody | Effect::Replace { .. })
    });
    let (large, expected) = (&large, &expected);
    let runs = passing.map(|effect| async move {
        let case = format!("abort × {}", name(&effect));
        let cell = Cell::set(large.clone(), &[]).await;
        cell.hit(Fault::new(Op::Part, Effect::Status(400, "InvalidRequest")).always());
        cell.hit(Fault::new(Op::Abort, effect));
        cell.run(Failed(Kind::StorageUnavailable), expected, 0, &case).await;
    });
    futures::stream::iter(runs).buffer_unordered(CELLS).collect::<Vec<()>>().await;
}

/// A listing, of which the generator lives: whole, and each object once, whatever happens to an answer on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_whole_through_every_fault_that_passes() {
    const OBJECTS: usize = 2_500;
    let passing = effects().into_iter().filter(|effect| {
        !matches!(effect, Effect::StalledAnswer | Effect::StalledBody | Effect::Replace { .. })
    });
    let runs = passing.map(|effect| async move {
        let case = format!("list × {}", name(&effect));
        let cell = Cell::set(small(), &[]).await;
        for number in 0..OBJECTS {
            cell.server.put("in", &format!("many/{number:05}"), "x");
        }
        // The second page of three.
        cell.server.faults().add(Fault::new(Op::List, effect).after(1));
        let bucket = cell.rig.storage.bucket("in", Stage::Claim).unwrap();
        let listed = tokio::time::timeout(Duration::from_secs(60), async {
            bucket.list("many/").await.unwrap().try_collect::<Vec<_>>().await
        });
        let keys: Vec<String> =
            listed.await.expect(&case).expect(&case).into_iter().map(|object| object.key).collect();
        let all: Vec<String> = (0..OBJECTS).map(|number| format!("many/{number:05}")).collect();
        assert_eq!(keys, all, "{case}");
        assert_eq!(cell.server.faults().left(), 0, "{case}: it struck");
    });
    futures::stream::iter(runs).buffer_unordered(CELLS).collect::<Vec<()>>().await;
}
