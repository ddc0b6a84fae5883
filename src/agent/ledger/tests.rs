use super::super::sample::{Desk, Pen, counter, described, durations, gauge, record};
use super::*;
use musterd_client::layout::MAGIC;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::os::fd::OwnedFd;

fn ledger() -> (Ledger, OwnedFd, Pen) {
    let (ledger, file) = Ledger::create("test", 64 << 10, 100).unwrap();
    let pen = Pen::on(&file);
    (ledger, file, pen)
}

fn read(ledger: &mut Ledger) -> Desk {
    let mut desk = Desk::new();
    desk.read(&mut [ledger]);
    desk
}

#[test]
fn a_ledger_is_sealed_and_empty() {
    let (mut ledger, file, _) = ledger();
    assert!(ftruncate(&file, 0).is_err());
    assert!(ftruncate(&file, 1 << 20).is_err());
    let desk = read(&mut ledger);
    assert_eq!((desk.totals, desk.series.len()), (Totals::default(), 0));
    assert_eq!(ledger.activity(), Activity::default());
}

#[test]
fn what_an_agent_writes_is_read() {
    let (mut ledger, _, pen) = ledger();
    pen.requests("success", 7);
    pen.0.store(pen.append(&counter(names::ERRORS, &[("category", "net")])), 2);
    let tokens = counter(names::TOKENS, &[("type", "input"), ("model", "m")]);
    pen.0.store(pen.append(&tokens), 5);
    let values = pen.append(&durations());
    pen.0.store(values, 1.5_f64.to_bits());
    pen.0.store(values + 8 * 2, 3);
    pen.0.store(values + 8 * 274, 3);
    pen.begin(5, 99);
    pen.begin(127, 98);
    pen.0.store(header::UNSLOTTED_BEGUN, 3);
    pen.0.store(header::UNSLOTTED_ENDED, 2);
    pen.0.store(header::HEARTBEAT, 100);
    let desk = read(&mut ledger);
    assert_eq!(desk.totals.requests, [7, 0, 0, 0, 0]);
    let shown = desk.shown();
    assert!(shown.contains("agent_errors_total{agent=\"a\",category=\"net\"} 2\n"), "{shown}");
    let tokens = "agent_tokens_total{agent=\"a\",model=\"m\",type=\"input\"} 5\n";
    assert!(shown.contains(tokens), "{shown}");
    let durations = desk.totals.durations.unwrap();
    assert_eq!((durations.sum.value(), durations.native[0], durations.count()), (1.5, 3, 3));
    let expected = Activity { in_flight: 3, oldest_begun: Some(98), heartbeat: Some(100) };
    assert_eq!(ledger.activity(), expected);
    assert_eq!(ledger.faults(), Faults::default());
}

#[test]
fn other_bounds_of_durations_leave_those_that_are_built_in() {
    let mut desk = Desk::new();
    let (mut usual, _, pen) = ledger();
    pen.0.store(pen.append(&durations()) + 8 * 2, 3);
    let (mut odd, _, other) = ledger();
    other.requests("success", 5);
    let shape = Shape { bounds: vec![0.5, 1.0], ..Shape::durations() };
    other.append(&record(3, names::DURATION, &[], Some(&shape)));
    for _ in 0..2 {
        desk.read(&mut [&mut odd, &mut usual]);
        assert_eq!(desk.totals.requests, [5, 0, 0, 0, 0]);
        assert_eq!(desk.totals.durations.as_ref().unwrap().shape.bounds, DURATION_BOUNDS);
    }
    assert_eq!((odd.faults().of(Fault::Conflict), usual.faults()), (1, Faults::default()));
    let complaints = desk.series.complaints();
    assert_eq!(complaints.get(names::DURATION), Some(&"conflict"), "{complaints:?}");
}

