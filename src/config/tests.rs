//! Files read, put over one another, and refused with a place.

use super::*;

fn fault(text: &str) -> String {
    parse(&[("a.toml", text)]).err().map_or_else(String::new, |error| error.to_string())
}

#[test]
fn the_shipped_file_is_the_defaults_and_has_every_collector() {
    let defaults = parse(&[]).unwrap();
    let written = parse(&[("musterd.toml", DEFAULTS)]).unwrap();
    assert_eq!(defaults.sampling, written.sampling);
    assert_eq!(defaults.agents, written.agents);
    let planned: Vec<_> = defaults.collectors.iter().map(|plan| plan.name).collect();
    assert!(host::collectors().all(|entry| planned.contains(&entry.name)));
    assert!(defaults.definitions.is_empty());
}

#[test]
fn a_fault_is_named_with_its_place() {
    for (text, wanted) in [
        ("[http]\nlisten = []\nmax_conections = 5", "a.toml:3:1: unknown field `max_conections`"),
        ("[http\n", "a.toml:1:6: unclosed table"),
        ("[host.collectors.cpuu]\nenabled = true", "a.toml:1:18: no collector `cpuu`"),
        ("[host.collectors.diskstats]\ndevice_exclude = '(('", "a.toml:2:18: `((` is not"),
        ("[host.collectors.cpu]\ncolour = 1", "a.toml:2:1: unknown field `colour`"),
        ("[host]\ndeadline = 'soon'", "a.toml:2:12: \"soon\" is not a length of time"),
        ("[agents]\nledger_size = 'lots'", "a.toml:2:15: \"lots\" is not a size"),
        ("[agents]\nledger_size = '1B'", "a.toml:2:15: agents.ledger_size is 1 bytes"),
        ("[agents]\nsocket_mode = '0999'", "a.toml:2:15: \"0999\" is not a mode"),
        ("\n[http]\nmax_scrapes = 0", "a.toml:3:15: http.max_scrapes is 0"),
        ("[http]\nmax_connections = 0", "a.toml:2:19: http.max_connections is 0"),
        (
            "[http]\nlisten = ['[::1]:1', '127.0.0.1:1', '[0::1]:1']",
            "a.toml:2:10: http.listen has [::1]:1 twice",
        ),
        ("[http]\nidle_timeout = '0s'", "a.toml:2:16: http.idle_timeout is 0"),
        ("[health]\ncpu_degraded = 101", "a.toml:2:16: health.cpu_degraded is 101"),
        ("[agents]\nsocket = 'a.sock'", "a.toml:2:10: agents.socket is \"a.sock\", wanted a path"),
        (
            "[health]\nmemory_degraded = 99",
            "a.toml:2:19: health.memory_unhealthy is 98, wanted at least health.memory_degraded, 99",
        ),
        (
            "[agents]\nduration_schema = 9",
            "a.toml:2:19: agents.duration_schema is 9, wanted 0 to 5",
        ),
        (
            "[agents.health]\nrecover_below = 0.0",
            "a.toml:2:17: agents.health.recover_below is 0, wanted more",
        ),
        (
            "[agents.health]\nerror_rate_unhealthy = 0.01",
            "a.toml:2:24: agents.health.error_rate_unhealthy is 0.01, wanted at least",
        ),
        ("[agents.health.per_agent.'a b']\nmin_requests = 1", "a.toml:1:26: \"a b\" is no name"),
        ("[agents.health.per_agent]\na = 1", "a.toml:2:1: \"a\" is no table"),
        ("[agents.health]\nper_agent = 1", "a.toml:2:1: unknown field `per_agent`"),
        ("[agents.health.per_agent.'a-*']\nslow = '1s'", "a.toml:2:1: unknown field `slow`"),
        ("[agents.health.per_agent.a]\nslow_p95 = 1", "a.toml:2:12: invalid type: integer `1`"),
        (
            "[agents.health.per_agent.\"a.b\"]\nstuck_after = '0s'",
            "a.toml:2:15: agents.health.per_agent.\"a.b\".stuck_after is 0",
        ),
        ("[log]\nlevel = 'loud'", "a.toml:2:9: unknown variant `loud`"),
        ("[[agent]]\nname = 'a'\n", "a.toml:1:1: missing field `command`"),
        ("\n[[agent]]\nname = 'a b'\ncommand = ['x']", "a.toml:3:8: agent \"a b\""),
        ("[host.collectors]\ncpu = 3", "a.toml:2:7: host.collectors.cpu is no table, wanted [host"),
        ("processes = 3", "a.toml:1:13: processes is no table, wanted [processes]"),
        (
            "[[agents]]\nname = 'a'",
            "a.toml:1:1: agents is no table, wanted [agents]; an agent to run is an [[agent]]",
        ),
        ("\n[agent]\nname = 'a'", "a.toml:2:1: agent is no array of tables, wanted [[agent]]"),
        ("agent = ['a']", "a.toml:1:10: agent is no array of tables, wanted [[agent]]"),
        ("[http]\nlisten = { a = 1 }", "a.toml:2:10: invalid type: table, wanted an array"),
        (
            "[http]\nmax_scrapes = 'a'",
            "a.toml:2:15: invalid type: string \"a\", wanted a whole number",
        ),
        (
            "[[agent]]\nname = 'a'\ncommand = ['x']\nlimits = 3",
            "a.toml:4:10: limits is not as it should be, wanted a table",
        ),
    ] {
        assert!(fault(text).starts_with(wanted), "{text}\n  {}", fault(text));
    }
}

