//! Statements that figures are the same: `\triangle ABC \cong \triangle DEF`, `\angle A = \angle B`. The order of the
//! letters says which vertices correspond, so that it counts, but all figures may be read from another vertex together,
//! and either may stand first. Such a statement is brought to one spelling, and its sign made one that names nothing:
//! the left side is no name of the right one.

use compact_str::CompactString;

use super::lines::LINE;
use super::spell::{argument_end, spell};
use super::token::{Bracket, Kind, Relation, Token};

/// A figure that is named by its points.
pub(super) struct Figure<'a> {
    /// `angle`, `triangle`, or the mark above the letters.
    shape: Option<&'static str>,
    /// Each with its primes and subscripts.
    points: Vec<Vec<Token<'a>>>,
    /// Where it ends.
    end: usize,
}

/// Most points of a figure.
const MAX_POINTS: usize = 8;

/// Most tokens of the name of a figure.
const MAX_TOKENS: usize = 32;

/// Most figures in one statement.
const MAX_FIGURES: usize = 8;

/// Brings the statements among some tokens to one spelling.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    // Quickly past most answers, which have no such sign.
    if !tokens.iter().any(|token| sign(token).is_some()) {
        return;
    }
    let mut start = 0;
    while start < tokens.len() {
        match statement(tokens, start) {
            Some((end, settled)) => {
                let length = settled.len();
                tokens.splice(start..end, settled);
                start += length;
            }
            None => start += 1,
        }
    }
}

/// The statement that begins here, in its one spelling, and where it ends.
fn statement<'a>(tokens: &[Token<'a>], start: usize) -> Option<(usize, Vec<Token<'a>>)> {
    let mut figures = vec![figure(tokens, start)?];
    let mut end = figures[0].end;
    let relation = sign(tokens.get(end)?)?;
    while tokens.get(end).and_then(sign) == Some(relation) {
        let read = figure(tokens, end + 1).filter(|_| figures.len() < MAX_FIGURES)?;
        end = read.end;
        figures.push(read);
    }
    let before = start.checked_sub(1).map(|index| &tokens[index].kind);
    let is_apart = before.is_none_or(|before| stands_before(before, relation))
        && tokens.get(end).is_none_or(|after| stands_behind(&after.kind))
        && figures.iter().all(|figure| figure.may_stand_beside(relation));
    if !is_apart {
        return None;
    }
    let shape = common_shape(&figures);
    let orders = orders(&figures, shape);
    Some((end, written(&figures, shape, &orders, relation)))
}

/// The sign of a statement, in one spelling.
fn sign(token: &Token<'_>) -> Option<&'static str> {
    match (&token.kind, token.source) {
        (Kind::Relation(Relation::Approximate), "\\cong" | "≅") => Some("≅"),
        (Kind::Relation(Relation::Approximate), _) => Some("≈"),
        (Kind::Relation(Relation::Equal), _) => Some("="),
        (Kind::Other(sign @ ("\\sim" | "\\equiv")), _) => Some(if *sign == "\\sim" { "\\sim" } else { "\\equiv" }),
        _ => None,
    }
}

/// Whether a statement may begin behind this. `2\angle A = \angle B` is none, and neither is `\text{half of }\angle A =
/// \angle B`.
fn stands_before(before: &Kind<'_>, relation: &str) -> bool {
    match before {
        Kind::Comma | Kind::Semicolon | Kind::Colon | Kind::Conjunction(_) => true,
        Kind::Text(_) | Kind::Word(_) | Kind::Open(_) | Kind::Close(_) => matches!(relation, "≅" | "\\sim"),
        Kind::Other(sign) => matches!(*sign, "=>" | "\\implies" | "\\Rightarrow" | "\\iff"),
        _ => false,
    }
}

/// Whether a statement may end before this.
fn stands_behind(after: &Kind<'_>) -> bool {
    matches!(
        after,
        Kind::Comma
            | Kind::Semicolon
            | Kind::Colon
            | Kind::Conjunction(_)
            | Kind::Text(_)
            | Kind::Word(_)
            | Kind::Open(_)
            | Kind::Close(_)
    )
}

impl Figure<'_> {
    /// Whether such a sign can say that it is the same as another figure. `AB = CD` is an equation, and `G \cong
    /// \mathbb{Z}_6` is about groups.
    fn may_stand_beside(&self, relation: &str) -> bool {
        match relation {
            "≅" | "\\sim" => self.shape.is_some() || self.points.len() > 1,
            _ => matches!(self.shape, Some("angle" | "triangle")),
        }
    }
}

