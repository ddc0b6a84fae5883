//! The program: arguments in, exit code out.

use musterd::cli::Cli;
use musterd::stderr;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::given() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            stderr::say(error);
            ExitCode::FAILURE
        }
    }
}
