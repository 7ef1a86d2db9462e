//! Which decoder a file needs: by its first bytes, then by its name. Text is UTF-8 from here on.
//!
//! Promise: the choice follows from the name and the first [`HEAD_BYTES`] of what was unpacked, however they were cut.

#[cfg(feature = "columnar")]
use crate::columnar::{IpcDecoder, ParquetDecoder};
use crate::csv::CsvDecoder;
use crate::decode::Decode;
use crate::encoding::{Encoding, Transcoded, Transcoder};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::json::JsonDecoder;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::text::{self, LinesDecoder};

/// How much of a file is looked at: some hundred records of most files, and a read that costs nothing.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// A decoder that is chosen when enough of the file is there.
pub(crate) struct Sniffed {
    name: String,
    limits: Limits,
    encoding: Option<Encoding>,
    state: State,
}

enum State {
    Head(Vec<u8>),
    Chosen(Box<dyn Decode>),
}

impl Sniffed {
    /// Of a file with this name, whose text is in this encoding if one is given.
    pub(crate) fn new(name: &str, limits: &Limits, encoding: Option<Encoding>) -> Sniffed {
        Sniffed { name: name.to_owned(), limits: limits.clone(), encoding, state: State::Head(Vec::new()) }
    }
}

impl Decode for Sniffed {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let head = match &mut self.state {
            State::Chosen(decoder) => return decoder.feed(bytes),
            State::Head(head) => head,
        };
        let (now, later) = bytes.split_at(bytes.len().min(HEAD_BYTES - head.len()));
        head.extend_from_slice(now);
        if head.len() < HEAD_BYTES {
            return Ok(());
        }
        let head = std::mem::take(head);
        let mut decoder = choose(&self.name, &self.limits, self.encoding, &head)?;
        decoder.feed(later)?;
        self.state = State::Chosen(decoder);
        Ok(())
    }

    /// The name of the file comes first, that of its member helps where it tells no format.
    fn named(&mut self, member: &str) {
        if Format::from_name(&self.name).is_none() {
            self.name = format!("{}/{member}", self.name);
        }
    }

    fn jump(&mut self, size: u64) -> Option<u64> {
        match &mut self.state {
            State::Chosen(decoder) => decoder.jump(size),
            State::Head(_) => None,
        }
    }

    fn partial(self: Box<Self>) -> Result<Partial, Error> {
        match self.state {
            State::Head(head) => choose(&self.name, &self.limits, self.encoding, &head)?.partial(),
            State::Chosen(decoder) => decoder.partial(),
        }
    }
}

/// Hands the head to the decoder it needs.
fn choose(
    name: &str,
    limits: &Limits,
    encoding: Option<Encoding>,
    head: &[u8],
) -> Result<Box<dyn Decode>, Error> {
    // What is no text has no encoding.
    let format = Format::from_content(head).or_else(|| Format::from_name(name));
    if matches!(format, Some(Format::Parquet | Format::Arrow)) {
        return choose_text(name, limits, head);
    }
    let encoding = encoding.map_or_else(|| Encoding::of(head), Ok)?;
    if encoding.is_utf8() {
        return choose_text(name, limits, head);
    }
    let (mut transcoder, mut text) = (Transcoder::new(encoding), Vec::new());
    transcoder.take(head, false, |piece| {
        text.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(Box::new(Transcoded::new(transcoder, choose_text(name, limits, &text)?)))
}

/// The same for text in UTF-8.
fn choose_text(name: &str, limits: &Limits, head: &[u8]) -> Result<Box<dyn Decode>, Error> {
    let named = || Format::from_name(name).or_else(|| Format::from_bare_name(name));
    let Some(format) = Format::from_content(head).or_else(named) else {
        let message = format!("no decoder for {name:?}: neither its name nor its first bytes tell a format");
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let format = if format == Format::Text { text::guess(head) } else { format };
    let mut decoder: Box<dyn Decode> = match format {
        Format::Csv | Format::Tsv => Box::new(CsvDecoder::new(format, limits)),
        Format::Json | Format::Jsonl => Box::new(JsonDecoder::new(Format::from_name(name), head, limits)),
        Format::Log | Format::Text => Box::new(LinesDecoder::new(format, limits)),
        #[cfg(feature = "columnar")]
        Format::Parquet => Box::new(ParquetDecoder::new(limits)),
        #[cfg(feature = "columnar")]
        Format::Arrow => Box::new(IpcDecoder::new(limits)),
        #[cfg(not(feature = "columnar"))]
        Format::Parquet | Format::Arrow => {
            let message = format!("{format} cannot be read: the parsers were built without `columnar`");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    decoder.feed(head)?;
    Ok(decoder)
}
