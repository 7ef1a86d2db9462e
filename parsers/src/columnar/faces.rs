//! A summary as a table, one row per column of the file: an Arrow record batch, a Polars data frame, or Parquet.
//!
//! Promises: all three hold the same columns in the same order (`name type nulls distinct count mean std min
//! 25% 50% 75% max unique top freq`, then `min_time max_time`, the range of dates in ISO 8601); a statistic
//! that does not apply is null; the same summary gives the same Parquet bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};

use crate::error::{Error, ErrorKind};
use crate::summary::{Bound, ColumnSchema, ColumnStats, Summary};

/// One column of the table.
enum Values<'a> {
    Text(Vec<Option<&'a str>>),
    Count(Vec<Option<u64>>),
    Number(Vec<Option<f64>>),
}

impl Summary {
    /// The summary as an Arrow record batch, one row per column of the file.
    pub fn to_record_batch(&self) -> Result<RecordBatch, Error> {
        let arrays = self.table().into_iter().map(|(name, values)| {
            let array: ArrayRef = match values {
                Values::Text(values) => Arc::new(StringArray::from(values)),
                Values::Count(values) => Arc::new(UInt64Array::from(values)),
                Values::Number(values) => Arc::new(Float64Array::from(values)),
            };
            // Every column may hold nulls, so that all summaries have one schema.
            (name, array, true)
        });
        RecordBatch::try_from_iter_with_nullable(arrays).map_err(|error| refused("a record batch", &error))
    }

    /// The summary as a Polars data frame, one row per column of the file.
    pub fn to_data_frame(&self) -> Result<DataFrame, Error> {
        let columns: Vec<Column> = self
            .table()
            .into_iter()
            .map(|(name, values)| match values {
                Values::Text(values) => Series::new(name.into(), values).into(),
                Values::Count(values) => Series::new(name.into(), values).into(),
                Values::Number(values) => Series::new(name.into(), values).into(),
            })
            .collect();
        DataFrame::new(self.schema.len(), columns).map_err(|error| refused("a data frame", &error))
    }

    /// The summary as a Parquet file, one row per column of the file.
    pub fn to_parquet(&self) -> Result<Vec<u8>, Error> {
        let batch = self.to_record_batch()?;
        // The version of a library is no part of the data: an upgrade must not change artefacts by itself.
        let properties = WriterProperties::builder().set_created_by("pipeline".to_owned()).build();
        let mut bytes = Vec::new();
        let failed = |error| refused("a Parquet file", &error);
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
        writer.close().map_err(failed)?;
        Ok(bytes)
    }

    fn table(&self) -> Vec<(&'static str, Values<'_>)> {
        let schema =
            |get: fn(&ColumnSchema) -> u64| Values::Count(self.schema.iter().map(|c| Some(get(c))).collect());
        let count = |get: fn(&ColumnStats) -> Option<u64>| Values::Count(self.stats().map(get).collect());
        let number = |get: fn(&ColumnStats) -> Option<f64>| Values::Number(self.stats().map(get).collect());
        let text = |get: fn(&ColumnStats) -> Option<&str>| Values::Text(self.stats().map(get).collect());
        vec![
            ("name", Values::Text(self.schema.iter().map(|c| Some(c.name.as_str())).collect())),
            ("type", Values::Text(self.schema.iter().map(|c| Some(c.kind.as_str())).collect())),
            ("nulls", schema(|c| c.nulls)),
            ("distinct", schema(|c| c.distinct.value)),
            ("count", count(|s| Some(s.count))),
            ("mean", number(|s| s.mean)),
            ("std", number(|s| s.std)),
            ("min", number(|s| s.min.as_ref().and_then(Bound::as_f64))),
            ("25%", number(|s| s.p25)),
            ("50%", number(|s| s.p50)),
            ("75%", number(|s| s.p75)),
            ("max", number(|s| s.max.as_ref().and_then(Bound::as_f64))),
            ("unique", count(|s| s.unique)),
            ("top", text(|s| s.top.as_deref())),
            ("freq", count(|s| s.freq)),
            ("min_time", text(|s| s.min.as_ref().and_then(Bound::as_time))),
            ("max_time", text(|s| s.max.as_ref().and_then(Bound::as_time))),
        ]
    }

    fn stats(&self) -> impl Iterator<Item = &ColumnStats> {
        self.summary.iter().map(|(_, stats)| stats)
    }
}

fn refused(what: &str, error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Columnar, format!("the summary cannot be written as {what}: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::Array;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn summary(text: &[u8]) -> Summary {
        let mut decoder = crate::decoder("t.csv", &crate::Limits::default());
        decoder.feed(text).unwrap();
        decoder.finish().unwrap()
    }

    #[test]
    fn all_faces_hold_the_same_table() {
        let summary = summary(b"n,word,day,none\n1,a,2013-01-02,\n2.5,b,2013-01-01,\n,b,,\n");
        let batch = summary.to_record_batch().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (4, 17));
        let frame = summary.to_data_frame().unwrap();
        assert_eq!((frame.height(), frame.width()), (4, 17));
        for (field, column) in batch.schema().fields().iter().zip(frame.columns()) {
            assert_eq!(field.name(), column.name().as_str());
            let array = batch.column_by_name(field.name()).unwrap();
            assert_eq!(array.null_count(), column.null_count(), "{}", field.name());
        }
        let text = |name: &str, row: usize| {
            let array = batch.column_by_name(name).unwrap();
            array.as_any().downcast_ref::<StringArray>().unwrap().value(row).to_owned()
        };
        assert_eq!((text("name", 2), text("type", 2)), ("day".to_owned(), "date".to_owned()));
        assert_eq!((text("top", 1), text("min_time", 2)), ("b".to_owned(), "2013-01-01".to_owned()));
        let means = batch.column_by_name("mean").unwrap();
        assert_eq!(means.as_any().downcast_ref::<Float64Array>().unwrap().value(0), 1.75);
        assert_eq!(frame.column("mean").unwrap().f64().unwrap().get(0), Some(1.75));
    }

    #[test]
    fn parquet_holds_the_table_and_is_the_same_each_time() {
        for text in [&b"n,word\n1,a\n2,b\n"[..], b"a\n"] {
            let summary = summary(text);
            let bytes = summary.to_parquet().unwrap();
            assert_eq!(bytes, summary.to_parquet().unwrap());
            let path =
                std::env::temp_dir().join(format!("parsers-{}-{}.parquet", std::process::id(), text.len()));
            std::fs::write(&path, &bytes).unwrap();
            let reader =
                ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
            let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(batches, [summary.to_record_batch().unwrap()]);
        }
    }
}
