//! The pages of a chunk: their headers, and their bytes as they were before they were compressed.
//!
//! Promises: a page is unpacked to exactly the length its header says, which was checked against the limits before; its
//! checksum, where it has one, holds; counts that the library would take memory for are checked first.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageMetadata};
use parquet::schema::types::ColumnDescriptor;

use super::delta;
use super::footer::Codec;
use super::thrift::{Compact, Field, STRUCT, Trouble};
use crate::columnar::malformed;
use crate::error::{Error, ErrorKind};

/// The kinds of pages.
pub(super) const DATA: i32 = 0;
const INDEX: i32 = 1;
const DICTIONARY: i32 = 2;
pub(super) const DATA_V2: i32 = 3;

/// Encodings whose values are text with lengths in front, packed as differences.
const DELTA_LENGTH_BYTE_ARRAY: i32 = 6;
const DELTA_BYTE_ARRAY: i32 = 7;
/// How much longer than the page its texts may be of which only the ends are stored: sorted texts share most of theirs.
const DELTA_RATIO_MAX: usize = 16;
const PLAIN: i32 = 0;
/// What levels are packed with, but for the oldest files.
const RLE: i32 = 3;

/// Whether values of this encoding are places in the dictionary.
pub(super) fn is_dictionary(encoding: i32) -> bool {
    matches!(encoding, 2 | 8)
}

/// What stands in front of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    kind: i32,
    /// Bytes of the page as it is stored, and as it was.
    pub(super) packed: usize,
    pub(super) unpacked: usize,
    crc: Option<i32>,
    /// Nulls included.
    pub(super) values: u32,
    pub(super) encoding: i32,
    repetition_encoding: i32,
    definition_encoding: i32,
    nulls: u32,
    rows: u32,
    /// Bytes of the levels in front, of newer pages.
    repetition: usize,
    definition: usize,
    /// Of newer pages: whether the values are stored as they are.
    is_plain: bool,
}

fn size(value: &mut Compact<'_>) -> Result<usize, Trouble> {
    usize::try_from(value.i32()?).map_err(|_| Trouble::Broken)
}

fn count(value: &mut Compact<'_>) -> Result<u32, Trouble> {
    u32::try_from(value.i32()?).map_err(|_| Trouble::Broken)
}

