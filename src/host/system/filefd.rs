//! `filefd`: the system's file handles, of `/proc/sys/fs/file-nr` (proc_sys_fs(5)).
//!
//! Must not know about the descriptors of single processes.

use crate::host::parse::{number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const ALLOCATED: Family =
    Family::gauge("node_filefd_allocated", &[], "File handles that the kernel has handed out.");
const MAXIMUM: Family =
    Family::gauge("node_filefd_maximum", &[], "File handles that the kernel would hand out.");

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "filefd", families: &[ALLOCATED, MAXIMUM], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(FileHandles { file: root.proc("sys/fs/file-nr").single() })
    }))
}

struct FileHandles {
    file: KernelFile,
}

impl Collector for FileHandles {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let (allocated, maximum) = parse(self.file.read(pass.buffer)?)?;
        pass.batch.value(&ALLOCATED, allocated);
        pass.batch.value(&MAXIMUM, maximum);
        Ok(())
    }
}

/// The first and the third number: allocated, (free, always 0), maximum.
fn parse(text: &[u8]) -> Result<(f64, f64), Error> {
    let mut numbers = words(text.trim_ascii()).map(number);
    match [numbers.next(), numbers.next(), numbers.next()] {
        [Some(Some(allocated)), Some(Some(_)), Some(Some(maximum))] => Ok((allocated, maximum)),
        _ => Err(Error::Parse(format!("file-nr: wanted three numbers, found {}", quoted(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_third() {
        assert_eq!(parse(b"2048\t0\t9223372036854775807\n").unwrap(), (2048.0, 2f64.powi(63)));
        for rubbish in [&b""[..], b"1 2", b"1 2 x", b"\xff 0 1"] {
            assert!(parse(rubbish).is_err());
        }
    }
}
