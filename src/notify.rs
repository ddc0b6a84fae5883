//! What systemd is told, and what it has handed over: readiness, reloads, the watchdog, the status
//! line, the agent socket. Everything here does nothing where there is no systemd.
//!
//! Must not know what any of it means to the daemon.

use sd_notify::NotifyState;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// The agent socket that systemd listens on in our place (`musterd.socket`, sd_listen_fds(3)).
/// To be called once, before any thread is started: the variables that announce it are removed.
#[must_use]
pub fn agent_socket() -> Option<UnixListener> {
    let mut handed = listenfd::ListenFd::from_env();
    (0..handed.len()).find_map(|index| handed.take_unix_listener(index).ok().flatten())
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

/// The line that `systemctl status` shows.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
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
