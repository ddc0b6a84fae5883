//! What all pages share: the title, and sections of plain text.

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// What stands at the foot of each page.
pub(crate) const SOURCE: &str = concat!("musterd ", env!("CARGO_PKG_VERSION"));

/// What stands at the head of each page.
pub(crate) const MANUAL: &str = "musterd manual";

/// A page with its title and its NAME section.
pub(crate) fn begin(name: &str, section: &str, date: &str, about: &str) -> Roff {
    let mut page = Roff::new();
    page.control("TH", [name, section, date, SOURCE, MANUAL]);
    // Expressions and paths are too long for lines that end evenly.
    page.control("ad", ["l"]);
    heading(&mut page, "NAME");
    page.text([roman(format!("{name} - {about}"))]);
    page
}

/// The heading of a section.
pub(crate) fn heading(page: &mut Roff, title: &str) {
    page.control("SH", [title]);
}

/// A section of terms and what they mean.
pub(crate) fn terms(page: &mut Roff, title: &str, terms: &[(&str, &str)]) {
    heading(page, title);
    for (term, meaning) in terms {
        page.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
    }
}

/// A section that names other pages, as `name(1)`.
pub(crate) fn see_also(page: &mut Roff, pages: &[&str]) {
    heading(page, "SEE ALSO");
    let mut line: Vec<Inline> = Vec::new();
    for reference in pages {
        let (name, section) = reference.split_once('(').unwrap_or((reference, ""));
        let before = if line.is_empty() { "" } else { ", " };
        line.extend([roman(before), bold(name), roman(format!("({section}"))]);
    }
    page.text(line);
}
