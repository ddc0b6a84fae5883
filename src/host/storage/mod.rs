//! Collectors of block devices, arrays of them, and file systems, local and over the network.

mod bcache;
mod bcachefs;
mod btrfs;
mod btrfs_devices;
mod diskstats;
mod dmmultipath;
mod drbd;
mod fibrechannel;
mod filesystem;
mod human;
mod mdadm;
mod mdstat;
mod mounts;
mod mountstats;
mod nfs;
mod nfs_methods;
mod nfsd;
mod nvme;
pub(super) mod prober;
mod tapestats;
mod udev;
mod xfs;
mod zfs;
mod zfs_pool;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[
    bcache::ENTRY,
    bcachefs::ENTRY,
    btrfs::ENTRY,
    diskstats::ENTRY,
    dmmultipath::ENTRY,
    drbd::ENTRY,
    fibrechannel::ENTRY,
    filesystem::ENTRY,
    mdadm::ENTRY,
    mountstats::ENTRY,
    nfs::ENTRY,
    nfsd::ENTRY,
    nvme::ENTRY,
    tapestats::ENTRY,
    xfs::ENTRY,
    zfs::ENTRY,
];
