//! The collectors over node_exporter's own fixtures, compared with what it makes of them. The data
//! are not part of this project: the test is skipped where they are not found, in the folder that
//! `MUSTERD_CONFORMANCE` names or in `../shared/conformance`. Needs tar, xz and Python.

mod host_fixture;

use host_fixture::{Host, LIVE, plans, roots};
use musterd::exposition::Format;
use musterd::host::root::Root;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

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
    // Network devices are not in the fixtures: the expected ones are of any machine's `lo`.
    let is_compared = |name| name != "netdev" && name != "timex" && !LIVE.contains(&name);
    let compared: Vec<_> = plans.iter().filter(|plan| is_compared(plan.name)).collect();
    let mut shown =
        Host::new(&roots(&folder, "udev/data"), compared.iter().copied()).pass(Format::Text);
    shown += &live_loopback();
    // Some labels are paths.
    let shown = shown.replace(folder.to_str().unwrap(), "collector/fixtures");
    let names: Vec<_> = compared.iter().map(|plan| plan.name).chain(["netdev"]).collect();

    let actual = folder.join("actual.prom");
    std::fs::write(&actual, shown).unwrap();
    let compared = Command::new("python3")
        .arg(data.join("compare.py"))
        .args([node_exporter.join("expected.prom"), actual])
        .arg("--collectors")
        .arg(node_exporter.join("collectors.tsv"))
        .args(["--only", &names.join(","), "--verbose"])
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let report = String::from_utf8_lossy(&compared.stdout);
    println!("{report}{}", String::from_utf8_lossy(&compared.stderr));
    assert!(compared.status.success(), "{report}");
}

fn live_loopback() -> String {
    let root = Arc::new(Root {
        procfs: "/proc".into(),
        sysfs: "/sys".into(),
        rootfs: "/".into(),
        udev_data: "/run/udev/data".into(),
    });
    let plans = plans("[netdev]\ndevice_include = '^lo$'\n");
    let netdev = plans.iter().filter(|plan| plan.name == "netdev");
    Host::new(&root, netdev).pass(Format::Text)
}
