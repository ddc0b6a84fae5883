//! Processes that the daemon makes itself: spawn, signal, wait, adopt.
//!
//! A process is the leader of a group of its own, and is watched by a pidfd: a child of this
//! daemon and one that an earlier daemon has left behind in the same way. An ended child is not
//! reaped before its whole group has gone: as long as it waits, the kernel gives its number to
//! nobody else, and a signal to the group can reach no stranger. Processes that leave the group
//! (setsid(2)) are out of reach here; systemd's control groups hold those as well.
//!
//! Must not know when or why a process is made or ended.

use crate::accounts;
use crate::open_files;
use crate::pidfd::{self, Watch};
use crate::proc_stat::{self, Stat};
use crate::supervisor::machine::Signal;
use crate::supervisor::options::Launch;
use crate::supervisor::policy::Exit;
use musterd_kernel::child::{Identity, Preparation, Resource, prepare};
use rustix::process::{
    Pid, Signal as UnixSignal, WaitId, WaitIdOptions, geteuid, kill_process_group, waitid,
};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a process gets of the daemon's own environment, where it is set there.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// Where programs are looked for if the daemon has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long to wait before looking again at a process that cannot be watched, or seen, just then.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A leader that has not been reaped, and its group.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    start_time: u64,
    session: i32,
    /// Readable once the leader has ended; `None` if it had before, or could not be had.
    leader: Option<Watch>,
}

/// Makes a process that writes to `output`. Blocks until its program has been loaded, which on a
/// dead mount is for ever. To be called within a tokio runtime.
///
/// # Errors
/// What was wrong with what: a missing program or folder, an unknown user.
pub(super) fn spawn(
    launch: &Launch,
    agent: &str,
    socket: &Path,
    output: File,
) -> Result<Process, String> {
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).process_group(0);
    command.env_clear().envs(inherited(|name| std::env::var_os(name)));
    let identity = match &launch.user {
        Some(name) => run_as(&mut command, name, socket)?,
        None => None,
    };
    command.envs(&launch.environment);
    command.env("MUSTERD_SOCKET", socket).env("MUSTERD_AGENT", agent);
    let error_output =
        output.try_clone().map_err(|error| format!("cannot duplicate its output: {error}"))?;
    command.stdin(Stdio::null()).stdout(output).stderr(error_output);

    let given = open_files::given().map(|(soft, hard)| (Resource::OpenFiles, soft, hard));
    let own = launch.limits.each().map(|(resource, limit)| (resource, limit, limit));
    let limits = given.into_iter().chain(own).collect();
    let directory = CString::new(launch.directory.as_os_str().as_bytes())
        .map_err(|error| format!("cannot enter {}: {error}", launch.directory.display()))?;
    prepare(&mut command, Preparation { limits, identity, directory });
    let child = command.spawn().map_err(|error| why_not_spawned(launch, &error))?;
    if let Some(over) = launch.limits.over_own() {
        tracing::warn!(agent, "{over}: it may have that and no more");
    }
    watch_child(child).map_err(|error| format!("cannot watch {}: {error}", launch.program))
}

fn inherited(
    variable: impl Fn(&str) -> Option<OsString>,
) -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(move |name| match variable(name) {
        Some(value) => Some((name, value)),
        None => (name == "PATH").then(|| (name, DEFAULT_PATH.into())),
    })
}

/// Has a command run as a user, with the user's own group and that of the socket, and no other: whom to
/// become, where this process is somebody else.
fn run_as(command: &mut Command, name: &str, socket: &Path) -> Result<Option<Identity>, String> {
    let user = accounts::user(name)?;
    command.env("HOME", &user.home).env("USER", name).env("LOGNAME", name);
    let own = geteuid();
    if own.is_root() {
        let sockets = std::fs::metadata(socket).ok().map(|socket| socket.gid());
        let sockets = sockets.filter(|gid| ![0, user.gid].contains(gid));
        let groups = std::iter::once(user.gid).chain(sockets).collect();
        return Ok(Some(Identity { uid: user.uid, gid: user.gid, groups }));
    }
    if own.as_raw() == user.uid {
        return Ok(None);
    }
    Err(format!("cannot run as user {name:?}: the daemon is not run by root"))
}

/// execve(2) and chdir(2) give the same errors; the path that is at fault is named.
fn why_not_spawned(launch: &Launch, error: &io::Error) -> String {
    if let Err(error) = std::fs::metadata(&launch.directory) {
        return format!("cannot enter {}: {error}", launch.directory.display());
    }
    format!("cannot run {} in {}: {error}", launch.program, launch.directory.display())
}

/// A child that cannot be watched is not left to itself.
fn watch_child(mut child: Child) -> io::Result<Process> {
    let watched = pid_of(child.id()).and_then(|pid| {
        let leader = watch(pid)?;
        let stat =
            proc_stat::read(pid).ok_or_else(|| io::Error::other("/proc has no line of it"))?;
        let Stat { start_time, session, .. } = stat;
        Ok(Process { pid, start_time, session, leader: Some(leader) })
    });
    if watched.is_err() {
        // It is there until it is waited for, so neither can fail in a way that matters.
        let _ = child.kill();
        let _ = child.wait();
    }
    watched
}

fn pid_of(number: u32) -> io::Result<Pid> {
    i32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other(format!("{number} is not a process number")))
}

fn watch(pid: Pid) -> io::Result<Watch> {
    Watch::new(pidfd::open(pid.as_raw_nonzero().get().unsigned_abs())?)
}

