//! The thread of transactions against a broker that is a model: what is visible, whatever is refused.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;

use super::*;
use crate::commit::Metadata;
use crate::source::{Bounds, Claim};
use crate::task::Offset;

/// What a reader of committed messages sees, and what a new worker would read.
#[derive(Default)]
struct Visible {
    results: Vec<String>,
    committed: BTreeMap<Partition, Checkpoint>,
}

/// A broker that refuses as planned; a plan that is over refuses nothing more.
struct Model {
    plan: VecDeque<Option<Course>>,
    open: Option<Visible>,
    visible: Arc<Mutex<Visible>>,
    member: bool,
    /// A rebalance that takes the partition away just before the group is asked.
    rebalance: Option<Arc<Intake>>,
}

impl Model {
    fn planned(&mut self) -> Result<(), Refused> {
        match self.plan.pop_front().flatten() {
            Some(course) => {
                Err(Refused { course, failure: Failure::new(Stage::Publish, Kind::BrokerRefused, "planned") })
            }
            None => Ok(()),
        }
    }
}

impl Transactions for Model {
    type Members = ();

    fn prepare(&mut self) -> Result<(), Refused> {
        self.planned()
    }

    fn members(&mut self) -> Option<()> {
        if let Some(intake) = self.rebalance.take() {
            intake.lose(&[partition()]);
        }
        self.member.then_some(())
    }

    fn begin(&mut self) -> Result<(), Refused> {
        self.planned()?;
        assert!(self.open.replace(Visible::default()).is_none(), "one at a time");
        Ok(())
    }

    fn send(&mut self, _: Topic, message: &Message) -> Result<(), Refused> {
        self.planned()?;
        let key = String::from_utf8_lossy(message.key.as_deref().unwrap_or_default()).into_owned();
        self.open.as_mut().expect("an open transaction").results.push(key);
        Ok(())
    }

