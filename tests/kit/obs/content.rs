//! The bytes of an object: stored, or made on demand.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use md5::{Digest, Md5};

/// Fills a buffer with the bytes of an object from an offset on. Must depend on the offset alone.
pub type Generator = Arc<dyn Fn(u64, &mut [u8]) + Send + Sync>;

/// Most bytes made at once.
const PIECE_BYTES_MAX: u64 = 64 << 10;

/// Bytes of an object or of an answer. Clones share them.
#[derive(Clone)]
pub(super) enum Content {
    Stored(Bytes),
    Generated { length: u64, generator: Generator },
}

impl Content {
    pub fn length(&self) -> u64 {
        match self {
            Content::Stored(bytes) => bytes.len() as u64,
            Content::Generated { length, .. } => *length,
        }
    }

    /// The bytes at the start of `range`, at least one unless it is empty; `range` must lie within the
    /// content.
    pub fn piece(&self, range: Range<u64>) -> Bytes {
        match self {
            Content::Stored(bytes) => bytes.slice(range.start as usize..range.end as usize),
            Content::Generated { generator, .. } => {
                let mut piece = vec![0; (range.end - range.start).min(PIECE_BYTES_MAX) as usize];
                generator(range.start, &mut piece);
                piece.into()
            }
        }
    }

    /// All the bytes of `range`.
    pub fn bytes(&self, range: Range<u64>) -> Bytes {
        match self {
            Content::Stored(_) => self.piece(range),
            Content::Generated { generator, .. } => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                generator(range.start, &mut bytes);
                bytes.into()
            }
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.length())
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Content::Stored(bytes)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Content::Stored(text.into())
    }
}

/// The MD5 of `bytes`.
pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