#[test]
fn what_an_agent_has_is_not_shown_in_a_fault() {
    for (line, wanted) in [
        (
            "environment = 'API_KEY=hush'",
            "4:15: environment is not as it should be, wanted a table",
        ),
        ("environment = ['hush']", "4:15: environment is not as it should be, wanted a table"),
        (
            "environment.API_KEY = ['hush']",
            "4:23: environment.API_KEY is not as it should be, wanted a string",
        ),
        ("directory = { hush = 'hush' }", "4:13: directory is not as it should be, wanted a path"),
        (
            "restart = 'hush'",
            "4:11: restart is not as it should be, wanted one of `always`, `on-failure`, `never`",
        ),
        (
            "stop_grace = 'hush'",
            "4:14: stop_grace is not as it should be, wanted a length of time such as \"2s\" or \"250ms\"",
        ),
        (
            "stop_grace = 'hush, expected hush\" is not hush: hush'",
            "4:14: stop_grace is not as it should be, wanted a length of time such as \"2s\" or \"250ms\"",
        ),
        (
            "limits.address_space = 'hush'",
            "4:24: limits.address_space is not as it should be, wanted a size such as \"256KiB\"",
        ),
        (
            "limits.open_files = -1",
            "4:21: limits.open_files is not as it should be, wanted a whole number, not below 0",
        ),
    ] {
        let text = format!("[[agent]]\nname = 'a'\ncommand = ['x']\n{line}");
        assert_eq!(fault(&text), format!("a.toml:{wanted}"));
    }
    let command = fault("[[agent]]\nname = 'a'\ncommand = '--key=hush'");
    assert_eq!(command, "a.toml:3:11: command is not as it should be, wanted an array");
}

#[test]
fn supervision_is_judged_without_agents_and_each_fault_has_its_own_place() {
    let agent = |more: &str| format!("[[agent]]\nname = 'a'\ncommand = ['x']\n{more}");
    let defaults = "[agents.supervision]\nstop_grace = '0s'";
    let wanted = "2:14: agents.supervision.stop_grace is \"0s\", wanted more than 0s";
    for text in [defaults.to_owned(), format!("{defaults}\n{}", agent(""))] {
        assert!(fault(&text).starts_with(&format!("a.toml:{wanted}")), "{}", fault(&text));
    }
    // It is the file's that has it, not that of the agent.
    let error = parse(&[("a", &agent("")), ("b", defaults)]).err().unwrap().to_string();
    assert!(error.starts_with(&format!("b:{wanted}")), "{error}");
    let low = "[agents.supervision]\nbackoff_initial = '2m'";
    let wanted = "a.toml:2:19: agents.supervision.backoff_max is \"1m\", wanted at least";
    assert!(fault(low).starts_with(wanted), "{}", fault(low));

    for (line, column) in [
        ("start_limit = 1001", 15),
        ("backoff_initial = '2m'", 19),
        ("environment = { 'A=B' = '1' }", 15),
        ("directory = 'name'", 13),
    ] {
        let found = fault(&agent(line));
        assert!(found.starts_with(&format!("a.toml:4:{column}: agent \"a\": ")), "{found}");
    }
    // An agent that does not agree with the defaults of a later file.
    let slow = agent("backoff_initial = '10s'");
    let quick = "[agents.supervision]\nbackoff_initial = '1s'\nbackoff_max = '2s'";
    let error = parse(&[("a", &slow), ("b", quick)]).err().unwrap().to_string();
    assert!(error.starts_with("b:3:15: agent \"a\": backoff_max is \"2s\""), "{error}");
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = std::env::temp_dir().join(format!("musterd-config-{}", std::process::id()));
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    let (main, pipe) = (folder.join("musterd.toml"), folder.join("conf.d/a.toml"));
    fs::write(&main, "").unwrap();
    assert!(load(Some(&main)).is_ok());
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(load(Some(&main)).err()));
    let error = receive.recv_timeout(Duration::from_secs(20));
    fs::remove_dir_all(&folder).unwrap();
    let wanted =
        format!("{}: not a regular file; put one in its place, or remove it", pipe.display());
    assert_eq!(error.unwrap().unwrap().to_string(), wanted);
}

