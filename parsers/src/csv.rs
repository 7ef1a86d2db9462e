//! Delimited text: the first record names the columns, the rest are rows.
//!
//! Promise: the rows and their values are those of pandas' `read_csv` with its defaults, with these
//! deliberate differences, which pandas meets with an error or a guess: a record that is too long loses its
//! extra fields and is counted in `warnings` (pandas fails, or takes the first column for an index); bytes
//! that are not UTF-8 are kept and counted (pandas fails). Records that are too short are filled with nulls,
//! as in pandas, and counted.

mod batch;
mod header;
mod records;

#[cfg(feature = "columnar")]
pub(crate) use self::header::unique as unique_names;

use crate::aggregate::Word;
use crate::both::both;
use crate::csv::batch::{Batch, Found, Oddity};
use crate::csv::records::{Record, Records, Sink};
use crate::decode::Decode;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::rows::{Rows, Warnings};
use crate::scalar::Syntax;
use crate::summary::{Dialect, WarningKind};

/// The push decoder of delimited text.
pub(crate) struct CsvDecoder {
    format: Format,
    records: Records,
    /// What is being gathered.
    batch: Batch,
    /// The batch before, whose records are found and not yet taken in.
    scanned: Batch,
    table: Table,
}

impl CsvDecoder {
    pub(crate) fn new(format: Format, limits: &Limits) -> CsvDecoder {
        CsvDecoder::with_batch(format, limits, batch::BATCH_BYTES)
    }

    /// Batches of so many bytes: what does not fit into one is read record by record.
    fn with_batch(format: Format, limits: &Limits, batch_bytes: usize) -> CsvDecoder {
        let records = Records::new(format.delimiter(), limits);
        let batch = || Batch::new(format.delimiter(), limits, batch_bytes);
        CsvDecoder {
            format,
            records,
            batch: batch(),
            scanned: batch(),
            table: Table { limits: limits.clone(), rows: None, warnings: Warnings::default() },
        }
    }
}

impl CsvDecoder {
    /// Finds the records of the batch, while those of the batch before are taken in. What is no whole record, or not
    /// UTF-8, is read in the other way.
    fn read_batch(&mut self) -> Result<(), Error> {
        let CsvDecoder { records, batch, scanned, table, .. } = self;
        let found = match (records.between(), table.width()) {
            (Some(place), Some(width)) => {
                let (found, taken) = both(|| batch.scan(width, place), || table.batch(scanned));
                taken?;
                found
            }
            _ => Found::NoRecord,
        };
        if found == Found::Records {
            scanned.restart(batch.rest());
            std::mem::swap(batch, scanned);
            return Ok(());
        }
        // The batch before is taken in, else this would come first.
        scanned.restart(&[]);
        let mut read = records.feed(batch.rest(), table)?;
        // All of it: to look again behind every record would cost more than the records.
        while found == Found::NotUtf8 && read < batch.rest().len() {
            read += records.feed(&batch.rest()[read..], table)?;
        }
        batch.consume(read);
        Ok(())
    }
}

impl Decode for CsvDecoder {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            bytes = self.batch.fill(bytes);
            if self.batch.is_full() {
                self.read_batch()?;
            }
        }
        Ok(())
    }

    fn partial(mut self: Box<Self>) -> Result<Partial, Error> {
        while !self.batch.rest().is_empty() {
            self.read_batch()?;
        }
        self.table.batch(&self.scanned)?;
        self.records.finish(&mut self.table)?;
        let dialect = Dialect {
            delimiter: char::from(self.format.delimiter()),
            quote: '"',
            header: true,
            encoding: "utf-8".to_owned(),
            byte_order_mark: self.records.has_mark(),
        };
        // The buffers go before the tables are sorted.
        drop((self.records, self.batch, self.scanned));
        self.table.partial(self.format, dialect)
    }
}

/// What is made of the records.
struct Table {
    limits: Limits,
    /// Once the header is known.
    rows: Option<Rows>,
    /// Of the header.
    warnings: Warnings,
}

impl Sink for Table {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let warnings = self.rows.as_mut().map_or(&mut self.warnings, |rows| &mut rows.warnings);
        if !record.bytes.is_ascii() && record.fields().any(|field| str::from_utf8(field).is_err()) {
            warnings.note(WarningKind::InvalidUtf8, record.position.line);
        }
        let Some(rows) = &mut self.rows else {
            let names = header::names(record, self.limits.header_bytes_max)?;
            let mut rows = Rows::new(names, Syntax::Field, &self.limits);
            rows.warnings = std::mem::take(&mut self.warnings);
            self.rows = Some(rows);
            return Ok(());
        };
        let width = rows.columns.width();
        rows.total += 1;
        for (index, field) in record.fields().take(width).enumerate() {
            rows.columns.add(index, Word::new(field), 1)?;
        }
        let n_fields = record.ends.len();
        if n_fields < width {
            (n_fields..width).for_each(|index| rows.columns.add_missing(index, 1));
            rows.warnings.note(WarningKind::RowTooShort, record.position.line);
        } else if n_fields > width {
            rows.warnings.note(WarningKind::RowTooLong, record.position.line);
        }
        Ok(())
    }
}

impl Table {
    /// How many columns there are, once the header is known.
    fn width(&self) -> Option<usize> {
        self.rows.as_ref().map(|rows| rows.columns.width())
    }

    /// Takes in the rows of a batch, column by column.
    fn batch(&mut self, batch: &Batch) -> Result<(), Error> {
        let Some(rows) = self.rows.as_mut().filter(|_| batch.rows() > 0) else {
            return Ok(());
        };
        rows.columns.add_batch(|index| batch.column(index))?;
        for index in batch.missing() {
            rows.columns.add_missing(index, 1);
        }
        rows.total += batch.rows() as u64;
        for &(oddity, line) in &batch.odd {
            rows.warnings.note(
                match oddity {
                    Oddity::TooShort => WarningKind::RowTooShort,
                    Oddity::TooLong => WarningKind::RowTooLong,
                },
                line,
            );
        }
        Ok(())
    }

    fn partial(self, format: Format, dialect: Dialect) -> Result<Partial, Error> {
        let Some(rows) = self.rows else {
            return Err(Error::new(
                ErrorKind::Empty,
                "no header: the file is empty or holds only blank lines",
            ));
        };
        Ok(rows.partial(format, Some(dialect)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
