//! For the collector `cpu`: models, frequencies, flags and bugs of the cpus, of `/proc/cpuinfo`
//! (proc_cpuinfo(5); the fields are those of x86, and the flags also those of Arm).
//!
//! Must not know what cpus spend their time on.

use super::FREQUENCY;
use crate::host::parse::{decimal, lines, words};
use crate::host::pattern::Pattern;
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Error, Pass};
use crate::metric::{Family, Labels};

pub(super) const INFO: Family = Family::gauge(
    "node_cpu_info",
    &[
        "package",
        "core",
        "cpu",
        "vendor",
        "family",
        "model",
        "model_name",
        "microcode",
        "stepping",
        "cachesize",
    ],
    "What /proc/cpuinfo says of a cpu, as labels. Always 1.",
);
pub(super) const FLAG: Family = Family::gauge(
    "node_cpu_flag_info",
    &["flag"],
    "A feature of the first cpu, as /proc/cpuinfo names it. Always 1.",
);
pub(super) const BUG: Family = Family::gauge(
    "node_cpu_bug_info",
    &["bug"],
    "A flaw of the first cpu, as /proc/cpuinfo names it. Always 1.",
);

/// Fields that are labels: their name in the file and the label's. The first three are the
/// frequency's, too.
const FIELDS: [(&[u8], &str); 10] = [
    (b"physical id", "package"),
    (b"core id", "core"),
    (b"processor", "cpu"),
    (b"vendor_id", "vendor"),
    (b"cpu family", "family"),
    (b"model", "model"),
    (b"model name", "model_name"),
    (b"microcode", "microcode"),
    (b"stepping", "stepping"),
    (b"cache size", "cachesize"),
];
const IDENTITY: usize = 3;
const PROCESSOR: usize = 2;

/// The file, and what has been rendered of it.
pub(super) struct Info {
    file: KernelFile,
    flags: Words,
    bugs: Words,
    processors: Table<Processor>,
}

struct Processor {
    fields: [Vec<u8>; FIELDS.len()],
    info: Labels,
    identity: Labels,
    hertz: f64,
}

impl Info {
    pub(super) fn new(root: &Root, flags: Pattern, bugs: Pattern) -> Self {
        Self {
            file: root.proc("cpuinfo"),
            flags: Words { label: "flag", wanted: flags, text: Vec::new(), labels: Vec::new() },
            bugs: Words { label: "bug", wanted: bugs, text: Vec::new(), labels: Vec::new() },
            processors: Table::default(),
        }
    }

    pub(super) fn emit(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.file.read(pass.buffer)?;
        self.processors.begin();
        for (index, block) in parse(text).enumerate() {
            if index == 0 {
                self.flags.update(block.flags);
                self.bugs.update(block.bugs);
            }
            let number = block.fields.get(PROCESSOR).copied().unwrap_or_default();
            if let Some(processor) = self.processors.meet(number, || Processor::new(&block)) {
                processor.update(&block);
            }
        }
        self.processors.end();
        pass.batch.begin(&INFO);
        for processor in self.processors.rows() {
            pass.batch.sample_with(&processor.info, 1.0);
        }
        pass.batch.begin(&FREQUENCY);
        for processor in self.processors.rows() {
            pass.batch.sample_with(&processor.identity, processor.hertz);
        }
        for (family, words) in [(&FLAG, &self.flags), (&BUG, &self.bugs)] {
            pass.batch.begin(family);
            for labels in &words.labels {
                pass.batch.sample_with(labels, 1.0);
            }
        }
        Ok(())
    }
}

impl Processor {
    fn new(block: &Block<'_>) -> Self {
        let fields = block.fields.map(<[u8]>::to_vec);
        let texts = fields.each_ref().map(|field| String::from_utf8_lossy(field));
        let pairs: Vec<_> =
            FIELDS.iter().zip(&texts).map(|((_, label), text)| (*label, &**text)).collect();
        let identity = Labels::new(pairs.get(..IDENTITY).unwrap_or_default());
        Self { info: Labels::new(&pairs), identity, hertz: 0.0, fields }
    }

