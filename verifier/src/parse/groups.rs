//! Products and quotients of groups and of spaces, which are no arithmetic: `\mathbb{Z}/2\mathbb{Z} \times
//! \mathbb{Z}/6\mathbb{Z}` is no `\mathbb{Z}/3\mathbb{Z} \times \mathbb{Z}/4\mathbb{Z}`, and `S^1 \times S^2` no `S^3`.

use compact_str::CompactString;

use super::spell::{argument_end, spell};
use super::token::{Bracket, Kind, Token, closing};

/// Largest power that is written out as factors.
const MOST_FACTORS: usize = 8;

/// How factors are joined.
#[derive(Clone, Copy, PartialEq)]
enum Joint {
    /// `×`, `⊕`
    Direct,
    /// `*`
    Free,
}

/// The one spelling of a group or a space that is made of others; none for anything else. Factors may stand in any order.
pub(super) fn spelled(tokens: &[Token<'_>]) -> Option<CompactString> {
    // Quickly past most answers.
    let begins = tokens.iter().any(|token| is_set(token) || is_sphere_letter(token));
    if !begins || !tokens.iter().all(may_stand) {
        return None;
    }
    let (parts, joint) = parts(tokens)?;
    let mut factors: Vec<CompactString> = Vec::new();
    for part in &parts {
        factors.extend(factor(part)?);
    }
    let is_of_sets = tokens.iter().any(is_set);
    let are_spheres = parts.len() > 1 && parts.iter().all(|part| is_sphere(part));
    if !is_of_sets && !are_spheres || parts.len() == 1 && parts[0].len() == 1 {
        return None;
    }
    factors.sort_unstable();
    Some(factors.join(if joint == Joint::Free { " ∗ " } else { " × " }).into())
}

/// What joins the factors of a free product.
const FREE: &str = "∗";

/// Tells free products of groups from direct ones: `\mathbb{Z}*\mathbb{Z}`.
pub(super) fn settle(tokens: &mut [Token<'_>]) {
    if !tokens.iter().any(is_set) || !tokens.iter().all(may_stand) {
        return;
    }
    for token in tokens.iter_mut() {
        if token.kind == Kind::Times && matches!(token.source, "*" | "\\ast") {
            token.kind = Kind::Operator(FREE);
        }
    }
}

/// The factors between the signs that join them, all of one kind.
fn parts<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(Vec<&'t [Token<'a>]>, Joint)> {
    let mut parts = Vec::new();
    let mut joint: Option<Joint> = None;
    let (mut depth, mut start) = (0usize, 0);
    for (place, token) in tokens.iter().enumerate() {
        let found = match token.kind {
            Kind::Open(_) | Kind::GroupOpen => {
                depth += 1;
                None
            }
            Kind::Close(_) | Kind::GroupClose => {
                depth = depth.saturating_sub(1);
                None
            }
            Kind::Operator(FREE) if depth == 0 => Some(Joint::Free),
            Kind::Times | Kind::Other("\\oplus") if depth == 0 => Some(Joint::Direct),
            _ => None,
        };
        if let Some(found) = found {
            if joint.is_some_and(|joint| joint != found) {
                return None;
            }
            joint = Some(found);
            parts.push(&tokens[start..place]);
            start = place + 1;
        }
    }
    parts.push(&tokens[start..]);
    let is_whole = parts.iter().all(|part| !part.is_empty());
    is_whole.then_some((parts, joint.unwrap_or(Joint::Direct)))
}

/// The factors that one part stands for: `\mathbb{Z}_2^3` is three.
fn factor(part: &[Token<'_>]) -> Option<Vec<CompactString>> {
    let first = part.first()?;
    // `(\mathbb{Z}/2\mathbb{Z})^3`
    if first.kind == Kind::Open(Bracket::Round) {
        let close = closing(part, 0)?;
        let inner = factor(&part[1..close])?;
        return repeated(inner, &part[close + 1..]);
    }
    if !is_set(first) {
        let is_name = matches!(first.kind, Kind::Symbol(_));
        return is_name.then(|| vec![spell(part)]);
    }
    let name = spell(&part[..1]);
    match part.get(1).map(|token| &token.kind) {
        None => Some(vec![name]),
        Some(Kind::Caret) => repeated(vec![name], &part[1..]),
        Some(Kind::Underscore) => {
            let end = argument_end(part, 2).min(part.len());
            repeated(vec![quotient(&name, &part[2..end])], &part[end..])
        }
        Some(Kind::Divide) => {
            let behind = match &part[2..] {
                // `\mathbb{Z}/(n\mathbb{Z})`
                [open, inner @ .., close]
                    if open.kind == Kind::Open(Bracket::Round) && close.kind == Kind::Close(Bracket::Round) =>
                {
                    inner
                }
                all => all,
            };
            let modulus = match behind {
                [modulus @ .., last] if is_set(last) && last.kind == first.kind => modulus,
                all => all,
            };
            let is_modulus = matches!(modulus, [only] if matches!(only.kind, Kind::Number(..) | Kind::Symbol(_)));
            is_modulus.then(|| vec![quotient(&name, modulus)])
        }
        _ => None,
    }
}

fn quotient(name: &str, modulus: &[Token<'_>]) -> CompactString {
    let modulus: Vec<Token<'_>> = modulus
        .iter()
        .filter(|token| !matches!(token.kind, Kind::GroupOpen | Kind::GroupClose))
        .cloned()
        .collect();
    compact_str::format_compact!("{name}/{}", spell(&modulus))
}

/// These factors to a power, if anything stands behind them.
fn repeated(factors: Vec<CompactString>, behind: &[Token<'_>]) -> Option<Vec<CompactString>> {
    let exponent = match behind {
        [] => return Some(factors),
        [caret, count] if caret.kind == Kind::Caret => count,
        [caret, open, count, close]
            if caret.kind == Kind::Caret && (&open.kind, &close.kind) == (&Kind::GroupOpen, &Kind::GroupClose) =>
        {
            count
        }
        _ => return None,
    };
    let count: usize = match exponent.kind {
        Kind::Number(_, None) => exponent.source.parse().ok()?,
        _ => return None,
    };
    let all = std::iter::repeat_n(factors, count).flatten();
    (1..=MOST_FACTORS).contains(&count).then(|| all.collect())
}

fn is_set(token: &Token<'_>) -> bool {
    match &token.kind {
        Kind::Reals => true,
        Kind::Symbol(name) => matches!(name.as_str(), "ℤ" | "ℚ" | "ℂ" | "𝔽"),
        _ => false,
    }
}

fn is_sphere_letter(token: &Token<'_>) -> bool {
    matches!(&token.kind, Kind::Symbol(name) if name == "S")
}

/// Whether a factor is a sphere, `S^2`, or a set.
fn is_sphere(part: &[Token<'_>]) -> bool {
    match part {
        [letter, caret, ..] => is_sphere_letter(letter) && caret.kind == Kind::Caret || is_set(letter),
        [letter] => is_set(letter),
        [] => false,
    }
}

/// Whether a token may stand in the name of a group.
fn may_stand(token: &Token<'_>) -> bool {
    matches!(
        token.kind,
        Kind::Symbol(_)
            | Kind::Reals
            | Kind::Number(..)
            | Kind::Caret
            | Kind::Underscore
            | Kind::GroupOpen
            | Kind::GroupClose
            | Kind::Open(Bracket::Round)
            | Kind::Close(Bracket::Round)
            | Kind::Times
            | Kind::Divide
            | Kind::Operator(FREE)
            | Kind::Other("\\oplus")
    )
}
