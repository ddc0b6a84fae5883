use super::super::sample::{Desk, Pen, counter, described, gauge, record};
use super::*;
use crate::agent::declaration::Declared;
use crate::agent::ledger::Ledger;
use musterd_client::layout::{Kind, names};

fn ledger() -> (Ledger, Pen) {
    let (ledger, file) = Ledger::create("test", 64 << 10, 200).unwrap();
    let pen = Pen::on(&file);
    (ledger, pen)
}

/// Sets a series to a word, which appends it.
fn put(pen: &Pen, record: &(Vec<u8>, usize), word: u64) -> usize {
    let values = pen.append(record);
    pen.0.store(values, word);
    values
}

fn shows(desk: &Desk, line: &str) -> bool {
    desk.shown().contains(&format!("{line}\n"))
}

#[test]
fn counters_add_up_over_ledgers_and_outlive_them() {
    let ((mut one, pen), (mut other, other_pen)) = (ledger(), ledger());
    let mut desk = Desk::new();
    let cost = record(4, "x_cost_total", &[], None);
    put(&pen, &counter("x_total", &[("a", "1")]), 5);
    put(&pen, &cost, 0.1_f64.to_bits());
    put(&other_pen, &counter("x_total", &[("a", "1")]), 3);
    put(&other_pen, &cost, 0.7_f64.to_bits());
    desk.read(&mut [&mut one, &mut other]);
    assert!(shows(&desk, "x_total{agent=\"a\",a=\"1\"} 8"), "{}", desk.shown());
    let shown = desk.shown();
    desk.retire(one);
    desk.read(&mut [&mut other]);
    assert_eq!(desk.shown(), shown);
    desk.retire(other);
    assert_eq!(desk.shown(), shown);
    let kept = serde_json::to_string(&desk.series.kept(&desk.catalog)).unwrap();
    let mut next = Desk::new();
    let faults = next.series.restore(serde_json::from_str(&kept).unwrap(), &mut next.catalog);
    assert_eq!(faults, [""; 0]);
    assert_eq!(next.shown(), shown);
}

#[test]
fn the_order_in_which_ledgers_end_makes_no_sum_go_back() {
    let values = [0.1_f64, 0.2, 0.3, 1e15, 0.7];
    for first in 0..values.len() {
        let mut desk = Desk::new();
        let mut ledgers: Vec<_> = values.iter().map(|_| ledger()).collect();
        for ((_, pen), value) in ledgers.iter().zip(values) {
            put(pen, &record(4, "x_total", &[], None), value.to_bits());
        }
        let mut before = 0.0;
        while !ledgers.is_empty() {
            desk.read(&mut ledgers.iter_mut().map(|(ledger, _)| ledger).collect::<Vec<_>>());
            let Value::Sum(sum) = &desk.series.rows[0].value else { panic!() };
            assert!(sum.shown >= before, "{} after {before}", sum.shown);
            before = sum.shown;
            let (ledger, _) = ledgers.remove(first.min(ledgers.len() - 1));
            desk.retire(ledger);
        }
    }
}

#[test]
fn gauges_are_added_up_and_end_with_their_ledgers() {
    let ((mut one, pen), (mut other, other_pen)) = (ledger(), ledger());
    let mut desk = Desk::new();
    let depth = put(&pen, &gauge("x_depth", &[]), 2.5_f64.to_bits());
    put(&other_pen, &gauge("x_depth", &[]), (-1.0_f64).to_bits());
    desk.read(&mut [&mut one, &mut other]);
    assert!(shows(&desk, "x_depth{agent=\"a\"} 1.5"), "{}", desk.shown());
    pen.0.store(depth, f64::NAN.to_bits());
    desk.read(&mut [&mut one, &mut other]);
    assert!(shows(&desk, "x_depth{agent=\"a\"} -1"), "{}", desk.shown());
    desk.retire(other);
    desk.read(&mut [&mut one]);
    assert_eq!(desk.shown(), "# EOF\n", "nobody knows");
    assert_eq!(desk.series.len(), 1);
    desk.retire(one);
    assert_eq!((desk.series.len(), desk.series.free.len()), (0, 1));
    // Its row, and its name, are free for something else.
    let (mut next, pen) = ledger();
    put(&pen, &counter("x_depth_total", &[]), 4);
    desk.read(&mut [&mut next]);
    assert!(shows(&desk, "x_depth_total{agent=\"a\"} 4"), "{}", desk.shown());
    assert_eq!(desk.series.rows.len(), 1);
    assert_eq!(desk.series.kept(&desk.catalog).len(), 1, "gauges are not kept");
}

