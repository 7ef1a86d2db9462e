//! The pages of a Parquet file, chunk after chunk, and the rows that are made of them.
//!
//! Promises: pages are gathered until there is enough for all threads, then read together; when that is follows from the
//! file alone. What is held stays within `Limits::whole_bytes_max`. The row groups have the rows their footer says.

use std::sync::Arc;

use bytes::Bytes;
use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::chunks::Reading;
use super::footer::{Chunk, Footer};
use super::pages::{Header, Packed};
use super::thrift::Trouble;
use super::units::{Unit, units};
use crate::columnar::leaves::{self, Leaf, Perhaps};
use crate::columnar::{contained, malformed};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::rows::Rows;
use crate::scalar::Syntax;

/// The first look at a header: most of them are shorter.
const HEADER_BYTES: usize = 256;
/// A header with statistics of long texts is as long as they are.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Compressed bytes that are worth it to be read: a row group of most files, or some columns of it.
const WAVE_BYTES: usize = 8 << 20;
/// Rows that are read together: enough that a call costs nothing, few enough that their values stay in the cache.
const STEP_ROWS: usize = 16 << 10;
/// Values that are read together, of all columns.
const STEP_VALUES: usize = 256 << 10;
/// Rows of lists that are read together: each may have thousands of values.
const STEP_LISTS: usize = 256;
/// The memory of a value of a list, with its levels, while there may be as much in pages.
const LIST_VALUE_BYTES: usize = 32;
/// What a value costs at least, as bytes that are unpacked: many of them may take no bytes at all.
const VALUE_BYTES: u64 = 4;

/// The pages of a file.
pub(super) struct Body {
    limits: Limits,
    footer: Footer,
    units: Vec<Unit>,
    rows: Rows,
    /// The row group that is being read, its rows and chunks.
    group: usize,
    group_rows: u64,
    chunks: Vec<Chunk>,
    /// The chunk that is being read, how much of it is, and how many of its values.
    chunk: usize,
    done: u64,
    values: u64,
    /// The unit it belongs to.
    unit: usize,
    /// The page so far, with its header, and what the header says.
    page: Vec<u8>,
    header: Option<(Header, usize)>,
    /// The units whose pages wait or whose reader goes on, and the bytes that wait.
    readings: Vec<Reading>,
    waiting: usize,
    /// What was read in all chunks so far, and what came out.
    packed: u64,
    unpacked: u64,
}

impl Body {
    /// Nothing was read yet.
    pub(super) fn new(footer: Footer, limits: &Limits) -> Result<Body, Error> {
        let names = leaves::names(footer.schema.fields(), limits)?;
        let units = contained(|| units(&footer))?;
        let mut body = Body {
            limits: limits.clone(),
            rows: Rows::new(names, Syntax::Tagged, limits),
            footer,
            units,
            group: 0,
            group_rows: 0,
            chunks: Vec::new(),
            chunk: 0,
            done: 0,
            values: 0,
            unit: 0,
            page: Vec::new(),
            header: None,
            readings: Vec::new(),
            waiting: 0,
            packed: 0,
            unpacked: 0,
        };
        body.begin_group()?;
        body.pass_ends()?;
        Ok(body)
    }

    /// Where the next byte lies; `None` when all are read.
    pub(super) fn position(&self) -> Option<u64> {
        let chunk = self.chunks.get(self.chunk)?;
        Some(chunk.start + self.done + self.page.len() as u64)
    }

