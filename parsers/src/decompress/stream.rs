//! The one loop that unpacks, for every codec: pieces, limits, order of errors.
//!
//! Promises: the decoder behind gets pieces whose ends follow from the file alone; what came out before the trouble
//! reaches it first, so that the first error of a file wins; a limit is met at the same byte however the input was cut.
//! Never: two codecs with loops of their own.

use crate::both::both;
use crate::decode::Decode;
use crate::decompress::kinds::{self, Kind};
use crate::decompress::{bzip2, gzip, lz4, xz, zip, zstd};
use crate::error::{Error, ErrorKind};
use crate::format::Compression;
use crate::limits::Limits;
use crate::partial::Partial;

/// The size of a piece of output: a round of CSV's batches, so that one thread unpacks while the other reads, and both have
/// much to do before they wait for one another.
const PIECE_BYTES: usize = 2 << 20;

/// What a stream holds besides the window of its codec: two pieces, and a codec's tables and buffers of blocks.
pub(crate) const STREAM_BYTES: u64 = (2 * PIECE_BYTES + (1 << 20)) as u64;

/// The ratio is looked at after every so many bytes of input, counted from the start of the file: places
/// that do not depend on how the input was cut. Between them only what is certain by the next one is refused.
const CHECK_BYTES: u64 = 16 << 10;

/// An expansion up to here is harmless whatever its ratio.
pub(super) const HARMLESS_BYTES: u64 = 16 << 20;

/// A codec without input and output of its own.
pub(super) trait Unpack: Send {
    /// Takes some of the input and writes some of the output, at least one byte of either if there is any to be had. What
    /// can come out of the input so far comes out, as far as there is room, and does not depend on how it was cut.
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Step;

    /// Whether the file may end here.
    fn end(&mut self) -> Result<(), Trouble>;

    /// The name of what is about to come out, once, where the file has one.
    fn named(&mut self) -> Option<String> {
        None
    }
}

/// What one call did.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    /// What stopped it, after so much was written.
    pub(super) trouble: Option<Trouble>,
}

/// What is wrong with a compressed file; where is known to the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    kind: ErrorKind,
    what: String,
}

impl Trouble {
    pub(super) fn new(kind: ErrorKind, what: impl Into<String>) -> Trouble {
        Trouble { kind, what: what.into() }
    }

    pub(super) fn corrupt(what: impl Into<String>) -> Trouble {
        Trouble::new(ErrorKind::Corrupt, what)
    }

    /// Codecs ask for memory within the limits: what is missing is the machine's.
    pub(super) fn no_memory() -> Trouble {
        Trouble::new(ErrorKind::Internal, "there is no memory to unpack the file with")
    }
}

impl From<Trouble> for Step {
    fn from(trouble: Trouble) -> Step {
        Step { trouble: Some(trouble), ..Step::default() }
    }
}

/// A compressed file on its way to a decoder.
pub(super) struct Stream<D> {
    packed: Packed,
    contents: Contents<D>,
    /// Full, and not handed on yet: that is done while the next one fills.
    full: Piece,
    filling: Piece,
}

impl<D: Decode> Stream<D> {
    pub(super) fn new(compression: Compression, inner: D, limits: &Limits) -> Result<Stream<D>, Error> {
        let window = limits.window_bytes_max;
        let codec: Result<Box<dyn Unpack>, Trouble> = match compression {
            Compression::None => Err(Trouble::new(ErrorKind::Internal, "there is nothing to unpack")),
            Compression::Gzip => Ok(Box::new(gzip::Gzip::new())),
            Compression::Zstd => zstd::Zstd::new(window).map(|codec| Box::new(codec) as _),
            Compression::Bzip2 => Ok(Box::new(bzip2::Bzip2::new())),
            Compression::Xz => xz::Xz::new(window).map(|codec| Box::new(codec) as _),
            Compression::Lz4 => Ok(Box::new(lz4::Lz4::new())),
            Compression::Zip => Ok(Box::new(zip::Zip::new())),
        };
        let codec = codec.map_err(|trouble| Error::new(trouble.kind, trouble.what))?;
        let packed = Packed { codec, limits: limits.clone(), read: 0, written: 0, to_check: false };
        let contents = Contents { inner, compression, head: Some(Vec::new()) };
        Ok(Stream { packed, contents, full: Piece::new(), filling: Piece::new() })
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.step(&mut bytes)?;
        }
        Ok(())
    }

    /// Fills a piece, while the one before is handed on; says whether it became full.
    fn step(&mut self, bytes: &mut &[u8]) -> Result<bool, Error> {
        let Stream { packed, contents, full, filling } = self;
        let filled = if full.filled == 0 {
            packed.fill(bytes, filling)
        } else {
            let (fed, filled) = both(|| contents.feed(full.bytes()), || packed.fill(bytes, filling));
            fed?;
            filled
        };
        full.filled = 0;
        if let Some(name) = packed.codec.named() {
            contents.inner.named(&name);
        }
        if let Err(error) = filled {
            contents.feed(filling.bytes())?;
            contents.settle()?;
            return Err(error);
        }
        let is_full = filling.room().is_empty();
        if is_full {
            std::mem::swap(full, filling);
        }
        Ok(is_full)
    }

    pub(super) fn partial(mut self) -> Result<Partial, Error> {
        while self.step(&mut &[][..])? {}
        let Stream { mut packed, mut contents, filling, .. } = self;
        contents.feed(filling.bytes())?;
        contents.settle()?;
        packed.check_ratio(packed.read)?;
        packed.codec.end().map_err(|trouble| packed.error(trouble))?;
        // The buffers go before the decoder sorts its tables.
        drop((packed, filling));
        Box::new(contents.inner).partial()
    }
}

