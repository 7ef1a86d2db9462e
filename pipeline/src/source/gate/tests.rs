//! Tests of the gate: what may begin when, and whole fleets that die of some tasks, in random order.

use proptest::prelude::*;

use super::*;
use crate::commit::Metadata;

/// A worker's world, all of it in a test's hand.
#[derive(Default)]
struct Desk {
    live: usize,
    unfinished: BTreeSet<(Partition, Offset)>,
    said: BTreeMap<Partition, Watch>,
}

impl World for Desk {
    fn live(&self) -> usize {
        self.live
    }

    fn is_unfinished(&self, partition: &Partition, offset: Offset) -> bool {
        self.unfinished.contains(&(partition.clone(), offset))
    }

    fn said(&self, partition: &Partition) -> Option<Watch> {
        self.said.get(partition).cloned()
    }
}

fn partition(id: i32) -> Partition {
    Partition { topic: "tasks".into(), id }
}

/// A task, by partition and offset.
type Task = (i32, i64);

/// One worker with its gate.
struct Worker {
    gate: Gate<Task>,
    desk: Desk,
    now: Instant,
    /// By partition, everything below was received.
    received: BTreeMap<i32, NextOffset>,
}

impl Worker {
    fn new(before: &[(i32, Watch)]) -> Worker {
        let mut gate = Gate::new(3);
        for (id, watch) in before {
            gate.open(partition(*id), watch.clone());
        }
        let received = before.iter().map(|(id, _)| (*id, NextOffset(0))).collect();
        Worker { gate, desk: Desk::default(), now: Instant::now(), received }
    }

    fn receive(&mut self, task: Task) {
        self.gate.receive(&partition(task.0), Offset(task.1), task);
        self.desk.unfinished.insert((partition(task.0), Offset(task.1)));
        self.desk.live += 1;
        self.received.insert(task.0, Offset(task.1).next());
    }

    fn step(&mut self) -> Vec<(Task, Option<u32>)> {
        let begun = self.gate.step(&self.desk, self.now);
        begun.into_iter().map(|Begin { claim, condemned }| (claim, condemned)).collect()
    }

    /// The broker confirms what is to be said now of one partition, as it comes back from there.
    fn say_of(&mut self, id: i32) {
        let partition = partition(id);
        let lowest = self.desk.unfinished.iter().find(|(other, _)| *other == partition);
        let next = lowest.map_or(self.received[&id], |(_, offset)| offset.again());
        let metadata = Metadata { watch: self.gate.queues[&partition].watch.clone(), ..Metadata::default() };
        let read = Metadata::decode(metadata.encode(next).as_bytes(), next).unwrap();
        self.desk.said.insert(partition, read.watch);
    }

    /// The same of all of them.
    fn say(&mut self) {
        let ids: Vec<i32> = self.gate.queues.keys().map(|partition| partition.id).collect();
        ids.into_iter().for_each(|id| self.say_of(id));
    }

    fn finish(&mut self, task: Task) {
        assert!(self.desk.unfinished.remove(&(partition(task.0), Offset(task.1))));
        self.desk.live -= 1;
    }

    fn mode(&self, id: i32) -> Mode {
        self.gate.queues[&partition(id)].watch.mode
    }
}

fn watch(mode: Mode, at_work: &[i64], suspects: &[(i64, u32)]) -> Watch {
    Watch {
        mode,
        at_work: at_work.iter().copied().map(Offset).collect(),
        suspects: suspects.iter().map(|(offset, deaths)| (Offset(*offset), *deaths)).collect(),
    }
}

fn free(tasks: &[Task]) -> Vec<(Task, Option<u32>)> {
    tasks.iter().map(|task| (*task, None)).collect()
}

#[test]
fn behind_a_peaceful_end_one_commit_opens_the_gate_for_good() {
    let mut worker = Worker::new(&[(0, Watch::default())]);
    worker.receive((0, 7));
    assert_eq!(worker.step(), [], "nobody knows yet that somebody is here");
    worker.say();
    worker.receive((0, 8));
    assert_eq!(worker.step(), free(&[(0, 7), (0, 8)]));
    worker.desk.said.clear();
    worker.receive((0, 9));
    assert_eq!(worker.step(), free(&[(0, 9)]), "nothing more is to be said");
    assert_eq!(worker.gate.forget(&partition(0)), Some(Watch::default()), "and it leaves in peace");
}

