//! A rule of the configuration: which processes it takes, and the name of their group.
//!
//! Pure. Must not know how anything is found out about a process, only when it is needed.

use super::name::{Asked, Captures, Template, base, program};
use regex_lite::Regex;
use serde::Deserialize;

/// A rule that gathers processes under a name. A process must meet every condition that is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Rule {
    name: Template,
    comm: Vec<String>,
    exe: Vec<String>,
    cmdline: Vec<Regex>,
}

/// As the configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    name: String,
    #[serde(default)]
    comm: Vec<String>,
    #[serde(default)]
    exe: Vec<String>,
    #[serde(default)]
    cmdline: Expressions,
}

/// One expression, or several, all of which must be found.
#[derive(Deserialize)]
#[serde(untagged, expecting = "wanted a regular expression, or several in brackets")]
enum Expressions {
    One(String),
    Several(Vec<String>),
}

impl Default for Expressions {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl TryFrom<Keys> for Rule {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let Keys { name, comm, exe, cmdline } = keys;
        let cmdline = match cmdline {
            Expressions::One(text) => vec![text],
            Expressions::Several(texts) => texts,
        };
        if name.is_empty() {
            return Err("name is empty: a group needs one".to_owned());
        }
        if comm.is_empty() && exe.is_empty() && cmdline.is_empty() {
            return Err(format!("group {name:?} has no condition: comm, exe or cmdline is wanted"));
        }
        let cmdline = cmdline.iter().map(|text| expression(text)).collect::<Result<Vec<_>, _>>()?;
        let captures: Vec<_> = cmdline.iter().flat_map(names).map(str::to_owned).collect();
        Ok(Self { name: Template::parse(&name, &captures)?, comm, exe, cmdline })
    }
}

fn expression(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("{text:?} is not a regular expression: {error}"))
}

/// The names of an expression's groups that have one.
fn names(expression: &Regex) -> impl Iterator<Item = &str> {
    expression.capture_names().flatten()
}

impl Rule {
    /// The name of a process's group, if the rule takes it.
    pub(super) fn name_of(&self, process: &dyn Asked) -> Option<String> {
        let any = |list: &[String], is: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|wanted| is(wanted))
        };
        if !any(&self.comm, &|name| name == process.comm()) {
            return None;
        }
        let is_program = |exe: &str| {
            let has_arguments = !process.arguments().is_empty();
            let program = program(process);
            has_arguments && exe == if exe.contains('/') { program } else { base(program) }
        };
        if !any(&self.exe, &is_program) {
            return None;
        }
        let captures = self.captures(process)?;
        Some(self.name.fill(process, &captures))
    }

    /// What the named groups of all expressions have found; `None` if one of these is not found.
    fn captures(&self, process: &dyn Asked) -> Option<Captures> {
        let mut captures = Captures::new();
        if self.cmdline.is_empty() {
            return Some(captures);
        }
        let line = process.arguments().trim_end_matches('\0').replace('\0', " ");
        for expression in &self.cmdline {
            let found = expression.captures(&line)?;
            captures.extend(
                names(expression).filter_map(|name| {
                    Some((name.to_owned(), found.name(name)?.as_str().to_owned()))
                }),
            );
        }
        Some(captures)
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Example;
    use super::*;

    fn rule(text: &str) -> Result<Rule, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    fn name(text: &str, comm: &'static str, arguments: &'static str) -> Option<String> {
        rule(text).unwrap().name_of(&Example { comm, arguments })
    }

    #[test]
    fn all_conditions_must_be_met() {
        let etl = "name = 'etl'\ncomm = ['python3']\ncmdline = 'etl\\.py --day'";
        let scripts = "name = 'scripts'\nexe = ['python3', '/bin/sh']";
        let never = "name = 'never'\ncomm = ['python3', 'bash']\nexe = ['perl']";
        for (text, comm, arguments, wanted) in [
            (etl, "python3", "/usr/bin/python3\0etl.py\0--day\0", Some("etl")),
            (etl, "python3", "/usr/bin/python3\0x.py\0", None),
            (etl, "python", "/usr/bin/python3\0etl.py\0--day\0", None),
            (scripts, "python3", "/usr/bin/python3\0x.py\0", Some("scripts")),
            (scripts, "sh", "/bin/sh\0-c\0", Some("scripts")),
            (scripts, "sh", "/usr/bin/sh\0-c\0", None),
            (scripts, "python3", "", None),
            (never, "python3", "/usr/bin/python3\0", None),
        ] {
            assert_eq!(name(text, comm, arguments).as_deref(), wanted, "{text} {arguments:?}");
        }
    }

    #[test]
    fn all_expressions_must_be_found_and_name_the_group() {
        let text = "name = '{exe_base}:{file}:{day}'\n\
                    cmdline = ['(?P<file>\\S+)\\.py', '--day[= ](?P<day>\\w+)']";
        let arguments = "/usr/bin/python3\0etl.py\0--day\0monday\0";
        assert_eq!(name(text, "python3", arguments).as_deref(), Some("python3:etl:monday"));
        assert_eq!(name(text, "python3", "/usr/bin/python3\0etl.py\0"), None);
        let either = "name = '{a}{b}'\ncmdline = '(?P<a>x)|(?P<b>y)'";
        assert_eq!(name(either, "z", "y\0").as_deref(), Some("y"));
    }

    #[test]
    fn wrong_rules_are_refused_with_a_reason() {
        for (text, words) in [
            ("name = 'x'", "has no condition"),
            ("name = ''\ncomm = ['x']", "name is empty"),
            ("name = 'x'\ncmdline = '('", "is not a regular expression"),
            ("name = 'x'\ncmdline = 7", "wanted a regular expression, or several in brackets"),
            ("name = 'x'\ncom = ['x']", "unknown field"),
            ("name = '{file}'\ncmdline = 'x'", "{file} is nothing to fill in"),
        ] {
            let error = rule(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
