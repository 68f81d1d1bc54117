//! Letters whose order counts. Capitals that are matrices, told by the inverse of one in a product of several: `PDP^{-1}` is
//! neither D nor `P^{-1}DP`. Elements of a group, told by a letter and its inverse around others: `gxg^{-1}`.

use dashu_ratio::RBig;

use super::super::answer::Ordered;
use super::super::kinds::Kinds;
use super::super::spell::{argument_end, spell};
use super::super::token::{Bracket, Kind, Token};

/// What dimensions are written with: `MLT^{-1}`.
const DIMENSIONS: [&str; 7] = ["M", "L", "T", "I", "K", "N", "J"];

/// Capitals that are units behind a number: `8.31 JK^{-1}`.
const UNITS: [&str; 14] = ["J", "K", "N", "C", "V", "A", "W", "T", "H", "F", "S", "M", "L", "G"];

/// The name of a capital, Latin or Greek.
pub(super) fn capital<'t>(token: &'t Token<'_>) -> Option<&'t str> {
    let Kind::Symbol(name) = &token.kind else {
        return None;
    };
    let mut letters = name.chars();
    let is_capital = letters.next().is_some_and(char::is_uppercase) && letters.next().is_none();
    is_capital.then_some(name)
}

/// How many tokens the exponent −1 takes here.
fn inversion(tokens: &[Token<'_>]) -> Option<usize> {
    let [caret, open, minus, one, close, ..] = tokens else {
        return None;
    };
    let is_inverse = caret.kind == Kind::Caret
        && open.kind == Kind::GroupOpen
        && minus.kind == Kind::Minus
        && matches!(&one.kind, Kind::Number(one, _) if *one == RBig::ONE)
        && close.kind == Kind::GroupClose;
    is_inverse.then_some(5)
}

/// How many tokens a capital takes here, with its index, if it stands to the power of −1.
fn inverse(tokens: &[Token<'_>]) -> Option<usize> {
    capital(tokens.first()?)?;
    let mut power = 1;
    if tokens.get(1)?.kind == Kind::Underscore {
        let index = &tokens[2..];
        power = match index.first()?.kind {
            Kind::GroupOpen => 3 + index.iter().position(|token| token.kind == Kind::GroupClose)?,
            _ => 3,
        };
    }
    Some(power + inversion(tokens.get(power..)?)?)
}

/// Whether there is more than one letter at all: most answers are numbers.
pub(super) fn are_several(tokens: &[Token<'_>]) -> bool {
    let is_letter = |token: &&Token<'_>| matches!(token.kind, Kind::Symbol(_));
    tokens.iter().filter(is_letter).nth(1).is_some()
}

/// Which letters of a text keep their order.
pub(in crate::parse) fn ordered(tokens: &[Token<'_>], kinds: Kinds) -> Ordered {
    let may_be = |rest: &[Token<'_>]| inversion(rest).is_some() || is_of_product(rest);
    // `AB = \begin{pmatrix} … \end{pmatrix}`
    let is_matrix = |token: &Token<'_>| matches!(token.kind, Kind::Begin(name) if name.ends_with("matrix"));
    if kinds.has(Kinds::BEGIN) && tokens.iter().any(is_matrix) && has_product(tokens) {
        return Ordered::Capitals;
    }
    if !kinds.has(Kinds::SYMBOL) || !are_several(tokens) || !(0..tokens.len()).any(|place| may_be(&tokens[place..])) {
        Ordered::None
    } else if conjugates(tokens) {
        Ordered::Letters
    } else if are_matrices(tokens) {
        Ordered::Capitals
    } else {
        Ordered::None
    }
}

/// Most letters of a product that are looked through for a letter and its inverse.
const MAX_LETTERS: usize = 32;

/// Whether a letter and its inverse stand in one product with other letters between: with numbers they would cancel.
fn conjugates(tokens: &[Token<'_>]) -> bool {
    let mut letters: Vec<(&[Token<'_>], bool)> = Vec::new();
    let mut place = 0;
    while let Some(token) = tokens.get(place) {
        if token.kind == Kind::Times {
            place += 1;
            continue;
        }
        if !matches!(token.kind, Kind::Symbol(_)) {
            letters.clear();
            place += 1;
            continue;
        }
        let start = place;
        place += 1;
        if tokens.get(place).is_some_and(|next| next.kind == Kind::Underscore) {
            place = argument_end(tokens, place + 1);
        }
        let name = &tokens[start..place.min(tokens.len())];
        let inversion = inversion(&tokens[name.len() + start..]);
        if inversion.is_none() && tokens.get(place).is_some_and(|next| next.kind == Kind::Caret) {
            place = argument_end(tokens, place + 1);
        }
        place += inversion.unwrap_or(0);
        letters.push((name, inversion.is_some()));
        if letters.len() > MAX_LETTERS {
            return false;
        }
        let spelled = spell(name);
        let is_partner =
            |(other, is_inverse): &(&[Token<'_>], bool)| *is_inverse != inversion.is_some() && spell(other) == spelled;
        let is_other = |(other, _): &(&[Token<'_>], bool)| spell(other) != spelled;
        let partner = letters.iter().position(is_partner);
        if partner.is_some_and(|partner| letters[partner..].iter().any(is_other)) {
            return true;
        }
    }
    false
}

/// Where the round bracket that closes at this place opens.
fn opening(tokens: &[Token<'_>], close: usize) -> Option<usize> {
    let mut depth = 0usize;
    (0..=close).rev().find(|place| {
        match tokens[*place].kind {
            Kind::Close(Bracket::Round) => depth += 1,
            Kind::Open(Bracket::Round) => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

/// Whether two capitals stand side by side.
pub(super) fn has_product(tokens: &[Token<'_>]) -> bool {
    let are_capitals = |pair: &[Token<'_>]| pair.iter().all(|token| capital(token).is_some());
    tokens.windows(2).any(are_capitals)
}

/// Whether a trace, a rank or a kernel of a product of capitals begins here.
fn is_of_product(tokens: &[Token<'_>]) -> bool {
    let [name, rest @ ..] = tokens else {
        return false;
    };
    let is_of_matrix =
        matches!(&name.kind, Kind::Symbol(name) if matches!(name.as_str(), "tr" | "Tr" | "rank" | "ker"));
    let inside = match rest {
        [open, inside @ ..] if open.kind == Kind::Open(Bracket::Round) => inside,
        all => all,
    };
    let are_capitals = inside.iter().take_while(|token| capital(token).is_some()).count() > 1;
    is_of_matrix && are_capitals
}

/// Whether the capitals of a text are matrices: one of them, or a bracket with one, is inverted, and others stand beside
/// it, or they are multiplied in a trace.
fn are_matrices(tokens: &[Token<'_>]) -> bool {
    if (0..tokens.len()).any(|place| is_of_product(&tokens[place..])) {
        return true;
    }
    let is_at = |place: Option<usize>, is: &dyn Fn(&Token<'_>) -> bool| {
        place.and_then(|place| tokens.get(place)).is_some_and(is)
    };
    let is_factor = |place: Option<usize>| {
        let is_bracket = |token: &Token<'_>| matches!(token.kind, Kind::GroupClose | Kind::Close(_) | Kind::Open(_));
        let is_above = |token: &Token<'_>| matches!(token.kind, Kind::Caret | Kind::Underscore | Kind::Times);
        is_at(place, &|token| capital(token).is_some() || is_bracket(token))
            // `B^2Q^{-1}`
            || is_at(place.and_then(|place| place.checked_sub(1)), &is_above)
            // `Q^{-1} \cdot B`
            || is_at(place, &|token| token.kind == Kind::Times)
    };
    let is_in_product = |place: usize| {
        let (first, behind) = if tokens[place].kind == Kind::Close(Bracket::Round) {
            let (Some(length), Some(open)) = (inversion(&tokens[place + 1..]), opening(tokens, place)) else {
                return false;
            };
            let inside = &tokens[open..place];
            if !inside.iter().any(|token| capital(token).is_some()) {
                return false;
            }
            // `(AB)^{-1}`
            if has_product(inside) {
                return true;
            }
            (open, place + 1 + length)
        } else {
            let Some(length) = inverse(&tokens[place..]) else {
                return false;
            };
            (place, place + length)
        };
        is_factor(first.checked_sub(1)) || is_factor(Some(behind))
    };
    if !(0..tokens.len()).any(is_in_product) {
        return false;
    }
    let mut names: Vec<&str> = tokens.iter().filter_map(capital).collect();
    names.sort_unstable();
    names.dedup();
    let are_all = |known: &[&str]| names.iter().all(|name| known.contains(name));
    let is_measurement = matches!(tokens.first(), Some(first) if matches!(first.kind, Kind::Number(..)));
    names.len() > 1 && !are_all(&DIMENSIONS) && !(is_measurement && are_all(&UNITS))
}

/// Makes letters keep their order. False where something is divided by one: then they are numbers.
pub(in crate::parse) fn keep_order(tokens: &mut Vec<Token<'_>>, letters: Ordered) -> bool {
    let divides = tokens
        .iter()
        .any(|token| matches!(token.kind, Kind::Frac | Kind::Divide));
    if divides {
        return false;
    }
    for token in tokens.iter_mut() {
        token.is_bold |= match letters {
            Ordered::None => false,
            Ordered::Capitals => capital(token).is_some(),
            Ordered::Letters => matches!(token.kind, Kind::Symbol(_)),
        };
    }
    // A sign between matrices is no product of vectors.
    let is_sign = |pair: &[Token<'_>]| pair[0].kind == Kind::Times && pair[1].is_bold;
    let signs: Vec<usize> = (tokens.windows(2).enumerate())
        .filter_map(|(place, pair)| is_sign(pair).then_some(place))
        .collect();
    for place in signs.into_iter().rev() {
        tokens.remove(place);
    }
    true
}
