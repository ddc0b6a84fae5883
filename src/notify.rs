//! What systemd is told, and what it has handed over: readiness, reloads, the watchdog, the status
//! line, the agent socket. Everything here does nothing where there is no systemd.
//!
//! Must not know what any of it means to the daemon.

use rustix::net::sockopt::{socket_acceptconn, socket_domain};
use sd_notify::NotifyState;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// What systemd has handed over.
#[derive(Debug, Default)]
pub struct Handed {
    /// The agent socket that it listens on in our place (`musterd.socket`, sd_listen_fds(3)).
    pub socket: Option<UnixListener>,
    /// Files of the store, by name.
    pub stored: Vec<(String, OwnedFd)>,
}

/// Takes what systemd has handed over. To be called once, before anything else is opened.
#[must_use]
pub fn handed_over() -> Handed {
    let mut handed = Handed::default();
    for (name, file) in musterd_kernel::handed::files() {
        let is_socket = socket_domain(&file) == Ok(rustix::net::AddressFamily::UNIX)
            && socket_acceptconn(&file) == Ok(true);
        if is_socket {
            handed.socket.get_or_insert(UnixListener::from(file));
        } else {
            handed.stored.push((name, file));
        }
    }
    handed
}

/// Has systemd keep a file for the next daemon, by a name (sd_pid_notify_with_fds(3)).
pub fn keep(name: &str, file: BorrowedFd<'_>) {
    // Without FDPOLL=0 systemd lets go of a process's descriptor when the process ends.
    let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[file]) {
        tracing::warn!(name, %error, "cannot have systemd keep a file");
    }
}

/// Has systemd keep the files of a name no longer.
pub fn forget(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// Everything is served.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read anew; [`ready`] says that it has been.
pub fn reloading() {
    // systemd 253 and later want the time with it.
    let time = NotifyState::monotonic_usec_now().ok();
    let mut states = vec![NotifyState::Reloading];
    states.extend(time);
    tell(&states);
}

/// The daemon is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The end may take so long, whatever the unit allows (`TimeoutStopSec=`), from now on.
pub fn extend(time: Duration) {
    // The crate's own variant holds an hour and some minutes.
    let text = format!("EXTEND_TIMEOUT_USEC={}", time.as_micros());
    tell(&[NotifyState::Custom(&text)]);
}

/// The line that `systemctl status` shows.
pub fn status(text: &str) {
    // Another line would be another message.
    tell(&[NotifyState::Status(&text.replace('\n', "; "))]);
}

/// Still alive. To be called from the loop that would hang.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] is to be called: half of what systemd allows.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
