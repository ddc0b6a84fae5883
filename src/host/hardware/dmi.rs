//! `dmi`: what the firmware says of the machine, of `/sys/class/dmi/id`
//! (Documentation/ABI/testing/sysfs-class-dmi of systemd; drivers/firmware/dmi-id.c).
//!
//! Must not know anything that changes: it is read once.

use crate::host::root::{Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FIELDS: [&str; 20] = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "system_vendor",
];
/// The one field whose file has another name.
const SYSTEM_VENDOR: [&str; 2] = ["system_vendor", "sys_vendor"];

const INFO: Family = Family::gauge(
    "node_dmi_info",
    &FIELDS,
    "What the firmware says of the machine; always 1. Fields that the daemon may not read are left out.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "dmi", families: &[INFO], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Dmi { folder: root.sysfs.join("class/dmi/id"), labels: None })
    }))
}

struct Dmi {
    folder: PathBuf,
    labels: Option<Labels>,
}

impl Collector for Dmi {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let folder = &self.folder;
        if self.labels.is_none() {
            self.labels = read(folder);
        }
        let labels = self
            .labels
            .as_ref()
            .ok_or_else(|| Error::NoData(format!("{} has no fields", folder.display())))?;
        pass.batch.begin(&INFO);
        pass.batch.sample_with(labels, 1.0);
        Ok(())
    }
}

fn read(folder: &Path) -> Option<Labels> {
    let [vendor, vendor_file] = SYSTEM_VENDOR;
    let text = |field: &&'static str| {
        let file = if *field == vendor { vendor_file } else { field };
        let text = read_once(&folder.join(file)).ok()?;
        Some((*field, String::from_utf8_lossy(&text).into_owned()))
    };
    let texts: Vec<_> = FIELDS.iter().filter_map(text).collect();
    let labels: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    (!labels.is_empty()).then(|| Labels::new(&labels))
}
