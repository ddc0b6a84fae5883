//! `bonding`: how many devices a bond has, and how many of them work, of `/sys/class/net`
//! (Documentation/networking/bonding.rst, "Configuring Bonding Manually via Sysfs").
//!
//! Must not know what the devices do.

use crate::host::class::Text;
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MASTER: &[&str] = &["master"];
const SLAVES: Family = Family::gauge("node_bonding_slaves", MASTER, "Devices of the bond.");
const ACTIVE: Family =
    Family::gauge("node_bonding_active", MASTER, "Devices of the bond whose link is up.");

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "bonding", families: &[SLAVES, ACTIVE], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let folder = root.sysfs.join("class/net");
        let masters = KernelFile::new(folder.join("bonding_masters")).single();
        Box::new(Bonding { folder, masters, bonds: Table::default() })
    }))
}

struct Bonding {
    folder: PathBuf,
    masters: KernelFile,
    bonds: Table<Bond>,
}

struct Bond {
    labels: Labels,
    folder: PathBuf,
    slaves: Text,
    /// What `states` was made of.
    listed: String,
    states: Vec<Text>,
}

impl Collector for Bonding {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.masters.read(pass.buffer)?;
        self.bonds.begin();
        for name in text.split(u8::is_ascii_whitespace).filter(|name| is_name(name)) {
            let name_text = String::from_utf8_lossy(name);
            self.bonds.meet(name, || Bond::new(&self.folder, &name_text));
        }
        self.bonds.end();
        pass.batch.begin(&SLAVES);
        for bond in self.bonds.rows_mut() {
            bond.update(pass.buffer);
            pass.batch.sample_with(&bond.labels, bond.states.len() as f64);
        }
        pass.batch.begin(&ACTIVE);
        for bond in self.bonds.rows_mut() {
            let states = bond.states.iter_mut();
            let up = states.map(|state| u32::from(state.read(pass.buffer) == "up")).sum::<u32>();
            pass.batch.sample_with(&bond.labels, f64::from(up));
        }
        Ok(())
    }
}

/// The name of a device, which never leads out of its folder and is always text.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b".." && !name.contains(&b'/') && std::str::from_utf8(name).is_ok()
}

impl Bond {
    fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        Self {
            labels: Labels::new(&[("master", name)]),
            slaves: Text::new(folder.join("bonding/slaves")),
            folder,
            listed: String::new(),
            states: Vec::new(),
        }
    }

    fn update(&mut self, buffer: &mut Vec<u8>) {
        let slaves = self.slaves.read(buffer);
        if slaves == self.listed {
            return;
        }
        slaves.clone_into(&mut self.listed);
        let state = |slave: &str| {
            // Kernels before 3.9 say `slave_`.
            let files = ["lower", "slave"]
                .map(|prefix| format!("{prefix}_{slave}/bonding_slave/mii_status"))
                .map(|file| self.folder.join(file));
            let [newer, older] = files;
            Text::new(if newer.exists() { newer } else { older })
        };
        let slaves = slaves.split_whitespace().filter(|slave| is_name(slave.as_bytes()));
        self.states = slaves.map(state).collect();
    }
}
