//! The program: arguments in, exit code out.

use clap::Parser;
use musterd::cli::Cli;
use musterd::stderr;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            stderr::say(error);
            ExitCode::FAILURE
        }
    }
}
