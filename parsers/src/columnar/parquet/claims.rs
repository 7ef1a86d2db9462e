//! What the pages of a chunk claim, before the library believes it: it takes as much memory as a header says, and
//! unpacks gzip to wherever it ends.
//!
//! Promise: no page unpacks to more than is counted here, no dictionary has more values than bytes.

use std::io::{Read, copy, sink};

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;

use super::thrift::{Compact, Field, STRUCT};
use crate::columnar::malformed;
use crate::error::{Error, ErrorKind};

/// The kinds of pages.
const DATA: usize = 0;
const INDEX: usize = 1;
const DICTIONARY: usize = 2;
const DATA_V2: usize = 3;
/// Encodings whose values are places in the dictionary.
const BY_PLACE: [usize; 2] = [2, 8];
/// The encoding of texts of which only the ends are stored.
const DELTA_BYTE_ARRAY: usize = 7;
/// The memory of a value of the dictionary, beside its bytes.
const DICTIONARY_VALUE_BYTES: usize = 16;
/// How frames of LZ4 begin. The library takes them for Hadoop's in very old files, and unpacks them to wherever they end.
const LZ4_FRAMES: [[u8; 4]; 2] = [[0x04, 0x22, 0x4d, 0x18], [0x02, 0x21, 0x4c, 0x18]];

/// What the pages of a chunk claim together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// Values, nulls included.
    pub(super) values: u64,
    /// Bytes of all pages.
    pub(super) unpacked: u64,
    /// Memory of the dictionary, and of the largest page: one of them is there at a time.
    pub(super) dictionary: usize,
    pub(super) page: usize,
    /// Whether all values are given by their place in the dictionary.
    pub(super) is_by_place: bool,
    /// Whether there are texts that share their beginning with the one before.
    pub(super) has_shared: bool,
}

impl Claims {
    /// Looks at all pages of a chunk.
    pub(super) fn of(chunk: &[u8], codec: Compression) -> Result<Claims, Error> {
        let damaged = |what: &str| malformed(format!("a page of the Parquet file is damaged: {what}"));
        let mut claims = Claims { is_by_place: true, ..Claims::default() };
        let mut pages = Compact::new(chunk);
        let mut data_pages = 0_usize;
        while pages.at() < chunk.len() {
            let header = Header::read(&mut pages).ok_or_else(|| damaged("it has no header"))?;
            let data = pages.pass(header.packed).ok_or_else(|| damaged("it goes on behind its chunk"))?;
            check(&header, data, codec)?;
            claims.unpacked += header.unpacked as u64;
            // What is not compressed is used where it lies.
            let memory = if codec == Compression::UNCOMPRESSED { 0 } else { header.unpacked };
            match header.kind {
                DICTIONARY => {
                    if header.values > header.unpacked {
                        return Err(damaged("its dictionary has more values than bytes"));
                    }
                    claims.dictionary += memory + header.values * DICTIONARY_VALUE_BYTES;
                }
                INDEX => {}
                _ => {
                    data_pages += 1;
                    claims.values += header.values as u64;
                    claims.page = claims.page.max(memory);
                    claims.is_by_place &= BY_PLACE.contains(&header.encoding);
                    claims.has_shared |= header.encoding == DELTA_BYTE_ARRAY;
                }
            }
        }
        claims.is_by_place &= data_pages > 0;
        Ok(claims)
    }
}

