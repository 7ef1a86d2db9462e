//! Bytes that are made inside of a decoder and taken from outside, piece by piece.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// What a sink of rows has written so far. Its clones share the bytes.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// What was written since the last time.
    pub fn take(&self) -> Vec<u8> {
        self.with(std::mem::take)
    }

    /// Does something with what was not taken yet.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|out| out.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
