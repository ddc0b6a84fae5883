//! musterd-ledger(7), from `docs/ledger.md`.
//!
//! Knows the Markdown that the page is written in. What it does not know is an error, so that nothing is
//! left out in silence.

use crate::page;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Where packages have the documents of `docs/`.
const DOCUMENTS: &str = "/usr/share/doc/musterd";

/// The page.
///
/// # Errors
/// What of the text has no form here.
pub(crate) fn page(markdown: &str, date: &str) -> Result<String, String> {
    let about = "how a program reports to musterd through shared memory";
    let page = page::begin("musterd-ledger", "7", date, about);
    let mut writer = Writer { page, ..Writer::default() };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        writer.event(event)?;
    }
    page::see_also(&mut writer.page, &["musterd(1)", "memfd_create(2)", "unix(7)"]);
    // Asks man(1) for the preprocessor of tables.
    Ok(format!("'\\\" t\n{}", writer.page.render()))
}

#[derive(Clone, Copy, Default)]
enum Face {
    #[default]
    Roman,
    Bold,
    Italic,
}

#[derive(Default)]
struct Writer {
    page: Roff,
    line: Vec<Inline>,
    face: Face,
    /// The number of the next entry, in a list that has numbers.
    list: Option<u64>,
    in_item: bool,
    /// Whether a heading stands right above, which begins a paragraph by itself.
    below_heading: bool,
    in_code: bool,
    /// Where the link leads that is being read.
    link: String,
    /// Cells of the row that is being read.
    row: Vec<Vec<Inline>>,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => {
                for line in text.lines() {
                    self.page.text([roman(line)]);
                }
                Ok(())
            }
            Event::Text(text) => {
                self.line.push(match self.face {
                    Face::Roman => roman(&*text),
                    Face::Bold => bold(&*text),
                    Face::Italic => italic(&*text),
                });
                Ok(())
            }
            Event::Code(text) => {
                self.line.push(bold(&*text));
                Ok(())
            }
            Event::SoftBreak => {
                self.line.push(roman(" "));
                Ok(())
            }
            other => Err(format!("docs/ledger.md: {other:?} has no form in a man page")),
        }
    }

    fn start(&mut self, tag: Tag<'_>) -> Result<(), String> {
        match tag {
            Tag::Paragraph if !self.in_item => self.begin_paragraph(),
            Tag::Paragraph | Tag::Heading { .. } | Tag::TableCell => {}
            Tag::CodeBlock(CodeBlockKind::Indented) => {
                self.in_code = true;
                self.begin_paragraph();
                self.page.control("RS", ["4"]).control("nf", []);
            }
            Tag::Emphasis => self.face = Face::Italic,
            Tag::Strong => self.face = Face::Bold,
            Tag::Link { dest_url, .. } if is_neighbour(&dest_url) => {
                self.link = format!("{DOCUMENTS}/{dest_url}");
            }
            Tag::List(first) => self.list = first,
            Tag::Item => {
                let mark =
                    self.list.map_or_else(|| "\\(bu".to_owned(), |number| format!("{number}."));
                self.list = self.list.map(|number| number + 1);
                self.in_item = true;
                self.below_heading = false;
                self.page.control("IP", [mark.as_str(), "4"]);
            }
            Tag::Table(columns) => {
                // The last column takes the room that there is.
                let format = format!("{}lx.", "l ".repeat(columns.len().saturating_sub(1)));
                self.begin_paragraph();
                self.page.control("TS", []).text([roman("allbox;")]).text([roman(format)]);
            }
            Tag::TableHead | Tag::TableRow => {}
            other => return Err(format!("docs/ledger.md: {other:?} has no form in a man page")),
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) -> Result<(), String> {
        match tag {
            TagEnd::Heading(HeadingLevel::H1) => {
                self.line.clear();
                page::heading(&mut self.page, "DESCRIPTION");
                self.below_heading = true;
            }
            TagEnd::Heading(level) => {
                let title = plain(&std::mem::take(&mut self.line));
                let (name, title) = match level {
                    HeadingLevel::H2 => ("SH", title.to_uppercase()),
                    _ => ("SS", title),
                };
                self.page.control(name, [title.as_str()]);
                self.below_heading = true;
            }
            TagEnd::Paragraph => {
                self.page.text(std::mem::take(&mut self.line));
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.page.control("fi", []).control("RE", []);
            }
            TagEnd::Emphasis | TagEnd::Strong => self.face = Face::Roman,
            TagEnd::Link => {
                let file = italic(std::mem::take(&mut self.link));
                self.line.extend([roman(" ("), file, roman(")")]);
            }
            TagEnd::List(_) => self.list = None,
            TagEnd::Item => {
                if !self.line.is_empty() {
                    self.page.text(std::mem::take(&mut self.line));
                }
                self.in_item = false;
            }
            TagEnd::TableCell => self.row.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead | TagEnd::TableRow => self.write_row(),
            TagEnd::Table => {
                self.page.control("TE", []);
            }
            other => return Err(format!("docs/ledger.md: the end of {other:?} has no form")),
        }
        Ok(())
    }

    fn begin_paragraph(&mut self) {
        if !std::mem::take(&mut self.below_heading) {
            self.page.control("PP", []);
        }
    }

    /// Cells as blocks of text, which are broken into lines as paragraphs are.
    fn write_row(&mut self) {
        let mut mark = "T{";
        for cell in std::mem::take(&mut self.row) {
            self.page.text([roman(mark)]);
            if !cell.is_empty() {
                self.page.text(cell);
            }
            mark = "T}\tT{";
        }
        self.page.text([roman("T}")]);
    }
}

