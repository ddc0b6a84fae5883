//! For `pcidevice`: the names of vendors, devices and classes, of a file `pci.ids` (the PCI ID
//! Repository describes the format at its head).
//!
//! Must not know which devices there are.

use std::collections::BTreeMap;

/// Names by their numbers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    vendors: BTreeMap<u16, String>,
    devices: BTreeMap<(u16, u16), String>,
    subsystems: BTreeMap<(u16, u16, u16, u16), String>,
    classes: BTreeMap<u32, String>,
}

/// Where a line stands.
#[derive(Clone, Copy)]
enum Under {
    Nothing,
    Vendor(u16),
    Device(u16, u16),
    Class(u32),
}

impl Names {
    /// Reads the file's text. Lines of another form are passed over.
    pub(super) fn of(text: &str) -> Self {
        let mut names = Self::default();
        let mut under = Under::Nothing;
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            under = names.take(line, under);
        }
        names
    }

    fn take(&mut self, line: &str, under: Under) -> Under {
        let depth = line.len() - line.trim_start_matches('\t').len();
        let (number, name) = line.trim_start().split_once(' ').unwrap_or((line.trim(), ""));
        let hexadecimal = |text: &str| u16::from_str_radix(text, 16).ok();
        let own = || name.trim().to_owned();
        match (depth, under, hexadecimal(number)) {
            (0, _, _) if number == "C" => {
                let (number, name) = name.trim().split_once(' ').unwrap_or_default();
                let Some(class) = hexadecimal(number).map(|class| u32::from(class) << 16) else {
                    return Under::Nothing;
                };
                self.classes.insert(class, name.trim().to_owned());
                Under::Class(class)
            }
            (0, _, Some(vendor)) if number.len() == 4 => {
                self.vendors.insert(vendor, own());
                Under::Vendor(vendor)
            }
            (0, ..) => Under::Nothing,
            (1, Under::Vendor(vendor) | Under::Device(vendor, _), Some(device)) => {
                self.devices.insert((vendor, device), own());
                Under::Device(vendor, device)
            }
            (1, Under::Class(class), Some(part)) => {
                let class = class & 0x00ff_0000 | u32::from(part) << 8;
                self.classes.insert(class, own());
                Under::Class(class)
            }
            (2, Under::Device(vendor, device), Some(by)) => {
                let (number, name) = name.trim().split_once(' ').unwrap_or_default();
                if let Some(number) = hexadecimal(number) {
                    self.subsystems.insert((vendor, device, by, number), name.trim().to_owned());
                }
                under
            }
            (2, Under::Class(class), Some(part)) => {
                self.classes.insert(class & 0x00ff_ff00 | u32::from(part), own());
                under
            }
            _ => under,
        }
    }

    /// A vendor's name, if it is known.
    pub(super) fn vendor(&self, vendor: u16) -> Option<&str> {
        self.vendors.get(&vendor).map(String::as_str)
    }

    /// A device's: by its vendor and its own number.
    pub(super) fn device(&self, device: (u16, u16)) -> Option<&str> {
        self.devices.get(&device).map(String::as_str)
    }

    /// A board's: by the device, and by the board's own vendor and number.
    pub(super) fn subsystem(&self, device: (u16, u16), own: (u16, u16)) -> Option<&str> {
        let key = (device.0, device.1, own.0, own.1);
        self.subsystems.get(&key).map(String::as_str)
    }

    /// A class's: as much of it as has a name.
    pub(super) fn class(&self, class: u32) -> Option<&str> {
        let parts = [class, class & 0x00ff_ff00, class & 0x00ff_0000];
        parts.iter().find_map(|part| self.classes.get(part)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        let text = "# head\n8086  Intel\n\t1521  I350\n\t\t8086 00a3  OCP card\n\t1522  Other\nC 01  Mass storage\n\
            \t08  NVM\n\t\t02  NVM Express\nffff\n";
        let names = Names::of(text);
        assert_eq!((names.vendor(0x8086), names.vendor(7)), (Some("Intel"), None));
        assert_eq!(names.device((0x8086, 0x1522)), Some("Other"));
        assert_eq!(names.subsystem((0x8086, 0x1521), (0x8086, 0x00a3)), Some("OCP card"));
        assert_eq!(names.class(0x01_08_02), Some("NVM Express"));
        let wider = (names.class(0x01_08_77), names.class(0x01_99_00));
        assert_eq!(wider, (Some("NVM"), Some("Mass storage")));
        assert_eq!(names.class(0x02_00_00), None);
    }

    #[test]
    fn rubbish_is_passed_over() {
        let names = Names::of("\t1234 x\n\t\t1 2 y\nC\nC zz\n\t\t\t\nxyz\n");
        assert_eq!(names, Names::default());
    }
}
