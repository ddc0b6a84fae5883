//! Hostile ledgers: what three agents have written, with any byte changed, in records, header, slots and
//! journal, before and after it was first read. Nothing may panic, stall or take memory without bound, no counter
//! may go back, and what is exposed is valid: each family once, each series once.
//! `MUSTERD_FUZZ=1000000 cargo test --release --test fuzz_ledgers` feeds so many of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

mod chance;
mod records;

use chance::Chance;
use musterd::agent::export;
use musterd::agent::options::Options;
use musterd::agent::peer::Peer;
use musterd::agent::protocol::{Hello, Mode};
use musterd::agent::registry::Registry;
use musterd::config;
use musterd::exposition::{Format, encode};
use musterd::metric::Batch;
use musterd_client::layout::{CALL_BOUNDS, DURATION_BOUNDS, RECORDS, SLOTS, Shape, header, names};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

const SIZE: usize = 16 << 10;
const AGENTS: [&str; 3] = ["a", "b", "c"];

fn inputs() -> u64 {
    let number = std::env::var("MUSTERD_FUZZ").ok().and_then(|text| text.parse().ok());
    number.unwrap_or(300)
}

fn options() -> Options {
    let mut options = config::parse(&[]).unwrap().agents;
    options.ledger_size = SIZE;
    options.max_series = 12;
    options.max_families = 10;
    options.max_label_length = 16;
    options
}

fn record(kind: u8, name: &str, labels: &[(&str, &str)], shape: Option<&Shape>) -> Vec<u8> {
    let unit = if name.contains("_seconds") { "seconds" } else { "" };
    let (mut bytes, values) = records::record(kind, name, labels, shape, ["Says what.", unit]);
    // Values that grow with each word: whole numbers, which are tiny sums.
    for (index, word) in bytes[values..].chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(index as u64 + 3).to_le_bytes());
    }
    bytes
}

/// Records of every kind, some of them twice, in conflict, or against a rule.
fn records(chance: &mut Chance) -> Vec<u8> {
    let small = Shape { native_count: 3, bounds: vec![0.5, 1.0], ..Shape::calls() };
    let other = Shape { native_count: 4, ..small.clone() };
    let with = |bounds: &[f64]| Shape { bounds: bounds.to_vec(), ..small.clone() };
    let (durations, calls) = (with(&DURATION_BOUNDS), with(&CALL_BOUNDS));
    let tool = [("tool", "t"), ("outcome", "error")];
    let all = [
        record(1, names::REQUESTS, &[("status", "success")], None),
        record(1, names::ERRORS, &[("category", "net")], None),
        record(1, names::TOKENS, &[("model", "m"), ("type", "input")], None),
        record(3, names::DURATION, &[], Some(&durations)),
        record(3, names::DURATION, &[], Some(&small)),
        record(3, names::TOOL_DURATION, &tool, Some(&calls)),
        record(3, names::TOOL_DURATION, &tool, Some(&small)),
        record(1, "x_total", &[("a", "1"), ("b", "2")], None),
        record(1, "x_total", &[("b", "2"), ("a", "1"), ("c", "")], None),
        record(4, "x_total", &[("a", "2")], None),
        record(2, "x", &[], None),
        record(2, "y_depth", &[("a", "1\n\"\\")], None),
        record(2, "y_depth", &[], None),
        record(1, "y_depth_total", &[("a", "a value that is too long")], None),
        record(3, "z_wait_seconds", &[("a", "1")], Some(&small)),
        record(3, "z_wait_seconds", &[("a", "2")], Some(&other)),
        record(1, "z_wait_seconds_total", &[], None),
        record(4, "w_seconds_total", &[], None),
        record(1, "node_load1_total", &[], None),
    ];
    let count = chance.below(20);
    (0..count).flat_map(|_| chance.one_of(&all).clone()).collect()
}

/// One agent's side.
struct Pen(File);

impl Pen {
    fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, at as u64).unwrap();
        u64::from_le_bytes(word)
    }

    fn set(&self, at: usize, word: u64) {
        self.0.write_all_at(&word.to_le_bytes(), at as u64).unwrap();
    }

    fn append(&self, records: &[u8]) {
        let end = usize::try_from(self.word(header::RECORDS_END)).unwrap_or(SIZE);
        if end.saturating_add(records.len()) <= SIZE {
            self.0.write_all_at(records, end as u64).unwrap();
            self.set(header::RECORDS_END, (end + records.len()) as u64);
        }
    }

    /// Changes bytes, words and lengths, wherever it may hurt.
    fn disturb(&self, chance: &mut Chance) {
        const ODD: [u64; 9] = [
            0,
            1,
            7,
            SIZE as u64,
            1 << 31,
            u32::MAX as u64,
            0x7ff8_0000_0000_0000, // not a number
            0x7ff0_0000_0000_0000, // infinite
            u64::MAX,
        ];
        for _ in 0..chance.below(4) {
            let at = match chance.below(4) {
                0 => chance.below(SLOTS),
                1 => SLOTS + chance.below(RECORDS - SLOTS),
                _ => RECORDS + chance.below(4096),
            };
            match chance.below(3) {
                0 => self.set(at / 8 * 8, *chance.one_of(&ODD)),
                1 => self.set(at / 8 * 8, chance.below(1 << 16) as u64),
                _ => self.0.write_all_at(&[chance.below(256) as u8], at as u64).unwrap(),
            }
        }
        if chance.below(4) == 0 {
            self.set(header::JOURNAL_COUNT, chance.below(18) as u64);
            for pair in 0..16 {
                self.set(
                    header::JOURNAL_COUNT - 16 * (pair + 1),
                    chance.below(SIZE) as u64 / 8 * 8,
                );
            }
        }
    }
}

