//! `bcache`: block caches, of `/sys/fs/bcache` (Documentation/admin-guide/bcache.rst).
//!
//! Must not know the devices' own counters: those are diskstats'.

use super::human::human_of_bcache as human;
use crate::host::directory::Directory;
use crate::host::parse::{lines, number};
use crate::host::readings::{Found, Parse, Readings};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, Pass, if_there};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const SET: &[&str] = &["uuid"];
const BACKING: &[&str] = &["backing_device", "uuid"];
const CACHE: &[&str] = &["cache_device", "uuid"];

/// Where a file lies.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// In the folder of the set.
    Set,
    /// In that of a backing device.
    Backing,
    /// In that of a cache device.
    Cache,
    /// There as well, but costly: the driver goes through all of its buckets.
    Buckets,
}

/// Nanoseconds, although the file's name says something else.
fn nanoseconds(text: &[u8]) -> Option<f64> {
    human(text).map(|time| time / 1e9)
}

/// A value of `writeback_rate_debug`: `rate:  1.1M/sec`.
fn of_writeback(text: &[u8], key: &[u8]) -> Option<f64> {
    let value =
        lines(text).find_map(|line| line.strip_prefix(key)?.strip_prefix(b":"))?.trim_ascii();
    human(value.strip_suffix(b"/sec").unwrap_or(value))
}

/// A value of `priority_stats`: `Unused:  99%`.
fn of_priority(text: &[u8], key: &[u8]) -> Option<f64> {
    let value = lines(text).find_map(|line| line.strip_prefix(key)?.strip_prefix(b":"))?;
    number(value.trim_ascii().strip_suffix(b"%")?)
}

const COUNT: usize = 28;
/// The file, how it is read, and what it tells. Which of them the driver writes for people to read
/// (`1.1k`) has changed between kernels, so that each number may be.
#[rustfmt::skip] // a table
static FILES: [(Of, &str, Parse, Family); COUNT] = [
    (Of::Set, "average_key_size", human, Family::gauge("node_bcache_average_key_size_sectors", SET, "Average size of the data that a key stands for, in sectors.")),
    (Of::Set, "btree_cache_size", human, Family::gauge("node_bcache_btree_cache_size_bytes", SET, "Memory that the B-tree's cache uses.")),
    (Of::Set, "cache_available_percent", human, Family::gauge("node_bcache_cache_available_percent", SET, "Share of the cache without dirty data.")),
    (Of::Set, "congested", human, Family::gauge("node_bcache_congested", SET, "How congested the set is.")),
    (Of::Set, "root_usage_percent", human, Family::gauge("node_bcache_root_usage_percent", SET, "Share of the B-tree's root node that is in use.")),
    (Of::Set, "tree_depth", human, Family::gauge("node_bcache_tree_depth", SET, "Depth of the B-tree.")),
    (Of::Set, "internal/active_journal_entries", human, Family::gauge("node_bcache_active_journal_entries", SET, "Journal entries that are newer than the index.")),
    (Of::Set, "internal/btree_nodes", human, Family::gauge("node_bcache_btree_nodes", SET, "Nodes of the B-tree.")),
    (Of::Set, "internal/btree_read_average_duration_us", nanoseconds, Family::gauge("node_bcache_btree_read_average_duration_seconds", SET, "Average time to read a node of the B-tree.")),
    (Of::Set, "internal/cache_read_races", human, Family::counter("node_bcache_cache_read_races_total", SET, "Times data was overwritten while it was read from the cache.")),
    (Of::Backing, "stats_total/bypassed", human, Family::counter("node_bcache_bypassed_bytes_total", BACKING, "Data read and written past the cache.")),
    (Of::Backing, "stats_total/cache_bypass_hits", human, Family::counter("node_bcache_cache_bypass_hits_total", BACKING, "Hits of requests that were to go past the cache.")),
    (Of::Backing, "stats_total/cache_bypass_misses", human, Family::counter("node_bcache_cache_bypass_misses_total", BACKING, "Misses of requests that were to go past the cache.")),
    (Of::Backing, "stats_total/cache_hits", human, Family::counter("node_bcache_cache_hits_total", BACKING, "Requests that the cache answered.")),
    (Of::Backing, "stats_total/cache_miss_collisions", human, Family::counter("node_bcache_cache_miss_collisions_total", BACKING, "Data that another had put into the cache in the meantime.")),
    (Of::Backing, "stats_total/cache_misses", human, Family::counter("node_bcache_cache_misses_total", BACKING, "Requests that the cache could not answer.")),
    (Of::Backing, "stats_total/cache_readaheads", human, Family::counter("node_bcache_cache_readaheads_total", BACKING, "Times data was read ahead.")),
    (Of::Backing, "dirty_data", human, Family::gauge("node_bcache_dirty_data_bytes", BACKING, "Data in the cache that is still to be written.")),
    (Of::Backing, "writeback_rate_debug", |text| of_writeback(text, b"target"), Family::gauge("node_bcache_dirty_target_bytes", BACKING, "How much dirty data there is meant to be.")),
    (Of::Backing, "writeback_rate_debug", |text| of_writeback(text, b"rate"), Family::gauge("node_bcache_writeback_rate", BACKING, "Rate of writing back, in bytes a second.")),
    (Of::Backing, "writeback_rate_debug", |text| of_writeback(text, b"proportional"), Family::gauge("node_bcache_writeback_rate_proportional_term", BACKING, "Proportional term of the rate of writing back.")),
    (Of::Backing, "writeback_rate_debug", |text| of_writeback(text, b"integral"), Family::gauge("node_bcache_writeback_rate_integral_term", BACKING, "Integral term of the rate of writing back.")),
    (Of::Backing, "writeback_rate_debug", |text| of_writeback(text, b"change"), Family::gauge("node_bcache_writeback_change", BACKING, "Last change of the rate of writing back.")),
    (Of::Cache, "io_errors", human, Family::gauge("node_bcache_io_errors", CACHE, "Errors of late, by the driver's decaying count.")),
    (Of::Cache, "metadata_written", human, Family::counter("node_bcache_metadata_written_bytes_total", CACHE, "Metadata written.")),
    (Of::Cache, "written", human, Family::counter("node_bcache_written_bytes_total", CACHE, "Data written to the cache.")),
    (Of::Buckets, "priority_stats", |text| of_priority(text, b"Unused"), Family::gauge("node_bcache_priority_stats_unused_percent", CACHE, "Share of the cache that holds no data.")),
    (Of::Buckets, "priority_stats", |text| of_priority(text, b"Metadata"), Family::gauge("node_bcache_priority_stats_metadata_percent", CACHE, "Share of the cache that is metadata.")),
];
static FAMILIES: [Family; COUNT] = {
    let [(.., first), ..] = FILES;
    let mut families = [first; COUNT];
    let (mut rest, mut files): (&mut [Family], &[_]) = (&mut families, &FILES);
    while let ([family, families @ ..], [(.., own), more @ ..]) = (rest, files) {
        *family = *own;
        (rest, files) = (families, more);
    }
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "bcache", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    priority_stats: bool,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { priority_stats } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(Bcache { sets: Readings::new(root.sysfs.join("fs/bcache")), priority_stats })
    }))
}

