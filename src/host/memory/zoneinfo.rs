//! `zoneinfo`: the zones that memory is managed in, of `/proc/zoneinfo` (proc(5)).
//!
//! Must not know how large a page is.

use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const ZONE: &[&str] = &["node", "zone"];

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, ZONE, help)
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, ZONE, help)
}

const COUNT: usize = 34;
/// The kernel's name for a number, and its family.
#[rustfmt::skip] // a table
static NUMBERS: [(&str, Family); COUNT] = [
    ("nr_free_pages", gauge("node_zoneinfo_nr_free_pages", "Pages that are free.")),
    ("min", gauge("node_zoneinfo_min_pages", "Free pages below which only the kernel's own needs are served.")),
    ("low", gauge("node_zoneinfo_low_pages", "Free pages below which memory is reclaimed.")),
    ("high", gauge("node_zoneinfo_high_pages", "Free pages above which the zone is balanced.")),
    ("scanned", gauge("node_zoneinfo_scanned_pages", "Pages looked at since pages were last freed.")),
    ("spanned", gauge("node_zoneinfo_spanned_pages", "Pages that the zone spans, with its holes.")),
    ("present", gauge("node_zoneinfo_present_pages", "Pages that are there.")),
    ("managed", gauge("node_zoneinfo_managed_pages", "Pages that the allocator manages.")),
    ("nr_active_anon", gauge("node_zoneinfo_nr_active_anon_pages", "Anonymous pages used of late.")),
    ("nr_inactive_anon", gauge("node_zoneinfo_nr_inactive_anon_pages", "Anonymous pages not used of late.")),
    ("nr_isolated_anon", gauge("node_zoneinfo_nr_isolated_anon_pages", "Anonymous pages taken off their list for a time.")),
    ("nr_anon_pages", gauge("node_zoneinfo_nr_anon_pages", "Anonymous pages that are mapped.")),
    ("nr_anon_transparent_hugepages", gauge("node_zoneinfo_nr_anon_transparent_hugepages", "Transparent huge pages.")),
    ("nr_active_file", gauge("node_zoneinfo_nr_active_file_pages", "File pages used of late.")),
    ("nr_inactive_file", gauge("node_zoneinfo_nr_inactive_file_pages", "File pages not used of late.")),
    ("nr_isolated_file", gauge("node_zoneinfo_nr_isolated_file_pages", "File pages taken off their list for a time.")),
    ("nr_file_pages", gauge("node_zoneinfo_nr_file_pages", "File pages.")),
    ("nr_slab_reclaimable", gauge("node_zoneinfo_nr_slab_reclaimable_pages", "Pages of slabs that can be reclaimed.")),
    ("nr_slab_unreclaimable", gauge("node_zoneinfo_nr_slab_unreclaimable_pages", "Pages of slabs that cannot be reclaimed.")),
    ("nr_mlock_stack", gauge("node_zoneinfo_nr_mlock_stack_pages", "Pages that mlock(2) has locked.")),
    ("nr_kernel_stack", gauge("node_zoneinfo_nr_kernel_stacks", "Kernel stacks.")),
    ("nr_mapped", gauge("node_zoneinfo_nr_mapped_pages", "Pages that are mapped.")),
    ("nr_dirty", gauge("node_zoneinfo_nr_dirty_pages", "Pages that are to be written.")),
    ("nr_writeback", gauge("node_zoneinfo_nr_writeback_pages", "Pages that are being written.")),
    ("nr_unevictable", gauge("node_zoneinfo_nr_unevictable_pages", "Pages that cannot be reclaimed.")),
    ("nr_shmem", gauge("node_zoneinfo_nr_shmem_pages", "Pages of shared memory.")),
    ("nr_dirtied", counter("node_zoneinfo_nr_dirtied_total", "Pages that have become dirty.")),
    ("nr_written", counter("node_zoneinfo_nr_written_total", "Pages written.")),
    ("numa_hit", counter("node_zoneinfo_numa_hit_total", "Pages allocated on the node that was meant.")),
    ("numa_miss", counter("node_zoneinfo_numa_miss_total", "Pages allocated here that were meant for another node.")),
    ("numa_foreign", counter("node_zoneinfo_numa_foreign_total", "Pages meant for here that were allocated on another node.")),
    ("numa_interleave", counter("node_zoneinfo_numa_interleave_total", "Pages allocated here to spread memory over nodes.")),
    ("numa_local", counter("node_zoneinfo_numa_local_total", "Pages allocated by a process of this node.")),
    ("numa_other", counter("node_zoneinfo_numa_other_total", "Pages allocated by a process of another node.")),
];
const PROTECTION: Family =
    gauge("node_zoneinfo_protection_*", "Pages kept free for those that cannot use another zone.");
