//! `edac`: memory errors that were corrected or not, of `/sys/devices/system/edac/mc`
//! (Documentation/admin-guide/RAS/main.rst).
//!
//! Must not know what to do about them.

use crate::host::directory::names;
use crate::host::readings::{Found, Readings};
use crate::host::root::{Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const CONTROLLER: &[&str] = &["controller"];
const ROW: &[&str] = &["controller", "csrow"];
const CHANNEL: &[&str] = &["controller", "csrow", "channel", "dimm_label"];
/// In pairs: errors that were corrected, and errors that were not.
const FAMILIES: [Family; 6] = [
    Family::counter("node_edac_correctable_errors_total", CONTROLLER, "Memory errors corrected."),
    Family::counter(
        "node_edac_uncorrectable_errors_total",
        CONTROLLER,
        "Memory errors not corrected.",
    ),
    Family::counter(
        "node_edac_csrow_correctable_errors_total",
        ROW,
        "Memory errors corrected, by row.",
    ),
    Family::counter(
        "node_edac_csrow_uncorrectable_errors_total",
        ROW,
        "Memory errors not corrected, by row.",
    ),
    Family::counter(
        "node_edac_channel_correctable_errors_total",
        CHANNEL,
        "Memory errors corrected, by channel.",
    ),
    Family::counter(
        "node_edac_channel_uncorrectable_errors_total",
        CHANNEL,
        "Memory errors not corrected, by channel.",
    ),
];
const OF_CONTROLLER: usize = 0;
const OF_ROW: usize = 2;
const OF_CHANNEL: usize = 4;
/// The row of errors that could not be told to belong to any, and the label of no label.
const UNKNOWN: &str = "unknown";

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "edac", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Edac { controllers: Readings::new(root.sysfs.join("devices/system/edac/mc")) })
    }))
}

struct Edac {
    controllers: Readings,
}

impl Collector for Edac {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        if if_there(self.controllers.update(controller))?.is_none() {
            return Ok(());
        }
        self.controllers.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

fn numbered<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let number = name.strip_prefix(prefix)?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

fn controller(name: &str, path: &Path, found: &mut Found) {
    let Some(number) = numbered(name, "mc") else { return };
    let labels = Labels::new(&[("controller", number)]);
    pair(found, OF_CONTROLLER, &labels, path, ["ce_count", "ue_count"]);
    let unknown = Labels::new(&[("controller", number), ("csrow", UNKNOWN)]);
    pair(found, OF_ROW, &unknown, path, ["ce_noinfo_count", "ue_noinfo_count"]);
    for name in names(path) {
        if let Some(row) = numbered(&name, "csrow") {
            let path = path.join(&name);
            let labels = Labels::new(&[("controller", number), ("csrow", row)]);
            pair(found, OF_ROW, &labels, &path, ["ce_count", "ue_count"]);
            channels(number, row, &path, found);
        }
    }
}

fn channels(controller: &str, row: &str, path: &Path, found: &mut Found) {
    for name in names(path) {
        let channel = name.strip_suffix("_ce_count").and_then(|name| numbered(name, "ch"));
        let Some(channel) = channel else { continue };
        let label = read_once(&path.join(format!("ch{channel}_dimm_label")));
        let labels = Labels::new(&[
            ("controller", controller),
            ("csrow", row),
            ("channel", channel),
            ("dimm_label", &label.map_or(UNKNOWN.to_owned(), |text| shown_label(&text))),
        ]);
        let files = ["ce", "ue"].map(|kind| format!("ch{channel}_{kind}_count"));
        pair(found, OF_CHANNEL, &labels, path, files.each_ref().map(String::as_str));
    }
}

/// The label of a module as it is shown: the kernel's `mc#0csrow#0channel#0` in readable form.
fn shown_label(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace('#', "");
    text.replace("csrow", "_csrow").replace("channel", "_channel")
}

fn pair(found: &mut Found, place: usize, labels: &Labels, path: &Path, files: [&str; 2]) {
    for (offset, file) in files.into_iter().enumerate() {
        found.file(place + offset, labels, path.join(file), 1.0);
    }
}
