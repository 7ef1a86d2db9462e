//! The stages between bytes and summary, each by itself, on one thread: scan, split, type, aggregate, merge, finish.
//!
//! Scan and split are private to the decoder; files on which all else is cheap stand for them: fields of 4 KiB, in which
//! hardly anything but the search for quotes and line ends is left (scan), and fields of one byte, always the same, that
//! are found, looked up and counted (split). The others are the public parts, fed with the tokens of the samples. What a
//! whole file costs: benches/parse.rs.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kit::dataset::repeated;
use parsers::aggregate::{Columns, SketchSizes, Sketches, Word};
use parsers::scalar::{self, Syntax};
use parsers::{Limits, decoder};

/// Enough that the tables have settled, little enough that a sample takes a fraction of a second.
const BYTES_MIN: usize = 2 << 20;
const LONG_FIELD_BYTES: usize = 4 << 10;
/// Samples without quotes, so that a comma or a line end is all that parts their tokens.
const SAMPLES: [&str; 3] = ["flights.csv", "planes.csv", "seattle_weather.csv"];

/// The tokens of a file, column by column.
fn columns(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut rows = text.split(|byte| *byte == b'\n').map(|row| row.strip_suffix(b"\r").unwrap_or(row));
    let width = rows.next().map_or(0, |header| header.split(|byte| *byte == b',').count());
    let mut columns = vec![Vec::new(); width];
    for row in rows {
        row.split(|byte| *byte == b',').zip(&mut columns).for_each(|(token, column)| column.push(token));
    }
    columns
}

fn empty(width: usize) -> Columns {
    let Limits { exact_bytes_max, sketch_bytes_max, .. } = Limits::default();
    Columns::new(width, Syntax::Field, exact_bytes_max, sketch_bytes_max)
}

fn taken(tokens: &[Vec<&[u8]>]) -> Columns {
    let mut columns = empty(tokens.len());
    let words = |index: usize| tokens[index].iter().map(|token| Word::new(token));
    columns.add_batch(words);
    columns
}

fn read(criterion: &mut Criterion) {
    let long = format!("{}\n", "x".repeat(LONG_FIELD_BYTES));
    let quoted = format!("\"{}\"\n", "x".repeat(LONG_FIELD_BYTES));
    let short = "1,2,3,4,5,6,7,8\n".to_owned();
    let mut group = criterion.benchmark_group("read");
    for (name, header, row) in [
        ("scan", "a\n", long),
        ("scan quoted", "a\n", quoted),
        ("split", "a,b,c,d,e,f,g,h\n", short),
        ("split quoted", "a,b,c,d\n", "\"1\",\"2\",\"3\",\"4\"\n".to_owned()),
    ] {
        let bytes = [header, &row.repeat(BYTES_MIN / row.len())].concat().into_bytes();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &bytes, |bencher, bytes| {
            bencher.iter(|| {
                let mut decoder = decoder("a.csv", &Limits::default());
                decoder.feed(bytes).expect("a good file");
                decoder.finish().expect("a good file")
            });
        });
    }
    group.finish();
}

/// Each token of a sample, however often it occurs: the engine understands a token of a table only once.
fn kinds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("type");
    for name in SAMPLES {
        let bytes = repeated(name, 0);
        let tokens: Vec<&[u8]> = columns(&bytes).concat();
        group.throughput(Throughput::Elements(tokens.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &tokens, |bencher, tokens| {
            bencher.iter(|| tokens.iter().for_each(|token| _ = black_box(scalar::read(token))));
        });
    }
    group.finish();
}

fn aggregate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aggregate");
    for name in SAMPLES {
        let bytes = repeated(name, BYTES_MIN);
        let tokens = columns(&bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &tokens, |bencher, tokens| {
            bencher.iter(|| taken(tokens));
        });
    }
    let unique: Vec<String> = (0..100_000).map(|number| format!("{}.5", number * 7_919)).collect();
    group.throughput(Throughput::Bytes(unique.iter().map(|token| token.len() as u64).sum()));
    group.bench_with_input("unique numbers in sketches", &unique, |bencher, unique| {
        let sizes = SketchSizes::for_columns(10, Limits::default().sketch_bytes_max);
        bencher.iter(|| {
            let mut sketches = Sketches::new(&sizes);
            unique.iter().for_each(|token| sketches.add(Syntax::Field, Word::new(token.as_bytes()), 1));
            sketches
        });
    });
    group.finish();
}

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    for name in SAMPLES {
        let bytes = repeated(name, 0);
        let part = taken(&columns(&bytes));
        group.bench_with_input(BenchmarkId::from_parameter(name), &part, |bencher, part| {
            let two = || (part.clone(), part.clone());
            let names: Vec<String> = (0..part.width()).map(|index| index.to_string()).collect();
            let merged = |(mut one, other): (Columns, Columns)| {
                one.merge_by_name(&mut names.clone(), 0, other, &names, 0);
                one
            };
            bencher.iter_batched(two, merged, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn finish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("finish");
    for name in SAMPLES {
        let bytes = repeated(name, 0);
        let tokens = columns(&bytes);
        let names: Vec<String> = (0..tokens.len()).map(|index| index.to_string()).collect();
        let part = taken(&tokens);
        group.bench_with_input(BenchmarkId::from_parameter(name), &part, |bencher, part| {
            let top_bytes_max = Limits::default().top_bytes_max;
            bencher.iter_batched(
                || part.clone(),
                |part| part.finish(&names, top_bytes_max),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    read(criterion);
    kinds(criterion);
    aggregate(criterion);
    merge(criterion);
    finish(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = all
}
criterion_main!(benches);
