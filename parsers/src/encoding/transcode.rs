//! Text of any encoding in, UTF-8 out, for a decoder behind it.
//!
//! Promises: the result does not depend on how the bytes were cut; memory is constant; a byte order mark stays what it
//! is, so that the decoder behind sees it as that of UTF-8; each line in which something broke the rules of the encoding
//! is counted once.

use encoding_rs::{Decoder, DecoderResult};
use memchr::{memchr, memchr_iter, memchr2_iter};

use crate::decode::Decode;
use crate::encoding::Encoding;
use crate::error::Error;
use crate::partial::Partial;
use crate::rows::Warnings;
use crate::summary::WarningKind;

/// The size of a piece of output: large enough to amortise a call, small enough for the cache.
const PIECE_BYTES: usize = 32 << 10;

/// Less room than this at the end of a piece is not worth a call, and may be too little for any character.
const ROOM_MIN: usize = 64;

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// A decoder of UTF-8, behind the way there.
pub(crate) struct Transcoded<D> {
    transcoder: Transcoder,
    inner: D,
}

impl Transcoded<Box<dyn Decode>> {
    /// `inner` has been given what the transcoder made so far.
    pub(crate) fn new(transcoder: Transcoder, inner: Box<dyn Decode>) -> Transcoded<Box<dyn Decode>> {
        Transcoded { transcoder, inner }
    }
}

impl Decode for Transcoded<Box<dyn Decode>> {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.transcoder.take(bytes, false, |text| self.inner.feed(text))
    }

    fn partial(mut self: Box<Self>) -> Result<Partial, Error> {
        self.transcoder.take(&[], true, |text| self.inner.feed(text))?;
        let mut partial = self.inner.partial()?;
        let name = self.transcoder.encoding.name();
        match &mut partial.dialect {
            Some(dialect) => dialect.encoding = name,
            None => partial.encoding = Some(name),
        }
        partial.rows.warnings.merge(self.transcoder.broken);
        Ok(partial)
    }
}

/// The way from one encoding to UTF-8.
pub(crate) struct Transcoder {
    encoding: Encoding,
    decoder: Decoder,
    piece: Vec<u8>,
    /// The line at the end of what came out so far.
    line: u64,
    after_return: bool,
    /// Lines with something that broke the rules, and the last of them.
    broken: Warnings,
    last_broken: u64,
}

impl Transcoder {
    pub(crate) fn new(encoding: Encoding) -> Transcoder {
        Transcoder {
            encoding,
            decoder: encoding.0.new_decoder_without_bom_handling(),
            piece: vec![0; PIECE_BYTES],
            line: 1,
            after_return: false,
            broken: Warnings::default(),
            last_broken: 0,
        }
    }

    /// Takes in the next bytes, `last` at the end of the file, and gives the text in pieces to `sink`.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        last: bool,
        mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut filled, mut counted) = (0, 0);
        loop {
            let room = &mut self.piece[filled..];
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(bytes, room, last);
            bytes = &bytes[read..];
            filled += written;
            let is_broken = matches!(result, DecoderResult::Malformed(..));
            if is_broken {
                self.count(counted, filled);
                counted = filled;
                self.note();
                // There is room: a decoder stops short of the end of what it may write to.
                if let Some(room) = self.piece.get_mut(filled..filled + REPLACEMENT.len()) {
                    room.copy_from_slice(REPLACEMENT);
                    filled += REPLACEMENT.len();
                }
            }
            if is_broken && filled + ROOM_MIN <= self.piece.len() {
                continue;
            }
            self.count(counted, filled);
            sink(&self.piece[..filled])?;
            (filled, counted) = (0, 0);
            if result == DecoderResult::InputEmpty {
                return Ok(());
            }
        }
    }

    /// Counts the lines that end in this part of the piece, by LF, CRLF or CR.
    fn count(&mut self, start: usize, end: usize) {
        let text = &self.piece[start..end];
        let Some(&last) = text.last() else { return };
        if !self.after_return && memchr(b'\r', text).is_none() {
            self.line += memchr_iter(b'\n', text).count() as u64;
        } else {
            let begins = |at: usize| if at == 0 { self.after_return } else { text[at - 1] == b'\r' };
            let ends = memchr2_iter(b'\n', b'\r', text).filter(|&at| text[at] == b'\r' || !begins(at));
            self.line += ends.count() as u64;
        }
        self.after_return = last == b'\r';
    }

    fn note(&mut self) {
        if self.last_broken != self.line {
            self.broken.note(WarningKind::InvalidEncoding, self.line);
            self.last_broken = self.line;
        }
    }
}
