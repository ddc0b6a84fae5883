//! Where text is shown: a terminal, which has a size and is written over in place, or whatever reads.
//!
//! Must not know what is shown.

use std::io::{self, IsTerminal as _, Write as _};

/// Control sequences of console_codes(4): to the upper left corner, and clear from here to the end
/// of the line, or of the screen.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The standard output.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    has_text: bool,
}

impl Screen {
    pub(super) fn of_stdout() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), has_text: false }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Columns of the terminal; of anything else there are enough.
    pub(super) fn width(&self) -> Option<usize> {
        self.size().map(|(columns, _)| columns)
    }

    /// Columns and lines; a terminal that says 0 does not know.
    fn size(&self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| self.is_terminal)?;
        let known = size.ws_col > 0 && size.ws_row > 0;
        known.then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes after what there is; apart from it by an empty line, unless each line stands for itself.
    pub(super) fn append(&mut self, text: &str, is_line: bool) -> io::Result<()> {
        let gap = if self.has_text && !is_line { "\n" } else { "" };
        self.has_text = true;
        self.write(&format!("{gap}{text}"))
    }

    /// Writes in the place of what there is.
    pub(super) fn replace(&mut self, text: &str) -> io::Result<()> {
        let clear = if self.has_text { "" } else { CLEAR_BELOW };
        self.has_text = true;
        let lines = self.size().map(|(_, lines)| lines);
        self.write(&format!("{HOME}{clear}{}", frame(text, lines)))
    }
}

/// A screen's content: the text, as far as the lines go, over whatever was there.
fn frame(text: &str, height: Option<usize>) -> String {
    let lines: Vec<_> = text.lines().collect();
    // The cursor stands in a line of its own below.
    let room = height.map_or(usize::MAX, |height| height.saturating_sub(1).max(1));
    let fitting = if lines.len() <= room { lines.len() } else { room - 1 };
    let mut frame = String::new();
    for line in lines.iter().take(fitting) {
        frame += &format!("{line}{CLEAR_LINE}\n");
    }
    if fitting < lines.len() {
        frame += &format!("and {} more lines{CLEAR_LINE}\n", lines.len() - fitting);
    }
    frame + CLEAR_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let shown =
            |height| frame("a\nb\nc\n", height).replace(CLEAR_LINE, "").replace(CLEAR_BELOW, "");
        assert_eq!(shown(None), "a\nb\nc\n");
        assert_eq!(shown(Some(4)), "a\nb\nc\n");
        assert_eq!(shown(Some(3)), "a\nand 2 more lines\n");
        assert_eq!(shown(Some(1)), "and 3 more lines\n");
    }

    #[test]
    fn a_shorter_text_leaves_nothing_of_a_longer_one() {
        assert_eq!(frame("a\n", None), "a\x1b[K\n\x1b[J");
    }
}
