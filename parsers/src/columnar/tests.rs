//! Tables written by the libraries, read back, against the same values put in one by one; and against Polars.

mod hostile;

use std::sync::{Arc, LazyLock};

use ::parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::*;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use polars::prelude::{NamedFrom, Series};
use proptest::prelude::*;

use crate::Error;
use crate::aggregate::Word;
use crate::columnar::ParquetDecoder;
use crate::decode::Decode;
use crate::format::Format;
use crate::limits::Limits;
use crate::rows::Rows;
use crate::scalar::Syntax;
use crate::scalar::tagged::{self, Moment};
use crate::summary::{Bound, ColumnType, Summary};

/// Feeds a file in pieces of this size; jumps where the decoder asks for it, when it may.
pub(super) fn read(bytes: &[u8], piece: usize, may_jump: bool, limits: &Limits) -> Result<Summary, Error> {
    feed(crate::decoder("no ending", limits), bytes, piece, may_jump)
}

fn feed(mut decoder: Box<dyn Decode>, bytes: &[u8], piece: usize, may_jump: bool) -> Result<Summary, Error> {
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at.saturating_add(piece));
        decoder.feed(&bytes[at..end])?;
        at = end;
        if may_jump && let Some(place) = decoder.jump(bytes.len() as u64) {
            at = usize::try_from(place).unwrap();
        }
    }
    decoder.finish()
}

