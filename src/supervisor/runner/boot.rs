//! Which boot of the machine, or of the container, this is: what is noted of agents holds for that alone.
//!
//! Must not know what is noted.

use crate::proc_stat;
use rustix::process::Pid;

/// The kernel's number of this boot (proc(5)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A name for it; `None` where the kernel tells none. Containers of one machine share its boot: when their first
/// process was started tells their runs apart.
pub(super) fn name() -> Option<String> {
    let id = std::fs::read_to_string(BOOT_ID).ok()?;
    let first = proc_stat::read(Pid::INIT).map_or(0, |stat| stat.start_time);
    Some(format!("{} {first}", id.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_keeps_its_name() {
        let name = name().unwrap();
        assert_eq!(super::name().as_ref(), Some(&name));
        let (id, first) = name.split_once(' ').unwrap();
        assert_eq!(id.len(), 36);
        assert!(first.parse::<u64>().is_ok(), "{name}");
    }
}
