//! Parquet: the footer first, then the pages of all columns in the order of the file.
//!
//! Promises: where the caller can jump, the file is never held, whatever the size of its row groups: of each column that
//! is read there is a page and a dictionary. Where it cannot, a file is held whole up to a bound. Both ways read the same
//! pages together, so they give the same summary.

mod body;
mod chunks;
mod delta;
mod footer;
mod pages;
mod thrift;
mod units;

use bytes::Bytes;

use self::body::Body;
use self::footer::Footer;
use crate::columnar::malformed;
use crate::decode::Decode;
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::partial::Partial;

/// At the beginning and the end of a file.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";
/// The same of a file whose footer is encrypted.
const MAGIC_ENCRYPTED: &[u8; 4] = b"PARE";
/// At the end: the length of the footer, and the magic number.
const ENDING_BYTES: usize = 8;
/// The first look at the end of a file: most footers fit.
const LOOK_BYTES: u64 = 64 << 10;
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
    /// The pages, and the place of the next byte.
    Pages { body: Box<Body>, at: u64, size: u64 },
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
        let bytes = Bytes::from(std::mem::take(bytes));
        let start = (footer - *from) as usize;
        let footer_only = bytes.slice(start..bytes.len() - ENDING_BYTES);
        let body = Box::new(Body::new(Footer::new(footer_only, footer, &self.limits)?, &self.limits)?);
        let size = *size;
        let at = body.position().unwrap_or(size);
        self.jump = Some(at);
        self.stage = Stage::Pages { body, at, size };
        Ok(())
    }
}

/// Where the footer begins in a file of this size that ends with these bytes.
fn footer_bytes(end: &[u8], size: u64, limits: &Limits) -> Result<u64, Error> {
    let Some((len, magic)) = end.last_chunk::<ENDING_BYTES>().map(|ending| ending.split_at(4)) else {
        return Err(malformed("the Parquet file is cut short: it has no footer"));
    };
    if magic == MAGIC_ENCRYPTED {
        return Err(Error::new(ErrorKind::Unsupported, "the Parquet file is encrypted"));
    }
    if magic != MAGIC {
        return Err(malformed("the Parquet file is cut short or damaged: it does not end in PAR1"));
    }
    let len = len.first_chunk().map_or(0, |len| u64::from(u32::from_le_bytes(*len)));
    let max = limits.whole_bytes_max as u64 / 4;
    if len > max {
        let message = format!(
            "the footer of the Parquet file has {len} bytes, more than {max}: it has too many row groups"
        );
        return Err(Error::new(ErrorKind::Limit, message));
    }
    // In front of it there is at least the first magic number.
    match size.checked_sub(len + ENDING_BYTES as u64) {
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
            Stage::Pages { body, at, size } => {
                self.jump = pass(body, at, *size, bytes)?;
            }
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
                let held = Bytes::from(held);
                let bytes = held.slice(footer as usize..held.len() - ENDING_BYTES);
                let mut body = Body::new(Footer::new(bytes, footer, &self.limits)?, &self.limits)?;
                while let Some(place) = body.position() {
                    let Some(bytes) = held.get(place as usize..).filter(|bytes| !bytes.is_empty()) else {
                        break;
                    };
                    body.feed(bytes)?;
                }
                body.partial()
            }
            Stage::End { .. } => Err(malformed("the Parquet file is cut short: its end is missing")),
            Stage::Pages { body, .. } => body.partial(),
        }
    }
}

/// Hands the bytes at `at` to the body as far as it wants them, and moves on; says so when that is to somewhere else.
fn pass(body: &mut Body, at: &mut u64, size: u64, mut bytes: &[u8]) -> Result<Option<u64>, Error> {
    loop {
        // When all pages are read there is nothing more to be had.
        let place = body.position().unwrap_or(size);
        match place.checked_sub(*at) {
            Some(gap) if gap <= bytes.len() as u64 + PASSED_BYTES_MAX => {
                let passed = bytes.len().min(gap as usize);
                *at += passed as u64;
                bytes = &bytes[passed..];
            }
            _ => {
                *at = place;
                return Ok(Some(place));
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let taken = body.feed(bytes)?;
        if taken == 0 {
            // The file goes on behind its end: it is being written.
            return Ok(None);
        }
        *at += taken as u64;
        bytes = &bytes[taken..];
    }
}
