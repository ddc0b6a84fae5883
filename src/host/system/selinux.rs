//! `selinux`: whether SELinux is on, and whether it enforces, of `/sys/fs/selinux` and
//! `/etc/selinux/config` (selinux(8)).
//!
//! Must not know any policy.

use crate::host::parse::{lines, number};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ENABLED: Family = Family::gauge("node_selinux_enabled", &[], "Whether SELinux is on.");
const CONFIG_MODE: Family = Family::gauge(
    "node_selinux_config_mode",
    &[],
    "The mode that is configured: 1 enforcing, 0 permissive, -1 disabled.",
);
const CURRENT_MODE: Family =
    Family::gauge("node_selinux_current_mode", &[], "The mode now: 1 enforcing, 0 permissive.");

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "selinux", families: &[ENABLED, CONFIG_MODE, CURRENT_MODE], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(SeLinux {
            enforce: root.sys("fs/selinux/enforce").single(),
            config: KernelFile::new(root.rootfs.join("etc/selinux/config")),
            missed: None,
        })
    }))
}

struct SeLinux {
    enforce: KernelFile,
    config: KernelFile,
    /// When it was found that there is none.
    missed: Option<Instant>,
}

/// Whoever has it has it from boot on: it is not looked for more often than this.
const AGAIN: Duration = Duration::from_secs(60);

impl Collector for SeLinux {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        if self.missed.is_some_and(|missed| missed.elapsed() < AGAIN) {
            pass.batch.value(&ENABLED, 0.0);
            return Ok(());
        }
        let enforces =
            self.enforce.read_if_there(pass.buffer).and_then(|text| number(text.trim_ascii()));
        self.missed = enforces.is_none().then(Instant::now);
        pass.batch.value(&ENABLED, f64::from(u8::from(enforces.is_some())));
        if let Some(enforces) = enforces {
            let config = self.config.read_if_there(pass.buffer).map_or(-1.0, mode);
            pass.batch.value(&CONFIG_MODE, config);
            pass.batch.value(&CURRENT_MODE, enforces);
        }
        Ok(())
    }
}

/// The line `SELINUX=enforcing`.
fn mode(config: &[u8]) -> f64 {
    let value = lines(config).find_map(|line| line.trim_ascii().strip_prefix(b"SELINUX="));
    match value.unwrap_or_default().trim_ascii() {
        b"enforcing" => 1.0,
        b"permissive" => 0.0,
        _ => -1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(mode(b"# SELINUX=x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n"), 1.0);
        assert_eq!(mode(b"SELINUX=permissive"), 0.0);
        assert_eq!(mode(b""), -1.0);
    }
}
