//! `musterd import`: the configuration that does what another exporter's command line did.
//!
//! Must not know how anything is collected.

mod environment;
mod node_exporter;
mod node_flags;
mod process_exporter;
mod process_names;

use crate::config::DEFAULTS;
pub use environment::flags_of_environment;
pub use node_exporter::node_exporter;
pub use process_exporter::process_exporter;
use toml::{Table, Value};

/// What has come of it.
#[derive(Debug, PartialEq)]
pub struct Imported {
    /// The configuration: what differs from the defaults, each key with the flag that it is of.
    pub config: String,
    /// What it does not say, and why.
    pub left_out: Vec<String>,
    /// What it says, and what yet is not the same.
    pub differs: Vec<String>,
}

/// An address to listen at, as an exporter's flag has it: Go listens on every address if there is none.
fn listen_address(text: &str) -> String {
    match text.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => text.replacen("localhost:", "127.0.0.1:", 1),
    }
}

/// What is to be said where no flag says where to listen: whoever scrapes asks at the other port.
fn elsewhere(exporter: &str, port: u16) -> String {
    format!(
        "{exporter} listens on port {port} of all addresses unless told otherwise, musterd on \
         127.0.0.1:9089: [http] listen says where"
    )
}

/// The shipped configuration.
fn defaults() -> Result<Table, String> {
    DEFAULTS.parse().map_err(|error| format!("built-in defaults: {error}"))
}

fn at<'t>(table: &'t Table, path: &[&str]) -> Option<&'t Value> {
    let (last, tables) = path.split_last()?;
    let mut table = table;
    for part in tables {
        table = table.get(*part)?.as_table()?;
    }
    table.get(*last)
}
