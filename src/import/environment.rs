//! Flags in a file that a service's environment is read from.
//!
//! Must not know what the flags mean.

/// The flags in a file that a service's environment is read from, such as
/// `/etc/default/prometheus-node-exporter`: of all variables whose value begins with `dash`, as a flag
/// of that exporter does.
///
/// # Errors
/// That the file's quotes do not match.
pub fn flags_of_environment(text: &str, dash: &str) -> Result<Vec<String>, String> {
    let (mut values, mut quoted) = (Vec::new(), String::new());
    for line in text.replace("\\\n", " ").lines() {
        match line.split_once('=') {
            // As systemd takes it: without quotes a value goes on to the end of its line.
            Some((name, value)) if is_variable(name) && value.starts_with(dash) => {
                values.push(value.to_owned());
            }
            _ if line.trim_start().starts_with(';') => {}
            _ => quoted.extend([line, "\n"]),
        }
    }
    let words = shlex::split(&quoted).ok_or("a quote is not closed")?;
    let assigned = words.iter().filter_map(|word| word.split_once('='));
    let assigned = assigned.filter(|(name, _)| is_variable(name));
    values.extend(assigned.map(|(_, value)| value.to_owned()));
    let mut flags = Vec::new();
    for value in values {
        let text = value.trim_start();
        // What a variable in it stands for is not known here: it is named as what is no flag.
        if text.starts_with(dash) || text.starts_with('$') && text.contains(&format!(" {dash}")) {
            // Where a service's manager unescapes them once more, backslashes are doubled once more.
            let value = value.replace("\\\\", "\\");
            // The expressions in them have backslashes, which are not the shell's any more.
            let doubled = value.replace('\\', "\\\\");
            flags.extend(shlex::split(&doubled).ok_or("a quote is not closed")?);
        }
    }
    Ok(flags)
}

/// Whether this is the name of a variable: what stands before `=` in a comment or a flag is none.
fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables_are_read() {
        let text = "# Flags\nARGS=\"--collector.diskstats.device-exclude=^(ram|loop)\\\\d+$ \\\n  \
            --web.listen-address=':9200'\"\nOTHER=7\n";
        let flags = flags_of_environment(text, "--").unwrap();
        let wanted =
            ["--collector.diskstats.device-exclude=^(ram|loop)\\d+$", "--web.listen-address=:9200"];
        assert_eq!(flags, wanted);
        let more = flags_of_environment("ARGS=\"--collector.arp.device-exclude=x\\\\\\\\d\"", "--")
            .unwrap();
        assert_eq!(more, ["--collector.arp.device-exclude=x\\d"]);
        assert!(flags_of_environment("ARGS=\"", "--").is_err());
        assert_eq!(flags_of_environment("", "--").unwrap(), [""; 0]);
    }

    #[test]
    fn an_environment_is_read_as_systemd_reads_it() {
        for (text, wanted) in [
            (
                "#OLD=--d\n# OLD=--e\n; it's\nARGS=--a=/x --no-b \\\n  --c\n",
                ["--a=/x", "--no-b", "--c"],
            ),
            ("X=1\nARGS=\"--a=/x $B --c\" # no\n", ["--a=/x", "$B", "--c"]),
            ("ARGS=\"$A --b\"\nMORE='--c'", ["$A", "--b", "--c"]),
        ] {
            assert_eq!(flags_of_environment(text, "--").unwrap(), wanted, "{text}");
        }
    }
}
