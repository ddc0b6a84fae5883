use super::super::protocol::{self, Frame};
use super::*;
use crate::agent::catalog::Catalog;
use crate::agent::ledger::written::Written;
use crate::agent::ledger::{Books, Ledger};
use crate::agent::series::{self, SeriesTable};
use crate::agent::totals::Totals;
use musterd_client::layout::journal_pair;
use std::fs::File;

/// A file that two can map, as the daemon and its predecessor do.
struct Shelf(File);

impl Shelf {
    fn new() -> Self {
        let file = tempfile();
        file.set_len((16 << 10) + PAGE_SIZE as u64).unwrap();
        write_header(&Memory::map_own(&file, 0, 16 << 10).unwrap(), [1, 2]);
        Self(file)
    }

    fn memory(&self) -> Memory {
        Memory::map_own(&self.0, 0, 16 << 10).unwrap()
    }

    fn book(&self) -> Book {
        let page = Page::over(Memory::map_own(&self.0, 16 << 10, PAGE_SIZE).unwrap());
        Book::resume(self.memory(), page, Limits { max_series: 20, duration_schema: 3 })
    }

    /// What the daemon reads of its requests.
    fn totals(&self) -> Totals {
        let (mut totals, mut series) = (Totals::default(), SeriesTable::new("a"));
        let mut catalog = Catalog::default();
        let limits =
            series::Limits { series: 99, total_series: 99, label_length: 64, families: 99 };
        let mut ledger = Ledger::on(self.memory(), &self.0, 1000).unwrap();
        let books = Books {
            totals: &mut totals,
            series: &mut series,
            catalog: &mut catalog,
            limits: &limits,
        };
        ledger.read(&mut { books });
        if let Some(durations) = &mut totals.durations {
            durations.sum.add(ledger.duration_sum());
        }
        totals
    }

    /// The first word of the series of a name, one of whose labels has this value.
    fn word(&self, name: &str, value: &str) -> u64 {
        let records = written(&self.memory()).into_iter();
        let is_it = |record: &Written| {
            let mut values = record.labels.iter().map(|(_, value)| value.as_str());
            record.name == name && (value.is_empty() || values.any(|known| known == value))
        };
        let record = records.into_iter().find(is_it).unwrap();
        self.memory().load(record.values)
    }
}

fn tempfile() -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    File::from(rustix::fs::memfd_create("test", flags).unwrap())
}

fn say(book: &mut Book, text: &str) -> Result<(), &'static str> {
    let Ok(Frame::Line { line, .. }) = protocol::decode(format!("{text}\n").as_bytes()) else {
        panic!("{text}")
    };
    book.take(line.seq, line.event, Duration::from_secs(9)).map_err(|why| why.reason)
}

