//! Compressed input, the same for every codec: round trips, members, damage, limits.

use std::io::Write;

use proptest::prelude::*;

use crate::{Compression, Error, ErrorKind, Limits, Summary, decoder};

type Codec = (Compression, fn(&[u8]) -> Vec<u8>);

/// The compressions, with what writes them: checksums wherever there are any.
const CODECS: [Codec; 6] = [
    (Compression::Gzip, gzip),
    (Compression::Zstd, zstd),
    (Compression::Bzip2, bzip2),
    (Compression::Xz, xz),
    (Compression::Lz4, lz4),
    (Compression::Zip, zip),
];

/// Those that may follow themselves in a file.
const CHAINED: [Codec; 5] = [CODECS[0], CODECS[1], CODECS[2], CODECS[3], CODECS[4]];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd_with_window(bytes, None)
}

fn zstd_with_window(bytes: &[u8], log: Option<u32>) -> Vec<u8> {
    use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};
    let mut encoder = CCtx::create();
    encoder.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
    if let Some(log) = log {
        encoder.set_parameter(CParameter::WindowLog(log)).unwrap();
    }
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()) + 64);
    let mut output = OutBuffer::around(&mut packed);
    // In two steps, so that the size of the whole is not known before.
    encoder.compress_stream(&mut output, &mut InBuffer::around(bytes)).unwrap();
    assert_eq!(encoder.end_stream(&mut output).unwrap(), 0);
    packed
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz_with_dictionary(bytes: &[u8], size: u32) -> Vec<u8> {
    use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
    let mut options = LzmaOptions::new_preset(0).unwrap();
    let stream = Stream::new_stream_encoder(Filters::new().lzma2(options.dict_size(size)), Check::Crc32);
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream.unwrap());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    lz4_in(bytes, lz4_flex::frame::BlockMode::Linked)
}

