//! The daemon as its users meet it: started, told things, fed rubbish, ended.
#![allow(clippy::unwrap_used)] // A test.

mod node;

use musterd_client::Agent;
use node::{Node, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What the daemon answers to bytes on its agent socket, until it closes the connection.
fn say(node: &Node, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(node.socket()).unwrap();
    stream.set_read_timeout(Some(node::PATIENCE)).unwrap();
    // A daemon that has heard enough closes its end while we still talk.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn one_scrape_has_host_processes_and_agents() {
    let node = Node::start("");
    let agent = Agent::builder("billing").socket(node.socket()).version("7").start();
    agent.begin().success();
    agent.begin().error("network");
    agent.tokens("small", 10, 3);
    agent.llm_call("small", musterd_client::Status::Timeout, Duration::from_millis(1500));
    agent.llm_call("small", musterd_client::Status::Timeout, Duration::from_secs(1));
    agent.first_token("small", Duration::from_millis(250));
    agent.tool_call("search", musterd_client::Status::Success, Duration::from_secs(3));
    let hanging = agent.begin();
    until("the agent is connected", || agent.is_connected());
    let metrics = node.metrics();
    let value = |family: &str, parts: &[&str]| metrics.sum(family, parts);
    assert!(value("node_cpu_seconds_total", &[]).unwrap() > 0.0);
    assert!(value("node_memory_MemTotal_bytes", &[]).unwrap() > 0.0);
    assert!(value("namedprocess_namegroup_num_procs", &[]).unwrap() >= 1.0);
    assert!(value("process_resident_memory_bytes", &[]).unwrap() > 0.0);
    let billing = "agent=\"billing\"";
    assert_eq!(value("agent_up", &[billing]), Some(1.0));
    assert_eq!(value("agent_requests_total", &[billing, "success"]), Some(1.0));
    assert_eq!(value("agent_requests_total", &[billing, "error"]), Some(1.0));
    assert_eq!(value("agent_errors_total", &[billing, "network"]), Some(1.0));
    assert_eq!(value("agent_tokens_total", &[billing, "small", "input"]), Some(10.0));
    assert_eq!(value("agent_requests_in_flight", &[billing]), Some(1.0));
    let timeout = [billing, "model=\"small\"", "outcome=\"timeout\""];
    assert_eq!(value("agent_llm_request_duration_seconds_sum", &timeout), Some(2.5));
    assert_eq!(value("agent_llm_request_duration_seconds_count", &timeout), Some(2.0));
    assert_eq!(value("agent_time_to_first_token_seconds_sum", &[billing, "small"]), Some(0.25));
    let search = [billing, "tool=\"search\"", "outcome=\"success\""];
    assert_eq!(
        value("agent_tool_duration_seconds_bucket", &[&search[..], &["2.56"]].concat()),
        Some(0.0)
    );
    assert_eq!(
        value("agent_tool_duration_seconds_bucket", &[&search[..], &["5.12"]].concat()),
        Some(1.0)
    );
    assert_eq!(value("agent_success_rate", &[billing]), Some(0.5));
    assert_eq!(value("agent_info", &[billing, "version=\"7\""]), Some(1.0));
    assert!(value("agent_processes", &[billing]).unwrap() >= 1.0);
    drop(hanging);
    drop(agent);
    until("the agent is gone", || node.metrics().sum("agent_up", &[billing]) == Some(0.0));
    let metrics = node.metrics();
    assert_eq!(metrics.sum("agent_requests_total", &[billing, "cancelled"]), Some(1.0));
    assert_eq!(metrics.sum("agent_health_status", &[billing, "stopped"]), Some(1.0));
    assert_eq!(metrics.sum("agent_llm_request_duration_seconds_count", &timeout), Some(2.0));
}

#[test]
fn an_agent_waits_for_no_daemon_and_brings_its_counts_when_one_comes() {
    let mut node = Node::start("");
    node.kill();
    let agent = Agent::builder("early").socket(node.socket()).start();
    for _ in 0..1000 {
        agent.begin().success();
    }
    assert!(!agent.is_connected());
    node.launch();
    until("the agent is connected", || agent.is_connected());
    agent.begin().success();
    let label = ["agent=\"early\"", "success"];
    assert_eq!(node.metrics().sum("agent_requests_total", &label), Some(1001.0));
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut node = Node::start("");
    node.kill();
    let (reader, mut writer) = std::io::pipe().unwrap();
    // All that a pipe holds (pipe(7)).
    writer.write_all(&[b'x'; 64 << 10]).unwrap();
    node.launch_with_log(writer);
    assert!(node.metrics().sum("node_load1", &[]).is_some());
    node.signal("TERM");
    assert_eq!(node.wait(), 0);
    drop(reader);
}

#[test]
fn rubbish_on_the_socket_is_refused_counted_and_disturbs_nobody() {
    let node = Node::start("agents.hello_timeout = '300ms'");
    let agent = Agent::builder("steady").socket(node.socket()).start();
    until("the agent is connected", || agent.is_connected());
    for (bytes, words) in [
        (&b"GET / HTTP/1.1\r\n"[..], "not a hello"),
        (b"{\"musterd\":1,\"agent\":\"a b\"}\n", "agent name \\\"a b\\\": wanted 1 to 64"),
        (b"{\"musterd\":9,\"agent\":\"a\"}\n", "protocol version 9"),
        (b"\xff\xff\xff\n", "not a hello"),
        (&[b'x'; 5000], "a hello of over 4096 bytes"),
        (b"{\"musterd\":1", "no hello within 0.3 s"),
    ] {
        let answer = say(&node, bytes);
        assert!(answer.contains("\"ok\":false") && answer.contains(words), "{answer}");
    }
    let refused = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        node.metrics().sum("musterd_refused_total", &["what=\"hellos\"", &label])
    };
    assert_eq!(refused("malformed"), Some(3.0));
    assert_eq!(refused("version"), Some(1.0));
    assert_eq!(refused("oversized"), Some(1.0));
    assert_eq!(refused("timeout"), Some(1.0));
    node.until_logged("agent refused");
    assert!(agent.is_connected());
    agent.begin().success();
    let label = ["agent=\"steady\"", "success"];
    assert_eq!(node.metrics().sum("agent_requests_total", &label), Some(1.0));
}

