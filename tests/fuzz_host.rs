//! Every collector that reads files, fed with what no kernel writes: the fixtures of the golden
//! test with bytes, numbers and lines changed, doubled and taken away. Nothing may panic, and what
//! is exposed must be a valid exposition: names that are names, each family once, no series twice.
//!
//! `MUSTERD_FUZZ=1000000 cargo test --release --test fuzz_host` feeds so many inputs to each
//! collector, and `MUSTERD_FUZZ_ONLY=cpu,stat` to those alone. A failure names the seed, the file
//! and what stood in it; `MUSTERD_FUZZ_SEED` takes the seed.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)] // a test fails by panicking

mod chance;
mod host_fixture;

use chance::Chance;
use host_fixture::{LIVE, plans, roots};
use musterd::exposition::{Format, encode};
use musterd::host::root::Root;
use musterd::host::{Collector, Pass, Plan};
use musterd::metric::Batch;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Inputs per collector where nothing else is asked for: enough to see that the test works.
const FEW: u64 = 300;
/// Changes pile up in a tree until it is made anew.
const PILE: u64 = 8;

#[test]
fn no_input_brings_a_collector_down() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let inputs = number("MUSTERD_FUZZ").unwrap_or(FEW);
    let seed = number("MUSTERD_FUZZ_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15);
    let only = std::env::var("MUSTERD_FUZZ_ONLY").ok();
    let is_asked_for =
        |name| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    let tree = Tree::copied("fuzz");
    let options =
        include_str!("fixtures/options.toml").replace("FIXTURES", tree.top.to_str().unwrap());
    let root = roots(&tree.top, "udev");
    for plan in plans(&options) {
        if LIVE.contains(&plan.name) || !is_asked_for(plan.name) {
            continue;
        }
        let files = tree.read_by(&plan, &root);
        assert!(!files.is_empty() || plan.name == "timex", "{}: no fixture matters", plan.name);
        if !files.is_empty() {
            fuzz(&plan, &root, &files, &mut Chance(seed), inputs);
            println!("{}: {inputs} inputs in {} files", plan.name, files.len());
        }
    }
}

fn fuzz(plan: &Plan, root: &Arc<Root>, files: &[Fixture], chance: &mut Chance, inputs: u64) {
    let mut bench = Bench::new(plan, root);
    for input in 0..inputs {
        if input % PILE == 0 {
            files.iter().for_each(Fixture::restore);
            if input % (PILE * 64) == 0 {
                bench = Bench::new(plan, root);
            }
        }
        let seed = chance.0;
        let file = chance.one_of(files);
        let text = chance.changed(&file.text);
        std::fs::write(&file.path, &text).unwrap();
        if let Err(what) = bench.pass() {
            panic!(
                "{}: {what}\nseed {seed}, input {input}, {}:\n{}",
                plan.name,
                file.path.display(),
                String::from_utf8_lossy(&text).escape_debug()
            );
        }
    }
    files.iter().for_each(Fixture::restore);
}

/// A file of the tree and what stands in it.
struct Fixture {
    path: PathBuf,
    text: Vec<u8>,
}

impl Fixture {
    fn restore(&self) {
        std::fs::write(&self.path, &self.text).unwrap();
    }
}

/// A copy of the fixtures, gone when this is dropped.
struct Tree {
    top: PathBuf,
    files: Vec<Fixture>,
}

impl Tree {
    fn copied(name: &str) -> Self {
        let top = chance::folder(name);
        let mut tree = Self { top: top.clone(), files: Vec::new() };
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/host");
        tree.copy(&fixtures, &top);
        tree
    }

    fn copy(&mut self, from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                std::os::unix::fs::symlink(std::fs::read_link(&from).unwrap(), &to).unwrap();
            } else if kind.is_dir() {
                self.copy(&from, &to);
            } else {
                let text = std::fs::read(&from).unwrap();
                let file = Fixture { path: to, text };
                file.restore();
                self.files.push(file);
            }
        }
    }

    /// The files that a collector reads: those without whose text it says something else.
    fn read_by(&self, plan: &Plan, root: &Arc<Root>) -> Vec<Fixture> {
        let wanted = Bench::new(plan, root).pass().unwrap();
        let matters = |file: &&Fixture| {
            std::fs::write(&file.path, "\u{1}rubbish").unwrap();
            let shown = Bench::new(plan, root).pass().unwrap();
            file.restore();
            shown != wanted
        };
        let files = self.files.iter().filter(matters);
        files.map(|file| Fixture { path: file.path.clone(), text: file.text.clone() }).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.top);
    }
}

/// A collector and what it needs.
struct Bench {
    collector: Box<dyn Collector>,
    batch: Batch,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Bench {
    fn new(plan: &Plan, root: &Arc<Root>) -> Self {
        let collector = (plan.builder)(root);
        Self { collector, batch: Batch::new(), buffer: Vec::new(), out: Vec::new() }
    }

    /// One pass: what it shows (the error, where it fails), or what must not be.
    fn pass(&mut self) -> Result<String, String> {
        self.batch.clear();
        let deadline = Instant::now() + Duration::from_secs(5);
        let Self { collector, batch, buffer, .. } = self;
        let collected = catch_unwind(AssertUnwindSafe(|| {
            collector.collect(&mut Pass { batch, buffer, deadline })
        }));
        match collected {
            Err(_) => return Err("it panicked".to_owned()),
            Ok(Err(error)) => return Ok(error.to_string()),
            Ok(Ok(())) => {}
        }
        self.out.clear();
        encode(&self.batch, Format::Text, &mut self.out);
        let text = std::str::from_utf8(&self.out).map_err(|_| "not UTF-8".to_owned())?;
        check(text)?;
        // What the clock decides is no difference.
        let clock = ["node_time_seconds ", "node_time_zone_offset_seconds"];
        let lines = text.lines().filter(|line| !clock.iter().any(|name| line.starts_with(name)));
        Ok(lines.fold(String::new(), |all, line| all + line + "\n"))
    }
}

/// Whether a text is an exposition: every family once, every series once, all names valid.
fn check(text: &str) -> Result<(), String> {
    let mut seen = HashSet::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let name = head.split(' ').next().unwrap_or_default();
            if !is_name(name) || !seen.insert(head) || !seen.insert(name) {
                return Err(format!("family not valid or there twice: {line}"));
            }
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').ok_or(format!("no value: {line}"))?;
            let name = series.split('{').next().unwrap_or_default();
            let is_value = value.parse::<f64>().is_ok();
            if !is_name(name) || !is_value || !seen.insert(series) && series.contains('{') {
                return Err(format!("series not valid or there twice: {line}"));
            }
            labels(series.get(name.len()..).unwrap_or_default())
                .ok_or_else(|| format!("labels not valid: {line}"))?;
        }
    }
    Ok(())
}

/// `None` unless the text is empty or `{name="value",...}`, with no name twice.
fn labels(text: &str) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut names = HashSet::new();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"")?;
        if !is_name(name) || name.contains(':') || !names.insert(name) {
            return None;
        }
        let mut is_escaped = false;
        let end = value.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        })?;
        rest = value.get(end + 1..)?;
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(())
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit())
}
