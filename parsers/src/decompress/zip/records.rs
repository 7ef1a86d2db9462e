//! The records of a zip archive (PKWARE's APPNOTE 6.3.10): where each ends, and what the header of a member says.
//!
//! Promise: a record is read only when it is there whole; sizes of 64 bits are taken from where zip64 has them.

use crate::decompress::stream::Trouble;

/// Each record begins with as many bytes, which say what it is.
pub(super) const SIGNATURE_BYTES: usize = 4;

const LOCAL: &[u8] = b"PK\x03\x04";
const DIRECTORY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const ARCHIVE_EXTRA: &[u8] = b"PK\x06\x08";
const DIGITAL_SIGNATURE: &[u8] = b"PK\x05\x05";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";

/// The extra field with sizes of 64 bits.
const ZIP64: u16 = 1;

/// How much of a name errors show.
const SHOWN_CHARS: usize = 80;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// So many bytes are needed to know more.
    Partial { bytes: usize },
    /// A member begins.
    Local(Header),
    /// A line of the directory, with so many bytes behind.
    Directory { tail: u64 },
    /// Something that says nothing new, with so many bytes behind.
    Other { tail: u64 },
    /// The last record, with a comment of so many bytes.
    End { comment: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate,
    Other(u16),
}

/// What is said of a member before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) encrypted: bool,
    /// Checksum and sizes come behind the member; those here may be zeros.
    pub(super) descriptor_follows: bool,
    pub(super) zip64: bool,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
}

/// Checksum and sizes, wherever they were said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
}

impl Record {
    pub(super) fn read(bytes: &[u8]) -> Result<Record, Trouble> {
        let Some(signature) = bytes.get(..SIGNATURE_BYTES) else {
            return Ok(Record::Partial { bytes: SIGNATURE_BYTES });
        };
        let fixed = match signature {
            LOCAL => 30,
            DIRECTORY => 46,
            END => 22,
            END_64 => 12,
            LOCATOR_64 => 20,
            ARCHIVE_EXTRA => 8,
            DIGITAL_SIGNATURE => 6,
            _ => {
                return Err(Trouble::corrupt(
                    "the zip archive is damaged: no record begins where one should",
                ));
            }
        };
        if bytes.len() < fixed {
            return Ok(Record::Partial { bytes: fixed });
        }
        let short = |at: usize| u64::from(u16_at(bytes, at));
        Ok(match signature {
            LOCAL => {
                let whole = fixed + usize::from(u16_at(bytes, 26)) + usize::from(u16_at(bytes, 28));
                if bytes.len() < whole {
                    return Ok(Record::Partial { bytes: whole });
                }
                Record::Local(Header::read(bytes)?)
            }
            DIRECTORY => Record::Directory { tail: short(28) + short(30) + short(32) },
            END => Record::End { comment: short(20) },
            END_64 => Record::Other { tail: u64_at(bytes, 4) },
            ARCHIVE_EXTRA => Record::Other { tail: u32_at(bytes, 4).into() },
            DIGITAL_SIGNATURE => Record::Other { tail: short(4) },
            _ => Record::Other { tail: 0 },
        })
    }
}

impl Header {
    /// Reads a local header that is there whole.
    fn read(bytes: &[u8]) -> Result<Header, Trouble> {
        let flags = u16_at(bytes, 6);
        let (fixed, name) = (30, usize::from(u16_at(bytes, 26)));
        let mut header = Header {
            // Old archives have other encodings, which matter to no ending.
            name: String::from_utf8_lossy(&bytes[fixed..fixed + name]).into_owned(),
            method: match u16_at(bytes, 8) {
                0 => Method::Stored,
                8 => Method::Deflate,
                other => Method::Other(other),
            },
            encrypted: flags & 1 != 0,
            descriptor_follows: flags & 8 != 0,
            zip64: false,
            crc: u32_at(bytes, 14),
            packed: u32_at(bytes, 18).into(),
            unpacked: u32_at(bytes, 22).into(),
        };
        let mut extra = &bytes[fixed + name..];
        while let [a, b, c, d, rest @ ..] = extra {
            let (id, length) = (u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d])));
            let (field, next) = rest.split_at(length.min(rest.len()));
            if id == ZIP64 {
                header.take_zip64(field)?;
            }
            extra = next;
        }
        Ok(header)
    }

    /// The unpacked size stands first; each stands there only when its place in the header says so.
    fn take_zip64(&mut self, mut field: &[u8]) -> Result<(), Trouble> {
        self.zip64 = true;
        for size in [&mut self.unpacked, &mut self.packed] {
            if *size == u64::from(u32::MAX) {
                let Some((value, rest)) = field.split_first_chunk() else {
                    return Err(Trouble::corrupt("the zip archive is damaged: a size of 64 bits is missing"));
                };
                (*size, field) = (u64::from_le_bytes(*value), rest);
            }
        }
        Ok(())
    }

    /// How long the member is, if that is known before it.
    pub(super) fn packed_size(&self) -> Option<u64> {
        // A folder that is stored has nothing, whatever is said behind it.
        let empty = self.is_folder() && self.method == Method::Stored;
        let known = !self.descriptor_follows || self.packed > 0 || empty;
        known.then_some(self.packed)
    }

    pub(super) fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Attributes and previews that macOS puts beside the files.
    pub(super) fn is_of_macos(&self) -> bool {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        self.name.starts_with("__MACOSX/") || file.starts_with("._") || file == ".DS_Store"
    }

    /// The name for messages: names may have 64 KiB.
    pub(super) fn shown_name(&self) -> String {
        let mut shown: String = self.name.chars().take(SHOWN_CHARS).collect();
        if shown.len() < self.name.len() {
            shown.push('…');
        }
        shown
    }
}

impl Descriptor {
    /// How long a descriptor is that begins like this. Its mark may be missing, and its sizes have 64 bits where those of
    /// the member need them or the header has announced it.
    pub(super) fn bytes(begin: &[u8], zip64: bool) -> usize {
        let mark = if begin.starts_with(DESCRIPTOR) { SIGNATURE_BYTES } else { 0 };
        mark + if zip64 { 20 } else { 12 }
    }

    /// Reads a descriptor that is there whole.
    pub(super) fn read(bytes: &[u8], zip64: bool) -> Descriptor {
        let bytes = bytes.strip_prefix(DESCRIPTOR).unwrap_or(bytes);
        let size =
            |at: usize| if zip64 { u64_at(bytes, 4 + 8 * at) } else { u32_at(bytes, 4 + 4 * at).into() };
        Descriptor { crc: u32_at(bytes, 0), packed: size(0), unpacked: size(1) }
    }
}

/// The name of a method that is not read.
pub(super) fn method_name(number: u16) -> String {
    let name = match number {
        1 => "shrink",
        2..=5 => "reduce",
        6 => "implode",
        9 => "deflate64",
        12 => "bzip2",
        14 => "LZMA",
        20 | 93 => "zstd",
        95 => "xz",
        98 => "PPMd",
        99 => "AES encryption",
        _ => return format!("number {number}"),
    };
    name.to_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
