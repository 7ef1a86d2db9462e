//! From a connection to answers: read, verify, meet the fault that is planned, work, log, answer.

use std::io;
use std::sync::{
    Arc, RwLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Request;
use super::address::{Addressing, Target};
use super::answer::{Answer, Outcome, Refusal, http_date};
use super::fault::{Effect, Faults};
use super::operate::Call;
use super::route::Op;
use super::sign::{self, Credentials, Scheme};
use super::store::{Store, Stored};
use super::wire::{Head, Wire};

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Service {
    pub addressing: Addressing,
    pub credentials: RwLock<Credentials>,
    pub part_bytes_min: usize,
    pub store: Store,
    pub faults: Faults,
    pub log: watch::Sender<Vec<Request>>,
    pub requests_begun: AtomicU64,
}

/// A request that has been read and found valid, before its work.
struct Admitted {
    head: Head,
    target: Target,
    op: Op,
    scheme: Scheme,
}

/// Takes connections for ever.
pub(super) async fn accept(listener: TcpListener, service: Arc<Service>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(service.clone(), stream))),
            // Out of file descriptors: others must close some first.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Answers the requests of a connection, one after the other, until one side has had enough.
async fn converse(service: Arc<Service>, stream: TcpStream) {
    // Without it a small answer may wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    while let Ok(true) = service.exchange(&mut wire).await {}
}

impl Service {
    /// Answers one request; whether another one may follow.
    async fn exchange(&self, wire: &mut Wire) -> io::Result<bool> {
        let (admitted, verdict) = match wire.head().await? {
            None => return Ok(false),
            Some(Ok(head)) => self.admit(head),
            Some(Err(refusal)) => return self.refuse_malformed(wire, refusal).await,
        };
        let effect = match &verdict {
            Ok(()) => self.fault(&admitted),
            Err(_) => None,
        };
        if matches!(effect, Some(Effect::Hangup)) {
            self.log(&admitted, None);
            return Ok(false);
        }
        let body = wire.body(&admitted.head).await?;
        if matches!(effect, Some(Effect::StalledAnswer)) {
            self.log(&admitted, None);
            wire.stall().await?;
            return Ok(false);
        }
        let outcome = match verdict {
            Ok(()) => self.work(&admitted, body, effect.as_ref()),
            Err(refusal) => Err(refusal),
        };
        let silent = admitted.head.method == "HEAD";
        let answer = self.finish(outcome, admitted.scheme, &admitted.head.path, silent);
        if matches!(effect, Some(Effect::LostAnswer)) {
            self.log(&admitted, None);
            return wire.close().await.and(Ok(false));
        }
        self.log(&admitted, Some(answer.status));
        let whole = self.send(wire, &admitted.target, &answer, effect).await?;
        let last =
            admitted.head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if last || !whole {
            wire.close().await?;
        }
        Ok(whole && !last)
    }

    /// The effect that is planned for a request; a listing goes by its prefix.
    fn fault(&self, Admitted { head, target, op, .. }: &Admitted) -> Option<Effect> {
        match op {
            Op::List => self.faults.take(*op, &target.bucket, &head.query("prefix").unwrap_or_default()),
            _ => self.faults.take(*op, &target.bucket, &target.key),
        }
    }

    /// Answers what is no request, and ends the connection: nobody knows where the next request would begin.
    async fn refuse_malformed(&self, wire: &mut Wire, refusal: Refusal) -> io::Result<bool> {
        let answer = self.finish(Err(refusal), Scheme::default(), "/", false);
        self.send(wire, &Target::default(), &answer, None).await?;
        wire.close().await.and(Ok(false))
    }

    /// Finds out what is asked and whether it is allowed.
    fn admit(&self, head: Head) -> (Admitted, Result<(), Refusal>) {
        let mut admitted =
            Admitted { head, target: Target::default(), op: Op::Unknown, scheme: Scheme::default() };
        let verdict = self.verify(&mut admitted);
        (admitted, verdict)
    }

