//! The program: `pipeline --help`.

use std::process::ExitCode;

use clap::Parser;
use pipeline::commands::{Cli, Exit, execute};

fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::FAILURE,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of the program")]
            {
                eprintln!("pipeline: {error}");
            }
            error.code()
        }
    }
}
