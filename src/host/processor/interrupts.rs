//! `interrupts`: hardware interrupts by their line and cpu, of `/proc/interrupts` (proc(5)).
//!
//! Must not know what the devices do.

use super::cpu_numbers;
use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: [Family; 1] = [Family::counter(
    "node_interrupts_total",
    &["cpu", "devices", "info", "type"],
    "Interrupts handled.",
)];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "interrupts", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    name_include: Pattern,
    name_exclude: Pattern,
    include_zeros: bool,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { name_include, name_exclude, include_zeros } =
        serde::Deserialize::deserialize(options)?;
    let filter = Filter { include: name_include, exclude: name_exclude };
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(Interrupts {
            file: root.proc("interrupts"),
            filter: filter.clone(),
            include_zeros,
            gathered: Gathered::default(),
        })
    }))
}

struct Interrupts {
    file: KernelFile,
    /// Of `TYPE;INFO;DEVICES`.
    filter: Filter,
    include_zeros: bool,
    gathered: Gathered,
}

impl Collector for Interrupts {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let text = self.file.read(pass.buffer)?;
        let mut lines = lines(text);
        let cpus: Vec<_> = lines.next().map(|line| cpu_numbers(line).collect()).unwrap_or_default();
        for line in lines {
            let Some(row) = Row::of(line, cpus.len()) else { continue };
            let Row { kind, counts, info, devices } = row;
            if !self.filter.wants(&format!("{kind};{info};{devices}")) {
                continue;
            }
            for (cpu, word) in cpus.iter().zip(counts) {
                let count = number(word).ok_or_else(|| {
                    Error::Parse(format!("interrupts: wanted numbers, found {}", quoted(line)))
                })?;
                if count != 0.0 || self.include_zeros {
                    let labels = [
                        ("cpu", cpu.as_str()),
                        ("devices", &devices),
                        ("info", &info),
                        ("type", &kind),
                    ];
                    self.gathered.add(0, &labels, count);
                }
            }
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// A line with a count for each cpu.
struct Row<'l> {
    kind: String,
    counts: Vec<&'l [u8]>,
    info: String,
    devices: String,
}

impl<'l> Row<'l> {
    /// `NMI: 47 50 Non-maskable interrupts`; behind the counts of a numbered line stand its
    /// controller and its devices. Lines with a single count for all cpus (`ERR`) are none, which a
    /// machine of one cpu tells by nothing standing behind it.
    fn of(line: &'l [u8], cpus: usize) -> Option<Self> {
        // A count of ten digits stands right behind the colon.
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (kind, line) = line.split_at_checked(colon)?;
        let kind = String::from_utf8_lossy(kind.trim_ascii()).into_owned();
        let mut words = words(line.get(1..)?);
        let counts: Vec<_> = words.by_ref().take(cpus).collect();
        let rest: Vec<_> = words.map(String::from_utf8_lossy).collect();
        if counts.len() < cpus || rest.is_empty() {
            return None;
        }
        let is_numbered = kind.bytes().all(|byte| byte.is_ascii_digit());
        let (info, devices) = match rest.split_first() {
            Some((info, devices)) if is_numbered => (info.clone().into_owned(), devices.join(" ")),
            _ => (rest.join(" "), String::new()),
        };
        Some(Self { kind, counts, info, devices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let row = Row::of(b" 16:  3 4  IO-APIC  usb1, mmc0", 2).unwrap();
        assert_eq!((row.kind.as_str(), row.counts.len()), ("16", 2));
        assert_eq!((row.info.as_str(), row.devices.as_str()), ("IO-APIC", "usb1, mmc0"));
        let row = Row::of(b"NMI:  3 4  Non-maskable interrupts", 2).unwrap();
        assert_eq!((row.info.as_str(), row.devices.as_str()), ("Non-maskable interrupts", ""));
        let row = Row::of(b"IPI0:2768808080 2844211768  Rescheduling interrupts", 2).unwrap();
        assert_eq!((row.kind.as_str(), row.counts[0]), ("IPI0", &b"2768808080"[..]));
        assert!(Row::of(b"ERR:  0", 1).is_none() && Row::of(b" 7", 1).is_none());
        assert!(Row::of(b"ERR:  0", 2).is_none() && Row::of(b"", 0).is_none());
    }
}
