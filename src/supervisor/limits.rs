//! Limits of an agent's processes (setrlimit(2)): `limits` of an `[[agent]]` entry.
//!
//! Must not know whose they are.

use crate::units::optional_size;
use musterd_kernel::child;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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
    /// Those that are set: their keys, what they bound, here and in a child, and how much.
    fn set_ones(&self) -> impl Iterator<Item = (&'static str, Resource, child::Resource, u64)> {
        let each = [
            ("open_files", Resource::Nofile, child::Resource::OpenFiles, self.open_files),
            ("processes", Resource::Nproc, child::Resource::Processes, self.processes),
            ("address_space", Resource::As, child::Resource::AddressSpace, self.address_space),
        ];
        each.into_iter().filter_map(|(name, own, childs, limit)| Some((name, own, childs, limit?)))
    }

    /// Them, for a process to set before it runs its program.
    pub(crate) fn each(&self) -> impl Iterator<Item = (child::Resource, u64)> {
        self.set_ones().map(|(_, _, resource, limit)| (resource, limit))
    }

    /// The first that is above what this process may have itself, which the kernel lets only those set that
    /// have `CAP_SYS_RESOURCE`, and passes over otherwise.
    pub(crate) fn over_own(&self) -> Option<String> {
        self.set_ones().find_map(|(name, resource, _, limit)| {
            let most = getrlimit(resource).maximum.filter(|most| limit > *most)?;
            Some(format!(
                "limits.{name} is {limit}, over the {most} that the daemon itself may have"
            ))
        })
    }

    /// Sets them for this process, and all that it starts from then on.
    ///
    /// # Errors
    /// The limit that the kernel refuses, such as one above what the unit allows.
    pub(crate) fn set(&self) -> Result<(), String> {
        for (name, resource, _, limit) in self.set_ones() {
            let wanted = Rlimit { current: Some(limit), maximum: Some(limit) };
            setrlimit(resource, wanted)
                .map_err(|error| format!("cannot set limits.{name} to {limit}: {error}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_those_that_cannot_be_are_named() {
        let limits: Limits = toml::from_str("open_files = 64\naddress_space = '1GiB'").unwrap();
        assert_eq!(limits.address_space, Some(1 << 30));
        let written = toml::to_string(&limits).unwrap();
        assert_eq!(toml::from_str::<Limits>(&written).unwrap(), limits);
        let each: Vec<_> = limits.each().collect();
        assert_eq!(
            each,
            [(child::Resource::OpenFiles, 64), (child::Resource::AddressSpace, 1 << 30)]
        );
        assert_eq!(limits.over_own(), None);
        // Without a limit of its own a process may have any.
        if let Some(most) = getrlimit(Resource::Nofile).maximum {
            let over = Limits { open_files: Some(most + 1), ..limits };
            assert!(over.over_own().unwrap().starts_with("limits.open_files is"));
        }
        assert!(toml::from_str::<Limits>("open_file = 1").is_err());
        assert!(toml::from_str::<Limits>("address_space = 1").is_err());
    }
}
