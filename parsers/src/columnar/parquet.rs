//! Parquet: the footer first, then the chunks of all columns in the order of the file. The library takes both apart; what
//! they claim is looked at before it does (`claims`, `delta`, `footer`), since it believes them.
//!
//! Promises: where the caller can jump, the file is never held: there are some chunks of one row group in memory. Where it
//! cannot, a file is held whole up to a bound. Both ways read the same chunks together, so they give the same summary.

mod body;
mod chunks;
mod claims;
mod delta;
mod footer;
mod thrift;
mod units;

use bytes::Bytes;
use parquet::file::metadata::FooterTail;

use self::body::Body;
use self::footer::Footer;
use crate::columnar::malformed;
use crate::decode::Decode;
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::partial::Partial;

/// At the beginning and the end of a file.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";
/// At the end: the length of the footer, and the magic number.
const ENDING_BYTES: usize = 8;
/// The first look at the end of a file: most footers fit.
const LOOK_BYTES: u64 = 64 << 10;
/// The part of the memory that a footer may fill. The library makes at most twenty times as much of it, at a moment when
/// nothing else is there.
const FOOTER_SHARE: usize = 8;
/// Up to this size a file is held: to look at its end first would cost more.
const HELD_BYTES: u64 = 8 << 20;
/// Bytes that are passed over rather than jumped over: a request costs more than to read them.
const PASSED_BYTES_MAX: u64 = 1 << 20;

/// The push decoder of Parquet.
pub(crate) struct ParquetDecoder {
    limits: Limits,
    /// A file up to this size is held even where the caller can jump.
    held: u64,
    stage: Stage,
    /// Where the next bytes should come from, when that is not where the last ones ended.
    jump: Option<u64>,
}

enum Stage {
    /// All bytes so far.
    Held(Vec<u8>),
    /// The end of the file, from this place on.
    End { size: u64, from: u64, bytes: Vec<u8> },
    /// The chunks.
    Chunks(Box<Chunks>),
}

/// The chunks of a file that are taken one after another.
struct Chunks {
    body: Body,
    /// The bytes so far of the one that is wanted.
    chunk: Vec<u8>,
    /// The place of the next byte.
    at: u64,
    /// The size of the file.
    size: u64,
}

impl ParquetDecoder {
    pub(crate) fn new(limits: &Limits) -> ParquetDecoder {
        let held = HELD_BYTES.min(limits.whole_bytes_max as u64 / 2);
        ParquetDecoder { limits: limits.clone(), held, stage: Stage::Held(Vec::new()), jump: None }
    }

    /// One that never holds a file where the caller can jump.
    #[cfg(test)]
    pub(crate) fn always_jumping(limits: &Limits) -> ParquetDecoder {
        ParquetDecoder { held: 0, ..ParquetDecoder::new(limits) }
    }

    /// How much may be held of a file: the rest is for the pages that are unpacked.
    fn held_max(&self) -> usize {
        self.limits.whole_bytes_max / 2
    }

    /// The end of the file is here: the footer comes next, or what was missing of it.
    fn ended(&mut self) -> Result<(), Error> {
        let Stage::End { size, from, bytes } = &mut self.stage else { return Ok(()) };
        let footer = footer_bytes(bytes, *size, &self.limits)?;
        if footer < *from {
            self.jump = Some(footer);
            (*from, *bytes) = (footer, Vec::new());
            return Ok(());
        }
        let footer_only =
            bytes.get((footer - *from) as usize..bytes.len() - ENDING_BYTES).unwrap_or_default();
        let body = Body::new(Footer::new(footer_only, footer, &self.limits)?, &self.limits)?;
        let mut chunks = Chunks { body, chunk: Vec::new(), at: *size, size: *size };
        // What comes now is the end of the file.
        self.jump = chunks.feed(&[])?;
        self.stage = Stage::Chunks(Box::new(chunks));
        Ok(())
    }
}

