//! LZ4 frames: their blocks are unpacked by `lz4_flex`, whose own reader of frames pulls and cannot wait for a next piece.
//!
//! Promises: all frames of a file are read, those to skip are skipped; each checksum and size that a frame has is
//! verified. Never: a frame that needs a dictionary, the old form without frames.

use std::hash::Hasher;

use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash32;

use crate::decompress::stream::{Step, Trouble, Unpack};
use crate::error::ErrorKind;

const MAGIC: u32 = 0x184d_2204;
/// Of frames to skip; the last four bits are free.
const SKIPPABLE: u32 = 0x184d_2a50;

/// How far back a block may refer into those before it.
const HISTORY_BYTES: usize = 64 << 10;

pub(super) struct Lz4 {
    part: Part,
    /// The bytes of the part so far.
    held: Vec<u8>,
    frame: Frame,
    /// What came out last, for the next block to refer to, and behind it the block that is on its way out.
    out: Vec<u8>,
    /// Where in `out` the block is.
    from: usize,
    to: usize,
    first: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Magic,
    /// The length of a frame to skip.
    Length,
    Skip(u64),
    /// The first two bytes of the descriptor.
    Flags,
    /// The rest of it.
    Descriptor {
        flags: [u8; 2],
    },
    /// The size of a block.
    Size,
    Block {
        bytes: usize,
        packed: bool,
    },
    /// The checksum of the contents.
    Checksum,
}

/// What a frame says of itself.
#[derive(Default)]
struct Frame {
    linked: bool,
    block_checksums: bool,
    checksum: Option<XxHash32>,
    size: Option<u64>,
    block_bytes_max: usize,
    written: u64,
}

impl Lz4 {
    pub(super) fn new() -> Lz4 {
        Lz4 {
            part: Part::Magic,
            held: Vec::new(),
            frame: Frame::default(),
            out: Vec::new(),
            from: HISTORY_BYTES,
            to: HISTORY_BYTES,
            first: true,
        }
    }

    /// How many bytes the part has.
    fn wanted(&self) -> usize {
        match self.part {
            Part::Magic | Part::Length | Part::Size | Part::Checksum => 4,
            Part::Skip(_) => 0,
            Part::Flags => 2,
            // The size of the contents, the number of a dictionary, and a byte of checksum.
            Part::Descriptor { flags: [flags, _] } => usize::from(flags & 8) + usize::from(flags & 1) * 4 + 1,
            Part::Block { bytes, .. } => bytes + if self.frame.block_checksums { 4 } else { 0 },
        }
    }

    /// Takes in a part that is there whole, and says what comes next.
    fn part(&mut self, part: &[u8]) -> Result<Part, Trouble> {
        match self.part {
            Part::Magic => match number(part) {
                MAGIC => Ok(Part::Flags),
                magic if magic & !0xf == SKIPPABLE => Ok(Part::Length),
                _ if self.first => Err(damaged("its mark is none")),
                _ => Err(Trouble::corrupt("after the lz4 frame come bytes that are none")),
            },
            Part::Length => match number(part) {
                0 => Ok(Part::Magic),
                length => Ok(Part::Skip(length.into())),
            },
            Part::Skip(_) => Ok(Part::Magic),
            Part::Flags => Ok(Part::Descriptor { flags: [part[0], part[1]] }),
            Part::Descriptor { flags } => {
                self.frame = Frame::read(flags, part)?;
                self.out.resize(HISTORY_BYTES + self.frame.block_bytes_max, 0);
                (self.from, self.to) = (HISTORY_BYTES, HISTORY_BYTES);
                Ok(Part::Size)
            }
            Part::Size => match number(part) {
                0 if self.frame.checksum.is_some() => Ok(Part::Checksum),
                0 => self.end_of_frame(),
                size => {
                    let bytes = (size & 0x7fff_ffff) as usize;
                    if bytes > self.frame.block_bytes_max {
                        return Err(damaged("a block is too large"));
                    }
                    if bytes == 0 && !self.frame.block_checksums {
                        return Ok(Part::Size);
                    }
                    Ok(Part::Block { bytes, packed: size >> 31 == 0 })
                }
            },
            Part::Block { bytes, packed } => self.block(part, bytes, packed),
            Part::Checksum => {
                if self.frame.checksum.as_ref().map(XxHash32::finish_32) != Some(number(part)) {
                    return Err(damaged("the checksum of its contents is wrong"));
                }
                self.end_of_frame()
            }
        }
    }

