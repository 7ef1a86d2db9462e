//! The chunks of a Parquet file, row group after row group, and the rows that are made of them.
//!
//! Promises: chunks are gathered until there is enough for all threads, then read together; when that is follows from the
//! file alone. What is held stays within `Limits::whole_bytes_max`, and is checked before it is asked for. The row groups
//! have the rows their footer says.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::chunks::{Chunk, Reading};
use super::footer::Footer;
use super::units::{Unit, units};
use crate::columnar::leaves::{self, Leaf};
use crate::columnar::words::too_long;
use crate::columnar::{contained, malformed};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::rows::Rows;
use crate::scalar::Syntax;

/// Compressed bytes that are worth it to be read: a row group of most files, or some columns of it.
const WAVE_BYTES: usize = 8 << 20;
/// Rows that are read together: enough that a call costs nothing, few enough that their values stay in the cache.
const STEP_ROWS: usize = 16 << 10;
/// Values that are read together, of all columns.
const STEP_VALUES: usize = 256 << 10;
/// Rows of lists that are read together: each may have thousands of values.
const STEP_LISTS: usize = 256;
/// The part of the memory that is for rows that are being read: the rest is for chunks.
const STEP_SHARE: usize = 4;
/// What a value costs at least, as bytes that are unpacked: many of them may take no bytes at all.
const VALUE_BYTES: u64 = 4;

/// The chunks of a file.
pub(super) struct Body {
    limits: Limits,
    footer: Footer,
    units: Vec<Unit>,
    rows: Rows,
    /// Where the next chunk is: its row group, unit, and column.
    group: usize,
    unit: usize,
    column: usize,
    /// Where its bytes lie; `None` behind the last one.
    place: Option<Range<u64>>,
    /// The chunks of the unit so far, and the units that wait, each with its number.
    gathered: Vec<Chunk>,
    waiting: Vec<(usize, Vec<Chunk>)>,
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
            unit: 0,
            column: 0,
            place: None,
            gathered: Vec::new(),
            waiting: Vec::new(),
            packed: 0,
            unpacked: 0,
        };
        body.begin()?;
        Ok(body)
    }

    /// Where the next chunk lies, which fits into memory; `None` when all are read.
    pub(super) fn wanted(&self) -> Option<Range<u64>> {
        self.place.clone()
    }

    /// Takes in the chunk that is wanted.
    pub(super) fn take(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.end_chunk(chunk)?;
        self.begin()
    }

    /// Memory for chunks.
    fn room(&self) -> usize {
        let max = self.limits.whole_bytes_max;
        (max - max / STEP_SHARE).saturating_sub(self.footer.memory)
    }

    /// What the chunks hold that are here, and will hold when they are read.
    fn held(&self) -> usize {
        let all = self.waiting.iter().flat_map(|(_, chunks)| chunks).chain(&self.gathered);
        all.map(Chunk::memory).fold(0, usize::saturating_add)
    }

    /// Moves to the next chunk that has bytes.
    fn begin(&mut self) -> Result<(), Error> {
        while let Some(rows) = self.footer.rows(self.group).transpose()? {
            if self.unit == self.units.len() {
                self.read()?;
                self.rows.total += rows;
                (self.group, self.unit, self.column) = (self.group + 1, 0, 0);
                continue;
            }
            let (_, place) = self.footer.chunk(self.group, self.column)?;
            let len = place.end - place.start;
            self.packed = self.packed.saturating_add(len);
            if self.packed > self.footer.end {
                return Err(malformed("the chunks of the Parquet file overlap"));
            }
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if self.held().saturating_add(len) > self.room() {
                self.read()?;
            }
            self.fits(self.held().saturating_add(len))?;
            self.place = Some(place);
            if len > 0 {
                return Ok(());
            }
            self.end_chunk(Bytes::new())?;
        }
        self.place = None;
        Ok(())
    }

    /// What a column needs in one row group must be had.
    fn fits(&self, bytes: usize) -> Result<(), Error> {
        if bytes <= self.room() {
            return Ok(());
        }
        let name = self.units.get(self.unit).map_or("", Unit::name);
        let message = format!(
            "column {name:?} of the Parquet file needs {bytes} bytes in one row group; more than {} are not held in \
             memory. Write the file with smaller row groups and pages",
            self.room()
        );
        Err(Error::new(ErrorKind::Limit, message))
    }

    /// A chunk is whole.
    fn end_chunk(&mut self, bytes: Bytes) -> Result<(), Error> {
        let (about, _) = self.footer.chunk(self.group, self.column)?;
        let chunk = Chunk::new(bytes, about)?;
        let claims = chunk.claims();
        let values = VALUE_BYTES.saturating_mul(claims.values);
        self.unpacked = self.unpacked.saturating_add(values.max(claims.unpacked));
        if self.unpacked > self.limits.decompressed_bytes_max {
            let message =
                format!("the Parquet file unpacks to more than {} bytes", self.limits.decompressed_bytes_max);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        self.gathered.push(chunk);
        if self.held() > self.room() {
            self.read()?;
            self.fits(self.held())?;
        }
        self.column += 1;
        if self.units.get(self.unit).is_some_and(|unit| unit.chunks.end == self.column) {
            self.waiting.push((self.unit, std::mem::take(&mut self.gathered)));
            self.unit += 1;
            let packed = |(_, chunks): &(usize, Vec<Chunk>)| chunks.iter().map(Chunk::len).sum::<usize>();
            if self.waiting.iter().map(packed).sum::<usize>() >= WAVE_BYTES {
                self.read()?;
            }
        }
        Ok(())
    }

    /// Reads all units that wait.
    fn read(&mut self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        let step = (STEP_VALUES / waiting.len().max(1)).clamp(STEP_LISTS, STEP_ROWS);
        let (mut many, mut alone) = (Vec::new(), VecDeque::new());
        for (number, chunks) in waiting {
            let Some(unit) = self.units.get(number) else { continue };
            // What may grow has all the room.
            let grows = unit.is_repeated || chunks.iter().any(|chunk| chunk.claims().has_shared);
            if grows { alone.push_back((unit, chunks)) } else { many.push((unit, chunks)) }
        }
        let room = self.limits.whole_bytes_max.saturating_sub(self.footer.memory).saturating_sub(self.held());
        let Body { footer, rows, limits, group, .. } = self;
        let mut together = Together { footer, rows, limits, group: *group };
        let share = limits.whole_bytes_max / STEP_SHARE / many.len().max(1);
        contained(|| {
            together.read(many, step, share)?;
            while let Some((unit, chunks)) = alone.pop_front() {
                let held: usize =
                    alone.iter().flat_map(|(_, chunks)| chunks).chain(&chunks).map(Chunk::memory).sum();
                let room = room.saturating_sub(held);
                let step = if unit.is_repeated { STEP_LISTS } else { step };
                together.read(vec![(unit, chunks)], step, room)?;
            }
            Ok(())
        })
    }

    /// Everything, when every row group was read.
    pub(super) fn partial(self) -> Result<Partial, Error> {
        match self.place {
            Some(place) => {
                Err(malformed(format!("the Parquet file is cut short behind byte {}", place.start)))
            }
            None => Ok(self.rows.partial(Format::Parquet, None)),
        }
    }
}

