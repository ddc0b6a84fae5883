//! process-exporter's ways to name groups as rules of `[processes] groups`: its file of `process_names`,
//! and its flags `-procnames` and `-namemapping`.
//!
//! Must not know other flags.

use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use yaml_rust2::{Yaml, YamlLoader};

/// Rules, each as the lines of a table; what of theirs is left out, and why; and what is not the same.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rules {
    pub(super) list: Vec<String>,
    pub(super) left_out: Vec<String>,
    pub(super) differs: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    process_names: Vec<Matcher>,
}

/// What is not there is no condition; an empty list is one, which nothing meets.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Matcher {
    name: String,
    comm: Option<Vec<String>>,
    exe: Option<Vec<String>>,
    cmdline: Option<Vec<String>>,
}

/// The rules of a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn of_file(text: &str) -> Result<Rules, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    let document = documents.first().map_or(Value::Null, json);
    let Document { process_names } =
        serde_json::from_value(document).map_err(|error| error.to_string())?;
    let mut rules = Rules::default();
    for matcher in process_names {
        rules.add(matcher)?;
    }
    Ok(rules)
}

/// The rules of `-procnames` and `-namemapping`.
///
/// # Errors
/// What is wrong with them.
pub(super) fn of_flags(names: &str, mapping: &str) -> Result<Rules, String> {
    let parts: Vec<_> = mapping.split(',').filter(|_| !mapping.is_empty()).collect();
    let (pairs, rest) = parts.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("-namemapping: wanted names and expressions by turns".to_owned());
    }
    let mapping: BTreeMap<&str, &str> = pairs.iter().map(|[name, text]| (*name, *text)).collect();
    let mut rules = Rules::default();
    for (name, expression) in &mapping {
        let (expression, groups) = with_names(expression);
        match groups.as_slice() {
            // It has nothing to add to the name, and takes no process.
            [] => continue,
            [_] => {}
            _ => rules.differs.push(format!(
                "-namemapping of {name:?}: process-exporter takes the first group that has found \
                 something, musterd all"
            )),
        }
        let places: String = groups.iter().map(|name| format!("{{{{.Matches.{name}}}}}")).collect();
        rules.add(Matcher {
            name: format!("{{{{.Comm}}}}:{places}"),
            comm: Some(vec![(*name).to_owned()]),
            exe: None,
            cmdline: Some(vec![expression]),
        })?;
    }
    let names = names.split(',').filter(|name| !name.is_empty() && !mapping.contains_key(name));
    let comm: Vec<_> = names.map(str::to_owned).collect();
    if !comm.is_empty() {
        let name = "{{.Comm}}".to_owned();
        rules.add(Matcher { name, comm: Some(comm), ..Matcher::default() })?;
    }
    Ok(rules)
}

