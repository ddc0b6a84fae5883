//! For the collector `btrfs`: the devices of mounted file systems, which only ioctl(2) on a mount tells.
//!
//! Must not know the names of metrics.

use super::mounts::{self, OfHost};
use crate::host::root::{KernelFile, Root};
use musterd_kernel::btrfs::{Device, devices};
use rustix::fs::{Mode, OFlags, open};
use std::collections::{BTreeMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Asks the file systems that are mounted.
pub(super) struct Devices {
    table: OfHost<KernelFile>,
    root: Arc<Root>,
}

impl Devices {
    pub(super) fn new(root: &Arc<Root>) -> Self {
        let table = OfHost::new(|process| root.proc(format!("{process}/mountinfo")));
        Self { table, root: Arc::clone(root) }
    }

    /// The devices, by the file system's UUID. A file system that cannot be asked, or that lies below a
    /// mount that may hang, is missing.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> BTreeMap<String, Vec<Device>> {
        let length = self.table.read(|file| file.read(buffer).map(<[u8]>::len)).unwrap_or(0);
        let text = buffer.get(..length).unwrap_or_default();
        let mounts: Vec<_> = mounts::parse(text).filter_map(Result::ok).collect();
        let (mut all, mut asked) = (BTreeMap::new(), HashSet::new());
        for mount in mounts.iter().filter(|mount| mount.kind == "btrfs") {
            if asked.contains(&mount.device) || !mount.is_local(&mounts) {
                continue;
            }
            let point = mount.point_below(&self.root.rootfs).trim_start_matches('/');
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = open(self.root.rootfs.join(point), flags, Mode::empty());
            let Some((uuid, found)) = folder.ok().and_then(|folder| devices(folder.as_fd()).ok())
            else {
                // Another mount of it may answer.
                continue;
            };
            asked.insert(&mount.device);
            all.insert(uuid, found);
        }
        all
    }
}
