//! The footer of a Parquet file: its schema, and where the chunks of its columns lie.
//!
//! Promises: how deep and how wide the schema is, is known before the library takes it apart; what the footer says about
//! a chunk is checked before a byte of it is asked for.

use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy,
};

use super::thrift::{Compact, LIST};
use crate::columnar::{contained, malformed};
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;

/// Groups within groups: a list of structs of maps has ten. Beyond it the library would run out of stack.
const DEPTH_MAX: usize = 64;
/// Elements of the schema for each column: most are lists within structs, with three.
const ELEMENTS_PER_COLUMN: usize = 8;
/// The field of an element that says how many children it has.
const CHILDREN: i16 = 5;
/// The first byte of a chunk comes after the magic number.
const CHUNK_START_MIN: u64 = 4;

/// What is known once the end of a file was read.
pub(super) struct Footer {
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) schema: arrow::datatypes::Schema,
    /// Where the footer begins in the file.
    pub(super) end: u64,
    /// What it holds in memory.
    pub(super) memory: usize,
}

impl Footer {
    /// Understands a footer that begins at `end` in the file, behind the last chunk.
    pub(super) fn new(bytes: &[u8], end: u64, limits: &Limits) -> Result<Footer, Error> {
        let shape = Shape::of(bytes).ok_or_else(|| malformed("the footer of the Parquet file is damaged"))?;
        if shape.is_encrypted {
            return Err(Error::new(ErrorKind::Unsupported, "the Parquet file is encrypted"));
        }
        if shape.elements > limits.columns_max.saturating_mul(ELEMENTS_PER_COLUMN) {
            let message = format!("the schema has more than {} columns", limits.columns_max);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        if shape.depth > DEPTH_MAX {
            let message = format!("the schema has groups within groups, more than {DEPTH_MAX} of them");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        // Nobody asks for statistics, and they are most of a footer.
        let options = ParquetMetaDataOptions::new()
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let wrong = |error| malformed(format!("the footer of the Parquet file cannot be read: {error}"));
        let (metadata, schema) = contained(|| {
            let metadata =
                ParquetMetaDataReader::decode_metadata_with_options(bytes, Some(&options)).map_err(wrong)?;
            let file = metadata.file_metadata();
            let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())
                // The notes may tell types more exactly. Where they are wrong, the file can be read all the same.
                .or_else(|_| parquet_to_arrow_schema(file.schema_descr(), None))
                .map_err(wrong)?;
            Ok((metadata, schema))
        })?;
        let memory = metadata.memory_size();
        if memory > limits.whole_bytes_max / 2 {
            let message = format!(
                "the footer of the Parquet file needs {memory} bytes of memory; more than {} are not held. Write the \
                 file with larger row groups, or as several files",
                limits.whole_bytes_max / 2
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(Footer { metadata: Arc::new(metadata), schema, end, memory })
    }

    /// The rows of a row group; `None` behind the last one.
    pub(super) fn rows(&self, group: usize) -> Option<Result<u64, Error>> {
        let rows = self.metadata.row_groups().get(group)?.num_rows();
        Some(u64::try_from(rows).map_err(|_| malformed("a Parquet row group has fewer than no rows")))
    }

    /// What is said about a chunk, and where it lies.
    pub(super) fn chunk(
        &self,
        group: usize,
        column: usize,
    ) -> Result<(&ColumnChunkMetaData, Range<u64>), Error> {
        let chunk = self.metadata.row_groups().get(group).and_then(|group| group.columns().get(column));
        let Some(chunk) = chunk else {
            return Err(malformed(format!("the Parquet row group {group} has too few columns")));
        };
        let refused = |message: &str| Err(Error::new(ErrorKind::Unsupported, message));
        if chunk.file_path().is_some() {
            return refused("the columns of the Parquet file lie in other files");
        }
        match chunk.compression() {
            Compression::LZO => return refused("Parquet compressed with LZO cannot be read"),
            Compression::BROTLI(_) => return refused("Parquet compressed with Brotli cannot be read"),
            _ => {}
        }
        // Some writers say 0 where there is no dictionary.
        let (data, dictionary) = (chunk.data_page_offset(), chunk.dictionary_page_offset());
        let start = dictionary.filter(|start| (1..data).contains(start)).unwrap_or(data);
        let (start, len) = (u64::try_from(start), u64::try_from(chunk.compressed_size()));
        match (start, len) {
            (Ok(start @ CHUNK_START_MIN..), Ok(len)) if start.saturating_add(len) <= self.end => {
                Ok((chunk, start..start + len))
            }
            _ => Err(malformed("a chunk of the Parquet file lies outside of it")),
        }
    }
}

/// What a footer says at first sight.
#[derive(Default)]
struct Shape {
    elements: usize,
    depth: usize,
    is_encrypted: bool,
}

impl Shape {
    fn of(bytes: &[u8]) -> Option<Shape> {
        let mut shape = Shape::default();
        Compact::new(bytes).fields(|value, field| {
            match (field.id, field.kind) {
                (2, LIST) => shape.schema(value)?,
                (2, _) => return None,
                (8, _) => {
                    shape.is_encrypted = true;
                    return Some(false);
                }
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(shape)
    }

    /// How many elements a schema has, and how many groups lie within each other. They come in order, each group with the
    /// number of its children.
    fn schema(&mut self, value: &mut Compact<'_>) -> Option<()> {
        let (len, _) = value.list()?;
        let mut open = Vec::<usize>::new();
        for _ in 0..len {
            let mut children = 0;
            value.fields(|value, field| {
                if field.id != CHILDREN {
                    return Some(false);
                }
                children = value.count(field)?;
                Some(true)
            })?;
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > len {
                return None;
            }
            if children > 0 {
                open.push(children);
                self.depth = self.depth.max(open.len());
            }
        }
        self.elements = self.elements.max(len);
        Some(())
    }
}
