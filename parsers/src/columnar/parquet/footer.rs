//! The footer of a Parquet file: its schema, and where the chunks of its columns lie.
//!
//! Promises: what the footer claims is checked before anything is made of it; row groups are read one at a time, so
//! that many of them need no more memory than their bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::thrift::{Compact, LIST, STRUCT, Trouble};
use crate::columnar::{contained, malformed};
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;

/// Groups within groups: a list of structs of maps has ten. Beyond it the library would run out of stack.
const DEPTH_MAX: usize = 64;
/// Elements of the schema for each column: most are lists within structs, with three.
const ELEMENTS_PER_COLUMN: usize = 8;
/// The first byte of a chunk comes after the magic number.
const CHUNK_START_MIN: u64 = 4;

/// How the pages of a chunk are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstd,
    Lz4,
}

/// A chunk of a column: its pages, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// Where it lies in the file.
    pub(super) start: u64,
    pub(super) len: u64,
    /// How many values it has, nulls included.
    pub(super) values: u64,
    pub(super) codec: Codec,
    /// Whether all of its values are given by their place in the dictionary.
    pub(super) is_dictionary: bool,
}

/// Some rows: a chunk of each column.
#[derive(Debug)]
pub(super) struct RowGroup {
    pub(super) rows: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// What is known once the end of a file was read.
pub(super) struct Footer {
    bytes: Bytes,
    /// Where in the footer each row group is described.
    groups: Vec<Range<usize>>,
    /// Of a file with this schema and no row groups.
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) schema: arrow::datatypes::Schema,
    /// Where the footer begins in the file.
    pub(super) end: u64,
}

fn damaged(_: Trouble) -> Error {
    malformed("the footer of the Parquet file is damaged")
}

/// What the fields of a footer say.
#[derive(Default)]
struct Parts {
    version: Range<usize>,
    schema: Range<usize>,
    rows: Range<usize>,
    notes: Range<usize>,
    groups: Vec<Range<usize>>,
    elements: usize,
    depth: usize,
    is_encrypted: bool,
}

