//! `buddyinfo`: free blocks of memory by their size, of `/proc/buddyinfo` (proc(5)).
//!
//! Must not know how large a page is.

use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: [Family; 1] = [Family::gauge(
    "node_buddyinfo_blocks",
    &["node", "size", "zone"],
    "Free blocks of 2^size pages.",
)];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "buddyinfo", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Buddyinfo { file: root.proc("buddyinfo"), gathered: Gathered::default() })
    }))
}

struct Buddyinfo {
    file: KernelFile,
    gathered: Gathered,
}

impl Collector for Buddyinfo {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let text = self.file.read(pass.buffer)?;
        for line in lines(text) {
            gather(line, &mut self.gathered).ok_or_else(|| {
                Error::Parse(format!(
                    "buddyinfo: wanted `Node N, zone ZONE COUNT…`, found {}",
                    quoted(line)
                ))
            })?;
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

fn gather(line: &[u8], gathered: &mut Gathered) -> Option<()> {
    let text = std::str::from_utf8(line).ok()?;
    let (node, rest) = text.strip_prefix("Node ")?.split_once(", zone ")?;
    let mut words = words(rest.as_bytes());
    let zone = std::str::from_utf8(words.next()?).ok()?;
    for (size, count) in words.enumerate() {
        let labels = [("node", node.trim()), ("size", &size.to_string()), ("zone", zone)];
        gathered.add(0, &labels, number(count)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_told() {
        let mut gathered = Gathered::default();
        assert!(gather(b"Node 0, zone      DMA      1      0", &mut gathered).is_some());
        for line in ["", "Node 0", "Node 0, zone ", "Node 0, zone DMA x"] {
            assert!(gather(line.as_bytes(), &mut gathered).is_none(), "{line}");
        }
    }
}
