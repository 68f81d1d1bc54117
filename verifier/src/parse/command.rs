//! LaTeX commands: which are fonts, which only dress, which are spaces, and where their arguments end.

use compact_str::{CompactString, ToCompactString as _};

use super::token::{Conjunction, Kind};
use crate::expression::Constant;

/// Whether a command is a font such as `\text{…}`, in which a run of letters is words.
pub(super) fn is_text_font(name: &str) -> bool {
    matches!(
        name,
        "emph"
            | "textup"
            | "textsc"
            | "text"
            | "textbf"
            | "textit"
            | "textrm"
            | "textnormal"
            | "textsf"
            | "texttt"
            | "mathrm"
            | "rm"
            | "mbox"
            | "hbox"
            | "operatorname"
    )
}

/// Whether it is a font in which letters are variables.
pub(super) fn is_variable_font(name: &str) -> bool {
    matches!(
        name,
        "mathbf"
            | "mathit"
            | "mathsf"
            | "mathtt"
            | "mathcal"
            | "mathscr"
            | "mathfrak"
            | "boldsymbol"
            | "bm"
            | "mathnormal"
    )
}

/// Whether it leaves no token.
pub(super) fn is_dress(name: &str) -> bool {
    matches!(
        name,
        "notag"
            | "nonumber"
            | "hfill"
            | "strut"
            | "tiny"
            | "Huge"
            | "smash"
            | "null"
            | "left"
            | "right"
            | "big"
            | "Big"
            | "bigg"
            | "Bigg"
            | "bigl"
            | "bigr"
            | "Bigl"
            | "Bigr"
            | "biggl"
            | "biggr"
            | "Biggl"
            | "Biggr"
            | "middle"
            | "displaystyle"
            | "textstyle"
            | "scriptstyle"
            | "limits"
            | "nolimits"
            | "boxed"
            | "fbox"
            | "ensuremath"
            | "mathop"
            | "mathord"
            | "mathrel"
            | "bf"
            | "it"
            | "("
            | ")"
            | "["
            | "]"
            | "/"
            | "protect"
            | "small"
            | "large"
            | "Large"
            | "LARGE"
            | "huge"
            | "normalsize"
            | "checkmark"
            | "blacksquare"
    )
}

/// Whether it leaves a space.
pub(super) fn is_space(name: &str) -> bool {
    matches!(
        name,
        ">" | "space"
            | "thickspace"
            | "medspace"
            | ","
            | ";"
            | ":"
            | " "
            | "quad"
            | "qquad"
            | "enspace"
            | "thinspace"
            | "\n"
            | "\t"
    )
}

/// Whether a space, by the name of its command, is followed by another one, so that both are wide together.
pub(super) fn is_space_before_space(name: &str, after: &str) -> bool {
    matches!(name, " " | ";" | ">" | "thickspace" | "space")
        && ["\\ ", "\\;", "~"].iter().any(|space| after.starts_with(space))
}

/// Whether it is the name of a function of several letters, which needs no brackets.
pub(super) fn is_upright(name: &str) -> bool {
    name.chars().nth(1).is_some_and(char::is_alphabetic)
}

/// A single letter.
pub(super) fn letter(source: &str) -> Kind<'_> {
    match source {
        "e" => Kind::Constant(Constant::Euler),
        "i" => Kind::Constant(Constant::Imaginary),
        _ => Kind::Symbol(CompactString::from(source)),
    }
}

/// `\mathrm{e}` and `\mathrm{i}` are set upright because they are constants.
pub(super) fn upright_constant(content: &str) -> Option<Kind<'static>> {
    match content {
        "e" => Some(Kind::Constant(Constant::Euler)),
        "i" => Some(Kind::Constant(Constant::Imaginary)),
        "or" => Some(Kind::Conjunction(Conjunction::Or)),
        "and" => Some(Kind::Conjunction(Conjunction::And)),
        _ => None,
    }
}

pub(super) fn number_set(content: &str) -> Kind<'_> {
    match content {
        "R" => Kind::Reals,
        "Z" => Kind::Symbol(CompactString::const_new("ℤ")),
        "N" => Kind::Symbol(CompactString::const_new("ℕ")),
        "Q" => Kind::Symbol(CompactString::const_new("ℚ")),
        "C" => Kind::Symbol(CompactString::const_new("ℂ")),
        // Expectation and probability.
        "E" => Kind::Symbol(CompactString::const_new("𝔼")),
        "P" => Kind::Symbol(CompactString::const_new("ℙ")),
        "1" => Kind::Symbol(CompactString::const_new("𝟙")),
        "H" => Kind::Symbol(CompactString::const_new("ℍ")),
        _ => match content.as_bytes() {
            // The letters with double strokes of Unicode, in the order of the alphabet.
            [letter @ b'A'..=b'Z'] => {
                let stroked = char::from_u32(0x1D538 + u32::from(letter - b'A'));
                stroked.map_or(Kind::Other(content), |letter| Kind::Symbol(letter.to_compact_string()))
            }
            _ => Kind::Other(content),
        },
    }
}