/// An expression whose groups without names have got some, and the names of all.
fn with_names(expression: &str) -> (String, Vec<String>) {
    let (mut named, mut names) = (String::new(), Vec::new());
    let mut in_class = false;
    let mut rest = expression.chars();
    while let Some(c) = rest.next() {
        named.push(c);
        match c {
            '\\' => named.extend(rest.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => match rest.as_str().strip_prefix("?P<") {
                Some(name) => names.extend(name.split_once('>').map(|(name, _)| name.to_owned())),
                None if rest.as_str().starts_with('?') => {}
                None => {
                    let name = format!("part{}", names.len() + 1);
                    named.push_str(&format!("?P<{name}>"));
                    names.push(name);
                }
            },
            _ => {}
        }
    }
    (named, names)
}

impl Rules {
    fn add(&mut self, matcher: Matcher) -> Result<(), String> {
        let Matcher { name, comm, exe, cmdline } = matcher;
        if comm.is_none() && exe.is_none() && cmdline.is_none() {
            return Err(format!("{name:?}: wanted comm, exe or cmdline"));
        }
        if [&comm, &exe].into_iter().flatten().any(Vec::is_empty) {
            self.left_out.push(format!("group name {name:?}: no process meets an empty list"));
            return Ok(());
        }
        for comm in comm.iter().flatten().filter(|comm| comm.contains('/')) {
            self.differs
                .push(format!("comm {comm:?}: a kernel thread's name ends at its slash here"));
        }
        let mut captures = Vec::new();
        for text in cmdline.iter().flatten() {
            let expression = Regex::new(text);
            let expression = expression.map_err(|error| format!("cmdline {text:?}: {error}"))?;
            captures.extend(expression.capture_names().flatten().map(str::to_owned));
        }
        let Some(name) = self.name(&name, &captures) else { return Ok(()) };
        // No expression is one that is found in everything.
        let cmdline = cmdline.map(|list| if list.is_empty() { vec![String::new()] } else { list });
        let mut rule = format!("name = {}\n", toml::Value::from(name));
        for (key, list) in [("comm", comm), ("exe", exe), ("cmdline", cmdline)] {
            if let Some(list) = list {
                rule.push_str(&format!("{key} = {}\n", toml::Value::from(list)));
            }
        }
        self.list.push(rule);
        Ok(())
    }

    /// A group's name, of a template of Go's (text/template); `None` for one that does more than to fill
    /// places.
    fn name(&mut self, template: &str, captures: &[String]) -> Option<String> {
        let (mut name, mut rest) = (String::new(), template);
        while let Some((text, inside)) = rest.split_once("{{") {
            name.push_str(&as_text(text));
            let (action, after) = inside.split_once("}}").unwrap_or((inside, ""));
            rest = after;
            match place(action.trim(), captures) {
                Some(place) => name.push_str(&format!("{{{place}}}")),
                None if action.trim().starts_with('.') => self.left_out.push(format!(
                    "{{{{{action}}}}} of the group name {template:?}: musterd has nothing to fill in"
                )),
                None => {
                    self.left_out.push(format!("group name {template:?}: musterd only fills places"));
                    return None;
                }
            }
            match action.trim() {
                ".Cgroups" => self.differs.push(format!(
                    "group name {template:?}: of all paths of cgroups, musterd fills in the longest"
                )),
                ".PID" => self.differs.push(format!(
                    "group name {template:?}: groups stay when their processes have ended; beyond \
                     [processes] max_groups, all further ones are one"
                )),
                _ => {}
            }
        }
        name.push_str(&as_text(rest));
        Some(if name.is_empty() { "{exe_base}".to_owned() } else { name })
    }
}

/// Braces as such.
fn as_text(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// What stands in the place of an action.
fn place<'n>(action: &'n str, captures: &[String]) -> Option<&'n str> {
    let place = match action {
        ".Comm" => "comm",
        ".ExeBase" => "exe_base",
        ".ExeFull" => "exe",
        ".Username" => "user",
        ".PID" => "pid",
        ".Cgroups" => "cgroup",
        _ => {
            let name = action.strip_prefix(".Matches.")?;
            return captures.iter().any(|capture| capture == name).then_some(name);
        }
    };
    // In the place of that name, the part of the command line is filled in.
    (!captures.iter().any(|capture| capture == place)).then_some(place)
}

