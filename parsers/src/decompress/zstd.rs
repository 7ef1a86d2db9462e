//! Zstandard, by zstd's own library.
//!
//! Promises: all frames of a file are read, those to skip are skipped; the checksum of a frame that has one is verified;
//! a larger window than allowed is refused before it is taken. Never: a frame that needs a dictionary.

use zstd_safe::zstd_sys::ZSTD_ErrorCode as Code;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::decompress::stream::{Step, Trouble, Unpack};
use crate::error::ErrorKind;

/// The header of a block: what zstd asks for besides the block before.
const BLOCK_HEADER_BYTES: usize = 3;

pub(super) struct Zstd {
    codec: DCtx<'static>,
    window_bytes_max: usize,
    /// How much the codec is given at once. It forgets the output of a call that ends in an error, so that no call may
    /// come to more than one block.
    wanted: usize,
    /// There may be output that had no room.
    behind: bool,
    /// Behind a frame, with no byte of a next one seen.
    between: bool,
    first: bool,
}

impl Zstd {
    pub(super) fn new(window_bytes_max: usize) -> Result<Zstd, Trouble> {
        let mut codec = DCtx::try_create().ok_or_else(Trouble::no_memory)?;
        // A power of two to zstd.
        let log = window_bytes_max.max(1).ilog2();
        codec.set_parameter(DParameter::WindowLogMax(log)).map_err(|code| {
            let message = format!("a window of {window_bytes_max} bytes: {}", get_error_name(code));
            Trouble::new(ErrorKind::Internal, message)
        })?;
        // The first byte of a frame alone: given more, zstd may read the frame whole, in one go.
        Ok(Zstd { codec, window_bytes_max, wanted: 1, behind: false, between: false, first: true })
    }

    /// One call of the codec.
    fn call(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let room = output.len();
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(output);
        let answer = self.codec.decompress_stream(&mut to, &mut from);
        let (read, written) = (from.pos(), to.pos());
        self.behind = written == room;
        match answer {
            Ok(0) => {
                (self.wanted, self.between, self.first) = (1, true, false);
                Step { read, written, trouble: None }
            }
            Ok(hint) => {
                self.between &= read == 0;
                self.wanted = if hint > BLOCK_HEADER_BYTES { hint - BLOCK_HEADER_BYTES } else { hint };
                Step { read, written, trouble: None }
            }
            Err(code) => self.trouble(code).into(),
        }
    }

    fn trouble(&self, code: usize) -> Trouble {
        let is = |known: Code| code == (known as usize).wrapping_neg();
        if is(Code::ZSTD_error_frameParameter_windowTooLarge) {
            let max = self.window_bytes_max;
            let what = format!(
                "the zstd frame needs a window of more than {max} bytes: compress without --ultra and --long"
            );
            Trouble::new(ErrorKind::Limit, what)
        } else if is(Code::ZSTD_error_dictionary_wrong) {
            Trouble::new(ErrorKind::Unsupported, "the zstd frame needs a dictionary")
        } else if is(Code::ZSTD_error_memory_allocation) {
            Trouble::no_memory()
        } else if is(Code::ZSTD_error_prefix_unknown) && !self.first {
            Trouble::corrupt("after the zstd frame come bytes that are none")
        } else {
            Trouble::corrupt(format!("the zstd frame is damaged: {}", get_error_name(code)))
        }
    }
}

impl Unpack for Zstd {
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut done = Step::default();
        if self.behind {
            done = self.call(&[], output);
            if self.behind || done.trouble.is_some() {
                return done;
            }
        }
        if input.is_empty() {
            return done;
        }
        let step = self.call(&input[..input.len().min(self.wanted)], &mut output[done.written..]);
        Step { written: done.written + step.written, ..step }
    }

    fn end(&mut self) -> Result<(), Trouble> {
        if self.between { Ok(()) } else { Err(Trouble::corrupt("the zstd frame is cut short")) }
    }
}
