//! A record as an agent has written it, checked.
//!
//! Must not know memory: it is given a copy that nobody can change.

use crate::agent::declaration::Declared;
use musterd_client::layout::{
    CLASSIC_LIMIT, HELP_LIMIT, Kind, LABEL_LIMIT, LABEL_NAME_LIMIT, LABEL_VALUE_LIMIT, NAME_LIMIT,
    NATIVE_LIMIT, RECORD_HEAD, Shape, UNIT_LIMIT,
};

/// A record's fixed part, as it was when it was first seen.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) declared: Declared<'a>,
    /// Where the values begin, counted from the start of the record.
    pub(super) values: usize,
    /// How many there are.
    pub(super) words: usize,
}

impl<'a> Record<'a> {
    /// Reads a whole record; `None` when anything in it is not as the specification says.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let kind = Kind::from_byte(*bytes.get(4)?)?;
        let label_count = usize::from(*bytes.get(5)?);
        let name_length = usize::from(u16_at(bytes, 6)?);
        let help_length = usize::from(u16_at(bytes, 8)?);
        let unit_length = usize::from(u16_at(bytes, 10)?);
        let values = usize::try_from(u32_at(bytes, 12)?).ok()?;
        if help_length > HELP_LIMIT || unit_length > UNIT_LIMIT {
            return None;
        }
        if name_length == 0 || name_length > NAME_LIMIT || label_count > LABEL_LIMIT {
            return None;
        }
        let shape = (kind == Kind::Histogram).then(|| parse_shape(bytes));
        let shape = match shape {
            Some(None) => return None,
            Some(shape) => shape,
            None => None,
        };
        let words = shape.as_ref().map_or(1, Shape::words);
        if !values.is_multiple_of(8) || values.checked_add(8 * words)? != bytes.len() {
            return None;
        }
        let bounds = shape.as_ref().map_or(0, |shape| shape.bounds.len());
        let mut rest = bytes.get(RECORD_HEAD + 8 * bounds..values)?;
        let name = take_text(&mut rest, name_length)?;
        let labels = (0..label_count).map(|_| take_label(&mut rest)).collect::<Option<Vec<_>>>()?;
        let help = take_text(&mut rest, help_length)?;
        let unit = take_text(&mut rest, unit_length)?;
        let declared = Declared { name, kind, labels, help, unit, shape };
        Some(Self { declared, values, words })
    }
}

fn parse_shape(bytes: &[u8]) -> Option<Shape> {
    let schema = i32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?);
    let first = i32::from_le_bytes(bytes.get(20..24)?.try_into().ok()?);
    let native_count = u32_at(bytes, 24)?;
    let classic_count = usize::try_from(u32_at(bytes, 28)?).ok()?;
    let zero_threshold = f64_at(bytes, 32)?;
    let buckets = usize::try_from(native_count).ok()?;
    // An index outside of this is of no number that a double can hold.
    let span = 1100_i32 << schema.clamp(0, 8);
    let is_wild = !(-4..=8).contains(&schema)
        || buckets > NATIVE_LIMIT
        || classic_count > CLASSIC_LIMIT
        || !(-span..=span).contains(&first)
        || !(zero_threshold.is_finite() && zero_threshold >= 0.0);
    if is_wild {
        return None;
    }
    let bounds = (0..classic_count)
        .map(|index| f64_at(bytes, RECORD_HEAD + 8 * index).filter(|bound| bound.is_finite()))
        .collect::<Option<Vec<_>>>()?;
    let rising = bounds.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    rising.then_some(Shape { schema, first, native_count, zero_threshold, bounds })
}

fn take_label<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a str)> {
    let name_length = usize::from(u16_at(rest, 0)?);
    let value_length = usize::from(u16_at(rest, 2)?);
    if name_length > LABEL_NAME_LIMIT || value_length > LABEL_VALUE_LIMIT {
        return None;
    }
    *rest = rest.get(4..)?;
    Some((take_text(rest, name_length)?, take_text(rest, value_length)?))
}

fn take_text<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a str> {
    let (text, left) = rest.split_at_checked(length)?;
    *rest = left;
    std::str::from_utf8(text).ok()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn f64_at(bytes: &[u8], offset: usize) -> Option<f64> {
    bytes.get(offset..offset + 8)?.try_into().ok().map(f64::from_le_bytes)
}