#[test]
fn behind_a_death_tasks_begin_by_name_and_a_slow_one_stops_no_other() {
    let mut worker = Worker::new(&[(0, watch(Mode::Free, &[], &[]))]);
    (0..NAMED_MAX as i64 + 5).for_each(|offset| worker.receive((0, offset)));
    assert_eq!(worker.step(), [], "this owner is not heard yet");
    worker.say();
    assert_eq!(worker.step(), [], "they are not named yet");
    assert_eq!(worker.mode(0), Mode::Named);
    worker.say();
    let begun = worker.step();
    assert_eq!(begun.len(), NAMED_MAX, "as many as there are places");
    assert_eq!(worker.step(), []);
    // All but the first are done.
    (1..NAMED_MAX as i64).for_each(|offset| worker.finish((0, offset)));
    assert_eq!(worker.step(), [], "the next ones are not named yet");
    worker.say();
    assert_eq!(worker.step().len(), 5);
    assert!(worker.desk.said[&partition(0)].at_work.contains(&Offset(0)), "the slow one still is");
    let left = worker.gate.forget(&partition(0)).unwrap();
    assert_eq!(left.mode, Mode::Free, "the reason to be careful is not gone yet");
    // Far enough behind the death whatever comes may begin.
    let mut worker = Worker::new(&[(0, watch(Mode::Free, &[], &[]))]);
    worker.receive((0, 0));
    worker.say();
    worker.step();
    worker.say();
    assert_eq!(worker.step(), free(&[(0, 0)]));
    worker.finish((0, 0));
    worker.receive((0, CAREFUL_OFFSETS));
    worker.step();
    assert_eq!(worker.mode(0), Mode::Free);
}

#[test]
fn a_suspect_has_the_worker_to_itself() {
    let before = [(0, Watch::default()), (1, watch(Mode::Named, &[5], &[]))];
    let mut worker = Worker::new(&before);
    worker.receive((0, 0));
    worker.step();
    worker.say();
    assert_eq!(worker.step(), free(&[(0, 0)]));
    worker.receive((1, 5));
    worker.receive((1, 6));
    worker.receive((0, 1));
    worker.step();
    worker.say();
    assert_eq!(worker.step(), [], "another one is at work");
    worker.finish((0, 0));
    worker.step();
    assert_eq!(worker.mode(1), Mode::Alone);
    assert_eq!(worker.step(), [], "it is not said yet");
    worker.say();
    assert_eq!(worker.step(), free(&[(1, 5)]));
    worker.say();
    assert_eq!(worker.step(), [], "nothing begins beside it");
    worker.finish((1, 5));
    assert_eq!(worker.step(), [], "were the worker to die of the next one, this one would be blamed");
    worker.say();
    assert_eq!(worker.step(), []);
    assert_eq!(worker.step(), free(&[(0, 1)]));
    worker.say();
    assert_eq!(worker.step(), free(&[(1, 6)]));
}

#[test]
fn nothing_begins_while_an_owner_before_is_the_last_one_heard() {
    let mut worker = Worker::new(&[(0, Watch::default()), (1, watch(Mode::Alone, &[5], &[]))]);
    worker.receive((0, 0));
    worker.step();
    worker.say_of(0);
    assert_eq!(worker.step(), [], "were the worker to die of it, 5 would have killed twice");
    worker.say_of(1);
    assert_eq!(worker.step(), free(&[(0, 0)]));
}

#[test]
fn a_suspect_does_not_wait_for_ever_for_a_long_file() {
    let mut worker = Worker::new(&[(0, Watch::default()), (1, watch(Mode::Alone, &[5], &[]))]);
    worker.receive((0, 0));
    worker.step();
    worker.say();
    worker.step();
    worker.receive((1, 5));
    worker.step();
    worker.say();
    assert_eq!(worker.step(), [], "it waits");
    worker.now += PATIENCE;
    worker.step();
    worker.say();
    assert_eq!(worker.step(), free(&[(1, 5)]));
}

