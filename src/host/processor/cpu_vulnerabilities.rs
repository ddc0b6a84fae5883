//! `cpu_vulnerabilities`: flaws of the processors and what is done about them, of
//! `/sys/devices/system/cpu/vulnerabilities` (Documentation/ABI/testing/sysfs-devices-system-cpu).
//!
//! Must not know which of them matter.

use crate::host::class::Text;
use crate::host::directory::Directory;
use crate::host::root::Root;
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::Family;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

const INFO: Family = Family::gauge(
    "node_cpu_vulnerabilities_info",
    &["codename", "mitigation", "state"],
    "A flaw, whether this machine has it, and what is done about it; always 1.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "cpu_vulnerabilities", families: &[INFO], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let folder = Directory::new(root.sysfs.join("devices/system/cpu/vulnerabilities"));
        Box::new(CpuVulnerabilities { folder, flaws: Table::default() })
    }))
}

struct CpuVulnerabilities {
    folder: Directory,
    flaws: Table<(String, Text)>,
}

impl Collector for CpuVulnerabilities {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let top = self.folder.path().to_owned();
        let Some(names) = if_there(self.folder.list())? else { return Ok(()) };
        self.flaws.begin();
        for name in names.iter() {
            self.flaws.meet(name.as_bytes(), || {
                (name.to_string_lossy().into_owned(), Text::new(top.join(name)))
            });
        }
        self.flaws.end();
        pass.batch.begin(&INFO);
        for (name, text) in self.flaws.rows_mut() {
            let (state, mitigation) = parse(text.read(pass.buffer));
            let labels =
                [("codename", name.as_str()), ("mitigation", mitigation), ("state", state)];
            pass.batch.sample(&labels, 1.0);
        }
        Ok(())
    }
}

/// The state, and what is done about it: `Mitigation: PTI`, `Vulnerable: no microcode`. What follows the state
/// without a colon (`Vulnerable; SMT vulnerable`) keeps its sign, as node_exporter has it. Where the state is
/// not the first word (`KVM: Mitigation: VMX disabled`), it is taken for unknown, and the text is shown whole.
fn parse(text: &str) -> (&'static str, &str) {
    let after = |state: &str| {
        let rest = text.strip_prefix(state)?;
        Some(rest.strip_prefix(": ").unwrap_or(rest))
    };
    if let Some(mitigation) = after("Mitigation") {
        ("mitigation", mitigation)
    } else if let Some(rest) = after("Vulnerable") {
        ("vulnerable", rest)
    } else if text.starts_with("Not affected") {
        ("not affected", "")
    } else {
        ("unknown", after("Unknown").unwrap_or(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        assert_eq!(parse("Not affected"), ("not affected", ""));
        assert_eq!(parse("Mitigation: PTI; x"), ("mitigation", "PTI; x"));
        assert_eq!(parse("Vulnerable"), ("vulnerable", ""));
        assert_eq!(parse("Vulnerable: no microcode"), ("vulnerable", "no microcode"));
        assert_eq!(parse("Vulnerable; SMT vulnerable"), ("vulnerable", "; SMT vulnerable"));
        assert_eq!(parse("Unknown: x"), ("unknown", "x"));
        for text in ["KVM: Mitigation: VMX disabled", "KVM: Vulnerable", "Processor vulnerable"] {
            assert_eq!(parse(text), ("unknown", text));
        }
        assert_eq!(parse(""), ("unknown", ""));
    }
}
