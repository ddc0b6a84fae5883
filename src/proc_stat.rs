//! What `/proc/<pid>/stat` says of a process (proc_pid_stat(5)), and who is in a process group.
//!
//! This is the daemon's own `/proc`, never the configured one: the numbers must be those that the
//! daemon's system calls take.
//!
//! Must not know which processes are agents'.

use crate::clock;
use crate::open_files::is_shortage;
use nix::errno::Errno;
use nix::unistd::getpgid;
use rustix::process::Pid;
use std::io::{self, Read};
use std::time::Duration;

/// No line of the kernel's is longer.
const LIMIT: usize = 4096;

/// Part of a process's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Whether it has ended and only waits for its parent to notice.
    pub(crate) ended: bool,
    /// Its process group.
    pub(crate) group: i32,
    /// Its session: one for all of its group.
    pub(crate) session: i32,
    /// When it was started, in clock ticks since boot: with its number, the process's identity.
    pub(crate) start_time: u64,
}

impl Stat {
    /// Whether it is of a leader's group and has not ended.
    pub(crate) fn is_member(&self, leader: Pid) -> bool {
        self.group == leader.as_raw_nonzero().get() && !self.ended
    }

    /// When it was started, on the clock of ledgers; the start of that clock for what is older.
    pub(crate) fn began(&self) -> Duration {
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let (seconds, ticks) = (self.start_time / per_second, self.start_time % per_second);
        let since_boot = Duration::from_secs(seconds)
            + Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second));
        let age = clock::since_boot().saturating_sub(since_boot);
        clock::monotonic().saturating_sub(age)
    }
}

/// When the process of a number was started, on the clock of ledgers; `None` if it cannot be seen.
pub(crate) fn began(pid: u32) -> Option<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    read(pid).map(|stat| stat.began())
}

/// Reads a process's line; `None` if there is no such process, or it cannot be read just now.
pub(crate) fn read(pid: Pid) -> Option<Stat> {
    find(pid).ok().flatten()
}

/// As [`read`], for whom nothing but the absence of a process is that.
///
/// # Errors
/// The kernel was short of something ([`is_shortage`]).
pub(crate) fn find(pid: Pid) -> io::Result<Option<Stat>> {
    let mut line = [0; LIMIT];
    let file = std::fs::File::open(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The kernel gives the line whole to one call.
    match file.and_then(|mut file| file.read(&mut line)) {
        Ok(length) => Ok(line.get(..length).and_then(parse)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Fields are counted from behind the name, which is in parentheses and may itself contain
/// parentheses and spaces.
fn parse(line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let _parent = fields.next()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Fields 7 to 21 lie between the session and the start time.
    let start_time = fields.nth(15)?.parse().ok()?;
    Some(Stat { ended: matches!(state, "Z" | "X" | "x"), group, session, start_time })
}

/// A process of the group that has not ended, other than its leader.
///
/// # Errors
/// `/proc` cannot be read.
pub(crate) fn any_member(leader: Pid) -> io::Result<Option<Pid>> {
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        let pid = number.and_then(Pid::from_raw).filter(|pid| *pid != leader);
        if let Some(pid) = pid
            && may_be_of(pid, leader)
            && find(pid)?.is_some_and(|stat| stat.is_member(leader))
        {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Whether a process may be of a leader's group: a question that costs a tenth of reading its line.
fn may_be_of(pid: Pid, leader: Pid) -> bool {
    // Not rustix's, for which no group is 0, as one is that was begun outside this container.
    match getpgid(Some(nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get()))) {
        Ok(group) => group.as_raw() == leader.as_raw_nonzero().get(),
        // Where the question itself is not allowed, its line tells.
        Err(error) => error != Errno::ESRCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    #[test]
    fn the_name_may_be_anything() {
        let rest = "S 1 77 76 0 -1 4194560 5 6 7 8 9 10 11 12 20 0 1 0 98765 123 4 5";
        let expected = Some(Stat { ended: false, group: 77, session: 76, start_time: 98765 });
        for name in ["sh", "a b", ") Z 9 9", "((", ""] {
            assert_eq!(parse(format!("77 ({name}) {rest}\n").as_bytes()), expected, "{name}");
        }
        assert!(parse(format!("77 (sh) {}", rest.replacen('S', "Z", 1)).as_bytes()).unwrap().ended);
    }

    #[test]
    fn rubbish_is_no_process() {
        let huge = format!("1 (a) S 1 {0} 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {0}", u128::MAX);
        for line in ["", ")", "1 (sh", "1 (sh) S", "1 (sh) S 1 x", "1 (sh) S 1 1 1 1", &huge] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(parse(b"1 (\xff) S \xff"), None);
    }

    /// A process of its own group, or of that of another; ended when dropped.
    struct Sleeper(std::process::Child);

    impl Sleeper {
        fn of_group(leader: u32) -> Self {
            let leader = i32::try_from(leader).unwrap();
            let mut command = std::process::Command::new("sleep");
            Self(command.arg("1000").process_group(leader).spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn a_process_has_a_group_and_a_start() {
        let leader = Sleeper::of_group(0);
        let pid = Pid::from_child(&leader.0);
        let stat = read(pid).unwrap();
        assert_eq!((stat.ended, stat.group), (false, pid.as_raw_nonzero().get()));
        assert!(stat.is_member(pid) && any_member(pid).unwrap().is_none());
        let member = Sleeper::of_group(leader.0.id());
        assert_eq!(any_member(pid).unwrap(), Some(Pid::from_child(&member.0)));
        let (began, now) = (began(leader.0.id()).unwrap(), clock::monotonic());
        assert!(began <= now && now - began < Duration::from_secs(3600), "{began:?} {now:?}");
        drop((member, leader));
        assert!(read(pid).is_none());
    }
}
