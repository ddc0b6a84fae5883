//! What systemd says of a service (org.freedesktop.systemd1(5)), and what that means for an agent.
//!
//! The template has `Restart=always`, so that the two ends of a service are told apart: one that has
//! ended by itself waits to be started again (`auto-restart`), one that was asked to stop is down.
//!
//! Must not know how systemd is asked, nor what is done.

use crate::supervisor::policy::Exit;
use crate::supervisor::systemd::{BAD_CONFIGURATION, NO_SUCH_AGENT};
use std::collections::HashMap;
use zbus::Variant;

/// What `ExecMainCode` says, as `si_code` of waitid(2): exited, killed, killed with a core.
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

/// What `Result` says of an end that the leader's own status tells as well.
const TOLD_BY_STATUS: [&str; 5] = ["", "success", "exit-code", "signal", "core-dump"];
/// What else it says (systemd.exec(5), `$SERVICE_RESULT`).
const FAULTS: [&str; 7] = [
    "oom-kill",
    "timeout",
    "watchdog",
    "protocol",
    "resources",
    "exec-condition",
    "start-limit-hit",
];

/// The properties of a service that are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// `ActiveState`
    active: String,
    /// `SubState`
    sub: String,
    /// Whether there is a `Job`: systemd has been asked for something, and has not done it yet.
    has_job: bool,
    /// `MainPID`: 0 when there is none.
    main_pid: u32,
    /// `ExecMainStartTimestampMonotonic`: which of the service's runs is the last one.
    run: u64,
    /// `ExecMainPID`: its process, which may have ended.
    last_pid: u32,
    /// `ActiveEnterTimestampMonotonic`: when it was last up.
    up: u64,
    /// `ExecMainCode`
    code: i32,
    /// `ExecMainStatus`
    status: i32,
    /// `StatusText`: what `musterd exec` has said.
    text: String,
    /// `Result`: how the last run went, in systemd's words.
    result: String,
}

/// Where a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its main process runs.
    Runs {
        /// The process.
        pid: u32,
        /// Which run it is.
        run: u64,
    },
    /// It is on its way.
    Moves,
    /// Its main process lives, and systemd has it end.
    Ends {
        /// Whether systemd has been asked for that.
        asked: bool,
    },
    /// Its main process has ended, and others of it have not.
    Clears {
        /// How.
        exit: Exit,
        /// Whether systemd has been asked for something: then the end may be another's doing.
        asked: bool,
    },
    /// It has ended by itself. systemd would start it again some time.
    Waits(Exit),
    /// It is down, as it was before its first start, or was asked to be.
    Down(Exit),
}

impl Place {
    /// Whether someone has had it stopped since it was left waiting for its next start, if it was.
    pub(super) const fn is_called_off(self, left_waiting: bool) -> bool {
        left_waiting && matches!(self, Self::Down(_))
    }
}

impl Seen {
    /// From the answer to `GetAll`. What is missing is as if it had never run.
    pub(super) fn of(properties: &HashMap<&str, Variant<'_>>) -> Self {
        let text = |name: &str| match properties.get(name) {
            Some(Variant::Str(text)) => text.as_str().to_owned(),
            _ => String::new(),
        };
        let pid = |name: &str| match properties.get(name) {
            Some(Variant::U32(pid)) => *pid,
            _ => 0,
        };
        let time = |name: &str| match properties.get(name) {
            Some(Variant::U64(time)) => *time,
            _ => 0,
        };
        let number = |name: &str| match properties.get(name) {
            Some(Variant::I32(number)) => *number,
            _ => 0,
        };
        Self {
            active: text("ActiveState"),
            sub: text("SubState"),
            has_job: matches!(
                properties.get("Job"),
                // Its number, and its object.
                Some(Variant::Structure(job)) if !matches!(job.fields().first(), Some(Variant::U32(0)))
            ),
            main_pid: pid("MainPID"),
            run: time("ExecMainStartTimestampMonotonic"),
            last_pid: pid("ExecMainPID"),
            up: time("ActiveEnterTimestampMonotonic"),
            code: number("ExecMainCode"),
            status: number("ExecMainStatus"),
            text: text("StatusText"),
            result: text("Result"),
        }
    }

