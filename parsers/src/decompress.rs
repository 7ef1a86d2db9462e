//! Takes compressed files apart. The only place that names a decompressor.
//!
//! Promises: compression is known by the first bytes, never by the name; all members of a gzip are read;
//! a stream that is cut short or damaged is an error (each member carries a checksum and a length, and both
//! are verified); what unfolds to too much is refused early. The output never exists as a whole: each piece
//! goes on to the decoder at once.

use flate2::{Decompress, FlushDecompress, Status};

use crate::decode::Decode;
use crate::error::{Error, ErrorKind};
use crate::format::Compression;
use crate::limits::Limits;
use crate::summary::Summary;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The largest window there is, and so the one that reads every stream.
const WINDOW_BITS: u8 = 15;

/// The size of a piece of output: large enough to amortise a call, small enough for the cache.
const PIECE_BYTES: usize = 64 << 10;

/// The ratio is looked at after every so many bytes of input, counted from the start of the file: places
/// that do not depend on how the input was cut.
const CHECK_BYTES: u64 = 16 << 10;

/// An expansion up to here is harmless whatever its ratio.
const HARMLESS_BYTES: u64 = 16 << 20;

/// A decoder of plain bytes, behind whatever compression the file turns out to have.
pub(crate) struct Unpacked<D> {
    inner: D,
    state: State,
    limits: Limits,
    failed: Option<Error>,
}

enum State {
    /// The first bytes, too few to tell.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<Gzip>),
}

struct Gzip {
    inflate: Decompress,
    piece: Vec<u8>,
    /// Bytes read and written in all members.
    read: u64,
    written: u64,
    /// Between members: bytes of the next one's magic number seen, if they are not padding.
    between: Option<usize>,
    /// The first bytes that came out, too few to tell whether they are a gzip again.
    head: Vec<u8>,
}

impl<D: Decode> Unpacked<D> {
    pub(crate) fn new(inner: D, limits: &Limits) -> Unpacked<D> {
        Unpacked { inner, state: State::Unknown(Vec::new()), limits: limits.clone(), failed: None }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.state {
            State::Plain => self.inner.feed(bytes),
            State::Gzip(gzip) => gzip.take(bytes, &self.limits, &mut self.inner),
            State::Unknown(head) => {
                // Two bytes tell; the second piece of a file is rarely needed.
                let wanted = GZIP.len().saturating_sub(head.len()).min(bytes.len());
                head.extend_from_slice(&bytes[..wanted]);
                if head.len() < GZIP.len() {
                    return Ok(());
                }
                let head = std::mem::take(head);
                self.state = if head == GZIP { State::Gzip(Box::new(Gzip::new())) } else { State::Plain };
                self.take(&head)?;
                self.take(&bytes[wanted..])
            }
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

    fn finish(mut self: Box<Self>) -> Result<Summary, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let compression = match &self.state {
            State::Unknown(head) => {
                let head = head.clone();
                self.inner.feed(&head)?;
                Compression::None
            }
            State::Plain => Compression::None,
            State::Gzip(gzip) => {
                gzip.check_ratio(&self.limits)?;
                gzip.check_end()?;
                Compression::Gzip
            }
        };
        let mut summary = Box::new(self.inner).finish()?;
        summary.compression = compression;
        Ok(summary)
    }
}

impl Gzip {
    fn new() -> Gzip {
        Gzip {
            inflate: Decompress::new_gzip(WINDOW_BITS),
            piece: vec![0; PIECE_BYTES],
            read: 0,
            written: 0,
            between: None,
            head: Vec::new(),
        }
    }

    fn take(&mut self, mut bytes: &[u8], limits: &Limits, inner: &mut impl Decode) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.between.is_some() {
                bytes = self.next_member(bytes)?;
                continue;
            }
            let until_check = (CHECK_BYTES - self.read % CHECK_BYTES) as usize;
            let slice = &bytes[..until_check.min(bytes.len())];
            let n_in = self.inflate(slice, limits, inner)?;
            bytes = &bytes[n_in..];
            if self.read.is_multiple_of(CHECK_BYTES) {
                self.check_ratio(limits)?;
            }
        }
        Ok(())
    }

    /// Unpacks until the input is used up or the member ends; says how much was used.
    fn inflate(&mut self, input: &[u8], limits: &Limits, inner: &mut impl Decode) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(&input[used..], &mut self.piece, FlushDecompress::None);
            let n_in = (self.inflate.total_in() - in_before) as usize;
            let n_out = (self.inflate.total_out() - out_before) as usize;
            used += n_in;
            self.read += n_in as u64;
            // What came out before the trouble counts, so that the first error in the file wins.
            let allowed = (limits.decompressed_bytes_max - self.written).min(n_out as u64);
            self.written += allowed;
            self.refuse_gzip_within(allowed as usize)?;
            inner.feed(&self.piece[..allowed as usize])?;
            if allowed < n_out as u64 {
                let max = limits.decompressed_bytes_max;
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!("the file unpacks to more than {max} bytes"),
                ));
            }
            match status {
                Ok(Status::StreamEnd) => {
                    self.between = Some(0);
                    return Ok(used);
                }
                Ok(Status::Ok) if n_out == self.piece.len() => {}
                Ok(Status::Ok | Status::BufError) if used == input.len() => return Ok(used),
                Ok(Status::Ok) if n_in + n_out > 0 => {}
                Ok(_) => return Err(self.corrupt("the gzip stream does not go on")),
                Err(_) => return Err(self.corrupt("the gzip stream is damaged")),
            }
        }
    }

    /// Bytes that were compressed twice would be read as one wild header.
    fn refuse_gzip_within(&mut self, n_out: usize) -> Result<(), Error> {
        if self.head.len() < GZIP.len() {
            let wanted = (GZIP.len() - self.head.len()).min(n_out);
            self.head.extend_from_slice(&self.piece[..wanted]);
            if self.head == GZIP {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the file is compressed twice: gzip within gzip",
                ));
            }
        }
        Ok(())
    }

    /// After a member: zero bytes are padding, as gzip itself has it, and a magic number begins the next one.
    fn next_member<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let seen = self.between.unwrap_or(0);
        let byte = bytes[0];
        if seen == 0 && byte == 0 {
            self.read += 1;
            return Ok(&bytes[1..]);
        }
        if byte != GZIP[seen] {
            return Err(self.corrupt("after the gzip stream come bytes that are none"));
        }
        if seen + 1 < GZIP.len() {
            self.read += 1;
            self.between = Some(seen + 1);
            return Ok(&bytes[1..]);
        }
        self.between = None;
        self.inflate = Decompress::new_gzip(WINDOW_BITS);
        // The part of the magic number that is gone with earlier pieces; it yields no output.
        let head = &GZIP[..seen];
        if self.inflate.decompress(head, &mut self.piece, FlushDecompress::None).is_err() {
            return Err(self.corrupt("the gzip stream is damaged"));
        }
        Ok(bytes)
    }

    fn check_ratio(&self, limits: &Limits) -> Result<(), Error> {
        let max = limits.decompressed_ratio_max;
        if self.written > HARMLESS_BYTES && self.written > self.read.saturating_mul(max) {
            let message = format!(
                "the file unpacks to more than {max} times its size ({} bytes from {}): a decompression bomb",
                self.written, self.read
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), Error> {
        match self.between {
            Some(0) => Ok(()),
            _ => Err(self.corrupt("the gzip stream is cut short")),
        }
    }

    fn corrupt(&self, what: &str) -> Error {
        let message = format!("{what} (after {} compressed bytes, {} unpacked)", self.read, self.written);
        Error::new(ErrorKind::Corrupt, message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