pub(super) fn parquet(batches: &[RecordBatch], properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(&mut bytes, batches[0].schema(), Some(properties)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    bytes
}

pub(super) fn ipc_file(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

pub(super) fn ipc_stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

/// A value of a test column; `None` is a null.
#[derive(Clone, Debug)]
enum Column {
    Int(Vec<Option<i64>>),
    Small(Vec<Option<u8>>),
    Unsigned(Vec<Option<u64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    /// The same, with a dictionary.
    Category(Vec<Option<String>>),
    Day(Vec<Option<i32>>),
    Micros(Vec<Option<i64>>, bool),
    /// Hundredths.
    Decimal(Vec<Option<i64>>),
}

impl Column {
    fn array(&self) -> ArrayRef {
        match self.clone() {
            Column::Int(values) => Arc::new(Int64Array::from(values)),
            Column::Small(values) => Arc::new(UInt8Array::from(values)),
            Column::Unsigned(values) => Arc::new(UInt64Array::from(values)),
            Column::Float(values) => Arc::new(Float64Array::from(values)),
            Column::Bool(values) => Arc::new(BooleanArray::from(values)),
            Column::Text(values) => Arc::new(StringArray::from(values)),
            Column::Category(values) => {
                let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                cast(&StringArray::from(values), &kind).unwrap()
            }
            Column::Day(values) => Arc::new(Date32Array::from(values)),
            Column::Micros(values, false) => Arc::new(TimestampMicrosecondArray::from(values)),
            Column::Micros(values, true) => {
                Arc::new(TimestampMicrosecondArray::from(values).with_timezone("Europe/Berlin"))
            }
            Column::Decimal(values) => {
                let values = values.into_iter().map(|value| value.map(i128::from));
                let array: Decimal128Array = values.collect();
                Arc::new(array.with_precision_and_scale(20, 2).unwrap())
            }
        }
    }

    /// Calls `take` with the token of each value, or nothing for a null.
    fn tokens(&self, mut take: impl FnMut(Option<Word<'_>>)) {
        let mut room = Vec::new();
        match self {
            Column::Int(values) => values.iter().for_each(|value| take(value.map(tagged::int))),
            Column::Small(values) => {
                values.iter().for_each(|value| take(value.map(|v| tagged::int(v.into()))))
            }
            Column::Unsigned(values) => values.iter().for_each(|value| take(value.map(tagged::unsigned))),
            Column::Float(values) => values.iter().for_each(|value| take(value.map(tagged::float))),
            Column::Bool(values) => values.iter().for_each(|value| take(value.map(tagged::truth))),
            Column::Text(values) | Column::Category(values) => values.iter().for_each(|value| match value {
                Some(text) => take(Some(tagged::word(text.as_bytes(), &mut room))),
                None => take(None),
            }),
            Column::Day(values) => {
                values.iter().for_each(|value| take(value.map(|v| tagged::moment(Moment::Day, 0, v.into()))));
            }
            Column::Micros(values, zone) => {
                let moment = if *zone { Moment::Aware } else { Moment::Naive };
                values.iter().for_each(|value| take(value.map(|v| tagged::moment(moment, 6, v))));
            }
            Column::Decimal(values) => {
                values.iter().for_each(|value| take(value.map(|v| tagged::float(v as f64 / 100.0))));
            }
        }
    }
}

fn names(columns: &[Column]) -> Vec<String> {
    (0..columns.len()).map(|index| format!("c{index}")).collect()
}

/// The table, cut into batches of so many rows.
fn batches(columns: &[Column], rows: usize) -> Vec<RecordBatch> {
    let named = names(columns).into_iter().zip(columns).map(|(name, column)| (name, column.array(), true));
    let whole = RecordBatch::try_from_iter_with_nullable(named).unwrap();
    let starts = (0..whole.num_rows().max(1)).step_by(rows);
    starts.map(|start| whole.slice(start, rows.min(whole.num_rows() - start))).collect()
}

/// The summary of the same values, one by one.
fn expected(columns: &[Column], limits: &Limits, format: Format) -> Summary {
    let mut rows = Rows::new(names(columns), Syntax::Tagged, limits);
    for (index, column) in columns.iter().enumerate() {
        let mut count = 0;
        column.tokens(|word| {
            count += 1;
            match word {
                Some(word) => rows.columns.add(index, word, 1),
                None => rows.columns.add_missing(index, 1),
            }
        });
        rows.total = count;
    }
    rows.partial(format, None).finish()
}

fn column(rows: usize) -> impl Strategy<Value = Column> {
    fn of<T: Clone + std::fmt::Debug>(
        rows: usize,
        value: impl Strategy<Value = T> + 'static,
    ) -> impl Strategy<Value = Vec<Option<T>>> {
        // Few or many different values, so that dictionaries are kept and given up.
        prop::collection::vec(prop::option::weighted(0.9, value), rows)
    }
    let float =
        prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), -9.0..9.0];
    let text = || prop_oneof!["[a-c]{0,2}", ".{0,40}", Just("2013-01-02".to_owned()), Just("x".repeat(300))];
    prop_oneof![
        of(rows, prop_oneof![any::<i64>(), -3..3i64]).prop_map(Column::Int),
        of(rows, any::<u8>()).prop_map(Column::Small),
        of(rows, any::<u64>()).prop_map(Column::Unsigned),
        of(rows, float).prop_map(Column::Float),
        of(rows, any::<bool>()).prop_map(Column::Bool),
        of(rows, text()).prop_map(Column::Text),
        of(rows, text()).prop_map(Column::Category),
        of(rows, any::<i32>()).prop_map(Column::Day),
        (of(rows, any::<i64>()), any::<bool>()).prop_map(|(values, zone)| Column::Micros(values, zone)),
        of(rows, -1_000_000..1_000_000i64).prop_map(Column::Decimal),
    ]
}

fn table() -> impl Strategy<Value = Vec<Column>> {
    (0..200usize).prop_flat_map(|rows| prop::collection::vec(column(rows), 1..8))
}

/// The compressions that are read.
pub(super) static CODECS: LazyLock<[Compression; 6]> = LazyLock::new(|| {
    let (gzip, zstd) = (GzipLevel::default(), ZstdLevel::default());
    [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(gzip),
        Compression::ZSTD(zstd),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ]
});

/// How a Parquet file is written.
#[derive(Clone, Debug)]
struct Style {
    group: usize,
    page: usize,
    has_dictionary: bool,
    dictionary_bytes: usize,
    is_newer: bool,
    codec: Compression,
    /// Encodings of the newer kind, for all types that have one.
    encoding: Option<bool>,
}

prop_compose! {
    fn style()(
        group in 1..300usize,
        page in 1..100usize,
        has_dictionary in any::<bool>(),
        dictionary_bytes in 1..2000usize,
        is_newer in any::<bool>(),
        codec in prop::sample::select(CODECS.to_vec()),
        encoding in any::<Option<bool>>(),
    ) -> Style {
        Style { group, page, has_dictionary, dictionary_bytes, is_newer, codec, encoding }
    }
}

impl Style {
    fn properties(&self, columns: &[Column]) -> WriterProperties {
        let version = if self.is_newer { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let mut builder = WriterProperties::builder()
            .set_max_row_group_row_count(Some(self.group))
            .set_data_page_row_count_limit(self.page)
            .set_write_batch_size(8)
            .set_dictionary_enabled(self.has_dictionary)
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            .set_compression(self.codec)
            .set_writer_version(version);
        for (name, column) in names(columns).into_iter().zip(columns) {
            let encoding = match (column, self.encoding) {
                (Column::Text(_), Some(true)) => Encoding::DELTA_BYTE_ARRAY,
                (Column::Text(_), Some(false)) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                (Column::Int(_) | Column::Micros(_, _), Some(_)) => Encoding::DELTA_BINARY_PACKED,
                (Column::Float(_), Some(_)) => Encoding::BYTE_STREAM_SPLIT,
                _ => continue,
            };
            builder = builder.set_column_encoding(name.into(), encoding);
        }
        builder.build()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_format_and_cut_says_what_the_values_say(
        columns in table(),
        style in style(),
        rows in 1..200usize,
        piece in 1..5000usize,
    ) {
        let limits = Limits { whole_bytes_max: 8 << 20, ..Limits::default() };
        let batches = batches(&columns, rows);
        let file = parquet(&batches, style.properties(&columns));
        prop_assert_eq!(&read(&file, piece, false, &limits).unwrap(), &expected(&columns, &limits, Format::Parquet));
        let jumping = Box::new(ParquetDecoder::always_jumping(&limits));
        prop_assert_eq!(&feed(jumping, &file, piece, true).unwrap(), &expected(&columns, &limits, Format::Parquet));
        let told = expected(&columns, &limits, Format::Arrow);
        prop_assert_eq!(&read(&ipc_stream(&batches), piece, true, &limits).unwrap(), &told);
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            prop_assert_eq!(&read(&ipc_file(&batches, compression), piece, false, &limits).unwrap(), &told);
        }
    }
}

/// What a column of this table turned out to be: type, values, nulls, different values, most frequent value.
fn facts(summary: &Summary, index: usize) -> (ColumnType, u64, u64, u64, Option<&str>) {
    let (schema, stats) = (&summary.schema[index], &summary.summary[index].1);
    (schema.kind, stats.count, schema.nulls, schema.distinct.value, stats.top.as_deref())
}

fn both(batch: &RecordBatch) -> [Summary; 2] {
    let batches = std::slice::from_ref(batch);
    let files = [parquet(batches, WriterProperties::default()), ipc_file(batches, None)];
    files.map(|file| read(&file, usize::MAX, false, &Limits::default()).unwrap())
}

fn table_of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn structs_become_dotted_columns_and_lists_text() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None, Some(-3)]);
    lists.append_null();
    lists.append_value([]);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    maps.keys().append_value("a\"b");
    maps.values().append_value(1.5);
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    maps.append(true).unwrap();
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("text", DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("x"), Some("x"), None])) as ArrayRef,
    )]);
    // The middle one is null, whatever its children say.
    let outer = StructArray::new(
        Fields::from(vec![
            Field::new("number", DataType::Int32, true),
            Field::new("inner", inner.data_type().clone(), true),
        ]),
        vec![Arc::new(Int32Array::from(vec![1, 2, 3])), Arc::new(inner)],
        Some(vec![true, false, true].into()),
    );
    let batch = table_of(vec![
        ("lists", Arc::new(lists.finish())),
        ("outer", Arc::new(outer)),
        ("maps", Arc::new(maps.finish())),
    ]);
    for summary in both(&batch) {
        assert_eq!(summary.columns, ["lists", "outer.number", "outer.inner.text", "maps"]);
        assert_eq!(facts(&summary, 0), (ColumnType::Text, 2, 1, 2, Some("[1,null,-3]")));
        assert_eq!(facts(&summary, 1), (ColumnType::Int, 2, 1, 2, None));
        assert_eq!(summary.summary[1].1.max, Some(Bound::Int(3)));
        assert_eq!(facts(&summary, 2), (ColumnType::Text, 1, 2, 1, Some("x")));
        assert_eq!(facts(&summary, 3), (ColumnType::Text, 2, 1, 2, Some("{\"a\\\"b\":1.5}")));
        assert_eq!(summary.total_rows, 3);
    }
}

