//! Takes compressed files apart. The only place that names a decompressor.
//!
//! Promises: compression is known by the first bytes, never by the name; all members, frames and streams of a file are
//! read; a file that is cut short or damaged, or goes on with other bytes, is an error (sizes and checksums are verified
//! wherever the file has them); what unfolds to too much is refused early. The output never exists as a whole: each
//! piece goes on to the decoder, while the next one is unpacked.

mod bzip2;
mod gzip;
mod kinds;
mod lz4;
mod stream;
mod xz;
mod zip;
mod zstd;

use crate::decode::Decode;
use crate::decompress::kinds::Kind;
use crate::decompress::stream::Stream;
use crate::error::{Error, ErrorKind};
use crate::format::Compression;
use crate::limits::Limits;
use crate::partial::Partial;

pub(crate) use self::stream::STREAM_BYTES;

/// A decoder of plain bytes, behind whatever compression the file turns out to have.
pub(crate) struct Unpacked<D> {
    state: State<D>,
    limits: Limits,
    failed: Option<Error>,
}

enum State<D> {
    /// The first bytes, too few to tell.
    Unknown {
        inner: D,
        head: Vec<u8>,
        skipped: bool,
    },
    /// So many bytes of a frame that says nothing, at the beginning of the file.
    Skipping {
        inner: D,
        left: u64,
    },
    Plain(D),
    Packed(Compression, Box<Stream<D>>),
    /// While one state becomes another, and after an error.
    Spent,
}

impl<D: Decode> Unpacked<D> {
    pub(crate) fn new(inner: D, limits: &Limits) -> Unpacked<D> {
        let state = State::Unknown { inner, head: Vec::new(), skipped: false };
        Unpacked { state, limits: limits.clone(), failed: None }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Plain(inner) => return inner.feed(bytes),
                State::Packed(_, stream) => return stream.feed(bytes),
                State::Unknown { head, .. } => {
                    let (now, later) = bytes.split_at(bytes.len().min(kinds::HEAD_BYTES - head.len()));
                    head.extend_from_slice(now);
                    if head.len() == kinds::HEAD_BYTES {
                        self.begin()?;
                    }
                    later
                }
                State::Skipping { left, .. } => {
                    let (now, later) =
                        bytes.split_at(bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                    *left -= now.len() as u64;
                    if *left == 0 {
                        self.look_again();
                    }
                    later
                }
                State::Spent => return Err(spent()),
            };
        }
        Ok(())
    }

    /// Decides by the head, and hands it on.
    fn begin(&mut self) -> Result<(), Error> {
        let (inner, head, skipped) = match std::mem::replace(&mut self.state, State::Spent) {
            State::Unknown { inner, head, skipped } => (inner, head, skipped),
            other => {
                self.state = other;
                return Ok(());
            }
        };
        self.state = match kinds::of(&head)? {
            Kind::Packed(compression) => {
                let mut stream = Box::new(Stream::new(compression, inner, &self.limits)?);
                stream.feed(&head)?;
                State::Packed(compression, stream)
            }
            Kind::Skippable { bytes } => match usize::try_from(bytes).ok().and_then(|at| head.get(at..)) {
                Some(rest) => State::Unknown { inner, head: rest.to_vec(), skipped: true },
                None => State::Skipping { inner, left: bytes - head.len() as u64 },
            },
            Kind::Plain if skipped && !head.is_empty() => {
                let message = "after a frame to skip comes neither zstd nor lz4";
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            Kind::Plain => {
                let mut inner = inner;
                inner.feed(&head)?;
                State::Plain(inner)
            }
        };
        Ok(())
    }

    /// A frame was skipped: what follows tells.
    fn look_again(&mut self) {
        if let State::Skipping { inner, .. } = std::mem::replace(&mut self.state, State::Spent) {
            self.state = State::Unknown { inner, head: Vec::new(), skipped: true };
        }
    }

    fn end(&mut self) -> Result<Partial, Error> {
        // A frame to skip may be followed by another: each round takes one off the head.
        while matches!(self.state, State::Unknown { .. }) {
            self.begin()?;
        }
        match std::mem::replace(&mut self.state, State::Spent) {
            State::Plain(inner) => Box::new(inner).partial(),
            State::Packed(compression, stream) => {
                let mut partial = stream.partial()?;
                partial.compression = compression;
                Ok(partial)
            }
            State::Skipping { left, .. } => {
                let message = format!("the file is cut short: {left} bytes of a frame to skip are missing");
                Err(Error::new(ErrorKind::Corrupt, message))
            }
            State::Unknown { .. } | State::Spent => Err(spent()),
        }
    }
}

impl<D: Decode> Decode for Unpacked<D> {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.take(bytes);
        self.failed = result.as_ref().err().cloned();
        result
    }

    fn jump(&mut self, size: u64) -> Option<u64> {
        match &mut self.state {
            State::Plain(inner) => inner.jump(size),
            // Unpacking goes forward only.
            _ => None,
        }
    }

    fn partial(mut self: Box<Self>) -> Result<Partial, Error> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.end(),
        }
    }
}

/// Only a defect could bring us here: errors are repeated before.
fn spent() -> Error {
    Error::new(ErrorKind::Internal, "a decoder was used after its end")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
