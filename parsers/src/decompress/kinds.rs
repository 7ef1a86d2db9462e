//! What the first bytes of a file say about its compression.
//!
//! Promise: the answer follows from the head alone, and text is never taken for anything else: every mark has bytes that
//! no line of text begins with, or is ten bytes long.

use crate::error::{Error, ErrorKind};
use crate::format::Compression;

/// How much of a file tells: the mark of a tar archive lies that far behind its first byte.
pub(super) const HEAD_BYTES: usize = 512;

/// A file may end within a mark; so many bytes of it are enough to know it by.
const MARK_BYTES_MIN: usize = 4;

/// How a frame begins that zstd and lz4 skip, in its first byte with a number of sixteen.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

const MARKS: [(&[u8], Compression); 9] = [
    (b"\x1f\x8b", Compression::Gzip),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    // With the mark of the first block, or of the end where there is no block.
    (b"BZh?\x31\x41\x59\x26\x53\x59", Compression::Bzip2),
    (b"BZh?\x17\x72\x45\x38\x50\x90", Compression::Bzip2),
    (b"\xfd7zXZ\x00", Compression::Xz),
    (b"\x04\x22\x4d\x18", Compression::Lz4),
    (b"PK\x03\x04", Compression::Zip),
    // Zip archives without members.
    (b"PK\x05\x06", Compression::Zip),
    (b"PK\x06\x06", Compression::Zip),
];

/// What is known and not read.
const FOREIGN: [(&[u8], &str); 8] = [
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x9d", "compressed by `compress`"),
    (b"LZIP\x01", "compressed by lzip"),
    (b"\x5d\x00\x00", "compressed by lzma, the form before xz"),
    (b"\x02\x21\x4c\x18", "lz4 in its old form, without frames"),
    (b"PK\x07\x08", "a part of a zip archive that was split"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by snappy"),
];

/// What a file is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Packed(Compression),
    /// It begins with a frame to skip, of so many bytes.
    Skippable {
        bytes: u64,
    },
}

/// Looks at the first [`HEAD_BYTES`] of a file, or at all of a shorter one. An archive of a kind that is not read is an
/// error.
pub(super) fn of(head: &[u8]) -> Result<Kind, Error> {
    if let Some((_, what)) = FOREIGN.iter().find(|(mark, _)| head.starts_with(mark)) {
        let message =
            format!("the file is {what}, which is not read: gzip, zstd, bzip2, xz, lz4 and zip are");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    // "ustar" is in every tar archive of this century.
    if head.get(257..262) == Some(b"ustar") {
        let message = "the file is a tar archive, which is not read: store its files one by one";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if let Some((_, compression)) = MARKS.iter().find(|(mark, _)| begins(head, mark)) {
        return Ok(Kind::Packed(*compression));
    }
    Ok(match head {
        [0x50..=0x5f, rest @ ..] if rest.starts_with(&SKIPPABLE) => {
            let length = head[4..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            Kind::Skippable { bytes: 8 + u64::from(length) }
        }
        _ => Kind::Plain,
    })
}

/// Whether a file begins with this mark, in which `?` stands for a digit that is not 0. The file may end in the mark.
fn begins(head: &[u8], mark: &[u8]) -> bool {
    let agrees = |(byte, mark): (&u8, &u8)| match mark {
        b'?' => matches!(byte, b'1'..=b'9'),
        _ => byte == mark,
    };
    head.len() >= mark.len().min(MARK_BYTES_MIN) && head.iter().zip(mark).all(agrees)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn text_is_plain_and_marks_are_known_as_far_as_they_are_there() {
        let plain: [&[u8]; 12] = [
            b"",
            b"a,b\n1,2\n",
            b"BZh",
            b"BZh0",
            b"BZh9\n1\n",
            b"BZh91AY\n",
            b"PK",
            b"PK,name\n",
            b"Rar!",
            b"7z,a\n",
            b"\x1f",
            b"LZIP\n",
        ];
        for head in plain {
            assert_eq!(of(head).unwrap(), Kind::Plain, "{head:?}");
        }
        for (mark, compression) in MARKS {
            let mark: Vec<u8> = mark.iter().map(|byte| if *byte == b'?' { b'9' } else { *byte }).collect();
            for length in mark.len().min(4)..=mark.len() {
                assert_eq!(of(&mark[..length]).unwrap(), Kind::Packed(compression), "{length} of {mark:?}");
            }
        }
        assert_eq!(of(b"\x5a\x2a\x4d\x18\x03\x01\x00\x00abc").unwrap(), Kind::Skippable { bytes: 8 + 259 });
        assert_eq!(of(b"\x50\x2a\x4d\x18\x03\x00").unwrap(), Kind::Skippable { bytes: 8 }, "cut short");
    }

    #[test]
    fn what_is_known_and_not_read_is_named() {
        for (mark, what) in FOREIGN {
            let error = of(mark).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(what), "{error}");
        }
        let mut tar = vec![0; HEAD_BYTES];
        tar[..5].copy_from_slice(b"a.csv");
        tar[257..262].copy_from_slice(b"ustar");
        assert!(of(&tar).unwrap_err().to_string().contains("tar archive"));
    }
}
