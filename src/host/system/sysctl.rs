//! `sysctl`: kernel parameters that the configuration names, of `/proc/sys` (sysctl(8)).
//!
//! Must not know what they mean.

use crate::host::gathered::Gathered;
use crate::host::parse::{decimal, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::Family;
use std::path::PathBuf;
use std::sync::Arc;

const FAMILIES: [Family; 2] = [
    Family::untyped(
        "node_sysctl_*",
        &["index"],
        "The parameter of that name; with an index, if it has several values.",
    ),
    Family::gauge(
        "node_sysctl_info",
        &["index", "name", "value"],
        "A parameter that is text; always 1.",
    ),
];
const NUMBER: usize = 0;
const INFO: usize = 1;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "sysctl", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    include: Vec<Parameter>,
    include_info: Vec<Parameter>,
}

/// `fs.file-nr`, or `fs.file-nr:total,current,max` with names for its values.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
struct Parameter {
    name: String,
    keys: Vec<String>,
}

impl TryFrom<String> for Parameter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, keys) = match text.split_once(':') {
            Some((name, keys)) => (name, keys.split(',').map(str::to_owned).collect()),
            None => (text.as_str(), Vec::new()),
        };
        let is_name = |text: &str, others: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
        };
        // Neither may leave /proc/sys: no empty part, no `..`.
        let is_good = name.split(['.', '/']).all(|part| is_name(part, "-_@:"))
            && keys.iter().all(|key| is_name(key, "_"));
        if !is_good {
            return Err(format!("`{text}` is no kernel parameter, wanted NAME or NAME:KEY,KEY…"));
        }
        Ok(Self { name: name.to_owned(), keys })
    }
}

impl Parameter {
    /// As sysctl(8) has it: dots part folders, and a slash stands for a dot in a name.
    fn path(&self) -> PathBuf {
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        self.name.chars().map(swap).collect::<String>().into()
    }

    /// The name in the family's, which replaces by itself what it cannot have.
    fn metric(&self, key: Option<&String>) -> String {
        key.map_or_else(|| self.name.clone(), |key| format!("{}_{key}", self.name))
    }
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { include, include_info } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let files = |parameters: &[Parameter]| {
            let file = |parameter: &Parameter| {
                let path = PathBuf::from("sys").join(parameter.path());
                (parameter.clone(), root.proc(path).single())
            };
            parameters.iter().map(file).collect()
        };
        Box::new(Sysctl {
            numbers: files(&include),
            texts: files(&include_info),
            gathered: Gathered::default(),
        })
    }))
}

struct Sysctl {
    numbers: Vec<(Parameter, KernelFile)>,
    texts: Vec<(Parameter, KernelFile)>,
    gathered: Gathered,
}

impl Collector for Sysctl {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        for (parameter, file) in &mut self.numbers {
            let text = file.read(pass.buffer)?;
            gather(parameter, text, &mut self.gathered)?;
        }
        for (parameter, file) in &mut self.texts {
            let text = file.read(pass.buffer)?;
            for (index, word) in words(text.trim_ascii()).enumerate() {
                let (index, value) = (index.to_string(), String::from_utf8_lossy(word));
                let labels =
                    [("index", index.as_str()), ("name", &parameter.name), ("value", &value)];
                self.gathered.add(INFO, &labels, 1.0);
            }
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

fn gather(parameter: &Parameter, text: &[u8], gathered: &mut Gathered) -> Result<(), Error> {
    let wrong = |what: &str, found: &[u8]| {
        Error::Parse(format!("{}: wanted {what}, found {}", parameter.name, quoted(found)))
    };
    let values: Option<Vec<_>> = words(text.trim_ascii()).map(decimal).collect();
    let values = values.filter(|values| !values.is_empty());
    let values = values.ok_or_else(|| wrong("numbers (see include_info for text)", text))?;
    if !parameter.keys.is_empty() && parameter.keys.len() != values.len() {
        return Err(wrong(&format!("{} numbers", parameter.keys.len()), text));
    }
    for (index, value) in values.iter().enumerate() {
        let name = parameter.metric(parameter.keys.get(index));
        let position = index.to_string();
        let labels = [("index", position.as_str())];
        let has_index = parameter.keys.is_empty() && values.len() > 1;
        gathered.add_named(NUMBER, name.as_bytes(), if has_index { &labels } else { &[] }, *value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_stay_below_proc_sys() {
        let parameter = |text: &str| Parameter::try_from(text.to_owned());
        let with_keys = parameter("fs.file-nr:total,current,max").unwrap();
        assert_eq!((with_keys.path(), with_keys.keys.len()), (PathBuf::from("fs/file-nr"), 3));
        let vlan = parameter("net.ipv4.conf.eth0/7.forwarding").unwrap();
        assert_eq!(vlan.path(), PathBuf::from("net/ipv4/conf/eth0.7/forwarding"));
        for text in ["", ".", "..", "a..b", "/etc", "a//b", "a:", "a:b,", "a:b c", "a b"] {
            assert!(parameter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_must_be_numbers() {
        let gathered = &mut Gathered::default();
        let parameter = |text: &str| Parameter::try_from(text.to_owned()).unwrap();
        assert!(gather(&parameter("a"), b"1 2\n", gathered).is_ok());
        let error = gather(&parameter("a"), b"x\n", gathered).unwrap_err().to_string();
        assert!(error.starts_with("a: wanted numbers (see include_info"), "{error}");
        let error = gather(&parameter("a:b"), b"1 2\n", gathered).unwrap_err().to_string();
        assert!(error.starts_with("a: wanted 1 numbers, found"), "{error}");
    }
}
