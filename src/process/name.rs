//! How a rule names a group: text with places in braces, which each process fills for itself.
//!
//! Pure. Must not know how anything is found out about a process.

use std::collections::BTreeMap;

/// No name is longer, in characters: a part of a command line may be of any length.
const LIMIT: usize = 512;

/// What is asked of a process to find and name its group. Each answer is found out when it is asked
/// for; what cannot be is empty.
pub(super) trait Asked {
    fn pid(&self) -> u32;
    /// The command's name.
    fn comm(&self) -> &str;
    /// The arguments, each ended by a zero byte, as `/proc/<pid>/cmdline` has them.
    fn arguments(&self) -> &str;
    /// The name of its effective user, or the number of one without a name.
    fn user(&self) -> String;
    /// The path of its cgroup.
    fn cgroup(&self) -> String;
    /// The unit of systemd's that it belongs to.
    fn unit(&self) -> String;
}

/// The first argument, or the command's name where there are no arguments (kernel threads).
pub(super) fn program(process: &dyn Asked) -> &str {
    match process.arguments().split('\0').next() {
        Some(program) if !program.is_empty() => program,
        _ => process.comm(),
    }
}

/// The last part of a path, whether or not a slash follows it.
pub(super) fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The parts of command lines that named groups of expressions have found.
pub(super) type Captures = BTreeMap<String, String>;

/// A name with places to fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Comm,
    Exe,
    ExeBase,
    User,
    Pid,
    Cgroup,
    Unit,
    /// Of a named group of an expression.
    Capture(String),
}

impl Part {
    fn of(place: &str, captures: &[String]) -> Result<Self, String> {
        // What a rule finds in the command line it has named itself.
        if captures.iter().any(|name| name == place) {
            return Ok(Self::Capture(place.to_owned()));
        }
        Ok(match place {
            "comm" => Self::Comm,
            "exe" => Self::Exe,
            "exe_base" => Self::ExeBase,
            "user" => Self::User,
            "pid" => Self::Pid,
            "cgroup" => Self::Cgroup,
            "unit" => Self::Unit,
            _ => {
                return Err(format!(
                    "{{{place}}} is nothing to fill in; there are {{comm}}, {{exe}}, {{exe_base}}, \
                     {{user}}, {{unit}}, {{cgroup}}, {{pid}}, and {{NAME}} of each group (?P<NAME>...) \
                     in cmdline"
                ));
            }
        })
    }

    fn fill(&self, process: &dyn Asked, captures: &Captures) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Comm => process.comm().to_owned(),
            Self::Exe => program(process).to_owned(),
            Self::ExeBase => base(program(process)).to_owned(),
            Self::User => process.user(),
            Self::Pid => process.pid().to_string(),
            Self::Cgroup => process.cgroup(),
            Self::Unit => process.unit(),
            Self::Capture(name) => captures.get(name).cloned().unwrap_or_default(),
        }
    }
}

impl Template {
    /// Parses a name; `captures` are the named groups of the rule's expressions. A brace that is
    /// meant as such is written twice.
    pub(super) fn parse(text: &str, captures: &[String]) -> Result<Self, String> {
        let (mut parts, mut rest, mut literal) = (Vec::new(), text, String::new());
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            rest = match (brace.get(..1), brace.get(1..2)) {
                (Some(one), other) if Some(one) == other => {
                    literal.push_str(one);
                    brace.get(2..)
                }
                (Some("{"), _) => {
                    let closed = brace.get(1..).and_then(|inside| inside.split_once('}'));
                    let (place, after) =
                        closed.ok_or_else(|| format!("a brace is not closed in {text:?}"))?;
                    parts.extend(
                        (!literal.is_empty()).then(|| Part::Text(std::mem::take(&mut literal))),
                    );
                    parts.push(Part::of(place, captures)?);
                    Some(after)
                }
                _ => {
                    return Err(format!(
                        "a brace is not opened in {text:?}; one as such is written twice"
                    ));
                }
            }
            .unwrap_or_default();
        }
        literal.push_str(rest);
        parts.extend((!literal.is_empty()).then_some(Part::Text(literal)));
        Ok(Self(parts))
    }

    /// The name for a process; its command's where nothing has been filled in.
    pub(super) fn fill(&self, process: &dyn Asked, captures: &Captures) -> String {
        let mut name: String = self.0.iter().map(|part| part.fill(process, captures)).collect();
        if name.is_empty() {
            process.comm().clone_into(&mut name);
        }
        if let Some((end, _)) = name.char_indices().nth(LIMIT) {
            name.truncate(end);
        }
        name
    }
}

/// A process of tests.
#[cfg(test)]
pub(super) struct Example {
    pub(super) comm: &'static str,
    pub(super) arguments: &'static str,
}

#[cfg(test)]
impl Asked for Example {
    fn pid(&self) -> u32 {
        7
    }
    fn comm(&self) -> &str {
        self.comm
    }
    fn arguments(&self) -> &str {
        self.arguments
    }
    fn user(&self) -> String {
        "ann".to_owned()
    }
    fn cgroup(&self) -> String {
        "/system.slice/db.service".to_owned()
    }
    fn unit(&self) -> String {
        "db.service".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: Example =
        Example { comm: "postgres", arguments: "/usr/lib/pg/postgres\0-D\0/x\0" };

    fn filled(text: &str, process: &Example) -> String {
        let captures = Captures::from([("folder".to_owned(), "/x".to_owned())]);
        Template::parse(text, &["folder".to_owned()]).unwrap().fill(process, &captures)
    }

    #[test]
    fn places_are_filled() {
        for (text, name) in [
            ("db", "db"),
            ("{comm}", "postgres"),
            ("{exe}:{folder}", "/usr/lib/pg/postgres:/x"),
            ("{exe_base}-{user}-{pid}", "postgres-ann-7"),
            ("{unit} in {cgroup}", "db.service in /system.slice/db.service"),
            ("{{{comm}}}", "{postgres}"),
            ("caf\u{e9}{{}}", "caf\u{e9}{}"),
        ] {
            assert_eq!(filled(text, &POSTGRES), name, "{text}");
        }
        let own = Template::parse("{user}", &["user".to_owned()]).unwrap();
        let captures = Captures::from([("user".to_owned(), "bob".to_owned())]);
        assert_eq!(own.fill(&POSTGRES, &captures), "bob");
        assert_eq!((base("/a/b"), base("/a/b/"), base("b"), base("/")), ("b", "b", "b", ""));
        let kernel = Example { comm: "kswapd0", arguments: "" };
        assert_eq!(filled("{exe}|{exe_base}", &kernel), "kswapd0|kswapd0");
    }

    #[test]
    fn a_name_is_never_empty_nor_without_end() {
        let template = Template::parse("{folder}", &["folder".to_owned()]).unwrap();
        assert_eq!(template.fill(&POSTGRES, &Captures::new()), "postgres");
        let long = Captures::from([("folder".to_owned(), "\u{e9}".repeat(1000))]);
        assert_eq!(template.fill(&POSTGRES, &long), "\u{e9}".repeat(LIMIT));
    }

    #[test]
    fn what_cannot_be_filled_is_told() {
        let error = |text: &str| Template::parse(text, &["folder".to_owned()]).unwrap_err();
        assert!(error("{Comm}").starts_with("{Comm} is nothing to fill in; there are {comm}, "));
        assert!(error("{}").starts_with("{} is nothing"));
        assert!(error("a{comm").contains("is not closed"));
        assert!(error("comm}").contains("is not opened"));
    }
}
