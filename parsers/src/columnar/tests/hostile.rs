//! Files that are cut short, damaged, or claim what they do not have: errors, and nothing else.

use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding};
use ::parquet::file::properties::WriterProperties;
use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::CompressionType;

use super::{CODECS, feed, ipc_file, ipc_stream, parquet, read, table_of};
use crate::columnar::ParquetDecoder;
use crate::decode::Decode;
use crate::error::ErrorKind;
use crate::limits::Limits;

/// A table with most kinds of pages and messages.
fn sample() -> RecordBatch {
    let rows = 300;
    let words = (0..rows).map(|row| (row % 5 != 0).then(|| format!("word {}", row % 7)));
    let mut lists = ListBuilder::new(Int32Builder::new());
    (0..rows).for_each(|row| lists.append_value((0..row % 4).map(Some)));
    let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let words: StringArray = words.collect();
    table_of(vec![
        ("n", Arc::new(Int64Array::from_iter((0..rows).map(|row| (row % 3 != 0).then_some(i64::from(row)))))),
        ("kind", arrow::compute::cast(&words, &kind).unwrap()),
        ("words", Arc::new(words)),
        ("lists", Arc::new(lists.finish())),
        ("x", Arc::new(Float64Array::from_iter_values((0..rows).map(f64::from)))),
        ("yes", Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 2 == 0))))),
    ])
}

fn files() -> Vec<Vec<u8>> {
    let table = [sample()];
    let small = || WriterProperties::builder().set_data_page_row_count_limit(50).set_write_batch_size(10);
    let mut files: Vec<Vec<u8>> =
        CODECS.iter().map(|codec| parquet(&table, small().set_compression(*codec).build())).collect();
    files.extend([
        ipc_file(&table, Some(CompressionType::ZSTD)),
        ipc_file(&table, Some(CompressionType::LZ4_FRAME)),
        ipc_stream(&table),
    ]);
    for encoding in [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY] {
        let newer = ::parquet::file::properties::WriterVersion::PARQUET_2_0;
        let small = small().set_writer_version(newer).set_dictionary_enabled(false);
        files.push(parquet(&table, small.set_column_encoding("words".into(), encoding).build()));
    }
    files
}

#[test]
fn a_file_that_is_cut_short_is_an_error() {
    for file in files() {
        assert_eq!(read(&file, 1000, false, &Limits::default()).unwrap().total_rows, 300);
        for len in (8..file.len()).step_by(7) {
            let cut = &file[..len];
            let whole = read(cut, 1000, false, &Limits::default());
            // A stream may end between two messages.
            let is_stream = file.starts_with(&[0xff; 4]);
            assert!(whole.is_err() || is_stream, "{len} of {}", file.len());
            let jumping = Box::new(ParquetDecoder::always_jumping(&Limits::default()));
            assert!(feed(jumping, cut, 1000, true).is_err());
        }
    }
}

#[test]
fn damaged_bytes_never_do_more_than_fail() {
    // A small generator: the same bytes are damaged each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let limits = Limits { whole_bytes_max: 1 << 20, ..Limits::default() };
    for file in files() {
        for _ in 0..1500 {
            let mut damaged = file.clone();
            for _ in 0..1 + random(3) {
                let place = random(damaged.len());
                damaged[place] = match random(3) {
                    0 => 0xff,
                    1 => 0,
                    _ => random(256) as u8,
                };
            }
            if let Err(error) = read(&damaged, 4096, random(2) == 0, &limits) {
                assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
            }
        }
    }
}

#[test]
fn what_must_be_held_has_a_limit_that_says_what_to_do() {
    let table = [table_of(vec![("n", Arc::new(Int64Array::from_iter_values(0..10_000)))])];
    let small = Limits { whole_bytes_max: 20_000, ..Limits::default() };
    let refused = |file: &[u8], may_jump: bool, limits: &Limits| {
        let decoder: Box<dyn Decode> = match file.starts_with(b"PAR1") {
            true => Box::new(ParquetDecoder::new(limits)),
            false => crate::decoder("a.arrow", limits),
        };
        let error = feed(decoder, file, 5000, may_jump).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        error.to_string()
    };
    let told = refused(&ipc_stream(&table), false, &small);
    assert!(told.contains("smaller record batches"), "{told}");
    // Without a way to jump the file is too large to be held; with one, a chunk of it is.
    let one_chunk = WriterProperties::builder().set_dictionary_enabled(false).build();
    let file = parquet(&table, one_chunk);
    let told = refused(&file, false, &small);
    assert!(told.contains("not from a pipe"), "{told}");
    let told = refused(&file, true, &small);
    assert!(told.contains("column \"n\"") && told.contains("smaller row groups"), "{told}");
    let chunks = WriterProperties::builder().set_max_row_group_row_count(Some(500));
    let file = parquet(&table, chunks.build());
    let read = |limits: &Limits| feed(Box::new(ParquetDecoder::new(limits)), &file, 1000, true);
    let footer = Limits { whole_bytes_max: 7_000, ..Limits::default() };
    let told = read(&footer).unwrap_err().to_string();
    assert!(told.contains("larger row groups"), "{told}");
    let enough = Limits { whole_bytes_max: 60_000, ..Limits::default() };
    assert_eq!(read(&enough).unwrap().total_rows, 10_000);
}