struct Bcache {
    sets: Readings,
    priority_stats: bool,
}

impl Collector for Bcache {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let priority_stats = self.priority_stats;
        let look =
            |uuid: &str, path: &Path, found: &mut Found| look(uuid, path, priority_stats, found);
        if if_there(self.sets.update(look))?.is_none() {
            return Ok(());
        }
        self.sets.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

/// A set's folder is named by its UUID; beside it lie files of the driver.
fn look(uuid: &str, path: &Path, priority_stats: bool, found: &mut Found) {
    if !uuid.contains('-') {
        return;
    }
    add(Of::Set, &Labels::new(&[("uuid", uuid)]), path, found);
    let mut folder = Directory::new(path.to_owned());
    let Ok(names) = folder.list() else { return };
    for name in names.iter().map(|name| name.to_string_lossy()) {
        let path = path.join(&*name);
        if name.starts_with("bdev") {
            let labels = Labels::new(&[("backing_device", &name), ("uuid", uuid)]);
            add(Of::Backing, &labels, &path, found);
        } else if name.starts_with("cache") {
            let labels = Labels::new(&[("cache_device", &name), ("uuid", uuid)]);
            add(Of::Cache, &labels, &path, found);
            if priority_stats {
                add(Of::Buckets, &labels, &path, found);
            }
        }
    }
}

fn add(of: Of, labels: &Labels, path: &Path, found: &mut Found) {
    for (place, (own, file, parse, _)) in FILES.iter().enumerate() {
        if *own == of {
            found.parsed(place, labels, path.join(file), *parse);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_may_be_written_for_people() {
        for (_, file, parse, _) in
            FILES.iter().filter(|(_, file, ..)| !file.contains("_stats") && !file.contains("debug"))
        {
            let parsed = (parse(b"720\n"), parse(b"1.5k\n"));
            let scale = if file.ends_with("_us") { 1e9 } else { 1.0 };
            assert_eq!(parsed, (Some(720.0 / scale), Some(1524.0 / scale)), "{file}");
        }
    }

    #[test]
    fn lines_of_debug_files() {
        let text = b"rate:\t\t1.1M/sec\ndirty:\t20.4G\nnext io:\t17ms\n";
        assert_eq!(of_writeback(text, b"rate"), Some(1_150_976.0));
        assert_eq!(of_writeback(text, b"next io"), None);
        assert_eq!(of_writeback(text, b"no such"), None);
        assert_eq!(of_priority(b"Unused:\t\t99%\nMetadata: x\n", b"Unused"), Some(99.0));
        assert_eq!(of_priority(b"Unused:\t\t99%\nMetadata: x\n", b"Metadata"), None);
    }
}
