//! Families of answers: `x=\frac\pi4+k\pi, k\in\mathbb{Z}`. However it is said what k may be, it becomes an item of its
//! own, and a letter that only counts gets one name, so that n in its place says the same.

use compact_str::CompactString;

use super::super::token::{Bracket, Kind, Token};

/// The letters that only count, or run through numbers, where a text says what they may be. Those of unknowns are none.
const COUNTING: [&str; 19] = [
    "k", "n", "m", "l", "j", "p", "q", "t", "s", "r", "a", "b", "c", "u", "v", "λ", "μ", "α", "β",
];

/// The name that such a letter gets where it may be any integer.
pub(crate) const NAME_OF_INTEGER: &str = "𝕜";
/// The name that it gets otherwise.
const NAME: &str = "𝕟";

/// The name of a letter that runs through a set that is described.
const RUNNING: &str = "𝕟";

/// Words around what is said of a letter that say nothing more.
const FILLERS: [&str; 16] = [
    "where",
    "for",
    "with",
    "any",
    "all",
    "every",
    "each",
    "some",
    "an",
    "a",
    "is",
    "are",
    "be",
    "being",
    "arbitrary",
    "and",
];

/// Most tokens of a set: `\mathbb{Z}^{+}`.
const MOST_OF_SET: usize = 6;

/// What the end of a text says of a letter.
struct Declared<'a> {
    /// How many tokens stand before it.
    head: usize,
    letter: Token<'a>,
    set: Vec<Token<'a>>,
}

/// Brings all ways to say what a letter may be into one, and gives the letter one name.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    // The cheap look first.
    if !tokens
        .iter()
        .any(|token| matches!(token.kind, Kind::In) || is_integers(token))
    {
        return;
    }
    settle_sets(tokens);
    if let Some(Declared { head, letter, set }) = declared(tokens) {
        let name = letter.kind.clone();
        let piece = |kind| Token { kind, ..letter.clone() };
        tokens.truncate(head);
        let is_used = tokens.iter().any(|token| token.kind == name);
        tokens.extend([piece(Kind::Comma), piece(name.clone()), piece(Kind::In)]);
        let is_any_integer = is_all_integers(&set);
        tokens.extend(set);
        if is_used {
            rename(tokens, &name, is_any_integer);
        }
    }
    rename_in_braces(tokens);
}

/// `k \in Z` and `x \in \mathbf{R}` mean the sets of numbers.
fn settle_sets(tokens: &mut [Token<'_>]) {
    for index in 1..tokens.len() {
        let ends = tokens.get(index + 1).is_none_or(|next| {
            matches!(
                next.kind,
                Kind::Close(_) | Kind::Comma | Kind::Caret | Kind::Text(_) | Kind::GroupClose
            )
        });
        let (Kind::Symbol(name), true) = (&tokens[index].kind, ends && tokens[index - 1].kind == Kind::In) else {
            continue;
        };
        let set = match (name.as_str(), tokens[index].is_bold) {
            ("Z", _) => "ℤ",
            ("N", _) => "ℕ",
            ("Q", true) => "ℚ",
            ("C", true) => "ℂ",
            ("R", true) => {
                tokens[index].kind = Kind::Reals;
                continue;
            }
            _ => continue,
        };
        tokens[index].kind = Kind::Symbol(CompactString::const_new(set));
        tokens[index].is_bold = false;
    }
}

fn is_integers(token: &Token<'_>) -> bool {
    matches!(
        token.kind,
        Kind::Text("integer" | "integers") | Kind::Word("integer" | "integers")
    )
}

fn is_filler(token: &Token<'_>) -> bool {
    match token.kind {
        Kind::Text(word) | Kind::Word(word) => FILLERS.contains(&word.to_lowercase().as_str()),
        Kind::Other("\\forall") => true,
        _ => false,
    }
}

fn is_letter(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Symbol(_))
}

/// Whether these tokens are a set of numbers: `\mathbb{Z}`, `\mathbb{N}^*`.
fn is_set(tokens: &[Token<'_>]) -> bool {
    let Some((first, marks)) = tokens.split_first() else {
        return false;
    };
    let is_first = match &first.kind {
        Kind::Reals => true,
        Kind::Symbol(name) => matches!(name.as_str(), "ℤ" | "ℕ" | "ℚ" | "ℂ"),
        _ => false,
    };
    let is_mark = |token: &Token<'_>| {
        matches!(
            token.kind,
            Kind::Caret
                | Kind::Underscore
                | Kind::GroupOpen
                | Kind::GroupClose
                | Kind::Plus
                | Kind::Minus
                | Kind::Times
                | Kind::Number(..)
        )
    };
    is_first && tokens.len() <= MOST_OF_SET && marks.iter().all(is_mark)
}

/// Whether a set is that of all integers.
fn is_all_integers(set: &[Token<'_>]) -> bool {
    matches!(set, [Token { kind: Kind::Symbol(name), .. }] if name == "ℤ")
}

/// What the last tokens say of a letter; none if they say anything else, or nothing stands before them.
fn declared<'a>(tokens: &[Token<'a>]) -> Option<Declared<'a>> {
    let last = tokens.last()?;
    let (inner, opened) = if last.kind == Kind::Close(Bracket::Round) {
        let open = tokens
            .iter()
            .rposition(|token| token.kind == Kind::Open(Bracket::Round))?;
        (&tokens[..tokens.len() - 1], Some(open))
    } else {
        (tokens, None)
    };
    let (mut start, letter, set) = said_of_a_letter(inner)?;
    let mut is_apart = tokens[start].spaced;
    while start > 0 && is_filler(&tokens[start - 1]) {
        start -= 1;
        is_apart = true;
    }
    let mut head = match opened {
        Some(open) if open + 1 == start => open,
        Some(_) => return None,
        None if start > 0 && separates(&tokens[start - 1]) => start - 1,
        None if is_apart => start,
        None => return None,
    };
    while head > 0 && separates(&tokens[head - 1]) {
        head -= 1;
    }
    let opens = |token: &&Token<'_>| matches!(token.kind, Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_));
    let closes = |token: &&Token<'_>| matches!(token.kind, Kind::Close(_) | Kind::GroupClose | Kind::End);
    let before = &tokens[..head];
    let is_whole = before.iter().filter(opens).count() == before.iter().filter(closes).count();
    (head > 0 && is_whole).then_some(Declared { head, letter, set })
}