#[test]
fn what_is_too_many_is_counted_as_overflow() {
    let (mut one, pen) = ledger();
    let mut desk = Desk::new();
    desk.limits.series = 3;
    for index in 0..6 {
        put(&pen, &counter("x_total", &[("a", &format!("v{index}")), ("b", "c")]), 1);
    }
    put(&pen, &gauge("x_depth", &[]), 1);
    put(&pen, &counter("y_total", &[("a", "b")]), 1);
    let tokens = [("model", "m"), ("type", "input")];
    put(&pen, &counter(names::TOKENS, &tokens), 9);
    desk.read(&mut [&mut one]);
    let shown = desk.shown();
    assert!(shown.contains("x_total{agent=\"a\",a=\"v2\",b=\"c\"} 1\n"), "{shown}");
    assert!(shown.contains("x_total{agent=\"a\",a=\"overflow\",b=\"overflow\"} 3\n"), "{shown}");
    assert!(shown.contains("{agent=\"a\",model=\"overflow\",type=\"input\"} 9\n"), "{shown}");
    assert!(!shown.contains("depth") && !shown.contains("y_total"), "{shown}");
    assert_eq!(one.faults().of(Fault::OverLimit), 6);
    let complaints = desk.series.complaints().keys().collect::<Vec<_>>();
    assert_eq!(complaints, [names::TOKENS, "x_depth", "x_total", "y_total"]);
    // What has its place keeps it, whatever the limit is when the next ledger comes.
    desk.retire(one);
    desk.limits.series = 1;
    let (mut next, pen) = ledger();
    put(&pen, &counter("x_total", &[("b", "c"), ("a", "v0")]), 1);
    desk.read(&mut [&mut next]);
    assert!(shows(&desk, "x_total{agent=\"a\",a=\"v0\",b=\"c\"} 2"), "{}", desk.shown());
}

#[test]
fn label_values_are_bounded() {
    let (mut one, pen) = ledger();
    let mut desk = Desk::new();
    for value in ["x".repeat(65), "a\u{1b}[31m".into(), "a\nb".into(), "fits".into()] {
        put(&pen, &counter("x_total", &[("a", &value), ("b", "c")]), 1);
    }
    desk.read(&mut [&mut one]);
    assert!(shows(&desk, "x_total{agent=\"a\",a=\"overflow\",b=\"c\"} 3"), "{}", desk.shown());
    assert!(shows(&desk, "x_total{agent=\"a\",a=\"fits\",b=\"c\"} 1"), "{}", desk.shown());
    assert_eq!(one.faults().of(Fault::LabelValue), 3);
}