/// The figure that is named here.
pub(super) fn figure<'a>(tokens: &[Token<'a>], start: usize) -> Option<Figure<'a>> {
    let mut index = start;
    // A name is short, so that a long text is not read anew from each of its letters.
    let tokens = &tokens[..tokens.len().min(start + MAX_TOKENS)];
    while tokens.get(index).is_some_and(introduces_angle) {
        index += 1;
    }
    let is_measured = index > start;
    let first = tokens.get(index)?;
    let mut shape = shape(first);
    let end = if matches!(first.kind, Kind::Accent(_)) {
        argument_end(tokens, index + 1)
    } else {
        tokens.len()
    };
    index += usize::from(shape.is_some());
    let mut points: Vec<Vec<Token<'a>>> = Vec::new();
    let mut depth = 0usize;
    while index < end {
        let token = &tokens[index];
        let mut length = 1;
        match (&token.kind, points.last_mut()) {
            (Kind::Symbol(_), _) if token.is_point() => points.push(vec![token.clone()]),
            (Kind::Text(word) | Kind::Word(word), None) if is_points(word) => points.extend(letters(word)),
            // `\angle 1`, `\angle\alpha`
            (Kind::Symbol(_) | Kind::Number(..), None) if shape == Some("angle") => points.push(vec![token.clone()]),
            (Kind::Text("at" | "of") | Kind::Word("at" | "of"), None) if shape == Some("angle") => {}
            (Kind::GroupOpen, _) | (Kind::Open(Bracket::Round), None) => depth += 1,
            (Kind::GroupClose | Kind::Close(Bracket::Round), _) if depth > 0 => depth -= 1,
            (Kind::Prime, Some(last)) => last.push(token.clone()),
            (Kind::Underscore, Some(last)) => {
                length = argument_end(tokens, index + 1) - index;
                last.extend_from_slice(&tokens[index..index + length]);
            }
            _ => break,
        }
        index += length;
    }
    if shape == Some("hat") && points.len() != 2 {
        shape = Some("angle");
    }
    let is_figure = match shape {
        Some("angle") => matches!(points.len(), 1 | 3),
        Some("triangle") => points.len() == 3,
        // An arc, a segment, a ray.
        Some(_) => points.len() == 2,
        None => !points.is_empty() && points.len() <= MAX_POINTS,
    };
    let is_read = is_figure && depth == 0 && (!is_measured || shape == Some("angle"));
    let end = index;
    is_read.then_some(Figure { shape, points, end })
}

/// `m\angle A`, `\text{the measure of angle } A`.
fn introduces_angle(token: &Token<'_>) -> bool {
    match &token.kind {
        Kind::Symbol(name) => name == "m",
        Kind::Text(word) | Kind::Word(word) => {
            matches!(word.to_lowercase().as_str(), "m" | "the" | "measure" | "size" | "of")
        }
        _ => false,
    }
}

fn shape(token: &Token<'_>) -> Option<&'static str> {
    match &token.kind {
        Kind::Accent("hat") => Some("hat"),
        Kind::Shape("angle") => Some("angle"),
        Kind::Shape("triangle") => Some("triangle"),
        Kind::Symbol(name) if name == "Δ" => Some("triangle"),
        Kind::Accent(mark @ ("bar" | "" | LINE)) => Some(mark),
        Kind::Text(word) | Kind::Word(word) if word.eq_ignore_ascii_case("angle") => Some("angle"),
        Kind::Text(word) | Kind::Word(word) if word.eq_ignore_ascii_case("triangle") => Some("triangle"),
        _ => None,
    }
}

/// Whether the letters of a word name points: `\text{ABC}`, and `ABCD`, which is no product.
fn is_points(word: &str) -> bool {
    word.len() <= MAX_POINTS && word.bytes().all(|letter| letter.is_ascii_uppercase())
}

fn letters<'a>(word: &'a str) -> impl Iterator<Item = Vec<Token<'a>>> {
    (0..word.len()).map(|index| {
        vec![Token {
            kind: Kind::Symbol(CompactString::from(&word[index..=index])),
            spaced: false,
            is_bold: false,
            is_script: false,
            applies: false,
            source: &word[index..=index],
        }]
    })
}