/// What unpacks without a bound must come to what it claims.
fn check(header: &Header, data: &[u8], codec: Compression) -> Result<(), Error> {
    let packed = data.get(header.levels..).filter(|_| !header.is_plain && header.kind != INDEX);
    let Some(packed) = packed else { return Ok(()) };
    match codec {
        Compression::GZIP(_) => {
            let claimed = header.unpacked.saturating_sub(header.levels) as u64;
            let unpacked = copy(&mut MultiGzDecoder::new(packed).take(claimed + 1), &mut sink());
            // Of a page of nulls alone nothing is read.
            if claimed > 0 && unpacked.ok() != Some(claimed) {
                return Err(malformed(
                    "a page of the Parquet file is damaged: it does not unpack to its length",
                ));
            }
        }
        Compression::LZ4 if LZ4_FRAMES.iter().any(|magic| packed.starts_with(magic)) => {
            let message = "Parquet compressed with frames of LZ4 cannot be read";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        _ => {}
    }
    Ok(())
}

/// What stands in front of a page, as far as it claims something.
#[derive(Debug, Default)]
struct Header {
    kind: usize,
    /// Bytes of the page as it is stored, and as it was.
    packed: usize,
    unpacked: usize,
    values: usize,
    encoding: usize,
    /// Of newer pages: bytes of the levels in front, which are not compressed, and whether nothing is.
    levels: usize,
    is_plain: bool,
}

impl Header {
    fn read(pages: &mut Compact<'_>) -> Option<Header> {
        let mut header = Header { kind: usize::MAX, ..Header::default() };
        pages.fields(|value, field| {
            match field.id {
                1 => header.kind = value.count(field)?,
                2 => header.unpacked = value.count(field)?,
                3 => header.packed = value.count(field)?,
                5 | 7 | 8 if field.kind != STRUCT => return None,
                5 | 7 => value.fields(|value, field| header.detail(value, field, 2))?,
                8 => value.fields(|value, field| header.detail_of_v2(value, field))?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        matches!(header.kind, DATA | INDEX | DICTIONARY | DATA_V2).then_some(header)
    }

    /// How many values, and their encoding.
    fn detail(&mut self, value: &mut Compact<'_>, field: Field, encoding: i16) -> Option<bool> {
        match field.id {
            1 => self.values = value.count(field)?,
            id if id == encoding => self.encoding = value.count(field)?,
            _ => return Some(false),
        }
        Some(true)
    }

    fn detail_of_v2(&mut self, value: &mut Compact<'_>, field: Field) -> Option<bool> {
        match (field.id, field.kind) {
            (5 | 6, _) => self.levels = self.levels.checked_add(value.count(field)?)?,
            // A truth of its own has no bytes.
            (7, kind) => {
                self.is_plain = kind == 2;
                return Some(false);
            }
            _ => return self.detail(value, field, 4),
        }
        Some(true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use parquet::basic::GzipLevel;

    use super::*;

    /// A data page of eight values, with a header.
    fn page(kind: u8, encoding: u8, unpacked: u8, data: &[u8]) -> Vec<u8> {
        let detail = if kind as usize == DICTIONARY { 0x4c } else { 0x2c };
        let head = [0x15, kind << 1, 0x15, unpacked << 1, 0x15, (data.len() as u8) << 1, detail];
        [&head[..], &[0x15, 16, 0x15, encoding << 1, 0, 0], data].concat()
    }

    #[test]
    fn pages_are_counted_and_the_largest_is_known() {
        let chunk =
            [page(2, 0, 30, b"dictionary"), page(0, 8, 20, b"page"), page(0, 2, 40, b"other page")].concat();
        let claims = Claims::of(&chunk, Compression::SNAPPY).unwrap();
        let expected = Claims {
            values: 16,
            unpacked: 90,
            dictionary: 30 + 8 * 16,
            page: 40,
            is_by_place: true,
            has_shared: false,
        };
        assert_eq!(claims, expected);
        let mixed = [chunk.clone(), page(0, 7, 33, b"ends")].concat();
        let claims = Claims::of(&mixed, Compression::SNAPPY).unwrap();
        assert_eq!((claims.is_by_place, claims.has_shared, claims.values), (false, true, 24));
        // Cut anywhere but between pages, and a dictionary of more values than bytes.
        let ends = [0, 23, 23 + 17];
        for len in (0..chunk.len()).filter(|len| !ends.contains(len)) {
            assert!(Claims::of(&chunk[..len], Compression::SNAPPY).is_err(), "{len}");
        }
        assert!(Claims::of(&page(2, 0, 7, b"seven"), Compression::SNAPPY).is_err());
    }

    #[test]
    fn gzip_comes_to_what_it_claims() {
        let packed = |bytes: &[u8]| {
            let mut stream = GzEncoder::new(Vec::new(), flate2::Compression::best());
            stream.write_all(bytes).unwrap();
            stream.finish().unwrap()
        };
        let codec = Compression::GZIP(GzipLevel::default());
        assert!(Claims::of(&page(0, 0, 9, &packed(b"nine byte")), codec).is_ok());
        for bytes in [&b"eight by"[..], b"ten bytes!", &[0; 100_000]] {
            assert!(Claims::of(&page(0, 0, 9, &packed(bytes)), codec).is_err(), "{}", bytes.len());
        }
    }

    #[test]
    fn frames_of_lz4_are_refused() {
        let error = Claims::of(&page(0, 0, 9, &[4, 0x22, 0x4d, 0x18, 0]), Compression::LZ4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
