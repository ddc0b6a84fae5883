//! All collectors that read files, over a tree of fixtures, against the exposition kept beside it.
//! `MUSTERD_BLESS=1 cargo test --test golden` writes that anew; read the difference before you
//! commit it.

mod host_fixture;

use musterd::exposition::Format;
use std::path::Path;

#[test]
fn the_fixtures_give_the_kept_exposition() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let config = host_fixture::changed(&[
        ("info = false", "info = true"),
        ("flags_include = \"\"", "flags_include = '^(aes|sse)$'"),
        ("bugs_include = \"\"", "bugs_include = '^mds$'"),
        ("softirq = false", "softirq = true"),
    ]);
    let root = host_fixture::roots(&fixtures.join("host"), "udev");
    // These ask the running kernel.
    let mut host = host_fixture::Host::new(&root, &config, &["filesystem", "uname"]);
    let shown = without_clock(&host.pass(Format::Text));
    let again = without_clock(&host.pass(Format::Text));
    assert_eq!(shown, again, "the second pass over the same files differs");

    let kept = fixtures.join("host.prom");
    if std::env::var_os("MUSTERD_BLESS").is_some() {
        std::fs::write(&kept, &shown).unwrap();
    }
    let wanted = std::fs::read_to_string(&kept).unwrap();
    for (number, (shown, wanted)) in shown.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(shown, wanted, "line {} of {}", number + 1, kept.display());
    }
    assert_eq!(shown.lines().count(), wanted.lines().count());
}

/// The exposition without the samples that the clock decides.
fn without_clock(text: &str) -> String {
    let clock = ["node_time_seconds ", "node_time_zone_offset_seconds{"];
    let lines = text.lines().filter(|line| !clock.iter().any(|name| line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}