/// The points of the angle that is named here, and where its name ends.
pub(super) fn angle<'a>(tokens: &[Token<'a>], start: usize) -> Option<(Vec<Token<'a>>, usize)> {
    let read = figure(tokens, start).filter(|read| read.shape == Some("angle"))?;
    Some((read.points.concat(), read.end))
}

/// What all figures are; none if they differ. Three letters alone are a triangle, two are a segment.
fn common_shape(figures: &[Figure<'_>]) -> Option<&'static str> {
    let shape = |figure: &Figure<'_>| match (figure.shape, figure.points.len()) {
        (None, 3) => "triangle",
        (None, 2) | (Some("bar" | ""), _) => "segment",
        (None, _) => "polygon",
        (Some(shape), _) => shape,
    };
    let first = shape(figures.first()?);
    let has_as_many = |figure: &Figure<'_>| figure.points.len() == figures[0].points.len();
    let are_alike = figures
        .iter()
        .all(|figure| shape(figure) == first && has_as_many(figure));
    are_alike.then_some(first)
}

/// The points of each figure in the order in which they are written, figure by figure.
fn orders(figures: &[Figure<'_>], shape: Option<&str>) -> Vec<(usize, Vec<usize>)> {
    let names: Vec<Vec<CompactString>> = figures
        .iter()
        .map(|figure| figure.points.iter().map(|point| spell(point)).collect())
        .collect();
    let count = names.first().map_or(0, Vec::len);
    let as_written: Vec<usize> = (0..count).collect();
    let Some(shape) = shape else {
        return (0..figures.len())
            .map(|figure| (figure, (0..figures[figure].points.len()).collect()))
            .collect();
    };
    let named = |figure: usize, order: &[usize]| -> Vec<&CompactString> {
        order.iter().map(|point| &names[figure][*point]).collect()
    };
    // Every angle and segment may be read from its other end; the points of other figures correspond.
    let mut found: Vec<Vec<(usize, Vec<usize>)>> = if matches!(shape, "angle" | "segment" | "hat") {
        let reversed: Vec<usize> = (0..count).rev().collect();
        let order = |figure: usize| {
            let is_reversed = named(figure, &reversed) < named(figure, &as_written);
            if is_reversed {
                reversed.clone()
            } else {
                as_written.clone()
            }
        };
        vec![(0..figures.len()).map(|figure| (figure, order(figure))).collect()]
    } else {
        let turned = (0..count).flat_map(|first| {
            let forward: Vec<usize> = (0..count).map(|step| (first + step) % count).collect();
            let backward: Vec<usize> = (0..count).map(|step| (first + count - step) % count).collect();
            [forward, backward]
        });
        // Of three points these are all orders.
        turned
            .map(|order| (0..figures.len()).map(|figure| (figure, order.clone())).collect())
            .collect()
    };
    for order in &mut found {
        order.sort_by(|(figure, order), (other, other_order)| named(*figure, order).cmp(&named(*other, other_order)));
    }
    let spelled = |orders: &[(usize, Vec<usize>)]| -> Vec<Vec<CompactString>> {
        let names = orders.iter().map(|(figure, order)| named(*figure, order));
        names.map(|names| names.into_iter().cloned().collect()).collect()
    };
    found
        .into_iter()
        .min_by_key(|orders| spelled(orders))
        .unwrap_or_default()
}

/// The tokens of a statement.
fn written<'a>(
    figures: &[Figure<'a>],
    shape: Option<&'static str>,
    orders: &[(usize, Vec<usize>)],
    relation: &'static str,
) -> Vec<Token<'a>> {
    let token = |kind, source| Token {
        kind,
        spaced: false,
        is_bold: false,
        is_script: false,
        applies: false,
        source,
    };
    let mut tokens = Vec::new();
    for (place, (figure, order)) in orders.iter().enumerate() {
        let figure = &figures[*figure];
        if place > 0 {
            tokens.push(token(Kind::Other(relation), relation));
        }
        tokens.extend(shape.or(figure.shape).map(|shape| token(Kind::Shape(shape), shape)));
        for point in order {
            let mut point = figure.points[*point].clone();
            point.iter_mut().for_each(|token| token.spaced = false);
            tokens.append(&mut point);
        }
    }
    tokens
}