#[test]
fn a_process_may_come_and_go_as_often_as_it_likes() {
    let node = Node::start("agents.max_connections = 3");
    for count in 1..=10 {
        let agent = Agent::builder("again").socket(node.socket()).start();
        agent.begin().success();
        until("the agent is connected", || agent.is_connected());
        drop(agent);
        until("its count has come", || {
            let label = ["agent=\"again\"", "success"];
            node.metrics().sum("agent_requests_total", &label) == Some(f64::from(count))
        });
    }
}

#[test]
fn a_short_lived_agents_counts_arrive() {
    let node = Node::start("");
    for _ in 0..50 {
        Agent::builder("brief").socket(node.socket()).start().begin().success();
    }
    let label = ["agent=\"brief\"", "success"];
    until("all have come", || node.metrics().sum("agent_requests_total", &label) == Some(50.0));
}

#[test]
fn only_peers_that_a_rule_admits_may_report_and_a_reload_changes_the_rules() {
    let node = Node::start("agents.allow = [{ user = 4294967294 }, { unit = 'none.service' }]");
    let hello = b"{\"musterd\":1,\"agent\":\"a\"}\n";
    let answer = say(&node, hello);
    assert!(answer.contains("no rule of [agents] allow admits user"), "{answer}");
    assert!(answer.contains("\"retry\":false"), "{answer}");
    let pid = std::process::id().to_string();
    node.until_logged("agent refused");
    let log = node.log();
    let line = log.lines().find(|line| line.contains("agent refused")).unwrap();
    assert!(line.contains(&pid), "{line}");
    let refused = node.metrics().sum("musterd_refused_total", &["hellos", "\"not_allowed\""]);
    assert_eq!(refused, Some(1.0));
    let own = std::env::current_exe().unwrap();
    node.configure(&format!("agents.allow = [{{ executable = '{}' }}]", own.display()));
    node.signal("HUP");
    node.until_logged("configuration read anew");
    let agent = Agent::builder("a").socket(node.socket()).start();
    until("the agent is connected", || agent.is_connected());
}

#[test]
fn a_name_stays_its_first_users_across_restarts() {
    let mut node = Node::start("");
    let state = node.folder.0.join("state/agents.json");
    Agent::builder("taken").socket(node.socket()).start().begin().success();
    until("it is kept", || {
        std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"taken\""))
    });
    node.kill();
    let text = std::fs::read_to_string(&state).unwrap();
    let own = rustix::process::getuid().as_raw();
    let owned = format!("\"uid\":{own},");
    assert!(text.contains(&owned), "{text}");
    std::fs::write(&state, text.replace(&owned, "\"uid\":4294967294,")).unwrap();
    node.launch();
    let answer = say(&node, b"{\"musterd\":1,\"agent\":\"taken\"}\n");
    assert!(answer.contains("belongs to another user than"), "{answer}");
    let refused = node.metrics().sum("musterd_refused_total", &["hellos", "\"name_taken\""]);
    assert_eq!(refused, Some(1.0));
}

