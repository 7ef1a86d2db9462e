//! Bytes in, summary out.
