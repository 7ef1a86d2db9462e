//! Arrow IPC, as a stream and as a file, which is a stream between magic numbers.
//!
//! Promises: one message is held at a time, and the dictionaries that are in use; what a message claims is checked
//! before memory is taken for it. Dictionaries have to come before the batches that use them, as all writers have it but
//! Polars, whose batches wait for them within the same bound.
//! The footer of a file only repeats where its messages are; it must be there, and is not read.

use std::collections::HashMap;

use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field};
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::{Message, MessageHeader, root_as_message};

use crate::columnar::leaves::{self, Leaf};
use crate::columnar::{contained, malformed};
use crate::decode::Decode;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::rows::Rows;
use crate::scalar::Syntax;

/// At the beginning and the end of a file.
pub(crate) const MAGIC: &[u8; 6] = b"ARROW1";
/// Magic and padding in front of the first message.
const FILE_HEAD_BYTES: usize = 8;
/// In front of a message; before Arrow 0.15 there was none.
pub(crate) const CONTINUATION: [u8; 4] = [0xff; 4];
/// The end of a stream: a message without bytes.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// The metadata of a message, whose bytes are padded to eight.
const PREFIX_BYTES: usize = 8;

/// Rows that are taken in together, so that their columns are shared out: enough for threads to be worth it.
const STEP_ROWS: usize = 16 << 10;
/// Rows that need no bytes: columns of nulls, of one run, of empty values. More than these need at least a bit each.
const FREE_ROWS: usize = 1 << 20;

/// The push decoder of Arrow IPC.
pub(crate) struct IpcDecoder {
    limits: Limits,
    state: State,
    /// The message so far, its prefix included.
    message: Vec<u8>,
    stream: StreamDecoder,
    /// The memory of each dictionary.
    dictionaries: HashMap<i64, usize>,
    rows: Option<Rows>,
    /// Batches whose dictionaries may come behind them, where that may be.
    waiting: Option<Vec<Vec<u8>>>,
    /// Whether there must be a footer.
    is_file: bool,
    /// Where the message begins.
    offset: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The first bytes, which tell a file from a stream.
    Head,
    /// The length of a message's metadata.
    Prefix,
    /// The schema of a file as Polars writes it, without its length: up to here there was no message behind it.
    Bare(usize),
    /// The metadata, up to this length.
    Metadata(usize),
    /// The body, up to this length of the whole message.
    Body(usize),
    /// What follows the last message: of it only the last bytes are kept.
    Tail,
}

impl IpcDecoder {
    pub(crate) fn new(limits: &Limits) -> IpcDecoder {
        IpcDecoder {
            limits: limits.clone(),
            state: State::Head,
            message: Vec::new(),
            stream: StreamDecoder::new(),
            dictionaries: HashMap::new(),
            rows: None,
            waiting: None,
            is_file: false,
            offset: 0,
        }
    }

    /// How many bytes of the message the state needs.
    fn wanted(&self) -> usize {
        match self.state {
            State::Head | State::Prefix => PREFIX_BYTES,
            State::Bare(len) | State::Metadata(len) | State::Body(len) => len,
            State::Tail => usize::MAX,
        }
    }

    /// The state's bytes are all here.
    fn step(&mut self) -> Result<(), Error> {
        match self.state {
            State::Head => {
                self.is_file = self.message.starts_with(MAGIC);
                self.state = State::Prefix;
                if self.is_file {
                    self.offset = FILE_HEAD_BYTES as u64;
                    self.message.clear();
                    return Ok(());
                }
                self.step()
            }
            State::Prefix => self.prefix(),
            State::Bare(len) => self.bare(len),
            State::Metadata(len) => self.metadata(len),
            State::Body(_) => self.body(),
            State::Tail => Ok(()),
        }
    }

    fn prefix(&mut self) -> Result<(), Error> {
        let Some((marker, len)) = self.message.split_first_chunk::<4>() else { return Ok(()) };
        if self.is_file && self.stream.schema().is_none() && self.message == [0; PREFIX_BYTES] {
            // Some writers align the first message to more than eight bytes.
            self.offset += PREFIX_BYTES as u64;
            self.message.clear();
            return Ok(());
        }
        if *marker != CONTINUATION {
            if self.is_file && self.stream.schema().is_none() {
                self.state = State::Bare(2 * PREFIX_BYTES);
                return Ok(());
            }
            return Err(self.no_message());
        }
        let len = len.first_chunk::<4>().map_or(0, |len| u32::from_le_bytes(*len)) as usize;
        if len == 0 {
            self.end_stream()?;
            self.state = State::Tail;
            self.message.clear();
            return Ok(());
        }
        self.state = State::Metadata(self.within(PREFIX_BYTES.saturating_add(len))?);
        Ok(())
    }

