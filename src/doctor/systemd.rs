//! What systemd says of units, by systemctl(1).
//!
//! Must not know what any unit is for.

use std::path::Path;
use std::process::Command;

/// There is systemd on this machine if this folder is there (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

pub(super) fn is_booted() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Some properties of a unit, a line each; else what is wrong, and what to do about it.
pub(super) fn show(unit: &str, properties: &[&str]) -> Result<String, (String, &'static str)> {
    let mut command = Command::new("systemctl");
    command.args(["show", unit, "--property", &properties.join(",")]);
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => {
            let what = format!("systemctl: {}", String::from_utf8_lossy(&output.stderr).trim());
            Err((what, "run this as a user who may ask systemd"))
        }
        Err(error) => Err((format!("systemctl: {error}"), "put systemctl into PATH")),
    }
}

/// The value of a property that has been shown; empty without one.
pub(super) fn value<'a>(shown: &'a str, property: &str) -> &'a str {
    let mut lines = shown.lines().filter_map(|line| line.split_once('='));
    lines.find(|(key, _)| *key == property).map_or("", |(_, value)| value)
}
