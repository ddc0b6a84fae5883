//! Each collector that reads files, over a tree of fixtures, against the exposition kept of it in
//! `tests/fixtures/expected`. `MUSTERD_BLESS=1 cargo test --test golden` writes those anew; read
//! the difference before you commit it.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod host_fixture;

use host_fixture::{Host, LIVE, plans, roots};
use musterd::exposition::Format;
use std::path::Path;

#[test]
fn the_fixtures_give_the_kept_expositions() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let kept = fixtures.join("expected");
    let root = roots(&fixtures.join("host"), "udev");
    let host = fixtures.join("host");
    let options = include_str!("fixtures/options.toml").replace("FIXTURES", host.to_str().unwrap());
    for plan in plans(&options).iter().filter(|plan| !LIVE.contains(&plan.name)) {
        let mut host = Host::new(&root, [plan]);
        let shown = steady(&host.pass(Format::Text), &fixtures.join("host"));
        let again = steady(&host.pass(Format::Text), &fixtures.join("host"));
        assert_eq!(shown, again, "{}: the second pass over the same files differs", plan.name);

        let kept = kept.join(format!("{}.prom", plan.name));
        if std::env::var_os("MUSTERD_BLESS").is_some() {
            std::fs::write(&kept, &shown).unwrap();
        }
        let wanted = std::fs::read_to_string(&kept)
            .unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        for (number, (shown, wanted)) in shown.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(shown, wanted, "line {} of {}", number + 1, kept.display());
        }
        assert_eq!(shown.lines().count(), wanted.lines().count(), "{}", kept.display());
    }
}

#[test]
fn what_is_looked_for_by_a_pattern_succeeds_where_there_is_none() {
    let nowhere = roots(Path::new("/nonexistent"), "udev");
    let names = "bcache btrfs cpu_vulnerabilities edac lnstat meminfo_numa thermal_zone xfs";
    let all = plans("");
    for name in names.split(' ') {
        let plan = all.iter().find(|plan| plan.name == name).unwrap();
        // A pass fails the test unless every collector succeeds.
        assert_eq!(Host::new(&nowhere, [plan]).pass(Format::Text), "", "{name}");
    }
}

/// The exposition without what the clock decides, or where the fixtures lie.
fn steady(text: &str, fixtures: &Path) -> String {
    let clock = [
        "node_time_seconds ",
        "node_time_zone_offset_seconds{",
        "node_timex_",
        "node_textfile_mtime_seconds{",
    ];
    let text = text.replace(fixtures.to_str().unwrap(), "FIXTURES");
    let lines = text.lines().filter(|line| !clock.iter().any(|name| line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}
