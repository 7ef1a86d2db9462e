//! Chunks that are read by the library: it takes their pages apart and makes arrays of them.
//!
//! Promise: what rows need that are read at a time is bounded, the pages included that their texts lie in: where a page
//! would be too much, the rows end before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::ArrayRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use super::claims::Claims;
use super::delta;
use super::footer::Footer;
use super::units::Unit;
use crate::columnar::malformed;
use crate::error::{Error, ErrorKind};

/// The memory of a value of a list, with its levels.
const LIST_VALUE_BYTES: usize = 32;

/// A chunk whose bytes are all here.
pub(super) struct Chunk {
    bytes: Bytes,
    claims: Claims,
    /// What the footer says, as if the file were this chunk alone.
    about: ColumnChunkMetaData,
}

impl Chunk {
    /// Checks what the chunk claims.
    pub(super) fn new(bytes: Bytes, about: &ColumnChunkMetaData) -> Result<Chunk, Error> {
        let claims = Claims::of(&bytes, about.compression())?;
        if u64::try_from(about.num_values()) != Ok(claims.values) {
            return Err(malformed(format!(
                "a chunk of the Parquet file has {} values instead of {}",
                claims.values,
                about.num_values()
            )));
        }
        let about = about.clone().into_builder().set_dictionary_page_offset(None).set_data_page_offset(0);
        let about = about.build().map_err(|error| malformed(error.to_string()))?;
        Ok(Chunk { bytes, claims, about })
    }

    /// Its bytes as they are stored.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The memory it needs: its bytes, a page, the dictionary.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len().saturating_add(self.claims.page).saturating_add(self.claims.dictionary)
    }
}

/// A unit of a row group that is being read.
pub(super) struct Reading {
    reader: ParquetRecordBatchReader,
    /// Its first column in the table, and how many it has there.
    pub(super) first: usize,
    pub(super) width: usize,
    /// Rows so far.
    pub(super) rows: u64,
    room: Room,
}

/// What may be needed for the rows that are read at a time.
#[derive(Clone)]
struct Room {
    bytes_max: usize,
    /// The memory of a value, where a row may have many.
    value_bytes: usize,
    /// What the pages need that were handed out since the last rows.
    taken: Arc<AtomicUsize>,
}

/// `taken` when that was more than there may be.
const TOO_MUCH: usize = usize::MAX;

/// Whether a page may be handed out.
enum Turn {
    Now,
    /// With the next rows.
    Later,
    Never,
}

impl Room {
    /// Takes what a page needs, whose texts grow to so many bytes.
    fn take(&self, page: &Page, texts: usize) -> Turn {
        if page.num_values() == 0 {
            return Turn::Now;
        }
        let grown = (page.num_values() as usize).saturating_mul(self.value_bytes).saturating_add(texts);
        let taken = self.taken.load(Ordering::Relaxed);
        // Rows of lists may go on in the next page, which then cannot wait.
        let is_list = self.value_bytes > 0;
        if grown > self.bytes_max || is_list && taken.saturating_add(grown) > self.bytes_max {
            self.taken.store(TOO_MUCH, Ordering::Relaxed);
            return Turn::Never;
        }
        let cost = if is_list { grown } else { grown.saturating_add(page.buffer().len()) };
        if !is_list && taken > 0 && taken.saturating_add(cost) > self.bytes_max {
            return Turn::Later;
        }
        self.taken.store(taken.saturating_add(cost), Ordering::Relaxed);
        Turn::Now
    }
}