#[test]
fn an_agent_that_declares_anew_starts_from_zero() {
    let shape = |bound| Shape { native_count: 0, bounds: vec![bound], ..Shape::calls() };
    let wait = |bound| record(3, "x_wait", &[("a", "b")], Some(&shape(bound)));
    let mut desk = Desk::new();
    let (mut one, pen) = ledger();
    put(&pen, &counter("x_total", &[]), 5);
    let values = put(&pen, &wait(1.0), 0);
    pen.0.store(values + 16, 7);
    desk.read(&mut [&mut one]);
    let (mut other, pen) = ledger();
    put(&pen, &gauge("x", &[]), 5.0_f64.to_bits());
    put(&pen, &wait(2.0), 0);
    desk.read(&mut [&mut one, &mut other]);
    assert_eq!(other.faults().of(Fault::Conflict), 2, "the first is in use");
    desk.retire(other);
    desk.retire(one);
    let (mut next, pen) = ledger();
    put(&pen, &gauge("x", &[]), 5.0_f64.to_bits());
    let values = put(&pen, &wait(2.0), 0);
    pen.0.store(values + 24, 1);
    desk.read(&mut [&mut next]);
    assert!(shows(&desk, "x{agent=\"a\"} 5"), "{}", desk.shown());
    assert!(shows(&desk, "x_wait_bucket{agent=\"a\",a=\"b\",le=\"2.0\"} 0"), "{}", desk.shown());
    assert!(shows(&desk, "x_wait_count{agent=\"a\",a=\"b\"} 1"), "{}", desk.shown());
    assert_eq!(next.faults().of(Fault::Redeclared), 2);
}

#[test]
fn what_another_agent_has_is_not_declared_anew() {
    let mut desk = Desk::new();
    let mut other = SeriesTable::new("b");
    let (mut one, pen) = ledger();
    put(&pen, &counter("x_total", &[]), 5);
    desk.read(&mut [&mut one]);
    desk.retire(one);
    let name = "x";
    let declared =
        Declared { name, kind: Kind::Gauge, labels: vec![], help: "", unit: "", shape: None };
    let mut faults = Faults::default();
    assert_eq!(other.place(&declared, None, &mut desk.catalog, &desk.limits, &mut faults), None);
    assert_eq!(faults.of(Fault::Conflict), 1);
    assert_eq!(other.complaints()["x"], "conflict");
}

#[test]
fn what_was_kept_is_checked() {
    let mut desk = Desk::new();
    let text = r#"[{"name":"x_total","help":"","unit":"","series":[
        {"labels":[["a","1"]],"value":{"count":5}},
        {"labels":[["a","1"]],"value":{"count":5}},
        {"labels":[["agent","1"]],"value":{"count":5}},
        {"labels":[],"value":{"sum":-1.0}}]},
        {"name":"node_load1","help":"","unit":"","series":[{"labels":[],"value":{"sum":1.0}}]},
        {"name":"agent_errors_total","help":"","unit":"","series":[
        {"labels":[["category","io"]],"value":{"count":2}}]},
        {"name":"x_wait","help":"","unit":"","series":[{"labels":[],"value":{"histogram":{"shape":
        {"schema":3,"first":0,"native_count":4000000000,"zero_threshold":0.1,"bounds":[1.0]},
        "sum":1.0,"zero":1,"native":[],"classic":[1,2]}}}]}]"#;
    let faults = desk.series.restore(serde_json::from_str(text).unwrap(), &mut desk.catalog);
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(shows(&desk, "x_total{agent=\"a\",a=\"1\"} 5"), "{}", desk.shown());
    let errors: Vec<_> = desk.series.counts(names::ERRORS, &desk.catalog).collect();
    assert_eq!(errors, [("io", 2)]);
}

#[test]
fn a_name_in_use_stays_its_owners_whoever_comes_first_to_the_next_daemon() {
    let (mut owner, pen) = ledger();
    put(&pen, &counter("x_total", &[]), 5);
    put(&pen, &record(4, "y_total", &[], None), 0.5_f64.to_bits());
    let mut desk = Desk::new();
    desk.read(&mut [&mut owner]);
    let mut next = Desk::new();
    let kept = desk.series.kept(&desk.catalog);
    assert_eq!(next.series.restore(kept, &mut next.catalog), [""; 0]);
    let mut stranger = SeriesTable::new("b");
    for name in ["x", "y"] {
        let (labels, kind) = (vec![], Kind::Gauge);
        let declared = Declared { name, kind, labels, help: "", unit: "", shape: None };
        let Desk { catalog, limits, .. } = &mut next;
        let placed = stranger.place(&declared, None, catalog, limits, &mut Faults::default());
        assert_eq!(placed, None, "{name}");
    }
    assert!(shows(&next, "x_total{agent=\"a\"} 0"), "{}", next.shown());
}