#[test]
fn every_type_is_a_number_a_time_a_truth_or_text() {
    let day = 86_400_000;
    let batch = table_of(vec![
        ("half", Arc::new(Float16Array::from_iter_values([1.5, 0.1].map(half)))),
        ("single", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
        ("decimal", Arc::new(Decimal128Array::from(vec![1234, -5]).with_precision_and_scale(10, 2).unwrap())),
        ("whole", Arc::new(Decimal128Array::from(vec![12, -5]).with_precision_and_scale(10, 0).unwrap())),
        ("seconds", Arc::new(TimestampSecondArray::from(vec![0, 61]))),
        ("nanos", Arc::new(TimestampNanosecondArray::from(vec![0, 1_500_000_001]).with_timezone("+01:00"))),
        ("days", Arc::new(Date64Array::from(vec![0, day]))),
        ("clock", Arc::new(Time64MicrosecondArray::from(vec![3_600_000_000, 3_600_000_000]))),
        ("took", Arc::new(DurationMillisecondArray::from(vec![1500, 500]))),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"a\xff"[..], b"a\xff"]))),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter([b"ab", b"cd"].into_iter()).unwrap())),
        ("views", Arc::new(StringViewArray::from(vec!["a long text that is no inline view", "b"]))),
        ("nothing", Arc::new(NullArray::new(2))),
        ("huge", Arc::new(UInt64Array::from(vec![u64::MAX, 1]))),
    ]);
    for summary in both(&batch) {
        let bounds = |index: usize| {
            let stats = &summary.summary[index].1;
            (stats.min.clone(), stats.max.clone())
        };
        let number = |min: f64, max: f64| (Some(Bound::Number(min)), Some(Bound::Number(max)));
        let time = |min: &str, max: &str| (Some(Bound::Time(min.into())), Some(Bound::Time(max.into())));
        assert_eq!(bounds(0), number(0.0999755859375, 1.5));
        assert_eq!((facts(&summary, 1).2, bounds(1)), (1, number(0.1_f32.into(), 0.1_f32.into())));
        assert_eq!(bounds(2), number(-0.05, 12.34));
        assert_eq!(bounds(3), (Some(Bound::Int(-5)), Some(Bound::Int(12))));
        assert_eq!(bounds(4), time("1970-01-01T00:00:00", "1970-01-01T00:01:01"));
        assert_eq!(bounds(5), time("1970-01-01T00:00:00Z", "1970-01-01T00:00:01.500000001Z"));
        assert_eq!((facts(&summary, 6).0, bounds(6)), (ColumnType::Date, time("1970-01-01", "1970-01-02")));
        assert_eq!(facts(&summary, 7), (ColumnType::Text, 2, 0, 1, Some("01:00:00")));
        assert_eq!(bounds(8), number(0.5, 1.5));
        assert_eq!(facts(&summary, 9), (ColumnType::Text, 2, 0, 1, Some("a\u{fffd}")));
        assert_eq!(facts(&summary, 10), (ColumnType::Text, 2, 0, 2, Some("ab")));
        assert_eq!(facts(&summary, 11).4, Some("a long text that is no inline view"));
        assert_eq!(facts(&summary, 12), (ColumnType::Empty, 0, 2, 0, None));
        assert_eq!(bounds(13), number(1.0, u64::MAX as f64));
    }
}

