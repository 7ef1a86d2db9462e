//! A worker that dies of some files: what `pipeline run` is, but for a parser that aborts the process when a key
//! contains `poison`, as running out of memory would.

use std::sync::Arc;

use parsers::Limits;
use pipeline::parse::{CpuPool, Parse};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    kit::altered::run(
        |transactions| transactions,
        |config, source, mut stages| {
            stages.parse = Arc::new(Parse::with(CpuPool::new(config.worker.pool_size)?, move |key| {
                if key.contains("poison") {
                    std::process::abort();
                }
                Ok(parsers::decoder(key, &limits))
            }));
            Ok((source, stages))
        },
    )
    .await
}
