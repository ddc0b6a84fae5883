//! Who makes agents' processes, and how that is chosen.
//!
//! Must not know how either of them does it.

use serde::Deserialize;
use std::path::Path;

/// Folders in which systemd looks for units that a package or an administrator has installed.
const UNIT_FOLDERS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Who makes agents' processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The daemon itself: they are its children, with the limits that it has.
    Process,
    /// systemd, from the template `musterd-agent@.service`.
    Systemd,
}

/// `[agents.supervision] runner`: how a [`Carrier`] is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// systemd where the daemon is its service and the template is installed.
    Auto,
    /// Always systemd.
    Systemd,
    /// Always the daemon.
    Process,
}

impl Runner {
    /// Who is to make the processes, as things are. It does not depend on who answers just now: else
    /// a bus that is late would have an agent run twice.
    #[must_use]
    pub fn carrier(self) -> Carrier {
        let has_template = || {
            let template = |folder: &str| Path::new(folder).join("musterd-agent@.service").exists();
            UNIT_FOLDERS.into_iter().any(template)
        };
        let variable = |name: &str| std::env::var(name).ok();
        match self {
            Self::Systemd => Carrier::Systemd,
            Self::Auto if is_system_service(std::process::id(), variable) && has_template() => {
                Carrier::Systemd
            }
            Self::Auto | Self::Process => Carrier::Process,
        }
    }
}

/// Whether a process is what a service of the system runs (systemd.exec(5)): its children have the
/// same variables, but not its number; services of a user's own manager have one more.
fn is_system_service(pid: u32, variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("SYSTEMD_EXEC_PID").is_some_and(|text| text == pid.to_string())
        && variable("MANAGERPID").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_service_itself_leaves_agents_to_systemd() {
        let own = |name: &str| (name == "SYSTEMD_EXEC_PID").then(|| "7".to_owned());
        assert!(is_system_service(7, own));
        assert!(!is_system_service(8, own));
        assert!(!is_system_service(7, |_| Some("7".to_owned())));
        assert!(!is_system_service(7, |_| None));
        assert_eq!(Runner::Process.carrier(), Carrier::Process);
        assert_eq!(Runner::Systemd.carrier(), Carrier::Systemd);
    }
}
