//! Lines on the agent socket of a real daemon: by hand, in batches, across kills, and rubbish.
//! `MUSTERD_KILLS` sets how often the daemon is killed (20).
#![allow(clippy::unwrap_used)] // A test.

mod node;

use node::{Node, PATIENCE, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A program that sends lines.
struct Sender {
    stream: BufReader<UnixStream>,
}

impl Sender {
    /// Connects and says hello; the number of the last line that counts already.
    fn greet(socket: &Path, hello: &str) -> Option<(Self, u64)> {
        let stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut sender = Self { stream: BufReader::new(stream) };
        sender.say(&format!("{hello}\n"))?;
        let answer = sender.hear()?;
        assert_eq!(answer.get("ok"), Some(&true.into()), "{answer}");
        Some((sender, answer.get("applied")?.as_u64()?))
    }

    fn say(&mut self, text: &str) -> Option<()> {
        self.stream.get_mut().write_all(text.as_bytes()).ok()
    }

    fn hear(&mut self) -> Option<serde_json::Value> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).ok()?;
        (length > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Waits for everything up to a number to be acknowledged; `None` when the daemon has gone.
    fn until_acknowledged(&mut self, seq: u64) -> Option<()> {
        while self.hear()?.get("ack")?.as_u64()? < seq {}
        Some(())
    }
}

/// As socat does it: everything at once, then the end, then whatever is answered.
fn by_hand(node: &Node, text: &str) -> Vec<serde_json::Value> {
    let mut stream = UnixStream::connect(node.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn requests(node: &Node, agent: &str, status: &str) -> Option<f64> {
    let labels = [format!("agent=\"{agent}\""), format!("status=\"{status}\"")];
    node.metrics().sum("agent_requests_total", &[&labels[0], &labels[1]])
}

#[test]
fn the_last_line_may_lack_its_line_feed_and_half_a_line_is_refused() {
    let node = Node::start("");
    let hello = "{\"musterd\":1,\"agent\":\"last\",\"mode\":\"lines\"";
    let line = "{\"event\":\"end\",\"status\":\"success\",\"seconds\":1,\"seq\":1}";
    let send = |session: &str, text: &str| by_hand(&node, &format!("{hello}{session}}}\n{text}"));
    assert_eq!(send("", line).get(1).unwrap()["ack"], 1);
    let half = line.strip_suffix("1}").unwrap();
    assert!(send("", half).get(1).unwrap()["error"].is_string());
    // One that may come once more, and does.
    let session = ",\"session\":\"s\"";
    assert_eq!(send(session, half).len(), 1);
    assert_eq!(send(session, line).get(1).unwrap()["ack"], 1);
    assert_eq!(requests(&node, "last", "success"), Some(2.0));
    assert_eq!(node.metrics().sum("musterd_refused_total", &["lines", "malformed"]), Some(1.0));
}

#[test]
fn lines_may_be_sent_by_hand() {
    let node = Node::start("");
    let text = "{\"musterd\":1,\"agent\":\"backup\",\"mode\":\"lines\"}\n\
                {\"event\":\"end\",\"status\":\"success\",\"seconds\":1.5}\n\
                {\"event\":\"end\",\"status\":\"error\",\"category\":\"disk_full\",\"seconds\":2}\n\
                {\"event\":\"end\",\"status\":\"error\",\"secs\":2}\n\
                {\"event\":\"count\",\"name\":\"agent_tokens_total\",\
                \"labels\":{\"model\":\"small\",\"type\":\"input\"},\"value\":12}\n";
    let answers = by_hand(&node, text);
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(answers[0]["mode"], "lines");
    assert!(answers[1]["error"].as_str().unwrap().contains("unknown field `secs`"), "{answers:?}");
    until("it has ended on purpose", || {
        node.metrics().sum("agent_health_status", &["backup", "\"stopped\""]) == Some(1.0)
    });
    let metrics = node.metrics();
    let value = |family: &str, part: &str| metrics.sum(family, &["agent=\"backup\"", part]);
    assert_eq!(value("agent_requests_total", "success"), Some(1.0));
    assert_eq!(value("agent_errors_total", "disk_full"), Some(1.0));
    assert_eq!(value("agent_request_duration_seconds_sum", ""), Some(3.5));
    assert_eq!(value("agent_tokens_total", "small"), Some(12.0));
    assert_eq!(metrics.sum("musterd_refused_total", &["\"lines\"", "\"malformed\""]), Some(1.0));
    node.until_logged("line refused");
    until("nothing is left of its ledger", || {
        std::fs::read_dir(node.folder.0.join("run/lines")).unwrap().count() == 0
    });
}

#[test]
fn a_program_that_reads_no_answer_loses_no_line() {
    let node = Node::start("");
    let mut stream = UnixStream::connect(node.socket()).unwrap();
    let end = "{\"event\":\"end\",\"status\":\"success\",\"seconds\":1}";
    let hello = "{\"musterd\":1,\"agent\":\"deaf\",\"mode\":\"lines\"}";
    stream.write_all(format!("{hello}\n{end}\n").as_bytes()).unwrap();
    until("its first line counts", || requests(&node, "deaf", "success") == Some(1.0));
    // The welcome waits to be read: that the connection ends is an error then.
    stream.write_all(end.as_bytes()).unwrap();
    drop(stream);
    until("the last one counts", || requests(&node, "deaf", "success") == Some(2.0));
}

#[test]
fn a_batch_is_acknowledged_as_one_and_counts_once_however_often_it_is_sent() {
    let node = Node::start("");
    let hello = "{\"musterd\":1,\"agent\":\"a\",\"mode\":\"lines\",\"session\":\"s\"}";
    let batch = |from: u64| {
        let lines = (from..from + 100).map(|seq| {
            format!("{{\"seq\":{seq},\"event\":\"end\",\"status\":\"success\",\"seconds\":1}}\n")
        });
        lines.collect::<String>()
    };
    let (mut sender, applied) = Sender::greet(&node.socket(), hello).unwrap();
    assert_eq!(applied, 0);
    sender.say(&batch(1)).unwrap();
    sender.until_acknowledged(100).unwrap();
    sender.say(&batch(1)).unwrap();
    sender.say(&batch(51)).unwrap();
    sender.until_acknowledged(150).unwrap();
    assert_eq!(requests(&node, "a", "success"), Some(150.0));
    // The same by another connection of the same process, which the first one then has lost.
    let (mut again, applied) = Sender::greet(&node.socket(), hello).unwrap();
    assert_eq!(applied, 150);
    again.say(&batch(101)).unwrap();
    again.until_acknowledged(200).unwrap();
    sender.say(&batch(1000)).unwrap();
    let told = std::iter::from_fn(|| sender.hear()).last().unwrap();
    assert!(told["error"].as_str().unwrap().contains("another connection"), "{told}");
    assert_eq!(requests(&node, "a", "success"), Some(200.0));
    // And when the program has said that it ends, and is started anew.
    again.say("{\"seq\":201,\"event\":\"close\"}\n").unwrap();
    again.until_acknowledged(201).unwrap();
    drop(again);
    until("its ledger is retired", || node.metrics().sum("agent_up", &["\"a\""]) == Some(0.0));
    let (mut next, applied) = Sender::greet(&node.socket(), hello).unwrap();
    assert_eq!(applied, 201);
    next.say(&batch(150)).unwrap();
    next.until_acknowledged(249).unwrap();
    assert_eq!(requests(&node, "a", "success"), Some(248.0));
}

#[test]
fn requests_in_flight_are_aborted_with_their_program() {
    let node = Node::start("");
    let hello = "{\"musterd\":1,\"agent\":\"a\",\"mode\":\"lines\"}\n";
    let begin = |id: &str| format!("{{\"event\":\"begin\",\"id\":\"{id}\"}}\n");
    let end = |id: &str| format!("{{\"event\":\"end\",\"id\":\"{id}\",\"status\":\"success\"}}\n");
    let text = [hello.to_owned(), begin("1"), begin("2"), end("1"), end("3"), begin("2")].concat();
    let answers = by_hand(&node, &text);
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert!(answers[1]["error"].as_str().unwrap().contains("no request \"3\" is in flight"));
    until("the one is aborted", || requests(&node, "a", "aborted") == Some(1.0));
    assert_eq!(requests(&node, "a", "success"), Some(1.0));
    assert_eq!(node.metrics().sum("agent_health_status", &["\"a\"", "\"lost\""]), Some(1.0));
}

fn kills() -> usize {
    std::env::var("MUSTERD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20)
}

/// A program that goes on through every kill: it resends what was not acknowledged.
#[test]
fn killing_the_daemon_loses_and_doubles_no_line() {
    const LINES: u64 = 2000;
    let mut node = Node::start("");
    let hello = "{\"musterd\":1,\"agent\":\"a\",\"mode\":\"lines\",\"session\":\"s\"}";
    let (mut sender, mut acknowledged) = Sender::greet(&node.socket(), hello).unwrap();
    let mut resent = 0;
    // Every third line begins a request that the next one ends.
    let line = |seq: u64| match seq % 3 {
        0 => format!("{{\"seq\":{seq},\"event\":\"begin\",\"id\":\"r\"}}\n"),
        1 if seq > 1 => {
            format!("{{\"seq\":{seq},\"event\":\"end\",\"id\":\"r\",\"status\":\"success\"}}\n")
        }
        _ => format!("{{\"seq\":{seq},\"event\":\"end\",\"status\":\"error\",\"seconds\":0.5}}\n"),
    };
    let mut last = 0;
    for kill in 0..kills() {
        let batch: String = (last + 1..=last + LINES).map(line).collect();
        last += LINES;
        // Killed at another moment each time: before, while, and after the batch is taken in.
        let killer = std::thread::spawn({
            let pid = node.pid();
            move || {
                std::thread::sleep(std::time::Duration::from_micros(411 * (kill as u64 % 23)));
                node::send(pid, "KILL");
            }
        });
        if sender.say(&batch).is_some()
            && let Some(()) = sender.until_acknowledged(last)
        {
            acknowledged = last;
        }
        killer.join().unwrap();
        node.wait();
        node.launch();
        let applied;
        (sender, applied) = Sender::greet(&node.socket(), hello).unwrap();
        assert!(applied >= acknowledged, "{applied} is in the ledger, {acknowledged} acknowledged");
        resent += last - applied;
        let rest: String = (applied.saturating_sub(5).max(1)..=last).map(line).collect();
        sender.say(&rest).unwrap();
        sender.until_acknowledged(last).unwrap();
        acknowledged = last;
    }
    let flying = u64::from(last % 3 == 0);
    let begun = last / 3;
    println!("{} kills, {last} lines, {resent} of them sent again", kills());
    let metrics = node.metrics();
    let value = |family: &str, part: &str| metrics.sum(family, &["agent=\"a\"", part]);
    assert_eq!(value("agent_requests_total", "success"), Some((begun - flying) as f64));
    assert_eq!(value("agent_requests_in_flight", ""), Some(flying as f64));
    assert_eq!(value("agent_requests_total", "aborted"), Some(0.0));
    assert_eq!(value("agent_errors_total", "other"), Some((last - begun - begun + flying) as f64));
    assert_eq!(metrics.sum("musterd_refused_total", &["\"lines\""]), None);
}

#[test]
fn rubbish_is_refused_counted_and_disturbs_nobody() {
    let node = Node::start("");
    let hello = "{\"musterd\":1,\"agent\":\"steady\",\"mode\":\"lines\",\"session\":\"s\"}";
    let (mut steady, _) = Sender::greet(&node.socket(), hello).unwrap();
    let hostile = "{\"musterd\":1,\"agent\":\"b\",\"mode\":\"lines\"}\n";
    for (text, reason) in [
        ("x".repeat(5000), "oversized"),
        ("\n".repeat(3000), "malformed"),
        (format!("{{\"labels\":{}\n", "[".repeat(4000)), "malformed"),
        (
            "{\"event\":\"end\",\"id\":\"0\",\"status\":\"success\"}\n".repeat(30_000),
            "not_in_flight",
        ),
        (
            (0..3000).fold(String::new(), |text, number| {
                text + &format!("{{\"event\":\"set\",\"name\":\"x{number}\",\"value\":1}}\n")
            }),
            "no_room",
        ),
    ] {
        // Nothing of what is answered is read before all has been said.
        by_hand(&node, &format!("{hostile}{text}"));
        let label = format!("reason=\"{reason}\"");
        until(reason, || {
            node.metrics().sum("musterd_refused_total", &["\"lines\"", &label]).is_some()
        });
    }
    for bad in [
        "{\"musterd\":1,\"agent\":\"b\",\"mode\":\"x\"}\n",
        "{\"musterd\":1,\"agent\":\"b\",\"session\":\"x\"}\n",
    ] {
        assert_eq!(by_hand(&node, bad)[0]["ok"], false);
    }
    steady.say("{\"seq\":1,\"event\":\"end\",\"status\":\"success\",\"seconds\":1}\n").unwrap();
    steady.until_acknowledged(1).unwrap();
    assert_eq!(requests(&node, "steady", "success"), Some(1.0));
}
