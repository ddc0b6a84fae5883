//! `nvme`: NVMe controllers and their namespaces, of `/sys/class/nvme`
//! (nvme_core's attributes in the kernel's drivers/nvme/host/sysfs.c).
//!
//! Must not know about their I/O, which diskstats counts.

use crate::host::parse::integer;
use crate::host::readings::{Found, Readings, Value};
use crate::host::root::{Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const NAMESPACE: &[&str] = &["device", "nsid"];
const FAMILIES: [Family; 6] = [
    Family::gauge(
        "node_nvme_info",
        &["device", "firmware_revision", "model", "serial", "state", "cntlid"],
        "What the controller is, and how it is; always 1.",
    ),
    Family::gauge(
        "node_nvme_namespace_info",
        &["device", "nsid", "ana_state"],
        "How the namespace is reached; always 1.",
    ),
    Family::gauge("node_nvme_namespace_capacity_bytes", NAMESPACE, "What the namespace can hold."),
    Family::gauge("node_nvme_namespace_size_bytes", NAMESPACE, "The size of the namespace."),
    Family::gauge("node_nvme_namespace_used_bytes", NAMESPACE, "What is in use of the namespace."),
    Family::gauge(
        "node_nvme_namespace_logical_block_size_bytes",
        NAMESPACE,
        "The size of a logical block.",
    ),
];
const INFO: usize = 0;
const NAMESPACE_INFO: usize = 1;
const CAPACITY: usize = 2;
const SIZE: usize = 3;
const USED: usize = 4;
const BLOCK: usize = 5;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "nvme", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Nvme { controllers: Readings::new(root.sysfs.join("class/nvme")) })
    }))
}

struct Nvme {
    controllers: Readings,
}

impl Collector for Nvme {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.controllers.update(controller)?;
        self.controllers.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

fn controller(name: &str, path: &Path, found: &mut Found) {
    let fixed = |file: &str| {
        let text = read_once(&path.join(file)).unwrap_or_default();
        Value::Fixed(String::from_utf8_lossy(&text).into_owned())
    };
    let labels = vec![
        ("device", Value::Fixed(name.to_owned())),
        ("firmware_revision", Value::read(path.join("firmware_rev"))),
        ("model", fixed("model")),
        ("serial", fixed("serial")),
        ("state", Value::read(path.join("state"))),
        ("cntlid", fixed("cntlid")),
    ];
    found.info(INFO, labels);
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if let Some(id) = namespace(&entry.file_name().to_string_lossy()) {
            show_namespace(name, id, &entry.path(), found);
        }
    }
}

/// The id of `nvme0n1`, or of `nvme0c1n1` for a path to a namespace that has several.
fn namespace(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("nvme")?.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest
        .strip_prefix('c')
        .map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    integer(rest.strip_prefix('n')?.as_bytes())
}

fn show_namespace(device: &str, id: u64, path: &Path, found: &mut Found) {
    let id = id.to_string();
    let ana_state = path.join("ana_state");
    // Only where there may be several paths to it.
    let ana_state = match ana_state.exists() {
        true => Value::read(ana_state),
        false => Value::Fixed("unknown".to_owned()),
    };
    let labels = Labels::new(&[("device", device), ("nsid", &id)]);
    let info = vec![
        ("device", Value::Fixed(device.to_owned())),
        ("nsid", Value::Fixed(id)),
        ("ana_state", ana_state),
    ];
    found.info(NAMESPACE_INFO, info);
    let block = read_once(&path.join("queue/logical_block_size")).ok();
    let Some(block) = block.as_deref().and_then(integer) else { return };
    for (place, file) in [(CAPACITY, "size"), (SIZE, "size"), (USED, "nuse")] {
        found.file(place, &labels, path.join(file), block as f64);
    }
    found.fixed(BLOCK, &labels, block as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_with_one_path_has_no_state_of_it() {
        let top = std::env::temp_dir().join(format!("musterd-nvme-{}", std::process::id()));
        std::fs::create_dir_all(top.join("nvme0/nvme0n1")).unwrap();
        let shown = |top: &Path| {
            let mut nvme = Nvme { controllers: Readings::new(top.to_owned()) };
            crate::host::one_pass::text_of(&mut nvme)
        };
        assert!(shown(&top).contains(r#"ana_state="unknown""#));
        std::fs::write(top.join("nvme0/nvme0n1/ana_state"), "optimized\n").unwrap();
        assert!(shown(&top).contains(r#"ana_state="optimized""#));
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn namespaces() {
        let names = ["nvme0n1", "nvme10c2n34", "nvme0", "nvme0n1p1", "hwmon1", "ng0n1", "nvme0n"];
        assert_eq!(names.map(namespace), [Some(1), Some(34), None, None, None, None, None]);
    }
}
