//! Devices of one kind in sysfs, each a folder of files with one number: what a good part of the
//! collectors is about (Documentation/admin-guide/sysfs-rules.rst in the kernel's sources).
//!
//! Must not know what the numbers mean.

use super::Error;
use super::directory::Directory;
use super::looked::Looked;
use super::parse::{any_number, scaled};
use super::root::KernelFile;
use super::table::Table;
use crate::metric::{Batch, Family, Labels};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file of each device, and what becomes of the number in it.
pub(super) struct Attribute {
    /// Its path below the device's folder.
    pub(super) file: &'static str,
    /// The family that shows it.
    pub(super) family: Family,
    /// What the kernel's number is multiplied with: its unit, in base units.
    pub(super) scale: f64,
}

/// The devices of a folder.
pub(super) struct Class<T> {
    folder: Directory,
    looked: Looked,
    attributes: &'static [Attribute],
    devices: Table<Option<Device<T>>>,
}

/// A device that is shown.
pub(super) struct Device<T> {
    /// Its labels in the families of the attributes.
    labels: Labels,
    /// Whatever else its collector keeps of it.
    pub(super) own: T,
    /// One for each attribute; `None` where the device has no such file.
    numbers: Vec<Option<Number>>,
}

/// A number, as it was read last.
struct Number {
    file: KernelFile,
    value: Option<f64>,
}

impl<T> Class<T> {
    /// The devices below `folder`.
    pub(super) fn new(folder: PathBuf, attributes: &'static [Attribute]) -> Self {
        let (looked, devices) = (Looked::default(), Table::default());
        Self { folder: Directory::new(folder), looked, attributes, devices }
    }

    /// Finds the devices that there are. `make` is asked with the folder's name and path, for the
    /// labels and what else is kept, or `None` for what is no device to show: about all of them where any
    /// has come, gone or been replaced, and after a while, since a device gets its files after its folder.
    ///
    /// # Errors
    /// [`Error::NoData`] where there is no such folder, [`Error::Read`] where it cannot be listed.
    pub(super) fn update(
        &mut self,
        make: impl FnMut(&str, &Path) -> Option<(Labels, T)>,
    ) -> Result<(), Error> {
        self.update_some(|_| true, make)
    }

    /// As [`Class::update`], for those alone whose names are wanted at this pass.
    ///
    /// # Errors
    /// As those of [`Class::update`].
    pub(super) fn update_some(
        &mut self,
        is_wanted: impl Fn(&str) -> bool,
        mut make: impl FnMut(&str, &Path) -> Option<(Labels, T)>,
    ) -> Result<(), Error> {
        let top = self.folder.path().to_owned();
        let names = self.folder.list()?;
        if self.looked.is_due(names.has_changed()) {
            self.devices = Table::default();
        }
        self.devices.begin();
        for name in names.iter() {
            let text = name.to_string_lossy();
            if !is_wanted(&text) {
                continue;
            }
            self.devices.meet(name.as_bytes(), || {
                let path = top.join(name);
                let (labels, own) = make(&text, &path)?;
                Some(Device::new(labels, own, &path, self.attributes))
            });
        }
        self.devices.end();
        Ok(())
    }

    /// Reads the attributes and emits their families. What a device has no number for is left out.
    pub(super) fn emit(&mut self, buffer: &mut Vec<u8>, batch: &mut Batch) {
        self.read(buffer);
        self.emit_again(batch);
    }

    /// Reads the attributes.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) {
        for device in self.devices.rows_mut().flatten() {
            for (number, attribute) in device.numbers.iter_mut().zip(self.attributes) {
                let Some(number) = number else { continue };
                let text = number.file.read_if_there(buffer);
                number.value =
                    text.and_then(any_number).map(|value| scaled(value, attribute.scale));
            }
        }
    }

    /// Emits what was read last.
    pub(super) fn emit_again(&self, batch: &mut Batch) {
        self.emit_some(|_| true, batch);
    }

    /// As [`Class::emit_again`], of the families that are wanted.
    pub(super) fn emit_some(&self, is_wanted: impl Fn(&Family) -> bool, batch: &mut Batch) {
        let attributes = self.attributes.iter().enumerate();
        for (index, attribute) in attributes.filter(|(_, attribute)| is_wanted(&attribute.family)) {
            batch.begin(&attribute.family);
            for device in self.devices.rows().flatten() {
                if let Some(Some(Number { value: Some(value), .. })) = device.numbers.get(index) {
                    batch.sample_with(&device.labels, *value);
                }
            }
        }
    }

    /// The devices, in the order of their names.
    pub(super) fn devices(&self) -> impl Iterator<Item = &Device<T>> {
        self.devices.rows().flatten()
    }

    /// The devices, in the order of their names.
    pub(super) fn devices_mut(&mut self) -> impl Iterator<Item = &mut Device<T>> {
        self.devices.rows_mut().flatten()
    }
}

