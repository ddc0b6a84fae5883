//! `xfs`: what XFS has done on each of its devices, of `/sys/fs/xfs/*/stats/stats`
//! (Documentation/admin-guide/xfs.rst, fs/xfs/xfs_stats.c in the kernel's sources).
//!
//! Must not know how full the file systems are: that is filesystem's.

use crate::host::class::Class;
use crate::host::keyed::Keyed;
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Family, Labels};
use std::sync::Arc;

const KEYS: &[&str] = &["extent_alloc", "abt", "blk_map", "bmbt", "dir", "ig", "rw", "vnodes"];

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, &["device"], help)
}

const COUNT: usize = 39;
/// The key of the line, the place in it, and what is there.
#[rustfmt::skip] // a table
static NUMBERS: [(&str, usize, Family); COUNT] = [
    ("extent_alloc", 0, counter("node_xfs_extent_allocation_extents_allocated_total", "Extents allocated.")),
    ("extent_alloc", 1, counter("node_xfs_extent_allocation_blocks_allocated_total", "Blocks allocated.")),
    ("extent_alloc", 2, counter("node_xfs_extent_allocation_extents_freed_total", "Extents freed.")),
    ("extent_alloc", 3, counter("node_xfs_extent_allocation_blocks_freed_total", "Blocks freed.")),
    ("abt", 0, counter("node_xfs_allocation_btree_lookups_total", "Lookups in the allocation B-trees.")),
    ("abt", 1, counter("node_xfs_allocation_btree_compares_total", "Comparisons in the allocation B-trees.")),
    ("abt", 2, counter("node_xfs_allocation_btree_records_inserted_total", "Records inserted into the allocation B-trees.")),
    ("abt", 3, counter("node_xfs_allocation_btree_records_deleted_total", "Records deleted from the allocation B-trees.")),
    ("blk_map", 0, counter("node_xfs_block_mapping_reads_total", "Times the map of a file's blocks was read.")),
    ("blk_map", 1, counter("node_xfs_block_mapping_writes_total", "Times the map of a file's blocks was written.")),
    ("blk_map", 2, counter("node_xfs_block_mapping_unmaps_total", "Times blocks of a file were unmapped.")),
    ("blk_map", 3, counter("node_xfs_block_mapping_extent_list_insertions_total", "Extents inserted into a file's list.")),
    ("blk_map", 4, counter("node_xfs_block_mapping_extent_list_deletions_total", "Extents deleted from a file's list.")),
    ("blk_map", 5, counter("node_xfs_block_mapping_extent_list_lookups_total", "Lookups in a file's list of extents.")),
    ("blk_map", 6, counter("node_xfs_block_mapping_extent_list_compares_total", "Comparisons in a file's list of extents.")),
    ("bmbt", 0, counter("node_xfs_block_map_btree_lookups_total", "Lookups in the block map B-trees.")),
    ("bmbt", 1, counter("node_xfs_block_map_btree_compares_total", "Comparisons in the block map B-trees.")),
    ("bmbt", 2, counter("node_xfs_block_map_btree_records_inserted_total", "Records inserted into the block map B-trees.")),
    ("bmbt", 3, counter("node_xfs_block_map_btree_records_deleted_total", "Records deleted from the block map B-trees.")),
    ("dir", 0, counter("node_xfs_directory_operation_lookup_total", "Lookups of names that the kernel's name cache did not have.")),
    ("dir", 1, counter("node_xfs_directory_operation_create_total", "Directory entries made.")),
    ("dir", 2, counter("node_xfs_directory_operation_remove_total", "Directory entries removed.")),
    ("dir", 3, counter("node_xfs_directory_operation_getdents_total", "Listings of directories.")),
    ("ig", 0, counter("node_xfs_inode_operation_attempts_total", "Lookups of inodes in the cache.")),
    ("ig", 1, counter("node_xfs_inode_operation_found_total", "Inodes found in the cache.")),
    ("ig", 2, counter("node_xfs_inode_operation_recycled_total", "Inodes found in the cache as they were to be thrown out of it.")),
    ("ig", 3, counter("node_xfs_inode_operation_missed_total", "Inodes not found in the cache.")),
    ("ig", 4, counter("node_xfs_inode_operation_duplicates_total", "Inodes that another had put into the cache in the meantime.")),
    ("ig", 5, counter("node_xfs_inode_operation_reclaims_total", "Inodes thrown out of the cache.")),
    ("ig", 6, counter("node_xfs_inode_operation_attribute_changes_total", "Changes of inodes' attributes.")),
    ("rw", 0, counter("node_xfs_write_calls_total", "Calls of write(2) on files.")),
    ("rw", 1, counter("node_xfs_read_calls_total", "Calls of read(2) on files.")),
    ("vnodes", 0, counter("node_xfs_vnode_active_total", "Vnodes in use.")),
    ("vnodes", 1, counter("node_xfs_vnode_allocate_total", "Vnodes allocated.")),
    ("vnodes", 2, counter("node_xfs_vnode_get_total", "Vnodes got.")),
    ("vnodes", 3, counter("node_xfs_vnode_hold_total", "Vnodes held.")),
    ("vnodes", 4, counter("node_xfs_vnode_release_total", "Vnodes released.")),
    ("vnodes", 5, counter("node_xfs_vnode_reclaim_total", "Vnodes reclaimed.")),
    ("vnodes", 6, counter("node_xfs_vnode_remove_total", "Vnodes removed.")),
];
static FAMILIES: [Family; COUNT] = {
    let [(.., first), ..] = NUMBERS;
    let mut families = [first; COUNT];
    let (mut rest, mut numbers): (&mut [Family], &[_]) = (&mut families, &NUMBERS);
    while let ([family, families @ ..], [(.., own), more @ ..]) = (rest, numbers) {
        *family = *own;
        (rest, numbers) = (families, more);
    }
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "xfs", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Xfs { devices: Class::new(root.sysfs.join("fs/xfs"), &[]) })
    }))
}

struct Xfs {
    devices: Class<Device>,
}

struct Device {
    labels: Labels,
    file: KernelFile,
    counts: Keyed,
    /// It has not just been unmounted.
    is_there: bool,
}

impl Collector for Xfs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let found = self.devices.update(|name, path| {
            let file = path.join("stats/stats");
            let labels = Labels::new(&[("device", name)]);
            file.exists().then(|| {
                let file = KernelFile::new(file).single();
                (labels.clone(), Device { labels, file, counts: Keyed::new(KEYS), is_there: true })
            })
        });
        if if_there(found)?.is_none() {
            return Ok(());
        }
        for device in self.devices.devices_mut() {
            let Device { file, counts, is_there, .. } = &mut device.own;
            let length = if_there(file.read(pass.buffer).map(<[u8]>::len))?;
            *is_there = length.is_some();
            let text = pass.buffer.get(..length.unwrap_or_default()).unwrap_or_default();
            counts.update(text, file.path())?;
        }
        for (key, index, family) in &NUMBERS {
            pass.batch.begin(family);
            for device in self.devices.devices().filter(|device| device.own.is_there) {
                let count = device.own.counts.get_or_0(key, *index);
                pass.batch.sample_with(&device.own.labels, count);
            }
        }
        Ok(())
    }
}