/// Takes over a process that an earlier daemon made: `None` if it has ended, or its number now
/// belongs to another. One that cannot be watched just now is looked at until it can be.
///
/// # Errors
/// The kernel was short of something, so that nobody knows.
pub(super) fn adopt(pid: u32, start_time: u64) -> io::Result<Option<Process>> {
    let Ok(pid) = pid_of(pid) else { return Ok(None) };
    // Opened before the comparison: what has been compared is then what is watched.
    let leader = watch(pid).ok();
    let stat = proc_stat::find(pid)?;
    let same = stat.filter(|stat| stat.start_time == start_time && stat.is_member(pid));
    Ok(same.map(|stat| Process { pid, start_time, session: stat.session, leader }))
}

/// What is left of a process that an earlier daemon made, and whose leader has ended: the others of its group.
/// `None` if there are none.
///
/// As long as one of them lives the kernel gives the leader's number to nobody else. That they are not another's,
/// who has had the number meanwhile and has ended too, their session tells, if it is known (and, where it was begun
/// outside this container, tells only that of the other groups of the kind).
///
/// # Errors
/// As for [`adopt`].
pub(super) fn remains(
    pid: u32,
    start_time: u64,
    session: Option<i32>,
) -> io::Result<Option<Process>> {
    let (Ok(pid), Some(session)) = (pid_of(pid), session) else { return Ok(None) };
    let process = Process { pid, start_time, session, leader: None };
    let Some(member) = process.any_member()? else { return Ok(None) };
    let is_ours = proc_stat::find(member)?.is_some_and(|stat| stat.session == session);
    Ok(is_ours.then_some(process))
}

impl Process {
    /// The leader's number, which is its group's as well.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// When the leader was started, in clock ticks since boot.
    pub(super) fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The session that it and its group are in.
    pub(super) fn session(&self) -> i32 {
        self.session
    }

    /// Waits for the leader to end. May be dropped and called again.
    pub(super) async fn exited(&self) -> Exit {
        match &self.leader {
            Some(leader) => leader.ended().await,
            None => self.leader_has_ended().await,
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::Pid(self.pid), options) else {
            return Exit::Unknown;
        };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        }
    }

    /// As its watch would, for a leader that could not be watched. As soon as it can be, it is.
    async fn leader_has_ended(&self) {
        loop {
            // Which compares it anew.
            match adopt(self.pid(), self.start_time) {
                Ok(None) => return,
                Ok(Some(Self { leader: Some(leader), .. })) => return leader.ended().await,
                Ok(Some(_)) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Waits for the rest of the group to end. To be called when the leader has ended; may be
    /// dropped and called again.
    pub(super) async fn emptied(&self) {
        loop {
            let Ok(member) = self.any_member() else {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            let Some(member) = member else { return };
            let watched = watch(member);
            // Compared after opening: the number may have passed to another meanwhile.
            let is_member = proc_stat::read(member).is_some_and(|stat| stat.is_member(self.pid));
            match watched {
                Ok(watched) if is_member => watched.ended().await,
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// One that is left of the group besides the leader.
    fn any_member(&self) -> io::Result<Option<Pid>> {
        if self.number_is_ours() { proc_stat::any_member(self.pid) } else { Ok(None) }
    }

    /// Signals the whole group. One that has gone already is no error.
    ///
    /// # Errors
    /// When none of the group may be signalled.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        if !self.number_is_ours() {
            return Ok(());
        }
        let sent = match signal {
            // Stopped processes see TERM only when they go on.
            Signal::Term => kill_process_group(self.pid, UnixSignal::TERM)
                .and_then(|()| kill_process_group(self.pid, UnixSignal::CONT)),
            Signal::Kill => kill_process_group(self.pid, UnixSignal::KILL),
        };
        match sent {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether no other process has the leader's number. So it always is for a child, which has
    /// not been reaped. An adopted leader is reaped by init: then a group that still has members
    /// keeps the number, and one that has none may have lost it.
    fn number_is_ours(&self) -> bool {
        proc_stat::read(self.pid).is_none_or(|stat| stat.start_time == self.start_time)
    }

    /// Lets the kernel forget the leader, and those of its group that have become this daemon's
    /// children because it is the container's first process.
    pub(super) fn reap(self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        while let Ok(Some(_)) = waitid(WaitId::Pgid(Some(self.pid)), options) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leader_that_could_not_be_watched_is_seen_to_end() {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").process_group(0).spawn().unwrap();
        let process = Process { leader: None, ..watch_child(child).unwrap() };
        let soon = tokio::time::timeout(Duration::from_millis(50), process.exited()).await;
        assert!(soon.is_err(), "it lives");
        process.signal(Signal::Kill).unwrap();
        let exit = tokio::time::timeout(Duration::from_secs(60), process.exited()).await;
        assert_eq!(exit.unwrap(), Exit::Signal(9));
        process.reap();
    }

    #[tokio::test]
    async fn what_is_left_of_a_group_is_found_by_number_and_session() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & exit 0"]).process_group(0);
        let process = watch_child(command.spawn().unwrap()).unwrap();
        process.exited().await;
        let (pid, start_time, session) = (process.pid(), process.start_time(), process.session());
        let is_found = |session| remains(pid, start_time, session).unwrap().is_some();
        assert!(is_found(Some(session)));
        assert!(!is_found(Some(session + 1)), "another's");
        assert!(!is_found(None), "nobody knows whose");
        process.signal(Signal::Kill).unwrap();
        process.emptied().await;
        assert!(!is_found(Some(session)));
        process.reap();
    }

    #[test]
    fn only_what_is_named_is_inherited() {
        let none: Vec<_> = inherited(|_| None).collect();
        assert_eq!(none, [("PATH", DEFAULT_PATH.into())]);
        let all: Vec<_> = inherited(|name| Some(format!("my {name}").into())).collect();
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, INHERITED);
        assert_eq!(all.first().unwrap().1, "my PATH");
    }
}
