//! `xfrm`: packets that IPsec had to drop, of `/proc/net/xfrm_stat` (Documentation/networking/xfrm_proc.rst).
//!
//! Must not know any policy.

use super::net;
use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: [Family; 1] = [Family::counter(
    "node_xfrm_*_packets_total",
    &[],
    "Packets dropped for the reason that the name names.",
)];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "xfrm", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Xfrm {
            file: net::file(root, "xfrm_stat").single(),
            gathered: Gathered::default(),
        })
    }))
}

struct Xfrm {
    file: KernelFile,
    gathered: Gathered,
}

impl Collector for Xfrm {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let text = self.file.read(pass.buffer)?;
        for line in lines(text) {
            let mut words = words(line);
            let (name, count) = (words.next().and_then(snake_case), words.next().and_then(number));
            let (Some(name), Some(count)) = (name, count) else {
                let what = "wanted `XfrmNAME COUNT`";
                return Err(Error::Parse(format!("net/xfrm_stat: {what}, found {}", quoted(line))));
            };
            self.gathered.add_named(0, name.as_bytes(), &[], count);
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// `in_hdr_error` of `XfrmInHdrError`.
fn snake_case(name: &[u8]) -> Option<String> {
    let name =
        std::str::from_utf8(name).ok()?.strip_prefix("Xfrm").filter(|name| !name.is_empty())?;
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    Some(snake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(snake_case(b"XfrmInHdrError").as_deref(), Some("in_hdr_error"));
        assert_eq!((snake_case(b"Xfrm"), snake_case(b"InHdrError")), (None, None));
    }
}
