//! `meminfo`: the memory, of `/proc/meminfo` (proc_meminfo(5)).
//!
//! Must not know what single fields mean: whatever the kernel lists is exposed, in bytes where the
//! kernel gives a unit, as it stands where it gives none (numbers of huge pages).

use crate::host::parse::{integer, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const BYTES: Family =
    Family::gauge("node_memory_*_bytes", &[], "A field of /proc/meminfo, in bytes.");
const NUMBER: Family =
    Family::gauge("node_memory_*", &[], "A field of /proc/meminfo that has no unit.");

/// The collector's line in the list.
pub(in crate::host) const ENTRY: Entry =
    Entry { name: "meminfo", families: &[BYTES, NUMBER], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| Box::new(MemInfo { file: root.proc("meminfo").single() })))
}

struct MemInfo {
    file: KernelFile,
}

impl Collector for MemInfo {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        for line in lines(self.file.read(pass.buffer)?) {
            let field = parse(line)?;
            let family = if field.bytes { &BYTES } else { &NUMBER };
            pass.batch.begin_named(family, field.name);
            pass.batch.sample(&[], field.value);
        }
        Ok(())
    }
}

/// One line of `/proc/meminfo`.
#[derive(Debug, PartialEq)]
pub(in crate::host) struct Field<'a> {
    /// Its name, up to the closing bracket of `Active(anon)`: a metric's is `Active_anon`.
    pub(in crate::host) name: &'a [u8],
    pub(in crate::host) value: f64,
    /// Whether the value is bytes, and not just a number.
    pub(in crate::host) bytes: bool,
}

/// Reads `Name:   123 kB` or `Name:  123`.
pub(in crate::host) fn parse(line: &[u8]) -> Result<Field<'_>, Error> {
    let unreadable =
        || Error::Parse(format!("meminfo: wanted `name: number kB`, found {}", quoted(line)));
    let mut words = words(line);
    let name = words.next().and_then(|word| word.strip_suffix(b":")).ok_or_else(unreadable)?;
    let value = words.next().and_then(integer).ok_or_else(unreadable)? as f64;
    let name = name.strip_suffix(b")").unwrap_or(name);
    match words.next() {
        None => Ok(Field { name, value, bytes: false }),
        Some(b"kB") => Ok(Field { name, value: value * 1024.0, bytes: true }),
        Some(_) => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds() {
        let bytes = Field { name: b"Active(anon", value: 2048.0, bytes: true };
        assert_eq!(parse(b"Active(anon):     2 kB").unwrap(), bytes);
        let number = Field { name: b"HugePages_Free", value: 7.0, bytes: false };
        assert_eq!(parse(b"HugePages_Free:    7").unwrap(), number);
    }

    #[test]
    fn rubbish() {
        for line in [
            &b"MemFree"[..],
            b"MemFree: ",
            b"MemFree 1 kB",
            b"MemFree: x kB",
            b"A: 1 MB",
            b"\xff: -1 kB",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