#[test]
fn health_is_measured_and_tells_of_agents() {
    let node = Node::start("");
    let agent = Agent::builder("failing").socket(node.socket()).start();
    until("the agent is connected", || agent.is_connected());
    let (status, body) = node.get("/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(health["agents"]["failing"]["state"], "healthy", "{body}");
    assert_eq!(status, 200);
    for metric in ["memory_usage_percent", "cpu_usage_percent", "disk_usage_percent"] {
        let percent = health["system_metrics"][metric].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&percent), "{metric} {percent}");
    }
    for _ in 0..20 {
        agent.begin().error("network");
    }
    let (status, body) = node.get("/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(health["agents"]["failing"]["state"], "unhealthy", "{body}");
    assert_eq!(health["health_checks"]["agents"]["status"], "unhealthy");
    assert_eq!((status, &health["status"]), (503, &"unhealthy".into()));
    node.until_logged(
        "agent failing is unhealthy, was healthy: 100.0 % of the last 20 requests failed",
    );
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_the_old_for_what_is_bad() {
    let node = Node::start("");
    node.configure("host.collectors.uname.enabled = false");
    node.signal("HUP");
    node.until_logged("configuration read anew");
    assert_eq!(node.metrics().sum("node_uname_info", &[]), None);
    node.configure("host.collectors.uname.enabled = 'maybe'");
    node.signal("HUP");
    node.until_logged("configuration not taken, the old one stays");
    assert!(node.log().contains("musterd.toml:6:"), "{}", node.log());
    let metrics = node.metrics();
    let reloads = |result: &str| metrics.sum("musterd_config_reloads_total", &[result]);
    assert_eq!((reloads("success"), reloads("failure")), (Some(1.0), Some(1.0)));
}

#[test]
fn a_reload_of_the_host_leaves_counters_of_processes_alone() {
    let node = Node::start("");
    let program = node.folder.0.join("brief-one");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let mut child = Command::new(&program).arg("1000").spawn().unwrap();
    let group = ["groupname=\"brief-one\""];
    let count = || node.metrics().sum("namedprocess_namegroup_num_procs", &group);
    until("it is seen", || count() == Some(1.0));
    child.kill().unwrap();
    child.wait().unwrap();
    until("its end is seen", || count() == Some(0.0));
    node.configure("host.collectors.uname.enabled = false");
    node.signal("HUP");
    node.until_logged("configuration read anew");
    assert_eq!(node.metrics().sum("node_uname_info", &[]), None);
    assert_eq!(count(), Some(0.0), "the group is still known");
}

#[test]
fn a_reload_of_other_collectors_leaves_those_that_look_by_themselves_alone() {
    let peaks = "host.collectors.peaks.enabled = true\nhost.collectors.peaks.interval = '100ms'";
    let node = Node::start(peaks);
    let looks =
        || node.metrics().sum("musterd_peak_running_threads_count", &[]).unwrap_or_default();
    until("some looks", || looks() >= 20.0);
    let before = looks();
    let reload = |text: &str, times: usize| {
        node.configure(text);
        node.signal("HUP");
        until("it is taken", || node.log().matches("configuration read anew").count() == times);
    };
    reload(&format!("{peaks}\nhost.collectors.uname.enabled = false"), 1);
    assert!(looks() >= before, "those before are still counted");
    assert_eq!(node.metrics().sum("node_uname_info", &[]), None);
    reload(&peaks.replace("100ms", "10s"), 2);
    assert!(looks() < before, "other settings are another beginning");
}

#[test]
fn a_signal_to_end_drains_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let mut node = Node::start("");
        node.signal(signal);
        assert_eq!(node.wait(), 0, "{signal}");
        assert!(!node.socket().exists(), "{signal}");
    }
}

