//! The proof of the guarantees: a fleet of workers on Apache Kafka and the OBS server, which are killed, stalled, told to
//! leave and started again, while storage and broker fail, as a seed says; and an oracle that reads everything afterwards.
//! Fails when a promise is broken, or when less happened than was asked for.
//!
//! Ends with 0 when all promises were kept, with 1 when one was broken, with 3 when too little happened.
//!
//! Linux only: workers are signalled, and kill themselves.
#![allow(clippy::print_stdout, reason = "a proof prints its result")]

mod field;
mod fleet;
mod worker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use kit::kafka::{Client, Topics};
use kit::live::{variables, with};
use kit::proof::oracle::{Judgement, Promise, judge};
use kit::proof::schedule::{Boundary, Plan, Schedule};

use field::{Broker, PARTITIONS, Seldom, Work, wait_for_no_lag, wait_until_settled};
use fleet::{Fates, Fleet};

/// Workers at the same time: each has two partitions or one, and there is always somebody to take over.
const SLOTS: usize = 4;
/// Kills for each fault of the storage, and of the broker.
const KILLS_FOR_A_STORM: usize = 3;
const KILLS_FOR_A_TROUBLE: usize = 20;
/// Rebalances for each worker that leaves. Whatever is missing in the end is made up for.
const REBALANCES_FOR_A_LEAVE: usize = 2;
/// Tasks that are there before the first worker is.
const HEAD_START: usize = 200;
/// Tasks that come when a worker did not have enough of them to die at its boundary.
const SUPPLEMENT: usize = 40;
/// How often it is said how far the proof is.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// How many breaches of a promise are shown.
const SHOWN_MAX: usize = 5;

/// Proves the guarantees of `pipeline`: kills, rebalances and faults by a seed, and an oracle that knows what must be true.
///
/// The program itself must have been built beside this one: `cargo build` or `cargo build --release`.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Where chance comes from; another one each time if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Tasks in each mode
    #[arg(long, default_value_t = 1_500)]
    tasks: usize,
    /// Workers killed by SIGKILL in each mode, most of them at a boundary between two stages
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// Rebalances in each mode, at the least
    #[arg(long, default_value_t = 20)]
    rebalances: usize,
    /// Only with results in transactions
    #[arg(long, conflicts_with = "at_least_once")]
    exactly_once: bool,
    /// Only without
    #[arg(long)]
    at_least_once: bool,
    /// Workers that commit without waiting: the proof must fail
    #[arg(long)]
    canary: bool,
    /// `worker`: be a worker of a proof, as its variables say
    #[arg(hide = true)]
    role: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.role.as_deref() == Some("worker") {
        return match worker::run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let modes: &[bool] = match (arguments.exactly_once, arguments.at_least_once) {
        (true, _) => &[true],
        (_, true) => &[false],
        _ => &[false, true],
    };
    println!(
        "seed {seed}: {} tasks, {} kills, {} rebalances in each mode{}",
        arguments.tasks,
        arguments.kills,
        arguments.rebalances,
        if arguments.canary { ", with the canary's ledger" } else { "" },
    );
    let folder = std::env::temp_dir().join(format!("pipeline-prove-{}", std::process::id()));
    let mut broker = Broker::start(&folder);
    let work = Work::new(arguments.tasks).await;
    let begun = Instant::now();
    let calm = work.run_calmly(&broker.bootstrap).await;
    println!("calm run: {} artefacts in {:.0} s", calm.len(), begun.elapsed().as_secs_f64());
    let mut proofs = Vec::new();
    for exactly_once in modes {
        work.clear();
        let plan = Plan {
            seed,
            slots: SLOTS,
            kills: arguments.kills,
            leaves: arguments.rebalances.div_ceil(REBALANCES_FOR_A_LEAVE),
            storage: arguments.kills / KILLS_FOR_A_STORM,
            broker: arguments.kills.div_ceil(KILLS_FOR_A_TROUBLE),
            exactly_once: *exactly_once,
            of_the_kit: arguments.canary,
        };
        proofs.push(Proof::carry_out(&plan, &arguments, &mut broker, &work, &calm).await);
    }
    drop(broker);
    let _ = std::fs::remove_dir_all(&folder);
    print(seed, &proofs);
    let is_broken = proofs.iter().any(Proof::is_broken);
    match (is_broken, proofs.iter().all(|proof| proof.is_enough(&arguments))) {
        (true, _) => ExitCode::from(1),
        (false, false) => {
            println!("TOO LITTLE happened: kills, rebalances, or a boundary at which nobody died");
            ExitCode::from(3)
        }
        (false, true) => ExitCode::SUCCESS,
    }
}

