//! `musterd import process-exporter`.
//!
//! Must not know how processes are counted.

use super::process_names::{self, Rules};
use super::{Imported, elsewhere, listen_address};
use crate::config;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use toml::Value;

/// Flags that say yes or no, with the key that each of them is; what they say where they are not given
/// is yes, and here no.
const SWITCHES: [(&str, &str); 3] =
    [("children", "children"), ("threads", "threads"), ("gather-smaps", "proportional_memory")];

/// Flags that say yes or no and have no key, and why.
const NO_KEYS: [(&str, &str); 6] = [
    (
        "recheck",
        "a process is asked again when it runs another program or takes another name, and at every \
         64th scan",
    ),
    ("remove-empty-groups", "counters of a group stay when its processes have ended"),
    ("gather-inotify-watches", "musterd has no such option"),
    ("once-to-stdout", "there is nothing to be configured for it"),
    ("version", "there is nothing to be configured for it"),
    ("man", "there is nothing to be configured for it"),
];

/// Flags with a value, that are not of the names of groups.
const VALUES: [(&str, &str); 4] = [
    ("recheck-with-time-limit", "a process is asked again some time, however old it is"),
    ("once-to-stdout-delay", "there is nothing to be configured for it"),
    ("web.config.file", "TLS and passwords are a reverse proxy's"),
    ("web.telemetry-path", "metrics are always at /metrics"),
];

/// Flags with a value that say which processes there are, and other keys.
const OTHERS: [&str; 5] =
    ["config.path", "procnames", "namemapping", "procfs", "web.listen-address"];

