//! Bzip2.
//!
//! Promises: all streams of a file are read, as `pbzip2` writes them and `cat` makes them; each block and each stream has
//! a checksum. Bytes behind the last stream are an error; bzip2 itself warns and drops them.

use bzip2::{Decompress, Error, Status};

use crate::decompress::stream::{Step, Trouble, Unpack};

pub(super) struct Bzip2 {
    codec: Decompress,
    /// Behind a stream, with no byte of a next one seen.
    between: bool,
    first: bool,
}

impl Bzip2 {
    pub(super) fn new() -> Bzip2 {
        Bzip2 { codec: Decompress::new(false), between: false, first: true }
    }
}

impl Unpack for Bzip2 {
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if self.between {
            if input.is_empty() {
                return Step::default();
            }
            *self = Bzip2 { first: false, ..Bzip2::new() };
        }
        let (in_before, out_before) = (self.codec.total_in(), self.codec.total_out());
        let status = self.codec.decompress(input, output);
        let read = (self.codec.total_in() - in_before) as usize;
        let written = (self.codec.total_out() - out_before) as usize;
        let trouble = match status {
            Ok(Status::MemNeeded) => Some(Trouble::no_memory()),
            Ok(status) => {
                self.between = matches!(status, Status::StreamEnd);
                None
            }
            Err(Error::DataMagic) if !self.first => {
                Some(Trouble::corrupt("after the bzip2 stream come bytes that are none"))
            }
            Err(_) => Some(Trouble::corrupt("the bzip2 stream is damaged")),
        };
        Step { read, written, trouble }
    }

    fn end(&mut self) -> Result<(), Trouble> {
        if self.between { Ok(()) } else { Err(Trouble::corrupt("the bzip2 stream is cut short")) }
    }
}
