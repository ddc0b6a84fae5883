//! Which network namespace's files the network collectors read.

use crate::host::root::{KernelFile, Root};
use std::path::Path;

/// A file of `/proc/net`.
///
/// `/proc/net` is always the reader's own network namespace, even where `/proc` is the host's that
/// has been mounted into a container. So where procfs has been set to another place than `/proc`,
/// the files of process 1 are taken: the host's. They are missing in fixtures and where `/proc` is
/// mounted with `hidepid`; then `/proc/net` it is.
pub(in crate::host) fn file(root: &Root, name: &str) -> KernelFile {
    let first_process = root.procfs.join("1/net").join(name);
    if root.procfs != Path::new("/proc") && first_process.exists() {
        return KernelFile::new(first_process);
    }
    root.proc(Path::new("net").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_is_read_when_proc_is_elsewhere() {
        let root = |procfs: &str| Root {
            procfs: procfs.into(),
            sysfs: "/sys".into(),
            rootfs: "/".into(),
            udev_data: "/run/udev/data".into(),
        };
        assert_eq!(file(&root("/proc"), "dev").path(), Path::new("/proc/net/dev"));
        assert_eq!(file(&root("/proc/."), "no such").path(), Path::new("/proc/./net/no such"));
        let dir = std::env::temp_dir().join(format!("musterd-net-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("1/net")).unwrap();
        std::fs::write(dir.join("1/net/dev"), "").unwrap();
        let found = file(&root(dir.to_str().unwrap()), "dev").path().to_owned();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, dir.join("1/net/dev"));
    }
}
