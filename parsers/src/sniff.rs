//! Which decoder a file needs: by its first bytes, then by its name. Text is UTF-8 from here on.
//!
//! Promise: the choice follows from the name and the first [`HEAD_BYTES`] of what was unpacked, however they were cut.

#[cfg(feature = "columnar")]
use crate::columnar::{IpcDecoder, ParquetDecoder};
use crate::csv::{CsvDecoder, dialect};
use crate::decode::Decode;
use crate::encoding::{Encoding, Transcoded, Transcoder};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::json::JsonDecoder;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::reading::{Reading, Target};
use crate::text::{self, LinesDecoder};

/// How much of a file is looked at: some hundred records of most files, and a read that costs nothing.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// A decoder that is chosen when enough of the file is there.
pub(crate) struct Sniffed {
    name: String,
    limits: Limits,
    reading: Reading,
    /// Until a decoder has it that knows what to do with it.
    target: Target,
    state: State,
}

enum State {
    Head(Vec<u8>),
    Chosen(Box<dyn Decode>),
}

impl Sniffed {
    pub(crate) fn new(name: &str, limits: &Limits, reading: &Reading, target: Target) -> Sniffed {
        Sniffed {
            name: name.to_owned(),
            limits: limits.clone(),
            reading: reading.clone(),
            target,
            state: State::Head(Vec::new()),
        }
    }

    /// Hands the head to the decoder it needs; the file ends with it if it `is_whole`.
    fn choose(&mut self, head: &[u8], is_whole: bool) -> Result<Box<dyn Decode>, Error> {
        // What is no text has no encoding.
        let format = Format::from_content(head).or_else(|| Format::from_name(&self.name));
        if matches!(format, Some(Format::Parquet | Format::Arrow)) {
            return self.choose_text(head, is_whole);
        }
        let encoding = self.reading.encoding.map_or_else(|| Encoding::of(head), Ok)?;
        if encoding.is_utf8() {
            return self.choose_text(head, is_whole);
        }
        let (mut transcoder, mut text) = (Transcoder::new(encoding), Vec::new());
        transcoder.take(head, false, |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(Box::new(Transcoded::new(transcoder, self.choose_text(&text, is_whole)?)))
    }

    /// The same for text in UTF-8, and for what is no text.
    fn choose_text(&mut self, head: &[u8], is_whole: bool) -> Result<Box<dyn Decode>, Error> {
        let Sniffed { name, limits, reading, target, .. } = self;
        let text =
            || (Format::is_text_name(name) || Format::from_bare_name(name).is_some()).then_some(Format::Text);
        let named = Format::from_content(head).or_else(|| Format::from_name(name)).or_else(text);
        let Some(mut format) = named else {
            let message =
                format!("no decoder for {name:?}: neither its name nor its first bytes tell a format");
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        if format == Format::Text {
            format = text::guess(head);
        }
        if format == Format::Text && dialect::looks_delimited(head, is_whole) {
            format = Format::Csv;
        }
        if matches!(target, Target::Sink(_)) && !matches!(format, Format::Csv | Format::Tsv) {
            let message = format!("{name:?} is {format}: only delimited text can be converted");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut decoder: Box<dyn Decode> = match format {
            Format::Csv | Format::Tsv => {
                let dialect = dialect::detect(head, is_whole, format.delimiter(), reading);
                Box::new(CsvDecoder::new(format, dialect, limits, std::mem::take(target)))
            }
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
        let mut decoder = self.choose(&head, false)?;
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

    fn partial(mut self: Box<Self>) -> Result<Partial, Error> {
        let mut partial = match std::mem::replace(&mut self.state, State::Head(Vec::new())) {
            State::Head(head) => self.choose(&head, true)?.partial(),
            State::Chosen(decoder) => decoder.partial(),
        }?;
        match partial.rows.warnings.first() {
            // Decoders that know the place have said so already.
            Some(warning) if self.reading.strict => {
                let message = format!(
                    "{}, first in line {}, and the file is read strictly",
                    warning.kind.sentence(),
                    warning.first_line
                );
                Err(Error::new(ErrorKind::Malformed, message))
            }
            _ => {
                if let Target::Columns(Some(mut before)) = self.target {
                    before.merge(partial.rows)?;
                    partial.rows = *before;
                }
                Ok(partial)
            }
        }
    }
}