    /// A schema without its length ends where a message begins.
    fn bare(&mut self, len: usize) -> Result<(), Error> {
        let (schema, next) = self.message.split_at(len - PREFIX_BYTES);
        let whole = next.starts_with(&CONTINUATION).then(|| root_as_message(schema).ok()).flatten();
        let Some(fields) = whole.and_then(|message| message.header_as_schema()) else {
            self.state = State::Bare(self.within(len + PREFIX_BYTES)?);
            return Ok(());
        };
        let is_by_place = |field: &&Field| matches!(field.data_type(), DataType::Dictionary(_, _));
        let fields = contained(|| {
            try_fb_to_schema(fields).map_err(|error| malformed(format!("the schema cannot be read: {error}")))
        })?;
        self.waiting = fields.flattened_fields().iter().any(is_by_place).then(Vec::new);
        let framed = [&CONTINUATION, &(schema.len() as u32).to_le_bytes(), schema].concat();
        self.offset += schema.len() as u64;
        self.message = next.to_vec();
        self.state = State::Prefix;
        self.decode(Buffer::from_vec(framed))?;
        self.prefix()
    }

    fn no_message(&self) -> Error {
        malformed(format!(
            "no message of Arrow IPC begins at byte {} (files older than Arrow 0.15 cannot be read)",
            self.offset
        ))
    }

    fn metadata(&mut self, len: usize) -> Result<(), Error> {
        let message = self.parsed()?;
        let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        let whole = self.within(len.saturating_add(body))?;
        self.message.reserve_exact(whole - self.message.len());
        self.state = State::Body(whole);
        if body == 0 { self.body() } else { Ok(()) }
    }