#[test]
fn a_request_is_counted_with_its_number() {
    let shelf = Shelf::new();
    let mut book = shelf.book();
    assert_eq!(say(&mut book, r#"{"seq":3,"event":"begin","id":"a"}"#), Ok(()));
    assert_eq!(book.in_flight(), 1);
    let end = r#"{"seq":4,"event":"end","id":"a","status":"error","category":"net","seconds":2}"#;
    assert_eq!(say(&mut book, end), Ok(()));
    assert_eq!(say(&mut book, end), Ok(()), "sent again");
    assert_eq!((book.in_flight(), book.applied()), (0, 4));
    assert_eq!(say(&mut book, r#"{"event":"end","status":"success","seconds":0.5}"#), Ok(()));
    assert_eq!(say(&mut book, r#"{"event":"end","status":"timeout","seconds":1}"#), Ok(()));
    let totals = shelf.totals();
    assert_eq!(totals.requests, [1, 1, 1, 0, 0]);
    assert_eq!((shelf.word(names::ERRORS, "net"), shelf.word(names::ERRORS, "other")), (1, 1));
    let durations = totals.durations.unwrap();
    assert_eq!((durations.count(), durations.sum.value()), (3, 3.5));
}

#[test]
fn what_is_refused_counts_nothing_but_its_number_is_done_with() {
    let shelf = Shelf::new();
    let mut book = shelf.book();
    assert_eq!(say(&mut book, r#"{"seq":1,"event":"begin","id":"a"}"#), Ok(()));
    for (text, reason) in [
        (r#"{"seq":2,"event":"begin","id":"a"}"#, "id_in_use"),
        (r#"{"seq":3,"event":"end","id":"b","status":"success"}"#, "not_in_flight"),
        (r#"{"seq":4,"event":"go"}"#, "malformed"),
        (r#"{"event":"go"}"#, "malformed"),
    ] {
        assert_eq!(say(&mut book, text), Err(reason), "{text}");
    }
    assert_eq!((book.applied(), book.in_flight()), (4, 1));
    for number in 1..128 {
        assert_eq!(say(&mut book, &format!(r#"{{"event":"begin","id":"{number}"}}"#)), Ok(()));
    }
    assert_eq!(say(&mut book, r#"{"event":"begin","id":"x"}"#), Err("too_many_requests"));
    assert_eq!(say(&mut book, r#"{"event":"close"}"#), Ok(()));
    assert_eq!(say(&mut book, r#"{"event":"heartbeat"}"#), Err("closed"));
    assert_eq!(shelf.totals().requests, [0; 5]);
}

#[test]
fn series_keep_their_kind_and_their_number_is_bounded() {
    let shelf = Shelf::new();
    let mut book = shelf.book();
    let tokens = r#"{"event":"count","name":"agent_tokens_total","labels":{"type":"input","model":"m"},"value":7}"#;
    for text in [
        tokens,
        tokens,
        r#"{"event":"observe","name":"agent_tool_duration_seconds","labels":{"tool":"t","outcome":"success"},"value":3}"#,
        r#"{"event":"count","name":"own_total"}"#,
        r#"{"event":"count","name":"half_total","value":1.5}"#,
        r#"{"event":"count","name":"half_total","value":2}"#,
        r#"{"event":"set","name":"queue","value":-1}"#,
        r#"{"event":"observe","name":"size_bytes","value":1e9,"bounds":[1,1e6]}"#,
    ] {
        assert_eq!(say(&mut book, text), Ok(()), "{text}");
    }
    for text in [
        r#"{"event":"count","name":"own_total","value":0.5}"#,
        r#"{"event":"set","name":"own_total","value":1}"#,
        r#"{"event":"observe","name":"queue","value":1}"#,
    ] {
        assert_eq!(say(&mut book, text), Err("other_kind"), "{text}");
    }
    assert_eq!(shelf.word(names::TOKENS, "m"), 14);
    assert_eq!(f64::from_bits(shelf.word(names::TOOL_DURATION, "t")), 3.0);
    assert_eq!(f64::from_bits(shelf.word("half_total", "")), 3.5);
    for number in 0..30 {
        let _ = say(&mut book, &format!(r#"{{"event":"set","name":"g{number}","value":1}}"#));
    }
    for (text, reason) in [
        (r#"{"event":"count","name":"own"}"#, "invalid"),
        (r#"{"event":"set","name":"wait_seconds","value":1,"unit":"bytes"}"#, "invalid"),
        (r#"{"event":"set","name":"node_load1","value":1}"#, "unknown"),
        (r#"{"event":"count","name":"agent_tokens_total","labels":{"model":"m"}}"#, "unknown"),
        (r#"{"event":"set","name":"one_more","value":1}"#, "no_room"),
    ] {
        assert_eq!(say(&mut book, text), Err(reason), "{text}");
    }
    assert_eq!(say(&mut book, r#"{"event":"set","name":"g0","value":2}"#), Ok(()));
    // Those of requests are not of that number, and had their room first.
    assert_eq!(written(&shelf.memory()).len(), 20 + 6);
    assert_eq!(say(&mut book, r#"{"event":"begin","id":"a"}"#), Ok(()));
    let end = r#"{"event":"end","id":"a","status":"error","category":"net","seconds":2}"#;
    assert_eq!(say(&mut book, end), Ok(()));
    assert_eq!((book.in_flight(), shelf.totals().requests), (0, [0, 1, 0, 0, 0]));
    assert_eq!(shelf.word(names::ERRORS, "overflow"), 1);
    assert_eq!(shelf.book().series.len(), 20 + 6, "and so when it is gone on with");
}

#[test]
fn a_label_without_a_value_is_none() {
    let shelf = Shelf::new();
    let mut book = shelf.book();
    for text in [
        r#"{"event":"count","name":"own_total","value":5}"#,
        r#"{"event":"count","name":"own_total","value":7,"labels":{"k":""}}"#,
        r#"{"event":"end","status":"error","category":"","seconds":1}"#,
    ] {
        assert_eq!(say(&mut book, text), Ok(()), "{text}");
    }
    assert_eq!((shelf.word("own_total", ""), shelf.word(names::ERRORS, "other")), (12, 1));
}

#[test]
fn a_book_goes_on_where_the_one_before_was_killed() {
    let shelf = Shelf::new();
    let mut book = shelf.book();
    for text in [
        r#"{"seq":1,"event":"begin","id":"a"}"#,
        r#"{"seq":2,"event":"begin","id":"b"}"#,
        r#"{"seq":3,"event":"end","id":"a","status":"success","seconds":1}"#,
    ] {
        assert_eq!(say(&mut book, text), Ok(()));
    }
    let records = written(&shelf.memory()).len();
    // The update that counts line 4 is in the journal and not yet carried out.
    let success =
        written(&shelf.memory()).into_iter().find(|record| record.name == names::REQUESTS).unwrap();
    for (index, (offset, value)) in [(success.values, 2), (header::APPLIED, 4)].iter().enumerate() {
        shelf.memory().store(journal_pair(index), *offset as u64);
        shelf.memory().store(journal_pair(index) + 8, *value);
    }
    shelf.memory().publish(header::JOURNAL_COUNT, 2);
    drop(book);
    let mut book = shelf.book();
    assert_eq!((book.applied(), book.in_flight()), (4, 1));
    let again = r#"{"seq":4,"event":"end","status":"success","seconds":1}"#;
    assert_eq!(say(&mut book, again), Ok(()));
    assert_eq!(say(&mut book, r#"{"seq":5,"event":"end","id":"b","status":"success"}"#), Ok(()));
    assert_eq!(shelf.totals().requests, [3, 0, 0, 0, 0]);
    assert_eq!(written(&shelf.memory()).len(), records);
}
