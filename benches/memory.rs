//! The worker's peak memory on a 2 GiB object: `pipeline run` as a process, between an in-process broker and the OBS
//! server, which makes the object's bytes on demand. Fails when the peak is above the bound.
//!
//! Linux only: the peak is the kernel's own `VmHWM`.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

use std::sync::Arc;
use std::time::Instant;

use kit::kafka::{Client, Topics, mock};
use kit::live::variables;
use kit::obs::{ObsServer, Options};
use kit::program::Program;
use kit::rig::task;
use pipeline::publish::ResultStatus;

const OBJECT_BYTES: u64 = 2 << 30;
const PEAK_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a row: the object's content depends on the offset alone.
const ROW_BYTES: u64 = 64;
const HEADER: &[u8; ROW_BYTES as usize] = b"id,price,category,moment,note___________________________________";

/// Row `number`: an integer and a decimal that hardly repeat, a category, a date-time, a text that never repeats.
fn row(number: u64) -> String {
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let id = 1_000_000_000 + number;
    let price = 100_000 + scattered % 900_000;
    let (category, second) = (scattered >> 32 & 15, number % 60);
    let (day, note) = (1 + number % 28, scattered >> 16 & 0xFFFF_FFFF);
    format!(
        "{id},{price}.{:02},cat-{category:02},2024-05-{day:02}T03:04:{second:02},{note:015}\n",
        scattered % 97
    )
}

fn generate(offset: u64, buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let position = offset + filled as u64;
        let (number, within) = (position / ROW_BYTES, (position % ROW_BYTES) as usize);
        let row = match number {
            0 => [&HEADER[..63], b"\n"].concat(),
            number => row(number).into_bytes(),
        };
        assert_eq!(row.len() as u64, ROW_BYTES);
        let take = (row.len() - within).min(buffer.len() - filled);
        buffer[filled..filled + take].copy_from_slice(&row[within..within + take]);
        filled += take;
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let topics = Topics::new("memory");
        let cluster = mock(&topics, 1);
        let server = ObsServer::start(Options { buckets: vec!["out".into()], ..Options::default() }).await;
        server.put_generated("in", "big.csv", OBJECT_BYTES, Arc::new(generate));
        let client = Client::new(&cluster.bootstrap_servers(), &topics);
        client.send(&[task("big.csv")], 1).await;
        let begun = Instant::now();
        let worker = Program::start(&["run"], &variables(&cluster.bootstrap_servers(), &topics, &server));
        let results = loop {
            let results = client.results();
            if !results.is_empty() {
                break results;
            }
            assert!(begun.elapsed().as_secs() < 1200, "no result; {}", worker.lines().join("\n"));
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        };
        let peak = worker.peak_bytes().expect("a running worker, on Linux");
        let [result] = &results[..] else { panic!("one result") };
        assert_eq!(result.status, ResultStatus::Success, "{result:?}");
        assert_eq!(result.rows, Some(OBJECT_BYTES / ROW_BYTES - 1));
        let seconds = result.processing_time;
        println!(
            "object {} MiB  rows {}  seconds {seconds:.1}  MB/s {:.0}  peak {} MiB (at most {})",
            OBJECT_BYTES >> 20,
            OBJECT_BYTES / ROW_BYTES - 1,
            OBJECT_BYTES as f64 / 1e6 / seconds,
            peak >> 20,
            PEAK_BYTES_MAX >> 20,
        );
        assert!(peak <= PEAK_BYTES_MAX, "the peak is above the bound");
    });
}