#[test]
fn what_an_agent_declares_is_exported_as_declared() {
    let (mut ledger, _, pen) = ledger();
    let labels = [("queue", "b\"x"), ("empty", ""), ("kind", "mail")];
    let told = ["Bytes\nsent.", "bytes"];
    pen.0.store(pen.append(&described(1, "x_sent_bytes_total", &labels, None, told)), 7);
    let fractions = described(4, "x_cost_euros_total", &[], None, ["", "euros"]);
    pen.0.store(pen.append(&fractions), 2.5_f64.to_bits());
    pen.0.store(pen.append(&gauge("x_depth", &[])), (-3.0_f64).to_bits());
    pen.append(&gauge("x_unset", &[]));
    pen.0.store(pen.append(&gauge("x_unknown", &[])), f64::NAN.to_bits());
    let shape = Shape { native_count: 1, bounds: vec![0.5], ..Shape::calls() };
    let wait = described(3, "x_wait_seconds", &[("kind", "mail")], Some(&shape), ["", "seconds"]);
    let values = pen.append(&wait);
    for (place, word) in [1.25_f64.to_bits(), 0, 3, 2, 1].into_iter().enumerate() {
        pen.0.store(values + 8 * place, word);
    }
    let wanted = r#"# HELP x_sent_bytes Bytes\nsent.
# TYPE x_sent_bytes counter
# UNIT x_sent_bytes bytes
x_sent_bytes_total{agent="a",kind="mail",queue="b\"x"} 7
# HELP x_cost_euros 
# TYPE x_cost_euros counter
# UNIT x_cost_euros euros
x_cost_euros_total{agent="a"} 2.5
# HELP x_depth 
# TYPE x_depth gauge
x_depth{agent="a"} -3
# HELP x_unset 
# TYPE x_unset gauge
x_unset{agent="a"} 0
# HELP x_wait_seconds 
# TYPE x_wait_seconds histogram
# UNIT x_wait_seconds seconds
x_wait_seconds_bucket{agent="a",kind="mail",le="0.5"} 2
x_wait_seconds_bucket{agent="a",kind="mail",le="+Inf"} 3
x_wait_seconds_sum{agent="a",kind="mail"} 1.25
x_wait_seconds_count{agent="a",kind="mail"} 3
# EOF
"#;
    assert_eq!(read(&mut ledger).shown(), wanted);
    assert_eq!(ledger.faults(), Faults::default());
}

#[test]
fn what_the_classic_part_tells_of_is_looked_for_until_it_is_found() {
    let (mut ledger, _, pen) = ledger();
    let values = pen.append(&durations());
    let add = |word: usize, more: u64| {
        let at = values + 8 * word;
        pen.0.store(at, pen.0.load(at) + more);
    };
    let (native, classic) = (2, 274);
    let mut desk = Desk::new();
    let mut read = |wanted: &[(usize, u64)], count: u64| {
        desk.read(&mut [&mut ledger]);
        let durations = desk.totals.durations.as_ref().unwrap();
        let seen = durations.native.iter().copied().enumerate().filter(|(_, seen)| *seen > 0);
        assert_eq!(seen.collect::<Vec<_>>(), wanted);
        assert_eq!(durations.count(), count);
    };
    add(native + 7, 1);
    read(&[], 0);
    add(classic + 1, 1);
    read(&[(7, 1)], 1);
    // The classic part may be seen first.
    add(classic, 2);
    read(&[(7, 1)], 3);
    add(native + 9, 2);
    read(&[(7, 1), (9, 2)], 3);
    // What is ahead of the classic part is found when that comes.
    add(native + 3, 1);
    add(native + 250, 4);
    add(classic + 2, 1);
    read(&[(3, 1), (7, 1), (9, 2)], 4);
    add(classic + 15, 4);
    read(&[(3, 1), (7, 1), (9, 2), (250, 4)], 8);
    // What is found too early is told of later, and nothing more is looked for then.
    add(native + 40, 5);
    add(classic + 5, 1);
    read(&[(3, 1), (7, 1), (9, 2), (40, 5), (250, 4)], 9);
    add(classic + 5, 4);
    add(native + 41, 1);
    read(&[(3, 1), (7, 1), (9, 2), (40, 5), (250, 4)], 13);
    add(classic + 5, 1);
    read(&[(3, 1), (7, 1), (9, 2), (40, 5), (41, 1), (250, 4)], 14);
}

