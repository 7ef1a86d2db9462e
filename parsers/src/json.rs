//! JSON: one object a line, one after another, or in an array; each is a row.
//!
//! Promise: the rows are those of pandas' `json_normalize`: nested objects are dotted columns, a key that a record does not
//! have is null. Values keep their type (`"12"` is text), arrays are text. In JSON Lines a line that is no record is
//! counted and left out; anywhere else, and where a file is cut off, what is no JSON is an error with its place. Memory is
//! bounded by [`Limits`], whatever the keys and however deep; what is read follows from the file's bytes alone.

mod batch;
mod layout;
mod paths;
mod read;
mod record;
mod records;

use crate::both::both;
use crate::decode::Decode;
use crate::error::Error;
use crate::format::Format;
use crate::json::batch::{BATCH_BYTES, Batch};
use crate::json::layout::Layout;
pub(crate) use crate::json::layout::is_json;
use crate::json::records::Records;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::rows::Rows;
use crate::scalar::Syntax;

/// The push decoder of JSON.
pub(crate) struct JsonDecoder {
    records: Records,
    /// What is being gathered.
    batch: Batch,
    /// The batch before, whose records are read and not yet taken in.
    read: Batch,
    rows: Rows,
}

impl JsonDecoder {
    /// A decoder of a file that begins like `head`, which is yet to be fed, and whose name says this.
    pub(crate) fn new(name: Option<Format>, head: &[u8], limits: &Limits) -> JsonDecoder {
        JsonDecoder::with_batch(name, head, limits, BATCH_BYTES)
    }

    fn with_batch(name: Option<Format>, head: &[u8], limits: &Limits, batch_bytes: usize) -> JsonDecoder {
        JsonDecoder {
            records: Records::new(Layout::of(head, name), limits),
            batch: Batch::new(limits, batch_bytes),
            read: Batch::new(limits, batch_bytes),
            rows: Rows::new(Vec::new(), Syntax::Tagged, limits),
        }
    }

    /// Reads the records of the batch, while those of the batch before are taken in.
    fn read_batch(&mut self, last: bool) -> Result<(), Error> {
        let JsonDecoder { records, batch, read, rows } = self;
        let (found, taken) = both(|| records.read(batch, last), || take(read, rows));
        taken?;
        found?;
        if !batch.is_large() {
            read.restart(batch.rest());
            records.moved();
            std::mem::swap(batch, read);
        } else {
            // There is memory for one large batch only.
            read.restart(&[]);
            take(batch, rows)?;
            while batch.has_enough() {
                batch.clear();
                records.read(batch, last)?;
                take(batch, rows)?;
            }
            batch.clear();
            batch.move_up();
            records.moved();
        }
        if !last && batch.is_full() && !batch.grow() {
            return Err(records.too_long(batch));
        }
        Ok(())
    }
}

impl Decode for JsonDecoder {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            bytes = self.batch.fill(bytes);
            if self.batch.is_full() {
                self.read_batch(false)?;
            }
        }
        Ok(())
    }

    fn partial(mut self: Box<Self>) -> Result<Partial, Error> {
        let mut left = usize::MAX;
        while left != self.batch.rest().len() {
            left = self.batch.rest().len();
            self.read_batch(true)?;
        }
        take(&mut self.read, &mut self.rows)?;
        let JsonDecoder { records, batch, read, mut rows } = *self;
        let format = if records.layout() == Layout::Lines { Format::Jsonl } else { Format::Json };
        rows.warnings = records.finish(&batch)?;
        // The buffers go before the tables are sorted.
        drop((batch, read));
        Ok(rows.partial(format, None))
    }
}

/// Takes in the records of a batch, column by column.
fn take(batch: &mut Batch, rows: &mut Rows) -> Result<(), Error> {
    for name in batch.names.drain(..) {
        rows.names.push(name);
        rows.columns.push_column(rows.total);
    }
    let width = rows.columns.width();
    batch.sort(width);
    let batch = &*batch;
    rows.columns.add_batch(|index| batch.column(index));
    (0..width).for_each(|index| rows.columns.add_missing(index, batch.missing(index)));
    rows.total += batch.rows;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
