//! Writes musterd's man pages and shell completions into a folder, for its packages.
//!
//!     musterd-pages FOLDER DATE
//!
//! Whatever can be looked up is: the command line is asked for its own definition, `config/musterd.toml`
//! and `docs/ledger.md` are turned into pages. A program of its own, so that the daemon carries none of it.
//! Must not know where packages put the files.

mod commands;
mod configuration;
mod ledger;
mod page;

use std::path::Path;
use std::process::ExitCode;

const LEDGER: &str = include_str!("../../../docs/ledger.md");

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [folder, date] = arguments.as_slice() else {
        eprintln!("usage: musterd-pages FOLDER DATE");
        return ExitCode::FAILURE;
    };
    match write_all(Path::new(folder), date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("musterd-pages: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path, date: &str) -> Result<(), String> {
    let mut files = commands::pages(date)?;
    files.extend(commands::completions());
    files
        .push(("musterd.toml.5".to_owned(), configuration::page(musterd::config::DEFAULTS, date)?));
    files.push(("musterd-ledger.7".to_owned(), ledger::page(LEDGER, date)?));
    let failed = |path: &Path, error| format!("cannot write {}: {error}", path.display());
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