impl Header {
    /// The header at the beginning of these bytes, and its own length.
    pub(super) fn read(bytes: &[u8]) -> Result<(Header, usize), Trouble> {
        let mut header = Header { kind: -1, ..Header::default() };
        let mut value = Compact::new(bytes);
        value.fields(|value, field| {
            match (field.id, field.kind) {
                (1, 5) => header.kind = value.i32()?,
                (2, 5) => header.unpacked = size(value)?,
                (3, 5) => header.packed = size(value)?,
                (4, 5) => header.crc = Some(value.i32()?),
                (5, STRUCT) => value.fields(|value, field| header.data(value, field))?,
                (7, STRUCT) => value.fields(|value, field| header.dictionary(value, field))?,
                (8, STRUCT) => value.fields(|value, field| header.data_v2(value, field))?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match header.kind {
            DATA | INDEX | DICTIONARY | DATA_V2 => Ok((header, value.at())),
            _ => Err(Trouble::Broken),
        }
    }

    fn data(&mut self, value: &mut Compact<'_>, field: Field) -> Result<bool, Trouble> {
        match (field.id, field.kind) {
            (1, 5) => self.values = count(value)?,
            (2, 5) => self.encoding = value.i32()?,
            (3, 5) => self.definition_encoding = value.i32()?,
            (4, 5) => self.repetition_encoding = value.i32()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn dictionary(&mut self, value: &mut Compact<'_>, field: Field) -> Result<bool, Trouble> {
        match (field.id, field.kind) {
            (1, 5) => self.values = count(value)?,
            (2, 5) => self.encoding = value.i32()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn data_v2(&mut self, value: &mut Compact<'_>, field: Field) -> Result<bool, Trouble> {
        match (field.id, field.kind) {
            (1, 5) => self.values = count(value)?,
            (2, 5) => self.nulls = count(value)?,
            (3, 5) => self.rows = count(value)?,
            (4, 5) => self.encoding = value.i32()?,
            (5, 5) => self.definition = size(value)?,
            (6, 5) => self.repetition = size(value)?,
            (7, 1 | 2) => {
                self.is_plain = !field.is_true();
                return Ok(true);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn is_index(&self) -> bool {
        self.kind == INDEX
    }

    pub(super) fn is_dictionary(&self) -> bool {
        self.kind == DICTIONARY
    }

    /// The memory of the page once it is unpacked: of a dictionary also the places of its values, of differences the
    /// lengths of all values.
    pub(super) fn memory(&self) -> usize {
        let (per_byte, per_value) = match (self.kind, self.encoding) {
            (DICTIONARY, _) => (1, 16),
            (_, DELTA_LENGTH_BYTE_ARRAY) => (1, 4),
            (_, DELTA_BYTE_ARRAY) => (DELTA_RATIO_MAX, 12),
            _ => (1, 0),
        };
        let values = (self.values as usize).saturating_mul(per_value);
        self.unpacked.saturating_mul(per_byte).saturating_add(values)
    }
}

/// A page as it is stored.
pub(super) struct Packed {
    pub(super) header: Header,
    pub(super) data: Bytes,
}

fn damaged(what: &str) -> Error {
    malformed(format!("a page of the Parquet file is damaged: {what}"))
}

impl Packed {
    pub(super) fn metadata(&self) -> PageMetadata {
        let Header { kind, values, rows, .. } = self.header;
        PageMetadata {
            num_rows: (kind == DATA_V2).then_some(rows as usize),
            num_levels: (kind != DICTIONARY).then_some(values as usize),
            is_dict: kind == DICTIONARY,
        }
    }

    /// The page for the library.
    pub(super) fn unpack(self, codec: Codec, column: &ColumnDescriptor) -> Result<Page, Error> {
        let Packed { header, data } = self;
        if header.crc.is_some_and(|crc| crc32fast::hash(&data) != crc as u32) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "a page of the Parquet file is damaged: its checksum differs",
            ));
        }
        let levels =
            if header.kind == DATA_V2 { header.repetition.saturating_add(header.definition) } else { 0 };
        let codec = if header.is_plain { Codec::None } else { codec };
        let buf = unpacked(codec, data, levels, header.unpacked)?;
        if header.kind == DICTIONARY {
            let encoding = encoding(header.encoding)?;
            // Each value has a byte at least.
            if header.values as usize > buf.len() {
                return Err(damaged("its dictionary has more values than bytes"));
            }
            return Ok(Page::DictionaryPage { buf, num_values: header.values, encoding, is_sorted: false });
        }
        let (buf, number) = header.without_differences(buf, column)?;
        let encoding = self::encoding(number)?;
        Ok(match header.kind {
            DATA_V2 => Page::DataPageV2 {
                buf,
                num_values: header.values,
                encoding,
                num_nulls: header.nulls,
                num_rows: header.rows,
                def_levels_byte_len: header.definition as u32,
                rep_levels_byte_len: header.repetition as u32,
                is_compressed: false,
                statistics: None,
            },
            _ => Page::DataPage {
                buf,
                num_values: header.values,
                encoding,
                def_level_encoding: self::encoding(header.definition_encoding)?,
                rep_level_encoding: self::encoding(header.repetition_encoding)?,
                statistics: None,
            },
        })
    }
}

fn encoding(number: i32) -> Result<Encoding, Error> {
    Ok(match number {
        PLAIN => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        #[expect(deprecated, reason = "the oldest files have it")]
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        DELTA_LENGTH_BYTE_ARRAY => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        DELTA_BYTE_ARRAY => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        other => {
            let message = format!("an encoding of the Parquet file is unknown: number {other}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}

/// The bytes of a page, of which the first `plain` are not compressed.
fn unpacked(codec: Codec, data: Bytes, plain: usize, len: usize) -> Result<Bytes, Error> {
    let wrong = || damaged("it does not unpack to its length");
    if plain > len || plain > data.len() {
        return Err(damaged("its levels are longer than itself"));
    }
    if codec == Codec::None {
        return if data.len() == len { Ok(data) } else { Err(wrong()) };
    }
    let mut bytes = vec![0; len];
    let (levels, values) = bytes.split_at_mut(plain);
    let (stored, packed) = data.split_at(plain);
    levels.copy_from_slice(stored);
    // A page of nulls alone may have no bytes, not even those of an empty stream.
    let written = match codec {
        _ if values.is_empty() => 0,
        Codec::None => 0,
        Codec::Snappy => snap::raw::Decoder::new().decompress(packed, values).map_err(|_| wrong())?,
        Codec::Zstd => zstd_safe::decompress(values, packed).map_err(|_| wrong())?,
        Codec::Lz4 => lz4_flex::block::decompress_into(packed, values).map_err(|_| wrong())?,
        Codec::Gzip => {
            let mut stream = MultiGzDecoder::new(packed);
            stream.read_exact(values).map_err(|_| wrong())?;
            // Nothing may follow.
            match stream.read(&mut [0]) {
                Ok(0) => values.len(),
                _ => return Err(wrong()),
            }
        }
    };
    if written == len - plain { Ok(Bytes::from(bytes)) } else { Err(wrong()) }
}

impl Header {
    /// Texts whose lengths are packed: the library takes memory for as many as the page claims. Where only the ends of
    /// texts are stored, it would write each out again and again; they are written out here, within bounds.
    fn without_differences(&self, buf: Bytes, column: &ColumnDescriptor) -> Result<(Bytes, i32), Error> {
        let wrong = || damaged("its lengths are not those of its values");
        if !matches!(self.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY) {
            return Ok((buf, self.encoding));
        }
        let values = self.values_of(&buf, column).ok_or_else(wrong)?;
        if self.encoding == DELTA_LENGTH_BYTE_ARRAY {
            // Without a value there may be no lengths at all.
            let count = if values.is_empty() { Some(0) } else { delta::count(values) };
            return match count {
                Some(count) if count <= u64::from(self.values) => Ok((buf, self.encoding)),
                _ => Err(wrong()),
            };
        }
        let levels = buf.len() - values.len();
        let mut plain = buf.slice(..levels).to_vec();
        let has_lengths = column.physical_type() == Type::BYTE_ARRAY;
        delta::texts(values, self.values, has_lengths, self.memory(), &mut plain).ok_or_else(wrong)?;
        Ok((Bytes::from(plain), PLAIN))
    }

    /// The part of a page behind the levels.
    fn values_of<'a>(&self, buf: &'a [u8], column: &ColumnDescriptor) -> Option<&'a [u8]> {
        if self.kind == DATA_V2 {
            return buf.get(self.repetition.checked_add(self.definition)?..);
        }
        let mut rest = buf;
        let levels = [
            (column.max_rep_level(), self.repetition_encoding),
            (column.max_def_level(), self.definition_encoding),
        ];
        for (max, encoding) in levels {
            if max <= 0 {
                continue;
            }
            let len = match encoding {
                RLE => {
                    let (len, behind) = rest.split_first_chunk::<4>()?;
                    rest = behind;
                    u32::from_le_bytes(*len) as usize
                }
                _ => {
                    let bits = u64::from(max.unsigned_abs().ilog2()) + 1;
                    usize::try_from((u64::from(self.values) * bits).div_ceil(8)).ok()?
                }
            };
            rest = rest.get(len..)?;
        }
        Some(rest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
        match codec {
            Codec::None => bytes.to_vec(),
            Codec::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            Codec::Lz4 => lz4_flex::block::compress(bytes),
            Codec::Gzip => {
                let mut stream = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                stream.write_all(bytes).unwrap();
                stream.finish().unwrap()
            }
            Codec::Zstd => {
                let mut packed = vec![0; zstd_safe::compress_bound(bytes.len())];
                let len = zstd_safe::compress(&mut packed[..], bytes, 3).unwrap();
                packed[..len].to_vec()
            }
        }
    }

    #[test]
    fn a_page_unpacks_to_its_length_or_not_at_all() {
        let bytes = b"so much of it repeats: ".repeat(5_000);
        for codec in [Codec::None, Codec::Snappy, Codec::Gzip, Codec::Zstd, Codec::Lz4] {
            let stored = Bytes::from(packed(codec, &bytes));
            assert_eq!(unpacked(codec, stored.clone(), 0, bytes.len()).unwrap(), bytes, "{codec:?}");
            // Levels stand in front as they are.
            let levels = Bytes::from([b"levels", &stored[..]].concat());
            assert_eq!(unpacked(codec, levels, 6, bytes.len() + 6).unwrap()[6..], bytes, "{codec:?}");
            // A page that claims less is a bomb, one that claims more is damaged.
            for len in [0, 1, 100, bytes.len() - 1, bytes.len() + 1] {
                // Of nothing nothing is read.
                let is_empty = len == 0 && codec != Codec::None;
                assert_eq!(unpacked(codec, stored.clone(), 0, len).is_ok(), is_empty, "{codec:?} {len}");
            }
            assert!(unpacked(codec, stored.slice(..stored.len() - 1), 0, bytes.len()).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn a_checksum_that_differs_is_damage() {
        let column = |kind| {
            let leaf = parquet::schema::types::Type::primitive_type_builder("a", kind).build().unwrap();
            ColumnDescriptor::new(std::sync::Arc::new(leaf), 0, 0, "a".into())
        };
        let page = |crc: u32| {
            let header = Header {
                kind: DATA,
                packed: 4,
                unpacked: 4,
                values: 1,
                crc: Some(crc as i32),
                ..Header::default()
            };
            Packed { header, data: Bytes::from_static(b"abcd") }.unpack(Codec::None, &column(Type::INT32))
        };
        assert!(page(crc32fast::hash(b"abcd")).is_ok());
        assert_eq!(page(1).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
