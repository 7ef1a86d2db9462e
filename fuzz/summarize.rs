//! One file, whatever its bytes: no panic, one answer for every cut and number of threads, and where a second engine
//! reads the file as well, the same answer as that.
//!
//! libFuzzer calls it, guided by coverage (fuzz/run). It never looks at the reading of dialects: where a summary says
//! that the file was not plain delimited UTF-8 with a header, the second engine is not asked.
#![no_main]

mod second;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use parsers::{Compression, Error, Format, Limits, Summary, WarningKind, decoder};
use rayon::ThreadPool;

/// More threads than most inputs have columns.
const THREADS: usize = 3;
/// A few kilobytes of gzip may stand for megabytes, which show no more than this.
const UNPACKED_BYTES_MAX: u64 = 64 << 10;
/// Waking threads costs more than a small file: only files of such a length are read by several.
const THREADS_EVERY: usize = 8;

static POOL: LazyLock<ThreadPool> = LazyLock::new(|| {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build();
    pool.expect("threads")
});

fuzz_target!(|bytes: &[u8]| {
    let roomy = Limits { decompressed_bytes_max: UNPACKED_BYTES_MAX, ..Limits::default() };
    let whole = one_answer("fuzz.csv", &roomy, bytes);
    let _ = one_answer("fuzz.csv", &tight(), bytes);
    let _ = one_answer("fuzz.tsv", &tight(), bytes);
    if let Ok(summary) = whole
        && let Some(delimiter) = plain(&summary)
    {
        second::compare(&summary, bytes, delimiter);
    }
});

/// Limits so small that tables overflow and records are refused.
fn tight() -> Limits {
    Limits {
        columns_max: 40,
        field_bytes_max: 200,
        record_bytes_max: 300,
        exact_bytes_max: 2_000,
        sketch_bytes_max: 200_000,
        decompressed_bytes_max: UNPACKED_BYTES_MAX,
        ..Limits::default()
    }
}

/// The answer to the whole file, after checking that no cut and no thread changes it, and that its JSON is the same.
fn one_answer(name: &str, limits: &Limits, bytes: &[u8]) -> Result<Summary, Error> {
    let whole = read(name, limits, bytes, &[bytes.len()]);
    assert_eq!(read(name, limits, bytes, &[1]), whole, "{name}: single bytes and whole differ");
    // The file itself says how it is cut: the fuzzer can move the cuts.
    let sizes: Vec<usize> = bytes.iter().rev().take(8).map(|&byte| usize::from(byte) + 1).collect();
    assert_eq!(read(name, limits, bytes, &sizes), whole, "{name}: pieces of {sizes:?} and whole differ");
    if bytes.len().is_multiple_of(THREADS_EVERY) {
        let threads = POOL.install(|| read(name, limits, bytes, &sizes));
        assert_eq!(threads, whole, "{name}: {THREADS} threads and one differ");
    }
    if let Ok(summary) = &whole {
        let json = summary.to_json();
        let again: Summary = serde_json::from_slice(&json).expect("a summary's JSON");
        assert_eq!(again.to_json(), json, "{name}: the JSON does not survive");
    }
    whole
}

fn read(name: &str, limits: &Limits, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    let mut decoder = decoder(name, limits);
    let mut rest = bytes;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(size.clamp(1, rest.len()));
        decoder.feed(piece)?;
        rest = tail;
    }
    decoder.finish()
}

/// The delimiter, when the file was read in the way that the second engine has.
fn plain(summary: &Summary) -> Option<u8> {
    let dialect = summary.dialect.as_ref()?;
    let known = [WarningKind::RowTooShort, WarningKind::RowTooLong, WarningKind::InvalidUtf8];
    let plain = summary.format == Format::Csv
        && summary.compression == Compression::None
        && (dialect.quote, dialect.header, dialect.encoding.as_str()) == ('"', true, "utf-8")
        && summary.warnings.iter().all(|warning| known.contains(&warning.kind));
    u8::try_from(dialect.delimiter).ok().filter(|_| plain)
}
