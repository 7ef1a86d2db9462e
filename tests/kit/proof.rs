//! The proof of the guarantees, as far as it is pure: what happens to whom ([`schedule`]), and whether what was seen keeps
//! the promises ([`oracle`]). The program `prove` carries the one out and asks the other.
//!
//! Never: a process, a clock, a broker.

pub mod oracle;
pub mod schedule;
