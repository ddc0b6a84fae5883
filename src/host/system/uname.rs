//! `uname`: what the kernel calls itself, of uname(2).
//!
//! Must not know about the distribution.

use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const INFO: Family = Family::gauge(
    "node_uname_info",
    &["sysname", "release", "version", "machine", "nodename", "domainname"],
    "What uname(2) says of the system, as labels. Always 1.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "uname", families: &[INFO], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|_: &Arc<Root>| Box::new(Uname)))
}

struct Uname;

impl Collector for Uname {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        // Asked anew at each pass: the host's name can be changed.
        let uname = rustix::system::uname();
        pass.batch.begin(&INFO);
        pass.batch.sample(
            &[
                ("sysname", &uname.sysname().to_string_lossy()),
                ("release", &uname.release().to_string_lossy()),
                ("version", &uname.version().to_string_lossy()),
                ("machine", &uname.machine().to_string_lossy()),
                ("nodename", &uname.nodename().to_string_lossy()),
                ("domainname", &uname.domainname().to_string_lossy()),
            ],
            1.0,
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Batch;

    #[test]
    fn says_what_the_kernel_says() {
        let (mut batch, mut buffer) = (Batch::new(), Vec::new());
        let deadline = std::time::Instant::now();
        let mut pass = Pass { batch: &mut batch, buffer: &mut buffer, deadline };
        Uname.collect(&mut pass).unwrap();
        let family = batch.families().next().unwrap();
        let labels = String::from_utf8_lossy(family.samples().next().unwrap().labels).into_owned();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert!(labels.starts_with("sysname=\"Linux\""), "{labels}");
        assert!(labels.contains(&format!("release=\"{}\"", release.trim())), "{labels}");
    }
}