#[test]
fn who_has_killed_too_often_is_condemned_and_disturbs_nobody() {
    let mut worker = Worker::new(&[(0, watch(Mode::Alone, &[5], &[(5, 2)]))]);
    worker.receive((0, 5));
    worker.receive((0, 6));
    worker.say();
    worker.step();
    worker.say();
    assert_eq!(worker.step(), [((0, 5), Some(3)), ((0, 6), None)]);
}

/// What is known of a fleet from outside: the broker's memory, and what became of the tasks.
#[derive(Debug, Default)]
struct Fleet {
    committed: BTreeMap<i32, Watch>,
    /// Finished, and committed so.
    done: BTreeSet<Task>,
    condemned: BTreeMap<Task, u32>,
    deaths: usize,
}

const PARTITIONS: i32 = 2;
const TASKS: i64 = 60;

/// One life of a worker: ends when it dies, or when all is done. `dice` says what happens next.
fn live(fleet: &mut Fleet, killers: &BTreeSet<Task>, dice: &mut impl FnMut(usize) -> usize) {
    let before: Vec<_> =
        (0..PARTITIONS).map(|id| (id, fleet.committed.get(&id).cloned().unwrap_or_default())).collect();
    let mut worker = Worker::new(&before);
    let mut coming: Vec<Task> =
        (0..TASKS).flat_map(|offset| (0..PARTITIONS).map(move |id| (id, offset))).collect();
    coming.retain(|task| !fleet.done.contains(task));
    coming.reverse();
    let (mut at_work, mut finished): (Vec<Task>, BTreeSet<Task>) = (Vec::new(), BTreeSet::new());
    // Far more than it takes: who stands still is found out.
    for _ in 0..100_000 {
        match dice(4) {
            0 => coming.pop().into_iter().for_each(|task| worker.receive(task)),
            1 => {
                let id = dice(PARTITIONS as usize) as i32;
                worker.say_of(id);
                fleet.committed.insert(id, worker.desk.said[&partition(id)].clone());
                let (here, elsewhere) = finished.into_iter().partition(|(partition, _)| *partition == id);
                finished = elsewhere;
                fleet.done.extend(here);
            }
            2 => {
                for (task, condemned) in worker.step() {
                    let said = &fleet.committed[&task.0];
                    if let Some(deaths) = condemned {
                        fleet.condemned.insert(task, deaths);
                        worker.finish(task);
                        finished.insert(task);
                        continue;
                    }
                    let named = said.at_work.contains(&Offset(task.1));
                    match said.mode {
                        Mode::Gone => panic!("{task:?} began, and nobody knows that somebody is here"),
                        Mode::Free => {}
                        Mode::Named => assert!(named, "{task:?} began unnamed"),
                        Mode::Alone => assert!(named && at_work.is_empty(), "{task:?} beside {at_work:?}"),
                    }
                    at_work.push(task);
                }
            }
            _ if at_work.is_empty() => {}
            _ => {
                let task = at_work.swap_remove(dice(at_work.len()));
                if killers.contains(&task) {
                    fleet.deaths += 1;
                    return;
                }
                worker.finish(task);
                finished.insert(task);
            }
        }
        if coming.is_empty() && worker.desk.live == 0 {
            fleet.done.append(&mut finished);
            return;
        }
    }
    panic!("a worker stands still: {:?}", worker.gate);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the order of things: every task comes to an end, those that kill are condemned after as many deaths
    /// alone as are allowed, and no other is.
    #[test]
    fn fleets_get_over_what_kills_and_blame_nobody_else(
        killers in prop::collection::btree_set((0..PARTITIONS, 0..TASKS), 0..5),
        seed in any::<u64>(),
    ) {
        let mut state = seed | 1;
        let mut dice = |sides: usize| {
            // Xorshift: the run is the seed's.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % sides as u64) as usize
        };
        let mut fleet = Fleet::default();
        let mut lives = 0;
        while fleet.done.len() < (PARTITIONS as i64 * TASKS) as usize {
            live(&mut fleet, &killers, &mut dice);
            lives += 1;
            prop_assert!(lives <= 8 * killers.len() + 1, "lives: {}, {:?}", lives, fleet);
        }
        prop_assert_eq!(fleet.condemned.keys().copied().collect::<BTreeSet<_>>(), killers);
        prop_assert!(fleet.condemned.values().all(|deaths| *deaths == 3), "{:?}", fleet.condemned);
    }
}