/// The length of `^\circ` in one of its spellings.
pub(super) fn degree_length(rest: &str) -> Option<usize> {
    let mut inner = rest[1..].trim_start();
    let grouped = inner.starts_with('{');
    if grouped {
        inner = inner[1..].trim_start();
    }
    let after = ["\\circ", "\\degree", "°", "∘"]
        .iter()
        .find_map(|spelling| inner.strip_prefix(spelling))?;
    if after.starts_with(|next: char| next.is_ascii_alphabetic()) && inner.starts_with('\\') {
        return None;
    }
    let after = if grouped {
        after.trim_start().strip_prefix('}')?
    } else {
        after
    };
    Some(rest.len() - after.len())
}

/// How many primes `^\prime` or `^{\prime\prime}` are, and its length.
pub(super) fn raised_primes(rest: &str) -> Option<(usize, usize)> {
    let mut inner = rest[1..].trim_start();
    let grouped = inner.starts_with('{');
    if grouped {
        inner = inner[1..].trim_start();
    }
    let mut count = 0;
    let signs: &[&str] = if grouped { &["\\prime", "'"] } else { &["\\prime"] };
    while let Some(sign) = signs.iter().find(|sign| inner.starts_with(**sign)) {
        let after = &inner[sign.len()..];
        if sign.len() > 1 && after.starts_with(|next: char| next.is_ascii_alphabetic()) {
            return None;
        }
        count += 1;
        if !grouped {
            return Some((count, rest.len() - after.len()));
        }
        inner = after.trim_start();
    }
    let after = inner.strip_prefix('}').filter(|_| count > 0)?;
    Some((count, rest.len() - after.len()))
}

/// The text behind the distance that a row break may have: `\\[4pt]`.
pub(super) fn without_row_distance(text: &str) -> &str {
    let Some((distance, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) else {
        return text;
    };
    let is_length = ["pt", "em", "ex", "mm", "cm", "in"].iter().any(|unit| {
        let number = distance.strip_suffix(unit).unwrap_or_default().trim();
        !number.is_empty()
            && number
                .bytes()
                .all(|next| next.is_ascii_digit() || matches!(next, b'.' | b'-'))
    });
    if is_length { rest } else { text }
}

/// Splits a text that starts with a backslash after its command, letters or one other character: the name without the
/// backslash, and what follows.
pub(super) fn split_command(text: &str) -> (&str, &str) {
    let name = &text[1..];
    let letters = name
        .find(|next: char| !next.is_ascii_alphabetic())
        .unwrap_or(name.len());
    let length = if letters > 0 {
        letters
    } else {
        name.chars().next().map_or(0, char::len_utf8)
    };
    name.split_at(length)
}

/// The next argument of a command, without its braces, and what follows. An argument that never closes is empty.
pub(super) fn argument(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let Some(inner) = text.strip_prefix('{') else {
        let length = match text.chars().next() {
            Some('\\') => 1 + split_command(text).0.len(),
            Some(next) => next.len_utf8(),
            None => 0,
        };
        return text.split_at(length);
    };
    match super::dress::group_end(inner) {
        Some(end) => (&inner[..end], &inner[end + 1..]),
        None => ("", inner),
    }
}

/// Whether a run of letters ends in two differentials at least: `dydx`, `xydxdy`.
fn ends_in_differentials(run: &str) -> bool {
    let mut rest = run;
    let mut count = 0;
    while let [before @ .., b'd', b'x' | b'y' | b'z' | b'r' | b't' | b'u' | b'v'] = rest.as_bytes() {
        rest = &rest[..before.len()];
        count += 1;
    }
    count > 1 && rest.len() <= 3
}

/// Longest run of letters that is read as a product of variables.
const LONGEST_PRODUCT: usize = 3;

/// Whether a run of letters is a product of variables rather than a word.
pub(super) fn may_be_product(run: &str) -> bool {
    run.len() <= LONGEST_PRODUCT || ends_in_differentials(run)
}
