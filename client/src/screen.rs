//! A screen of one's own on a terminal: what was on it comes back when it is dropped, however the command ends.

use std::io::Write;

/// Switches to the terminal's other screen, and hides the cursor.
const OPEN: &str = "\u{1b}[?1049h\u{1b}[?25l";

/// Shows the cursor, and switches back.
const CLOSE: &str = "\u{1b}[?25h\u{1b}[?1049l";

const HOME: &str = "\u{1b}[H";
const CLEAR_REST_OF_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Columns of the names at the left of a report.
const NAMES: usize = 12;

/// A terminal's other screen, until it is dropped.
#[derive(Debug)]
pub struct Screen<W: Write> {
    terminal: W,
}

impl<W: Write> Screen<W> {
    /// Opens it.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn open(terminal: W) -> std::io::Result<Self> {
        let mut screen = Self { terminal };
        screen.write(OPEN)?;
        Ok(screen)
    }

    /// Shows a text in place of the one before, as many rows of it as fit. What is wider goes on in the next row.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn draw(&mut self, text: &str, rows: usize, columns: usize) -> std::io::Result<()> {
        let mut picture = HOME.to_owned();
        let lines: Vec<String> = text
            .lines()
            .flat_map(|line| folded(line, columns))
            .take(rows)
            .map(|line| line + CLEAR_REST_OF_LINE)
            .collect();
        // No line break behind the last line, which would move the screen up.
        picture.push_str(&lines.join("\r\n"));
        picture.push_str(CLEAR_BELOW);
        self.write(&picture)
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.terminal.write_all(text.as_bytes())?;
        self.terminal.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = self.write(CLOSE);
    }
}

/// A line as rows of a terminal, broken at blanks where there are any. What goes on stands under the first row's text,
/// behind the names in its left column.
fn folded(line: &str, columns: usize) -> Vec<String> {
    let indent = if columns >= 4 * NAMES { NAMES } else { 0 };
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut rest: Vec<char> = line.chars().collect();
    loop {
        let room = columns.saturating_sub(row.len()).max(1);
        if rest.len() <= room {
            row.extend(rest);
            rows.push(row);
            return rows;
        }
        // A blank just behind the row is a place as well.
        let blank = rest[..=room].iter().rposition(|letter| *letter == ' ');
        let end = blank.filter(|end| *end > indent).unwrap_or(room);
        row.extend(rest.drain(..end));
        rows.push(std::mem::replace(&mut row, " ".repeat(indent)));
        let blanks = rest.iter().take_while(|letter| **letter == ' ').count();
        rest.drain(..blanks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wider_than_the_terminal_goes_on_in_the_next_row() {
        let line = "fault       Redis keeps no append-only file: its death costs the groups that it holds";
        assert_eq!(folded(line, 100), [line]);
        assert_eq!(
            folded(line, 50),
            [
                "fault       Redis keeps no append-only file: its",
                "            death costs the groups that it holds"
            ]
        );
        assert_eq!(folded("a wide world", 6), ["a wide", "world"]);
        assert_eq!(folded("unbroken", 3), ["unb", "rok", "en"]);
        assert_eq!(folded("", 5), [""]);
        assert_eq!(folded("ab", 0), ["a", "b"]);
        for columns in 1..120 {
            let rows = folded(line, columns);
            assert!(
                rows.iter().all(|row| row.chars().count() <= columns),
                "{columns}: {rows:?}"
            );
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&rows.join(" ")), words(line), "{columns}");
        }
    }

    #[test]
    fn the_terminal_is_as_it_was_and_nothing_is_wider_or_higher_than_it() {
        let mut written = Vec::new();
        let mut screen = Screen::open(&mut written).expect("a screen");
        screen.draw("one\nthreefour\nfive", 3, 5).expect("drawn");
        drop(screen);
        let written = String::from_utf8(written).expect("text");
        assert!(written.starts_with(OPEN) && written.ends_with(CLOSE), "{written:?}");
        assert_eq!(written.matches("\r\n").count(), 2, "{written:?}");
        assert!(
            written.contains("three\u{1b}[K") && !written.contains("five"),
            "{written:?}"
        );
        assert!(
            written.contains(&format!("four{CLEAR_REST_OF_LINE}{CLEAR_BELOW}")),
            "{written:?}"
        );
    }
}
