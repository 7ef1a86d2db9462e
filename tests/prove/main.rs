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
mod proof;
mod worker;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use kit::proof::oracle::Promise;
use kit::proof::schedule::{Boundary, Plan};

use field::{Broker, Work};
use proof::Proof;

/// Workers at the same time: each has two partitions or one, and there is always somebody to take over.
const SLOTS: usize = 4;
/// Kills for each fault of the storage, and of the broker.
const KILLS_FOR_A_STORM: usize = 3;
const KILLS_FOR_A_TROUBLE: usize = 20;
/// Rebalances for each worker that leaves. Whatever is missing in the end is made up for.
const REBALANCES_FOR_A_LEAVE: usize = 2;
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
        proofs.push(Proof::carry_out(&plan, arguments.rebalances, &mut broker, &work, &calm).await);
    }
    drop(broker);
    let _ = std::fs::remove_dir_all(&folder);
    print(seed, &proofs);
    let is_broken = proofs.iter().any(Proof::is_broken);
    match (is_broken, proofs.iter().all(|proof| proof.is_enough(arguments.kills, arguments.rebalances))) {
        (true, _) => ExitCode::from(1),
        (false, false) => {
            println!("TOO LITTLE happened: kills, rebalances, or a boundary at which nobody died");
            ExitCode::from(3)
        }
        (false, true) => ExitCode::SUCCESS,
    }
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
    row("storage faults, requests hit", &|proof| format!("{}, {}", proof.storms.0, proof.storms.1));
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
