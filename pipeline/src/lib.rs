//! The worker that turns a bucket full of files into trustworthy columnar summaries.
//!
//! ```text
//!  task topic ──▶ claim ──▶ admit ──▶ download ──▶ parse ──▶ upload ──▶ publish ──▶ commit
//!            500 tasks,     64,     16 streams,   POOL_SIZE    16       256,       lowest
//!            100 000 offsets byte   4 MiB each    threads     puts    confirmed   unfinished
//!            a partition    budget                                                offset
//! ```
//!
//! Modules in reading order: [`path`] is the chain, [`worker`] the loop around it; [`task`], [`source`],
//! [`admit`], [`download`], [`parse`], [`upload`], [`publish`] and [`commit`] are its parts, [`transaction`] the last
//! two in one; [`message`], [`dead_letter`], [`failure`], [`budget`], [`storage`], [`kafka`], [`config`] (with [`pattern`]) and [`telemetry`] serve them; [`keep`] leaves
//! copies for people; [`generator`] makes tasks of objects, [`results`] reads what became of them; [`commands`] is the
//! program.
//!
//! What is promised, and what is not: ARCHITECTURE.md.

pub mod path;
pub mod worker;

pub mod message;
pub mod task;

pub mod source;

pub mod admit;
pub mod download;
pub mod parse;
pub mod upload;

pub mod dead_letter;
pub mod publish;

pub mod commit;
pub mod transaction;

pub mod keep;

pub mod budget;
pub mod failure;
pub mod storage;

pub mod kafka;

pub mod generator;
pub mod results;

pub mod config;
pub mod pattern;
pub mod telemetry;

pub mod commands;
