//! `docs/metrics.md` is made of the tables that families are declared in, and must say what they say.
//! `MUSTERD_BLESS=1 cargo test --test metrics_doc` writes it anew.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use musterd::config::DEFAULTS;
use musterd::metric::{Family, Kind};
use musterd::{agent, host, instruments, process, sampler};
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# Metrics

All families that musterd can serve, by where they come from. This page is made of the tables in the
program. A `*` in a name stands for a part that the kernel, a driver or a file names. Series have the labels
that are named, and those of a scrape.

Of a histogram there are the series `NAME_bucket`, `NAME_sum` and `NAME_count`.
";

fn table(title: &str, families: &[Family], out: &mut String) {
    writeln!(out, "\n{title}\n\n| name | type | labels | |\n|---|---|---|---|").unwrap();
    for family in families {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
            Kind::Untyped => "untyped",
        };
        let help = family.help.replace('|', "\\|");
        writeln!(out, "| `{}` | {kind} | {} | {help} |", family.name, labels.join(" ")).unwrap();
    }
}

/// Whether a collector is on in the shipped configuration.
fn is_on(defaults: &toml::Table, collector: &str) -> bool {
    let inner = |table: &toml::Table, name: &str| table.get(name)?.as_table().cloned();
    let own = inner(defaults, "host").and_then(|host| inner(&host, "collectors"));
    let own = own.and_then(|collectors| inner(&collectors, collector));
    own.and_then(|own| own.get("enabled")?.as_bool()).unwrap()
}

fn page() -> String {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let mut out = HEAD.to_owned();
    out += "\n## Agents\n";
    table("What agents report, and how they are:", agent::export::FAMILIES, &mut out);
    table("What their processes use:", process::AGENT_FAMILIES, &mut out);
    out += "\n## Processes\n";
    table("Groups of processes (`[processes]`):", process::FAMILIES, &mut out);
    table("Their threads (`threads = true`):", process::THREAD_FAMILIES, &mut out);
    out += "\n## The host\n";
    for entry in host::collectors() {
        let on = if is_on(&defaults, entry.name) { "on" } else { "off" };
        let title = format!("### {}\n\n{on} by default", entry.name);
        table(&title, entry.families, &mut out);
    }
    out += "\n## The daemon\n";
    table("Of each scrape:", &sampler::FAMILIES, &mut out);
    table("Its own:", instruments::FAMILIES, &mut out);
    table("Its process:", process::own::FAMILIES, &mut out);
    out
}

#[test]
fn the_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let wanted = page();
    if std::env::var_os("MUSTERD_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let shown = std::fs::read_to_string(&path).unwrap();
    let differs = shown.lines().zip(wanted.lines()).find(|(shown, wanted)| shown != wanted);
    assert_eq!(differs, None, "docs/metrics.md: MUSTERD_BLESS=1 cargo test --test metrics_doc");
    assert_eq!(
        shown.len(),
        wanted.len(),
        "docs/metrics.md: MUSTERD_BLESS=1 cargo test --test metrics_doc"
    );
}

/// Names are told apart by the texts beside them; each is there, and is one sentence.
#[test]
fn every_family_says_what_it_is() {
    let all = host::collectors().flat_map(|entry| entry.families.iter());
    let all = all.chain(agent::export::FAMILIES).chain(process::FAMILIES);
    let all = all.chain(process::THREAD_FAMILIES);
    for Family { name, help, .. } in all.chain(process::AGENT_FAMILIES).chain(instruments::FAMILIES)
    {
        assert!(help.ends_with('.') && help.len() > 4, "{name}: {help:?}");
        assert!(!help.contains('\n'), "{name}: {help:?}");
    }
}
