//! `hwmon`: temperatures, fans, voltages and whatever else sensors measure, of `/sys/class/hwmon`
//! (Documentation/hwmon/sysfs-interface.rst).
//!
//! Must not know which values are good.

use super::hwmon_chip::{Chip, chips};
use super::hwmon_sensor::{File, clean};
use crate::host::directory::{Directory, names};
use crate::host::looked::Looked;
use crate::host::parse::{decimal, scaled};
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SENSOR: &[&str] = &["chip", "sensor"];
const GAUGE: Family =
    Family::gauge("node_hwmon_*", SENSOR, "What a sensor's file of that name says.");
const COUNTER: Family =
    Family::counter("node_hwmon_*_joule_total", SENSOR, "Energy that a sensor has counted.");
const CHIP_NAMES: Family =
    Family::gauge("node_hwmon_chip_names", &["chip", "chip_name"], "The chip's name; always 1.");
const LABEL: Family = Family::gauge(
    "node_hwmon_sensor_label",
    &["chip", "label", "sensor"],
    "The sensor's label, as the driver has it; always 1.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "hwmon", families: &[GAUGE, COUNTER, CHIP_NAMES, LABEL], parse: configure };

#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    chip_include: Pattern,
    chip_exclude: Pattern,
    sensor_include: Pattern,
    sensor_exclude: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    let chips = Filter { include: options.chip_include, exclude: options.chip_exclude };
    let sensors = Filter { include: options.sensor_include, exclude: options.sensor_exclude };
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(HwMon {
            folder: Directory::new(root.sysfs.join("class/hwmon")),
            looked: Looked::default(),
            chips: chips.clone(),
            sensors: sensors.clone(),
            found: Found::default(),
        })
    }))
}

struct HwMon {
    folder: Directory,
    looked: Looked,
    chips: Filter,
    /// Of `CHIP;SENSOR`.
    sensors: Filter,
    found: Found,
}

/// All there is to read and to show.
#[derive(Default)]
struct Found {
    /// By the part of a family's name that is theirs.
    values: BTreeMap<(String, bool), Vec<Series>>,
    chip_names: Vec<Labels>,
    sensor_labels: Vec<Labels>,
}

struct Series {
    labels: Labels,
    file: KernelFile,
    /// `None` for a switch.
    scale: Option<f64>,
}

impl Collector for HwMon {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.update()?;
        for ((name, is_counter), series) in &mut self.found.values {
            let family = if *is_counter { &COUNTER } else { &GAUGE };
            pass.batch.begin_named(family, name.as_bytes());
            for Series { labels, file, scale } in series {
                let text = file.read_if_there(pass.buffer).map(<[u8]>::trim_ascii);
                let value = match scale {
                    Some(scale) => text.and_then(decimal).map(|value| scaled(value, *scale)),
                    None => text.map(|text| f64::from(u8::from(text == b"1"))),
                };
                if let Some(value) = value {
                    pass.batch.sample_with(labels, value);
                }
            }
        }
        for (family, all) in
            [(&CHIP_NAMES, &self.found.chip_names), (&LABEL, &self.found.sensor_labels)]
        {
            pass.batch.begin(family);
            for labels in all {
                pass.batch.sample_with(labels, 1.0);
            }
        }
        Ok(())
    }
}

impl HwMon {
    fn update(&mut self) -> Result<(), Error> {
        let top = self.folder.path().to_owned();
        let names = self.folder.list()?;
        if !self.looked.is_due(names.has_changed()) {
            return Ok(());
        }
        self.found = Found::default();
        for chip in chips(names.iter().map(|name| top.join(name))) {
            if self.chips.wants(&chip.label) {
                self.found.look_at_chip(&chip, &self.sensors);
            }
        }
        Ok(())
    }
}

impl Found {
    fn look_at_chip(&mut self, chip: &Chip, wanted: &Filter) {
        let Chip { path, label: chip, name } = chip;
        if let Some(name) = name {
            push_new(&mut self.chip_names, Labels::new(&[("chip", chip), ("chip_name", name)]));
        }
        // Drivers of old have the files in the device's folder.
        let mut sensors: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
        for folder in [path.to_owned(), path.join("device")] {
            for name in names(&folder) {
                if let Some(file) = File::of(&name) {
                    sensors
                        .entry(file.sensor())
                        .or_default()
                        .insert(name.clone(), folder.join(&name));
                }
            }
        }
        for (sensor, files) in sensors {
            if wanted.wants(&format!("{chip};{sensor}")) {
                self.look_at_sensor(chip, &sensor, files);
            }
        }
    }

    fn look_at_sensor(&mut self, chip: &str, sensor: &str, files: BTreeMap<String, PathBuf>) {
        let label = files.get(&format!("{sensor}_label")).and_then(|path| label(path));
        if let Some(label) = &label {
            let labels = Labels::new(&[("chip", chip), ("label", label), ("sensor", sensor)]);
            push_new(&mut self.sensor_labels, labels);
        }
        let is_alone = !files.contains_key(sensor);
        for (name, path) in files {
            let Some(file) = File::of(&name).filter(|file| !file.is_label()) else { continue };
            let own = match (&label, file.is_frequency()) {
                (_, false) => sensor.to_owned(),
                (Some(label), true) => clean(label),
                (None, true) => continue,
            };
            let labels = Labels::new(&[("chip", chip), ("sensor", &own)]);
            let shown = file.shown(is_alone);
            let series = self.values.entry((shown.name, shown.is_counter)).or_default();
            if series.iter().all(|series| series.labels != labels) {
                let file = KernelFile::new(path).single();
                series.push(Series { labels, file, scale: shown.scale });
            }
        }
    }
}

fn push_new(all: &mut Vec<Labels>, labels: Labels) {
    if !all.contains(&labels) {
        all.push(labels);
    }
}

/// A sensor's label. Blanks are part of it.
fn label(path: &Path) -> Option<String> {
    let mut buffer = Vec::new();
    let text = KernelFile::new(path.to_owned()).read_if_there(&mut buffer)?;
    Some(String::from_utf8_lossy(text).trim_matches('\n').to_owned())
}