fn separates(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Comma | Kind::Semicolon)
}

/// Where the last tokens begin to say what a letter may be, the letter, and the set: `k \in \mathbb{Z}`, `k` is an
/// integer, for integers `k`.
fn said_of_a_letter<'a>(tokens: &[Token<'a>]) -> Option<(usize, Token<'a>, Vec<Token<'a>>)> {
    let integers = |like: &Token<'a>| {
        vec![Token {
            kind: Kind::Symbol(CompactString::const_new("ℤ")),
            ..like.clone()
        }]
    };
    if let Some(place) = tokens.iter().rposition(|token| token.kind == Kind::In)
        && is_set(&tokens[place + 1..])
    {
        let letter = place.checked_sub(1)?;
        return is_letter(&tokens[letter]).then(|| (letter, tokens[letter].clone(), tokens[place + 1..].to_vec()));
    }
    let [before @ .., last] = tokens else {
        return None;
    };
    if is_letter(last) && before.last().is_some_and(is_integers) {
        return Some((before.len() - 1, last.clone(), integers(last)));
    }
    if is_integers(last) {
        let letter = before.iter().rposition(|token| !is_filler(token))?;
        let letter_token = &before[letter];
        return is_letter(letter_token).then(|| (letter, letter_token.clone(), integers(letter_token)));
    }
    None
}

/// Gives a letter that only counts its one name.
fn rename(tokens: &mut [Token<'_>], letter: &Kind<'_>, is_any_integer: bool) {
    let Kind::Symbol(name) = letter else {
        return;
    };
    if !COUNTING.contains(&name.as_str()) {
        return;
    }
    for token in tokens.iter_mut().filter(|token| token.kind == *letter) {
        token.kind = Kind::Symbol(CompactString::const_new(if is_any_integer {
            NAME_OF_INTEGER
        } else {
            NAME
        }));
    }
}

/// The same within a set that is described: `\{2k \mid k \in \mathbb{Z}\}`.
fn rename_in_braces(tokens: &mut [Token<'_>]) {
    let brace = Kind::Close(Bracket::Brace);
    for close in (0..tokens.len())
        .filter(|index| tokens[*index].kind == brace)
        .collect::<Vec<_>>()
    {
        let Some(open) = tokens[..close]
            .iter()
            .rposition(|token| token.kind == Kind::Open(Bracket::Brace))
        else {
            continue;
        };
        rename_running(&mut tokens[open + 1..close]);
        let inner = &tokens[open + 1..close];
        let Some(place) = inner
            .iter()
            .rposition(|token| token.kind == Kind::In)
            .filter(|place| *place >= 2)
        else {
            continue;
        };
        let letter = inner[place - 1].kind.clone();
        let is_said = is_set(&inner[place + 1..])
            && matches!(inner[place - 2].kind, Kind::Bar | Kind::Colon | Kind::Comma)
            && inner[..place - 1].iter().any(|token| token.kind == letter);
        if is_said {
            let is_any_integer = is_all_integers(&inner[place + 1..]);
            rename(&mut tokens[open + 1..close], &letter, is_any_integer);
            let sign = &mut tokens[open + place - 1].kind;
            if *sign == Kind::Colon {
                *sign = Kind::Bar;
            }
        }
    }
}

/// The same for the letter of `\{n \in \mathbb{Z} \mid n > 2\}`, whichever it is, by what stands in the braces. Sets of real
/// numbers are worked out.
fn rename_running(inner: &mut [Token<'_>]) {
    let Some(bar) = (inner.iter()).position(|token| matches!(token.kind, Kind::Bar | Kind::Colon)) else {
        return;
    };
    let (described, condition) = (&inner[..bar], &inner[bar + 1..]);
    let Some((letter, member)) = described.split_first().filter(|(letter, _)| is_letter(letter)) else {
        return;
    };
    let running = letter.kind.clone();
    let is_of_set = match member {
        [sign, set @ ..] => {
            sign.kind == Kind::In && !set.is_empty() && !matches!(set, [only] if only.kind == Kind::Reals)
        }
        // `\{n \mid n \in \mathbb{Z}, n > 2\}`
        [] => condition.windows(3).any(|said| {
            said[0].kind == running && said[1].kind == Kind::In && said[2].kind != Kind::Reals && is_set(&said[2..])
        }),
    };
    let name = Kind::Symbol(CompactString::const_new(RUNNING));
    let is_known = inner.iter().any(|token| token.kind == name);
    if is_of_set && !is_known && condition.iter().any(|token| token.kind == running) {
        for token in inner.iter_mut().filter(|token| token.kind == running) {
            token.kind = name.clone();
        }
        // `\{n \in \mathbb{Z} : n > 2\}`
        inner[bar].kind = Kind::Bar;
    }
}