#[test]
fn an_interrupted_update_is_completed_once() {
    let (mut ledger, file, pen) = ledger();
    let success = pen.requests("success", 7);
    pen.begin(0, 50);
    pen.begin(1, 60);
    pen.journal(&[(SLOTS, 0), (success, 8)]);
    // As if the agent had got as far as the first store.
    pen.0.store(SLOTS, 0);
    let mut desk = read(&mut ledger);
    assert_eq!(desk.totals.requests[0], 7);
    desk.retire(ledger);
    assert_eq!((desk.totals.requests, desk.retired.requests), ([8, 0, 0, 0, 1], [8, 0, 0, 0, 1]));
    let error = Ledger::adopt(&file, 1 << 20, 50).unwrap_err();
    assert!(error.to_string().contains("retired"), "{error}");
}

#[test]
fn a_journal_may_not_reach_outside_of_values_and_slots() {
    let (ledger, _, pen) = ledger();
    let values = pen.requests("success", 7);
    let refused = pen.append(&counter("refused", &[]));
    let wild = [
        header::MAGIC,
        header::RETIRED,
        RECORDS,
        1 << 40,
        3,
        header::JOURNAL_COUNT,
        values + 8,
        refused + 8,
    ];
    let good = [values, refused];
    pen.journal(&[&wild[..], &good].concat().iter().map(|at| (*at, 77)).collect::<Vec<_>>());
    let mut desk = Desk::new();
    let faults = desk.retire(ledger);
    assert_eq!(faults.of(Fault::Malformed), 8);
    assert_eq!(desk.totals.requests[0], 77);
    assert_eq!(pen.0.load(header::MAGIC), u64::from_le_bytes(MAGIC));
}

#[test]
fn values_that_go_back_are_held() {
    let (mut ledger, _, pen) = ledger();
    let success = pen.requests("success", 7);
    let values = pen.append(&durations());
    pen.0.store(values, 2.0_f64.to_bits());
    let own = pen.append(&counter("own_total", &[]));
    pen.0.store(own, 5);
    let fractions = pen.append(&record(4, "fractions_total", &[], None));
    pen.0.store(fractions, 5.5_f64.to_bits());
    let mut desk = read(&mut ledger);
    let shown = desk.shown();
    pen.0.store(success, 3);
    pen.0.store(own, 4);
    for sum in [1.0, f64::NAN, f64::NEG_INFINITY, f64::INFINITY, -0.0] {
        pen.0.store(values, sum.to_bits());
        pen.0.store(fractions, sum.to_bits());
        desk.read(&mut [&mut ledger]);
        assert_eq!(desk.totals.requests[0], 7);
        assert_eq!(desk.totals.durations.as_ref().unwrap().sum.value(), 2.0);
        assert_eq!(desk.shown(), shown);
    }
}

#[test]
fn what_has_not_changed_is_not_added_again() {
    let (mut ledger, _, pen) = ledger();
    pen.requests("success", 7);
    let values = pen.append(&durations());
    pen.0.store(values, 2.0_f64.to_bits());
    pen.0.store(values + 8 * 5, 1);
    pen.0.store(values + 8 * 280, 1);
    let mut desk = read(&mut ledger);
    let before = desk.totals.clone();
    desk.read(&mut [&mut ledger]);
    assert_eq!(desk.totals, before);
    // An observation of 0 leaves the sum as it is.
    pen.0.store(values + 8, 1);
    pen.0.store(values + 8 * 274, 1);
    desk.read(&mut [&mut ledger]);
    let durations = desk.totals.durations.unwrap();
    assert_eq!((durations.zero, durations.count(), durations.sum.value()), (1, 2, 2.0));
}

#[test]
fn what_is_missing_in_exponential_buckets_is_looked_for_a_few_times_and_at_the_end() {
    let (mut ledger, _, pen) = ledger();
    let values = pen.append(&durations());
    let found = |desk: &Desk| desk.totals.durations.as_ref().unwrap().native.iter().sum::<u64>();
    let mut desk = Desk::new();
    let [native, classic] = [5, 280].map(|word| values + 8 * word);
    pen.0.store(classic, 1);
    desk.read(&mut [&mut ledger]);
    desk.read(&mut [&mut ledger]);
    pen.0.store(native, 1);
    desk.read(&mut [&mut ledger]);
    assert_eq!(found(&desk), 1, "it came late");
    pen.0.store(classic, 2);
    for _ in 0..4 {
        desk.read(&mut [&mut ledger]);
    }
    pen.0.store(native, 2);
    desk.read(&mut [&mut ledger]);
    assert_eq!(found(&desk), 1, "it is not looked for any more");
    pen.0.store(classic, 3);
    pen.0.store(native, 3);
    desk.read(&mut [&mut ledger]);
    assert_eq!(found(&desk), 3, "what comes after it is");
    pen.0.store(classic, 4);
    for _ in 0..4 {
        desk.read(&mut [&mut ledger]);
    }
    pen.0.store(native, 4);
    desk.retire(ledger);
    assert_eq!(found(&desk), 4);
    let retired = desk.retired.durations.unwrap();
    assert_eq!((retired.native[3], retired.count()), (4, 4));
}