    fn update(&mut self, block: &Block<'_>) {
        if self.fields.iter().zip(block.fields).any(|(known, read)| known != read) {
            *self = Self::new(block);
        }
        // As node_exporter has it where the file does not say.
        self.hertz = block.megahertz.unwrap_or(0.0) * 1e6;
    }
}

/// A list of words, and the labels of those wanted as rendered when it last changed.
struct Words {
    label: &'static str,
    wanted: Pattern,
    text: Vec<u8>,
    labels: Vec<Labels>,
}

impl Words {
    fn update(&mut self, text: &[u8]) {
        if self.text == text {
            return;
        }
        self.text = text.to_vec();
        self.labels.clear();
        for word in words(text) {
            let word = String::from_utf8_lossy(word);
            let labels = Labels::new(&[(self.label, &word)]);
            if self.wanted.matches(&word) && !self.labels.contains(&labels) {
                self.labels.push(labels);
            }
        }
    }
}

/// One cpu's lines.
#[derive(Debug, Default, PartialEq)]
struct Block<'a> {
    fields: [&'a [u8]; FIELDS.len()],
    megahertz: Option<f64>,
    flags: &'a [u8],
    bugs: &'a [u8],
}

/// The cpus of the file: each begins with its line `processor`.
fn parse(text: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut lines = lines(text).map(key_and_value).peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|(key, _)| *key != b"processor").is_some() {}
        let mut block = Block::default();
        block.set(lines.next()?);
        while let Some(line) = lines.next_if(|(key, _)| *key != b"processor") {
            block.set(line);
        }
        Some(block)
    })
}

/// Of `model name : AMD Ryzen  `; blanks at the end are part of the value, and of labels in dashboards.
fn key_and_value(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
    let (key, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    (key.trim_ascii(), value.strip_prefix(b" ").unwrap_or(value))
}

impl<'a> Block<'a> {
    fn set(&mut self, (key, value): (&'a [u8], &'a [u8])) {
        match key {
            b"cpu MHz" => self.megahertz = decimal(value.trim_ascii()),
            b"flags" | b"Features" | b"features" => self.flags = value,
            b"bugs" => self.bugs = value,
            _ => {
                let mut slots = FIELDS.iter().zip(&mut self.fields);
                if let Some((_, slot)) = slots.find(|((name, _), _)| *name == key) {
                    *slot = value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        let text = b"processor\t: 0\nmodel name\t: A: B  \ncpu MHz\t\t: 1500.5\nflags\t: x y\n\n\
            processor\t: 1\nbugs\t:\n\nHardware : odd\n";
        let blocks: Vec<_> = parse(text).collect();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].fields[PROCESSOR], b"0");
        assert_eq!(blocks[0].fields[6], b"A: B  ");
        assert_eq!(blocks[0].megahertz, Some(1500.5));
        assert_eq!(blocks[0].flags, b"x y");
        assert_eq!(blocks[1].fields[PROCESSOR], b"1");
        assert_eq!(blocks[1].megahertz, None);
        for name in ["Features", "features"] {
            let text = format!("processor\t: 0\n{name}\t: fp asimd\n");
            assert_eq!(parse(text.as_bytes()).next().unwrap().flags, b"fp asimd");
        }
    }

    #[test]
    fn rubbish_has_no_blocks() {
        for text in [&b""[..], b":", b"\xff\xff: \xff", b"cpu MHz : 3\n"] {
            assert_eq!(parse(text).count(), 0);
        }
        assert_eq!(parse(b"processor").count(), 1);
    }

    #[test]
    fn words_are_rendered_once() {
        let wanted = Pattern::try_from("^a".to_owned()).unwrap();
        let mut words = Words { label: "flag", wanted, text: Vec::new(), labels: Vec::new() };
        words.update(b"ab b aa ab");
        assert_eq!(words.labels, [Labels::new(&[("flag", "ab")]), Labels::new(&[("flag", "aa")])]);
        words.update(b"b");
        assert!(words.labels.is_empty());
    }
}
