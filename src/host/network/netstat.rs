//! `netstat`: the network stack's counters, of `/proc/net/netstat`, `/proc/net/snmp` and
//! `/proc/net/snmp6` (Documentation/networking/snmp_counter.rst).
//!
//! Must not know what single fields mean; some of them count, others do not, hence untyped.

use super::net;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::pattern::Pattern;
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family};
use std::sync::Arc;

const FIELD: Family = Family::untyped(
    "node_netstat_*",
    &[],
    "A field of /proc/net/netstat, snmp or snmp6, by protocol and name.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "netstat", families: &[FIELD], parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    fields: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(NetStat {
            fields: options.fields.clone(),
            pairs: ["netstat", "snmp"]
                .map(|name| (net::file(root, name).single(), Table::default())),
            snmp6: (net::file(root, "snmp6").single(), Table::default()),
        })
    }))
}

struct NetStat {
    fields: Pattern,
    /// Files of pairs of lines, names and numbers. Per line of names: the columns exposed.
    pairs: [(KernelFile, Table<Vec<Column>>); 2],
    /// A file of a name and a number per line. Per name: what it is exposed as, if it is.
    snmp6: (KernelFile, Table<Option<Box<[u8]>>>),
}

/// A column that is exposed.
struct Column {
    /// How many words to pass over after the column before it.
    skip: usize,
    /// `Protocol_Field`.
    name: Box<[u8]>,
}

impl Collector for NetStat {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        for (file, columns) in &mut self.pairs {
            let text = file.read(pass.buffer)?;
            emit_pairs(text, &self.fields, columns, pass.batch)?;
        }
        let (file, names) = &mut self.snmp6;
        // A kernel without IPv6 has no snmp6.
        match file.read(pass.buffer) {
            Ok(text) => emit_snmp6(text, &self.fields, names, pass.batch),
            Err(Error::NoData(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn emit_pairs(
    text: &[u8],
    fields: &Pattern,
    tables: &mut Table<Vec<Column>>,
    batch: &mut Batch,
) -> Result<(), Error> {
    tables.begin();
    let mut lines = lines(text);
    while let Some(names) = lines.next() {
        let unreadable = || {
            Error::Parse(format!(
                "netstat: wanted a line of names and one of as many numbers, found {}",
                quoted(names)
            ))
        };
        let values = lines.next().ok_or_else(unreadable)?;
        let (protocol, mut values) = (words(names).next(), words(values));
        if protocol.is_none_or(|protocol| values.next() != Some(protocol)) {
            return Err(unreadable());
        }
        let Some(columns) = tables.meet(names, || select(names, fields)) else { continue };
        for column in columns {
            let value = values.nth(column.skip).and_then(number).ok_or_else(unreadable)?;
            batch.begin_named(&FIELD, &column.name);
            batch.sample(&[], value);
        }
    }
    tables.end();
    Ok(())
}

/// The columns of a line of names that are to be exposed.
fn select(names: &[u8], fields: &Pattern) -> Vec<Column> {
    let mut names = words(names);
    let protocol = names.next().and_then(|name| name.strip_suffix(b":")).unwrap_or_default();
    let (mut columns, mut skip) = (Vec::new(), 0);
    for field in names {
        match full_name(protocol, field, fields) {
            Some(name) => columns.push(Column { skip: std::mem::take(&mut skip), name }),
            None => skip += 1,
        }
    }
    columns
}

fn full_name(protocol: &[u8], field: &[u8], fields: &Pattern) -> Option<Box<[u8]>> {
    let name = [protocol, b"_", field].concat();
    let wanted = !fields.is_set() || fields.matches(&String::from_utf8_lossy(&name));
    wanted.then(|| name.into())
}

fn emit_snmp6(
    text: &[u8],
    fields: &Pattern,
    names: &mut Table<Option<Box<[u8]>>>,
    batch: &mut Batch,
) -> Result<(), Error> {
    names.begin();
    for line in lines(text) {
        let unreadable =
            || Error::Parse(format!("snmp6: wanted a name and a number, found {}", quoted(line)));
        let mut words = words(line);
        let (Some(field), Some(value)) = (words.next(), words.next()) else {
            return Err(unreadable());
        };
        let name = names.meet(field, || {
            // `Ip6InOctets`: the protocol ends with the 6.
            let end = field.iter().position(|&byte| byte == b'6')? + 1;
            let (protocol, field) = field.split_at_checked(end)?;
            full_name(protocol, field, fields)
        });
        if let Some(Some(name)) = name {
            let value = number(value).ok_or_else(unreadable)?;
            batch.begin_named(&FIELD, name);
            batch.sample(&[], value);
        }
    }
    names.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Point;

    fn shown(batch: &Batch) -> Vec<(String, f64)> {
        let value = |point| if let Point::Number(value) = point { value } else { f64::NAN };
        batch
            .families()
            .map(|family| {
                let name = String::from_utf8_lossy(family.name).into_owned();
                (name, value(family.samples().next().unwrap().point))
            })
            .collect()
    }

    fn pairs(text: &[u8], pattern: &str) -> Result<Vec<(String, f64)>, Error> {
        let (mut tables, mut batch) = (Table::default(), Batch::new());
        let fields = Pattern::try_from(pattern.to_owned()).unwrap();
        emit_pairs(text, &fields, &mut tables, &mut batch)?;
        batch.clear();
        emit_pairs(text, &fields, &mut tables, &mut batch)?;
        Ok(shown(&batch))
    }

    #[test]
    fn columns_are_taken_by_name() {
        let text = b"Tcp: A B C D\nTcp: 1 2 -3 4\nUdp: A\nUdp: 5\n";
        let wanted =
            [("node_netstat_Tcp_B".to_owned(), 2.0), ("node_netstat_Tcp_C".to_owned(), -3.0)];
        assert_eq!(pairs(text, "^Tcp_(B|C)$").unwrap(), wanted);
        assert_eq!(pairs(text, "").unwrap().len(), 5);
    }

    #[test]
    fn snmp6_names_are_cut_after_the_six() {
        let fields = Pattern::try_from("^Ip6_InOctets$".to_owned()).unwrap();
        let mut batch = Batch::new();
        let text = b"Ip6InOctets \t 7\nIp6OutOctets 8\nNoSix 9\n";
        emit_snmp6(text, &fields, &mut Table::default(), &mut batch).unwrap();
        assert_eq!(shown(&batch), [("node_netstat_Ip6_InOctets".to_owned(), 7.0)]);
        for text in [&b"Ip6InOctets"[..], b"Ip6InOctets x"] {
            assert!(emit_snmp6(text, &fields, &mut Table::default(), &mut batch).is_err());
        }
    }

    #[test]
    fn rubbish() {
        for text in [
            &b"Tcp: A"[..],
            b"Tcp: A B\nTcp: 1\n",
            b"Tcp: A\nUdp: 1\n",
            b"Tcp: A\nTcp: x\n",
            b" \n ",
        ] {
            assert!(pairs(text, "").is_err(), "{text:?}");
        }
        assert!(pairs(b"", "").unwrap().is_empty());
    }
}