    fn offsets(&mut self, checkpoints: &[(Partition, Checkpoint)], (): &()) -> Result<(), Refused> {
        self.planned()?;
        self.open.as_mut().expect("an open transaction").committed.extend(checkpoints.iter().cloned());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Refused> {
        self.planned()?;
        let done = self.open.take().expect("an open transaction");
        let mut visible = self.visible.lock().unwrap_or_else(PoisonError::into_inner);
        visible.results.extend(done.results);
        visible.committed.extend(done.committed);
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Refused> {
        // What never began may be given up, too.
        self.open = None;
        Ok(())
    }
}

fn partition() -> Partition {
    Partition { topic: "tasks".into(), id: 0 }
}

fn receive(intake: &Arc<Intake>, offset: i64) -> Claim {
    intake.receive(Position { partition: partition(), offset: Offset(offset) }, Arc::default()).unwrap()
}

type Answer = oneshot::Receiver<Result<(), Failure>>;

struct Bench {
    desk: Desk<Model>,
    requests: Sender<Request>,
    visible: Arc<Mutex<Visible>>,
}

impl Bench {
    fn new(plan: impl IntoIterator<Item = Option<Course>>) -> Bench {
        let intake = intake();
        intake.assign(partition());
        let visible = Arc::<Mutex<Visible>>::default();
        let model = Model {
            plan: plan.into_iter().collect(),
            open: None,
            visible: Arc::clone(&visible),
            member: true,
            rebalance: None,
        };
        let (requests, received) = channel();
        let desk = Desk {
            transactions: model,
            intake,
            requests: received,
            waiting: Vec::new(),
            left: false,
            pause: Duration::ZERO,
            call: Call::default(),
            told: None,
        };
        Bench { desk, requests, visible }
    }

    fn publish(&self, claim: &Claim) -> Answer {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            position: claim.position().clone(),
            generation: claim.generation(),
            messages: vec![(
                Topic::Results,
                Message {
                    key: Some(Bytes::from(claim.position().offset.0.to_string())),
                    ..Message::default()
                },
            )],
            reply,
        };
        self.requests.send(request).unwrap();
        answer
    }

    fn results(&self) -> Vec<String> {
        self.visible.lock().unwrap().results.clone()
    }

    /// The committed position, and how many are finished behind it.
    fn committed(&self) -> (i64, u64) {
        let visible = self.visible.lock().unwrap();
        let Checkpoint { next, metadata } = &visible.committed[&partition()];
        (next.0, Metadata::decode(metadata.as_bytes(), *next).unwrap().finished.count())
    }
}

#[test]
fn results_and_offsets_are_visible_together_and_then_the_stage_ends() {
    let mut bench = Bench::new([]);
    let claims: Vec<Claim> = (0..4).map(|offset| receive(&bench.desk.intake, offset)).collect();
    let mut answers: Vec<Answer> = claims[1..3].iter().map(|claim| bench.publish(claim)).collect();
    bench.desk.settle().unwrap();
    assert_eq!((bench.results(), bench.committed()), (vec!["1".to_owned(), "2".to_owned()], (0, 2)));
    for answer in &mut answers {
        assert!(answer.try_recv().unwrap().is_ok());
    }
    // The next one is committed before the loop has finished those.
    let _answer = bench.publish(&claims[0]);
    bench.desk.settle().unwrap();
    assert_eq!(bench.committed(), (3, 0));
    for claim in claims.into_iter().take(3) {
        claim.finish().unwrap();
    }
    assert_eq!(bench.desk.intake.committable()[0].1.0, 3);
}

#[test]
fn a_result_that_was_published_is_not_published_again() {
    let mut bench = Bench::new([]);
    let claim = receive(&bench.desk.intake, 0);
    drop(bench.publish(&claim));
    bench.desk.settle().unwrap();
    assert_eq!(bench.results().len(), 0, "a stage that gave up before is not heard");
    let _given_up_meanwhile = bench.publish(&claim);
    bench.desk.settle().unwrap();
    let mut again = bench.publish(&claim);
    bench.desk.settle().unwrap();
    assert!(again.try_recv().unwrap().is_ok());
    assert_eq!(bench.results(), ["0"]);
}

#[test]
fn what_was_lost_is_not_published() {
    let mut bench = Bench::new([]);
    let claim = receive(&bench.desk.intake, 0);
    let mut answer = bench.publish(&claim);
    bench.desk.intake.lose(&[partition()]);
    bench.desk.intake.assign(partition());
    let _other = receive(&bench.desk.intake, 0);
    bench.desk.settle().unwrap();
    assert_eq!(answer.try_recv().unwrap().unwrap_err().kind, Kind::Cancelled);
    assert_eq!((bench.results().len(), bench.committed()), (0, (0, 0)));
    bench.desk.transactions.member = false;
    let claim = receive(&bench.desk.intake, 1);
    let mut answer = bench.publish(&claim);
    bench.desk.settle().unwrap();
    assert_eq!(answer.try_recv().unwrap().unwrap_err().kind, Kind::Cancelled);
}

/// Whom the group knows is asked first: what it says belongs to the books of that moment or an older one, never to newer
/// ones. The other way round a worker would commit, as the member that it is now, what it has lost since it looked.
#[test]
fn what_is_lost_while_the_group_is_asked_is_not_published() {
    let mut bench = Bench::new([]);
    let claim = receive(&bench.desk.intake, 0);
    let mut answer = bench.publish(&claim);
    bench.desk.transactions.rebalance = Some(Arc::clone(&bench.desk.intake));
    bench.desk.settle().unwrap();
    assert_eq!(answer.try_recv().unwrap().unwrap_err().kind, Kind::Cancelled);
    assert_eq!(bench.results(), [""; 0]);
    assert!(bench.visible.lock().unwrap().committed.is_empty());
}

#[test]
fn what_is_finished_without_a_result_is_committed_once() {
    let mut bench = Bench::new([]);
    receive(&bench.desk.intake, 6).finish().unwrap();
    bench.desk.settle().unwrap();
    assert_eq!(bench.committed(), (7, 0));
    bench.desk.transactions.plan = [Some(Course::Stop)].into();
    bench.desk.settle().unwrap();
    assert_eq!(bench.desk.transactions.plan.len(), 1, "no news, no transaction");
}

proptest! {
    /// Whatever steps are refused, and however often: a result is visible once, with its offset; one that is not has the
    /// reason.
    #[test]
    fn whatever_is_refused_every_result_is_visible_at_most_once_and_with_its_offset(
        plan in prop::collection::vec(
            prop_oneof![
                4 => Just(None),
                2 => Just(Some(Course::Again)),
                2 => Just(Some(Course::Abort)),
                1 => Just(Some(Course::Stop)),
            ],
            0..30,
        ),
        rounds in prop::collection::vec(1_usize..4, 1..6),
    ) {
        let mut bench = Bench::new(plan);
        let mut offset = 0;
        let mut answers = Vec::new();
        let mut confirmed = 0;
        let mut stopped = false;
        let mut claims = Vec::new();
        for count in rounds {
            for _ in 0..count {
                let claim = receive(&bench.desk.intake, offset);
                answers.push(bench.publish(&claim));
                claims.push(claim);
                offset += 1;
            }
            stopped = stopped || bench.desk.settle().is_err();
            let visible = bench.results();
            let published: Vec<String> = (0..visible.len()).map(|number| number.to_string()).collect();
            prop_assert_eq!(&visible, &published, "in order, none twice, none left out before a later one");
            if !visible.is_empty() {
                prop_assert_eq!(bench.committed(), (visible.len() as i64, 0));
            }
            confirmed += answers.iter_mut().filter_map(|answer| answer.try_recv().ok()).filter(Result::is_ok).count();
            prop_assert_eq!(confirmed, visible.len(), "who is told so is visible");
            if stopped {
                break;
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

fn patience(step: Duration) -> Patience {
    Patience { step, leave: LONG }
}

fn intake() -> Arc<Intake> {
    Intake::new(Bounds { tasks_max: 100, window_max: 100, deaths_max: 3 })
}

/// A source as the consumer is one: it leaves when its intake has ended and nothing is live.
fn source(intake: &Arc<Intake>) -> Ended {
    let (left, ended) = oneshot::channel();
    let intake = Arc::clone(intake);
    tokio::spawn(async move {
        intake.drained().await;
        let _ = left.send(Ok(()));
    });
    ended
}

/// As librdkafka does when it has lost its question for the coordinator: the worker must end, not wait for ever.
#[tokio::test]
async fn a_step_that_never_returns_ends_the_source() {
    let call = Call::default();
    let Bench { mut desk, .. } = Bench::new([]);
    desk.call = call.clone();
    let intake = Arc::clone(&desk.intake);
    let claim = receive(&intake, 0);
    let (_told, stopped) = oneshot::channel();
    let mut either =
        call.or_end(Arc::clone(&intake), source(&intake), stopped, patience(Duration::from_millis(1)));
    let (release, released) = channel::<()>();
    let desk = std::thread::spawn(move || {
        // A step that returns ends nothing.
        desk.step(Model::begin).unwrap();
        desk.step(|_| {
            let _ = released.recv();
            Ok(())
        })
    });
    claim.lost().await;
    assert!(either.try_recv().is_err(), "not before the source has left the group");
    drop(claim);
    let failure = either.await.unwrap().unwrap_err();
    assert!(failure.chain().contains("does not return"), "{}", failure.chain());
    drop(release);
    desk.join().unwrap().unwrap();
}

#[tokio::test]
async fn without_such_a_step_the_source_ends_as_it_does() {
    let (source, ended) = oneshot::channel();
    let (told, stopped) = oneshot::channel();
    let either = Call::default().or_end(intake(), ended, stopped, patience(Duration::from_millis(1)));
    // The thread of transactions goes first.
    drop(told);
    source.send(Ok(())).unwrap();
    either.await.unwrap().unwrap();
}

/// Without a transaction not even a task begins: so a worker that cannot make any must not wait for the first result.
#[tokio::test]
async fn what_stops_transactions_ends_the_source_without_a_result() {
    let Bench { mut desk, requests, .. } = Bench::new([Some(Course::Stop)]);
    let (told, stopped) = oneshot::channel();
    desk.told = Some(told);
    let ended = source(&desk.intake);
    let either = Call::default().or_end(Arc::clone(&desk.intake), ended, stopped, patience(LONG));
    let desk = std::thread::spawn(move || desk.run(Duration::from_millis(1)));
    let failure = either.await.unwrap().unwrap_err();
    assert!(failure.chain().contains("planned"), "{}", failure.chain());
    drop(requests);
    desk.join().unwrap();
}

/// The broker does not answer the source either: the worker ends all the same.
#[tokio::test]
async fn a_source_that_cannot_leave_is_left() {
    let (told, stopped) = oneshot::channel();
    let (_left, ended) = oneshot::channel();
    let intake = intake();
    let patience = Patience { leave: Duration::from_millis(1), ..patience(LONG) };
    let either = Call::default().or_end(Arc::clone(&intake), ended, stopped, patience);
    told.send(Failure::new(Stage::Publish, Kind::BrokerRefused, "planned")).unwrap();
    assert!(either.await.unwrap().unwrap_err().chain().contains("planned"));
    assert!(intake.is_closed());
}
