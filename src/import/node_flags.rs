//! node_exporter's flags, and which key of the configuration each of them is.
//!
//! Must not know what is done with them.

use toml::Table;

/// A flag as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flag<'t> {
    /// Without dashes, and without `no-`.
    pub(super) name: &'t str,
    /// Behind `=`, if there was one.
    pub(super) value: Option<&'t str>,
    /// It began with `no-`.
    pub(super) is_negated: bool,
    text: &'t str,
}

/// What a flag means here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A key of the configuration.
    Key(Vec<String>),
    /// Whether a collector is on.
    Enable(String),
    /// All collectors are off that no flag names.
    DisableAll,
    /// There is nothing to be said, and a reason if that is to be told.
    Nothing(Option<&'static str>),
}

impl<'t> Flag<'t> {
    /// `--NAME`, `--NAME=VALUE`, `--no-NAME`.
    pub(super) fn of(text: &'t str) -> Option<Self> {
        let body = text.strip_prefix("--").filter(|body| !body.is_empty())?;
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let bare = name.strip_prefix("no-");
        Some(Self { name: bare.unwrap_or(name), value, is_negated: bare.is_some(), text })
    }

    /// As it was given.
    pub(super) fn shown(&self) -> String {
        self.text.to_owned()
    }
}

/// Flags that are not named as their keys are, and old spellings that are still taken.
const KEYS: [(&str, &str); 30] = [
    ("path.procfs", "paths.procfs"),
    ("path.sysfs", "paths.sysfs"),
    ("path.rootfs", "paths.rootfs"),
    ("path.udev.data", "paths.udev_data"),
    ("web.listen-address", "http.listen"),
    ("web.max-requests", "http.max_scrapes"),
    ("log.level", "log.level"),
    ("collector.cpu.info.flags-include", "host.collectors.cpu.flags_include"),
    ("collector.cpu.info.bugs-include", "host.collectors.cpu.bugs_include"),
    ("collector.bcache.priorityStats", "host.collectors.bcache.priority_stats"),
    ("collector.diskstats.ignored-devices", "host.collectors.diskstats.device_exclude"),
    (
        "collector.filesystem.ignored-mount-points",
        "host.collectors.filesystem.mount_points_exclude",
    ),
    ("collector.filesystem.ignored-fs-types", "host.collectors.filesystem.fs_types_exclude"),
    ("collector.netdev.device-whitelist", "host.collectors.netdev.device_include"),
    ("collector.netdev.device-blacklist", "host.collectors.netdev.device_exclude"),
    ("collector.netdev.ignored-devices", "host.collectors.netdev.device_exclude"),
    ("collector.powersupply.ignored-supplies", "host.collectors.powersupplyclass.ignored_supplies"),
    ("collector.textfile.directory", "host.collectors.textfile.directories"),
    ("collector.sysctl.include-info", "host.collectors.sysctl.include_info"),
    ("collector.pcidevice.idsfile", "host.collectors.pcidevice.ids_file"),
    ("collector.slabinfo.slabs-include", "host.collectors.slabinfo.slabs_include"),
    ("collector.slabinfo.slabs-exclude", "host.collectors.slabinfo.slabs_exclude"),
    ("collector.systemd.unit-whitelist", "host.collectors.systemd.unit_include"),
    ("collector.systemd.unit-blacklist", "host.collectors.systemd.unit_exclude"),
    ("collector.interrupts.name-include", "host.collectors.interrupts.name_include"),
    ("collector.interrupts.name-exclude", "host.collectors.interrupts.name_exclude"),
    ("collector.rapl.enable-zone-label", "host.collectors.rapl.enable_zone_label"),
    ("collector.qdisc.device-include", "host.collectors.qdisc.device_include"),
    ("collector.qdisk.device-include", "host.collectors.qdisc.device_include"),
    ("collector.qdisk.device-exclude", "host.collectors.qdisc.device_exclude"),
];

/// Flags that have no key: what they ask for is so in any case, or there is no such thing.
const NO_KEYS: [(&str, Option<&str>); 15] = [
    ("collector.arp.netlink", None),
    ("collector.netclass.netlink", None),
    ("collector.netclass_rtnl.with-stats", None),
    ("collector.netdev.netlink", None),
    ("collector.filesystem.stat-workers", None),
    ("runtime.gomaxprocs", None),
    (
        "web.disable-exporter-metrics",
        Some("musterd's own metrics are always there; leave them out with ?exclude[]=musterd"),
    ),
    ("web.telemetry-path", Some("metrics are always at /metrics")),
    ("web.config.file", Some("TLS and passwords are a reverse proxy's")),
    ("web.systemd-socket", Some("sockets that systemd hands over are taken by themselves")),
    ("log.format", Some("under systemd the log goes to the journal with its fields")),
    (
        "collector.netdev.label-ifalias",
        Some("musterd has no such option; node_network_info has the alias"),
    ),
    ("collector.netdev.enable-detailed-metrics", Some("musterd has no such option")),
    ("collector.systemd.private", Some("units are asked for over the system bus")),
    ("collector.tcpstat.disable-state-tracking", Some("musterd has no such option")),
];

/// What a flag means.
pub(super) fn target(flag: &Flag<'_>, collectors: &Table) -> Target {
    let path = |key: &str| Target::Key(key.split('.').map(str::to_owned).collect());
    if let Some((_, key)) = KEYS.iter().find(|(name, _)| *name == flag.name) {
        return path(key);
    }
    if let Some((name, why)) = NO_KEYS.iter().find(|(name, _)| *name == flag.name) {
        let is_default = *name == "web.telemetry-path" && flag.value == Some("/metrics");
        return Target::Nothing(why.filter(|_| !is_default));
    }
    let Some(rest) = flag.name.strip_prefix("collector.") else {
        return Target::Nothing(Some("no flag of node_exporter that musterd knows"));
    };
    if rest == "disable-defaults" {
        return Target::DisableAll;
    }
    match rest.split_once('.') {
        None if collectors.contains_key(rest) => Target::Enable(rest.to_owned()),
        None => Target::Nothing(Some("musterd has no such collector")),
        Some((name, option)) => {
            let option = option.replace(['-', '.'], "_");
            path(&format!("host.collectors.{name}.{option}"))
        }
    }
}

/// Whether a flag's value is a list with commas.
pub(super) fn is_list(name: &str) -> bool {
    name == "collector.ipvs.backend-labels"
}

/// The value as it is written here.
pub(super) fn converted(name: &str, value: &str) -> Result<String, String> {
    match name {
        "web.listen-address" => Ok(super::listen_address(value)),
        "web.max-requests" if value == "0" => {
            Err("--web.max-requests=0: musterd always has a limit; give a number".to_owned())
        }
        _ => Ok(value.to_owned()),
    }
}