    /// Which of the service's runs is the last one; 0 before the first.
    pub(super) const fn run(&self) -> u64 {
        self.run
    }

    /// Whether nothing runs, whatever systemd has been asked for since.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }

    /// Whether the last run has come since another, and is over.
    pub(super) fn is_over_since(&self, run: u64) -> bool {
        let is_over =
            matches!(self.place(), Place::Waits(_) | Place::Down(_) | Place::Clears { .. });
        // Until its process has been made, what is seen is the run before; 0 is none.
        is_over && ![0, run].contains(&self.run)
    }

    /// The process of the last run, which may have ended.
    pub(super) const fn last_pid(&self) -> u32 {
        self.last_pid
    }

    /// Whether the program of the last run was loaded, however soon it has ended since.
    pub(super) const fn has_run(&self) -> bool {
        self.run != 0 && self.up >= self.run
    }

    /// Where the service is.
    pub(super) fn place(&self) -> Place {
        match (self.active.as_str(), self.sub.as_str()) {
            (_, "auto-restart" | "auto-restart-queued") => Place::Waits(self.exit()),
            (_, sub) if sub.ends_with("-before-auto-restart") => Place::Moves,
            // Between the two halves of a restart.
            ("inactive" | "failed", _) if self.has_job => Place::Moves,
            // Its program has chosen what `musterd exec` alone is to say, and systemd takes it so.
            ("failed", _) if self.is_prevented() && self.has_run() => Place::Waits(self.exit()),
            ("inactive" | "failed", _) => Place::Down(self.exit()),
            ("active" | "reloading" | "refreshing", _) if self.main_pid != 0 => {
                Place::Runs { pid: self.main_pid, run: self.run }
            }
            // Without its program having been loaded there was no agent.
            ("deactivating", _) if self.has_run() => match self.main_pid {
                0 => Place::Clears { exit: self.exit(), asked: self.has_job },
                _ => Place::Ends { asked: self.has_job },
            },
            _ => Place::Moves,
        }
    }

    /// Whether the template has it not started again for how it ended.
    fn is_prevented(&self) -> bool {
        (self.code, self.status) == (EXITED, i32::from(NO_SUCH_AGENT))
    }

    /// Whether `musterd exec` could not use the configuration.
    pub(super) fn is_hindered(&self) -> bool {
        let code = i32::from(BAD_CONFIGURATION);
        (self.code, self.status) == (EXITED, code) && !self.has_run()
    }

    /// How the last run ended. A leader that is told to end because others of its unit were at fault,
    /// or it took too long, may end as if all were well.
    fn exit(&self) -> Exit {
        let own = self.own_exit();
        if TOLD_BY_STATUS.contains(&self.result.as_str()) {
            return own;
        }
        let known = FAULTS.into_iter().find(|word| *word == self.result);
        let signal = if let Exit::Signal(signal) = own { Some(signal) } else { None };
        Exit::Failed { word: known.unwrap_or("another fault"), signal }
    }

    /// How the leader ended.
    fn own_exit(&self) -> Exit {
        match self.code {
            EXITED => Exit::Code(self.status),
            KILLED | DUMPED => Exit::Signal(self.status),
            _ => Exit::Unknown,
        }
    }

