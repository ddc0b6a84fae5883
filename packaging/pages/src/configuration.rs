//! musterd.toml(5), from the shipped file: its comments are the text, its keys the terms.
//!
//! Reads the form that the file is written in, a key a line below its comment; what is of no such form is
//! an error, so that nothing is left out in silence.

use crate::page;
use clap_mangen::roff::{Inline, Roff, bold, line_break, roman};

const PATHS: [&str; 2] = ["/etc/musterd/musterd.toml", "/etc/musterd/conf.d/*.toml"];

/// The page.
///
/// # Errors
/// The line that is of no known form.
pub(crate) fn page(text: &str, date: &str) -> Result<String, String> {
    let mut page = page::begin("musterd.toml", "5", date, "configuration of musterd");
    page::heading(&mut page, "SYNOPSIS");
    page.text([bold(PATHS[0]), line_break(), bold(PATHS[1])]);
    page::heading(&mut page, "DESCRIPTION");
    let mut writer = Writer { page, ..Writer::default() };
    let mut example = false;
    for (number, line) in text.lines().enumerate() {
        // A table that is shown behind comment signs, up to the end of that comment.
        example = line.starts_with('#') && (example || line.starts_with("# [["));
        let line = if example { line.strip_prefix("# ").unwrap_or(line) } else { line };
        writer.line(line).map_err(|what| format!("musterd.toml:{}: {what}", number + 1))?;
    }
    writer.flush();
    page::see_also(&mut writer.page, &["musterd(1)", "musterd-check-config(1)"]);
    Ok(writer.page.render())
}

#[derive(Default)]
struct Writer {
    page: Roff,
    comment: Vec<String>,
    keys: Vec<(String, String)>,
}

impl Writer {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(title) = line.strip_prefix("# ----") {
            self.flush();
            page::heading(&mut self.page, &title.trim_matches(['-', ' ']).to_uppercase());
        } else if let Some(comment) = line.strip_prefix('#') {
            if !self.keys.is_empty() {
                self.flush();
            }
            self.comment.push(comment.strip_prefix(' ').unwrap_or(comment).to_owned());
        } else if line.is_empty() {
            self.flush();
        } else if line.starts_with('[') && line.ends_with(']') {
            // The comment above is the table's own.
            let comment = std::mem::take(&mut self.comment);
            self.flush();
            let depth = line.matches('.').count();
            self.page.control(if depth < 2 { "SH" } else { "SS" }, [line]);
            self.comment = comment;
            self.flush();
        } else {
            let (key, value) =
                line.split_once(" = ").ok_or("wanted a comment, a table or key = value")?;
            self.keys.push((key.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// Writes the keys that stand together with the comment above them, or a comment by itself.
    fn flush(&mut self) {
        let comment = std::mem::take(&mut self.comment);
        let keys = std::mem::take(&mut self.keys);
        if comment.is_empty() && keys.is_empty() {
            return;
        }
        let is_described = !comment.is_empty();
        for (index, (key, value)) in keys.into_iter().enumerate() {
            let term = [bold(key), roman(format!(" = {value}"))];
            match (is_described, index) {
                (true, 0) => self.page.control("TP", []).text(term),
                (true, _) => self.page.control("TQ", []).text(term),
                (false, _) => self.page.control("PP", []).text(term),
            };
        }
        self.prose(&comment);
    }

    /// Lines of a comment; those that are indented keep their form.
    fn prose(&mut self, comment: &[String]) {
        let mut paragraph: Vec<Inline> = Vec::new();
        for line in comment {
            if line.starts_with("  ") {
                let lead =
                    if paragraph.is_empty() { vec![] } else { std::mem::take(&mut paragraph) };
                if !lead.is_empty() {
                    self.page.text(lead);
                }
                self.page.control("br", []).text([roman(line.trim_start())]);
            } else if line.is_empty() {
                self.page.text(std::mem::take(&mut paragraph)).control("sp", []);
            } else {
                let before = if paragraph.is_empty() { "" } else { " " };
                paragraph.push(roman(format!("{before}{line}")));
            }
        }
        if !paragraph.is_empty() {
            self.page.text(paragraph);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking
    use super::*;
    use musterd::config::DEFAULTS;

    const DATE: &str = "2026-01-31";

    #[test]
    fn every_table_key_and_comment_is_in_the_page() {
        let shown = page(DEFAULTS, DATE).unwrap();
        // As a reader sees it: without the marks of the format.
        let shown = shown.replace("\\-", "-").replace("\\*(Aq", "'").replace("\\fB", "");
        let shown = shown.replace("\\fR", "").replace("\\\\", "\\").replace("\\&", "");
        for line in DEFAULTS.lines() {
            let wanted = line.trim_start_matches(['#', ' ', '-']).trim_end_matches([' ', '-']);
            let wanted =
                if line.starts_with("# ----") { wanted.to_uppercase() } else { wanted.to_owned() };
            assert!(shown.contains(&wanted), "{line:?} is not in\n{shown}");
        }
    }

    #[test]
    fn keys_below_one_comment_share_it() {
        let shown = page("# About.\n\n# A table.\n[t]\n# Both.\na = 1\nb = \"x\"\n", DATE).unwrap();
        let wanted = ".SH [t]\nA table.\n.TP\n\\fBa\\fR = 1\n.TQ\n\\fBb\\fR = \"x\"\nBoth.\n";
        assert!(shown.contains(wanted), "{shown}");
    }

    #[test]
    fn a_line_of_no_known_form_is_an_error() {
        let error = page("[t]\nlist = [\n    1,\n]\n", DATE).unwrap_err();
        assert_eq!(error, "musterd.toml:3: wanted a comment, a table or key = value");
    }
}
