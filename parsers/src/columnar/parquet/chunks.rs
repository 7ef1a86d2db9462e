//! Chunks that are being read: their pages so far, and the library's reader of them.
//!
//! Promise: a page is unpacked when the reader gets to it, so that of each chunk one page is there at a time, with its
//! dictionary. A reader that has read all pages so far goes on when there are more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::ArrayRef;
use parquet::arrow::FieldLevels;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescPtr;

use super::footer::Codec;
use super::pages::{Packed, is_dictionary};
use super::units::Unit;
use crate::columnar::malformed;
use crate::error::Error;

/// The pages of a chunk that wait for the reader.
struct Pages {
    waiting: VecDeque<Packed>,
    codec: Codec,
    column: ColumnDescPtr,
    /// Values handed out since the last stretch of rows began, and how many may be.
    values: usize,
    values_max: usize,
    /// What was wrong, in our own words.
    wrong: Option<Error>,
}

/// Pages that are handed to the reader as they come.
#[derive(Clone)]
struct Queue(Arc<Mutex<Pages>>);

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Whoever panicked here, the pages are as whole as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Iterator for Queue {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Queue {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let mut pages = self.lock();
        let Some(page) = pages.waiting.pop_front() else { return Ok(None) };
        pages.values = pages.values.saturating_add(page.header.values as usize);
        let page = if pages.values > pages.values_max {
            Err(malformed(format!("a few rows of a list have more than {} values", pages.values_max)))
        } else {
            page.unpack(pages.codec, &pages.column)
        };
        page.map(Some).map_err(|error| {
            let told = ParquetError::General(error.to_string());
            pages.wrong = Some(error);
            told
        })
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        Ok(self.lock().waiting.front().map(Packed::metadata))
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.lock().waiting.pop_front();
        Ok(())
    }
}

/// The one chunk of a column, for the library.
struct OneChunk(Option<Queue>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|queue| Ok(Box::new(queue) as Box<dyn PageReader>))
    }
}

impl PageIterator for OneChunk {}

/// The chunks of one unit, as the library asks for them.
struct Chunks<'a> {
    queues: &'a [Queue],
    local: usize,
    rows: usize,
    metadata: &'a ParquetMetaData,
}

impl RowGroups for Chunks<'_> {
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let queue = column.checked_sub(self.local).and_then(|index| self.queues.get(index)).cloned();
        Ok(Box::new(OneChunk(queue)))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::empty())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// A unit of a row group that is being read.
pub(super) struct Reading {
    /// Which unit.
    pub(super) unit: usize,
    queues: Vec<Queue>,
    reader: Option<ParquetRecordBatchReader>,
    /// Whether the texts are read as places in the dictionary.
    is_dictionary: bool,
    /// Whether all pages are here.
    pub(super) is_whole: bool,
    rows: u64,
    /// Memory of the largest dictionary and the largest page.
    dictionary: usize,
    page: usize,
}

impl Reading {
    pub(super) fn new(unit: usize, is_dictionary: bool) -> Reading {
        Reading {
            unit,
            queues: Vec::new(),
            reader: None,
            is_dictionary,
            is_whole: false,
            rows: 0,
            dictionary: 0,
            page: 0,
        }
    }

    /// A further chunk begins. `values_max` of its values may be handed out at once.
    pub(super) fn begin(&mut self, codec: Codec, column: ColumnDescPtr, values_max: usize) {
        let waiting = VecDeque::new();
        let pages = Pages { waiting, codec, column, values: 0, values_max, wrong: None };
        self.queues.push(Queue(Arc::new(Mutex::new(pages))));
    }

    /// A page of the last chunk.
    pub(super) fn push(&mut self, page: Packed) -> Result<(), Error> {
        let memory = page.header.memory();
        if page.header.is_dictionary() {
            self.dictionary += memory;
        } else if self.is_dictionary && !is_dictionary(page.header.encoding) {
            // The library would write out a text for each row.
            return Err(malformed("a page of the Parquet file is not encoded as its footer says"));
        } else {
            self.page = self.page.max(memory);
        }
        if let Some(queue) = self.queues.last() {
            queue.lock().waiting.push_back(page);
        }
        Ok(())
    }

    /// The compressed bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        let bytes = |queue: &Queue| queue.lock().waiting.iter().map(|page| page.header.packed).sum::<usize>();
        self.queues.iter().map(bytes).sum()
    }

    /// The memory of what is unpacked at a time.
    pub(super) fn memory(&self) -> usize {
        self.dictionary.saturating_add(self.page.saturating_mul(self.queues.len()))
    }

    /// How many rows were read.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The next rows, `rows_max` at most; `None` when the pages so far are read.
    pub(super) fn next(
        &mut self,
        unit: &Unit,
        metadata: &ParquetMetaData,
        rows_max: usize,
    ) -> Result<Option<ArrayRef>, Error> {
        self.queues.iter().for_each(|queue| queue.lock().values = 0);
        let levels = unit.by_place.as_ref().filter(|_| self.is_dictionary).unwrap_or(&unit.levels);
        let batch = self.reader(unit.local, levels, metadata, rows_max).and_then(|reader| {
            let batch = reader.next().transpose().map_err(ParquetError::from)?;
            Ok(batch)
        });
        let batch = batch.map_err(|error| self.told(&error))?;
        let Some(batch) = batch else { return Ok(None) };
        self.rows += batch.num_rows() as u64;
        Ok(batch.columns().first().cloned())
    }

    fn reader(
        &mut self,
        local: usize,
        levels: &FieldLevels,
        metadata: &ParquetMetaData,
        rows_max: usize,
    ) -> Result<&mut ParquetRecordBatchReader, ParquetError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let chunks = Chunks { queues: &self.queues, local, rows: usize::MAX, metadata };
                ParquetRecordBatchReader::try_new_with_row_groups(levels, &chunks, rows_max, None)?
            }
        };
        Ok(self.reader.insert(reader))
    }

    /// The error in our own words, or in those of the library.
    fn told(&self, error: &ParquetError) -> Error {
        let own = self.queues.iter().find_map(|queue| queue.lock().wrong.take());
        own.unwrap_or_else(|| malformed(format!("a page of the Parquet file cannot be read: {error}")))
    }
}
