//! Records of ledgers, laid out by the page `docs/ledger.md`, without the client crate's writer.

use musterd_client::layout::Shape;

/// The bytes of a record, its values 0, and where in it they begin. `told` is its help text and its unit.
pub(crate) fn record(
    kind: u8,
    name: &str,
    labels: &[(&str, &str)],
    shape: Option<&Shape>,
    told: [&str; 2],
) -> (Vec<u8>, usize) {
    let [help, unit] = told;
    let mut text = name.as_bytes().to_vec();
    for (key, value) in labels {
        text.extend((key.len() as u16).to_le_bytes());
        text.extend((value.len() as u16).to_le_bytes());
        text.extend(key.as_bytes());
        text.extend(value.as_bytes());
    }
    text.extend(help.as_bytes());
    text.extend(unit.as_bytes());
    let bounds = shape.map_or(&[][..], |shape| &shape.bounds);
    let values = (40 + 8 * bounds.len() + text.len()).next_multiple_of(8);
    let size = values + 8 * shape.map_or(1, Shape::words);
    let mut bytes = Vec::new();
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend([kind, labels.len() as u8]);
    bytes.extend((name.len() as u16).to_le_bytes());
    bytes.extend((help.len() as u16).to_le_bytes());
    bytes.extend((unit.len() as u16).to_le_bytes());
    bytes.extend((values as u32).to_le_bytes());
    match shape {
        Some(shape) => {
            bytes.extend(shape.schema.to_le_bytes());
            bytes.extend(shape.first.to_le_bytes());
            bytes.extend(shape.native_count.to_le_bytes());
            bytes.extend((shape.bounds.len() as u32).to_le_bytes());
            bytes.extend(shape.zero_threshold.to_le_bytes());
        }
        None => bytes.extend([0; 24]),
    }
    bytes.extend(bounds.iter().flat_map(|bound| bound.to_le_bytes()));
    bytes.extend(text);
    bytes.resize(size, 0);
    assert_eq!(bytes.len() % 8, 0);
    (bytes, values)
}