#[test]
fn a_unit_and_a_help_are_kept() {
    let mut desk = Desk::new();
    let (mut one, pen) = ledger();
    put(&pen, &described(1, "x_seconds_total", &[], None, ["Helps.", "seconds"]), 5);
    desk.read(&mut [&mut one]);
    desk.retire(one);
    let mut next = Desk::new();
    next.series.restore(desk.series.kept(&desk.catalog), &mut next.catalog);
    assert_eq!(next.shown(), desk.shown());
    assert!(next.shown().contains("# UNIT x_seconds seconds\n"), "{}", next.shown());
}

#[test]
fn labels_stay_with_their_series_when_others_go() {
    let ((mut gauges, pen), (mut counters, other_pen)) = (ledger(), ledger());
    let mut desk = Desk::new();
    for (place, queue) in ["mail", "work", "rest"].iter().enumerate() {
        put(&pen, &gauge("x_depth", &[("queue", queue)]), 1.0_f64.to_bits());
        put(&other_pen, &counter("x_total", &[("queue", queue)]), place as u64 + 1);
        desk.read(&mut [&mut gauges, &mut counters]);
    }
    let size = desk.series.labels.as_bytes().len();
    desk.retire(gauges);
    assert!(desk.series.labels.as_bytes().len() < size, "what nobody has takes no room");
    put(&other_pen, &gauge("x_late", &[("queue", "new")]), 4.0_f64.to_bits());
    desk.read(&mut [&mut counters]);
    for line in [
        "x_total{agent=\"a\",queue=\"mail\"} 1",
        "x_total{agent=\"a\",queue=\"work\"} 2",
        "x_total{agent=\"a\",queue=\"rest\"} 3",
        "x_late{agent=\"a\",queue=\"new\"} 4",
    ] {
        assert!(shows(&desk, line), "{line}: {}", desk.shown());
    }
    assert!(!desk.shown().contains("x_depth"), "{}", desk.shown());
}

#[test]
fn what_one_ledger_has_and_what_several_have_is_shown_as_it_changes() {
    let ((mut one, pen), (mut other, other_pen)) = (ledger(), ledger());
    let mut desk = Desk::new();
    let shape = Shape { native_count: 0, bounds: vec![1.0], ..Shape::calls() };
    let records = [
        gauge("x_depth", &[]),
        record(4, "x_cost_total", &[], None),
        record(3, "x_wait_seconds", &[], Some(&shape)),
    ];
    let places = records.each_ref().map(|record| put(&pen, record, 1.0_f64.to_bits()));
    desk.read(&mut [&mut one]);
    let set = |pen: &Pen, places: [usize; 3], value: f64| {
        places.iter().for_each(|place| pen.0.store(*place, value.to_bits()));
    };
    let check = |desk: &Desk, gauge: &str, sum: &str| {
        for line in [
            format!("x_depth{{agent=\"a\"}} {gauge}"),
            format!("x_cost_total{{agent=\"a\"}} {sum}"),
            format!("x_wait_seconds_sum{{agent=\"a\"}} {sum}"),
        ] {
            assert!(shows(desk, &line), "{line}: {}", desk.shown());
        }
    };
    set(&pen, places, 2.5);
    desk.read(&mut [&mut one]);
    check(&desk, "2.5", "2.5");
    let other_places = records.each_ref().map(|record| put(&other_pen, record, 1.0_f64.to_bits()));
    desk.read(&mut [&mut one, &mut other]);
    check(&desk, "3.5", "3.5");
    set(&pen, places, 4.0);
    set(&other_pen, other_places, 2.0);
    desk.read(&mut [&mut one, &mut other]);
    check(&desk, "6", "6");
    desk.retire(one);
    desk.read(&mut [&mut other]);
    set(&other_pen, other_places, 3.0);
    desk.read(&mut [&mut other]);
    check(&desk, "3", "7");
}