/// Few bytes that would come to many: a page that claims to be large, and texts that repeat the one before.
#[test]
fn what_would_grow_beyond_the_memory_is_refused() {
    let limits = Limits { whole_bytes_max: 1 << 20, ..Limits::default() };
    let zeros = [table_of(vec![("n", Arc::new(Int64Array::from(vec![0; 300_000])))])];
    for codec in CODECS.iter().copied().filter(|codec| *codec != Compression::UNCOMPRESSED) {
        let one_page = WriterProperties::builder().set_dictionary_enabled(false).set_compression(codec);
        let file = parquet(
            &zeros,
            one_page.set_data_page_size_limit(1 << 30).set_data_page_row_count_limit(1 << 30).build(),
        );
        assert!(file.len() < 1 << 18, "{codec} {}", file.len());
        let error = read(&file, 5000, true, &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{codec} {error}");
    }
    let long = "long ".repeat(2_000);
    let texts = [table_of(vec![("t", Arc::new(StringArray::from(vec![long.as_str(); 1_000])))])];
    let shared = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_column_encoding("t".into(), Encoding::DELTA_BYTE_ARRAY);
    let file = parquet(&texts, shared.build());
    assert!(file.len() < 1 << 15, "{}", file.len());
    let error = read(&file, 5000, true, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert_eq!(read(&file, 5000, true, &Limits::default()).unwrap().summary[0].1.unique, Some(1));
}

#[test]
fn a_compression_that_is_not_read_is_told_by_its_name() {
    let table = [table_of(vec![("n", Arc::new(Int64Array::from_iter_values(0..10)))])];
    let mut file =
        parquet(&table, WriterProperties::builder().set_compression(Compression::UNCOMPRESSED).build());
    // The type, the encodings, the path, the codec: field four, of type i32, is 0 in the footer.
    let footer =
        file.len() - 8 - u32::from_le_bytes(file[file.len() - 8..][..4].try_into().unwrap()) as usize;
    let path = footer + file[footer..].windows(4).rposition(|bytes| bytes == [0x18, 1, b'n', 0x15]).unwrap();
    assert_eq!(file[path + 4], 0);
    file[path + 4] = 4 << 1;
    let error = read(&file, 1000, false, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("Brotli"), "{error}");
}

#[test]
fn a_schema_without_end_is_refused() {
    let mut kind = DataType::Int32;
    for _ in 0..100 {
        kind = DataType::Struct(vec![Field::new("a", kind, true)].into());
    }
    let schema = Arc::new(Schema::new(vec![Field::new("a", kind, true)]));
    let batch = RecordBatch::new_empty(schema);
    let batches = [batch];
    for file in [parquet(&batches, WriterProperties::default()), ipc_stream(&batches)] {
        assert!(read(&file, 1000, false, &Limits::default()).is_err());
    }
    let wide: Vec<_> = (0..30).map(|_| ("a", Arc::new(Int8Array::from(vec![1])) as ArrayRef)).collect();
    let limits = Limits { columns_max: 20, ..Limits::default() };
    let batches = [table_of(wide)];
    for file in [ipc_stream(&batches), ipc_file(&batches, None)] {
        assert_eq!(read(&file, 1000, false, &limits).unwrap_err().kind(), ErrorKind::Limit);
    }
}

#[test]
fn an_empty_file_has_no_columns() {
    for name in ["a.parquet", "a.arrow"] {
        let decoder = crate::decoder(name, &Limits::default());
        assert_ne!(decoder.finish().unwrap_err().kind(), ErrorKind::Internal);
    }
    let decoder = crate::decoder("a.parquet", &Limits::default());
    assert_eq!(decoder.finish().unwrap_err().kind(), ErrorKind::Empty);
}
