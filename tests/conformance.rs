//! The collectors over node_exporter's own fixtures, compared with what it makes of them. The data
//! are not part of this project: the test is skipped where they are not found, in the folder that
//! `MUSTERD_CONFORMANCE` names or in `../shared/conformance`. Needs tar, xz and Python.

mod host_fixture;

use musterd::exposition::Format;
use std::path::{Path, PathBuf};
use std::process::Command;

const COMPARED: &str =
    "cpu,meminfo,loadavg,stat,vmstat,diskstats,netdev,netstat,sockstat,pressure,time,filefd";

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

    let config = host_fixture::changed(&[
        ("info = false", "info = true"),
        ("flags_include = \"\"", "flags_include = '^(aes|avx.?|constant_tsc)$'"),
        ("bugs_include = \"\"", "bugs_include = '^(cpu_meltdown|spectre_.*|mds)$'"),
        ("softirq = false", "softirq = true"),
    ]);
    let root = host_fixture::roots(&folder, "udev/data");
    let without = ["filesystem", "uname", "netdev"];
    let mut shown = host_fixture::Host::new(&root, &config, &without).pass(Format::Text);
    // Network devices are not in the fixtures: the expected ones are of any machine's `lo`.
    shown += &live_loopback();

    let actual = folder.join("actual.prom");
    std::fs::write(&actual, shown).unwrap();
    let compared = Command::new("python3")
        .arg(data.join("compare.py"))
        .args([node_exporter.join("expected.prom"), actual])
        .arg("--collectors")
        .arg(node_exporter.join("collectors.tsv"))
        .args(["--only", COMPARED, "--verbose"])
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let report = String::from_utf8_lossy(&compared.stdout);
    println!("{report}{}", String::from_utf8_lossy(&compared.stderr));
    assert!(compared.status.success(), "{report}");
}

fn live_loopback() -> String {
    let root = std::sync::Arc::new(musterd::host::root::Root {
        procfs: "/proc".into(),
        sysfs: "/sys".into(),
        rootfs: "/".into(),
        udev_data: "/run/udev/data".into(),
    });
    let config = host_fixture::changed(&[("device_include = \"\"", "device_include = '^lo$'")]);
    let plans = host_fixture::plans(&config);
    let others: Vec<_> =
        plans.iter().map(|plan| plan.name).filter(|name| *name != "netdev").collect();
    host_fixture::Host::new(&root, &config, &others).pass(Format::Text)
}