/// Where the footer begins in a file of this size that ends with these bytes.
fn footer_bytes(end: &[u8], size: u64, limits: &Limits) -> Result<u64, Error> {
    let Some(ending) = end.last_chunk::<ENDING_BYTES>() else {
        return Err(malformed("the Parquet file is cut short: it has no footer"));
    };
    let tail = FooterTail::try_new(ending)
        .map_err(|_| malformed("the Parquet file is cut short or damaged: it does not end in PAR1"))?;
    if tail.is_encrypted_footer() {
        return Err(Error::new(ErrorKind::Unsupported, "the Parquet file is encrypted"));
    }
    let (len, max) = (tail.metadata_length(), limits.whole_bytes_max / FOOTER_SHARE);
    if len > max {
        let message = format!(
            "the footer of the Parquet file has {len} bytes, more than {max}. Write the file with larger row groups, or as \
             several files"
        );
        return Err(Error::new(ErrorKind::Limit, message));
    }
    // In front of it there is at least the first magic number.
    match size.checked_sub((len + ENDING_BYTES) as u64) {
        Some(start) if start >= MAGIC.len() as u64 => Ok(start),
        _ => Err(malformed("the Parquet file is cut short: its footer is longer than itself")),
    }
}

impl Decode for ParquetDecoder {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let held_max = self.held_max();
        match &mut self.stage {
            Stage::Held(held) => {
                if held.len() + bytes.len() > held_max {
                    let message = format!(
                        "more than {held_max} bytes of Parquet can be read only from a file or an object that is not \
                         compressed, since the footer comes last: not from a pipe or from within an archive"
                    );
                    return Err(Error::new(ErrorKind::Limit, message));
                }
                held.extend_from_slice(bytes);
            }
            Stage::End { size, from, bytes: end } => {
                end.extend_from_slice(bytes);
                if *from + end.len() as u64 >= *size {
                    self.ended()?;
                }
            }
            Stage::Chunks(chunks) => self.jump = chunks.feed(bytes)?,
        }
        Ok(())
    }

    fn jump(&mut self, size: u64) -> Option<u64> {
        if let Stage::Held(held) = &mut self.stage
            && size > self.held
            && !held.is_empty()
        {
            let from = size.saturating_sub(LOOK_BYTES);
            self.stage = Stage::End { size, from, bytes: Vec::new() };
            return Some(from);
        }
        self.jump.take()
    }

    fn partial(self: Box<Self>) -> Result<Partial, Error> {
        match self.stage {
            Stage::Held(held) if held.is_empty() => Err(Error::new(ErrorKind::Empty, "the file is empty")),
            Stage::Held(held) => {
                let size = held.len() as u64;
                let footer = footer_bytes(&held, size, &self.limits)?;
                let bytes = held.get(footer as usize..held.len() - ENDING_BYTES).unwrap_or_default();
                let mut body = Body::new(Footer::new(bytes, footer, &self.limits)?, &self.limits)?;
                let held = Bytes::from(held);
                while let Some(place) = body.wanted() {
                    // The footer was checked: chunks lie in front of it.
                    body.take(held.slice(place.start as usize..place.end as usize))?;
                }
                body.partial()
            }
            Stage::End { .. } => Err(malformed("the Parquet file is cut short: its end is missing")),
            Stage::Chunks(chunks) => chunks.body.partial(),
        }
    }
}

impl Chunks {
    /// Takes in bytes, as far as they are wanted; says where to go on, when that is somewhere else.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<u64>, Error> {
        while let Some(wanted) = self.body.wanted() {
            let place = wanted.start + self.chunk.len() as u64;
            match place.checked_sub(self.at) {
                Some(gap) if gap <= bytes.len() as u64 + PASSED_BYTES_MAX => {
                    let passed = bytes.len().min(gap as usize);
                    self.at += passed as u64;
                    bytes = &bytes[passed..];
                }
                _ => {
                    self.at = place;
                    return Ok(Some(place));
                }
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            // The body wants nothing that does not fit into memory.
            let len = (wanted.end - wanted.start) as usize;
            if self.chunk.is_empty() {
                self.chunk.reserve_exact(len);
            }
            let (now, later) = bytes.split_at(bytes.len().min(len - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            self.at += now.len() as u64;
            bytes = later;
            if self.chunk.len() == len {
                self.body.take(std::mem::take(&mut self.chunk).into())?;
            }
        }
        // There is nothing more to be had.
        let is_end = self.at >= self.size;
        self.at = self.size;
        Ok((!is_end).then_some(self.size))
    }
}
