//! What comes from outside besides kernel files of collectors, with bytes, numbers and lines changed,
//! doubled and taken away: configurations, flags to import, hellos of agents, and processes. Nothing
//! may panic. `MUSTERD_FUZZ=1000000 cargo test --release --test fuzz_rooms` feeds so many of each.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod chance;

use chance::Chance;
use musterd::agent::lines::{
    self,
    book::{Book, Limits},
};
use musterd::agent::protocol;
use musterd::host::Pass;
use musterd::host::root::Root;
use musterd::metric::Batch;
use musterd::process::{AgentRoot, Processes};
use musterd::{config, import};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn inputs() -> u64 {
    let number = std::env::var("MUSTERD_FUZZ").ok().and_then(|text| text.parse().ok());
    number.unwrap_or(300)
}

/// Calls `take` with changes of the texts.
fn feed(texts: &[&[u8]], mut take: impl FnMut(&[u8])) {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..inputs() {
        let text = *chance.one_of(texts);
        take(&chance.changed(text));
    }
}

#[test]
fn configurations() {
    let sections: Vec<_> = config::DEFAULTS.split("\n[").map(|part| format!("[{part}")).collect();
    let mut texts: Vec<_> = sections.iter().skip(1).map(String::as_bytes).collect();
    texts.push(b"[[agent]]\nname = \"a\"\ncommand = [\"/bin/true\"]\nrestart = \"always\"\n");
    let (mut good, mut bad) = (0, 0);
    feed(&texts, |text| {
        let text = String::from_utf8_lossy(text);
        match config::parse(&[("changed", &text)]) {
            Ok(_) => good += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                bad += 1;
            }
        }
    });
    assert!(good > 0 && bad > 0, "{good} good, {bad} bad");
}

#[test]
fn flags() {
    let texts: [&[u8]; 3] = [
        b"ARGS=\"--collector.cpu.info --path.procfs=/host/proc --web.listen-address=:9100\"\n",
        b"ARGS='--collector.textfile.directory /a' OTHER=\"--no-collector.zfs \\\n --log.level=warn\"\n",
        b"# x\nARGS=\"--collector.disable-defaults --collector.ipvs.backend-labels=proto,local_port\"\n",
    ];
    let mut imported = 0;
    feed(&texts, |text| {
        let text = String::from_utf8_lossy(text);
        let flags = import::flags_of_environment(&text, "--");
        imported += u64::from(flags.is_ok_and(|flags| import::node_exporter(&flags).is_ok()));
    });
    assert!(imported > 0);
}

#[test]
fn names_of_processes() {
    let texts: [&[u8]; 3] = [
        b"process_names:\n  - name: \"{{.Comm}}\"\n    cmdline:\n    - '.+'\n  - comm: [bash, \"a b\"]\n",
        b"process_names:\n- name: '{{.ExeFull}}:{{.Matches.Cfg}}'\n  exe: [/usr/bin/x]\n  cmdline: ['-c\\s+(?P<Cfg>\\S+)']\n",
        b"process_names: [{exe: [x], name: '{{.Username}}-{{.PID}}'}, &a {comm: [y]}, *a]\n",
    ];
    let mut imported = 0;
    feed(&texts, |text| {
        let text = String::from_utf8_lossy(text);
        let flags = ["-config.path=x".to_owned()];
        let of_file = import::process_exporter(&flags, &|_| Ok(text.to_string()));
        let flags = [format!("-namemapping={text}"), format!("-procnames={text}")];
        let of_flags = import::process_exporter(&flags, &|_| Ok(String::new()));
        imported += u64::from(of_file.is_ok()) + u64::from(of_flags.is_ok());
    });
    assert!(imported > 0);
}

#[test]
fn hellos() {
    let texts: [&[u8]; 4] = [
        b"{\"musterd\":1,\"agent\":\"b\",\"mode\":\"lines\",\"session\":\"s-1\"}\n{\"event\":\"close\"}\n",
        b"{\"musterd\":1,\"agent\":\"billing\",\"version\":\"1.2\",\"framework\":\"crewai\"}\n",
        b"{\"musterd\":1,\"agent\":\"a\",\"client\":\"python 0.1\",\"resume\":true}\n",
        b"\n",
    ];
    let mut violations = 0;
    feed(&texts, |text| violations += u64::from(protocol::decode(text).is_err()));
    assert!(violations > 0);
}

