//! The one way in: a decoder is fed the bytes of a file, in pieces of any size, and ends in a summary.

use crate::error::Error;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::reading::Reading;
use crate::summary::Summary;

/// A push decoder: no I/O, no waiting, memory within its `Limits`.
///
/// After an error a decoder is spent: it answers everything with that error again.
pub trait Decode: Send {
    /// Takes in the next piece of the file. How the file is cut changes nothing.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// An archive says how the file is called whose bytes come next.
    fn named(&mut self, member: &str) {
        let _ = member;
    }

    /// For callers that can read a file of this size from any place: where the next piece should begin, when that is not
    /// where the last one ended. To be asked after each piece; who cannot jump never asks, and feeds all of the file.
    fn jump(&mut self, size: u64) -> Option<u64> {
        let _ = size;
        None
    }

    /// The end of the file: what was read, which can still be merged with that of others.
    fn partial(self: Box<Self>) -> Result<Partial, Error>;

    /// The end of the file: its summary.
    fn finish(self: Box<Self>) -> Result<Summary, Error> {
        Ok(self.partial()?.finish())
    }
}

/// The decoder of a file with this name. Compression and format are found in the bytes; the name tells the format when
/// they do not; delimiters, quotes and the like are found in the text. See [`Reading`] for files that somebody knows.
pub fn decoder(name: &str, limits: &Limits) -> Box<dyn Decode> {
    Reading::default().decoder(name, limits)
}

/// For tests: what a decoder makes of these bytes in pieces of these sizes, again and again.
#[cfg(test)]
pub(crate) fn fed(mut decoder: Box<dyn Decode>, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    let mut rest = bytes;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(size.clamp(1, rest.len()));
        decoder.feed(piece)?;
        rest = tail;
    }
    decoder.finish()
}
