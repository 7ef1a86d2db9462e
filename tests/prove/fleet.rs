//! The workers of a proof: processes that live and die as the schedule says, and what they wrote down.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kit::live::with;
use kit::program::Program;
use kit::proof::oracle::{Diary, Task};
use kit::proof::schedule::{Boundary, End, Life, Schedule};
use serde_json::Value;

use crate::worker::{AFTER, BEGUN, BOUNDARY, LEDGER, PARTITIONS};

/// How long a worker may have work and not come to its boundary; then it is killed where it is.
const BOUNDARY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a boundary that was not reached is tried again, all lives together.
const MISSED_MAX: usize = 50;
/// How long a worker may have no partition; then its time runs all the same.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a worker that woke up goes on.
const AWAKE: Duration = Duration::from_secs(1);
/// The bounds of the program's shutdown (drain, leave), and a busy machine.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a worker may end by itself, one time after the other, before something is wrong with all of them.
const STOPS_MAX: usize = 10;
const SIGKILL: i32 = 9;
/// The kinds of failure of a worker that leaves while no broker answers, or when its broker has given it up just before.
const NOT_ITS_FAULT: [&str; 2] = ["commit_unconfirmed", "broker_refused"];

/// What happened to the workers.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    /// SIGKILL at a boundary, by its own hand.
    pub at_boundaries: BTreeMap<Boundary, usize>,
    /// SIGKILL from outside.
    pub killed: usize,
    /// SIGTERM, and a good end.
    pub left: usize,
    /// Stopped until the group gave them up.
    pub stalled: usize,
    /// Ended by themselves, as those may that a broker has given up; by their reason.
    pub stopped: BTreeMap<String, usize>,
    /// Did not end when they were told to, or not well.
    pub unruly: Vec<String>,
}

impl Fates {
    /// All SIGKILLs.
    pub fn kills(&self) -> usize {
        self.killed + self.at_boundaries.values().sum::<usize>()
    }
}

/// Workers, one in each slot.
pub struct Fleet {
    variables: Vec<(String, String)>,
    partitions: i32,
    is_canary: bool,
    slots: Vec<Slot>,
    /// What has happened so far.
    pub fates: Fates,
    /// What the workers that have ended wrote down.
    pub diaries: Vec<Diary>,
    /// Lives that have ended as they should.
    pub ended: usize,
    /// Lives that were killed because they did not come to their boundary, and have another one.
    pub missed: usize,
}

struct Slot {
    lives: VecDeque<Life>,
    worker: Worker,
    stops: usize,
}

struct Worker {
    program: Program,
    /// None: it lives to the end of the proof.
    life: Option<Life>,
    started: Instant,
    working: Option<Instant>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Living,
    Stalled(Instant),
    Awake(Instant),
    Told(Instant),
    Killed,
}

impl Fleet {
    /// Starts the first life of every slot.
    pub fn start(
        schedule: &Schedule,
        variables: &[(String, String)],
        partitions: i32,
        is_canary: bool,
    ) -> Fleet {
        let mut fleet = Fleet {
            variables: variables.to_vec(),
            partitions,
            is_canary,
            slots: Vec::new(),
            fates: Fates::default(),
            diaries: Vec::new(),
            ended: 0,
            missed: 0,
        };
        for (number, lives) in schedule.slots.iter().enumerate() {
            let mut lives: VecDeque<Life> = lives.iter().copied().collect();
            let worker = fleet.worker(number, lives.pop_front());
            fleet.slots.push(Slot { lives, worker, stops: 0 });
        }
        fleet
    }

    /// Every other slot is a static member of the group: who starts there gets the partitions of the one who died.
    fn worker(&self, slot: usize, life: Option<Life>) -> Worker {
        let mut variables = self.variables.clone();
        if slot % 2 == 1 {
            variables = with(variables, &[("KAFKA_GROUP_INSTANCE_ID", &format!("slot-{slot}"))]);
        }
        let is_shipped = life.map_or(!self.is_canary, |life| life.is_shipped);
        let program = if is_shipped {
            Program::start(&["run"], &variables)
        } else {
            variables = with(variables, &[(PARTITIONS, &self.partitions.to_string())]);
            if self.is_canary {
                variables = with(variables, &[(LEDGER, "broken")]);
            }
            if let Some(End::Boundary(at, after)) = life.map(|life| life.end) {
                variables = with(variables, &[(BOUNDARY, at.name()), (AFTER, &after.to_string())]);
            }
            Program::start_other("prove", &["worker"], &variables)
        };
        Worker { program, life, started: Instant::now(), working: None, state: State::Living }
    }

    /// One more worker that leaves, and one that comes.
    pub fn renew(&mut self) {
        let life = Life { is_shipped: !self.is_canary, end: End::Leave(0) };
        // Of the first slot, whose members the group does not know by name: both make a rebalance.
        if let Some(slot) = self.slots.first_mut() {
            slot.worker.life.get_or_insert(life);
        }
    }

    /// Whether every life of the schedule has ended.
    pub fn has_lived(&self) -> bool {
        self.slots.iter().all(|slot| slot.worker.life.is_none())
    }

    /// Does what is due.
    ///
    /// # Panics
    /// When workers end by themselves again and again.
    pub fn tick(&mut self) {
        for slot in 0..self.slots.len() {
            match self.slots[slot].worker.program.ended() {
                Some(status) => {
                    let is_over = self.bury(slot, status);
                    let stops = if is_over { 0 } else { self.slots[slot].stops + 1 };
                    assert!(stops <= STOPS_MAX, "workers end by themselves: {:?}", self.fates.stopped);
                    let life = match is_over {
                        true => self.slots[slot].lives.pop_front(),
                        false => self.slots[slot].worker.life,
                    };
                    self.slots[slot].worker = self.worker(slot, life);
                    self.slots[slot].stops = stops;
                }
                None => self.lead(slot),
            }
        }
    }

