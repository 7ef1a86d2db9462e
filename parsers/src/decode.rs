//! The one way in: a decoder is fed the bytes of a file, in pieces of any size, and ends in a summary.

use crate::csv::CsvDecoder;
use crate::decompress::Unpacked;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::limits::Limits;
use crate::summary::Summary;

/// A push decoder: no I/O, no waiting, memory within its `Limits`.
///
/// After an error a decoder is spent: it answers everything with that error again.
pub trait Decode: Send {
    /// Takes in the next piece of the file. How the file is cut changes nothing.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// The end of the file.
    fn finish(self: Box<Self>) -> Result<Summary, Error>;
}

/// The decoder of a file with this name. Compression is found in the bytes, not in the name.
pub fn decoder(name: &str, limits: &Limits) -> Result<Box<dyn Decode>, Error> {
    let Some(format) = Format::from_name(name) else {
        let message =
            format!("no decoder for {name:?}: its name must end in .csv or .tsv, perhaps followed by .gz");
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let inner = match format {
        Format::Csv | Format::Tsv => CsvDecoder::new(format, limits),
    };
    Ok(Box::new(Unpacked::new(inner, limits)))
}
