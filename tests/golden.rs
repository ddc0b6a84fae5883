//! Each collector that reads files, over a tree of fixtures, against the exposition kept of it in
//! `tests/fixtures/expected`. `MUSTERD_BLESS=1 cargo test --test golden` writes those anew; read
//! the difference before you commit it.

mod host_fixture;

use host_fixture::{Host, LIVE, plans, roots};
use musterd::exposition::Format;
use std::path::Path;

#[test]
fn the_fixtures_give_the_kept_expositions() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let kept = fixtures.join("expected");
    let root = roots(&fixtures.join("host"), "udev");
    let options = include_str!("fixtures/options.toml")
        .replace("FIXTURES", fixtures.join("host").to_str().unwrap());
    for plan in plans(&options).iter().filter(|plan| !LIVE.contains(&plan.name)) {
        let mut host = Host::new(&root, [plan]);
        let shown = without_clock(&host.pass(Format::Text));
        let again = without_clock(&host.pass(Format::Text));
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

/// The exposition without the samples that the clock decides.
fn without_clock(text: &str) -> String {
    let clock = ["node_time_seconds ", "node_time_zone_offset_seconds{", "node_timex_"];
    let lines = text.lines().filter(|line| !clock.iter().any(|name| line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}