    /// A length that is allowed.
    fn within(&self, len: usize) -> Result<usize, Error> {
        let max = self.limits.whole_bytes_max;
        if len > max {
            let message = format!(
                "the message at byte {} is {len} bytes long; more than {max} are not held in memory. Write the table \
                 in smaller record batches, or as Parquet",
                self.offset
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(len)
    }

    fn parsed(&self) -> Result<Message<'_>, Error> {
        let metadata = self.message.get(PREFIX_BYTES..).unwrap_or_default();
        root_as_message(metadata)
            .map_err(|error| malformed(format!("the message at byte {} is damaged: {error}", self.offset)))
    }

    /// The whole message is here.
    fn body(&mut self) -> Result<(), Error> {
        self.check()?;
        let is_batch = self.parsed()?.header_type() == MessageHeader::RecordBatch;
        let message = std::mem::take(&mut self.message);
        self.offset += message.len() as u64;
        self.state = State::Prefix;
        match &mut self.waiting {
            Some(waiting) if is_batch => {
                let held = message.len() + waiting.iter().map(Vec::len).sum::<usize>();
                waiting.push(message);
                self.within(held).map(|_| ())
            }
            _ => self.decode(Buffer::from_vec(message)),
        }
    }

    /// What the message claims must be possible.
    fn check(&mut self) -> Result<(), Error> {
        let message = self.parsed()?;
        let (batch, dictionary) = match message.header_type() {
            MessageHeader::RecordBatch => (message.header_as_record_batch(), None),
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch();
                (dictionary.and_then(|dictionary| dictionary.data()), dictionary)
            }
            _ => return Ok(()),
        };
        let Some(batch) = batch else { return Err(self.damaged("it has no data")) };
        let metadata = self.message.first_chunk::<PREFIX_BYTES>().map_or(0, |prefix| {
            let [_, _, _, _, len @ ..] = *prefix;
            u32::from_le_bytes(len) as usize
        });
        let body = self.message.get(PREFIX_BYTES + metadata..).unwrap_or_default();
        let mut unpacked = body.len();
        for buffer in batch.buffers().iter().flatten() {
            let (Ok(start), Ok(len)) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()))
            else {
                return Err(self.damaged("a part of it has a negative length"));
            };
            let Some(bytes) = start.checked_add(len).and_then(|end| body.get(start..end)) else {
                return Err(self.damaged("a part of it lies outside"));
            };
            // In front of compressed bytes stands the length of what they were; -1 when they are none.
            if batch.compression().is_some()
                && let Some(claim) = bytes.first_chunk()
            {
                let claim = usize::try_from(i64::from_le_bytes(*claim)).unwrap_or(0);
                unpacked = unpacked.saturating_add(claim);
            }
        }
        let rows = usize::try_from(batch.length()).unwrap_or(usize::MAX);
        if rows > FREE_ROWS.max(unpacked.saturating_mul(8)) {
            return Err(self.damaged("it claims more rows than it has bits"));
        }
        if let Some(dictionary) = dictionary {
            let (id, is_delta) = (dictionary.id(), dictionary.isDelta());
            let before = self.dictionaries.get(&id).copied().filter(|_| is_delta);
            self.dictionaries.insert(id, before.unwrap_or(0).saturating_add(unpacked));
        }
        let dictionaries = self.dictionaries.values().fold(0_usize, |sum, bytes| sum.saturating_add(*bytes));
        self.within(unpacked.saturating_add(dictionaries))?;
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        malformed(format!("the message at byte {} is damaged: {what}", self.offset))
    }

    /// Hands bytes to the library, and what it makes of them to the columns.
    fn decode(&mut self, mut bytes: Buffer) -> Result<(), Error> {
        while !bytes.is_empty() {
            let offset = self.offset;
            let batch = contained(|| {
                let wrong =
                    |error| malformed(format!("the message before byte {offset} cannot be read: {error}"));
                self.stream.decode(&mut bytes).map_err(wrong)
            })?;
            if self.rows.is_none()
                && let Some(schema) = self.stream.schema()
            {
                let names = leaves::names(schema.fields(), &self.limits)?;
                self.rows = Some(Rows::new(names, Syntax::Tagged, &self.limits));
            }
            let (Some(batch), Some(rows)) = (batch, &mut self.rows) else { continue };
            let mut start = 0;
            while start < batch.num_rows() {
                let step = batch.slice(start, STEP_ROWS.min(batch.num_rows() - start));
                start += step.num_rows();
                let leaves: Vec<Leaf> = step
                    .columns()
                    .iter()
                    .flat_map(|array| Leaf::all(array, self.limits.field_bytes_max))
                    .collect();
                let leaves: Vec<Option<&Leaf>> = leaves.iter().map(Some).collect();
                contained(|| leaves::take(&mut rows.columns, &leaves))?;
            }
            rows.total += batch.num_rows() as u64;
        }
        Ok(())
    }

    /// A message without a body waits in the library for what follows it.
    fn end_stream(&mut self) -> Result<(), Error> {
        for message in self.waiting.take().unwrap_or_default() {
            self.decode(Buffer::from_vec(message))?;
        }
        self.decode(Buffer::from_vec(END.to_vec()))
    }
}

impl Decode for IpcDecoder {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if let State::Tail = self.state {
                self.message.extend_from_slice(bytes);
                let kept = self.message.len().saturating_sub(MAGIC.len());
                self.message.drain(..kept);
                return Ok(());
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.wanted() - self.message.len()));
            self.message.extend_from_slice(now);
            bytes = later;
            if self.message.len() == self.wanted() {
                self.step()?;
            }
        }
        Ok(())
    }

    fn partial(mut self: Box<Self>) -> Result<Partial, Error> {
        let is_whole = match self.state {
            State::Tail => !self.is_file || self.message == MAGIC,
            // A stream may end without saying so.
            State::Prefix => !self.is_file && self.message.is_empty(),
            State::Bare(_) => return Err(self.no_message()),
            State::Head | State::Metadata(_) | State::Body(_) => false,
        };
        if !is_whole {
            return Err(malformed(format!("the file is cut short after byte {}", self.offset)));
        }
        if let State::Prefix = self.state {
            self.end_stream()?;
        }
        match self.rows {
            Some(rows) => Ok(rows.partial(Format::Arrow, None)),
            None => Err(Error::new(ErrorKind::Empty, "no schema: the stream has no message")),
        }
    }
}
