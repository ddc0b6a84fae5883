//! What a kind of device has to show, found once and read at every pass: for collectors whose
//! devices are folders of sysfs, with parts below them perhaps. Whenever a device comes, goes or is
//! replaced, all are looked at again.
//!
//! Must not know what the numbers mean.

use super::Error;
use super::class::Text;
use super::directory::Directory;
use super::looked::Looked;
use super::parse::{any_number, scaled};
use super::root::KernelFile;
use crate::metric::{Batch, Family, Labels};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// One series: where its value comes from at each pass.
enum Source {
    /// A file with one number, which is multiplied.
    File(Labels, KernelFile, f64),
    /// A file with something that is read as a number.
    Parsed(Labels, KernelFile, Parse),
    /// A number that does not change.
    Fixed(Labels, f64),
    /// A series of value 1 with labels whose texts may change; those that are empty may be left out.
    Info { labels: Vec<(&'static str, Value)>, with_empty: bool },
}

/// Reads the number in a file; `None` where there is none.
pub(super) type Parse = fn(&[u8]) -> Option<f64>;

/// The value of a label.
pub(super) enum Value {
    /// It does not change.
    Fixed(String),
    /// It is read at each pass.
    Read(Text),
    /// It is read at each pass, and shown without the `0x` that it begins with.
    ReadHexadecimal(Text),
}

/// Everything that the devices of a folder have to show.
pub(super) struct Readings {
    top: Directory,
    found: Found,
    looked: Looked,
}

/// The series found, by the place of their family in the collector's list of families.
#[derive(Default)]
pub(super) struct Found {
    series: Vec<(usize, Source)>,
    /// What is there already: no series twice.
    known: HashSet<(usize, Vec<u8>)>,
}

impl Readings {
    /// The devices below `top`.
    pub(super) fn new(top: PathBuf) -> Self {
        Self { top: Directory::new(top), found: Found::default(), looked: Looked::default() }
    }

    /// Looks what there is. Where that has changed, `look` is called for every device, with its
    /// name and folder.
    ///
    /// # Errors
    /// [`Error::NoData`] where there is no such folder, [`Error::Read`] where it cannot be listed.
    pub(super) fn update(
        &mut self,
        mut look: impl FnMut(&str, &Path, &mut Found),
    ) -> Result<(), Error> {
        let top = self.top.path().to_owned();
        let names = self.top.list().inspect_err(|_| self.found = Found::default())?;
        if self.looked.is_due(names.has_changed()) {
            self.found = Found::default();
            for name in names.iter() {
                look(&name.to_string_lossy(), &top.join(name), &mut self.found);
            }
            self.found.series.sort_by_key(|(family, _)| *family);
        }
        Ok(())
    }

    /// Emits what can be read. `families` is the list that the places are of.
    pub(super) fn emit(&mut self, families: &[Family], buffer: &mut Vec<u8>, batch: &mut Batch) {
        let mut begun = None;
        for (place, source) in &mut self.found.series {
            if begun != Some(*place) {
                let Some(family) = families.get(*place) else { continue };
                batch.begin(family);
                begun = Some(*place);
            }
            source.emit(buffer, batch);
        }
    }
}

impl Found {
    /// A file with a number, if it is there.
    pub(super) fn file(&mut self, place: usize, labels: &Labels, path: PathBuf, scale: f64) {
        if path.exists() && self.known.insert((place, labels.as_bytes().to_vec())) {
            let file = KernelFile::new(path).single();
            self.series.push((place, Source::File(labels.clone(), file, scale)));
        }
    }

    /// 0 for a file that is not there, where others of its folder are: an older kernel does not count it.
    pub(super) fn absent_is_0(&mut self, place: usize, labels: &Labels, path: &Path) {
        if !path.exists() && path.parent().is_some_and(Path::exists) {
            self.fixed(place, labels, 0.0);
        }
    }

    /// A file with something that `parse` makes a number of, if it is there.
    pub(super) fn parsed(&mut self, place: usize, labels: &Labels, path: PathBuf, parse: Parse) {
        if path.exists() && self.known.insert((place, labels.as_bytes().to_vec())) {
            let file = KernelFile::new(path).single();
            self.series.push((place, Source::Parsed(labels.clone(), file, parse)));
        }
    }

    /// A number that does not change.
    pub(super) fn fixed(&mut self, place: usize, labels: &Labels, value: f64) {
        if self.known.insert((place, labels.as_bytes().to_vec())) {
            self.series.push((place, Source::Fixed(labels.clone(), value)));
        }
    }

    /// A series of value 1. Its first label must be the device's own.
    pub(super) fn info(&mut self, place: usize, labels: Vec<(&'static str, Value)>) {
        self.series.push((place, Source::Info { labels, with_empty: true }));
    }

    /// As [`Found::info`], without the labels that are empty.
    pub(super) fn info_of_known(&mut self, place: usize, labels: Vec<(&'static str, Value)>) {
        self.series.push((place, Source::Info { labels, with_empty: false }));
    }
}

impl Value {
    /// The text of a file, read at each pass.
    pub(super) fn read(path: PathBuf) -> Self {
        Self::Read(Text::new(path))
    }

    /// As [`Value::read`], for a number that is shown without its `0x`.
    pub(super) fn read_hexadecimal(path: PathBuf) -> Self {
        Self::ReadHexadecimal(Text::new(path))
    }

    fn shown(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Read(text) => text.shown(),
            Self::ReadHexadecimal(text) => text.shown().trim_start_matches("0x"),
        }
    }
}

impl Source {
    fn emit(&mut self, buffer: &mut Vec<u8>, batch: &mut Batch) {
        match self {
            Self::File(labels, file, scale) => {
                let text = file.read_if_there(buffer);
                if let Some(value) = text.and_then(any_number) {
                    batch.sample_with(labels, scaled(value, *scale));
                }
            }
            Self::Parsed(labels, file, parse) => {
                if let Some(value) = file.read_if_there(buffer).and_then(*parse) {
                    batch.sample_with(labels, value);
                }
            }
            Self::Fixed(labels, value) => batch.sample_with(labels, *value),
            Self::Info { labels, with_empty } => {
                for (_, value) in labels.iter_mut() {
                    if let Value::Read(text) | Value::ReadHexadecimal(text) = value {
                        text.read(buffer);
                    }
                }
                let shown = labels.iter().map(|(name, value)| (*name, value.shown()));
                batch.sample_of(shown.filter(|(_, text)| *with_empty || !text.is_empty()), 1.0);
            }
        }
    }
}
