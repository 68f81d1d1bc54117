//! A screen of one's own on a terminal: what was on it comes back when it is dropped, however the command ends.

use std::io::Write;

/// Switches to the terminal's other screen, and hides the cursor.
const OPEN: &str = "\u{1b}[?1049h\u{1b}[?25l";

/// Shows the cursor, and switches back.
const CLOSE: &str = "\u{1b}[?25h\u{1b}[?1049l";

const HOME: &str = "\u{1b}[H";
const CLEAR_REST_OF_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

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

    /// Shows a text in place of the one before, as much of it as fits.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn draw(&mut self, text: &str, rows: usize, columns: usize) -> std::io::Result<()> {
        let mut picture = HOME.to_owned();
        let lines: Vec<String> = text
            .lines()
            .take(rows)
            .map(|line| line.chars().take(columns).collect::<String>() + CLEAR_REST_OF_LINE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_is_as_it_was_and_nothing_is_wider_or_higher_than_it() {
        let mut written = Vec::new();
        let mut screen = Screen::open(&mut written).expect("a screen");
        screen.draw("one\nverylong\nthree\nfour", 3, 4).expect("drawn");
        drop(screen);
        let written = String::from_utf8(written).expect("text");
        assert!(written.starts_with(OPEN) && written.ends_with(CLOSE), "{written:?}");
        assert_eq!(written.matches("\r\n").count(), 2, "{written:?}");
        assert!(
            written.contains("very\u{1b}[K") && !written.contains("four"),
            "{written:?}"
        );
        assert!(
            written.contains(&format!("thre{CLEAR_REST_OF_LINE}{CLEAR_BELOW}")),
            "{written:?}"
        );
    }
}