fn half(value: f64) -> <Float16Type as ArrowPrimitiveType>::Native {
    let array = cast(&Float64Array::from(vec![value]), &DataType::Float16).unwrap();
    array.as_primitive::<Float16Type>().value(0)
}

#[test]
fn runs_and_dictionaries_count_their_rows() {
    let runs = RunArray::try_new(
        &Int32Array::from(vec![3, 5, 9]),
        &StringArray::from(vec![Some("a"), None, Some("b")]),
    );
    let keys =
        Int8Array::from(vec![Some(2), None, Some(0), Some(0), Some(1), None, Some(2), Some(2), Some(0)]);
    // One of its values is null.
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("y")]));
    let batch = table_of(vec![
        ("runs", Arc::new(runs.unwrap())),
        ("kinds", Arc::new(DictionaryArray::new(keys, values))),
    ]);
    for batches in [vec![batch.clone()], vec![batch.slice(0, 4), batch.slice(4, 5)]] {
        let summary = read(&ipc_stream(&batches), 7, false, &Limits::default()).unwrap();
        assert_eq!(facts(&summary, 0), (ColumnType::Text, 7, 2, 2, Some("b")));
        assert_eq!(summary.summary[0].1.freq, Some(4));
        // Of equals the first.
        assert_eq!(facts(&summary, 1), (ColumnType::Text, 6, 3, 2, Some("y")));
    }
}

