//! Collectors of the machine itself: its parts, sensors, and what they have to report.

mod dmi;
mod edac;
mod hwmon;
mod hwmon_chip;
mod hwmon_sensor;
mod pci_ids;
mod pcidevice;
mod powersupplyclass;
mod rapl;
mod thermal_zone;
mod watchdog;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[
    dmi::ENTRY,
    edac::ENTRY,
    hwmon::ENTRY,
    pcidevice::ENTRY,
    powersupplyclass::ENTRY,
    rapl::ENTRY,
    thermal_zone::ENTRY,
    watchdog::ENTRY,
];