    fn verify(&self, admitted: &mut Admitted) -> Result<(), Refusal> {
        let head = &admitted.head;
        admitted.target = self.addressing.resolve(&head.authority, &head.path)?;
        admitted.op = Op::of(head, &admitted.target);
        if admitted.op != Op::ApiVersion {
            let credentials =
                self.credentials.read().expect("no panic while the credentials are held").clone();
            admitted.scheme = sign::verify(head, &admitted.target.resource, &credentials, Timestamp::now())?;
        }
        Ok(())
    }

    /// Does what was asked, unless the fault stands in the way.
    fn work(&self, admitted: &Admitted, body: Bytes, effect: Option<&Effect>) -> Outcome {
        let planned = |status, code| Err(Refusal::new(status, code, "This fault was planned."));
        match effect {
            Some(Effect::Status(status, code)) => planned(*status, code),
            Some(Effect::OkWithError) => planned(200, "InternalError"),
            Some(Effect::EmptyStatus(status)) => Ok(Answer::empty(*status)),
            _ => self.run(admitted, body),
        }
    }

    fn run(&self, admitted: &Admitted, body: Bytes) -> Outcome {
        let Admitted { head, target, op, scheme } = admitted;
        let (store, part_bytes_min) = (&self.store, self.part_bytes_min);
        Call { op: *op, head, target, scheme: *scheme, body, store, part_bytes_min }.run()
    }

    /// The answer to an outcome, with the headers that every answer has.
    fn finish(&self, outcome: Outcome, scheme: Scheme, resource: &str, silent: bool) -> Answer {
        let id = format!("{:032X}", self.requests_begun.fetch_add(1, Ordering::Relaxed) + 1);
        let answer = match outcome {
            Ok(answer) => Answer { silent, ..answer },
            Err(refusal) if silent => Answer::empty(refusal.status),
            Err(refusal) => refusal.answer(resource, &id),
        };
        let id_header = format!("{}request-id", scheme.prefix());
        answer.header("Server", "OBS").header("Date", http_date(Timestamp::now())).header(&id_header, id)
    }

    /// Sends an answer as far as its fault lets it go; whether it went whole.
    async fn send(
        &self,
        wire: &mut Wire,
        target: &Target,
        answer: &Answer,
        effect: Option<Effect>,
    ) -> io::Result<bool> {
        let body = answer.body();
        let length = body.end - body.start;
        let replaced = match &effect {
            Some(Effect::Replace { bytes, .. }) => Some(bytes.clone()),
            _ => None,
        };
        let (sent, pace) = match effect {
            Some(Effect::CutBody | Effect::StalledBody) => (length / 2, None),
            Some(Effect::SlowBody(pace)) => (length, Some(pace)),
            Some(Effect::Replace { after, .. }) => (after.min(length), None),
            _ => (length, None),
        };
        // A reader who has the last byte must already meet the new object.
        let held_back = u64::from(replaced.is_some() && sent == length).min(length);
        let (middle, end) = (body.start + sent - held_back, body.start + sent);
        if length > 0 {
            wire.send_head(answer).await?;
            wire.send_body(&answer.content, body.start..middle, pace).await?;
            wire.flush().await?;
        }
        if let Some(bytes) = replaced {
            self.store.put(&target.bucket, &target.key, Stored::new(bytes, Default::default()));
        }
        if length == 0 {
            wire.send_head(answer).await?;
        }
        wire.send_body(&answer.content, middle..end, pace).await?;
        wire.flush().await?;
        if matches!(effect, Some(Effect::StalledBody)) {
            wire.stall().await?;
        }
        Ok(sent == length && !matches!(effect, Some(Effect::CutBody | Effect::StalledBody)))
    }

    fn log(&self, admitted: &Admitted, status: Option<u16>) {
        let Admitted { head, target, op, .. } = admitted;
        let request = Request {
            op: *op,
            bucket: target.bucket.clone(),
            key: target.key.clone(),
            query: head.query.clone(),
            range: head.header("range").map(str::to_owned),
            status,
        };
        self.log.send_modify(|log| log.push(request));
    }
}
