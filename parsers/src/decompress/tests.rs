//! Compressed input: members, damage, limits.

use std::io::Write;

use flate2::{Compression as Level, write::GzEncoder};
use proptest::prelude::*;

use crate::{Compression, Error, ErrorKind, Limits, Summary, decoder};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8], size: usize, limits: &Limits) -> Result<Summary, Error> {
    let mut decoder = decoder("t.csv", limits);
    for piece in bytes.chunks(size) {
        decoder.feed(piece)?;
    }
    decoder.finish()
}

/// The answer, after checking that the cut does not change it.
fn summary(bytes: &[u8], limits: &Limits) -> Result<Summary, Error> {
    let whole = read(bytes, usize::MAX, limits);
    for size in [1, 7, 4093] {
        assert_eq!(read(bytes, size, limits), whole, "pieces of {size}");
    }
    whole
}

fn kind(bytes: &[u8]) -> ErrorKind {
    summary(bytes, &Limits::default()).unwrap_err().kind()
}

fn table(rows: usize) -> Vec<u8> {
    let mut text = b"a,b\n".to_vec();
    (0..rows).for_each(|i| text.extend(format!("{},{}\n", i * i % 977, i % 13).into_bytes()));
    text
}

#[test]
fn gzip_is_known_by_its_content_and_gives_the_same_summary() {
    let text = table(3_000);
    let plain = summary(&text, &Limits::default()).unwrap();
    let mut packed = summary(&gzip(&text), &Limits::default()).unwrap();
    assert_eq!(packed.compression, Compression::Gzip);
    packed.compression = Compression::None;
    assert_eq!(packed, plain);
}

#[test]
fn all_members_are_read_and_padding_is_allowed() {
    let parts = [gzip(b"a\n1\n2"), gzip(b""), gzip(b"3\n4\n")].concat();
    assert_eq!(summary(&parts, &Limits::default()).unwrap().total_rows, 3);
    let padded = [parts, vec![0; 40_000]].concat();
    assert_eq!(summary(&padded, &Limits::default()).unwrap().total_rows, 3);
    assert_eq!(kind(&[padded, b"x".to_vec()].concat()), ErrorKind::Corrupt);
}

#[test]
fn a_stream_cut_short_or_damaged_is_corrupt() {
    let good = gzip(&table(500));
    for len in 2..good.len() {
        assert_eq!(
            read(&good[..len], 64, &Limits::default()).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{len}"
        );
    }
    let mut damaged = good.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    assert_eq!(kind(&damaged), ErrorKind::Corrupt, "checksum");
    assert_eq!(kind(&[&good[..], b"\x1f\x8b"].concat()), ErrorKind::Corrupt);
    assert_eq!(kind(b"\x1f\x8bnot gzip"), ErrorKind::Corrupt);
    // One byte is too little to be anything but a header.
    assert_eq!(summary(b"\x1f", &Limits::default()).unwrap().columns.len(), 1);
    assert_eq!(kind(b""), ErrorKind::Empty);
    assert_eq!(kind(&gzip(b"")), ErrorKind::Empty);
    assert_eq!(kind(&gzip(&gzip(b"a\n1\n"))), ErrorKind::Unsupported);
}

#[test]
fn a_bomb_is_refused_early() {
    let bomb = gzip(&[b"a\n".to_vec(), b"1\n".repeat(20 << 20)].concat());
    let error = read(&bomb, 65_536, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("bomb"), "{error}");
    assert_eq!(read(&bomb, 1_000, &Limits::default()).unwrap_err(), error);
    let mut decoder = decoder("t.csv", &Limits::default());
    assert_eq!(decoder.feed(&bomb[..33_000]).unwrap_err(), error, "refused before its end");
    let size = Limits { decompressed_bytes_max: 1_000, ..Limits::default() };
    assert_eq!(summary(&gzip(&table(5_000)), &size).unwrap_err().kind(), ErrorKind::Limit);
    let enough = Limits { decompressed_bytes_max: table(50).len() as u64, ..Limits::default() };
    assert!(summary(&gzip(&table(50)), &enough).is_ok());
}

#[test]
fn after_an_error_the_decoder_repeats_it() {
    let mut decoder = decoder("t.csv", &Limits { columns_max: 1, ..Limits::default() });
    // A decoder may gather bytes before it looks at them.
    let error = decoder.feed(&b"a,b\n".repeat(100_000)).unwrap_err();
    assert_eq!(decoder.feed(b"1,2\n").unwrap_err(), error);
    assert_eq!(decoder.finish().unwrap_err(), error);
}

proptest! {
    #[test]
    fn damage_anywhere_gives_the_same_answer_however_it_is_cut(
        at in 0usize..10_000,
        flip in 1u8..255,
        size in 1usize..50,
    ) {
        let mut bytes = gzip(&table(200));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert_eq!(read(&bytes, size, &Limits::default()), read(&bytes, usize::MAX, &Limits::default()));
    }
}
