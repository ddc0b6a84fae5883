//! Whether agents can be started and stopped as they are to be: who is to do it, from which files, and how long
//! their units let a stop take.
//!
//! Must not know what any agent is.

use super::finding::{Finding, Verdict};
use super::{fail, pass, systemd, warn};
use crate::config::{self, Config};
use crate::exec::trust;
use crate::supervisor::carrier::Runner;
use crate::supervisor::options::Definition;
use crate::supervisor::systemd::unit_name;
use std::path::Path;
use std::time::Duration;

const CHECK: &str = "agents";
const TEMPLATE: &str = "musterd-agent@.service";
const STOP_TIME: &str = "TimeoutStopUSec";
/// Seconds that a unit is to have beyond the agent's grace.
const MARGIN: u64 = 10;

/// Whether what the configuration has run can be run.
pub(super) fn examine(path: &Path, config: &Config) -> Finding {
    let runner = config.agents.supervision.runner;
    if runner == Runner::Process {
        return pass(CHECK, "the daemon runs them itself");
    }
    let template = systemd::is_booted().then(|| {
        // systemd has no properties of a template, but of what would be made of it.
        systemd::show(&unit_name("doctor"), &["LoadState", STOP_TIME])
    });
    match template.transpose() {
        Ok(shown) => {
            let state = shown.as_deref().map(|shown| systemd::value(shown, "LoadState"));
            let found = judge(runner, state, || find_untrusted(path), config.definitions.len());
            if state != Some("loaded") || found.verdict != Verdict::Pass {
                return found;
            }
            let usual = shown.as_deref().and_then(stop_time);
            let own =
                |agent: &str| stop_time(&systemd::show(&unit_name(agent), &[STOP_TIME]).ok()?);
            find_late(&config.definitions, usual, own).unwrap_or(found)
        }
        Err((what, fix)) => warn(CHECK, what, fix),
    }
}

/// `template` is how systemd has found it, where there is systemd.
fn judge(
    runner: Runner,
    template: Option<&str>,
    untrusted: impl FnOnce() -> Option<String>,
    agents: usize,
) -> Finding {
    if template != Some("loaded") {
        let what = template.map_or_else(
            || "no systemd on this machine".to_owned(),
            |state| format!("{TEMPLATE} is {state}"),
        );
        if runner == Runner::Auto {
            return pass(CHECK, format!("{what}: the daemon runs them itself"));
        }
        let fix = "install the package, or set [agents.supervision] runner = \"process\"";
        return fail(CHECK, what, fix);
    }
    let Some(what) = untrusted() else {
        return pass(CHECK, format!("systemd runs them from {TEMPLATE}"));
    };
    let fix = "chown root:root and chmod go-w what is named; in place of a symbolic link, put the file \
               itself; or set [agents.supervision] runner = \"process\"";
    let verdict = if agents == 0 { Verdict::Warn } else { Verdict::Fail };
    Finding::new(CHECK, verdict, what, Some(fix.to_owned()))
}

/// The first of the configuration's files that `musterd exec` would not believe, and why.
fn find_untrusted(path: &Path) -> Option<String> {
    // One that cannot be listed is the configuration's own fault.
    let files = config::files(&std::path::absolute(path).ok()?).ok()?;
    files.iter().find_map(|file| trust::check(file).err())
}

/// What systemd lets a stop of a unit take (`1min 30s`), by what it shows of it; `None` for `infinity`.
fn stop_time(shown: &str) -> Option<Duration> {
    humantime::parse_duration(systemd::value(shown, STOP_TIME)).ok()
}

/// The first agent that systemd kills before its grace is over. `own` asks for an agent's own unit what is `usual`
/// for the template: only of those for whom that is too little.
fn find_late(
    agents: &[Definition],
    usual: Option<Duration>,
    own: impl Fn(&str) -> Option<Duration>,
) -> Option<Finding> {
    let mut slow =
        agents.iter().filter(|agent| usual.is_some_and(|time| time < agent.policy.stop_grace));
    slow.find_map(|agent| {
        let (name, grace) = (&agent.name, agent.policy.stop_grace);
        let time = own(name).filter(|time| *time < grace)?;
        let enough = grace.as_secs().saturating_add(MARGIN);
        let (grace, time) = (humantime::format_duration(grace), humantime::format_duration(time));
        let what =
            format!("agent {name} has stop_grace = \"{grace}\", but systemd kills it after {time}");
        let unit = unit_name(name);
        let fix = format!("systemctl edit {unit}, and there [Service] and TimeoutStopSec={enough}");
        Some(warn(CHECK, what, fix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_killed_before_its_grace_is_over_is_found() {
        let agent = |grace: u64| {
            let mut config = config::parse(&[(
                "a",
                &format!("[[agent]]\nname = 'slow'\ncommand = ['x']\nstop_grace = '{grace}s'"),
            )]);
            std::mem::take(&mut config.as_mut().unwrap().definitions)
        };
        let usual = stop_time("LoadState=loaded\nTimeoutStopUSec=1min 30s\n");
        let of_the_template = |_: &str| usual;
        let endless = |_: &str| stop_time("TimeoutStopUSec=infinity\n");
        assert!(find_late(&agent(90), usual, |_| panic!("it need not be asked for")).is_none());
        assert!(find_late(&agent(300), usual, endless).is_none());
        let found = find_late(&agent(300), usual, of_the_template).unwrap();
        assert_eq!(found.verdict, Verdict::Warn);
        assert!(found.what.ends_with("\"5m\", but systemd kills it after 1m 30s"), "{found:?}");
        assert!(found.fix.as_ref().unwrap().contains("@slow.service"), "{found:?}");
        assert!(found.fix.unwrap().ends_with("TimeoutStopSec=310"));
    }

    #[test]
    fn agents_in_units_take_the_template_and_files_of_roots() {
        let good = || None;
        let bad = || Some("/etc/musterd/conf.d/a.toml has the mode 0664; …".to_owned());
        for (runner, template, untrusted, agents, verdict, part) in [
            (Runner::Auto, Some("loaded"), good as fn() -> _, 1, Verdict::Pass, "systemd runs"),
            (Runner::Auto, Some("loaded"), bad, 1, Verdict::Fail, "a.toml has the mode 0664"),
            (Runner::Systemd, Some("loaded"), bad, 0, Verdict::Warn, "a.toml has the mode 0664"),
            (Runner::Auto, Some("not-found"), bad, 1, Verdict::Pass, "the daemon runs them"),
            (Runner::Auto, None, bad, 1, Verdict::Pass, "the daemon runs them"),
            (Runner::Systemd, Some("masked"), good, 1, Verdict::Fail, "@.service is masked"),
            (Runner::Systemd, None, good, 0, Verdict::Fail, "no systemd"),
        ] {
            let found = judge(runner, template, untrusted, agents);
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.what.contains(part), "{found:?}");
            assert_eq!(found.fix.is_some(), verdict != Verdict::Pass, "{found:?}");
        }
    }

    #[test]
    fn a_file_that_exec_would_not_believe_is_found() {
        let folder = std::env::temp_dir().join(format!("musterd-untrusted-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("musterd.toml");
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        let found = find_untrusted(&file);
        std::fs::remove_dir_all(&folder).unwrap();
        let wanted = format!("{} is a symbolic link;", file.display());
        assert!(found.as_ref().is_some_and(|what| what.starts_with(&wanted)), "{found:?}");
    }
}