/// Whole streams of them, as a connection takes them in: no line is longer than the bytes that are there,
/// and numbers never go back.
#[test]
fn streams_of_lines() {
    let text = b"{\"seq\":1,\"event\":\"begin\",\"id\":\"a\"}\n\
        {\"seq\":2,\"event\":\"end\",\"id\":\"a\",\"status\":\"error\",\"category\":\"x\",\"seconds\":0.5}\n\
        {\"event\":\"count\",\"name\":\"a_total\",\"labels\":{\"b\":\"c\"},\"value\":2,\"help\":\"As.\"}\n\
        {\"seq\":3,\"event\":\"set\",\"name\":\"g\",\"value\":-1.5}\n\
        {\"seq\":4,\"event\":\"observe\",\"name\":\"h_bytes\",\"value\":3,\"bounds\":[1,2]}\n\
        {\"seq\":5,\"event\":\"heartbeat\"}\n{\"seq\":6,\"event\":\"close\"}\n";
    let (mut good, mut refused, mut applied) = (0, 0, 0);
    feed(&[text], |text| {
        let mut book = Book::private(64 << 10, Limits { max_series: 100, duration_schema: 3 });
        let (mut rest, mut before) = (text, 0);
        while let Ok(lines::protocol::Frame::Line { line, length }) = lines::protocol::decode(rest)
        {
            rest = &rest[length..];
            match book.take(line.seq, line.event, Duration::from_secs(5)) {
                Ok(()) => good += 1,
                Err(violation) => {
                    assert!(!violation.text.is_empty());
                    refused += 1;
                }
            }
            assert!(book.applied() >= before);
            before = book.applied();
        }
        applied += u64::from(book.applied() > 0);
    });
    assert!(good > 0 && refused > 0 && applied > 0, "{good} good, {refused} refused");
}

#[test]
fn processes() {
    let top = chance::folder("fuzz-rooms");
    let files: [(&str, &[u8]); 10] = [
        ("stat", b"41 (a b) S 1 41 41 0 -1 4194560 100 0 5 0 10 20 0 0 20 0 2 0 100 10000000 500 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 3 0 0 0 0 0 0 0 0 0 0\n"),
        ("status", b"Name:\ta b\nUid:\t0\t0\t0\t0\nVmSwap:\t 12 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n"),
        ("io", b"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n"),
        ("cmdline", b"/usr/bin/python3\0-m\0agent\0"),
        ("cgroup", b"1:name=systemd:/init.scope\n0::/system.slice/agent.service\n"),
        ("smaps_rollup", b"400000-7f0000 ---p 0 0:0 0 [rollup]\nRss: 9 kB\nPss:  7 kB\nSwapPss: 1 kB\n"),
        ("task/42/stat", b"42 (pool) D 1 41 41 0 -1 4194560 100 0 5 0 10 20 0 0 20 0 2 0 101 10000000 500 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 3 0 0 0 0 0 0 0 0 0 0\n"),
        ("task/42/status", b"Name:\tpool\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n"),
        ("task/42/io", b"rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n"),
        ("task/42/wchan", b"do_epoll_wait"),
    ];
    fs::create_dir_all(top.join("41/fd")).unwrap();
    fs::create_dir_all(top.join("41/task/42")).unwrap();
    fs::write(top.join("stat"), "btime 1700000000\n").unwrap();
    let restore = || {
        files.iter().for_each(|(name, text)| fs::write(top.join("41").join(name), text).unwrap())
    };
    restore();
    let root = Arc::new(Root {
        procfs: top.clone(),
        sysfs: top.clone(),
        rootfs: top.clone(),
        udev_data: top.clone(),
    });
    let all = "[processes]\nthreads = true\nmax_thread_names = 100\nproportional_memory = true\nchildren = true\n\
               groups = [{ name = '{exe_base} {word} {user} {unit} {cgroup}', cmdline = '(?P<word>-\\w)' }]";
    let options = config::parse(&[("all there is", all)]).unwrap().processes;
    let agents = [AgentRoot { name: "a".to_owned(), pid: 41, start_time: None }];
    let mut scan = Processes::new(&root, options.clone());
    let mut chance = Chance(7);
    let (mut batch, mut buffer, mut samples) = (Batch::new(), Vec::new(), 0);
    for input in 0..inputs() {
        if input % 8 == 0 {
            restore();
        }
        // Groups stay for good, and each name that is made up is one.
        if input % 512 == 0 {
            scan = Processes::new(&root, options.clone());
        }
        let (name, text) = chance.one_of(&files);
        fs::write(top.join("41").join(name), chance.changed(text)).unwrap();
        batch.clear();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut pass = Pass { batch: &mut batch, buffer: &mut buffer, deadline };
        // What cannot be read is an error or nothing, and never an end.
        let _ = scan.collect(&mut pass, &agents, true);
        samples += batch.len();
    }
    fs::remove_dir_all(&top).unwrap();
    assert!(samples > 0);
}
