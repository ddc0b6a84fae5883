//! Labels as samples carry them: rendered and escaped, `cpu="0",mode="idle"`. Text 0.0.4 and OpenMetrics
//! escape label values alike: backslash, quote and line feed.
//!
//! Must not know samples.

/// A set of labels, rendered once and used for many samples: `cpu="0",mode="idle"`.
///
/// For label sets that stay from pass to pass (a device's), keeping one of these spares the
/// escaping at every sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<u8>);

impl Labels {
    /// Renders label names and values. Names must be valid label names; values may be any text.
    #[must_use]
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        let mut text = Vec::new();
        render_labels(pairs.iter().copied(), &mut text);
        Self(text)
    }

    /// Renders others in place of these, in the same memory.
    pub fn set(&mut self, pairs: &[(&str, &str)]) {
        self.0.clear();
        render_labels(pairs.iter().copied(), &mut self.0);
    }

    /// The rendered form, without braces.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Many sets of labels in one memory, in the order in which they came: for series that stay from pass to
/// pass, and that a batch takes over all at once ([`super::Batch::fill_group`]).
#[derive(Clone, Debug, Default)]
pub struct LabelSets(Vec<u8>);

/// The place of a set among [`LabelSets`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelSet {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl LabelSets {
    /// Renders one more.
    pub fn add<'l>(&mut self, pairs: impl Iterator<Item = (&'l str, &'l str)>) -> LabelSet {
        let start = position(self.0.len());
        render_labels(pairs, &mut self.0);
        LabelSet { start, end: position(self.0.len()) }
    }

    /// Adds one of others as it is.
    pub fn add_from(&mut self, others: &Self, set: LabelSet) -> LabelSet {
        let start = position(self.0.len());
        let text = others.0.get(set.start as usize..set.end as usize);
        self.0.extend_from_slice(text.unwrap_or_default());
        LabelSet { start, end: position(self.0.len()) }
    }

    /// All of them, in rendered form, one behind the other.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

pub(super) fn position(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(super) fn render_labels<'l>(
    pairs: impl Iterator<Item = (&'l str, &'l str)>,
    out: &mut Vec<u8>,
) {
    for (index, (name, value)) in pairs.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(value.as_bytes(), out);
        out.push(b'"');
    }
}

/// Whether a text has bytes that have to be escaped, in the formats that we write. All of it is looked at,
/// which is faster than to stop early: many bytes at once.
pub(crate) fn has_special(text: &[u8]) -> bool {
    text.iter().fold(false, |has, byte| has | matches!(byte, b'\\' | b'"' | b'\n'))
}

fn escape(value: &[u8], out: &mut Vec<u8>) {
    if !has_special(value) {
        out.extend_from_slice(value);
        return;
    }
    for &byte in value {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
}
