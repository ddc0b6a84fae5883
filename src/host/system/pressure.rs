//! `pressure`: time lost to waiting for cpu, I/O and memory, of `/proc/pressure`
//! (Documentation/accounting/psi.rst).
//!
//! Must not know about the pressure inside cgroups.

use crate::host::parse::{integer, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const CPU_WAITING: Family = Family::counter(
    "node_pressure_cpu_waiting_seconds_total",
    &[],
    "Time in which some task waited for a cpu.",
);
const IO_WAITING: Family = Family::counter(
    "node_pressure_io_waiting_seconds_total",
    &[],
    "Time in which some task waited for I/O.",
);
const IO_STALLED: Family = Family::counter(
    "node_pressure_io_stalled_seconds_total",
    &[],
    "Time in which all tasks that were not idle waited for I/O.",
);
const MEMORY_WAITING: Family = Family::counter(
    "node_pressure_memory_waiting_seconds_total",
    &[],
    "Time in which some task waited for memory.",
);
const MEMORY_STALLED: Family = Family::counter(
    "node_pressure_memory_stalled_seconds_total",
    &[],
    "Time in which all tasks that were not idle waited for memory.",
);
const IRQ_STALLED: Family = Family::counter(
    "node_pressure_irq_stalled_seconds_total",
    &[],
    "Time in which interrupts kept all tasks that were not idle from running.",
);

/// One file: what its lines `some` and `full` are exposed as, and whether a kernel with pressure information may be
/// too old for it (irq came with 6.1).
struct Resource {
    path: &'static str,
    some: Option<&'static Family>,
    full: Option<&'static Family>,
    is_new: bool,
}

const RESOURCES: [Resource; 4] = [
    Resource { path: "pressure/cpu", some: Some(&CPU_WAITING), full: None, is_new: false },
    Resource {
        path: "pressure/io",
        some: Some(&IO_WAITING),
        full: Some(&IO_STALLED),
        is_new: false,
    },
    Resource {
        path: "pressure/memory",
        some: Some(&MEMORY_WAITING),
        full: Some(&MEMORY_STALLED),
        is_new: false,
    },
    Resource { path: "pressure/irq", some: None, full: Some(&IRQ_STALLED), is_new: true },
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry {
    name: "pressure",
    families: &[CPU_WAITING, IO_WAITING, IO_STALLED, MEMORY_WAITING, MEMORY_STALLED, IRQ_STALLED],
    parse: configure,
};

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let files = RESOURCES.each_ref().map(|resource| Some(root.proc(resource.path).single()));
        Box::new(Pressure { files })
    }))
}

struct Pressure {
    /// A kernel that is too old for a file will be so until it is booted anew: it is not asked again.
    files: [Option<KernelFile>; RESOURCES.len()],
}

impl Collector for Pressure {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let mut absent = None;
        let mut found = false;
        for (resource, slot) in RESOURCES.iter().zip(&mut self.files) {
            let Some(file) = slot else { continue };
            let text = match file.read(pass.buffer).map_err(disabled) {
                Ok(text) => text,
                Err(_) if resource.is_new => {
                    *slot = None;
                    continue;
                }
                Err(error @ Error::NoData(_)) => {
                    absent = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            found = true;
            let stall = parse(text)?;
            for (family, micros) in [(resource.some, stall.some), (resource.full, stall.full)] {
                if let (Some(family), Some(micros)) = (family, micros) {
                    pass.batch.value(family, micros as f64 / 1e6);
                }
            }
        }
        match absent {
            Some(error) if !found => Err(error),
            _ => Ok(()),
        }
    }
}

/// A kernel that was started without `psi=1` has the files, and refuses to open them.
fn disabled(error: Error) -> Error {
    match error {
        Error::Read { path, source } if source.raw_os_error() == Some(OPERATION_NOT_SUPPORTED) => {
            Error::NoData(format!("{}: the kernel keeps no pressure information", path.display()))
        }
        error => error,
    }
}

const OPERATION_NOT_SUPPORTED: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

/// Totals of one file, in microseconds.
#[derive(Debug, Default, PartialEq)]
struct Stall {
    some: Option<u64>,
    full: Option<u64>,
}

fn parse(text: &[u8]) -> Result<Stall, Error> {
    let mut stall = Stall::default();
    for line in lines(text) {
        let total = words(line).find_map(|word| word.strip_prefix(b"total=")).and_then(integer);
        let total = total.ok_or_else(|| {
            Error::Parse(format!("pressure: wanted `total=` and a number, found {}", quoted(line)))
        })?;
        match words(line).next() {
            Some(b"some") => stall.some = Some(total),
            Some(b"full") => stall.full = Some(total),
            _ => {}
        }
    }
    Ok(stall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals() {
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=1.00 total=34\n";
        assert_eq!(parse(text).unwrap(), Stall { some: Some(12), full: Some(34) });
        assert_eq!(parse(b"full total=5").unwrap(), Stall { some: None, full: Some(5) });
        assert_eq!(parse(b"").unwrap(), Stall::default());
    }

    #[test]
    fn what_is_there_is_shown_without_the_rest() {
        let top = std::env::temp_dir().join(format!("musterd-pressure-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let files = RESOURCES.each_ref().map(|resource| {
            let name = resource.path.trim_start_matches("pressure/");
            Some(KernelFile::new(top.join(name)).single())
        });
        let mut pressure = Pressure { files };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(9);
        let (mut batch, buffer) = (crate::metric::Batch::new(), &mut Vec::new());
        let none = pressure.collect(&mut Pass { batch: &mut batch, buffer, deadline });
        assert!(matches!(none, Err(Error::NoData(_))));
        std::fs::write(top.join("memory"), "some total=3000000\nfull total=4000000\n").unwrap();
        let text = crate::host::one_pass::text_of(&mut pressure);
        std::fs::remove_dir_all(&top).unwrap();
        let shown: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            "node_pressure_memory_waiting_seconds_total 3",
            "node_pressure_memory_stalled_seconds_total 4",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn rubbish() {
        for text in
            [&b"some"[..], b"some total=", b"full total=-1", b"\xff total=99999999999999999999"]
        {
            assert!(parse(text).is_err());
        }
    }
}