/// One mode.
struct Proof {
    exactly_once: bool,
    seconds: f64,
    fates: Fates,
    storms: usize,
    hits: usize,
    troubles: usize,
    seldom: Seldom,
    judgement: Judgement,
}

impl Proof {
    async fn carry_out(
        plan: &Plan,
        arguments: &Arguments,
        broker: &mut Broker,
        work: &Work,
        calm: &std::collections::BTreeMap<String, Vec<u8>>,
    ) -> Proof {
        let begun = Instant::now();
        let schedule = Schedule::new(plan);
        let topics = Topics::new("prove");
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_topics(PARTITIONS).await;
        let messages = &work.messages;
        let mut sent = HEAD_START.min(messages.len());
        client.send(&messages[..sent], PARTITIONS).await;
        let settings = settings(&broker.bootstrap, &topics, work, plan.exactly_once);
        let mut fleet = Fleet::start(&schedule, &settings, PARTITIONS, arguments.canary);
        let lives = schedule.lives().count();
        let (mut storms, mut troubles) = (schedule.storage.iter(), schedule.broker.iter());
        let (mut storm, mut trouble) = (storms.next(), troubles.next());
        let (mut hits, mut reported) = (0, Instant::now());
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            fleet.tick();
            if fleet.has_lived() && !broker.is_in_trouble().await {
                if client.group_history().generations.len() >= arguments.rebalances {
                    break;
                }
                fleet.renew();
            }
            while let Some((_, what, times)) = storm.filter(|(at, ..)| *at <= fleet.ended) {
                hits += work.storm(*what, *times);
                storm = storms.next();
            }
            // While the broker is in trouble nothing is sent to it: a task sent twice would be two tasks.
            if !broker.is_in_trouble().await {
                let due =
                    HEAD_START + (messages.len().saturating_sub(HEAD_START)) * fleet.ended / lives.max(1);
                if due > sent {
                    client.send(&messages[sent..due.min(messages.len())], PARTITIONS).await;
                    sent = due.min(messages.len());
                }
                if let Some((_, what)) = trouble.filter(|(at, _)| *at <= fleet.ended) {
                    broker.meet(*what);
                    trouble = troubles.next();
                }
            }
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                work.server.clear_requests();
                println!("{:.0} s: {} of {lives} lives", begun.elapsed().as_secs_f64(), fleet.ended);
            }
        }
        client.send(&messages[sent..], PARTITIONS).await;
        let missed = work.server.faults().left();
        work.server.faults().clear();
        // What does not come to its end is told by the oracle.
        wait_for_no_lag(&client, || fleet.tick()).await;
        fleet.dismiss().await;
        wait_until_settled(&client, &topics).await;
        let diaries = std::mem::take(&mut fleet.diaries);
        let (history, seldom) = work.history(&client, &topics, plan.exactly_once, calm, diaries);
        Proof {
            exactly_once: plan.exactly_once,
            seconds: begun.elapsed().as_secs_f64(),
            fates: fleet.fates,
            storms: schedule.storage.len(),
            hits: hits - missed,
            troubles: schedule.broker.len(),
            seldom,
            judgement: judge(&history),
        }
    }

    fn is_broken(&self) -> bool {
        !self.judgement.broken.is_empty() || !self.fates.unruly.is_empty()
    }

    fn is_enough(&self, arguments: &Arguments) -> bool {
        let reached = self.fates.at_boundaries.len();
        self.fates.kills() >= arguments.kills
            && self.seldom.generations >= arguments.rebalances
            && reached >= Boundary::all(self.exactly_once).len().min(arguments.kills)
    }
}