/// YAML as JSON, which knows fewer kinds of values.
fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.as_str().into(),
        Yaml::Integer(number) => number.to_string().into(),
        Yaml::Boolean(is) => is.to_string().into(),
        Yaml::Array(list) => list.iter().map(json).collect(),
        Yaml::Hash(table) => {
            let pairs = table
                .iter()
                .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), json(value))));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Yaml::Null | Yaml::Alias(_) | Yaml::BadValue => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<String> {
        let rules = of_file(text).unwrap();
        assert_eq!(rules.left_out, [""; 0], "{text}");
        rules.list.iter().map(|rule| rule.replace('\n', "; ")).collect()
    }

    #[test]
    fn a_file_of_names_becomes_rules() {
        let text = "process_names:\n  - name: \"{{.Comm}}\"\n    cmdline:\n    - '.+'\n  \
                    - comm: [bash]\n  \
                    - name: '{{ .ExeFull }}:{{.Matches.Cfg}}{'\n    exe:\n    - /usr/bin/x\n    - y\n    \
                    cmdline:\n    - -config.path\\s+(?P<Cfg>\\S+)\n    - more\n";
        assert_eq!(
            rules(text),
            [
                "name = \"{comm}\"; cmdline = [\".+\"]; ",
                "name = \"{exe_base}\"; comm = [\"bash\"]; ",
                "name = \"{exe}:{Cfg}{{\"; exe = [\"/usr/bin/x\", \"y\"]; \
                 cmdline = ['-config.path\\s+(?P<Cfg>\\S+)', \"more\"]; ",
            ]
        );
    }

    #[test]
    fn what_cannot_be_filled_in_is_named() {
        let text = "process_names:\n- {comm: [a], name: 'x{{.StartTime}}{{.Matches.none}}'}\n\
                    - {name: '{{.Username}}', cmdline: ['(?P<user>.)']}\n";
        let Rules { list, left_out, .. } = of_file(text).unwrap();
        let names: Vec<_> = list.iter().map(|rule| rule.lines().next().unwrap()).collect();
        assert_eq!(names, ["name = \"x\"", "name = \"{exe_base}\""]);
        let starts: Vec<_> = left_out.iter().map(|what| what.split(' ').next().unwrap()).collect();
        assert_eq!(starts, ["{{.StartTime}}", "{{.Matches.none}}", "{{.Username}}"]);
    }

    #[test]
    fn flags_name_groups_too() {
        let Rules { list, left_out, differs } =
            of_flags("gvim,upstart,bash", "upstart,(--user),java,-jar\\s+([^(/]+)\\(|(x).jar")
                .unwrap();
        assert_eq!(left_out, [""; 0]);
        let brief = |rule: &String| rule.replace('\n', "; ");
        assert_eq!(
            list.iter().map(brief).collect::<Vec<_>>(),
            [
                "name = \"{comm}:{part1}{part2}\"; comm = [\"java\"]; \
                 cmdline = ['-jar\\s+(?P<part1>[^(/]+)\\(|(?P<part2>x).jar']; ",
                "name = \"{comm}:{part1}\"; comm = [\"upstart\"]; cmdline = [\"(?P<part1>--user)\"]; ",
                "name = \"{comm}\"; comm = [\"gvim\", \"bash\"]; ",
            ]
        );
        assert!(differs[0].starts_with("-namemapping of \"java\": ") && differs.len() == 1);
        assert_eq!(of_flags("", "").unwrap(), Rules::default());
        // Without a group it takes nothing, as there; a group may have a name; the last for a command holds.
        let mapping = "sleep,^sleep,tail,(a),tail,(?P<n>b) (c)";
        let Rules { list, differs, .. } = of_flags("sleep,tail", mapping).unwrap();
        let wanted = "name = \"{comm}:{n}{part2}\"; comm = [\"tail\"]; cmdline = [\"(?P<n>b) (?P<part2>c)\"]; ";
        assert_eq!(list.iter().map(brief).collect::<Vec<_>>(), [wanted]);
        assert_eq!(differs.len(), 1);
    }

    #[test]
    fn what_is_not_the_same_is_named() {
        let text = "process_names:\n- {comm: [], exe: [sleep]}\n- {name: a, cmdline: []}\n\
                    - {name: '{{.PID}} {{.Cgroups}}', comm: ['kworker/0:1']}\n\
                    - {name: '{{if .Comm}}x{{end}}', comm: [x]}\n";
        let Rules { list, left_out, differs } = of_file(text).unwrap();
        let wanted = [
            "name = \"a\"\ncmdline = [\"\"]\n",
            "name = \"{pid} {cgroup}\"\ncomm = [\"kworker/0:1\"]\n",
        ];
        assert_eq!(list, wanted);
        let are = |list: &[String], words: &[&str]| {
            list.len() == words.len() && list.iter().zip(words).all(|(it, word)| it.contains(word))
        };
        assert!(are(&left_out, &["empty list", "only fills places"]), "{left_out:?}");
        assert!(are(&differs, &["kernel thread", "max_groups", "longest"]), "{differs:?}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, words) in [
            ("process_names:\n- {name: x}", "\"x\": wanted comm, exe or cmdline"),
            ("process_names:\n- {cmdline: ['(']}", "cmdline \"(\": "),
            ("process_names: x", "invalid type"),
            ("other: []", "missing field `process_names`"),
            ("", "invalid type: null"),
            ("a: [", "line 2"),
        ] {
            let error = of_file(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(of_flags("", "a,b,c").unwrap_err().contains("by turns"));
    }
}
