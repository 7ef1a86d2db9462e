//! Rows as Parquet: typed columns, in row groups of bounded size.
//!
//! Promise: the types are those of the summary, which every value has decided; a null is a null; the same rows give
//! the same bytes.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use jiff::civil::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::error::{Error, ErrorKind};
use crate::output::Output;
use crate::reading::{Reading, RowSink};
use crate::scalar::{Scalar, Syntax};
use crate::summary::{Bound, ColumnStats, ColumnType, Summary};

/// Rows that are turned into columns at once.
const BATCH_ROWS: usize = 8 << 10;
/// Values that are turned into columns at once, all columns together: a wide table has fewer rows to a batch.
const BATCH_VALUES: usize = 256 << 10;
/// Bytes of a row group, as far as they are encoded: what is held in memory.
const GROUP_BYTES: usize = 16 << 20;

/// Gathers rows as a Parquet file, to be taken from time to time.
pub struct ParquetRows {
    syntax: Syntax,
    kinds: Vec<Kind>,
    columns: Vec<Builder>,
    rows: usize,
    rows_max: usize,
    schema: Arc<Schema>,
    /// Until the end.
    writer: Option<ArrowWriter<Output>>,
    output: Output,
}

/// What a column is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Unsigned,
    Float,
    Bool,
    Date,
    /// With or without an offset; then in UTC.
    Time(bool),
    Text,
}

impl Kind {
    fn of(kind: ColumnType, stats: &ColumnStats) -> Kind {
        match kind {
            ColumnType::Int => match (&stats.min, &stats.max) {
                (_, Some(Bound::Int(_))) => Kind::Int,
                (Some(min), _) if min.as_f64().is_some_and(|min| min >= 0.0) => Kind::Unsigned,
                // No integer of 64 bits holds them all.
                _ => Kind::Text,
            },
            ColumnType::Float => Kind::Float,
            ColumnType::Bool => Kind::Bool,
            ColumnType::Date => Kind::Date,
            ColumnType::Datetime => {
                let last = stats.max.as_ref().and_then(Bound::as_time);
                Kind::Time(last.is_some_and(|time| time.ends_with('Z')))
            }
            ColumnType::Text | ColumnType::Empty => Kind::Text,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Kind::Int => DataType::Int64,
            Kind::Unsigned => DataType::UInt64,
            Kind::Float => DataType::Float64,
            Kind::Bool => DataType::Boolean,
            Kind::Date => DataType::Date32,
            Kind::Time(true) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Time(false) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::Text => DataType::Utf8,
        }
    }

    fn builder(self) -> Builder {
        match self {
            Kind::Int => Builder::Int(Int64Builder::new()),
            Kind::Unsigned => Builder::Unsigned(UInt64Builder::new()),
            Kind::Float => Builder::Float(Float64Builder::new()),
            Kind::Bool => Builder::Bool(BooleanBuilder::new()),
            Kind::Date => Builder::Date(Date32Builder::new()),
            Kind::Time(true) => Builder::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Time(false) => Builder::Time(TimestampMicrosecondBuilder::new()),
            Kind::Text => Builder::Text(StringBuilder::new()),
        }
    }
}