impl Footer {
    /// Understands a footer that begins at `end` in the file, behind the last chunk.
    pub(super) fn new(bytes: Bytes, end: u64, limits: &Limits) -> Result<Footer, Error> {
        let parts = Parts::of(&bytes).map_err(damaged)?;
        if parts.is_encrypted {
            return Err(Error::new(ErrorKind::Unsupported, "the Parquet file is encrypted"));
        }
        if parts.elements > limits.columns_max.saturating_mul(ELEMENTS_PER_COLUMN) {
            let message = format!("the schema has more than {} columns", limits.columns_max);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        if parts.depth > DEPTH_MAX {
            let message = format!("the schema has groups within groups, more than {DEPTH_MAX} of them");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let wrong = |error| malformed(format!("the schema of the Parquet file is damaged: {error}"));
        let (metadata, schema) = contained(|| {
            let metadata =
                ParquetMetaDataReader::decode_metadata(&parts.without_groups(&bytes)).map_err(wrong)?;
            let file = metadata.file_metadata();
            let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())
                // The notes may tell types more exactly. Where they are wrong, the file can be read all the same.
                .or_else(|_| parquet_to_arrow_schema(file.schema_descr(), None))
                .map_err(wrong)?;
            Ok((Arc::new(metadata), schema))
        })?;
        Ok(Footer { bytes, groups: parts.groups, metadata, schema, end })
    }

    /// The memory held.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// How many row groups there are.
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// A row group.
    pub(super) fn group(&self, index: usize) -> Result<RowGroup, Error> {
        let bytes =
            self.groups.get(index).and_then(|range| self.bytes.get(range.clone())).unwrap_or_default();
        let (mut rows, mut found) = (None, Vec::new());
        let read = Compact::new(bytes).fields(|value, field| {
            match (field.id, field.kind) {
                (1, LIST) => {
                    let (len, _) = value.list()?;
                    for _ in 0..len {
                        found.push(Found::read(value)?);
                    }
                }
                (3, 6) => rows = u64::try_from(value.i64()?).ok(),
                _ => return Ok(false),
            }
            Ok(true)
        });
        read.map_err(damaged)?;
        let columns = self.metadata.file_metadata().schema_descr().num_columns();
        let (Some(rows), true) = (rows, found.len() == columns) else {
            return Err(malformed(format!("the Parquet row group {index} does not have {columns} columns")));
        };
        let chunks = found.into_iter().map(|found| found.chunk(self.end)).collect::<Result<_, _>>()?;
        Ok(RowGroup { rows, chunks })
    }
}

impl Parts {
    fn of(bytes: &[u8]) -> Result<Parts, Trouble> {
        let mut parts = Parts::default();
        Compact::new(bytes).fields(|value, field| {
            let start = value.at();
            match (field.id, field.kind) {
                (1, 5) => {
                    value.skip(field.kind)?;
                    parts.version = start..value.at();
                }
                (2, LIST) => {
                    (parts.elements, parts.depth) = shape(value)?;
                    parts.schema = start..value.at();
                }
                (3, 6) => {
                    value.skip(field.kind)?;
                    parts.rows = start..value.at();
                }
                (4, LIST) => {
                    let (len, _) = value.list()?;
                    for _ in 0..len {
                        let start = value.at();
                        value.skip(STRUCT)?;
                        parts.groups.push(start..value.at());
                    }
                }
                (5, LIST) => {
                    value.skip(field.kind)?;
                    parts.notes = start..value.at();
                }
                (8, _) => {
                    value.skip(field.kind)?;
                    parts.is_encrypted = true;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match parts.schema.is_empty() {
            true => Err(Trouble::Broken),
            false => Ok(parts),
        }
    }

    /// The same footer of a file without row groups: for the library, which would take all of them apart at once.
    fn without_groups(&self, bytes: &[u8]) -> Vec<u8> {
        // Each field one behind the one before, and its type.
        const I32: u8 = 0x15;
        const I64: u8 = 0x16;
        const LIST_OF: u8 = 0x19;
        const NO_STRUCTS: u8 = STRUCT;
        let mut small = Vec::new();
        for (head, range) in [(I32, &self.version), (LIST_OF, &self.schema), (I64, &self.rows)] {
            small.push(head);
            small.extend_from_slice(bytes.get(range.clone()).unwrap_or_default());
        }
        small.extend([LIST_OF, NO_STRUCTS]);
        if !self.notes.is_empty() {
            small.push(LIST_OF);
            small.extend_from_slice(bytes.get(self.notes.clone()).unwrap_or_default());
        }
        small.push(0);
        small
    }
}

/// How many elements a schema has, and how many groups lie within each other. They come in order, each group with the
/// number of its children.
fn shape(value: &mut Compact<'_>) -> Result<(usize, usize), Trouble> {
    let (len, _) = value.list()?;
    let (mut deepest, mut open) = (0, Vec::<usize>::new());
    for _ in 0..len {
        let mut children = 0;
        value.fields(|value, field| {
            if (field.id, field.kind) == (5, 5) {
                children = usize::try_from(value.i32()?).map_err(|_| Trouble::Broken)?;
                return Ok(true);
            }
            Ok(false)
        })?;
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            open.push(children);
            deepest = deepest.max(open.len());
        }
    }
    Ok((len, deepest))
}

/// What a footer says about a chunk.
#[derive(Default)]
struct Found {
    is_elsewhere: bool,
    is_encrypted: bool,
    codec: i32,
    values: i64,
    len: i64,
    data: i64,
    dictionary: Option<i64>,
    /// How many kinds of data pages there are, and how many of them refer to the dictionary.
    kinds: usize,
    kinds_of_dictionary: usize,
}

impl Found {
    fn read(value: &mut Compact<'_>) -> Result<Found, Trouble> {
        let mut found = Found { codec: -1, ..Found::default() };
        value.fields(|value, field| {
            match (field.id, field.kind) {
                (1, _) => found.is_elsewhere = true,
                (3, STRUCT) => {
                    found.details(value)?;
                    return Ok(true);
                }
                (8, _) => found.is_encrypted = true,
                _ => {}
            }
            Ok(false)
        })?;
        Ok(found)
    }

    fn details(&mut self, value: &mut Compact<'_>) -> Result<(), Trouble> {
        value.fields(|value, field| {
            match (field.id, field.kind) {
                (4, 5) => self.codec = value.i32()?,
                (5, 6) => self.values = value.i64()?,
                (7, 6) => self.len = value.i64()?,
                (9, 6) => self.data = value.i64()?,
                (11, 6) => self.dictionary = Some(value.i64()?),
                (13, LIST) => {
                    let (len, _) = value.list()?;
                    for _ in 0..len {
                        self.kind(value)?;
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// One kind of pages: what they are, how they are encoded, and how many there are.
    fn kind(&mut self, value: &mut Compact<'_>) -> Result<(), Trouble> {
        let (mut page, mut encoding) = (-1, -1);
        value.fields(|value, field| {
            match (field.id, field.kind) {
                (1, 5) => page = value.i32()?,
                (2, 5) => encoding = value.i32()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if matches!(page, super::pages::DATA | super::pages::DATA_V2) {
            self.kinds += 1;
            self.kinds_of_dictionary += usize::from(super::pages::is_dictionary(encoding));
        }
        Ok(())
    }

    /// The chunk, which must lie before `end`.
    fn chunk(&self, end: u64) -> Result<Chunk, Error> {
        let refused = |message: &str| Err(Error::new(ErrorKind::Unsupported, message));
        if self.is_elsewhere {
            return refused("the columns of the Parquet file lie in other files");
        }
        if self.is_encrypted {
            return refused("columns of the Parquet file are encrypted");
        }
        let codec = match self.codec {
            0 => Codec::None,
            1 => Codec::Snappy,
            2 => Codec::Gzip,
            6 => Codec::Zstd,
            7 => Codec::Lz4,
            3 => return refused("Parquet compressed with LZO cannot be read"),
            4 => return refused("Parquet compressed with Brotli cannot be read"),
            5 => return refused("Parquet compressed with LZ4 in Hadoop's frames cannot be read"),
            other => return Err(malformed(format!("no compression of Parquet has the number {other}"))),
        };
        // Some writers say 0 where there is none.
        let start = self.dictionary.filter(|at| *at > 0 && *at < self.data).unwrap_or(self.data);
        let (Ok(start), Ok(len), Ok(values)) =
            (u64::try_from(start), u64::try_from(self.len), u64::try_from(self.values))
        else {
            return Err(malformed("a chunk of the Parquet file has a negative place or length"));
        };
        if start < CHUNK_START_MIN || start.checked_add(len).is_none_or(|behind| behind > end) {
            return Err(malformed(format!(
                "a chunk of the Parquet file lies outside: {len} bytes at byte {start}"
            )));
        }
        let is_dictionary = self.kinds > 0 && self.kinds == self.kinds_of_dictionary;
        Ok(Chunk { start, len, values, codec, is_dictionary })
    }
}
