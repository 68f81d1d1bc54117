//! Makes generated texts safe to print on a terminal.

/// Makes the characters visible that steer a terminal, because a model can generate escape sequences. Those that turn the
/// direction of what follows are replaced, because they would move our own texts too.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER),
            '\x7f' => '\u{2421}',
            other if steers(other) => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect()
}

/// Whether a character steers a terminal, or turns the direction of what follows.
pub(crate) fn steers(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text in one line, no longer than `most` characters.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let joined = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if joined.chars().count() <= most {
        return joined;
    }
    let mut short: String = joined.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Indents every line of the text by this many blanks.
pub(super) fn indented(text: &str, blanks: usize) -> String {
    let indent = " ".repeat(blanks);
    let lines: Vec<String> = plain(text).split('\n').map(|line| format!("{indent}{line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\n\tc\u{9b}d\u{7f}"), "a␛[31mb␍\n\tc\u{fffd}d␡");
        assert_eq!(plain("a\u{202e}b\u{2067}c"), "a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn lines_are_shortened_and_indented() {
        assert_eq!(one_line("a  b\nc", 10), "a b c");
        assert_eq!(one_line("äbcdef", 4), "äbc…");
        assert_eq!(indented("a\nb", 2), "  a\n  b");
    }
}