#[test]
fn the_end_may_take_what_its_agents_may_and_another_sigint_kills_them() {
    let folder = node::Folder::new();
    let systemd = UnixDatagram::bind(folder.0.join("notify")).unwrap();
    let mut node = Node::unstarted();
    node.configure(
        "[[agent]]\nname = 'slow'\nstop_grace = '2h'\n\
         command = ['sh', '-c', \"trap '' TERM; echo waits; while :; do sleep 1; done\"]\n",
    );
    node.environment = vec![("NOTIFY_SOCKET", folder.0.join("notify"))];
    node.launch();
    node.until_logged("waits");
    node.signal("TERM");
    systemd.set_read_timeout(Some(node::PATIENCE)).unwrap();
    let mut message = [0; 1024];
    let extended = loop {
        let size = systemd.recv(&mut message).unwrap();
        let text = std::str::from_utf8(&message[..size]).unwrap();
        if let Some(time) = text.trim().strip_prefix("EXTEND_TIMEOUT_USEC=") {
            break time.parse::<u64>().unwrap();
        }
    };
    assert!(extended > 2 * 3600 * 1_000_000, "{extended}");
    node.signal("INT");
    assert_eq!(node.wait(), 0);
    node.until_logged("SIGINT again");
    node.until_logged("stopped agent=slow");
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let node = Node::start("");
    // The same port again: the message names it.
    let output = node.command().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains(&format!("cannot listen on {}", node.address)), "{text}");
    // The same folders, with all else its own.
    let other = Node::unstarted();
    let (own, taken) = (other.folder.0.display(), node.folder.0.display());
    let text = format!(
        "http.listen = ['{}']\npaths.run = '{taken}/run'\npaths.state = '{own}/state'\n\
         agents.socket = '{own}/agent.sock'",
        other.address
    );
    std::fs::write(other.config(), text).unwrap();
    let output = other.command().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("another musterd uses"), "{text}");
    assert!(!other.socket().exists(), "it has left a socket behind");

    let check = |text: &str| {
        let path = node.folder.0.join("other.toml");
        std::fs::write(&path, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_musterd"))
            .arg("check-config")
            .arg(&path)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(""), (Some(0), String::new()));
    // An editor's lock beside a file that is being changed.
    std::fs::create_dir(node.folder.0.join("conf.d")).unwrap();
    std::os::unix::fs::symlink("me@host.1:2", node.folder.0.join("conf.d/.#a.toml")).unwrap();
    assert_eq!(check(""), (Some(0), String::new()));
    let (code, text) = check("[http]\nport = 1\n");
    assert_eq!(code, Some(1));
    assert!(text.contains("other.toml:2:1: unknown field `port`"), "{text}");
}

#[test]
fn a_state_file_that_cannot_be_used_is_moved_aside() {
    let mut node = Node::start("");
    node.kill();
    let state = node.folder.0.join("state/agents.json");
    for (rubbish, aside) in [("{rubbish", "json.unusable"), ("{more", "json.unusable-2")] {
        node::write(&state, rubbish);
        node.launch();
        node.until_logged(&format!("{aside}; totals of agents start from zero"));
        node.kill();
    }
    assert_eq!(std::fs::read_to_string(state.with_extension("json.unusable")).unwrap(), "{rubbish");
}

#[test]
fn a_state_folder_that_cannot_be_written_loses_nothing_in_this_boot() {
    let mut node = Node::start("");
    // In the place of the folder stands a file: no write to it can succeed.
    let state = node.folder.0.join("state");
    let _ = std::fs::remove_dir_all(&state);
    std::fs::write(&state, "").unwrap();
    let agent = Agent::builder("brief").socket(node.socket()).start();
    agent.begin().success();
    until("the agent is connected", || agent.is_connected());
    drop(agent);
    node.until_logged("until it can be, totals of agents are in ");
    let label = ["agent=\"brief\"", "success"];
    assert_eq!(node.metrics().sum("agent_requests_total", &label), Some(1.0));
    node.kill();
    node.launch();
    assert_eq!(node.metrics().sum("agent_requests_total", &label), Some(1.0), "after a kill");
    std::fs::remove_file(&state).unwrap();
    node.until_logged("agents.json is written again");
}