impl Reading {
    /// Begins to read the chunks of a unit, `rows_max` rows at a time, which may need `bytes_max` together.
    pub(super) fn new(
        unit: &Unit,
        chunks: Vec<Chunk>,
        footer: &Footer,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Reading, Error> {
        let value_bytes = if unit.is_repeated { unit.value_bytes().max(LIST_VALUE_BYTES) } else { 0 };
        let room = Room { bytes_max, value_bytes, taken: Arc::default() };
        let is_by_place = chunks.iter().all(|chunk| chunk.claims.is_by_place);
        let levels = unit.by_place.as_ref().filter(|_| is_by_place).unwrap_or(&unit.levels);
        let group = Group { unit, chunks, metadata: &footer.metadata, room: &room };
        let rows_max = (bytes_max / unit.value_bytes().max(1)).clamp(1, rows_max);
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(levels, &group, rows_max, None);
        let reader = reader.map_err(|error| unreadable(&error))?;
        Ok(Reading { reader, first: unit.first, width: unit.width, rows: 0, room })
    }

    /// The next rows; `None` behind the last ones.
    pub(super) fn next(&mut self) -> Result<Option<ArrayRef>, Error> {
        self.room.taken.store(0, Ordering::Relaxed);
        let Some(batch) = self.reader.next() else { return Ok(None) };
        if self.room.taken.load(Ordering::Relaxed) == TOO_MUCH {
            let message = format!(
                "a few rows of the Parquet file need more than {} bytes, which are not held in memory. Write it with \
                 smaller pages",
                self.room.bytes_max
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let batch = batch.map_err(|error| unreadable(&error))?;
        self.rows += batch.num_rows() as u64;
        Ok(batch.columns().first().cloned())
    }
}

fn unreadable(error: &dyn std::error::Error) -> Error {
    malformed(format!("a page of the Parquet file cannot be read: {error}"))
}

/// The chunks of one unit, as the library asks for them.
struct Group<'a> {
    unit: &'a Unit,
    chunks: Vec<Chunk>,
    metadata: &'a ParquetMetaData,
    room: &'a Room,
}

impl RowGroups for Group<'_> {
    fn num_rows(&self) -> usize {
        // The reader goes on until the pages end; then their rows are counted.
        usize::MAX
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let chunk = column.checked_sub(self.unit.local).and_then(|index| self.chunks.get(index));
        let described = self.unit.schema.columns().get(column);
        let (Some(chunk), Some(described)) = (chunk, described) else {
            return Err(ParquetError::General("a column has no chunk".to_owned()));
        };
        let pages = Pages {
            inner: SerializedPageReader::new(Arc::new(chunk.bytes.clone()), &chunk.about, usize::MAX, None)?,
            column: Arc::clone(described),
            room: self.room.clone(),
            later: None,
        };
        Ok(Box::new(OneChunk(Some(pages))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::empty())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// The one chunk of a column.
struct OneChunk(Option<Pages>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|pages| Ok(Box::new(pages) as Box<dyn PageReader>))
    }
}

impl PageIterator for OneChunk {}

/// The library's pages, looked at before its decoders get them.
struct Pages {
    inner: SerializedPageReader<Bytes>,
    column: ColumnDescPtr,
    room: Room,
    /// What waits for the next rows.
    later: Option<Page>,
}

impl Iterator for Pages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = match self.later.take() {
            Some(page) => page,
            None => match self.inner.get_next_page()? {
                Some(page) => page,
                None => return Ok(None),
            },
        };
        if !page.is_data_page() {
            return Ok(Some(page));
        }
        let refused = |what: &str| Err(ParquetError::General(what.to_owned()));
        let Some(texts) = delta::expanded(&page, &self.column) else {
            return refused("its lengths are not those of its values");
        };
        match self.room.take(&page, texts) {
            Turn::Now => Ok(Some(page)),
            Turn::Later => {
                // To the reader the pages end here, and go on when it asks again.
                self.later = Some(page);
                Ok(None)
            }
            Turn::Never => refused("it needs too much memory"),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        match &self.later {
            Some(page) => Ok(Some(PageMetadata {
                num_rows: None,
                num_levels: Some(page.num_values() as usize),
                is_dict: false,
            })),
            None => self.inner.peek_next_page(),
        }
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        match self.later.take() {
            Some(_) => Ok(()),
            None => self.inner.skip_next_page(),
        }
    }
}
