//! `musterd import node-exporter`: each flag is a key, by its name and the defaults' kind of value.
//!
//! Must not know how anything is collected: what there is to be set, with its kind and its default,
//! is in the shipped configuration.

use super::node_flags::{self as flags, Flag, Target};
use super::{Imported, at, defaults, elsewhere};
use crate::config;
use std::collections::BTreeMap;
use std::fmt::Write;
use toml::{Table, Value};

/// A key's path in the configuration, and what is to stand there with the flags that it is of.
type Keys = BTreeMap<Vec<String>, (Value, Vec<String>)>;

/// Makes a configuration of node_exporter's flags.
///
/// # Errors
/// What is wrong with a flag, or with what came of all of them.
pub fn node_exporter(flags: &[String]) -> Result<Imported, String> {
    let mut import = Import { defaults: defaults()?, keys: Keys::new(), left_out: Vec::new() };
    let mut flags = flags.iter().map(String::as_str).peekable();
    while let Some(text) = flags.next() {
        let flag = Flag::of(text)
            .ok_or_else(|| format!("`{text}` is no flag, wanted --NAME or --NAME=VALUE"))?;
        import.take(flag, || flags.next_if(|next| !next.starts_with("--")))?;
    }
    let config = write(&import.keys);
    config::parse(&[("what was imported", &config)]).map_err(|error| error.to_string())?;
    let listens = import.keys.contains_key(["http", "listen"].map(str::to_owned).as_slice());
    let differs = (!listens).then(|| elsewhere("node_exporter", 9100)).into_iter().collect();
    Ok(Imported { config, left_out: import.left_out, differs })
}

struct Import {
    defaults: Table,
    keys: Keys,
    left_out: Vec<String>,
}

impl Import {
    fn take<'t>(
        &mut self,
        flag: Flag<'_>,
        next: impl FnOnce() -> Option<&'t str>,
    ) -> Result<(), String> {
        let collectors = at(&self.defaults, &["host", "collectors"]);
        let collectors = collectors.and_then(Value::as_table).cloned().unwrap_or_default();
        match flags::target(&flag, &collectors) {
            Target::Key(path) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let Some(default) = at(&self.defaults, &path).cloned() else {
                    self.left_out.push(format!("--{}: musterd has no such option", flag.name));
                    flag.value.is_none().then(next);
                    return Ok(());
                };
                let value = self.value(&flag, &default, &path, next)?;
                self.set(&path, value, flag.shown());
            }
            Target::Enable(name) => {
                let is_on = !flag.is_negated && flag.value != Some("false");
                self.set(&["host", "collectors", &name, "enabled"], is_on.into(), flag.shown());
            }
            Target::DisableAll => {
                for name in collectors.keys() {
                    let path = ["host", "collectors", name.as_str(), "enabled"];
                    // A flag that has named one already is not undone.
                    if !self.keys.contains_key(path.map(str::to_owned).as_slice()) {
                        self.set(&path, false.into(), flag.shown());
                    }
                }
            }
            Target::Nothing(why) => {
                flag.value.is_none().then(next);
                if let Some(why) = why {
                    self.left_out.push(format!("{}: {why}", flag.shown()));
                }
            }
        }
        Ok(())
    }

    /// The flag's value, of the kind that the key has.
    fn value<'t>(
        &self,
        flag: &Flag<'_>,
        default: &Value,
        path: &[&str],
        next: impl FnOnce() -> Option<&'t str>,
    ) -> Result<Value, String> {
        if let Value::Boolean(_) = default {
            return match flag.value {
                None => Ok((!flag.is_negated).into()),
                Some("true") => Ok(true.into()),
                Some("false") => Ok(false.into()),
                Some(other) => {
                    Err(format!("{}: `{other}` is neither true nor false", flag.shown()))
                }
            };
        }
        let text = match flag.value {
            Some(value) => value,
            None => next().ok_or_else(|| format!("{}: wanted a value", flag.shown()))?,
        };
        let text = flags::converted(flag.name, text)?;
        match default {
            Value::Integer(_) => {
                let number = text.parse::<i64>();
                number.map(Value::from).map_err(|_| format!("{}: wanted a number", flag.shown()))
            }
            Value::Array(_) => {
                // Given again, such a flag adds; a list with commas is all of it.
                let key: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
                let before = self.keys.get(&key).and_then(|(value, _)| value.as_array().cloned());
                let mut all = before.unwrap_or_default();
                if flags::is_list(flag.name) {
                    all = text.split(',').map(|part| part.trim().into()).collect();
                } else {
                    all.push(text.into());
                }
                Ok(Value::Array(all))
            }
            _ => Ok(text.into()),
        }
    }

    fn set(&mut self, path: &[&str], value: Value, flag: String) {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        let (known, flags) = self.keys.entry(path).or_insert((Value::Boolean(false), Vec::new()));
        *known = value;
        flags.push(flag);
    }
}