#[test]
fn supervised_agents_run_are_restarted_and_end_with_the_daemon() {
    let mut node = Node::start(
        "[agents.supervision]\nbackoff_initial = '10ms'\nbackoff_max = '20ms'\n\
         [[agent]]\nname = 'crasher'\ncommand = ['sh', '-c', 'echo going down; exit 3']\n\
         [[agent]]\nname = 'sleeper'\ncommand = ['sleep', '1000']\n\
         [[agent]]\nname = 'hopeless'\ncommand = ['false']\nstart_limit = 1\n\
         [[agent]]\nname = 'waiting'\ncommand = ['false']\nbackoff_initial = '1h'\nbackoff_max = '1h'\n",
    );
    until("the crasher has been restarted", || {
        node.metrics().sum("agent_restarts_total", &["crasher"]) >= Some(3.0)
    });
    node.until_logged("going down");
    let metrics = node.metrics();
    assert!(metrics.sum("agent_exits_total", &["crasher", "reason=\"error\""]) >= Some(3.0));
    assert_eq!(metrics.sum("agent_up", &["sleeper"]), Some(1.0));
    assert_eq!(metrics.sum("agent_processes", &["sleeper"]), Some(1.0));
    let (_, body) = node.get("/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    let sleeper = health["agents"]["sleeper"]["state"].as_str().unwrap();
    assert!(["starting", "healthy"].contains(&sleeper), "{sleeper}");
    // Who is lost for good is told apart from who waits.
    let supervision = |name: &str| {
        let (_, body) = node.get("/api/v1/agents").unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let all = body["agents"].as_array().unwrap();
        all.iter().find(|agent| agent["name"] == name).unwrap().clone()
    };
    for (name, state, reason) in
        [("hopeless", "failed", "given up: exit code 1"), ("waiting", "backoff", "exit code 1")]
    {
        until(name, || supervision(name)["supervision"]["state"] == state);
        let agent = supervision(name);
        assert_eq!((&agent["state"], &agent["reason"]), (&"lost".into(), &reason.into()));
        assert_eq!(agent["supervision"]["last_exit"]["reason"], "error");
    }
    assert!(supervision("sleeper")["supervision"]["pid"].is_u64());
    node.signal("TERM");
    assert_eq!(node.wait(), 0);
    node.until_logged("stopped agent=sleeper");
}

/// Told to end, with its agents, whatever becomes of the test.
struct Demo(std::process::Child);

impl Drop for Demo {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            node::send(self.0.id(), "TERM");
            let _ = self.0.wait();
        }
    }
}

#[test]
fn an_agent_has_its_limits_at_once_and_may_report_as_its_user() {
    let program = env!("CARGO_BIN_EXE_musterd");
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut folders = Path::new(program).ancestors();
    let is_for_all = folders.all(|path| std::fs::metadata(path).unwrap().mode() & 1 == 1);
    let (group, user) = if is_root && is_for_all {
        ("agents.socket_group = 'daemon'", "user = 'nobody'")
    } else {
        ("", "")
    };
    let script =
        format!("ulimit -Hn; {program} report --agent bounded --status success --seconds 1");
    let node = Node::start(&format!(
        "agents.supervision.backoff_initial = '10ms'\n{group}\n\
         [[agent]]\nname = 'bounded'\ncommand = ['sh', '-c', '{script}']\n{user}\n\
         limits = {{ open_files = 77 }}\n",
    ));
    node.until_logged("INFO 77 agent=bounded");
    let labels = ["agent=\"bounded\"", "status=\"success\""];
    until("it has reported", || node.metrics().sum("agent_requests_total", &labels) >= Some(1.0));
    assert!(!node.log().contains("may use its socket"), "{}", node.log());
}

#[test]
fn a_reload_starts_and_stops_agents_whatever_they_are_at() {
    let down = "[[agent]]\nname = 'late'\ncommand = ['sleep', '1000']\nautostart = false\n";
    let crasher = "[[agent]]\nname = 'crasher'\ncommand = ['sh', '-c', 'exit 3']\n\
                   backoff_initial = '60s'\nbackoff_max = '60s'\n";
    let node = Node::start(&format!("{down}{crasher}"));
    let state = |agent: &str, state: &str| {
        let labels = [&*format!("agent=\"{agent}\""), &*format!("state=\"{state}\"")];
        node.metrics().sum("agent_health_status", &labels)
    };
    until("the crasher is lost", || state("crasher", "lost") == Some(1.0));
    assert_eq!(node.metrics().sum("agent_processes", &["late"]), None);
    node.configure(&down.replace("false", "true"));
    node.signal("HUP");
    until("it is started", || node.metrics().sum("agent_processes", &["late"]) == Some(1.0));
    until("the crasher is stopped", || state("crasher", "stopped") == Some(1.0));
}

#[test]
fn the_demo_says_where_to_look_and_shows_its_agents() {
    let address = node::free_address();
    let folder = node::Folder::new();
    let mut demo = Demo(
        Command::new(env!("CARGO_BIN_EXE_musterd"))
            .args(["demo", "--listen", &address.to_string()])
            .env("TMPDIR", &folder.0)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    let lines: Vec<String> = BufReader::new(demo.0.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .take(4)
        .collect();
    assert!(lines.contains(&format!("metrics  http://{address}/metrics")), "{lines:?}");
    let fetch = || -> Option<String> {
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    until("all three report", || {
        let metrics = node::Metrics(fetch().unwrap_or_default());
        ["hasher", "solver", "worker"].iter().all(|agent| {
            let label = format!("agent=\"{agent}\"");
            metrics.sum("agent_requests_total", &[&label, "success"]) > Some(0.0)
        })
    });
    node::send(demo.0.id(), "TERM");
    assert!(demo.0.wait().unwrap().success());
}
