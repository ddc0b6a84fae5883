use super::*;
use crate::layout::names;
use crate::layout::{Kind, RECORDS, Shape};

#[test]
fn an_observation_counts_once_in_each_part() {
    let mut writer = Writer::private(64 << 10);
    let histogram = writer.append_histogram(Shape::durations(), names::DURATION, &[], "").unwrap();
    let observations = [0.0, 1e-9, 1e-6, 0.004, 0.005, 0.3, 299.0, 1e5, f64::INFINITY, f64::NAN];
    for value in observations {
        let mut update = Update::default();
        writer.observe(&histogram, value, &mut update);
        writer.commit(&update);
    }
    let word = |index: usize| writer.memory.load(histogram.series.values + 8 * index);
    let native: u64 = (1..274).map(word).sum();
    let classic: u64 = (274..290).map(word).sum();
    assert_eq!((native, classic), (8, 8));
    assert_eq!((word(1), word(273), word(274), word(289)), (2, 1, 5, 1));
    assert!(f64::from_bits(word(0)).is_finite());
}

#[test]
fn another_shape_keeps_every_observation_and_what_lies_behind_it() {
    let room = Shape::durations_at(5).words();
    let mut writer = Writer::private(64 << 10);
    let mut histogram = writer
        .append_histogram_with_room(Shape::durations(), room, names::DURATION, &[], "")
        .unwrap();
    let counter = writer.append(Kind::Counter, names::REQUESTS, &[("status", "error")], "");
    let observations = [1e-9, 0.004, 0.3, 0.3, 299.0, 1e5];
    for value in observations {
        let mut update = Update::default();
        writer.observe(&histogram, value, &mut update);
        writer.add(counter.unwrap(), 1, &mut update);
        writer.commit(&update);
    }
    let end = writer.records_end();
    for schema in [5, 3, 0] {
        let shape = Shape::durations_at(schema);
        histogram = writer.reshape(histogram, shape.clone(), room, names::DURATION);
        assert_eq!(*histogram.buckets.shape(), shape);
        let word = |index: usize| writer.memory.load(histogram.series.values + 8 * index);
        let natives = 2 + shape.native_count as usize;
        let count = |words: std::ops::Range<usize>| words.map(word).sum::<u64>();
        assert_eq!((count(1..natives), count(natives..shape.words())), (6, 6));
        assert_eq!((word(1), word(natives - 1)), (1, 1));
        assert_eq!(f64::from_bits(word(0)), observations.iter().sum::<f64>());
        // Where the middle of the bucket of schema 3 lies, in which it was counted.
        assert_eq!(word(histogram.buckets.words(0.3102)[0]), 2, "schema {schema}");
        assert_eq!(writer.memory.load(counter.unwrap().values), 6);
    }
    assert_eq!(writer.records_end(), end);
}

#[test]
fn a_ledger_that_is_full_counts_what_it_refuses() {
    let mut writer = Writer::private(2048);
    let mut appended = 0;
    while writer.append(Kind::Counter, names::ERRORS, &[("category", "x")], "").is_some() {
        appended += 1;
    }
    assert!(appended > 2);
    let long = "x".repeat(257);
    assert!(writer.append(Kind::Counter, names::ERRORS, &[("category", &long)], "").is_none());
    assert_eq!(writer.memory.load(header::RECORDS_REFUSED), 2);
}

#[test]
fn a_ledger_goes_on_after_its_writer() {
    let memory = Memory::private(64 << 10);
    write_header(&memory, [1, 2]);
    let mut writer = Writer::resume(memory);
    let series = writer.append(Kind::Counter, names::REQUESTS, &[("status", "success")], "");
    let series = series.unwrap();
    let mut update = Update::default();
    let slot = writer.begin_in(7, &mut update).unwrap();
    writer.commit(&update);
    // Killed once the update is in the journal, and before it is carried out.
    for (index, (offset, value)) in [(slot_offset(slot), 0), (series.values, 5)].iter().enumerate()
    {
        writer.memory.store(journal_pair(index), *offset as u64);
        writer.memory.store(journal_pair(index) + 8, *value);
    }
    writer.memory.store(header::JOURNAL_COUNT, 2);
    assert_eq!(writer.begun(slot), 7);
    let writer = Writer::resume(writer.memory);
    assert_eq!((writer.begun(slot), writer.memory.load(series.values)), (0, 5));
    assert_eq!((writer.free.len(), writer.memory.load(header::JOURNAL_COUNT)), (SLOT_COUNT, 0));
}