/// The keys as TOML, but for those that say what the defaults say.
fn write(keys: &Keys) -> String {
    let defaults = defaults().unwrap_or_default();
    let mut text = String::new();
    let mut section = None;
    for (path, (value, flags)) in keys {
        let parts: Vec<_> = path.iter().map(String::as_str).collect();
        let Some((key, tables)) = path.split_last() else { continue };
        if at(&defaults, &parts) == Some(value) {
            continue;
        }
        if section != Some(tables) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{}]", tables.join("."));
            section = Some(tables);
        }
        let _ = writeln!(text, "# {}\n{key} = {value}", flags.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(flags: &str) -> Imported {
        let flags: Vec<_> = flags.split('\n').map(str::to_owned).collect();
        node_exporter(&flags).unwrap_or_else(|error| panic!("{flags:?}: {error}"))
    }

    fn config(flags: &str) -> String {
        let imported = import(flags);
        assert_eq!(imported.left_out, [""; 0], "{flags}");
        imported.config
    }

    #[test]
    fn flags_become_keys() {
        for (flags, wanted) in [
            ("--collector.wifi", "[host.collectors.wifi]\n# --collector.wifi\nenabled = true\n"),
            (
                "--no-collector.zfs",
                "[host.collectors.zfs]\n# --no-collector.zfs\nenabled = false\n",
            ),
            ("--collector.cpu", ""),
            (
                "--collector.cpu.info",
                "[host.collectors.cpu]\n# --collector.cpu.info\ninfo = true\n",
            ),
            (
                "--collector.cpu.info.flags-include=^aes$",
                "[host.collectors.cpu]\n# --collector.cpu.info.flags-include=^aes$\nflags_include = \"^aes$\"\n",
            ),
            (
                "--collector.diskstats.ignored-devices\n^loop",
                "[host.collectors.diskstats]\n# --collector.diskstats.ignored-devices\ndevice_exclude = \"^loop\"\n",
            ),
            (
                "--collector.textfile.directory=/a\n--collector.textfile.directory=/b",
                "[host.collectors.textfile]\n# --collector.textfile.directory=/a \
                    --collector.textfile.directory=/b\ndirectories = [\"/a\", \"/b\"]\n",
            ),
            (
                "--collector.ipvs.backend-labels=proto,local_mark",
                "[host.collectors.ipvs]\n# --collector.ipvs.backend-labels=proto,local_mark\n\
                    backend_labels = [\"proto\", \"local_mark\"]\n",
            ),
            (
                "--web.listen-address=:9100",
                "[http]\n# --web.listen-address=:9100\nlisten = [\"[::]:9100\"]\n",
            ),
            (
                "--path.procfs=/host/proc",
                "[paths]\n# --path.procfs=/host/proc\nprocfs = \"/host/proc\"\n",
            ),
            ("--log.level=debug", "[log]\n# --log.level=debug\nlevel = \"debug\"\n"),
            (
                "--web.telemetry-path=/metrics\n--collector.netclass.netlink\n--runtime.gomaxprocs=2",
                "",
            ),
        ] {
            assert_eq!(config(flags), wanted, "{flags}");
        }
    }

    #[test]
    fn that_it_listens_elsewhere_is_told() {
        assert!(import("--collector.wifi").differs[0].contains("port 9100"));
        assert_eq!(import("--web.listen-address=:9100").differs, [""; 0]);
    }

    #[test]
    fn all_but_those_named_can_be_off() {
        let text = config("--collector.disable-defaults\n--collector.cpu\n--collector.wifi");
        assert!(text.contains("[host.collectors.wifi]\n# --collector.disable-defaults --collector.wifi\nenabled = true"));
        assert!(
            text.contains("[host.collectors.zfs]\n# --collector.disable-defaults\nenabled = false")
        );
        assert!(!text.contains("[host.collectors.cpu]"), "{text}");
        // Flags go together whatever their order.
        let other = config("--collector.wifi\n--collector.cpu\n--collector.disable-defaults");
        assert!(
            other.contains("[host.collectors.wifi]\n# --collector.wifi\nenabled = true"),
            "{other}"
        );
        assert!(!other.contains("[host.collectors.cpu]"), "{other}");
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let imported = import(
            "--web.config.file=/etc/web.yml\n--collector.ntp\n--collector.cpu.no-such=1\n--zzz=1",
        );
        let names: Vec<_> =
            imported.left_out.iter().map(|what| what.split(':').next().unwrap()).collect();
        let wanted = [
            "--web.config.file=/etc/web.yml",
            "--collector.ntp",
            "--collector.cpu.no-such",
            "--zzz=1",
        ];
        assert_eq!(names, wanted);
        assert_eq!(imported.config, "");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = |flag: &str| node_exporter(&[flag.to_owned()]).unwrap_err();
        assert!(error("collector.cpu").starts_with("`collector.cpu` is no flag"));
        assert_eq!(
            error("--collector.cpu.info=x"),
            "--collector.cpu.info=x: `x` is neither true nor false"
        );
        assert_eq!(error("--path.procfs"), "--path.procfs: wanted a value");
        assert!(error("--collector.arp.device-include=(").contains("is not a regular expression"));
    }

    #[test]
    fn values_of_options_that_musterd_has_not_are_no_flags() {
        let imported = import("--collector.perf.cpus\n0-3\n--no-collector.arp\n--collector.x\ny");
        assert_eq!(
            imported.config,
            "[host.collectors.arp]\n# --no-collector.arp\nenabled = false\n"
        );
        assert_eq!(imported.left_out.len(), 2, "{:?}", imported.left_out);
        assert!(config("--web.listen-address=localhost:9100").contains("[\"127.0.0.1:9100\"]"));
    }
}
