//! The values of many lines, column by column, on their way into the columns.
//!
//! Promise: after how many lines they are handed on follows from the lines alone.

use crate::aggregate::{Columns, Word};
use crate::error::Error;

/// Lines, and bytes of their values, that are handed on together: they stay in a core's own cache.
const LINES_MAX: usize = 1 << 10;
const BYTES_MAX: usize = 128 << 10;

/// Bytes behind the values, so that a value can be read in words.
const PADDING: usize = 16;

/// The values of some lines.
pub(super) struct Cells {
    columns: Vec<Column>,
}

/// The values of one column, one after another.
#[derive(Default)]
pub(super) struct Column {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    missing: usize,
    token: Vec<u8>,
}

impl Cells {
    pub(super) fn new(width: usize) -> Cells {
        Cells { columns: (0..width).map(|_| Column::default()).collect() }
    }

    pub(super) fn columns(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    pub(super) fn is_full(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.ends.len() + column.missing >= LINES_MAX || column.bytes.len() >= BYTES_MAX)
    }

    /// Hands all values on.
    pub(super) fn flush(&mut self, columns: &mut Columns) -> Result<(), Error> {
        for column in &mut self.columns {
            column.bytes.extend_from_slice(&[0; PADDING]);
        }
        columns.add_batch(|index| self.columns[index].words());
        for (index, column) in self.columns.iter_mut().enumerate() {
            columns.add_missing(index, column.missing as u64);
            column.missing = 0;
            column.bytes.clear();
            column.ends.clear();
        }
        Ok(())
    }
}

impl Column {
    /// Adds the value that `write` makes in place of what is there.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.token);
        self.bytes.extend_from_slice(&self.token);
        self.ends.push(self.bytes.len() as u32);
    }

    pub(super) fn add_missing(&mut self) {
        self.missing += 1;
    }

    fn words(&self) -> impl Iterator<Item = Word<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let from = std::mem::replace(&mut start, *end as usize);
            Word::within(&self.bytes, from, start)
        })
    }
}
