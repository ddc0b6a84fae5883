//! `watchdog`: the machine's watchdog timers, of `/sys/class/watchdog`
//! (Documentation/ABI/testing/sysfs-class-watchdog).
//!
//! Must not know who feeds them.

use crate::host::readings::{Found, Readings, Value};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const NAME: &[&str] = &["name"];
const FAMILIES: [Family; 8] = [
    Family::gauge(
        "node_watchdog_bootstatus",
        NAME,
        "The flags of what the last boot was caused by.",
    ),
    Family::gauge("node_watchdog_fw_version", NAME, "The version of the watchdog's firmware."),
    Family::gauge(
        "node_watchdog_nowayout",
        NAME,
        "Whether the watchdog cannot be stopped any more.",
    ),
    Family::gauge("node_watchdog_timeleft_seconds", NAME, "Time left until the machine is reset."),
    Family::gauge(
        "node_watchdog_timeout_seconds",
        NAME,
        "Time without food after which the machine is reset.",
    ),
    Family::gauge(
        "node_watchdog_pretimeout_seconds",
        NAME,
        "Time before the reset at which there is a warning.",
    ),
    Family::gauge("node_watchdog_access_cs0", NAME, "Whether the other flash chip can be reached."),
    Family::gauge(
        "node_watchdog_info",
        &["name", "options", "identity", "state", "status", "pretimeout_governor"],
        "What the watchdog is and does; always 1.",
    ),
];
/// The files of the families but for the last.
const FILES: [&str; 7] =
    ["bootstatus", "fw_version", "nowayout", "timeleft", "timeout", "pretimeout", "access_cs0"];
const INFO: usize = FILES.len();
const TEXTS: [&str; 5] = ["options", "identity", "state", "status", "pretimeout_governor"];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "watchdog", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Watchdog { timers: Readings::new(root.sysfs.join("class/watchdog")) })
    }))
}

struct Watchdog {
    timers: Readings,
}

impl Collector for Watchdog {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.timers.update(look)?;
        self.timers.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

fn look(name: &str, path: &Path, found: &mut Found) {
    let labels = Labels::new(&[("name", name)]);
    for (place, file) in FILES.iter().enumerate() {
        found.file(place, &labels, path.join(file), 1.0);
    }
    let texts = TEXTS.map(|text| (text, Value::read(path.join(text))));
    found.info(INFO, [("name", Value::Fixed(name.to_owned()))].into_iter().chain(texts).collect());
}
