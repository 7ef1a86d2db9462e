//! Gzip (RFC 1952) and the deflate within.
//!
//! Promises: all members are read, each with its checksum and length; zero bytes behind a member are padding, as for
//! gzip itself, anything else is an error.

use flate2::{Decompress, FlushDecompress, Status};

use crate::decompress::stream::{Step, Trouble, Unpack};

/// The largest window there is, and so the one that reads every stream.
const WINDOW_BITS: u8 = 15;

const FIRST_BYTE: u8 = 0x1f;

pub(super) struct Gzip {
    inflate: Decompress,
    /// Behind a member, with no byte of a next one seen.
    between: bool,
}

impl Gzip {
    pub(super) fn new() -> Gzip {
        Gzip { inflate: Decompress::new_gzip(WINDOW_BITS), between: false }
    }

    /// After a member: skips padding, and says how much; another member begins with what follows.
    fn next_member(&mut self, input: &[u8]) -> Step {
        let padding = input.iter().take_while(|byte| **byte == 0).count();
        let mut step = Step { read: padding, ..Step::default() };
        match input.get(padding) {
            None => {}
            Some(&FIRST_BYTE) => *self = Gzip::new(),
            Some(_) => {
                step.trouble = Some(Trouble::corrupt("after the gzip stream come bytes that are none"));
            }
        }
        step
    }
}

impl Unpack for Gzip {
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let skipped = if self.between { self.next_member(input) } else { Step::default() };
        if self.between || skipped.trouble.is_some() {
            return skipped;
        }
        let (step, ended) = inflate(&mut self.inflate, &input[skipped.read..], output, "gzip");
        self.between = ended;
        Step { read: skipped.read + step.read, ..step }
    }

    fn end(&mut self) -> Result<(), Trouble> {
        if self.between { Ok(()) } else { Err(Trouble::corrupt("the gzip stream is cut short")) }
    }
}

/// One call of inflate; says as well whether the stream has ended.
pub(super) fn inflate(inflate: &mut Decompress, input: &[u8], output: &mut [u8], what: &str) -> (Step, bool) {
    let (in_before, out_before) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None);
    let read = (inflate.total_in() - in_before) as usize;
    let written = (inflate.total_out() - out_before) as usize;
    let trouble = status.is_err().then(|| Trouble::corrupt(format!("the {what} stream is damaged")));
    (Step { read, written, trouble }, matches!(status, Ok(Status::StreamEnd)))
}
