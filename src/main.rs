//! The program: arguments in, exit code out.

use clap::Parser;
use musterd::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("musterd: {error}");
            ExitCode::FAILURE
        }
    }
}
