//! The cost of the books: receiving and finishing one task, with so many others in flight.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pipeline::commit::{Ledger, Ticket};
use pipeline::task::{Offset, Partition, Position};

/// Tasks per measurement.
const TASKS: i64 = 10_000;

/// Receives and finishes [`TASKS`] tasks; `in_flight` of them are open at any time. The oldest one stays open to the
/// end, as a slow file does: the worst case, since everything finished behind it is remembered.
fn run(in_flight: usize) -> Ledger {
    let partition = Partition { topic: "tasks".into(), id: 0 };
    let mut ledger = Ledger::default();
    ledger.assign(partition.clone());
    let mut open: std::collections::VecDeque<Ticket> = std::collections::VecDeque::new();
    let mut slow = None;
    for offset in 0..TASKS {
        let position = Position { partition: partition.clone(), offset: Offset(offset) };
        let ticket = ledger.receive(position).expect("assigned and new");
        match slow {
            None => slow = Some(ticket),
            Some(_) => open.push_back(ticket),
        }
        if open.len() > in_flight {
            ledger.finish(open.pop_front().expect("not empty")).expect("not fenced");
        }
    }
    for ticket in open.into_iter().chain(slow) {
        ledger.finish(ticket).expect("not fenced");
    }
    ledger
}

fn ledger(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(20).throughput(Throughput::Elements(TASKS as u64));
    for in_flight in [1, 500, 5_000] {
        group.bench_with_input(BenchmarkId::new("in_flight", in_flight), &in_flight, |bencher, in_flight| {
            bencher.iter(|| run(*in_flight));
        });
    }
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
