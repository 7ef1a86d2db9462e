//! A file that is read onto those before it.
//!
//! Promise: what comes out is what would if the file were read by itself and merged then, estimates within their bounds.
//! (Where not all tables fit, it may be others that do.)

use crate::decode::Decode;
use crate::error::Error;
use crate::partial::Partial;
use crate::rows::{Rows, Warnings};

/// A decoder whose partial is that of the files before, with one more.
pub(crate) struct Onto {
    /// Without its rows, which `decoder` has.
    before: Partial,
    /// Kept apart: they are not those of this file, which may be read strictly.
    warnings: Warnings,
    decoder: Box<dyn Decode>,
}

impl Onto {
    /// `begin` makes the decoder of the file, which takes in its rows with those before.
    pub(crate) fn new(mut before: Partial, begin: impl FnOnce(Rows) -> Box<dyn Decode>) -> Onto {
        let mut rows = std::mem::take(&mut before.rows);
        let warnings = std::mem::take(&mut rows.warnings);
        rows.columns.recount();
        Onto { before, warnings, decoder: begin(rows) }
    }
}

impl Decode for Onto {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.decoder.feed(bytes)
    }

    fn jump(&mut self, size: u64) -> Option<u64> {
        self.decoder.jump(size)
    }

    fn partial(self: Box<Self>) -> Result<Partial, Error> {
        let Onto { mut before, mut warnings, decoder } = *self;
        let mut own = decoder.partial()?;
        own.rows.are_countable()?;
        before.agree(&own);
        warnings.merge(own.rows.warnings);
        own.rows.warnings = warnings;
        before.rows = own.rows;
        Ok(before)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