    /// Takes in bytes at the position, and says how many.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let Some(chunk) = self.chunks.get(self.chunk).copied() else { return Ok(0) };
        let left = chunk.len - self.done - self.page.len() as u64;
        let wanted = match &self.header {
            Some((header, len)) => len + header.packed - self.page.len(),
            None => self.page.len().max(HEADER_BYTES),
        };
        let taken = bytes.len().min(wanted).min(usize::try_from(left).unwrap_or(usize::MAX));
        let before = self.page.len();
        self.page.extend_from_slice(&bytes[..taken]);
        if self.header.is_none() {
            match Header::read(&self.page) {
                Ok((header, len)) => self.found(header, len, &chunk)?,
                Err(Trouble::Short) if (taken as u64) < left && self.page.len() < HEADER_BYTES_MAX => {
                    return Ok(taken);
                }
                Err(_) => return Err(self.wrong("it has no header")),
            }
        }
        let Some((header, len)) = &self.header else { return Ok(taken) };
        let whole = len + header.packed;
        if self.page.len() < whole {
            return Ok(taken);
        }
        // Behind the header may have come more than the page.
        self.page.truncate(whole);
        self.end_page()?;
        Ok(whole - before)
    }

    /// An error about the page at hand.
    fn wrong(&self, what: &str) -> Error {
        let place = self.chunks.get(self.chunk).map_or(0, |chunk| chunk.start + self.done);
        malformed(format!("the page of the Parquet file at byte {place} is damaged: {what}"))
    }

    /// The header of a page is here.
    fn found(&mut self, header: Header, len: usize, chunk: &Chunk) -> Result<(), Error> {
        if (len + header.packed) as u64 > chunk.len - self.done {
            return Err(self.wrong("it goes on behind its chunk"));
        }
        let room = self.room();
        let need = header.packed.saturating_add(header.memory());
        if need > room {
            let message = format!(
                "a page of the Parquet file needs {need} bytes; more than {room} are not held in memory. Write it with \
                 smaller pages"
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let values = VALUE_BYTES.saturating_mul(header.values.into());
        self.unpacked = self.unpacked.saturating_add(values.max(header.unpacked as u64));
        if self.unpacked > self.limits.decompressed_bytes_max {
            let message =
                format!("the Parquet file unpacks to more than {} bytes", self.limits.decompressed_bytes_max);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        self.page.reserve_exact((len + header.packed).saturating_sub(self.page.len()));
        self.header = Some((header, len));
        Ok(())
    }

    /// Memory for pages.
    fn room(&self) -> usize {
        self.limits.whole_bytes_max.saturating_sub(self.footer.memory())
    }

    /// A page is whole.
    fn end_page(&mut self) -> Result<(), Error> {
        let Some((header, len)) = self.header.take() else { return Ok(()) };
        let bytes = Bytes::from(std::mem::take(&mut self.page));
        self.done += bytes.len() as u64;
        if !header.is_index() {
            if !header.is_dictionary() {
                self.values += u64::from(header.values);
            }
            self.waiting += header.packed;
            let page = Packed { data: bytes.slice(len..), header };
            match self.readings.last_mut() {
                Some(reading) => reading.push(page)?,
                None => return Err(self.wrong("it belongs to no column")),
            }
        }
        self.pass_ends()?;
        let memory = self.waiting + self.readings.iter().map(Reading::memory).sum::<usize>();
        if self.waiting >= WAVE_BYTES || memory >= self.room() / 2 {
            self.read()?;
            let memory = self.waiting + self.readings.iter().map(Reading::memory).sum::<usize>();
            if memory > self.room() {
                let message = format!(
                    "a column of lists needs {memory} bytes in one row group; more than {} are not held in memory. \
                     Write the file with smaller row groups",
                    self.room()
                );
                return Err(Error::new(ErrorKind::Limit, message));
            }
        }
        Ok(())
    }

    /// Goes on behind what has ended: chunk, unit, row group, and what has no bytes at all.
    fn pass_ends(&mut self) -> Result<(), Error> {
        while let Some(chunk) = self.chunks.get(self.chunk).filter(|chunk| self.done >= chunk.len) {
            if self.values != chunk.values {
                return Err(malformed(format!(
                    "a chunk of the Parquet file has {} values instead of {}",
                    self.values, chunk.values
                )));
            }
            self.chunk += 1;
            if self.units.get(self.unit).is_some_and(|unit| unit.chunks.end == self.chunk) {
                self.unit += 1;
                if let Some(reading) = self.readings.last_mut() {
                    reading.is_whole = true;
                }
            }
            if self.chunk < self.chunks.len() {
                self.begin_chunk()?;
                continue;
            }
            self.end_group()?;
            self.begin_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), Error> {
        self.read()?;
        self.rows.total += self.group_rows;
        self.group += 1;
        Ok(())
    }

    /// The next row group that has chunks.
    fn begin_group(&mut self) -> Result<(), Error> {
        self.chunks.clear();
        while self.chunks.is_empty() && self.group < self.footer.groups() {
            let group = self.footer.group(self.group)?;
            (self.chunk, self.unit) = (0, 0);
            (self.group_rows, self.chunks) = (group.rows, group.chunks);
            if self.chunks.is_empty() {
                self.end_group()?;
            }
        }
        if self.chunks.is_empty() { Ok(()) } else { self.begin_chunk() }
    }

    fn begin_chunk(&mut self) -> Result<(), Error> {
        let (Some(chunk), Some(unit)) = (self.chunks.get(self.chunk), self.units.get(self.unit)) else {
            return Err(malformed("the Parquet file has chunks of no column"));
        };
        self.packed = self.packed.saturating_add(chunk.len);
        if self.packed > self.footer.end {
            return Err(malformed("the chunks of the Parquet file overlap"));
        }
        if unit.chunks.start == self.chunk {
            self.readings.push(Reading::new(self.unit, chunk.is_dictionary && unit.by_place.is_some()));
        }
        let local = unit.local + self.chunk - unit.chunks.start;
        let values_max = if unit.is_repeated { self.room() / LIST_VALUE_BYTES } else { usize::MAX };
        if let (Some(reading), Some(column)) = (self.readings.last_mut(), unit.schema.columns().get(local)) {
            reading.begin(chunk.codec, Arc::clone(column), values_max);
        }
        (self.done, self.values) = (0, 0);
        Ok(())
    }

    /// Reads all pages that wait, but for those of lists that are not whole.
    fn read(&mut self) -> Result<(), Error> {
        let is_list =
            |reading: &Reading, units: &[Unit]| units.get(reading.unit).is_some_and(|unit| unit.is_repeated);
        let Body { footer, units, rows, readings, limits, .. } = self;
        let mut together = Together { footer, units, rows, text_bytes_max: limits.field_bytes_max };
        let (mut lists, mut flat): (Vec<&mut Reading>, Vec<&mut Reading>) =
            readings.iter_mut().partition(|reading| is_list(reading, units));
        let step = (STEP_VALUES / flat.len().max(1)).clamp(STEP_LISTS, STEP_ROWS);
        contained(|| {
            together.read(&mut flat, step)?;
            // One after another: each may have many values in a row.
            lists
                .iter_mut()
                .filter(|list| list.is_whole)
                .try_for_each(|list| together.read(std::slice::from_mut(list), STEP_LISTS))
        })?;
        for reading in self.readings.iter().filter(|reading| reading.is_whole) {
            if reading.rows() != self.group_rows {
                return Err(malformed(format!(
                    "a column of the Parquet file has {} rows, its row group {}",
                    reading.rows(),
                    self.group_rows
                )));
            }
        }
        self.readings.retain(|reading| !reading.is_whole);
        self.waiting = self.readings.iter().map(Reading::waiting).sum();
        Ok(())
    }

    /// Everything, when every row group was read.
    pub(super) fn partial(self) -> Result<Partial, Error> {
        match self.position() {
            Some(place) => Err(malformed(format!("the Parquet file is cut short at byte {place}"))),
            None => Ok(self.rows.partial(Format::Parquet, None)),
        }
    }
}

/// What is needed to read columns together.
struct Together<'a> {
    footer: &'a Footer,
    units: &'a [Unit],
    rows: &'a mut Rows,
    text_bytes_max: usize,
}

impl Together<'_> {
    /// Reads what waits, so many rows of each at a time.
    fn read(&mut self, readings: &mut [&mut Reading], rows_max: usize) -> Result<(), Error> {
        let Together { footer, units, rows, text_bytes_max } = self;
        let next = |reading: &mut &mut Reading| -> Result<Option<(usize, Vec<Leaf>)>, Error> {
            let Some(unit) = units.get(reading.unit) else { return Ok(None) };
            let array = reading.next(unit, &footer.metadata, rows_max)?;
            let leaves = array.map(|array| Leaf::all(&array, *text_bytes_max));
            match leaves.as_ref().is_some_and(|leaves| leaves.len() != unit.width) {
                true => Err(malformed("a column of the Parquet file is not what its schema says")),
                false => Ok(leaves.map(|leaves| (unit.first, leaves))),
            }
        };
        loop {
            let found: Vec<Option<(usize, Vec<Leaf>)>> = match rayon::current_thread_index() {
                Some(_) => readings.par_iter_mut().map(next).collect::<Result<_, _>>()?,
                None => readings.iter_mut().map(next).collect::<Result<_, _>>()?,
            };
            if found.iter().all(Option::is_none) {
                return Ok(());
            }
            let mut places: Vec<Option<&Leaf>> = vec![None; rows.columns.width()];
            for (first, leaves) in found.iter().flatten() {
                for (place, leaf) in places.iter_mut().skip(*first).zip(leaves) {
                    *place = Some(leaf);
                }
            }
            rows.columns.add_batch(|index| Perhaps(places.get(index).copied().flatten()))?;
            for (index, leaf) in places.iter().enumerate() {
                rows.columns.add_missing(index, leaf.map_or(0, Leaf::missing));
            }
        }
    }
}