    /// Why a start has failed.
    pub(super) fn why_not_started(&self) -> String {
        match (self.text.as_str(), self.result.as_str()) {
            ("", "timeout") => "its program has not been loaded in time".to_owned(),
            ("", result) => format!("{}, says systemd: {result}", self.own_exit()),
            (text, _) => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::policy::Reason;
    use zbus::ObjectPath;

    fn seen(active: &str, sub: &str, main_pid: u32, code: i32, status: i32) -> Seen {
        let (active, sub) = (active.to_owned(), sub.to_owned());
        Seen { active, sub, main_pid, run: 5, code, status, ..Seen::default() }
    }

    #[test]
    fn every_state_of_a_service_is_a_place() {
        let runs = Place::Runs { pid: 7, run: 5 };
        let killed = Exit::Signal(9);
        for (active, sub, pid, code, status, place) in [
            ("active", "running", 7, 0, 0, runs),
            ("reloading", "reload", 7, 0, 0, runs),
            ("active", "running", 0, 0, 0, Place::Moves),
            ("activating", "start", 7, 0, 0, Place::Moves),
            ("deactivating", "stop-sigterm", 7, 0, 0, Place::Moves),
            ("deactivating", "final-sigterm", 0, 1, 3, Place::Moves),
            ("failed", "failed-before-auto-restart", 0, 1, 3, Place::Moves),
            ("activating", "auto-restart", 0, 1, 3, Place::Waits(Exit::Code(3))),
            ("activating", "auto-restart", 0, 2, 9, Place::Waits(killed)),
            ("activating", "auto-restart-queued", 0, 3, 9, Place::Waits(killed)),
            ("inactive", "dead", 0, 1, 0, Place::Down(Exit::Code(0))),
            ("failed", "failed", 0, 2, 9, Place::Down(killed)),
            ("inactive", "dead", 0, 0, 0, Place::Down(Exit::Unknown)),
            ("", "", 0, 0, 0, Place::Moves),
        ] {
            assert_eq!(seen(active, sub, pid, code, status).place(), place, "{active} {sub}");
        }
    }

    #[test]
    fn what_systemd_finds_at_fault_is_no_success() {
        let over = |result: &str, code, status| {
            let seen = seen("activating", "auto-restart", 0, code, status);
            Seen { result: result.to_owned(), ..seen }.place()
        };
        for word in ["success", "exit-code", "signal", "core-dump"] {
            assert_eq!(over(word, EXITED, 0), Place::Waits(Exit::Code(0)), "{word}");
        }
        for (result, code, status, text, reason) in [
            ("oom-kill", EXITED, 0, "at fault, says systemd: oom-kill", Reason::Error),
            ("timeout", EXITED, 0, "at fault, says systemd: timeout", Reason::Error),
            ("oom-kill", KILLED, 9, "signal 9, says systemd: oom-kill", Reason::Signal),
            ("news", EXITED, 0, "at fault, says systemd: another fault", Reason::Error),
        ] {
            let Place::Waits(exit) = over(result, code, status) else { panic!("{result}") };
            assert_eq!((&*exit.to_string(), Reason::from(exit)), (text, reason), "{result}");
        }
    }

    #[test]
    fn the_template_knows_what_is_not_tried_again() {
        let template = include_str!("../../../systemd/musterd-agent@.service");
        let line = format!("RestartPreventExitStatus={NO_SUCH_AGENT}");
        assert!(template.lines().any(|found| found == line));
        let code = i32::from(NO_SUCH_AGENT);
        let refused = Seen { up: 4, ..seen("failed", "failed", 0, EXITED, code) };
        assert_eq!(refused.place(), Place::Down(Exit::Code(code)));
        let own = Seen { up: 6, ..refused };
        assert_eq!(own.place(), Place::Waits(Exit::Code(code)), "a program of an agent's");
    }

    #[test]
    fn a_bad_configuration_is_no_fault_of_the_agents() {
        let code = i32::from(BAD_CONFIGURATION);
        let refused = Seen { up: 4, ..seen("activating", "auto-restart", 0, EXITED, code) };
        assert!(refused.is_hindered());
        assert!(!Seen { up: 6, ..refused.clone() }.is_hindered(), "a program of an agent's");
        assert!(!Seen { status: 1, ..refused }.is_hindered());
    }

    #[test]
    fn a_program_that_ended_at_once_has_run() {
        let over = Seen { last_pid: 9, up: 6, ..seen("activating", "auto-restart", 0, EXITED, 0) };
        assert!(over.has_run());
        assert_eq!(over.last_pid(), 9);
        assert!(!Seen { up: 4, ..over.clone() }.has_run(), "that was the run before");
        assert!(!Seen { run: 0, up: 0, ..over }.has_run());
    }

    #[test]
    fn a_run_that_nobody_has_seen_is_another_than_the_last() {
        let over = Seen { up: 6, ..seen("activating", "auto-restart", 0, EXITED, 1) };
        assert!(over.is_over_since(4) && !over.is_over_since(5));
        assert!(!Seen { run: 0, ..over.clone() }.is_over_since(4), "it is not loaded any more");
        assert!(!Seen { up: 6, ..seen("active", "running", 7, 0, 0) }.is_over_since(4));
        assert!(!seen("activating", "start", 7, 0, 0).is_over_since(4));
    }

    #[test]
    fn one_that_waited_and_is_down_was_stopped_by_hand() {
        let exit = Exit::Code(3);
        for (place, called_off) in [
            (Place::Down(exit), true),
            (Place::Waits(exit), false),
            (Place::Moves, false),
            (Place::Runs { pid: 7, run: 5 }, false),
        ] {
            assert_eq!(place.is_called_off(true), called_off, "{place:?}");
            assert!(!place.is_called_off(false), "{place:?}");
        }
    }

    #[test]
    fn what_outlives_its_leader_clears() {
        let left = Seen { up: 6, ..seen("deactivating", "stop-sigterm", 0, EXITED, 3) };
        let clears = |asked| Place::Clears { exit: Exit::Code(3), asked };
        assert_eq!(left.place(), clears(false));
        assert_eq!(Seen { has_job: true, ..left.clone() }.place(), clears(true));
        let leader_lives = Seen { main_pid: 7, ..left.clone() };
        assert_eq!(leader_lives.place(), Place::Ends { asked: false });
        let is_told_to = Seen { has_job: true, ..leader_lives.clone() };
        assert_eq!(is_told_to.place(), Place::Ends { asked: true });
        for seen in [left, leader_lives] {
            let not_loaded = Seen { up: 4, ..seen };
            assert_eq!(not_loaded.place(), Place::Moves, "{not_loaded:?}");
        }
    }

    #[test]
    fn what_is_about_to_be_started_is_not_down() {
        for (active, sub) in [("inactive", "dead"), ("failed", "failed")] {
            let seen = Seen { has_job: true, ..seen(active, sub, 0, EXITED, 0) };
            assert_eq!(seen.place(), Place::Moves, "{active}");
        }
        let seen = Seen { has_job: true, ..seen("active", "running", 7, 0, 0) };
        assert_eq!(seen.place(), Place::Runs { pid: 7, run: 5 });
        for number in [0_u32, 9] {
            let job = Variant::from((number, ObjectPath::from_static_str_unchecked("/")));
            let seen = Seen::of(&HashMap::from([("Job", job)]));
            assert_eq!(seen.has_job, number != 0);
        }
    }

    #[test]
    fn properties_of_another_type_count_for_nothing() {
        let text = |text: &'static str| Variant::from(text);
        let properties = HashMap::from([
            ("ActiveState", text("active")),
            ("SubState", text("running")),
            ("MainPID", Variant::from(7_u32)),
            ("ExecMainStartTimestampMonotonic", Variant::from(5_u64)),
            ("ExecMainCode", Variant::from(0_i32)),
            ("Others", Variant::from(true)),
        ]);
        assert_eq!(Seen::of(&properties), seen("active", "running", 7, 0, 0));
        let rubbish = HashMap::from([("ActiveState", Variant::from(1_u8)), ("MainPID", text("7"))]);
        assert_eq!(Seen::of(&rubbish), Seen::default());
    }

    #[test]
    fn a_failed_start_is_told_in_the_words_of_who_knows_best() {
        let mut seen = seen("activating", "auto-restart", 0, EXITED, 1);
        "exit-code".clone_into(&mut seen.result);
        assert_eq!(seen.why_not_started(), "exit code 1, says systemd: exit-code");
        "timeout".clone_into(&mut seen.result);
        assert_eq!(seen.why_not_started(), "its program has not been loaded in time");
        "user \"x\" is not in /etc/passwd".clone_into(&mut seen.text);
        assert_eq!(seen.why_not_started(), "user \"x\" is not in /etc/passwd");
    }
}
