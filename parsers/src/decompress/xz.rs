//! Xz, by liblzma.
//!
//! Promises: all streams of a file are read, with padding of four zero bytes each between and behind them; checksums are
//! verified, and one that cannot be is an error; more memory than the window allows is refused before it is taken.

use liblzma::stream::{Action, CONCATENATED, Error, Status, Stream, TELL_UNSUPPORTED_CHECK};

use crate::decompress::stream::{Step, Trouble, Unpack};
use crate::error::ErrorKind;

/// What liblzma needs besides the dictionary; it says 0.1 MiB, and more with other filters.
const STATE_BYTES: u64 = 1 << 20;

pub(super) struct Xz {
    codec: Stream,
    window_bytes_max: usize,
}

impl Xz {
    pub(super) fn new(window_bytes_max: usize) -> Result<Xz, Trouble> {
        let flags = CONCATENATED | TELL_UNSUPPORTED_CHECK;
        let codec = Stream::new_stream_decoder(window_bytes_max as u64 + STATE_BYTES, flags);
        Ok(Xz { codec: codec.map_err(|_| Trouble::no_memory())?, window_bytes_max })
    }

    fn trouble(&self, error: Error) -> Trouble {
        match error {
            // Where a second stream should begin, the first mark is data to liblzma.
            Error::Data | Error::Format => {
                Trouble::corrupt("the xz stream is damaged, or followed by other bytes")
            }
            Error::MemLimit => Trouble::new(
                ErrorKind::Limit,
                format!(
                    "the xz stream needs a dictionary of more than {} bytes: compress with `xz -6`, or less",
                    self.window_bytes_max
                ),
            ),
            Error::Options => {
                Trouble::new(ErrorKind::Unsupported, "the xz stream has options that are not known")
            }
            Error::UnsupportedCheck => Trouble::new(
                ErrorKind::Unsupported,
                "the xz stream has a checksum of a kind that is not known",
            ),
            Error::Mem => Trouble::no_memory(),
            Error::Program | Error::NoCheck => Trouble::new(ErrorKind::Internal, "liblzma was used wrongly"),
        }
    }
}

impl Unpack for Xz {
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (in_before, out_before) = (self.codec.total_in(), self.codec.total_out());
        let status = self.codec.process(input, output, Action::Run);
        Step {
            read: (self.codec.total_in() - in_before) as usize,
            written: (self.codec.total_out() - out_before) as usize,
            trouble: status.err().map(|error| self.trouble(error)),
        }
    }

    fn end(&mut self) -> Result<(), Trouble> {
        match self.codec.process(&[], &mut [], Action::Finish) {
            Ok(Status::StreamEnd) => Ok(()),
            Ok(_) => Err(Trouble::corrupt("the xz stream is cut short")),
            Err(error) => Err(self.trouble(error)),
        }
    }
}