/// Series and values of an exposition, which is valid.
fn shown(registry: &mut Registry, at: u64) -> HashMap<String, f64> {
    let now = Duration::from_secs(at);
    registry.refresh(now);
    let mut batch = Batch::new();
    export::fill(registry, now, &mut batch);
    let mut open = Vec::new();
    encode(&batch, Format::OpenMetrics, &mut open);
    check_families(&String::from_utf8(open).unwrap());
    let mut text = Vec::new();
    encode(&batch, Format::Text, &mut text);
    let text = String::from_utf8(text).unwrap();
    check_families(&text);
    let mut samples = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = value.replace("+Inf", "inf").parse().unwrap();
        assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
    }
    samples
}

/// Each family once, its samples below it, each by a valid name.
fn check_families(text: &str) {
    let (mut seen, mut family) = (HashSet::new(), "");
    for line in text.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(seen.insert(family), "family {family} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split(' ').next(), Some(family));
        } else {
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap();
            let part = line[..end].strip_prefix(family).unwrap_or("stray");
            let parts = ["", "_total", "_bucket", "_sum", "_count"];
            assert!(parts.contains(&part), "{line} in {family}");
        }
    }
}

/// What must not go back: counters, and parts of histograms. A name that is declared anew starts anew, so
/// only what the later exposition still has as a counter is looked at.
fn check_growth(before: &HashMap<String, f64>, after: &HashMap<String, f64>) {
    for (series, value) in before {
        let name = series.split('{').next().unwrap_or_default();
        let is_counter = ["_total", "_bucket", "_sum", "_count"].iter().any(|p| name.ends_with(p));
        if is_counter && !name.starts_with("musterd_") {
            let now = after.get(series).copied().unwrap_or(f64::NEG_INFINITY);
            assert!(now >= *value, "{series} went from {value} to {now}");
        }
    }
}

#[test]
fn ledgers() {
    let seed = std::env::var("MUSTERD_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let mut chance = Chance(seed.unwrap_or(0x9e37_79b9_7f4a_7c15));
    let mut samples = 0;
    for input in 0..inputs() {
        let start = chance.0;
        let again = || format!("MUSTERD_FUZZ_SEED={start} MUSTERD_FUZZ=1, input {input}");
        let outcome = std::panic::catch_unwind(|| one_input(start));
        let (count, next) = outcome.unwrap_or_else(|_| panic!("{}", again()));
        (samples, chance) = (samples + count, Chance(next));
    }
    assert!(samples > 0);
}

/// Agents come, write, are read twice, and go; then the daemon is started anew. How many samples
/// there were, and the next seed.
fn one_input(seed: u64) -> (usize, u64) {
    let mut chance = Chance(seed);
    let mut registry = Registry::new(options());
    let mut ledgers = Vec::new();
    for (number, agent) in AGENTS.iter().enumerate() {
        let hello = Hello {
            agent: (*agent).to_owned(),
            client: String::new(),
            version: String::new(),
            framework: String::new(),
            heartbeat: None,
            mode: Mode::Ledger,
        };
        let peer = Peer { uid: 0, gid: 0, pid: Some(number as u32), pidfd: None, began: None };
        let welcome = registry.connect(hello, &peer, None, Duration::from_secs(1)).unwrap();
        let pen = Pen(File::from(welcome.file.unwrap()));
        pen.append(&records(&mut chance));
        if chance.below(8) > 0 {
            pen.disturb(&mut chance);
        }
        ledgers.push((welcome.key, pen));
    }
    let first = shown(&mut registry, 2);
    for (_, pen) in &ledgers {
        pen.append(&records(&mut chance));
        pen.disturb(&mut chance);
    }
    let second = shown(&mut registry, 3);
    check_growth(&first, &second);
    for (key, _) in &ledgers {
        registry.died(*key);
    }
    let mut third = shown(&mut registry, 4);
    check_growth(&second, &third);
    // What has counted nothing need not be kept.
    third.retain(|_, value| *value > 0.0);
    let text = registry.take_unsaved().unwrap();
    let mut next = Registry::new(options());
    assert_eq!(next.restore(&text, Duration::from_secs(5)), Ok(Vec::new()), "{text}");
    check_growth(&third, &shown(&mut next, 60));
    (first.len() + second.len(), chance.0)
}
