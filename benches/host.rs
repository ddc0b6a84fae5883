//! What a pass of the default collectors costs, against the floor: reading the same files again with
//! pread(2) and nothing else. On this machine, and on a host with 64 CPUs, 500 network devices and 200
//! disks that is made as a tree of files. CPU time, user and system, of this thread; ratios of medians. On this
//! machine also with a pause before each pass, after which caches are cold and the processor has slept.
//!
//!     cargo bench --bench host
#![allow(clippy::panic, clippy::unwrap_used)] // a benchmark fails by panicking

use musterd::exposition::{Format, encode};
use musterd::host::root::Root;
use musterd::host::{Collector, Pass, collectors, plan};
use musterd::metric::Batch;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const TURNS: usize = 5;
const ROUNDS: usize = 3;
const PASSES: u32 = 20;
/// As between the paced scrapes of `scrape_cost.sh`.
const PAUSE: Duration = Duration::from_millis(50);

fn main() {
    // Descriptors of all files are kept, as by a service, which may have many. Only root can raise the
    // limit itself; below it, what is not kept is opened each time.
    let many = Some(1 << 17);
    if setrlimit(Resource::Nofile, Rlimit { current: many, maximum: many }).is_err() {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    }
    let here = roots(Path::new("/"));
    measure("this machine", &here, TURNS, Duration::ZERO);
    measure("this machine, paced", &here, 2, PAUSE);
    let tree = place().join(format!("musterd-bench-{}", std::process::id()));
    fs::create_dir_all(&tree).unwrap();
    large_host(&tree);
    measure("64 CPUs, 500 network devices, 200 disks", &roots(&tree), TURNS, Duration::ZERO);
    fs::remove_dir_all(&tree).unwrap();
}

fn roots(top: &Path) -> Arc<Root> {
    Arc::new(Root {
        procfs: top.join("proc"),
        sysfs: top.join("sys"),
        rootfs: top.to_owned(),
        udev_data: top.join("run/udev/data"),
    })
}

fn measure(title: &str, root: &Arc<Root>, turns: usize, pause: Duration) {
    let before = open_files();
    let (mut passes, mut floors) = (Vec::new(), Vec::new());
    let (mut series, mut allocations, mut count) = (0, 0, 0);
    // By turns, since the speed of a machine changes from second to second.
    for _ in 0..turns {
        let mut host = Host::new(root);
        for _ in 0..3 {
            host.pass();
        }
        let files: Vec<_> =
            open_files().into_iter().filter(|file| !before.contains(file)).collect();
        passes.extend((0..ROUNDS).map(|_| cpu_time(pause, || host.pass())));
        (series, count) = (host.series(), files.len());
        allocations = allocation_counter::measure(|| host.pass()).count_total;
        // A process may not have as many descriptors as for both at once.
        drop(host);
        let files: Vec<_> = files.iter().map(|path| File::open(path).unwrap()).collect();
        floors.extend((0..ROUNDS).map(|_| cpu_time(pause, || read_all(&files))));
    }
    let (pass, floor) = (median(passes), median(floors));
    println!("{title}: {series} series of {count} files");
    println!("  pass {:.1} µs, floor {:.1} µs, ratio {:.2}", pass, floor, pass / floor);
    println!("  {:.4} allocations a series", allocations as f64 / series as f64);
}