#[test]
fn buckets_that_are_all_retired_are_kept_once() {
    let is_shared = |desk: &Desk| {
        let Value::Histogram(buckets) = &desk.series.rows[0].value else { panic!() };
        buckets.retired.as_ref().is_some_and(|retired| Arc::ptr_eq(retired, &buckets.current))
    };
    let mut desk = Desk::new();
    for (round, shape) in [wide(0, 9), wide(0, 9), wide(0, 12)].iter().enumerate() {
        let (mut one, pen) = ledger();
        put_wide(&pen, "a", shape);
        desk.read(&mut [&mut one]);
        assert!(!is_shared(&desk));
        let shown = desk.shown();
        desk.retire(one);
        assert!(is_shared(&desk));
        assert_eq!(desk.shown(), shown);
        let count = format!("x_wait_count{{agent=\"a\",k=\"a\"}} {}", round + 1);
        assert!(shows(&desk, &count), "{shown}");
        let mut next = Desk::new();
        next.series.restore(desk.series.kept(&desk.catalog), &mut next.catalog);
        assert!(is_shared(&next));
        assert_eq!(next.shown(), shown);
    }
}

/// A histogram of that many exponential buckets, from `first` on.
fn wide(first: i32, native_count: u32) -> Shape {
    Shape { first, native_count, bounds: vec![1.0], ..Shape::calls() }
}

fn put_wide(pen: &Pen, key: &str, shape: &Shape) {
    let values = pen.append(&record(3, "x_wait", &[("k", key)], Some(shape)));
    pen.0.store(values + 8 * (2 + shape.native_count as usize), 1);
}

#[test]
fn many_buckets_count_as_several_series() {
    let (mut ledger, file) = Ledger::create("test", 1 << 20, 200).unwrap();
    let pen = Pen::on(&file);
    let mut desk = Desk::new();
    // One of the usual buckets and four that count as 4 are within the limit; one says `overflow`.
    desk.limits.series = 17;
    put_wide(&pen, "usual", &Shape { bounds: vec![1.0], ..Shape::calls() });
    for key in 0..9 {
        put_wide(&pen, &key.to_string(), &wide(-500, 1000));
    }
    desk.read(&mut [&mut ledger]);
    let shown = desk.shown();
    assert!(shown.contains("x_wait_count{agent=\"a\",k=\"3\"} 1\n"), "{shown}");
    assert!(shown.contains("x_wait_count{agent=\"a\",k=\"overflow\"} 5\n"), "{shown}");
    assert_eq!(ledger.faults().of(Fault::OverLimit), 5);
    assert_eq!((desk.series.weight, desk.catalog.weight()), (5 * 4 + 1, 5 * 4 + 1));
    desk.retire(ledger);
    desk.series.clear(&mut desk.catalog);
    assert_eq!((desk.series.weight, desk.catalog.weight()), (0, 0));
}

#[test]
fn buckets_that_grow_are_bounded() {
    let (mut small, file) = Ledger::create("test", 64 << 10, 200).unwrap();
    for key in 0..8 {
        put_wide(&Pen::on(&file), &key.to_string(), &wide(-2000, 1));
    }
    let mut desk = Desk::new();
    desk.limits.series = 20;
    desk.read(&mut [&mut small]);
    assert_eq!(desk.series.weight, 8);
    // One bucket far from the first one takes all between them, which counts as 7 series.
    let (mut far, file) = Ledger::create("test", 64 << 10, 200).unwrap();
    for key in 0..8 {
        put_wide(&Pen::on(&file), &key.to_string(), &wide(1990, 1));
    }
    desk.read(&mut [&mut small, &mut far]);
    assert_eq!(far.faults().of(Fault::OverLimit), 3);
    assert_eq!((desk.series.weight, desk.catalog.weight()), (5 * 7 + 3, 5 * 7 + 3));
    assert!(shows(&desk, "x_wait_count{agent=\"a\",k=\"4\"} 2"), "{}", desk.shown());
    assert!(shows(&desk, "x_wait_count{agent=\"a\",k=\"5\"} 1"), "{}", desk.shown());
}