/// A column of a batch that is being gathered.
enum Builder {
    Int(Int64Builder),
    Unsigned(UInt64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl Builder {
    fn push(&mut self, value: &[u8], scalar: Scalar) {
        match (self, scalar) {
            (Builder::Int(column), Scalar::Int(value)) => column.append_value(value),
            (Builder::Int(column), _) => column.append_null(),
            (Builder::Unsigned(column), Scalar::Int(value)) => {
                column.append_option(u64::try_from(value).ok());
            }
            (Builder::Unsigned(column), Scalar::Unsigned(value)) => column.append_value(value),
            (Builder::Unsigned(column), _) => column.append_null(),
            (Builder::Float(column), scalar) => column.append_option(match scalar {
                Scalar::Int(value) => Some(value as f64),
                Scalar::Unsigned(value) => Some(value as f64),
                Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value) => Some(value),
                _ => None,
            }),
            (Builder::Bool(column), Scalar::Bool(value)) => column.append_value(value),
            (Builder::Bool(column), _) => column.append_null(),
            (Builder::Date(column), Scalar::Date(at)) => {
                column.append_option(micros(at).map(|micros| micros.div_euclid(86_400_000_000) as i32));
            }
            (Builder::Date(column), _) => column.append_null(),
            (Builder::Time(column), Scalar::Date(at) | Scalar::Naive(at) | Scalar::Aware(at)) => {
                column.append_option(micros(at));
            }
            (Builder::Time(column), _) => column.append_null(),
            (Builder::Text(column), Scalar::Null) => column.append_null(),
            (Builder::Text(column), _) => column.append_value(String::from_utf8_lossy(value)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let builder: &mut dyn ArrayBuilder = match self {
            Builder::Int(column) => column,
            Builder::Unsigned(column) => column,
            Builder::Float(column) => column,
            Builder::Bool(column) => column,
            Builder::Date(column) => column,
            Builder::Time(column) => column,
            Builder::Text(column) => column,
        };
        builder.finish()
    }
}

/// Microseconds since 1970, for a time in UTC.
fn micros(at: DateTime) -> Option<i64> {
    i64::try_from(at.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_micros()).ok()
}

impl ParquetRows {
    /// For the file that this is the summary of, read in the same way.
    pub fn new(summary: &Summary, reading: &Reading) -> Result<ParquetRows, Error> {
        let delimiter = summary.dialect.as_ref().map_or(",", |dialect| &dialect.delimiter);
        let columns = summary.schema.iter().zip(&summary.summary);
        let kinds: Vec<Kind> = columns.map(|(schema, (_, stats))| Kind::of(schema.kind, stats)).collect();
        let fields = summary.columns.iter().zip(&kinds);
        let fields: Vec<Field> =
            fields.map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let output = Output::default();
        // The version of a library is no part of the data: an upgrade must not change files by itself.
        let properties = WriterProperties::builder().set_created_by("pipeline".to_owned()).build();
        let writer =
            ArrowWriter::try_new(output.clone(), schema.clone(), Some(properties)).map_err(refused)?;
        Ok(ParquetRows {
            syntax: reading.syntax(delimiter.as_bytes()),
            columns: kinds.iter().map(|kind| kind.builder()).collect(),
            rows: 0,
            rows_max: (BATCH_VALUES / kinds.len().max(1)).clamp(1, BATCH_ROWS),
            kinds,
            schema,
            writer: Some(writer),
            output,
        })
    }

    /// Where the bytes of the file are taken from.
    pub fn output(&self) -> Output {
        self.output.clone()
    }

    fn write(&mut self) -> Result<(), Error> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return Ok(()) };
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Builder::finish).collect();
        self.columns = self.kinds.iter().map(|kind| kind.builder()).collect();
        self.rows = 0;
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(refused)?;
        writer.write(&batch).map_err(refused)?;
        if writer.in_progress_size() > GROUP_BYTES {
            writer.flush().map_err(refused)?;
        }
        Ok(())
    }
}

impl RowSink for ParquetRows {
    fn header(&mut self, names: &[String], _: bool) -> Result<(), Error> {
        if names.len() == self.kinds.len() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Columnar,
            "the file has other columns than its summary: has it changed meanwhile?",
        ))
    }

    fn row(&mut self, values: &mut dyn Iterator<Item = &[u8]>) -> Result<(), Error> {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value, self.syntax.read(value));
        }
        self.rows += 1;
        if self.rows >= self.rows_max { self.write() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.write()?;
        match self.writer.take() {
            Some(writer) => writer.close().map(|_| ()).map_err(refused),
            None => Ok(()),
        }
    }
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Columnar, format!("the rows cannot be written as Parquet: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;
    use arrow::util::display::array_value_to_string;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::Limits;

    fn parquet(text: &[u8]) -> Vec<u8> {
        let (reading, limits) = (Reading::default(), Limits::default());
        let mut decoder = reading.decoder("t.csv", &limits);
        decoder.feed(text).unwrap();
        let rows = ParquetRows::new(&decoder.finish().unwrap(), &reading).unwrap();
        let output = rows.output();
        let mut decoder = reading.rows("t.csv", &limits, Box::new(rows));
        decoder.feed(text).unwrap();
        decoder.finish().unwrap();
        output.take()
    }

    fn zoned() -> DataType {
        Kind::Time(true).data_type()
    }

    #[test]
    fn columns_are_typed_and_nulls_are_nulls() {
        let text = b"i;u;f;b;d;t;z;w\n\
            -1;18446744073709551615;1,5;true;2013-01-02;2013-01-02 05:00;2013-01-02T05:00:00Z;NA\n\
            2;1;2;false;1969-12-31;1969-12-31 23:59:59.5;2013-01-02T05:00:00+01:00;x\n;;;;;;;\n";
        let bytes = parquet(text);
        assert_eq!(bytes, parquet(text));
        let path = std::env::temp_dir().join(format!("parsers-rows-{}.parquet", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(batches.len(), 1);
        let plain: Vec<&ArrayRef> =
            batches[0].columns().iter().filter(|column| *column.data_type() != zoned()).collect();
        let shown = |row: usize| -> Vec<String> {
            plain.iter().map(|column| array_value_to_string(column, row).unwrap()).collect()
        };
        let first = ["-1", "18446744073709551615", "1.5", "true", "2013-01-02", "2013-01-02T05:00:00", ""];
        assert_eq!(shown(0), first);
        let second = ["2", "1", "2.0", "false", "1969-12-31", "1969-12-31T23:59:59.500", "x"];
        assert_eq!(shown(1), second);
        let times = batches[0].column(6).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0) - times.value(1), 3_600_000_000);
        assert_eq!(times.value(0), 1_357_102_800_000_000);
        assert!(batches[0].columns().iter().all(|column| column.is_null(2)));
    }
}
