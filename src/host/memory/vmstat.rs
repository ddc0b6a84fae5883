//! `vmstat`: the virtual memory's counters, of `/proc/vmstat` (proc_vmstat(5)).
//!
//! Must not know what single fields mean; some of them count, others do not, hence untyped.

use crate::host::parse::{lines, number, quoted, words};
use crate::host::pattern::Pattern;
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family};
use std::sync::Arc;

const FIELD: Family = Family::untyped("node_vmstat_*", &[], "A field of /proc/vmstat.");

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "vmstat", families: &[FIELD], parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    fields: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let (file, fields) = (root.proc("vmstat").records(96), options.fields.clone());
        Box::new(VmStat { file, fields, wanted: Table::default() })
    }))
}

struct VmStat {
    file: KernelFile,
    fields: Pattern,
    /// Per field: whether it is exposed.
    wanted: Table<bool>,
}

impl Collector for VmStat {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.file.read(pass.buffer)?;
        emit(text, &self.fields, &mut self.wanted, pass.batch)
    }
}

fn emit(
    text: &[u8],
    fields: &Pattern,
    wanted: &mut Table<bool>,
    batch: &mut Batch,
) -> Result<(), Error> {
    wanted.begin();
    for line in lines(text) {
        let (name, value) = parse(line)?;
        let decide = || !fields.is_set() || fields.matches(&String::from_utf8_lossy(name));
        if wanted.meet(name, decide).is_some_and(|wanted| *wanted) {
            let value = number(value).ok_or_else(|| unreadable(line))?;
            batch.begin_named(&FIELD, name);
            batch.sample(&[], value);
        }
    }
    wanted.end();
    Ok(())
}

/// A line's name and value.
fn parse(line: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let mut words = words(line);
    match (words.next(), words.next()) {
        (Some(name), Some(value)) => Ok((name, value)),
        _ => Err(unreadable(line)),
    }
}

fn unreadable(line: &[u8]) -> Error {
    Error::Parse(format!("vmstat: wanted a name and a number, found {}", quoted(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &[u8], pattern: &str) -> Result<Vec<String>, Error> {
        let fields = Pattern::try_from(pattern.to_owned()).unwrap();
        let (mut wanted, mut batch) = (Table::default(), Batch::new());
        emit(text, &fields, &mut wanted, &mut batch)?;
        let name = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(batch.families().map(|family| name(family.name)).collect())
    }

    #[test]
    fn only_wanted_fields() {
        let text = b"nr_free_pages 12\npgpgin 3\noom_kill 0\n";
        assert_eq!(names(text, "^pg").unwrap(), ["node_vmstat_pgpgin"]);
        assert_eq!(names(text, "").unwrap().len(), 3);
    }

    #[test]
    fn rubbish() {
        assert_eq!(names(b"", "").unwrap().len(), 0);
        for text in [&b"pgpgin"[..], b"pgpgin x\n", b"pgpgin 99999999999999999999\n", b"\xff\xff\n"]
        {
            assert!(names(text, "").is_err());
        }
    }
}