#[test]
fn what_does_not_belong_is_counted_by_its_reason() {
    let (mut ledger, _, pen) = ledger();
    pen.requests("success", 1);
    pen.requests("success", 1);
    pen.requests("aborted", 1);
    pen.append(&counter("my_own", &[]));
    pen.append(&counter("agent_own_total", &[]));
    pen.append(&gauge("x", &[]));
    pen.append(&counter("x_total", &[]));
    pen.append(&gauge("x", &[("empty", "")]));
    pen.append(&record(2, names::REQUESTS, &[("status", "error")], None));
    pen.append(&gauge("long", &[("a", &"x".repeat(65))]));
    for index in 0..60 {
        pen.append(&counter(names::ERRORS, &[("category", &format!("c{index}"))]));
    }
    let desk = read(&mut ledger);
    assert_eq!(desk.totals.requests[0], 1);
    let mut expected = Faults::default();
    for (fault, count) in [
        (Fault::Duplicate, 2),
        (Fault::Unknown, 3),
        (Fault::Invalid, 1),
        (Fault::Conflict, 1),
        (Fault::LabelValue, 1),
        (Fault::OverLimit, 11),
    ] {
        expected.add(fault, count);
    }
    assert_eq!(ledger.faults(), expected);
    assert_eq!(desk.series.complaints()["my_own"], "invalid");
    assert_eq!(desk.series.complaints()["x_total"], "conflict");
}

#[test]
fn records_are_bounded() {
    let (mut ledger, _, pen) = ledger();
    for index in 0..105 {
        pen.0.store(pen.append(&counter(names::ERRORS, &[("category", &format!("c{index}"))])), 1);
    }
    let desk = read(&mut ledger);
    // 50 as they are, 50 in one, and then no more are looked at.
    assert_eq!(ledger.faults().of(Fault::OverLimit), 51);
    assert!(desk.shown().contains("category=\"overflow\"} 50\n"), "{}", desk.shown());
}

#[test]
fn wild_lengths_end_the_reading_and_nothing_else() {
    for size in [0_u32, 8, 39, 41, 1 << 20, u32::MAX] {
        let (mut ledger, _, pen) = ledger();
        pen.requests("success", 4);
        let mut wild = counter(names::ERRORS, &[("category", "x")]);
        wild.0[..4].copy_from_slice(&size.to_le_bytes());
        pen.append(&wild);
        let mut desk = read(&mut ledger);
        assert_eq!(desk.totals.requests[0], 4, "size {size}");
        assert_eq!(ledger.faults().of(Fault::Malformed), 1, "size {size}");
        pen.0.store(header::RECORDS_END, u64::MAX);
        desk.read(&mut [&mut ledger]);
        assert_eq!(desk.totals.requests[0], 4, "size {size}");
    }
    for end in [0, 8, 1537, 1 << 40, u64::MAX] {
        let (mut ledger, _, pen) = ledger();
        pen.0.store(header::RECORDS_END, end);
        read(&mut ledger);
        assert_eq!(ledger.faults().of(Fault::Malformed), 1, "end {end}");
    }
}

#[test]
fn rubbish_is_not_a_ledger() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("rubbish", flags).unwrap();
    ftruncate(&file, 8192).unwrap();
    assert!(Ledger::adopt(&file, 1 << 20, 50).is_err());
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    let error = Ledger::adopt(&file, 1 << 20, 50).unwrap_err();
    assert!(error.to_string().contains("header"), "{error}");
}