/// The flags by name, each with its value and as it was given. The last of a name holds.
type Given<'t> = BTreeMap<&'t str, (&'t str, String)>;

/// Makes a configuration of process-exporter's flags. `read` reads the file of `-config.path`.
///
/// # Errors
/// What is wrong with a flag or the file, or with what came of all of them.
pub fn process_exporter(
    flags: &[String],
    read: &dyn Fn(&Path) -> Result<String, String>,
) -> Result<Imported, String> {
    let (given, unknown) = given(flags)?;
    let value = |name: &str| given.get(name).map_or("", |(value, _)| *value);
    let Rules { list, mut left_out, mut differs } = match given.get("config.path") {
        Some((path, _)) => {
            let rules = process_names::of_file(&read(Path::new(path))?);
            rules.map_err(|what| format!("{path}: {what}"))?
        }
        None => process_names::of_flags(value("procnames"), value("namemapping"))?,
    };
    for (name, why) in NO_KEYS.iter().chain(&VALUES) {
        if let Some((value, shown)) = given.get(name)
            && !matches!(*value, "false" | "/metrics")
        {
            left_out.push(format!("{shown}: {why}"));
        }
    }
    left_out.extend(unknown);
    let mut config = String::new();
    let mut section = |name: &str, flag: &str, key: &str, value: Value| {
        if let Some((_, shown)) = given.get(flag) {
            let _ = writeln!(config, "[{name}]\n# {shown}\n{key} = {value}\n");
        }
    };
    let listen = listen_address(value("web.listen-address"));
    section("http", "web.listen-address", "listen", Value::from(vec![listen]));
    section("paths", "procfs", "procfs", value("procfs").into());
    if is_set("debug", &given, false)? {
        section("log", "debug", "level", "debug".into());
    }
    config
        .push_str("[processes]\n# Processes that no rule takes are in no group.\nothers = false\n");
    for (name, key) in SWITCHES {
        if is_set(name, &given, true)? {
            let shown = given
                .get(name)
                .map_or_else(|| format!("-{name}, its default"), |(_, it)| it.clone());
            let _ = writeln!(config, "# {shown}\n{key} = true");
        }
    }
    for rule in list {
        let _ = write!(config, "\n[[processes.groups]]\n{rule}");
    }
    config::parse(&[("what was imported", &config)]).map_err(|error| error.to_string())?;
    if !given.contains_key("web.listen-address") {
        differs.push(elsewhere("process-exporter", 9256));
    }
    Ok(Imported { config, left_out, differs })
}

fn is_set(name: &str, given: &Given<'_>, default: bool) -> Result<bool, String> {
    match given.get(name) {
        None => Ok(default),
        Some(("true" | "1" | "t" | "T" | "TRUE" | "True", _)) => Ok(true),
        Some(("false" | "0" | "f" | "F" | "FALSE" | "False", _)) => Ok(false),
        Some((other, shown)) => Err(format!("{shown}: `{other}` is neither true nor false")),
    }
}

/// As Go reads flags: with one dash or two, the value behind `=` or, for those that need one, in the
/// next argument. Those that are not known are told of, too.
fn given(flags: &[String]) -> Result<(Given<'_>, Vec<String>), String> {
    let (mut given, mut unknown) = (Given::new(), Vec::new());
    let mut flags = flags.iter().peekable();
    while let Some(text) = flags.next() {
        let body = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
        let body = body.filter(|body| !body.is_empty());
        let body =
            body.ok_or_else(|| format!("`{text}` is no flag, wanted -NAME or -NAME=VALUE"))?;
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let is = |(known, _): &(&str, &str)| *known == name;
        let is_switch = name == "debug" || SWITCHES.iter().chain(&NO_KEYS).any(is);
        let is_known = is_switch || VALUES.iter().any(is) || OTHERS.contains(&name);
        let (value, shown) = match value {
            Some(value) => (value, text.clone()),
            None if is_switch => ("true", text.clone()),
            None if is_known => {
                let next = flags.next().ok_or_else(|| format!("{text}: wanted a value"))?;
                (next.as_str(), format!("{text}={next}"))
            }
            None => {
                flags.next_if(|next| !next.starts_with('-'));
                ("", text.clone())
            }
        };
        if is_known {
            given.insert(name, (value, shown));
        } else {
            unknown.push(format!("{shown}: no flag of process-exporter that musterd knows"));
        }
    }
    Ok((given, unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "process_names: [{name: '{{.Comm}}', cmdline: ['.+']}]";

    fn import(flags: &str) -> Result<Imported, String> {
        let flags: Vec<_> = flags.split_whitespace().map(str::to_owned).collect();
        process_exporter(&flags, &|path| match path.to_str() {
            Some("/etc/names.yml") => Ok(NAMES.to_owned()),
            _ => Err("cannot read it".to_owned()),
        })
    }

    #[test]
    fn flags_and_the_file_of_names_become_keys() {
        let imported =
            import("-config.path /etc/names.yml --web.listen-address=:9256 -gather-smaps=false");
        let wanted = "[http]\n# --web.listen-address=:9256\nlisten = [\"[::]:9256\"]\n\n\
                      [processes]\n# Processes that no rule takes are in no group.\nothers = false\n\
                      # -children, its default\nchildren = true\n# -threads, its default\nthreads = true\n\n\
                      [[processes.groups]]\nname = \"{comm}\"\ncmdline = [\".+\"]\n";
        let (left_out, differs) = (vec![], vec![]);
        assert_eq!(imported, Ok(Imported { config: wanted.to_owned(), left_out, differs }));
        let imported = import(
            "-procnames=sh -children=false -threads=false -gather-smaps=f -debug -procfs /p",
        );
        let wanted = "[paths]\n# -procfs=/p\nprocfs = \"/p\"\n\n[log]\n# -debug\nlevel = \"debug\"\n\n\
                      [processes]\n# Processes that no rule takes are in no group.\nothers = false\n\n\
                      [[processes.groups]]\nname = \"{comm}\"\ncomm = [\"sh\"]\n";
        let imported = imported.unwrap();
        assert_eq!(imported.config, wanted);
        assert!(imported.differs[0].contains("port 9256"));
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let imported = import(
            "-recheck -zzz y -remove-empty-groups -web.telemetry-path /m -web.config.file=/w",
        )
        .unwrap();
        let names: Vec<_> =
            imported.left_out.iter().map(|what| what.split(':').next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "-recheck",
                "-remove-empty-groups",
                "-web.config.file=/w",
                "-web.telemetry-path=/m",
                "-zzz"
            ]
        );
        assert_eq!(import("-web.telemetry-path=/metrics -man=false").unwrap().left_out, [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (flags, words) in [
            ("children", "`children` is no flag"),
            ("-threads=maybe", "-threads=maybe: `maybe` is neither true nor false"),
            ("-config.path", "-config.path: wanted a value"),
            ("-config.path /nowhere", "cannot read it"),
            ("-web.listen-address=x", "is not an address"),
        ] {
            let error = import(flags).unwrap_err();
            assert!(error.contains(words), "{flags}: {error}");
        }
    }
}
