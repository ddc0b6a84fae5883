//! Limits of an agent's processes (setrlimit(2)): `limits` of an `[[agent]]` entry.
//!
//! Must not know whose they are.

use crate::units::optional_size;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};

/// What is bounded. What is left out stays as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Files that each of its processes may have open.
    pub open_files: Option<u64>,
    /// Processes and threads that its user may have, those of others with the same user included.
    pub processes: Option<u64>,
    /// Memory that each of its processes may map, in bytes.
    #[serde(default, with = "optional_size", skip_serializing_if = "Option::is_none")]
    pub address_space: Option<u64>,
}

impl Limits {
    /// Sets them for a process, and all that it starts from then on; for this one if `None`.
    ///
    /// # Errors
    /// The limit that the kernel refuses, such as one above what the unit allows.
    pub(crate) fn set(&self, process: Option<Pid>) -> Result<(), String> {
        for (name, resource, limit) in [
            ("open_files", Resource::Nofile, self.open_files),
            ("processes", Resource::Nproc, self.processes),
            ("address_space", Resource::As, self.address_space),
        ] {
            let Some(limit) = limit else { continue };
            let wanted = Rlimit { current: Some(limit), maximum: Some(limit) };
            match prlimit(process, resource, wanted) {
                // A process that has ended needs none.
                Ok(_) | Err(Errno::SRCH) => {}
                Err(error) => return Err(format!("cannot set limits.{name} to {limit}: {error}")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_limits_that_are_set() {
        let limits: Limits = toml::from_str("open_files = 64\naddress_space = '1GiB'").unwrap();
        assert_eq!(limits.address_space, Some(1 << 30));
        let written = toml::to_string(&limits).unwrap();
        assert_eq!(toml::from_str::<Limits>(&written).unwrap(), limits);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Some(Pid::from_child(&child));
        limits.set(pid).unwrap();
        let read = |resource| {
            let any = Rlimit { current: Some(1), maximum: Some(1) };
            prlimit(pid, resource, any).unwrap()
        };
        let found = [Resource::Nofile, Resource::As].map(|it| read(it).maximum);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [Some(64), Some(1 << 30)]);
        assert_eq!(limits.set(pid), Ok(()), "one that has gone is no fault");
        assert!(toml::from_str::<Limits>("open_file = 1").is_err());
        assert!(toml::from_str::<Limits>("address_space = 1").is_err());
    }
}
