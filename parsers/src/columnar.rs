//! Files that are columns already, and a summary as a table. The only module with types of Arrow, Parquet and Polars in
//! its signatures. `rows` writes the rows of a file themselves.
//!
//! ```text
//!  ipc      messages ─▶ batches ─┐
//!                                ├─▶ leaves ─▶ words ─▶ aggregate::columns ─▶ summary ─▶ faces
//!  parquet  pages ─▶ arrays ─────┘   dotted     tokens
//! ```
//!
//! Promises: values become tokens without a detour through text; what a file claims is checked before memory is taken for
//! it; a panic of those crates is an error of the file.

mod faces;
mod ipc;
mod leaves;
mod parquet;
mod rows;
mod text;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use self::ipc::IpcDecoder;
pub(crate) use self::parquet::ParquetDecoder;
pub use self::rows::ParquetRows;
use crate::error::{Error, ErrorKind};

/// Runs a library over bytes of a file. Where it panics on them, which it should not, they are to blame all the same.
fn contained<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What the panic leaves behind is not used again: after an error a decoder is spent.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(malformed("the bytes make no sense to the reader")))
}

/// The bytes break the rules of their format.
fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Malformed, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