/// What is needed to read columns together.
struct Together<'a> {
    footer: &'a Footer,
    rows: &'a mut Rows,
    limits: &'a Limits,
    group: usize,
}

impl Together<'_> {
    /// Reads units of the row group, so many rows and bytes of each at a time.
    fn read(
        &mut self,
        units: Vec<(&Unit, Vec<Chunk>)>,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<(), Error> {
        let Together { footer, rows, limits, group } = self;
        let begin = |(unit, chunks): (&Unit, Vec<Chunk>)| {
            if unit.value_bytes() > limits.field_bytes_max {
                return Err(too_long(limits.field_bytes_max));
            }
            Reading::new(unit, chunks, footer, rows_max, bytes_max)
        };
        let mut readings = units.into_iter().map(begin).collect::<Result<Vec<_>, _>>()?;
        let next = |reading: &mut Reading| -> Result<Option<(usize, Vec<Leaf>)>, Error> {
            let array = reading.next()?;
            let leaves = array.map(|array| Leaf::all(&array, limits.field_bytes_max));
            match leaves.as_ref().is_some_and(|leaves| leaves.len() != reading.width) {
                true => Err(malformed("a column of the Parquet file is not what its schema says")),
                false => Ok(leaves.map(|leaves| (reading.first, leaves))),
            }
        };
        loop {
            let found: Vec<Option<(usize, Vec<Leaf>)>> = match rayon::current_thread_index() {
                Some(_) => readings.par_iter_mut().map(next).collect::<Result<_, _>>()?,
                None => readings.iter_mut().map(next).collect::<Result<_, _>>()?,
            };
            if found.iter().all(Option::is_none) {
                break;
            }
            let mut places: Vec<Option<&Leaf>> = vec![None; rows.columns.width()];
            for (first, leaves) in found.iter().flatten() {
                for (place, leaf) in places.iter_mut().skip(*first).zip(leaves) {
                    *place = Some(leaf);
                }
            }
            leaves::take(&mut rows.columns, &places)?;
        }
        let rows = footer.rows(*group).transpose()?.unwrap_or(0);
        match readings.iter().find(|reading| reading.rows != rows) {
            Some(Reading { rows: found, .. }) => {
                Err(malformed(format!("a column of the Parquet file has {found} rows, its row group {rows}")))
            }
            None => Ok(()),
        }
    }
}
