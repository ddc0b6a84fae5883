//! For `hwmon`: what the chips are called. Their numbers depend on the order in which drivers are
//! loaded; where their devices are does not: `platform_coretemp_0`. Chips that would be called the same are
//! told apart by their own names or, where those are the same, too, by their numbers.
//!
//! Must not know about sensors.

use super::hwmon_sensor::clean;
use crate::host::root::read_once;
use std::path::{Path, PathBuf};

/// A chip, and the names that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chip {
    /// Its folder.
    pub(super) path: PathBuf,
    /// What it is called, unlike all others.
    pub(super) label: String,
    /// What the driver calls it.
    pub(super) name: Option<String>,
}

/// The chips of these folders.
pub(super) fn chips(folders: impl Iterator<Item = PathBuf>) -> Vec<Chip> {
    let mut chips: Vec<_> = folders.filter_map(Chip::of).collect();
    let same: Vec<_> = chips.clone();
    for chip in &mut chips {
        if same.iter().any(|other| other.path != chip.path && other.label == chip.label) {
            chip.label = chip.label_of_its_own(&same);
        }
    }
    chips
}

impl Chip {
    fn of(path: PathBuf) -> Option<Self> {
        let name = read_once(&path.join("name")).ok();
        let name = name.map(|name| clean(&String::from_utf8_lossy(&name)));
        let name = name.filter(|name| !name.is_empty());
        let label = place(&path).or_else(|| name.clone()).or_else(|| last_part(&path))?;
        Some(Self { path, label, name })
    }

    /// Longer than the label, which others have as well.
    fn label_of_its_own(&self, all: &[Self]) -> String {
        let longer = |chip: &Self| Some(format!("{}_{}", chip.label, chip.name.as_ref()?));
        let is_others = |label: &String| {
            let mut others = all.iter().filter(|other| other.path != self.path);
            others.any(|other| other.label == *label || longer(other).as_ref() == Some(label))
        };
        longer(self).filter(|label| !is_others(label)).unwrap_or_else(|| {
            let number = self.path.file_name().unwrap_or_default().to_string_lossy();
            format!("{}_{}", self.label, clean(&number))
        })
    }
}

/// The bus that the chip's device is on, and the device; not every chip has one.
fn place(path: &Path) -> Option<String> {
    let device = path.join("device").canonicalize().ok()?;
    let parts = [device.parent().and_then(last_part), last_part(&device)];
    let place = parts.into_iter().flatten().collect::<Vec<_>>().join("_");
    (!place.is_empty()).then_some(place)
}

/// The last part of a path, as it stands in labels.
fn last_part(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let part = clean(&path.file_name()?.to_string_lossy());
    (!part.is_empty()).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let top = std::env::temp_dir().join(format!("musterd-{name}-{}", std::process::id()));
            Self(top)
        }

        fn chip(&self, number: u8, device: Option<&str>, name: &str) {
            let path = self.0.join(format!("hwmon{number}"));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("name"), format!("{name}\n")).unwrap();
            if let Some(device) = device {
                let device = self.0.join("devices").join(device);
                std::fs::create_dir_all(&device).unwrap();
                symlink(&device, path.join("device")).unwrap();
            }
        }

        fn labels(&self) -> Vec<String> {
            let folders = (0..4).map(|number| self.0.join(format!("hwmon{number}")));
            let chips = chips(folders.filter(|path| path.exists()));
            chips.into_iter().map(|chip| chip.label).collect()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn one_of_its_kind_is_called_by_its_place() {
        let tree = Tree::new("chips-alone");
        tree.chip(0, Some("platform/coretemp.0"), "coretemp");
        tree.chip(1, None, "acpitz");
        tree.chip(2, None, "");
        assert_eq!(tree.labels(), ["platform_coretemp_0", "acpitz", "hwmon2"]);
    }

    #[test]
    fn those_at_one_place_have_their_names_too() {
        let tree = Tree::new("chips-named");
        for (number, name) in [(0, "mt7996_phy0_0"), (1, "mt7996_phy0_1"), (2, "mt7996_phy0_2")] {
            tree.chip(number, Some("ieee80211/phy0"), name);
        }
        tree.chip(3, Some("ieee80211/phy1"), "mt7996_phy1_0");
        let wanted = ["phy0_mt7996_phy0_0", "phy0_mt7996_phy0_1", "phy0_mt7996_phy0_2", "phy1"];
        assert_eq!(tree.labels(), wanted.map(|label| format!("ieee80211_{label}")));
    }

    #[test]
    fn those_of_one_name_have_their_numbers() {
        let tree = Tree::new("chips-numbered");
        tree.chip(0, Some("platform/foo"), "same");
        tree.chip(1, Some("platform/foo"), "same");
        tree.chip(2, None, "virt");
        tree.chip(3, None, "virt");
        let wanted = ["platform_foo_hwmon0", "platform_foo_hwmon1", "virt_hwmon2", "virt_hwmon3"];
        assert_eq!(tree.labels(), wanted);
    }
}