    fn block(&mut self, part: &[u8], bytes: usize, packed: bool) -> Result<Part, Trouble> {
        let (block, checksum) = part.split_at(bytes);
        if !checksum.is_empty() && hash(&[block]) != number(checksum) {
            return Err(damaged("the checksum of a block is wrong"));
        }
        let mut history = 0;
        if self.frame.linked {
            // The end of the block before.
            self.out.copy_within(self.to - HISTORY_BYTES..self.to, 0);
            history = usize::try_from(self.frame.written).unwrap_or(usize::MAX).min(HISTORY_BYTES);
        }
        let (dictionary, out) = self.out.split_at_mut(HISTORY_BYTES);
        let size = if packed {
            decompress_into_with_dict(block, out, &dictionary[HISTORY_BYTES - history..])
                .map_err(|_| damaged("a block cannot be unpacked"))?
        } else {
            out[..bytes].copy_from_slice(block);
            bytes
        };
        (self.from, self.to) = (HISTORY_BYTES, HISTORY_BYTES + size);
        self.frame.written += size as u64;
        if let Some(checksum) = &mut self.frame.checksum {
            checksum.write(&out[..size]);
        }
        Ok(Part::Size)
    }

    fn end_of_frame(&mut self) -> Result<Part, Trouble> {
        self.first = false;
        match self.frame.size {
            Some(size) if size != self.frame.written => {
                Err(damaged("it does not have the size that it says"))
            }
            _ => Ok(Part::Magic),
        }
    }
}

impl Unpack for Lz4 {
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if self.from < self.to {
            let written = output.len().min(self.to - self.from);
            output[..written].copy_from_slice(&self.out[self.from..][..written]);
            self.from += written;
            return Step { written, ..Step::default() };
        }
        if let Part::Skip(left) = self.part {
            let read = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - read as u64;
            self.part = if left == 0 { Part::Magic } else { Part::Skip(left) };
            return Step { read, ..Step::default() };
        }
        let wanted = self.wanted();
        let read = input.len().min(wanted - self.held.len());
        let mut held = std::mem::take(&mut self.held);
        // What is here whole needs no copy.
        let whole = if held.is_empty() && read == wanted {
            Some(&input[..read])
        } else {
            held.reserve_exact(wanted - held.len());
            held.extend_from_slice(&input[..read]);
            (held.len() == wanted).then_some(held.as_slice())
        };
        let Some(whole) = whole else {
            self.held = held;
            return Step { read, ..Step::default() };
        };
        let next = self.part(whole);
        held.clear();
        self.held = held;
        match next {
            Ok(part) => {
                self.part = part;
                Step { read, ..Step::default() }
            }
            Err(trouble) => Step { read, ..trouble.into() },
        }
    }

    fn end(&mut self) -> Result<(), Trouble> {
        match self.part {
            Part::Magic if self.held.is_empty() => Ok(()),
            _ => Err(Trouble::corrupt("the lz4 frame is cut short")),
        }
    }
}

impl Frame {
    /// Reads a descriptor.
    fn read([flags, sizes]: [u8; 2], rest: &[u8]) -> Result<Frame, Trouble> {
        let (rest, checksum) = rest.split_at(rest.len() - 1);
        if hash(&[&[flags, sizes], rest]) >> 8 & 0xff != u32::from(checksum[0]) {
            return Err(damaged("the checksum of its descriptor is wrong"));
        }
        let size = (sizes >> 4) & 7;
        if flags >> 6 != 1 || flags & 2 != 0 || sizes & 0x8f != 0 || size < 4 {
            return Err(Trouble::new(ErrorKind::Unsupported, "the lz4 frame has options that are not known"));
        }
        if flags & 1 != 0 {
            return Err(Trouble::new(ErrorKind::Unsupported, "the lz4 frame needs a dictionary"));
        }
        Ok(Frame {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            checksum: (flags & 4 != 0).then(|| XxHash32::with_seed(0)),
            size: (flags & 8 != 0).then(|| rest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))),
            // 64 KiB, 256 KiB, 1 MiB or 4 MiB.
            block_bytes_max: 1 << (8 + 2 * size),
            written: 0,
        })
    }
}

fn damaged(how: &str) -> Trouble {
    Trouble::corrupt(format!("the lz4 frame is damaged: {how}"))
}

fn hash(parts: &[&[u8]]) -> u32 {
    let mut hash = XxHash32::with_seed(0);
    parts.iter().for_each(|part| hash.write(part));
    hash.finish_32()
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
