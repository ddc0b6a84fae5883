//! `os`: which operating system this is, of `etc/os-release` or `usr/lib/os-release` below the
//! root (os-release(5)).
//!
//! Must not know about the kernel.

use super::zone_rule::days_to;
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::collections::BTreeMap;
use std::sync::Arc;

const LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];
const INFO: Family = Family::gauge(
    "node_os_info",
    &LABELS,
    "What os-release says of the operating system; always 1.",
);
const VERSION: Family = Family::gauge(
    "node_os_version",
    &["id", "id_like", "name"],
    "The version of the operating system, as major.minor.",
);
const SUPPORT_END: Family = Family::gauge(
    "node_os_support_end_timestamp_seconds",
    &[],
    "When the support of the operating system ends.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "os", families: &[INFO, VERSION, SUPPORT_END], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let files = ["etc/os-release", "usr/lib/os-release"]
            .map(|name| KernelFile::new(root.rootfs.join(name)).single());
        Box::new(Os { files, text: Vec::new(), release: Release::default() })
    }))
}

struct Os {
    files: [KernelFile; 2],
    /// What `release` was made of.
    text: Vec<u8>,
    release: Release,
}

/// What is shown of an os-release file.
#[derive(Debug, Default, PartialEq)]
struct Release {
    info: Labels,
    version_labels: Labels,
    version: Option<f64>,
    support_end: Option<f64>,
}

impl Collector for Os {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let [first, second] = &mut self.files;
        let length = match first.read(pass.buffer).map(<[u8]>::len) {
            Err(Error::NoData(_)) => second.read(pass.buffer)?.len(),
            length => length?,
        };
        let text = pass.buffer.get(..length).unwrap_or_default();
        if text != self.text {
            self.text = text.to_vec();
            self.release = Release::of(&String::from_utf8_lossy(text));
        }
        let release = &self.release;
        pass.batch.begin(&INFO);
        pass.batch.sample_with(&release.info, 1.0);
        if let Some(version) = release.version {
            pass.batch.begin(&VERSION);
            pass.batch.sample_with(&release.version_labels, version);
        }
        if let Some(end) = release.support_end {
            pass.batch.value(&SUPPORT_END, end);
        }
        Ok(())
    }
}

impl Release {
    fn of(text: &str) -> Self {
        let fields: BTreeMap<_, _> = text.lines().filter_map(assignment).collect();
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let upper = LABELS.map(str::to_ascii_uppercase);
        let info: Vec<_> =
            LABELS.iter().zip(&upper).map(|(label, name)| (*label, field(name))).collect();
        Self {
            info: Labels::new(&info),
            version_labels: Labels::new(&[
                ("id", field("ID")),
                ("id_like", field("ID_LIKE")),
                ("name", field("NAME")),
            ]),
            version: version(field("VERSION_ID")),
            support_end: date(field("SUPPORT_END")),
        }
    }
}

/// `NAME=value`, the value in quotes of either kind or none, with the shell's escapes.
fn assignment(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.trim().split_once('=')?;
    if name.starts_with('#') {
        return None;
    }
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let inner = quote.and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let inner = inner.unwrap_or(value);
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quote != Some('\'') => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    Some((name, text))
}

/// The number that a version begins with: 20.04 of `20.04.2`.
fn version(text: &str) -> Option<f64> {
    let mut dots = 0;
    let end = text.find(|c: char| {
        dots += usize::from(c == '.');
        !c.is_ascii_digit() && (c != '.' || dots > 1)
    });
    let number = text.get(..end.unwrap_or(text.len()))?;
    number.trim_end_matches('.').parse().ok()
}

/// The start of a day `YYYY-MM-DD`, in seconds since the epoch.
fn date(text: &str) -> Option<f64> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let is_date =
        (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    is_date.then(|| (days_to(year.into(), month.into()) + i64::from(day) - 1) as f64 * 86400.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unquoted() {
        assert_eq!(assignment("NAME=\"a \\\"b\\\"\""), Some(("NAME", "a \"b\"".to_owned())));
        assert_eq!(assignment("NAME='a \\'"), Some(("NAME", "a \\".to_owned())));
        assert_eq!(assignment("ID=debian"), Some(("ID", "debian".to_owned())));
        assert_eq!(assignment("# A=b"), None);
        assert_eq!(assignment("rubbish"), None);
    }

    #[test]
    fn versions_and_dates() {
        let versions = ["13", "20.04.2", "39 (Beta)", "9.", "", "rolling"];
        assert_eq!(
            versions.map(version),
            [Some(13.0), Some(20.04), Some(39.0), Some(9.0), None, None]
        );
        assert_eq!(date("2024-11-12"), Some(1_731_369_600.0));
        assert_eq!(date("1970-01-01"), Some(0.0));
        for rubbish in ["", "2024-13-01", "2024-1", "2024-01-32", "x-y-z", "99999999999-1-1"] {
            assert_eq!(date(rubbish), None);
        }
    }

    #[test]
    fn what_is_not_said_is_empty() {
        let release = Release::of("ID=arch\n");
        assert_eq!((release.version, release.support_end), (None, None));
        let shown = String::from_utf8(release.info.as_bytes().to_vec()).unwrap();
        assert!(shown.starts_with("build_id=\"\",id=\"arch\",id_like=\"\""), "{shown}");
    }
}