/// Whether a link leads to another document of `docs/`.
fn is_neighbour(link: &str) -> bool {
    !link.contains(['/', '#']) && link.ends_with(".md")
}

fn plain(line: &[Inline]) -> String {
    let text = line.iter().map(|inline| match inline {
        Inline::Roman(text) | Inline::Bold(text) | Inline::Italic(text) => text.as_str(),
        Inline::LineBreak => " ",
    });
    text.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking
    use super::*;
    use crate::LEDGER;
    use std::collections::HashSet;

    const DATE: &str = "2026-01-31";

    #[test]
    fn every_word_of_the_document_is_in_the_page() {
        let words = |text: &str| -> HashSet<String> {
            let text = text.to_lowercase();
            let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            words.map(str::to_owned).collect()
        };
        let shown = page(LEDGER, DATE).unwrap();
        let shown = words(&shown.replace("\\fB", "").replace("\\fI", "").replace("\\fR", ""));
        // After the title, which is the page's name.
        let text = LEDGER.lines().skip(1).collect::<Vec<_>>().join("\n");
        let left_out: Vec<_> = words(&text).difference(&shown).cloned().collect();
        assert_eq!(left_out, Vec::<String>::new());
    }

    #[test]
    fn a_table_has_its_cells_in_rows() {
        let shown = page("# T\n\n| a | b |\n|---|---|\n| 1 | `x` y |\n", DATE).unwrap();
        let wanted =
            ".TS\nallbox;\nl lx.\nT{\na\nT}\tT{\nb\nT}\nT{\n1\nT}\tT{\n\\fBx\\fR y\nT}\n.TE\n";
        assert!(shown.contains(wanted), "{shown}");
    }

    #[test]
    fn a_link_to_another_document_says_where_that_is_installed() {
        let shown = page("# T\n\nSee [lines](lines.md).\n", DATE).unwrap();
        assert!(shown.contains("See lines (\\fI/usr/share/doc/musterd/lines.md\\fR)."), "{shown}");
        let error = page("# T\n\n[elsewhere](https://example.com/)\n", DATE).unwrap_err();
        assert!(error.contains("has no form"), "{error}");
    }

    #[test]
    fn what_has_no_form_is_an_error() {
        let error = page("# T\n\n![picture](x.png)\n", DATE).unwrap_err();
        assert!(error.contains("has no form"), "{error}");
    }
}
