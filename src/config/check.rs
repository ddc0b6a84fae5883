//! What types alone cannot say of a configuration: values that make no sense, by themselves or together.
//!
//! Must not know how files are read.

use super::Written;
use crate::agent::options::{LABEL_LENGTHS, LEDGER_SIZES};
use crate::supervisor::options::{self, Defaults, Fault};
use musterd_client::layout::DURATION_SCHEMAS;
use std::collections::HashSet;
use std::net::SocketAddr;

/// Bytes of the path of a Unix socket, its end not counted (unix(7)).
const SOCKET_LIMIT: usize = 107;

/// Values that make no sense.
pub(super) struct Senseless {
    /// The dotted keys that it lies at: the one that is wrong, then the one that makes it so.
    pub(super) keys: Vec<String>,
    /// What is wrong, and what was wanted.
    pub(super) text: String,
}

fn senseless<const N: usize>(keys: [&str; N], text: String) -> Senseless {
    Senseless { keys: keys.map(str::to_owned).to_vec(), text }
}

/// Looks for the first that makes no sense.
pub(super) fn check(file: &Written) -> Result<(), Senseless> {
    let counts = [
        ("http.max_connections", file.http.max_connections),
        ("http.max_scrapes", file.http.max_scrapes),
        ("agents.max_connections", file.agents.max_connections),
        ("agents.max_agents", file.agents.max_agents),
        ("agents.max_ledgers_per_uid", file.agents.max_ledgers_per_uid),
        ("agents.max_ledgers_per_process", file.agents.max_ledgers_per_process),
        ("agents.max_series", file.agents.max_series),
        ("agents.max_total_series", file.agents.max_total_series),
        ("agents.max_families", file.agents.max_families),
    ];
    let times = [
        ("http.header_timeout", file.http.header_timeout),
        ("http.write_timeout", file.http.write_timeout),
        ("http.idle_timeout", file.http.idle_timeout),
        ("host.deadline", file.host.deadline),
        ("agents.hello_timeout", file.agents.hello_timeout),
    ];
    let shares = [
        ("health.memory_degraded", file.health.memory_degraded),
        ("health.memory_unhealthy", file.health.memory_unhealthy),
        ("health.disk_degraded", file.health.disk_degraded),
        ("health.disk_unhealthy", file.health.disk_unhealthy),
        ("health.cpu_degraded", file.health.cpu_degraded),
    ];
    let pairs = [
        (
            ["health.memory_unhealthy", "health.memory_degraded"],
            [file.health.memory_unhealthy, file.health.memory_degraded],
        ),
        (
            ["health.disk_unhealthy", "health.disk_degraded"],
            [file.health.disk_unhealthy, file.health.disk_degraded],
        ),
    ];
    if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(senseless([key], format!("{key} is 0, wanted at least 1")));
    }
    if let Some((key, _)) = times.iter().find(|(_, time)| time.is_zero()) {
        return Err(senseless([key], format!("{key} is 0, wanted a length of time")));
    }
    if let Some((key, share)) = shares.iter().find(|(_, share)| !(0.0..=100.0).contains(share)) {
        return Err(senseless([key], format!("{key} is {share}, wanted 0 to 100")));
    }
    if let Some((keys, values)) = pairs.into_iter().find(|(_, [above, below])| above < below) {
        let ([key, other], [above, below]) = (keys, values);
        let text = format!("{key} is {above}, wanted at least {other}, {below}");
        return Err(senseless(keys, text));
    }
    let mut listen = HashSet::new();
    let is_again = |address: &&SocketAddr| address.port() != 0 && !listen.insert(**address);
    if let Some(address) = file.http.listen.iter().find(is_again) {
        return Err(senseless(["http.listen"], format!("http.listen has {address} twice")));
    }
    let socket = &file.agents.socket;
    if !socket.is_absolute() || socket.as_os_str().len() > SOCKET_LIMIT {
        let text = format!(
            "agents.socket is {socket:?}, wanted a path that begins with /, of {SOCKET_LIMIT} bytes at most"
        );
        return Err(senseless(["agents.socket"], text));
    }
    if let Err((keys, text)) = file.agents.health.check() {
        let keys: Vec<_> = keys.iter().map(|key| format!("agents.health.{key}")).collect();
        let text = format!("{} {text}", keys.first().map_or("", String::as_str));
        return Err(Senseless { keys, text });
    }
    let size = file.agents.ledger_size;
    if !LEDGER_SIZES.contains(&size) {
        let (least, most) = (LEDGER_SIZES.start(), LEDGER_SIZES.end());
        let text = format!("agents.ledger_size is {size} bytes, wanted {least} to {most}");
        return Err(senseless(["agents.ledger_size"], text));
    }
    let schema = file.agents.duration_schema;
    if !DURATION_SCHEMAS.contains(&schema) {
        let (least, most) = (DURATION_SCHEMAS.start(), DURATION_SCHEMAS.end());
        let text = format!("agents.duration_schema is {schema}, wanted {least} to {most}");
        return Err(senseless(["agents.duration_schema"], text));
    }
    if file.agents.max_ledger_memory < size {
        let memory = file.agents.max_ledger_memory;
        let text = format!(
            "agents.max_ledger_memory is {memory} bytes, wanted at least one ledger's {size}"
        );
        return Err(senseless(["agents.max_ledger_memory", "agents.ledger_size"], text));
    }
    let length = file.agents.max_label_length;
    if !LABEL_LENGTHS.contains(&length) {
        let text = format!("agents.max_label_length is {length}, wanted 16 to 256");
        return Err(senseless(["agents.max_label_length"], text));
    }
    check_supervision(&file.agents.supervision)
}

fn check_supervision(defaults: &Defaults) -> Result<(), Senseless> {
    let named = |name: &str| format!("agents.supervision.{name}");
    options::check(defaults).map_err(|Fault { keys, text }| {
        let keys = keys.into_iter().map(named).collect();
        Senseless { keys, text: named(&text) }
    })
}
