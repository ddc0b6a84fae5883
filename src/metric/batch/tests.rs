use super::*;

const UP: Family = Family::gauge("up", &["a"], "Is up.");
const MEMORY: Family = Family::gauge("node_memory_*_bytes", &[], "Memory.");

#[test]
fn families_keep_their_samples() {
    let mut batch = Batch::new();
    batch.begin(&UP);
    batch.sample(&[("a", "x\"y\\z\n")], 1.0);
    batch.sample_with(&Labels::new(&[("a", "b")]), 2.0);
    batch.begin_named(&MEMORY, b"Active(anon)");
    batch.sample(&[], 3.0);
    let seen: Vec<_> = batch
        .families()
        .flat_map(|family| {
            family
                .samples()
                .map(move |sample| {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    (text(family.name), text(sample.labels), sample.point)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let expected = [
        ("up", r#"a="x\"y\\z\n""#, 1.0),
        ("up", r#"a="b""#, 2.0),
        ("node_memory_Active_anon__bytes", "", 3.0),
    ];
    assert_eq!(seen.len(), expected.len());
    for (seen, (name, labels, value)) in seen.iter().zip(expected) {
        assert_eq!(seen, &(name.to_owned(), labels.to_owned(), Point::Number(value)));
    }
}

#[test]
fn rollback_leaves_what_was_there_before() {
    let mut batch = Batch::new();
    batch.value(&UP, 1.0);
    let mark = batch.mark();
    batch.begin(&UP);
    batch.histogram(&[], &Histogram { bounds: &[1.0], counts: &[1, 2], sum: 3.0 });
    batch.rollback(mark);
    assert_eq!(batch.len(), 1);
    assert_eq!(batch.families().count(), 1);
}

#[test]
fn a_name_that_a_source_gives_twice_is_exposed_once() {
    let mut batch = Batch::new();
    for _ in 0..2 {
        batch.clear();
        for (part, value) in [(&b"Active(anon)"[..], 1.0), (b"Active_anon_", 2.0)] {
            batch.begin_named(&MEMORY, part);
            batch.sample(&[], value);
        }
        let points: Vec<_> = batch.families().flat_map(|family| family.samples()).collect();
        assert_eq!(
            points.iter().map(|sample| sample.point).collect::<Vec<_>>(),
            [Point::Number(1.0)]
        );
    }
}

#[test]
fn an_empty_family_is_not_exposed() {
    let mut batch = Batch::new();
    batch.begin(&UP);
    assert_eq!(batch.families().count(), 0);
}
