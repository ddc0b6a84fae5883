//! The collectors over node_exporter's own fixtures, compared with what it makes of them. The data
//! are not part of this project: the test is skipped where they are not found, in the folder that
//! `MUSTERD_CONFORMANCE` names or in `../shared/conformance`. Needs tar, xz and Python.

mod host_fixture;

use host_fixture::{LIVE, plans, roots};
use musterd::exposition::Format;
use musterd::metric::Batch;
use musterd::sampler::{Encoding, Filter, Job, Sampler};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn families_are_those_of_node_exporter() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
    let data = std::env::var_os("MUSTERD_CONFORMANCE").map_or(beside, PathBuf::from);
    let node_exporter = data.join("node_exporter");
    if !node_exporter.is_dir() {
        println!("skipped: no conformance data in {}", data.display());
        return;
    }
    let folder = std::env::temp_dir().join(format!("musterd-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let fixtures = node_exporter.join("fixtures.tar.xz");
    let unpacked = Command::new("tar").arg("-xJf").arg(fixtures).arg("-C").arg(&folder).status();
    assert!(unpacked.unwrap().success());

    let options = include_str!("conformance.toml").replace("FIXTURES", folder.to_str().unwrap());
    let plans = plans(&options);
    let is_compared = |name| name != "timex" && !LIVE.contains(&name);
    let root = roots(&folder, "udev/data");
    let collectors = plans.iter().filter(|plan| is_compared(plan.name));
    let collectors = collectors.map(|plan| (plan.name, (plan.builder)(&root))).collect();
    let sampler = Sampler::start(collectors, None, &root).unwrap();
    let job = Job {
        batch: Batch::new(),
        filter: Filter::ALL,
        agents: Vec::new(),
        wanted: vec![Encoding { format: Format::Text, gzip: false }],
        deadline: Instant::now() + Duration::from_secs(60),
    };
    let answer = sampler.submit(job).blocking_recv().unwrap();
    let shown = String::from_utf8(answer.bodies[0].to_vec()).unwrap();
    // Some labels are paths.
    let shown = shown.replace(folder.to_str().unwrap(), "collector/fixtures");

    let actual = folder.join("actual.prom");
    std::fs::write(&actual, shown).unwrap();
    let compared = Command::new("python3")
        .arg(data.join("compare.py"))
        .args([node_exporter.join("expected.prom"), actual])
        .arg("--collectors")
        .arg(node_exporter.join("collectors.tsv"))
        .arg("--verbose")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let report = String::from_utf8_lossy(&compared.stdout);
    println!("{report}{}", String::from_utf8_lossy(&compared.stderr));
    assert!(compared.status.success(), "{report}");
}
