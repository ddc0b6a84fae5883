//! Process groups and agents' process trees: a fixture in place of `/proc`, and the real one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail this way

use musterd::host::root::Root;
use musterd::host::{Error, Pass};
use musterd::metric::{Batch, Point};
use musterd::process::{AGENT_FAMILIES, AgentRoot, FAMILIES, Options, Processes, THREAD_FAMILIES};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Values = BTreeMap<String, f64>;

/// The shipped section `[processes]`, with `changes`.
fn options(changes: &str) -> Options {
    let shipped: toml::Table = toml::from_str(include_str!("../config/musterd.toml")).unwrap();
    let mut section = shipped["processes"].as_table().unwrap().clone();
    section.extend(toml::from_str::<toml::Table>(changes).unwrap());
    section.try_into().unwrap()
}

fn processes(procfs: &str, text: &str) -> Processes {
    let root = Root {
        procfs: procfs.into(),
        sysfs: "/sys".into(),
        rootfs: "/".into(),
        udev_data: "/run/udev/data".into(),
    };
    Processes::new(&Arc::new(root), options(text))
}

fn fixture(text: &str) -> Processes {
    processes(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/process/proc"), text)
}

fn collect(it: &mut Processes, agents: &[AgentRoot], groups: bool) -> Result<Values, Error> {
    let (mut batch, mut buffer) = (Batch::new(), Vec::new());
    let mut pass = Pass { batch: &mut batch, buffer: &mut buffer, deadline: Instant::now() };
    it.collect(&mut pass, agents, groups)?;
    let mut values = Values::new();
    for family in batch.families() {
        let name = String::from_utf8(family.name.to_vec()).unwrap();
        for sample in family.samples() {
            let labels = String::from_utf8(sample.labels.to_vec()).unwrap();
            let Point::Number(value) = sample.point else { panic!("{name} is no histogram") };
            assert_eq!(values.insert(format!("{name}{{{labels}}}"), value), None, "{name} twice");
        }
    }
    Ok(values)
}

fn group(values: &Values, family: &str, labels: &str) -> Option<f64> {
    values.get(&format!("namedprocess_namegroup_{family}{{{labels}}}")).copied()
}

#[test]
fn the_fixture_is_read_in_full() {
    let values = collect(&mut fixture(""), &[], true).unwrap();
    let page = rustix::param::page_size() as f64;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let expected = [
        ("num_procs", "", 2.0),
        ("cpu_seconds_total", ",mode=\"user\"", 750.0 / ticks),
        ("cpu_seconds_total", ",mode=\"system\"", 375.0 / ticks),
        ("memory_bytes", ",memtype=\"resident\"", 150.0 * page),
        ("memory_bytes", ",memtype=\"virtual\"", 6_144_000.0),
        ("memory_bytes", ",memtype=\"swapped\"", 4096.0),
        ("num_threads", "", 4.0),
        ("states", ",state=\"Running\"", 2.0),
        ("states", ",state=\"Sleeping\"", 1.0),
        ("states", ",state=\"Waiting\"", 1.0),
        ("states", ",state=\"Zombie\"", 0.0),
        ("states", ",state=\"Other\"", 0.0),
        ("open_filedesc", "", 6.0),
        ("worst_fd_ratio", "", 0.25),
        ("read_bytes_total", "", 5096.0),
        ("write_bytes_total", "", 10_192.0),
        ("oldest_start_time_seconds", "", 1_600_000_000.0 + 3000.0 / ticks),
        ("major_page_faults_total", "", 14.0),
        ("minor_page_faults_total", "", 140.0),
        ("context_switches_total", ",ctxswitchtype=\"voluntary\"", 2280.0),
        ("context_switches_total", ",ctxswitchtype=\"nonvoluntary\"", 753.0),
    ];
    for (family, labels, value) in expected {
        let labels = format!("groupname=\"ledgerd\"{labels}");
        assert_eq!(group(&values, family, &labels), Some(value), "{family}{{{labels}}}");
    }
    let of_group = values.keys().filter(|key| key.contains("\"ledgerd\"")).count();
    assert_eq!(of_group, expected.len());
    assert_eq!(group(&values, "num_procs", r#"groupname="kworker""#), Some(1.0));
    assert_eq!(group(&values, "states", r#"groupname="kworker",state="Other""#), Some(1.0));
}

#[test]
fn what_cannot_be_read_is_absent_and_counted() {
    let values = collect(&mut fixture(""), &[], true).unwrap();
    assert_eq!(group(&values, "num_procs", r#"groupname="a b) (c""#), Some(1.0));
    assert_eq!(group(&values, "read_bytes_total", r#"groupname="a b) (c""#), None);
    assert_eq!(values["namedprocess_scrape_partial_errors{}"], 1.0);
    assert_eq!(values["namedprocess_scrape_procread_errors{}"], 1.0);
    assert_eq!(values["namedprocess_scrape_errors{}"], 0.0);
    let mut nowhere = processes("/nonexistent/proc", "");
    let error = collect(&mut nowhere, &[], true).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/proc"), "{error}");
}

#[test]
fn limits_are_kept_and_what_they_refuse_is_counted() {
    let mut bounded = fixture("max_groups = 2\nmax_processes = 4\n");
    let values = collect(&mut bounded, &[], true).unwrap();
    let names: Vec<_> = values.keys().filter(|key| key.contains("_num_procs{")).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(group(&values, "num_procs", r#"groupname="other""#), Some(2.0));
    assert_eq!(values[r#"musterd_process_overflow_total{limit="max_groups"}"#], 2.0);
    assert_eq!(values[r#"musterd_process_overflow_total{limit="max_processes"}"#], 2.0);
}

#[test]
fn rules_are_tried_on_the_command_line() {
    let mut ruled = fixture("groups = [{ name = 'workers', cmdline = 'ledgerd worker$' }]");
    let values = collect(&mut ruled, &[], true).unwrap();
    assert_eq!(group(&values, "num_procs", r#"groupname="workers""#), Some(1.0));
    assert_eq!(group(&values, "num_procs", r#"groupname="ledgerd""#), Some(1.0));
}

#[test]
fn a_name_is_filled_by_each_process() {
    let mut ruled = fixture(
        "groups = [{ name = '{exe_base}/{mode}/{user}/{unit}{cgroup}', \
         cmdline = 'ledgerd (?P<mode>[a-z-]+)$' }]",
    );
    let values = collect(&mut ruled, &[], true).unwrap();
    for name in [
        "ledgerd/--fore/root/ledgerd.service/system.slice/ledgerd.service",
        "ledgerd/worker/4294967290/ledgerd.service/system.slice/ledgerd.service/inner",
    ] {
        let labels = format!("groupname=\"{name}\"");
        assert_eq!(group(&values, "num_procs", &labels), Some(1.0), "{name}");
    }
}

#[test]
fn only_what_rules_take_and_their_children_can_be_in_groups() {
    let rules = "groups = [{ name = 'books', cmdline = '--fore' }]\nothers = false\n";
    let count = |more: &str| {
        let values = collect(&mut fixture(&format!("{rules}{more}")), &[], true).unwrap();
        let groups = values.keys().filter(|key| key.contains("_num_procs{")).count();
        assert_eq!(groups, 1);
        group(&values, "num_procs", "groupname=\"books\"")
    };
    assert_eq!(count("children = false"), Some(1.0));
    assert_eq!(count("children = true"), Some(2.0));
}

#[test]
fn threads_are_counted_by_name() {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let values = collect(&mut fixture("threads = true"), &[], true).unwrap();
    for (family, labels, value) in [
        ("thread_count", r#",threadname="ledgerd""#, 2.0),
        ("thread_count", r#",threadname="flusher""#, 2.0),
        ("thread_cpu_seconds_total", r#",mode="user",threadname="flusher""#, 200.0 / ticks),
        ("thread_cpu_seconds_total", r#",mode="system",threadname="flusher""#, 100.0 / ticks),
        ("thread_io_bytes_total", r#",iomode="read",threadname="flusher""#, 4000.0),
        ("thread_io_bytes_total", r#",iomode="write",threadname="flusher""#, 8000.0),
        ("thread_minor_page_faults_total", r#",threadname="flusher""#, 20.0),
        ("thread_major_page_faults_total", r#",threadname="flusher""#, 3.0),
        ("threads_wchan", r#",wchan="folio_wait_bit""#, 1.0),
        ("threads_wchan", r#",wchan="do_epoll_wait""#, 1.0),
        // As they are without threads.
        ("num_threads", "", 4.0),
        ("cpu_seconds_total", r#",mode="user""#, 750.0 / ticks),
    ] {
        let labels = format!("groupname=\"ledgerd\"{labels}");
        assert_eq!(group(&values, family, &labels), Some(value), "{family}{{{labels}}}");
    }
    for (kind, value) in [("voluntary", 30.0), ("nonvoluntary", 3.0)] {
        let labels =
            format!("groupname=\"ledgerd\",ctxswitchtype=\"{kind}\",threadname=\"flusher\"");
        assert_eq!(group(&values, "thread_context_switches_total", &labels), Some(value));
        let labels = format!("groupname=\"ledgerd\",ctxswitchtype=\"{kind}\"");
        let all = group(
            &collect(&mut fixture(""), &[], true).unwrap(),
            "context_switches_total",
            &labels,
        );
        assert_eq!(group(&values, "context_switches_total", &labels), all);
    }
    assert_eq!(group(&values, "threads_wchan", r#"groupname="ledgerd",wchan="0""#), None);
    let mut bounded = fixture("threads = true\nmax_thread_names = 1");
    let values = collect(&mut bounded, &[], true).unwrap();
    let names: BTreeSet<_> = values
        .keys()
        .filter_map(|key| key.split_once("threadname="))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(values[r#"musterd_process_overflow_total{limit="max_thread_names"}"#], 2.0);
}

/// One test counts the children of this process: to be held by whoever has any.
fn with_children() -> MutexGuard<'static, ()> {
    static CHILDREN: Mutex<()> = Mutex::new(());
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy of the fixture that may be changed; gone when dropped.
struct Changeable(PathBuf);

impl Changeable {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("musterd-{name}-{}", std::process::id()));
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/process/proc");
        let _alone = with_children();
        let copied = Command::new("cp").arg("-r").arg(fixture).arg(&folder).status().unwrap();
        assert!(copied.success());
        Self(folder)
    }
}

impl Drop for Changeable {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_thread_that_cannot_be_read_makes_no_counter_jump() {
    let proc = Changeable::new("unread-thread");
    let mut live = processes(proc.0.to_str().unwrap(), "");
    let mut look = || {
        let values = collect(&mut live, &[], true).unwrap();
        let labels = r#"groupname="ledgerd",ctxswitchtype="voluntary""#;
        let switches = group(&values, "context_switches_total", labels);
        (switches, values["namedprocess_scrape_partial_errors{}"])
    };
    let before = look();
    let status = proc.0.join("71/task/74/status");
    let text = std::fs::read(&status).unwrap();
    std::fs::remove_file(&status).unwrap();
    std::fs::create_dir(&status).unwrap();
    // One more than the process that is read in part at every scan.
    assert_eq!(look(), (before.0, before.1 + 2.0));
    std::fs::remove_dir(&status).unwrap();
    std::fs::write(&status, text).unwrap();
    assert_eq!(look().0, before.0);
}

#[test]
fn rules_are_asked_again_some_time() {
    let proc = Changeable::new("asked-again");
    let rules = "groups = [{ name = 'retitled', cmdline = 'now another' }]";
    let mut live = processes(proc.0.to_str().unwrap(), rules);
    let mut count = || {
        let values = collect(&mut live, &[], true).unwrap();
        group(&values, "num_procs", r#"groupname="retitled""#)
    };
    assert_eq!(count(), None);
    std::fs::write(proc.0.join("72/cmdline"), "now another\0").unwrap();
    assert!((0..64).any(|_| count() == Some(1.0)));
}

#[test]
fn a_long_command_line_is_read_to_its_end() {
    let _alone = with_children();
    let mut live = processes("/proc", "groups = [{ name = 'long', cmdline = ' end-marker$' }]");
    let long = "x".repeat(20_000);
    let arguments = ["-c", "read -r _", &long, "end-marker"];
    let sleeper =
        Sleeper(Command::new("sh").args(arguments).stdin(Stdio::piped()).spawn().unwrap());
    let values = collect(&mut live, &[], true).unwrap();
    assert_eq!(group(&values, "num_procs", r#"groupname="long""#), Some(1.0));
    drop(sleeper);
}

#[test]
fn memory_that_is_shared_is_divided_by_who_share_it() {
    let values = collect(&mut fixture("proportional_memory = true"), &[], true).unwrap();
    let memory = |memtype: &str| {
        let labels = format!("groupname=\"ledgerd\",memtype=\"{memtype}\"");
        group(&values, "memory_bytes", &labels)
    };
    assert_eq!(memory("proportionalResident"), Some(400.0 * 1024.0));
    assert_eq!(memory("proportionalSwapped"), Some(2048.0));
    let hidden = r#"groupname="a b) (c",memtype="proportionalResident""#;
    assert_eq!(group(&values, "memory_bytes", hidden), None);
    assert_eq!(values.iter().filter(|(key, _)| key.contains("proportional")).count(), 2);
}

#[test]
fn every_sample_is_of_a_declared_family_and_labels() {
    let agents = [AgentRoot { name: "books".into(), pid: 71, start_time: Some(3000) }];
    let mut whole = fixture("threads = true\nproportional_memory = true");
    let values = collect(&mut whole, &agents, true).unwrap();
    let declared: Vec<_> = FAMILIES.iter().chain(THREAD_FAMILIES).chain(AGENT_FAMILIES).collect();
    let mut seen = BTreeSet::new();
    for key in values.keys() {
        let (name, labels) = key.trim_end_matches('}').split_once('{').unwrap();
        let family = declared.iter().find(|family| family.name == name).unwrap();
        let mut names: Vec<_> = family.labels.to_vec();
        names.retain(|label| labels.contains(&format!("{label}=\"")));
        assert_eq!(names, family.labels, "{key}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), declared.len());
}

#[test]
fn an_agents_tree_is_the_same_with_groups_and_without() {
    let agents = [AgentRoot { name: "books".into(), pid: 71, start_time: Some(3000) }];
    let of_agents = |changes: &str, groups: bool| -> Values {
        let mut values = collect(&mut fixture(changes), &agents, groups).unwrap();
        values.retain(|key, _| key.contains("\"books\""));
        values
    };
    let values = of_agents("", false);
    assert_eq!(values[r#"agent_processes{agent="books"}"#], 2.0);
    assert_eq!(values[r#"agent_process_open_fds{agent="books"}"#], 6.0);
    assert_eq!(values[r#"agent_process_written_bytes_total{agent="books"}"#], 10_192.0);
    assert_eq!(values, of_agents("", true));
    let nowhere = "groups = [{ name = 'x', comm = ['x'] }]\nothers = false";
    assert_eq!(values, of_agents(nowhere, true));
    let none = collect(&mut fixture("enabled = false"), &[], true).unwrap();
    assert!(none.keys().all(|key| key.starts_with("musterd_process_overflow_total")), "{none:?}");
}

/// A child that is killed and awaited when dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("271.828").spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn real_children_come_and_go() {
    let _alone = with_children();
    let mut live =
        processes("/proc", "groups = [{ name = 'sleepers', cmdline = '^sleep 271\\.828$' }]");
    let agents = [AgentRoot { name: "me".into(), pid: std::process::id(), start_time: None }];
    let mut look = || collect(&mut live, &agents, true).unwrap();
    let count = |values: &Values| group(values, "num_procs", r#"groupname="sleepers""#);
    let faults =
        |values: &Values| group(values, "minor_page_faults_total", r#"groupname="sleepers""#);

    let before = look();
    assert_eq!(count(&before), None);
    let mut sleepers = vec![Sleeper::new(), Sleeper::new()];
    std::thread::sleep(Duration::from_millis(50));
    let both = look();
    assert_eq!(count(&both), Some(2.0));
    assert!(faults(&both) > Some(0.0));
    let members = |values: &Values| values[r#"agent_processes{agent="me"}"#];
    assert_eq!(members(&both), members(&before) + 2.0);
    assert!(group(&both, "open_filedesc", r#"groupname="sleepers""#) >= Some(6.0));

    sleepers.pop();
    let one = look();
    assert_eq!(count(&one), Some(1.0));
    assert!(faults(&one) >= faults(&both));
    sleepers.clear();
    let none = look();
    assert_eq!(count(&none), Some(0.0));
    assert_eq!(faults(&none), faults(&one));
    assert_eq!(members(&none), members(&before));
    assert_eq!(none["namedprocess_scrape_procread_errors{}"], 0.0);
}
