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

use crate::aggregate::{Columns, Word};
use crate::csv::batch::{Batch, Found, Oddity};
use crate::csv::records::{Record, Records, Sink};
use crate::decode::Decode;
use crate::error::{Error, ErrorKind};
use crate::format::{Compression, Format};
use crate::limits::Limits;
use crate::summary::{Dialect, SCHEMA_VERSION, Summary, Warning, WarningKind};

/// The push decoder of delimited text.
pub(crate) struct CsvDecoder {
    format: Format,
    records: Records,
    /// What is being gathered.
    batch: Batch,
    /// The batch before, whose records are found and not yet taken in.
    scanned: Batch,
    rows: Rows,
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
            rows: Rows { limits: limits.clone(), table: None, total: 0, warnings: Vec::new() },
        }
    }
}

impl CsvDecoder {
    /// Finds the records of the batch, while those of the batch before are taken in. What is no whole record, or not
    /// UTF-8, is read in the other way.
    fn read_batch(&mut self) -> Result<(), Error> {
        let CsvDecoder { records, batch, scanned, rows, .. } = self;
        let found = match (records.between(), rows.width()) {
            (Some(place), Some(width)) => {
                let (found, taken) = both(|| batch.scan(width, place), || rows.batch(scanned));
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
        let mut read = records.feed(batch.rest(), rows)?;
        // All of it: to look again behind every record would cost more than the records.
        while found == Found::NotUtf8 && read < batch.rest().len() {
            read += records.feed(&batch.rest()[read..], rows)?;
        }
        batch.consume(read);
        Ok(())
    }
}

/// Does two things: at the same time inside of a rayon pool, else one after the other.
fn both<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    match rayon::current_thread_index() {
        Some(_) => rayon::join(a, b),
        None => (a(), b()),
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

    fn finish(mut self: Box<Self>) -> Result<Summary, Error> {
        while !self.batch.rest().is_empty() {
            self.read_batch()?;
        }
        self.rows.batch(&self.scanned)?;
        self.records.finish(&mut self.rows)?;
        let dialect = Dialect {
            delimiter: char::from(self.format.delimiter()),
            quote: '"',
            header: true,
            encoding: "utf-8".to_owned(),
            byte_order_mark: self.records.has_mark(),
        };
        // The buffers go before the tables are sorted.
        drop((self.records, self.batch, self.scanned));
        self.rows.finish(self.format, dialect)
    }
}

/// The rows so far.
struct Rows {
    limits: Limits,
    table: Option<Table>,
    total: u64,
    warnings: Vec<Warning>,
}

/// What exists once the header is known.
struct Table {
    names: Vec<String>,
    columns: Columns,
}

impl Sink for Rows {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        if !record.bytes.is_ascii() && record.fields().any(|field| str::from_utf8(field).is_err()) {
            self.warn(WarningKind::InvalidUtf8, record.position.line);
        }
        let Some(table) = &mut self.table else {
            let names = header::names(record, self.limits.header_bytes_max)?;
            let Limits { exact_bytes_max, sketch_bytes_max, .. } = self.limits;
            let columns = Columns::new(names.len(), exact_bytes_max, sketch_bytes_max);
            self.table = Some(Table { names, columns });
            return Ok(());
        };
        let width = table.columns.width();
        self.total += 1;
        for (index, field) in record.fields().take(width).enumerate() {
            table.columns.add(index, Word::new(field), 1)?;
        }
        let n_fields = record.ends.len();
        if n_fields < width {
            (n_fields..width).for_each(|index| table.columns.add_missing(index));
            self.warn(WarningKind::RowTooShort, record.position.line);
        } else if n_fields > width {
            self.warn(WarningKind::RowTooLong, record.position.line);
        }
        Ok(())
    }
}

impl Rows {
    /// How many columns there are, once the header is known.
    fn width(&self) -> Option<usize> {
        self.table.as_ref().map(|table| table.columns.width())
    }

    /// Takes in the rows of a batch, column by column.
    fn batch(&mut self, batch: &Batch) -> Result<(), Error> {
        let Some(Table { columns, .. }) = self.table.as_mut().filter(|_| batch.rows() > 0) else {
            return Ok(());
        };
        columns.add_batch(|index| batch.column(index))?;
        for index in batch.missing() {
            columns.add_missing(index);
        }
        self.total += batch.rows() as u64;
        for &(oddity, line) in &batch.odd {
            self.warn(
                match oddity {
                    Oddity::TooShort => WarningKind::RowTooShort,
                    Oddity::TooLong => WarningKind::RowTooLong,
                },
                line,
            );
        }
        Ok(())
    }

    fn warn(&mut self, kind: WarningKind, line: u64) {
        match self.warnings.iter_mut().find(|warning| warning.kind == kind) {
            Some(warning) => warning.count += 1,
            None => self.warnings.push(Warning { kind, count: 1, first_line: line }),
        }
    }

    fn finish(mut self, format: Format, dialect: Dialect) -> Result<Summary, Error> {
        let Some(Table { names, columns }) = self.table else {
            return Err(Error::new(
                ErrorKind::Empty,
                "no header: the file is empty or holds only blank lines",
            ));
        };
        let finished = columns.finish(&names, self.limits.top_bytes_max);
        let (mut schema, mut summary) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
        for (column, stats) in finished {
            summary.push((column.name.clone(), stats));
            schema.push(column);
        }
        self.warnings.sort_by_key(|warning| warning.kind);
        Ok(Summary {
            total_rows: self.total,
            columns: names,
            summary,
            schema_version: SCHEMA_VERSION,
            format,
            dialect,
            compression: Compression::None,
            schema,
            warnings: self.warnings,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
