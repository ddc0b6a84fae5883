use super::super::sample::{Pen, counter, durations, record};
use super::*;

fn ledger() -> (Ledger, OwnedFd, Pen) {
    let (ledger, file) = Ledger::create("test", 64 << 10, 50).unwrap();
    let pen = Pen::on(&file);
    (ledger, file, pen)
}

fn read(ledger: &mut Ledger) -> Totals {
    let mut totals = Totals::default();
    ledger.add_to(&mut totals);
    totals
}

#[test]
fn a_ledger_is_sealed_and_empty() {
    let (mut ledger, file, _) = ledger();
    assert!(ftruncate(&file, 0).is_err());
    assert!(ftruncate(&file, 1 << 20).is_err());
    assert_eq!(read(&mut ledger), Totals::default());
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
    let totals = read(&mut ledger);
    assert_eq!(totals.requests, [7, 0, 0, 0, 0]);
    assert_eq!(totals.errors["net"], 2);
    assert_eq!(totals.tokens["m"]["input"], 5);
    let durations = totals.durations.unwrap();
    assert_eq!((durations.sum, durations.native[0], durations.count()), (1.5, 3, 3));
    let expected = Activity { in_flight: 3, oldest_begun: Some(98), heartbeat: Some(100) };
    assert_eq!(ledger.activity(), expected);
    assert_eq!(ledger.faults(), Faults::default());
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
    assert_eq!(read(&mut ledger).requests[0], 7);
    let mut totals = Totals::default();
    ledger.retire(&mut totals);
    assert_eq!(totals.requests, [8, 0, 0, 0, 1]);
    let error = Ledger::adopt(&file, 1 << 20, 50).unwrap_err();
    assert!(error.to_string().contains("retired"), "{error}");
}

#[test]
fn a_journal_may_not_reach_outside_of_values_and_slots() {
    let (ledger, _, pen) = ledger();
    pen.requests("success", 7);
    let wild = [header::MAGIC, header::RETIRED, RECORDS, 1 << 40, 3, header::JOURNAL_COUNT];
    pen.journal(&wild.map(|offset| (offset, 77)));
    let mut totals = Totals::default();
    let faults = ledger.retire(&mut totals);
    assert_eq!((faults.malformed, totals.requests[0]), (6, 7));
    assert_eq!(pen.0.load(header::MAGIC), u64::from_le_bytes(MAGIC));
}

#[test]
fn values_that_go_back_are_held() {
    let (mut ledger, _, pen) = ledger();
    let success = pen.requests("success", 7);
    let values = pen.append(&durations());
    pen.0.store(values, 2.0_f64.to_bits());
    read(&mut ledger);
    pen.0.store(success, 3);
    for sum in [1.0, f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
        pen.0.store(values, sum.to_bits());
        let totals = read(&mut ledger);
        assert_eq!((totals.requests[0], totals.durations.unwrap().sum), (7, 2.0));
    }
}

#[test]
fn what_does_not_belong_is_counted_by_its_reason() {
    let (mut ledger, _, pen) = ledger();
    pen.requests("success", 1);
    pen.requests("success", 1);
    pen.requests("aborted", 1);
    pen.append(&counter("my_own_total", &[]));
    pen.append(&record(2, names::REQUESTS, &[("status", "error")], None));
    for index in 0..60 {
        pen.append(&counter(names::ERRORS, &[("category", &format!("c{index}"))]));
    }
    let totals = read(&mut ledger);
    assert_eq!((totals.requests[0], totals.errors.len()), (1, 49));
    let expected = Faults { unknown: 4, over_limit: 11, ..Faults::default() };
    assert_eq!(ledger.faults(), expected);
}

#[test]
fn wild_lengths_end_the_reading_and_nothing_else() {
    for size in [0_u32, 8, 39, 41, 1 << 20, u32::MAX] {
        let (mut ledger, _, pen) = ledger();
        pen.requests("success", 4);
        let mut wild = counter(names::ERRORS, &[("category", "x")]);
        wild.0[..4].copy_from_slice(&size.to_le_bytes());
        pen.append(&wild);
        assert_eq!(read(&mut ledger).requests[0], 4, "size {size}");
        assert_eq!(ledger.faults().malformed, 1, "size {size}");
        pen.0.store(header::RECORDS_END, u64::MAX);
        assert_eq!(read(&mut ledger).requests[0], 4, "size {size}");
    }
    for end in [0, 8, 1537, 1 << 40, u64::MAX] {
        let (mut ledger, _, pen) = ledger();
        pen.0.store(header::RECORDS_END, end);
        read(&mut ledger);
        assert_eq!(ledger.faults().malformed, 1, "end {end}");
    }
}

/// Every byte of the header, the first slots and two records is set to values that break
/// lengths, counts and kinds; reading and retiring must come to an end with sane totals.
#[test]
fn no_byte_can_make_reading_fail() {
    let end = {
        let (_, _, pen) = ledger();
        pen.requests("success", 1);
        pen.append(&durations());
        usize::try_from(pen.0.load(header::RECORDS_END)).unwrap()
    };
    for offset in (0..SLOTS + 64).chain(RECORDS..end) {
        for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let (mut ledger, file, pen) = ledger();
            pen.requests("success", 1);
            pen.append(&durations());
            let (word, shift) = (offset / 8 * 8, 8 * (offset % 8));
            let old = pen.0.load(word);
            pen.0.store(word, old & !(0xff << shift) | byte << shift);
            read(&mut ledger);
            let _ = ledger.activity();
            let mut totals = Totals::default();
            if let Ok(other) = Ledger::adopt(&file, 1 << 20, 50) {
                other.retire(&mut totals);
            }
            assert!(totals.durations.is_none_or(|durations| durations.sum.is_finite()));
            ledger.retire(&mut Totals::default());
        }
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