/// Some output.
struct Piece {
    bytes: Vec<u8>,
    filled: usize,
}

impl Piece {
    fn new() -> Piece {
        Piece { bytes: vec![0; PIECE_BYTES], filled: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }
}

/// The compressed side: the codec, and what went through it.
struct Packed {
    codec: Box<dyn Unpack>,
    limits: Limits,
    read: u64,
    written: u64,
    /// The ratio is to be looked at once all output is out that the input so far has.
    to_check: bool,
}

impl Packed {
    /// Unpacks until the piece is full or the input used up.
    fn fill(&mut self, bytes: &mut &[u8], piece: &mut Piece) -> Result<(), Error> {
        loop {
            let room = piece.room();
            if room.is_empty() {
                return self.check_ratio(self.read.next_multiple_of(CHECK_BYTES));
            }
            let until_check = if self.to_check { 0 } else { CHECK_BYTES - self.read % CHECK_BYTES };
            let input = &bytes[..bytes.len().min(until_check as usize)];
            let step = self.codec.unpack(input, room);
            *bytes = &bytes[step.read..];
            self.read += step.read as u64;
            self.to_check |= step.read > 0 && self.read.is_multiple_of(CHECK_BYTES);
            let allowed = (self.limits.decompressed_bytes_max - self.written).min(step.written as u64);
            self.written += allowed;
            piece.filled += allowed as usize;
            if allowed < step.written as u64 {
                let max = self.limits.decompressed_bytes_max;
                let message = format!("the file unpacks to more than {max} bytes");
                return Err(Error::new(ErrorKind::Limit, message));
            }
            if let Some(trouble) = step.trouble {
                return Err(self.error(trouble));
            }
            let used_up = step.read == input.len();
            if used_up && !piece.room().is_empty() {
                if self.to_check {
                    self.to_check = false;
                    self.check_ratio(self.read)?;
                }
                if bytes.is_empty() {
                    return Ok(());
                }
            } else if step.read == 0 && step.written == 0 {
                return Err(self.error(Trouble::corrupt("the compressed file does not go on")));
            }
        }
    }

    /// Compares what came out with so much of input.
    fn check_ratio(&self, read: u64) -> Result<(), Error> {
        let max = self.limits.decompressed_ratio_max;
        if self.written > HARMLESS_BYTES && self.written > read.saturating_mul(max) {
            let message = format!("the file unpacks to more than {max} times its size: a decompression bomb");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(())
    }

    /// Only what was unpacked says where: how far a codec has read ahead depends on how its input was cut.
    fn error(&self, trouble: Trouble) -> Error {
        let Trouble { kind, mut what } = trouble;
        if kind == ErrorKind::Corrupt {
            what = format!("{what} (after {} unpacked bytes)", self.written);
        }
        Error::new(kind, what)
    }
}

/// The plain side: the decoder, behind a look at what came out first.
struct Contents<D> {
    inner: D,
    compression: Compression,
    /// The first bytes, held back until they tell.
    head: Option<Vec<u8>>,
}

impl<D: Decode> Contents<D> {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(head) = &mut self.head else {
            return self.inner.feed(bytes);
        };
        let (now, later) = bytes.split_at(bytes.len().min(kinds::HEAD_BYTES - head.len()));
        head.extend_from_slice(now);
        if head.len() < kinds::HEAD_BYTES {
            return Ok(());
        }
        self.settle()?;
        self.inner.feed(later)
    }

    /// Hands the head on, unless it is compressed again: that would be read as one wild header.
    fn settle(&mut self) -> Result<(), Error> {
        let Some(head) = self.head.take() else {
            return Ok(());
        };
        let inner = match kinds::of(&head)? {
            Kind::Plain => return self.inner.feed(&head),
            Kind::Packed(inner) => inner.as_str(),
            Kind::Skippable { .. } => "zstd or lz4",
        };
        let message = format!(
            "the file is compressed twice: {inner} within {}; unpack it once before it is stored",
            self.compression.as_str()
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