#[test]
fn the_same_table_as_csv_says_the_same() {
    let text = "n,x,word,day,at,yes\n1,1.5,a,2013-01-01,2013-01-01T05:00:00Z,true\n-7,,b,2013-01-02,,false\n\
                1,0.25,a,2013-01-01,2013-01-01T06:00:00Z,true\n";
    let mut decoder = crate::decoder("t.csv", &Limits::default());
    decoder.feed(text.as_bytes()).unwrap();
    let told = decoder.finish().unwrap();
    let at = TimestampSecondArray::from(vec![Some(1357016400), None, Some(1357020000)]).with_timezone("UTC");
    let batch = table_of(vec![
        ("n", Arc::new(Int16Array::from(vec![1, -7, 1]))),
        ("x", Arc::new(Float32Array::from(vec![Some(1.5), None, Some(0.25)]))),
        ("word", Arc::new(LargeStringArray::from(vec!["a", "b", "a"]))),
        ("day", Arc::new(Date32Array::from(vec![15706, 15707, 15706]))),
        ("at", Arc::new(at)),
        ("yes", Arc::new(BooleanArray::from(vec![true, false, true]))),
    ]);
    for summary in both(&batch) {
        assert_eq!(summary.columns, told.columns);
        assert_eq!(summary.schema, told.schema);
        assert_eq!(summary.summary, told.summary);
    }
}

#[test]
fn polars_agrees() {
    let numbers: Vec<Option<f64>> =
        (0..5000).map(|i| (i % 7 != 0).then(|| f64::from(i % 613) / 8.0)).collect();
    let words: Vec<Option<String>> =
        (0..5000).map(|i| (i % 11 != 0).then(|| format!("w{}", i % 97))).collect();
    let batch = table_of(vec![
        ("numbers", Arc::new(Float64Array::from(numbers.clone()))),
        ("words", Arc::new(StringArray::from(words.clone()))),
    ]);
    let (numbers, words) = (Series::new("numbers".into(), numbers), Series::new("words".into(), words));
    // Polars counts the null as a value.
    let distinct = |series: &Series| series.n_unique().unwrap() as u64 - 1;
    for summary in both(&batch) {
        let stats = &summary.summary[0].1;
        assert_eq!(summary.schema[0].nulls, numbers.null_count() as u64);
        assert_eq!(summary.schema[0].distinct.value, distinct(&numbers));
        assert!((stats.mean.unwrap() - numbers.mean().unwrap()).abs() < 1e-9);
        assert_eq!(stats.min.as_ref().and_then(Bound::as_f64), numbers.min::<f64>().unwrap());
        assert_eq!(stats.max.as_ref().and_then(Bound::as_f64), numbers.max::<f64>().unwrap());
        assert_eq!(stats.p50, numbers.median());
        assert_eq!(summary.schema[1].nulls, words.null_count() as u64);
        assert_eq!(summary.schema[1].distinct.value, distinct(&words));
    }
}