/// The settings of the workers: everything that waits, waits briefly.
fn settings(bootstrap: &str, topics: &Topics, work: &Work, exactly_once: bool) -> Vec<(String, String)> {
    let flag = if exactly_once { "true" } else { "false" };
    with(
        variables(bootstrap, topics, &work.server),
        &[
            ("KAFKA_EXACTLY_ONCE", flag),
            ("KAFKA_LIBRDKAFKA_TRANSACTION_TIMEOUT_MS", "4000"),
            ("KAFKA_SESSION_TIMEOUT_MS", "3000"),
            ("KAFKA_MAX_POLL_RECORDS", "64"),
            ("POOL_SIZE", "1"),
            // Time-outs and failures of the storage are for passing: no task may fail because there were many.
            ("PIPELINE_ATTEMPTS_MAX", "1000"),
            ("PIPELINE_RETRY_MIN_MS", "50"),
            ("PIPELINE_RETRY_MAX_MS", "500"),
            ("PIPELINE_DOWNLOAD_TIMEOUT_MS", "3000"),
            ("PIPELINE_PARSE_TIMEOUT_MS", "3000"),
            ("PIPELINE_UPLOAD_TIMEOUT_MS", "3000"),
            // A file is not to be blamed for kills that others do.
            ("PIPELINE_DEATHS_MAX", "100"),
        ],
    )
}

fn print(seed: u64, proofs: &[Proof]) {
    println!("\nseed {seed}");
    let row = |name: &str, value: &dyn Fn(&Proof) -> String| {
        let values: Vec<String> = proofs.iter().map(|proof| format!("{:>14}", value(proof))).collect();
        println!("{name:<44}{}", values.join(""));
    };
    row("", &|proof| if proof.exactly_once { "exactly once" } else { "at least once" }.to_owned());
    row("seconds", &|proof| format!("{:.0}", proof.seconds));
    row("tasks that succeeded", &|proof| proof.judgement.succeeded.to_string());
    row("tasks that failed, as they must", &|proof| proof.judgement.failed.to_string());
    row("kills", &|proof| proof.fates.kills().to_string());
    for boundary in Boundary::all(true) {
        let count = |proof: &Proof| proof.fates.at_boundaries.get(&boundary).copied().unwrap_or(0);
        row(&format!("  at the boundary {}", boundary.name()), &|proof| count(proof).to_string());
    }
    row("  from outside", &|proof| proof.fates.killed.to_string());
    row("stalls beyond the session", &|proof| proof.fates.stalled.to_string());
    row("ends by SIGTERM", &|proof| proof.fates.left.to_string());
    row("ends by themselves", &|proof| proof.fates.stopped.values().sum::<usize>().to_string());
    row("rebalances (generations of the group)", &|proof| proof.seldom.generations.to_string());
    row("storage faults, requests hit", &|proof| format!("{}, {}", proof.storms, proof.hits));
    row("broker faults (killed, frozen)", &|proof| proof.troubles.to_string());
    row("tasks begun, as far as workers could say", &|proof| proof.judgement.begun.to_string());
    row("results given up with their transaction", &|proof| proof.seldom.given_up.to_string());
    row("repeats visible", &|proof| proof.judgement.repeats.to_string());
    for promise in Promise::ALL {
        row(promise.breach(), &|proof| proof.judgement.count(promise).to_string());
    }
    row("ends that were not good", &|proof| proof.fates.unruly.len().to_string());
    for proof in proofs {
        for (reason, count) in &proof.fates.stopped {
            println!("ended by itself, {count} times: {reason}");
        }
        for why in &proof.fates.unruly {
            println!("BROKEN: an end that was not good: {why}");
        }
        for (promise, breaches) in &proof.judgement.broken {
            println!("BROKEN: {} {}", breaches.len(), promise.breach());
            for breach in breaches.iter().take(SHOWN_MAX) {
                println!("  {breach}");
            }
        }
    }
}