#[test]
fn slots_run_out_and_come_back() {
    let mut writer = Writer::private(64 << 10);
    let flights: Vec<_> = (0..130).map(|_| writer.begin(5)).collect();
    assert_eq!(writer.memory.load(header::UNSLOTTED_BEGUN), 2);
    for flight in flights {
        let mut update = Update::default();
        writer.end(flight, &mut update);
        writer.commit(&update);
    }
    assert_eq!(writer.memory.load(header::UNSLOTTED_ENDED), 2);
    assert_eq!(writer.free.len(), SLOT_COUNT);
    assert!((SLOTS..RECORDS).step_by(8).all(|slot| writer.memory.load(slot) == 0));
}

#[test]
fn a_new_ledger_starts_from_zero_and_without_the_requests_of_the_old() {
    let mut writer = Writer::private(64 << 10);
    let series = writer.append(Kind::Counter, names::REQUESTS, &[("status", "success")], "");
    let series = series.unwrap();
    let mut update = Update::default();
    writer.add(series, 3, &mut update);
    writer.commit(&update);
    let flight = writer.begin(9);
    assert!(!writer.is_counted(flight));
    let target = Memory::private(64 << 10);
    write_header(&target, [1, 2]);
    writer.forget(&[(series, 1)]);
    assert!(writer.move_into(target));
    assert!(writer.is_counted(flight));
    assert_eq!(writer.memory.load(series.values), 0);
    assert!((SLOTS..RECORDS).step_by(8).all(|slot| writer.memory.load(slot) == 0));
    assert_eq!(writer.free.len(), SLOT_COUNT);
}

#[test]
fn records_that_do_not_fit_are_taken_elsewhere_with_their_counts() {
    let mut writer = Writer::private(64 << 10);
    let mut series = Vec::new();
    for category in ["a", "b", "c"] {
        let labels = [("category", category)];
        let one = writer.append(Kind::Counter, names::ERRORS, &labels, "").unwrap();
        let mut update = Update::default();
        writer.add(one, series.len() as u64 + 1, &mut update);
        writer.commit(&update);
        series.push(one);
    }
    let end = writer.records_end();
    let cut = writer.cut(end - 100);
    assert_eq!(cut.len(), 2);
    assert!(writer.move_into(Memory::private(end - 100)));
    let mut other = Writer::private(8 << 10);
    let moves: Vec<_> = cut.iter().map(|cut| other.paste(cut).unwrap()).collect();
    let find = |old| moves.iter().find_map(|way| way.of(old));
    assert_eq!(find(series[0]), None);
    assert_eq!(other.memory.load(find(series[1]).unwrap().values), 2);
    assert_eq!(other.memory.load(find(series[2]).unwrap().values), 3);
    assert!(Writer::private(RECORDS + 64).paste(&cut[0]).is_none());
}

#[test]
fn moving_keeps_every_count() {
    let mut writer = Writer::private(64 << 10);
    let series = writer.append(Kind::Counter, names::REQUESTS, &[("status", "success")], "");
    let mut update = Update::default();
    writer.add(series.unwrap(), 3, &mut update);
    writer.commit(&update);
    writer.begin(9);
    let mut small = Memory::private(1024);
    assert!(!writer.move_into(std::mem::replace(&mut small, Memory::private(0))));
    let target = Memory::private(32 << 10);
    write_header(&target, [1, 2]);
    assert!(writer.move_into(target));
    assert_eq!(writer.memory.load(series.unwrap().values), 3);
    assert_eq!(writer.memory.load(header::IDENTITY), 1);
    assert_eq!((SLOTS..RECORDS).step_by(8).filter(|s| writer.memory.load(*s) == 9).count(), 1);
}