impl<T> Device<T> {
    fn new(labels: Labels, own: T, path: &Path, attributes: &[Attribute]) -> Self {
        let number = |attribute: &Attribute| {
            let file = path.join(attribute.file);
            file.exists().then(|| Number { file: KernelFile::new(file).single(), value: None })
        };
        Self { labels, own, numbers: attributes.iter().map(number).collect() }
    }

    /// The number of the attribute at `index` of the table, as it was read last.
    pub(super) fn number(&self, index: usize) -> Option<f64> {
        self.numbers.get(index)?.as_ref()?.value
    }
}

/// A short text that may change from pass to pass (a state, a governor), kept without a new
/// allocation as long as it stays the same.
pub(super) struct Text {
    file: KernelFile,
    shown: String,
}

impl Text {
    /// The text of a file.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { file: KernelFile::new(path).single(), shown: String::new() }
    }

    /// Reads it; empty where there is none.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> &str {
        let text = self.file.read_if_there(buffer).unwrap_or_default().trim_ascii();
        if text != self.shown.as_bytes() {
            self.shown = String::from_utf8_lossy(text).into_owned();
        }
        &self.shown
    }

    /// Shows another text until it is read again.
    pub(super) fn set(&mut self, text: &str) {
        text.clone_into(&mut self.shown);
    }

    /// What was read last.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTES: [Attribute; 2] = [
        Attribute { file: "a", family: Family::gauge("a", &["name"], "A."), scale: 0.5 },
        Attribute { file: "b", family: Family::gauge("b", &["name"], "B."), scale: 1.0 },
    ];

    fn pass(class: &mut Class<()>) -> String {
        let (mut batch, mut out) = (Batch::new(), Vec::new());
        let is_device = |name: &str, path: &Path| name.starts_with('x') && path.join("a").exists();
        class
            .update(|name, path| {
                is_device(name, path).then(|| (Labels::new(&[("name", name)]), ()))
            })
            .unwrap();
        class.emit(&mut Vec::new(), &mut batch);
        crate::exposition::encode(&batch, crate::exposition::Format::Text, &mut out);
        let text = String::from_utf8(out).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn devices_come_and_go() {
        let top = std::env::temp_dir().join(format!("musterd-class-{}", std::process::id()));
        for device in ["x1", "x2", "y"] {
            std::fs::create_dir_all(top.join(device)).unwrap();
        }
        std::fs::write(top.join("x1/a"), "7\n").unwrap();
        std::fs::write(top.join("x2/a"), "rubbish\n").unwrap();
        std::fs::write(top.join("x2/b"), "-2").unwrap();
        std::fs::write(top.join("y/a"), "1").unwrap();
        let mut class = Class::new(top.clone(), &ATTRIBUTES);
        assert_eq!(pass(&mut class), r#"a{name="x1"} 3.5 b{name="x2"} -2"#);
        std::fs::remove_dir_all(top.join("x2")).unwrap();
        assert_eq!(pass(&mut class), r#"a{name="x1"} 3.5"#);
        std::fs::remove_dir_all(&top).unwrap();
        assert!(matches!(class.update(|_, _| None), Err(Error::NoData(_))));
    }

    #[test]
    fn files_may_come_after_their_folder() {
        let top = std::env::temp_dir().join(format!("musterd-class-late-{}", std::process::id()));
        std::fs::create_dir_all(top.join("x1")).unwrap();
        let mut class = Class::new(top.clone(), &ATTRIBUTES);
        assert_eq!(pass(&mut class), "");
        std::fs::write(top.join("x1/a"), "7\n").unwrap();
        std::fs::write(top.join("x1/b"), "2\n").unwrap();
        assert_eq!(pass(&mut class), "", "nothing tells of files, and to look at each pass costs");
        class.looked = Looked::default();
        assert_eq!(pass(&mut class), r#"a{name="x1"} 3.5 b{name="x1"} 2"#);
        std::fs::write(top.join("x1/a"), "8\n").unwrap();
        std::fs::create_dir(top.join("x2")).unwrap();
        std::fs::write(top.join("x2/a"), "1\n").unwrap();
        assert_eq!(pass(&mut class), r#"a{name="x1"} 4 a{name="x2"} 0.5 b{name="x1"} 2"#);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