fn lz4_in(bytes: &[u8], mode: lz4_flex::frame::BlockMode) -> Vec<u8> {
    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new()
        .block_mode(mode)
        .block_size(BlockSize::Max64KB)
        .block_checksums(true)
        .content_checksum(true)
        .content_size(Some(bytes.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(bytes: &[u8]) -> Vec<u8> {
    super::zip::tests::archive(&[super::zip::tests::Member::new("t.csv", bytes)])
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

/// How long the mark is that a file is known by; a change in it makes it another kind of file.
fn mark_bytes(compression: Compression) -> usize {
    match compression {
        Compression::Gzip => 2,
        Compression::Bzip2 => 10,
        Compression::Xz => 6,
        _ => 4,
    }
}

#[test]
fn compression_is_known_by_its_content_and_gives_the_same_summary() {
    // Several blocks of every codec, and several pieces.
    let text = table(120_000);
    let plain = read(&text, usize::MAX, &Limits::default()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let lz4_alone = |bytes: &[u8]| lz4_in(bytes, lz4_flex::frame::BlockMode::Independent);
    for (compression, packed) in CODECS
        .map(|(compression, pack)| (compression, pack(&text)))
        .into_iter()
        .chain([(Compression::Lz4, lz4_alone(&text))])
    {
        let mut unpacked = summary(&packed, &Limits::default()).unwrap();
        assert_eq!(pool.install(|| read(&packed, 100_000, &Limits::default())).as_ref(), Ok(&unpacked));
        assert_eq!(unpacked.compression, compression);
        unpacked.compression = Compression::None;
        assert_eq!(unpacked, plain, "{compression:?}");
    }
}

#[test]
fn everything_that_follows_is_read() {
    for (compression, pack) in CHAINED {
        let parts = [pack(b"a\n1\n2"), pack(b""), pack(b"3\n4\n")].concat();
        assert_eq!(summary(&parts, &Limits::default()).unwrap().total_rows, 3, "{compression:?}");
        for tail in [&b"x"[..], b"garbage, more of it", &parts[..1], &parts[..3]] {
            assert_eq!(kind(&[&parts, tail].concat()), ErrorKind::Corrupt, "{compression:?} and {tail:?}");
        }
    }
    let padded = [gzip(b"a\n1\n2\n"), vec![0; 40_000], gzip(b"3\n"), vec![0; 7]].concat();
    assert_eq!(summary(&padded, &Limits::default()).unwrap().total_rows, 3);
    assert_eq!(kind(&[padded, b"x".to_vec()].concat()), ErrorKind::Corrupt);
    let padded = |n: usize| [xz(b"a\n1\n"), vec![0; n], xz(b"2\n"), vec![0; 8]].concat();
    assert_eq!(summary(&padded(4), &Limits::default()).unwrap().total_rows, 2);
    assert_eq!(kind(&padded(3)), ErrorKind::Corrupt, "padding of xz comes in fours");
}

#[test]
fn a_stream_cut_short_anywhere_is_corrupt() {
    for (compression, pack) in CODECS {
        let good = pack(&table(120));
        for len in mark_bytes(compression).min(4)..good.len() {
            let kind = read(&good[..len], 64, &Limits::default()).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::Corrupt, "{len} bytes of {compression:?}");
        }
    }
    // One byte is too little to be anything but a header.
    assert_eq!(summary(b"\x1f", &Limits::default()).unwrap().columns.len(), 1);
    assert_eq!(kind(b""), ErrorKind::Empty);
}

#[test]
fn a_changed_bit_is_an_error_or_changes_nothing() {
    for (compression, pack) in CODECS {
        let mut bytes = pack(&table(40));
        let good = read(&bytes, usize::MAX, &Limits::default()).unwrap();
        for at in mark_bytes(compression)..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                if let Ok(summary) = read(&bytes, usize::MAX, &Limits::default()) {
                    assert_eq!(summary, good, "bit {bit} of byte {at}, {compression:?}");
                }
                bytes[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn an_empty_file_is_empty_and_one_compressed_twice_is_refused() {
    for (outer, pack) in CODECS {
        assert_eq!(kind(&pack(b"")), ErrorKind::Empty, "{outer:?}");
        for (inner, pack_first) in CODECS {
            let error = summary(&pack(&pack_first(b"a\n1\n")), &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let words = format!("compressed twice: {} within {}", inner.as_str(), outer.as_str());
            assert!(error.to_string().contains(&words), "{error}");
        }
    }
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    assert_eq!(kind(&tar), ErrorKind::Unsupported);
    assert_eq!(kind(&gzip(&tar)), ErrorKind::Unsupported);
}

#[test]
fn a_bomb_is_refused_early() {
    let text = [b"a\n".to_vec(), b"1\n".repeat(10 << 20)].concat();
    // Nothing that lz4 writes is smaller than a 255th.
    let limits = Limits { decompressed_ratio_max: 200, ..Limits::default() };
    for (compression, pack) in CODECS {
        let bomb = pack(&text);
        let error = read(&bomb, 65_536, &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains("bomb"), "{compression:?}: {error}");
        assert_eq!(read(&bomb, 1_000, &limits).unwrap_err(), error);
        // Twenty million bytes in all: some before the end, unless it is hardly longer than the harmless part.
        let mut decoder = decoder("t.csv", &limits);
        assert_eq!(
            decoder.feed(&bomb[..bomb.len() - 1]).unwrap_err(),
            error,
            "before the end of {compression:?}"
        );
    }
}

#[test]
fn size_and_window_are_limited() {
    for (compression, pack) in CODECS {
        let size = Limits { decompressed_bytes_max: 1_000, ..Limits::default() };
        assert_eq!(
            summary(&pack(&table(5_000)), &size).unwrap_err().kind(),
            ErrorKind::Limit,
            "{compression:?}"
        );
        let enough = Limits { decompressed_bytes_max: table(50).len() as u64, ..Limits::default() };
        assert!(summary(&pack(&table(50)), &enough).is_ok(), "{compression:?}");
    }
    let wide = Limits { window_bytes_max: 16 << 20, ..Limits::default() };
    for (packed, kind) in [
        (zstd_with_window(b"a\n1\n", Some(24)), "--long"),
        (xz_with_dictionary(b"a\n1\n", 16 << 20), "xz -6"),
    ] {
        let error = summary(&packed, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains(kind), "{error}");
        assert_eq!(summary(&packed, &wide).unwrap().total_rows, 1);
    }
    assert!(summary(&zstd_with_window(b"a\n1\n", Some(23)), &Limits::default()).is_ok());
    assert!(summary(&xz_with_dictionary(b"a\n1\n", 8 << 20), &Limits::default()).is_ok());
}

#[test]
fn frames_to_skip_are_skipped_wherever_they_are() {
    let skip = |length: u32| {
        let mut frame = b"\x51\x2a\x4d\x18".to_vec();
        frame.extend(length.to_le_bytes());
        frame.resize(8 + length as usize, b'"');
        frame
    };
    for pack in [zstd, lz4] {
        for length in [0, 3, 600, 70_000] {
            let first = [skip(length), skip(0), pack(b"a\n1\n2\n"), skip(length), pack(b"3\n"), skip(length)]
                .concat();
            assert_eq!(summary(&first, &Limits::default()).unwrap().total_rows, 3, "{length}");
            assert_eq!(kind(&[&first[..], &skip(9)[..12]].concat()), ErrorKind::Corrupt);
        }
    }
    assert_eq!(kind(&[skip(5), b"a\n1\n".to_vec()].concat()), ErrorKind::Corrupt);
    assert_eq!(kind(&skip(600)[..300]), ErrorKind::Corrupt);
    assert_eq!(kind(&skip(600)[..6]), ErrorKind::Corrupt);
    assert_eq!(kind(&skip(600)), ErrorKind::Empty);
    assert_eq!(kind(&skip(0).repeat(100_000)), ErrorKind::Empty);
}

#[test]
fn the_first_error_of_a_file_wins() {
    let limits = Limits { columns_max: 1, ..Limits::default() };
    for (compression, pack) in CODECS {
        // Its first line is too wide, its end missing or followed by other bytes; all of it fits into one piece.
        let good = pack(&table(60_000));
        for bytes in [&good[..good.len() - 1], &[&good, &b"garbage"[..]].concat()] {
            let error = summary(bytes, &limits).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{compression:?}: {error}");
        }
    }
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
        codec in 0..CODECS.len(),
        rows in prop_oneof![Just(200usize), Just(60_000)],
        at in 0usize..1_000_000,
        flip in 1u8..255,
        size in 1usize..50,
    ) {
        let mut bytes = CODECS[codec].1(&table(rows));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert_eq!(read(&bytes, size, &Limits::default()), read(&bytes, usize::MAX, &Limits::default()));
    }
}
