//! Zip archives with one file in them, read as they arrive: member by member, not by the directory at their end.
//!
//! Promises: the one member that holds data is read, stored or deflated, its checksum and sizes verified; folders and what
//! macOS adds are passed over; a second member with data is an error that names both. The directory must be there whole,
//! and list as many members as were found, so that nothing cut off or left over goes unseen. Never: a seek.

use flate2::{Crc, Decompress};

use crate::decompress::gzip::inflate;
use crate::decompress::stream::{HARMLESS_BYTES, Step, Trouble, Unpack};
use crate::decompress::zip::records::{Descriptor, Header, Method, Record};
use crate::error::ErrorKind;

mod records;

pub(super) struct Zip {
    part: Part,
    /// The bytes of a record so far.
    held: Vec<u8>,
    /// Members so far, of all kinds.
    members: u64,
    /// The name of the member with data, once it was found.
    found: Option<String>,
    /// The same in full, not yet asked for.
    to_tell: Option<String>,
    /// Lines of the directory so far.
    listed: u64,
    /// What came out of members that are passed over.
    passed_over: u64,
    /// Something was done that neither read nor wrote.
    moved: bool,
}

/// What comes next.
enum Part {
    /// A record, of which so many bytes are wanted to know more.
    Record(usize),
    Skip(u64),
    Member(Box<Member>),
    /// What follows a member whose sizes were not known before, of which so many bytes are wanted.
    Descriptor(Box<Member>, usize),
    /// Behind the last record.
    Comment(u64),
    /// The archive is at its end.
    End,
}

/// A member on its way out.
struct Member {
    header: Header,
    inflate: Option<Decompress>,
    crc: Crc,
    read: u64,
    written: u64,
    passed_over: bool,
}

impl Zip {
    pub(super) fn new() -> Zip {
        Zip {
            part: Part::Record(records::SIGNATURE_BYTES),
            held: Vec::new(),
            members: 0,
            found: None,
            to_tell: None,
            listed: 0,
            passed_over: 0,
            moved: false,
        }
    }

    /// Takes bytes of a record until so many are there; says how many it took, and whether that is all.
    fn hold(&mut self, input: &[u8], wanted: usize) -> (usize, bool) {
        let read = input.len().min(wanted - self.held.len());
        self.held.extend_from_slice(&input[..read]);
        (read, self.held.len() == wanted)
    }

    fn record(&mut self) -> Result<Part, Trouble> {
        let record = Record::read(&self.held)?;
        if let Record::Partial { bytes } = record {
            return Ok(Part::Record(bytes));
        }
        self.held.clear();
        match record {
            Record::Local(header) => self.open(header),
            Record::Directory { tail } => {
                self.listed += 1;
                Ok(skip(tail))
            }
            Record::End { comment } if self.listed == self.members => Ok(Part::Comment(comment)),
            Record::End { .. } => Err(Trouble::corrupt(format!(
                "the zip archive is damaged: its directory lists {} members, {} were found",
                self.listed, self.members
            ))),
            Record::Other { tail } => Ok(skip(tail)),
            Record::Partial { bytes } => Ok(Part::Record(bytes)),
        }
    }

    /// Begins with a member.
    fn open(&mut self, header: Header) -> Result<Part, Trouble> {
        if self.listed > 0 {
            return Err(Trouble::corrupt("the zip archive is damaged: a member follows its directory"));
        }
        self.members += 1;
        let passed_over = header.is_folder() || header.is_of_macos();
        if passed_over && !header.descriptor_follows {
            return Ok(skip(header.packed));
        }
        let unsupported = |what: String| Err(Trouble::new(ErrorKind::Unsupported, what));
        let name = header.shown_name();
        if !passed_over {
            if let Some(found) = &self.found {
                return unsupported(format!(
                    "the zip archive holds several files: {found:?}, {name:?} and perhaps more; pack one file an archive, or \
                     store them unpacked"
                ));
            }
            if header.encrypted {
                return unsupported(format!(
                    "{name:?} in the zip archive is encrypted: store it without a password"
                ));
            }
        }
        let inflate = match header.method {
            Method::Stored if header.packed_size().is_some() => None,
            Method::Stored => {
                return unsupported(format!(
                    "{name:?} in the zip archive is stored without its size before it, and so has no end: deflate it"
                ));
            }
            Method::Deflate => Some(Decompress::new(false)),
            Method::Other(number) => {
                let method = records::method_name(number);
                return unsupported(format!(
                    "{name:?} in the zip archive is packed by the method {method}; deflate and stored are read"
                ));
            }
        };
        if !passed_over {
            self.found = Some(name.clone());
            self.to_tell = Some(header.name.clone());
        }
        let member = Member { header, inflate, crc: Crc::new(), read: 0, written: 0, passed_over };
        Ok(Part::Member(Box::new(member)))
    }