/// The default collectors and what they fill; what has no data is not asked again, as in the daemon.
struct Host {
    collectors: Vec<(&'static str, Box<dyn Collector>)>,
    batch: Batch,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Host {
    fn new(root: &Arc<Root>) -> Self {
        let mut table = DeTable::parse(musterd::config::DEFAULTS).unwrap().into_inner();
        for name in ["host", "collectors"] {
            let DeValue::Table(inner) = table.remove(name).unwrap().into_inner() else {
                panic!("{name} is no table");
            };
            table = inner;
        }
        let plans = plan(Spanned::new(0..0, table)).unwrap();
        let enabled = plans.iter().filter(|plan| plan.enabled);
        let made = enabled.map(|plan| (plan.name, (plan.builder)(root)));
        let mut host = Self {
            collectors: made.collect(),
            batch: Batch::new(),
            buffer: Vec::new(),
            out: Vec::new(),
        };
        host.drop_idle();
        host
    }

    fn drop_idle(&mut self) {
        let (batch, buffer) = (&mut self.batch, &mut self.buffer);
        self.collectors.retain_mut(|(_, collector)| {
            batch.clear();
            let deadline = Instant::now() + Duration::from_secs(9);
            let result = collector.collect(&mut Pass { batch, buffer, deadline });
            result.is_ok() && !batch.is_empty()
        });
        assert!(self.collectors.len() > 5 && self.collectors.len() < collectors().count());
    }

    fn pass(&mut self) {
        self.batch.clear();
        for (name, collector) in &mut self.collectors {
            let deadline = Instant::now() + Duration::from_secs(9);
            let (batch, buffer) = (&mut self.batch, &mut self.buffer);
            if let Err(error) = collector.collect(&mut Pass { batch, buffer, deadline }) {
                panic!("{name}: {error}");
            }
        }
        self.out.clear();
        encode(&self.batch, Format::Text, &mut self.out);
    }

    fn series(&self) -> usize {
        self.batch.len()
    }
}

/// The files that this process has open, but for sockets and the like.
fn open_files() -> Vec<PathBuf> {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
    targets.filter(|path| path.is_file()).collect()
}

fn read_all(files: &[File]) {
    let mut buffer = vec![0; 64 << 10];
    for file in files {
        let mut at = 0;
        // As a program would that does not know where a file ends.
        while let Ok(count) = file.read_at(&mut buffer, at)
            && count > 0
        {
            at += count as u64;
            if count < 1024 {
                break;
            }
        }
    }
}

/// Microseconds of CPU time that one call takes, each after a pause.
fn cpu_time(pause: Duration, mut work: impl FnMut()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
    };
    let mut spent = 0.0;
    for _ in 0..PASSES {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let begun = now();
        work();
        spent += now() - begun;
    }
    spent / f64::from(PASSES)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A tree in place of the kernel of a large host.
fn large_host(top: &Path) {
    let (proc, sys) = (top.join("proc"), top.join("sys"));
    let mut stat = "cpu  1 2 3 4 5 6 7 8 9 10\n".to_owned();
    let mut schedstat = "version 15\ntimestamp 4300000000\n".to_owned();
    let mut softnet = String::new();
    for cpu in 0..64 {
        stat += &format!("cpu{cpu} 1000{cpu} 20 3000 400000 500 0 70 0 0 0\n");
        schedstat += &format!("cpu{cpu} 0 0 0 0 0 0 1000{cpu} 2000 3000\n");
        softnet += "000059eb 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n";
        let folder = sys.join(format!("devices/system/cpu/cpu{cpu}"));
        write(&folder.join("topology/core_id"), &format!("{}\n", cpu / 2));
        write(&folder.join("topology/physical_package_id"), &format!("{}\n", cpu / 32));
        write(&folder.join("thermal_throttle/core_throttle_count"), "3\n");
        write(&folder.join("thermal_throttle/package_throttle_count"), "4\n");
        for name in [
            "cpuinfo_min_freq",
            "cpuinfo_max_freq",
            "scaling_cur_freq",
            "scaling_min_freq",
            "scaling_max_freq",
        ] {
            write(&folder.join("cpufreq").join(name), "2400000\n");
        }
        write(&folder.join("cpufreq/scaling_governor"), "performance\n");
        write(&folder.join("cpufreq/scaling_available_governors"), "performance powersave\n");
    }
    stat += "intr 7\nctxt 8\nbtime 1700000000\nprocesses 9\nprocs_running 1\nprocs_blocked 0\nsoftirq 10 1 2 3 4 5 6 7 8 9 10\n";
    write(&proc.join("stat"), &stat);
    write(&proc.join("schedstat"), &schedstat);
    write(&proc.join("net/softnet_stat"), &softnet);
    write(&proc.join("loadavg"), "0.1 0.2 0.3 1/2 3\n");
    write(&proc.join("meminfo"), "MemTotal: 1000 kB\nMemFree: 500 kB\nMemAvailable: 600 kB\n");
    write(
        &proc.join("vmstat"),
        "pgpgin 1\npgpgout 2\npswpin 0\npswpout 0\npgfault 3\npgmajfault 4\noom_kill 0\n",
    );
    let mut disks = String::new();
    for disk in 0..200 {
        let name = format!("nvme{disk}n1");
        disks += &format!(" 259 {disk} {name} 100 1 8000 50 200 2 16000 70 0 90 120 0 0 0 0 5 6\n");
        write(&sys.join("block").join(&name).join("queue/rotational"), "0\n");
        write(
            &top.join(format!("run/udev/data/b259:{disk}")),
            "E:ID_MODEL=Example\nE:ID_SERIAL=1\n",
        );
    }
    write(&proc.join("diskstats"), &disks);
    let mut devices = "Inter-|\n face |\n".to_owned();
    for device in 0..500 {
        let name = format!("veth{device}");
        devices += &format!("{name}: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n");
        let folder = sys.join("class/net").join(&name);
        write(&folder.join("statistics/rx_nohandler"), "0\n");
        for (file, text) in [
            ("addr_assign_type", "0"),
            ("carrier", "1"),
            ("carrier_changes", "2"),
            ("carrier_up_count", "1"),
            ("carrier_down_count", "1"),
            ("dev_id", "0x0"),
            ("dormant", "0"),
            ("flags", "0x1003"),
            ("ifindex", "7"),
            ("iflink", "8"),
            ("link_mode", "0"),
            ("mtu", "1500"),
            ("name_assign_type", "4"),
            ("netdev_group", "0"),
            ("tx_queue_len", "1000"),
            ("type", "1"),
            ("operstate", "up"),
            ("address", "02:00:00:00:00:01"),
            ("broadcast", "ff:ff:ff:ff:ff:ff"),
            ("duplex", "full"),
            ("speed", "10000"),
            ("ifalias", ""),
        ] {
            write(&folder.join(file), &format!("{text}\n"));
        }
    }
    write(&proc.join("net/dev"), &devices);
}

/// In memory, as the kernel's own files are, where there is such a folder.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