static FAMILIES: [Family; COUNT + 1] = {
    let mut families = [PROTECTION; COUNT + 1];
    let (mut rest, mut numbers): (&mut [Family], &[_]) = (&mut families, &NUMBERS);
    while let ([family, families @ ..], [(_, own), more @ ..]) = (rest, numbers) {
        *family = *own;
        (rest, numbers) = (families, more);
    }
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "zoneinfo", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Zoneinfo { file: root.proc("zoneinfo"), gathered: Gathered::default() })
    }))
}

struct Zoneinfo {
    file: KernelFile,
    gathered: Gathered,
}

impl Collector for Zoneinfo {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let text = self.file.read(pass.buffer)?;
        gather(text, &mut self.gathered);
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// `Node 0, zone DMA`, then what the zone, and the node before its first zone, has; then what each cpu
/// keeps for itself (`pagesets`).
fn gather(text: &[u8], gathered: &mut Gathered) {
    let (mut node, mut zone, mut is_zone) = (String::new(), String::new(), false);
    for line in lines(text) {
        let mut words = words(line);
        let first = words.next().unwrap_or_default();
        if first == b"Node" {
            let number = words.next().unwrap_or_default();
            node =
                String::from_utf8_lossy(number.strip_suffix(b",").unwrap_or(number)).into_owned();
            zone = String::from_utf8_lossy(words.nth(1).unwrap_or_default()).into_owned();
            is_zone = !zone.is_empty();
        }
        is_zone &= first != b"pagesets";
        let labels = [("node", node.as_str()), ("zone", zone.as_str())];
        if !is_zone {
            continue;
        }
        if first == b"protection:" {
            let pages = words.filter_map(|word| number(bare(word)));
            for (index, pages) in pages.enumerate() {
                gathered.add_named(COUNT, index.to_string().as_bytes(), &labels, pages);
            }
        } else if let Some(place) = NUMBERS.iter().position(|(name, _)| name.as_bytes() == first)
            && let Some(value) = words.next().and_then(number)
        {
            gathered.add(place, &labels, value);
        }
    }
}

/// A word of `(0, 2039, 31932)` without what stands around the number.
fn bare(word: &[u8]) -> &[u8] {
    let word = word.strip_prefix(b"(").unwrap_or(word);
    word.strip_suffix(b",").or(word.strip_suffix(b")")).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pagesets_are_not_the_zones() {
        let (mut gathered, mut batch) = (Gathered::default(), crate::metric::Batch::new());
        let text = b"nr_free_pages 1\nNode 0, zone DMA\n  min 8\n  protection: (0, 20)\n  \
            pagesets\n    high 3\nNode 1, zone\n min 9\n";
        gather(text, &mut gathered);
        gathered.emit(&FAMILIES, &mut batch);
        let names: Vec<_> = batch
            .families()
            .map(|family| String::from_utf8_lossy(family.name).into_owned())
            .collect();
        let wanted =
            ["node_zoneinfo_min_pages", "node_zoneinfo_protection_0", "node_zoneinfo_protection_1"];
        assert_eq!(names, wanted);
    }
}
