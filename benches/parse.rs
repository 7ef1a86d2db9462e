//! Bytes per second from CSV to summary, on one thread: the sample datasets, repeated to a few megabytes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kit::dataset::repeated;
use parsers::{Limits, Summary, decoder};

/// Enough that the tables have settled, little enough that a sample takes a fraction of a second.
const BYTES_MIN: usize = 4 << 20;
/// As the worker hands the bytes over.
const PIECE_BYTES: usize = 512 << 10;

fn summarise(name: &str, bytes: &[u8]) -> Result<Summary, parsers::Error> {
    let mut decoder = decoder(name, &Limits::default());
    for piece in bytes.chunks(PIECE_BYTES) {
        decoder.feed(piece)?;
    }
    decoder.finish()
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.sample_size(10);
    for name in ["flights.csv", "seattle_weather.csv", "tang_poems.csv", "world_airports.csv"] {
        let bytes = repeated(name, BYTES_MIN);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &bytes, |bencher, bytes| {
            bencher.iter(|| summarise(name, bytes).expect("a good sample"));
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