    /// Tells everyone to leave, and waits for it.
    pub async fn dismiss(&mut self) {
        for slot in &mut self.slots {
            slot.worker.program.signal("TERM");
            slot.worker.state = State::Told(Instant::now());
        }
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let mut present: Vec<usize> = (0..self.slots.len()).collect();
        while !present.is_empty() {
            ticks.tick().await;
            present.retain(|slot| match self.slots[*slot].worker.program.ended() {
                Some(status) => {
                    self.bury(*slot, status);
                    false
                }
                None => {
                    self.lead(*slot);
                    true
                }
            });
        }
    }

    /// Moves a living worker on towards its end.
    fn lead(&mut self, slot: usize) {
        let worker = &mut self.slots[slot].worker;
        if worker.working.is_none() {
            let assigned = worker.program.events("partitions assigned");
            let has_some = assigned.iter().any(|event| event["partitions"] != "");
            if has_some || worker.started.elapsed() > IDLE_TIMEOUT {
                worker.working = Some(Instant::now());
            }
        }
        let worked = worker.working.map(|since| since.elapsed());
        let is_due = |millis: u64| worked.is_some_and(|worked| worked >= Duration::from_millis(millis));
        let kill = match (worker.state, worker.life.map(|life| life.end)) {
            (State::Living, Some(End::Boundary(..))) => is_due(BOUNDARY_TIMEOUT.as_millis() as u64),
            (State::Living, Some(End::Kill(after))) => is_due(after),
            (State::Living, Some(End::Leave(after))) if is_due(after) => {
                worker.program.signal("TERM");
                worker.state = State::Told(Instant::now());
                false
            }
            (State::Living, Some(End::Stall(after, length))) if is_due(after) => {
                worker.program.signal("STOP");
                worker.state = State::Stalled(Instant::now() + Duration::from_millis(length));
                self.fates.stalled += 1;
                false
            }
            (State::Stalled(until), _) if Instant::now() >= until => {
                worker.program.signal("CONT");
                worker.state = State::Awake(Instant::now() + AWAKE);
                false
            }
            (State::Awake(until), _) => Instant::now() >= until,
            (State::Told(since), _) if since.elapsed() > LEAVE_TIMEOUT => {
                self.fates.unruly.push(format!("did not end within {} s", LEAVE_TIMEOUT.as_secs()));
                true
            }
            _ => false,
        };
        if kill {
            worker.program.signal("KILL");
            worker.state = State::Killed;
        }
    }

    /// Reads what a worker left. Whether its life ended as it should.
    fn bury(&mut self, slot: usize, status: ExitStatus) -> bool {
        let Worker { program, life, state, .. } = &mut self.slots[slot].worker;
        let lines: Vec<Value> =
            program.all_lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        self.diaries.push(diary(&lines));
        let reason = || {
            let failed = lines.iter().rev().find(|line| line["event"] == "worker failed");
            failed.map_or_else(
                || status.to_string(),
                |line| format!("{}: {}", line["error_kind"], line["error"]),
            )
        };
        let by_signal = status.signal() == Some(SIGKILL);
        match (*state, life.map(|life| life.end)) {
            (State::Killed, Some(End::Boundary(..))) if self.missed < MISSED_MAX => {
                self.fates.killed += 1;
                self.missed += 1;
                let life = *life;
                self.slots[slot].lives.extend(life);
                return true;
            }
            (State::Killed, _) => self.fates.killed += 1,
            (_, Some(End::Boundary(at, _))) if by_signal => {
                *self.fates.at_boundaries.entry(at).or_default() += 1;
            }
            (State::Told(_), _) if status.success() => self.fates.left += 1,
            // The program says so, which is how it shall end.
            (State::Told(_), _) if NOT_ITS_FAULT.iter().any(|kind| reason().contains(kind)) => {
                *self.fates.stopped.entry(reason()).or_default() += 1;
            }
            (State::Told(_), _) => self.fates.unruly.push(reason()),
            _ => {
                *self.fates.stopped.entry(reason()).or_default() += 1;
                return false;
            }
        }
        self.ended += usize::from(life.is_some());
        true
    }
}

/// What a worker's log says of partitions and tasks.
fn diary(lines: &[Value]) -> Diary {
    let mut diary = Diary::default();
    for line in lines {
        let Some(at_ms) = millis(line) else { continue };
        match line["event"].as_str().unwrap_or_default() {
            "partitions assigned" => {
                let names = line["partitions"].as_str().unwrap_or_default().split(',');
                diary.assigned.extend(names.filter_map(partition).map(|partition| (at_ms, partition)));
            }
            BEGUN => diary.begun.extend(task(line).map(|task| (at_ms, task))),
            // Who does not say what it begins says what it has done.
            "file processed" | "file failed" => {
                let took = line["processing_time"].as_f64().unwrap_or(0.0);
                diary.begun.extend(task(line).map(|task| (at_ms - (took * 1000.0).ceil() as i64, task)));
            }
            _ => {}
        }
    }
    diary
}

fn millis(line: &Value) -> Option<i64> {
    let time: Timestamp = line["timestamp"].as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// `topic[partition]`
fn partition(name: &str) -> Option<i32> {
    let (_, number) = name.strip_suffix(']')?.rsplit_once('[')?;
    number.parse().ok()
}

/// `topic[partition]@offset`
fn task(line: &Value) -> Option<Task> {
    let (name, offset) = line["task"].as_str()?.rsplit_once('@')?;
    Some((partition(name)?, offset.parse().ok()?))
}
