//! `zfs`: what ZFS counts of its caches, transactions, pools and datasets, of
//! `/proc/spl/kstat/zfs` (module/os/linux/spl/spl-kstat.c in the sources of OpenZFS).
//!
//! Must not know what the numbers mean: their names are those of ZFS.

use super::zfs_pool::{self, Pool, numbers};
use crate::host::class::Class;
use crate::host::gathered::Gathered;
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::sync::Arc;

const fn of(name: &'static str, help: &'static str) -> Family {
    Family::untyped(name, &[], help)
}

const COUNT: usize = 11;
/// The files with the families that their lines are.
#[rustfmt::skip] // a table
static FILES: [(&str, Family); COUNT] = [
    ("abdstats", of("node_zfs_abd_*", "ZFS's own number of that name, of its buffers.")),
    ("arcstats", of("node_zfs_arc_*", "ZFS's own number of that name, of the adaptive replacement cache.")),
    ("dbufstats", of("node_zfs_dbuf_*", "ZFS's own number of that name, of the cache of dbufs.")),
    ("dmu_tx", of("node_zfs_dmu_tx_*", "ZFS's own number of that name, of transactions.")),
    ("dnodestats", of("node_zfs_dnode_*", "ZFS's own number of that name, of dnodes.")),
    ("fm", of("node_zfs_fm_*", "ZFS's own number of that name, of fault management.")),
    ("vdev_cache_stats", of("node_zfs_vdev_cache_*", "ZFS's own number of that name, of the devices' cache.")),
    ("vdev_mirror_stats", of("node_zfs_vdev_mirror_*", "ZFS's own number of that name, of mirrors.")),
    ("xuio_stats", of("node_zfs_xuio_*", "ZFS's own number of that name, of reads and writes without copies.")),
    ("zfetchstats", of("node_zfs_zfetch_*", "ZFS's own number of that name, of reading ahead.")),
    ("zil", of("node_zfs_zil_*", "ZFS's own number of that name, of the intent log.")),
];
static FAMILIES: [Family; COUNT + 3] = {
    let [state, io, dataset] = zfs_pool::FAMILIES;
    let mut families = [state; COUNT + 3];
    let (mut rest, mut files): (&mut [Family], &[_]) = (&mut families, &FILES);
    while let ([family, families @ ..], [(_, own), more @ ..]) = (rest, files) {
        *family = *own;
        (rest, files) = (families, more);
    }
    let [.., second, last] = &mut families;
    (*second, *last) = (io, dataset);
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "zfs", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let folder = root.procfs.join("spl/kstat/zfs");
        Box::new(Zfs {
            files: FILES.map(|(name, _)| KernelFile::new(folder.join(name))),
            pools: Class::new(folder, &[]),
            gathered: Gathered::default(),
        })
    }))
}

struct Zfs {
    files: [KernelFile; COUNT],
    pools: Class<Pool>,
    gathered: Gathered,
}

impl Collector for Zfs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        // Pools are the folders among the files.
        self.pools.update(|name, path| {
            path.is_dir().then(|| (Labels::default(), Pool::new(name, path)))
        })?;
        for (file, (_, family)) in self.files.iter_mut().zip(&FILES) {
            let Some(text) = file.read_if_there(pass.buffer) else { continue };
            for (name, value) in numbers(text) {
                pass.batch.begin_named(family, name);
                pass.batch.sample(&[], value);
            }
        }
        self.gathered.clear();
        for pool in self.pools.devices_mut() {
            pool.own.gather(pass.buffer, &mut self.gathered)?;
        }
        self.gathered.emit(&zfs_pool::FAMILIES, pass.batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_taken() {
        let text =
            b"6 1 0x01\nname type data\nhits 4 7\ndelta 3 -2\nname 7 pool x\nbad 4 y\n\nshort 4\n";
        let all: Vec<_> = numbers(text).collect();
        assert_eq!(all, [(&b"hits"[..], 7.0), (&b"delta"[..], -2.0)]);
        assert_eq!(numbers(b"").count(), 0);
    }
}