#[test]
fn an_agent_has_the_health_of_the_closest_name() {
    let first = "[agents.health]\nmin_requests = 7\n\
                 [agents.health.per_agent.'etl-*']\nslow_p95 = '9s'\nmin_requests = 3";
    let second = "[agents.health.per_agent]\n'etl-n*'.slow_p95 = '8s'\netl-n.slow_p95 = '7s'\n\
                  'etl-*'.min_requests = 4";
    let agents = parse(&[("a", first), ("b", second)]).unwrap().agents;
    let of = |name| {
        let health = agents.health_of(name);
        (health.slow_p95.as_secs(), health.min_requests)
    };
    let found = ["other", "etl-a", "etl-north", "etl-n"].map(of);
    assert_eq!(found, [(0, 7), (9, 4), (8, 7), (7, 7)]);
    assert_eq!(agents.health_of("etl-a").stuck_after, agents.health.stuck_after);
}

#[test]
fn files_are_put_over_one_another() {
    let first = "[http]\nmax_scrapes = 3\nmax_connections = 7\n\
                 [[agent]]\nname = 'a'\ncommand = ['x']\n\
                 [host.collectors.cpu]\nenabled = false";
    let second = "[http]\nmax_scrapes = 4\n[[agent]]\nname = 'b'\ncommand = ['y']";
    let config = parse(&[("a", first), ("b", second)]).unwrap();
    assert_eq!((config.http.max_scrapes, config.http.max_connections), (4, 7));
    let names: Vec<_> = config.definitions.iter().map(|agent| &*agent.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(!config.collectors.iter().any(|plan| plan.name == "cpu" && plan.enabled));
    // The same agent twice is a fault of neither file alone.
    let error = parse(&[("a", first), ("b", first)]).err().unwrap();
    assert_eq!(error.to_string(), "b:4:1: a second [[agent]] named \"a\"");
}

#[test]
fn values_of_several_files_are_judged_together() {
    let unhealthy = "[agents.health]\nerror_rate_unhealthy = 0.9";
    let degraded = "[http]\n[agents.health]\nerror_rate_degraded = 0.7";
    let health = parse(&[("a", unhealthy), ("b", degraded)]).unwrap().agents.health;
    assert_eq!((health.error_rate_degraded, health.error_rate_unhealthy), (0.7, 0.9));
    // The place is that of what the file has, of two values that do not agree.
    let wanted = "a.toml:3:23: agents.health.error_rate_unhealthy is 0.5, wanted at least";
    assert!(fault(degraded).starts_with(wanted), "{}", fault(degraded));
    let memory = "[agents]\nmax_ledger_memory = '1MiB'";
    let size = "\n\n[agents]\nledger_size = '4MiB'";
    for (files, wanted) in [
        ([("a", size), ("b", memory)], "b:2:21: agents.max_ledger_memory is 1048576 bytes"),
        ([("a", memory), ("b", size)], "b:4:15: agents.max_ledger_memory is 1048576 bytes"),
    ] {
        let error = parse(&files).err().unwrap().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    // Of what neither file says at that place there is none.
    let per_agent = "[agents.health.per_agent.a]\nerror_rate_degraded = 0.4";
    let lowered = "[agents.health]\nerror_rate_degraded = 0.1\nerror_rate_unhealthy = 0.2";
    let error = parse(&[("a", per_agent), ("b", lowered)]).err().unwrap().to_string();
    let wanted = "b: agents.health.per_agent.\"a\".error_rate_unhealthy is 0.2, wanted at least";
    assert!(error.starts_with(wanted), "{error}");
}

#[test]
fn moved_lines_are_no_change_of_sampling_and_other_values_are() {
    let sampling = |text| parse(&[("a", text)]).unwrap().sampling;
    let one = "[host]\ndeadline = '3s'";
    assert_eq!(sampling(one), sampling("# a comment\n\n[host]\n deadline = '3s'"));
    assert_ne!(sampling(one), sampling("[host]\ndeadline = '4s'"));
    assert_ne!(sampling(""), sampling("[host.collectors.uname]\nenabled = false"));
}
