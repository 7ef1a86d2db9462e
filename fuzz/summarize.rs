//! One file, whatever its bytes: no panic, one answer for every cut and number of threads, and where a second engine
//! reads the file as well, the same answer as that.
//!
//! libFuzzer calls it, guided by coverage (fuzz/run). How the dialect is found has no second engine: it is told both, and
//! where a summary says that something was repaired that the other repairs in another way, the two are not compared.
#![no_main]

mod second;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use parsers::{
    Compression, Decode, Encoding, Error, Format, Limits, Mark, Reading, Summary, WarningKind, decoder,
};
use rayon::ThreadPool;

/// The one that is told.
const DELIMITER: u8 = b',';
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
    let _ = one_answer(|| decoder("fuzz.csv", &roomy), bytes);
    let _ = one_answer(|| decoder("fuzz.csv", &tight()), bytes);
    let _ = one_answer(|| decoder("fuzz.tsv", &tight()), bytes);
    let told = plain().expect("utf-8 is an encoding");
    let whole = one_answer(|| told.decoder("fuzz.csv", &roomy), bytes);
    if let Ok(summary) = whole
        && is_common(&summary)
    {
        second::compare(&summary, bytes, DELIMITER);
    }
});

/// What the second engine reads: fields between commas, in double quotes, in UTF-8, below a header.
fn plain() -> Result<Reading, Error> {
    Ok(Reading {
        delimiter: Some(char::from(DELIMITER).to_string()),
        quote: Some(Mark::Byte(b'"')),
        escape: Some(Mark::None),
        comment: Some(Mark::None),
        header: Some(true),
        skip_lines: Some(0),
        encoding: Some(Encoding::from_label("utf-8")?),
        ..Reading::default()
    })
}

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
fn one_answer(decoder: impl Fn() -> Box<dyn Decode> + Sync, bytes: &[u8]) -> Result<Summary, Error> {
    let whole = read(decoder(), bytes, &[bytes.len()]);
    assert_eq!(read(decoder(), bytes, &[1]), whole, "single bytes and whole differ");
    // The file itself says how it is cut: the fuzzer can move the cuts.
    let sizes: Vec<usize> = bytes.iter().rev().take(8).map(|&byte| usize::from(byte) + 1).collect();
    assert_eq!(read(decoder(), bytes, &sizes), whole, "pieces of {sizes:?} and whole differ");
    if bytes.len().is_multiple_of(THREADS_EVERY) {
        let threads = POOL.install(|| read(decoder(), bytes, &sizes));
        assert_eq!(threads, whole, "{THREADS} threads and one differ");
    }
    if let Ok(summary) = &whole {
        let json = summary.to_json();
        let again: Summary = serde_json::from_slice(&json).expect("a summary's JSON");
        assert_eq!(again.to_json(), json, "the JSON does not survive");
    }
    whole
}

fn read(mut decoder: Box<dyn Decode>, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
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

/// Whether the file was read in the way that the second engine has.
fn is_common(summary: &Summary) -> bool {
    let known = [WarningKind::RowTooShort, WarningKind::RowTooLong, WarningKind::InvalidUtf8];
    let is_plain = summary.format == Format::Csv && summary.compression == Compression::None;
    // Blanks between a delimiter and a quote are looked for even so: for the other they are part of the field.
    let blanks = summary.dialect.as_ref().is_some_and(|dialect| dialect.blanks_skipped);
    is_plain && !blanks && summary.warnings.iter().all(|warning| known.contains(&warning.kind))
}
