//! Tables of files put over one another, with the place where each value stands in the file that is being
//! read.
//!
//! Must not know which keys there are, but that `[[agent]]` entries add up.

use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The place of what does not stand in the file that is being read.
const ELSEWHERE: Range<usize> = usize::MAX..usize::MAX;

/// The first thing that is no table where there is one below: its place, and what was wanted.
pub(super) fn find_no_table(base: &DeTable<'_>, over: &DeTable<'_>) -> Option<(usize, String)> {
    find_no_table_below("", base, over)
}

fn find_no_table_below(
    path: &str,
    base: &DeTable<'_>,
    over: &DeTable<'_>,
) -> Option<(usize, String)> {
    over.iter().find_map(|(key, value)| {
        let name: &str = key.get_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (base.get(name)?.get_ref(), value.get_ref()) {
            (DeValue::Table(base), DeValue::Table(over)) => find_no_table_below(&path, base, over),
            (DeValue::Table(_), _) => {
                let hint = if path == "agents" { "; an agent to run is an [[agent]]" } else { "" };
                let text = format!("{path} is no table, wanted [{path}]{hint}");
                Some((value.span().start, text))
            }
            _ => None,
        }
    })
}

/// Puts `over` on top: tables key by key, `[[agent]]` entries after those that are there, anything
/// else in place of what was there.
pub(super) fn merge<'a>(base: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        let name: &str = key.get_ref();
        let appends = name == "agent";
        match (base.get_mut(name).map(Spanned::get_mut), value.into_inner_with_span()) {
            (Some(DeValue::Table(below)), (_, DeValue::Table(above))) => merge(below, above),
            (Some(DeValue::Array(below)), (_, DeValue::Array(above))) if appends => {
                for entry in above {
                    below.push(entry);
                }
            }
            (_, (span, value)) => {
                // The key goes too, so that a span in a message is that of the file read last.
                base.remove(name);
                base.insert(key, Spanned::new(span, value));
            }
        }
    }
}

pub(super) trait IntoInnerWithSpan<T> {
    fn into_inner_with_span(self) -> (Range<usize>, T);
}

impl<T> IntoInnerWithSpan<T> for Spanned<T> {
    fn into_inner_with_span(self) -> (Range<usize>, T) {
        (self.span(), self.into_inner())
    }
}

/// Says of everything in a table that it stands elsewhere than in the file to be read next.
pub(super) fn forget_places(table: &mut DeTable<'_>) {
    let held = std::mem::take(table);
    for (key, value) in held {
        let mut value = value.into_inner();
        forget_places_below(&mut value);
        table.insert(Spanned::new(ELSEWHERE, key.into_inner()), Spanned::new(ELSEWHERE, value));
    }
}

fn forget_places_below(value: &mut DeValue<'_>) {
    match value {
        DeValue::Table(below) => forget_places(below),
        DeValue::Array(entries) => {
            for entry in entries.iter_mut() {
                let mut below = std::mem::replace(entry.get_mut(), DeValue::Boolean(false));
                forget_places_below(&mut below);
                *entry = Spanned::new(ELSEWHERE, below);
            }
        }
        _ => {}
    }
}

/// Where a span begins in the file that is being read.
pub(super) fn place(span: &Range<usize>) -> Option<usize> {
    (*span != ELSEWHERE).then_some(span.start)
}

/// Where in the file that is being read the value of a dotted key is written.
pub(super) fn place_of(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(key, rest)| (key, Some(rest)));
    let value = table.get(first)?;
    match (value.get_ref(), rest) {
        (DeValue::Table(below), Some(rest)) => place_of(below, rest),
        _ => place(&value.span()),
    }
}

/// Some sections as they are written, their places aside: whether two files differ there.
pub(super) fn write_sections(file: &DeTable<'_>, names: &[&str]) -> String {
    let mut text = String::new();
    for value in names.iter().filter_map(|name| file.get(*name)) {
        write_plain(value.get_ref(), &mut text);
    }
    text
}

/// A value without its place in the file, so that a line that has moved is no change.
fn write_plain(value: &DeValue<'_>, out: &mut String) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                out.push_str(key.get_ref());
                out.push('=');
                write_plain(value.get_ref(), out);
            }
        }
        DeValue::Array(values) => {
            for value in values {
                write_plain(value.get_ref(), out);
            }
        }
        other => *out += &format!("{other:?}"),
    }
    out.push(';');
}

/// Takes a table out.
pub(super) fn take<'a>(from: &mut DeTable<'a>, path: &[&str]) -> Option<Spanned<DeTable<'a>>> {
    let (last, path) = path.split_last()?;
    let mut table = from;
    for name in path {
        let DeValue::Table(below) = table.get_mut(*name)?.get_mut() else { return None };
        table = below;
    }
    if !matches!(table.get(*last)?.get_ref(), DeValue::Table(_)) {
        // What it is instead is for the types to refuse.
        return None;
    }
    match table.remove(*last)?.into_inner_with_span() {
        (span, DeValue::Table(table)) => Some(Spanned::new(span, table)),
        _ => None,
    }
}
