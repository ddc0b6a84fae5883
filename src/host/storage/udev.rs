//! What udev knows of a block device, of its database `/run/udev/data/b<major>:<minor>`: lines
//! `E:NAME=value`. The format is udev's own, undocumented, and stable since 2008.
//!
//! Must not know what is made of the properties.

use crate::host::root::read_once;
use std::path::Path;

/// The properties of one device; none if udev does not know it.
#[derive(Debug, Default)]
pub(super) struct Properties(Vec<u8>);

impl Properties {
    pub(super) fn read(path: &Path) -> Self {
        Self(read_once(path).unwrap_or_default())
    }

    /// A property's value, if it is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let value = |line: &'_ [u8]| {
            let line = line.strip_prefix(b"E:")?;
            let rest = line.strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=").map(<[u8]>::len)
        };
        // The last one holds, should one be set twice.
        self.0
            .split(|&byte| byte == b'\n')
            .rev()
            .find_map(|line| {
                let length = value(line)?;
                line.get(line.len().checked_sub(length)?..)
            })
            .filter(|value| !value.is_empty())
    }

    /// A property's value as text; empty if it is not set.
    pub(super) fn text(&self, name: &str) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.get(name).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties() {
        let data = Properties(
            b"S:disk/x\nI:12\nE:ID_A=1\nE:ID_AB=x=y\nE:ID_EMPTY=\nE:ID_\xff=2\nE:ID_A=3".to_vec(),
        );
        assert_eq!(data.get("ID_A"), Some(&b"3"[..]));
        assert_eq!(data.text("ID_AB"), "x=y");
        assert_eq!(data.get("ID_EMPTY"), None);
        assert_eq!(data.text("ID_B"), "");
        assert_eq!(Properties::read(Path::new("/nonexistent")).get("ID_A"), None);
    }
}