    /// Goes on with a member.
    fn member(&mut self, mut member: Box<Member>, input: &[u8], output: &mut [u8]) -> Step {
        let (mut step, ended) = member.unpack(input, output);
        if member.passed_over {
            self.passed_over += step.written as u64;
            self.moved = step.written > 0;
            step.written = 0;
            if self.passed_over > HARMLESS_BYTES {
                let what = "the zip archive holds too much beside its file: store the file alone";
                step.trouble = Some(Trouble::new(ErrorKind::Limit, what));
            }
        }
        if !ended || step.trouble.is_some() {
            self.part = Part::Member(member);
            return step;
        }
        self.moved = true;
        self.part = Part::Record(records::SIGNATURE_BYTES);
        if member.header.descriptor_follows {
            self.part = Part::Descriptor(member, records::SIGNATURE_BYTES);
        } else {
            let Header { crc, packed, unpacked, .. } = member.header;
            step.trouble = member.verify(&Descriptor { crc, packed, unpacked }).err();
        }
        step
    }

    /// Takes in what is there of a descriptor.
    fn descriptor(&mut self, member: Box<Member>) -> Result<Part, Trouble> {
        let zip64 = member.header.zip64 || member.read.max(member.written) > u64::from(u32::MAX);
        let wanted = Descriptor::bytes(&self.held, zip64);
        if self.held.len() < wanted {
            return Ok(Part::Descriptor(member, wanted));
        }
        member.verify(&Descriptor::read(&self.held, zip64))?;
        self.held.clear();
        Ok(Part::Record(records::SIGNATURE_BYTES))
    }

    fn go_on(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (read, next) = match std::mem::replace(&mut self.part, Part::End) {
            Part::Member(member) => return self.member(member, input, output),
            Part::Record(wanted) => match self.hold(input, wanted) {
                (read, true) => (read, self.record()),
                (read, false) => (read, Ok(Part::Record(wanted))),
            },
            Part::Descriptor(member, wanted) => match self.hold(input, wanted) {
                (read, true) => (read, self.descriptor(member)),
                (read, false) => (read, Ok(Part::Descriptor(member, wanted))),
            },
            Part::Skip(left) => {
                let read = at_most(input, left).len();
                (read, Ok(skip(left - read as u64)))
            }
            Part::Comment(0) | Part::End if input.is_empty() => (0, Ok(Part::End)),
            Part::Comment(0) | Part::End => {
                (0, Err(Trouble::corrupt("after the zip archive come other bytes")))
            }
            Part::Comment(left) => {
                let read = at_most(input, left).len();
                (read, Ok(Part::Comment(left - read as u64)))
            }
        };
        match next {
            Ok(part) => {
                self.part = part;
                Step { read, ..Step::default() }
            }
            Err(trouble) => Step { read, ..trouble.into() },
        }
    }
}

fn skip(bytes: u64) -> Part {
    if bytes == 0 { Part::Record(records::SIGNATURE_BYTES) } else { Part::Skip(bytes) }
}

/// The first bytes, so many at most.
fn at_most(bytes: &[u8], count: u64) -> &[u8] {
    &bytes[..bytes.len().min(usize::try_from(count).unwrap_or(usize::MAX))]
}

impl Member {
    /// Unpacks some; says as well whether that was the end.
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> (Step, bool) {
        let left = self.header.packed_size().map(|size| size - self.read);
        let input = at_most(input, left.unwrap_or(u64::MAX));
        let (mut step, ended) = match &mut self.inflate {
            Some(codec) => inflate(codec, input, output, "deflate"),
            None => {
                let count = input.len().min(output.len());
                output[..count].copy_from_slice(&input[..count]);
                (Step { read: count, written: count, trouble: None }, left == Some(count as u64))
            }
        };
        self.read += step.read as u64;
        self.written += step.written as u64;
        self.crc.update(&output[..step.written]);
        let no_more = left == Some(step.read as u64);
        // All of it went in, nothing comes out, and there is no end.
        if no_more && !ended && step.written < output.len() && step.trouble.is_none() {
            step.trouble = Some(Trouble::corrupt("the deflate stream is longer than the zip archive says"));
        }
        (step, ended)
    }

    fn verify(&self, said: &Descriptor) -> Result<(), Trouble> {
        let what = if said.crc != self.crc.sum() {
            "checksum"
        } else if said.packed != self.read || said.unpacked != self.written {
            "size"
        } else {
            return Ok(());
        };
        let name = self.header.shown_name();
        Err(Trouble::corrupt(format!("{name:?} in the zip archive is damaged: its {what} is wrong")))
    }
}

impl Unpack for Zip {
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        loop {
            self.moved = false;
            let step = self.go_on(input, output);
            if step.read > 0 || step.written > 0 || step.trouble.is_some() || !self.moved {
                return step;
            }
        }
    }

    fn end(&mut self) -> Result<(), Trouble> {
        match self.part {
            Part::End | Part::Comment(0) if self.found.is_none() => {
                Err(Trouble::new(ErrorKind::Empty, "the zip archive holds no file"))
            }
            Part::End | Part::Comment(0) => Ok(()),
            _ => Err(Trouble::corrupt("the zip archive is cut short")),
        }
    }

    fn named(&mut self) -> Option<String> {
        self.to_tell.take()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests;
