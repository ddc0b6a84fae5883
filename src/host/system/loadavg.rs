//! `loadavg`: the load averages of `/proc/loadavg` (proc(5)).
//!
//! Must not know about other collectors.

use crate::host::parse::{decimal, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: &[Family] = &[
    Family::gauge("node_load1", &[], "Load average of the last minute."),
    Family::gauge("node_load5", &[], "Load average of the last 5 minutes."),
    Family::gauge("node_load15", &[], "Load average of the last 15 minutes."),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "loadavg", families: FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| Box::new(LoadAverage { file: root.proc("loadavg").single() })))
}

struct LoadAverage {
    file: KernelFile,
}

impl Collector for LoadAverage {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let averages = parse(self.file.read(pass.buffer)?)?;
        for (family, average) in FAMILIES.iter().zip(averages) {
            pass.batch.value(family, average);
        }
        Ok(())
    }
}

/// The averages of 1, 5 and 15 minutes.
fn parse(text: &[u8]) -> Result<[f64; 3], Error> {
    let mut averages = words(text).map(decimal);
    match [averages.next(), averages.next(), averages.next()] {
        [Some(Some(one)), Some(Some(five)), Some(Some(fifteen))] => Ok([one, five, fifteen]),
        _ => Err(Error::Parse(format!("loadavg: wanted three numbers, found {}", quoted(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers() {
        assert_eq!(parse(b"1.50 0.25 3.00 2/345 6789\n").unwrap(), [1.5, 0.25, 3.0]);
        for rubbish in [&b""[..], b"1.5 2.5", b"a b c", b"1 2 NaN", b"\xff\xfe"] {
            assert!(parse(rubbish).is_err());
        }
    }
}
