//! Delimited text: the first record names the columns, the rest are rows, unless the file says otherwise.
//!
//! Promise: the dialect is found in the beginning of the file (`dialect`). A file that pandas' `read_csv` reads with its
//! defaults has the same rows and values here. What contradicts the dialect is repaired and counted in `warnings`
//! with its first line, or is an error in strict mode: a record that is too long loses its extra fields, one that is
//! too short is filled with nulls, a quote out of place is text, bytes that are not UTF-8 are kept.

mod batch;
pub(crate) mod dialect;
mod header;
mod records;
mod repair;
mod sample;
mod split;
mod table;
mod write;

#[cfg(feature = "columnar")]
pub(crate) use self::header::unique as unique_names;
pub use self::write::CsvRows;
use crate::both::threads;
use crate::csv::batch::{Batch, Found};
use crate::csv::dialect::Dialect;
use crate::csv::records::Records;
use crate::csv::table::Table;
use crate::decode::Decode;
use crate::error::Error;
use crate::format::Format;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::reading::Target;
use crate::summary;

/// The push decoder of delimited text.
pub(crate) struct CsvDecoder {
    format: Format,
    dialect: Dialect,
    records: Records,
    /// What is being gathered.
    batch: Batch,
    /// The batches before, whose records are found and not yet taken in.
    scanned: Vec<Batch>,
    /// Those that were taken in, whose memory is used again.
    spare: Vec<Batch>,
    table: Table,
}

impl CsvDecoder {
    /// For a file in this dialect.
    pub(crate) fn new(format: Format, dialect: Dialect, limits: &Limits, target: Target) -> CsvDecoder {
        CsvDecoder::with_batch(format, dialect, limits, target, batch::BATCH_BYTES)
    }

    /// Batches of so many bytes: what does not fit into one is read record by record.
    fn with_batch(
        format: Format,
        dialect: Dialect,
        limits: &Limits,
        target: Target,
        batch_bytes: usize,
    ) -> CsvDecoder {
        let records = Records::new(&dialect, limits);
        let batch = Batch::new(&dialect, limits, batch_bytes);
        let table = Table::new(&dialect, limits, target);
        CsvDecoder { format, records, batch, scanned: Vec::new(), spare: Vec::new(), table, dialect }
    }
}

impl CsvDecoder {
    /// Finds the records of the batch, while those of the batch before are taken in. What is no whole record, or not
    /// UTF-8, is read in the other way.
    fn read_batch(&mut self) -> Result<(), Error> {
        let CsvDecoder { records, batch, scanned, spare, table, .. } = self;
        let found = match (records.between(), records::Sink::width(table)) {
            (Some(place), Some(width)) if table.is_begun() => {
                let mut scan = || batch.scan(width, place);
                match scanned.first() {
                    Some(before) if table.left_of_round().is_none() => {
                        let found = table.batch(before, scan)?;
                        spare.append(scanned);
                        found
                    }
                    _ => scan(),
                }
            }
            _ => Found::NoRecord,
        };
        if found == Found::Records {
            scanned.push(next(batch, spare));
            // By itself a thread takes it in while it is in its cache.
            let is_enough = threads() == 1 || self.table.left_of_round() == Some(self.scanned.len());
            return if is_enough { self.take_in() } else { Ok(()) };
        }
        // The batches before are taken in, else this would come first.
        self.take_in()?;
        let CsvDecoder { records, batch, table, .. } = self;
        let mut read = records.feed(batch.rest(), table)?;
        // All of it: to look again behind every record would cost more than the records.
        while found == Found::NotText && read < batch.rest().len() {
            read += records.feed(&batch.rest()[read..], table)?;
        }
        batch.consume(read);
        Ok(())
    }

    /// Takes in the records that were found.
    fn take_in(&mut self) -> Result<(), Error> {
        if self.table.left_of_round().is_some() {
            self.table.turns(&self.scanned);
        } else {
            self.scanned.iter().try_for_each(|batch| self.table.batch(batch, || ()))?;
        }
        self.spare.append(&mut self.scanned);
        Ok(())
    }
}

/// Begins another batch with what is left of this one, which is given back.
fn next(batch: &mut Batch, spare: &mut Vec<Batch>) -> Batch {
    let mut next = spare.pop().unwrap_or_else(|| batch.another());
    next.restart(batch.rest());
    std::mem::replace(batch, next)
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
        self.take_in()?;
        self.records.finish(&mut self.table)?;
        let Dialect { marks, header, skipped_lines, .. } = self.dialect;
        let dialect = summary::Dialect {
            delimiter: String::from_utf8_lossy(&marks.delimiter).into_owned(),
            blanks_skipped: marks.skip_blanks,
            quote: marks.quote.map(char::from),
            escape: marks.escape.map(char::from),
            comment: marks.comment.map(char::from),
            skipped_lines,
            header,
            encoding: "utf-8".to_owned(),
            byte_order_mark: self.records.has_mark(),
        };
        // The buffers go before the tables are sorted.
        drop((self.records, self.batch, self.scanned, self.spare));
        self.table.partial(self.format, dialect)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
