//! The name that an answer is equated with: `x =`, `f(x) =`, `(x, y) =`, `\angle ABC =`, `\text{Area} =`.

use compact_str::CompactString;

use super::meaning::takes_back;
use super::said::{Said, letters, without_brackets, words};
use super::spell::spell;
use super::token::{Bracket, Kind, Token};
use super::{applied, combined, figures, grammar};
use crate::expression::{Constant, Expression, Function};

/// A name on the left of an equals sign.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The name in one spelling.
    pub spelled: CompactString,
    /// The name as an expression, if it is one: `y` in `y = 2x + 3`.
    pub expression: Option<Expression>,
    /// What is said beside or instead of an expression.
    pub said: Box<Said>,
    /// The names of a tuple of names: `x` and `y` in `(x, y) = (1, 2)`.
    pub names: Vec<CompactString>,
    /// The three points of an angle, or of what may be one: the vertex is the second.
    pub points: Option<[CompactString; 3]>,
    /// Whether it is said to be an angle.
    pub is_angle: bool,
}

impl Label {
    /// The label that these tokens are, if they only name something.
    pub(super) fn read(tokens: &[Token<'_>]) -> Option<Self> {
        let is_name = is_name(tokens) || is_derivative(tokens) || is_differential(tokens);
        if tokens.is_empty() || !is_name || is_taken_back(tokens) || is_of_numbers(tokens) {
            return None;
        }
        // `\angle A`, `m\angle A`, `\text{angle } A`: the letters tell one from another.
        let is_of_function = tokens.iter().any(|token| matches!(token.kind, Kind::Function(_)));
        let angle = angle(tokens).filter(|_| !is_of_function);
        let without_shapes: Vec<Token<'_>>;
        let named = match tokens.iter().rposition(|token| matches!(token.kind, Kind::Shape(_))) {
            _ if let Some(letters) = &angle => letters.as_slice(),
            Some(shape) if shape + 1 < tokens.len() && tokens[..shape].iter().all(says_nothing) => &tokens[shape + 1..],
            // `S_{\triangle ABC}`
            Some(shape) if !is_of_function => {
                without_shapes = without_shape(tokens, shape);
                without_shapes.as_slice()
            }
            _ => tokens,
        };
        let is_angle = angle.is_some()
            || tokens
                .iter()
                .any(|token| matches!(token.kind, Kind::Shape("angle") | Kind::Accent("hat")));
        let spelled = spell(named);
        let expression = function_of_a_letter(named).or_else(|| grammar::expression(named).ok());
        // What is an expression has no words in it.
        let letters = match &expression {
            Some(_) => without_brackets(&spelled),
            None => letters(named),
        };
        let words = words(tokens);
        Some(Self {
            said: Box::new(Said { letters, words }),
            spelled,
            expression,
            names: tuple_of_names(named),
            points: points(named),
            is_angle,
        })
    }

    /// The label of a letter.
    pub fn of_letter(name: &CompactString) -> Self {
        Self {
            spelled: name.clone(),
            expression: Some(Expression::Symbol(name.clone())),
            said: Box::new(Said {
                letters: without_brackets(name),
                words: Vec::new(),
            }),
            names: Vec::new(),
            points: None,
            is_angle: false,
        }
    }

    /// The label of a ratio of names, `x : y`; none for anything else.
    pub(super) fn of_ratio(tokens: &[Token<'_>]) -> Option<Self> {
        if !tokens.iter().any(|token| matches!(token.kind, Kind::Colon)) {
            return None;
        }
        let mut parts = tokens.split(|token| matches!(token.kind, Kind::Colon));
        parts.all(|part| Self::read(part).is_some()).then(|| Self {
            spelled: spell(tokens),
            expression: None,
            said: Box::new(Said {
                letters: letters(tokens),
                words: Vec::new(),
            }),
            names: Vec::new(),
            points: None,
            is_angle: false,
        })
    }

    /// Whether two names say different angles of the same points: ∠ABC is ∠CBA, but not ∠BAC. None if neither is said
    /// to be an angle at three points. `\angle B` is the angle at B.
    pub fn same_angle(&self, other: &Self) -> Option<bool> {
        if let (Some([_, vertex, _]), None, _, Some(Expression::Symbol(only)))
        | (None, Some([_, vertex, _]), Some(Expression::Symbol(only)), _) =
            (&self.points, &other.points, &self.expression, &other.expression)
            && self.is_angle
            && other.is_angle
        {
            return Some(vertex == only);
        }
        let (Some([first, vertex, last]), Some([other_first, other_vertex, other_last])) =
            (&self.points, &other.points)
        else {
            return None;
        };
        let is_same = vertex == other_vertex
            && (first == other_first && last == other_last || first == other_last && last == other_first);
        (self.is_angle || other.is_angle).then_some(is_same)
    }
}

/// The tokens without their shapes. The vertices behind the last one, if it is a triangle, stand in one order.
fn without_shape<'a>(tokens: &[Token<'a>], last: usize) -> Vec<Token<'a>> {
    let mut kept: Vec<Token<'a>> = tokens.to_vec();
    let is_triangle = kept[last].kind == Kind::Shape("triangle");
    if let (true, Some(vertices)) = (is_triangle, kept.get_mut(last + 1..last + 4))
        && vertices.iter().all(Token::is_point)
    {
        vertices.sort_unstable_by_key(|vertex| vertex.source);
    }
    kept.retain(|token| !matches!(token.kind, Kind::Shape(_)));
    kept
}

/// Whether a token before a shape only introduces it: `m\angle A`, `\text{area of } \triangle ABC`.
fn says_nothing(token: &Token<'_>) -> bool {
    match &token.kind {
        Kind::Text(_) | Kind::Word(_) | Kind::Bar => true,
        Kind::Symbol(name) => name == "m",
        _ => false,
    }
}

/// The letters of the angle that these tokens name, with or without words beside it: `\text{measure of angle } ABC`,
/// `|\angle ABC|`.
fn angle<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let is_angle = |token: &Token<'_>| match token.kind {
        Kind::Shape("angle") => true,
        Kind::Text(word) | Kind::Word(word) => word.eq_ignore_ascii_case("angle"),
        _ => false,
    };
    let (letters, end) = figures::angle(tokens, tokens.iter().position(is_angle)?)?;
    // `\angle A + …` would be another thing.
    let says_no_more = tokens.get(end).is_none_or(|next| {
        matches!(
            next.kind,
            Kind::Text(_) | Kind::Word(_) | Kind::Bar | Kind::Close(_) | Kind::Open(_)
        )
    });
    says_no_more.then_some(letters)
}

/// The names of three points, `ABC`, `A_1BC'`; none if it is anything else.
fn points(tokens: &[Token<'_>]) -> Option<[CompactString; 3]> {
    let mut names: Vec<CompactString> = Vec::new();
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let mut length = 1;
        match (&token.kind, names.last_mut()) {
            (Kind::Symbol(name), _) if name.starts_with(char::is_uppercase) => names.push(name.clone()),
            (Kind::GroupOpen | Kind::GroupClose | Kind::Accent(_), _) => {}
            (Kind::Prime, Some(last)) => last.push('\''),
            (Kind::Underscore, Some(last)) => {
                length += subscript_length(&tokens[index + 1..]);
                last.push_str(&spell(tokens.get(index..index + length)?));
            }
            _ => return None,
        }
        index += length;
    }
    names.try_into().ok()
}

/// `P(x)`: any letter names a function on the left of an equals sign.
fn function_of_a_letter(tokens: &[Token<'_>]) -> Option<Expression> {
    let [name, open, argument, close] = tokens else {
        return None;
    };
    let in_brackets = open.kind == Kind::Open(Bracket::Round) && close.kind == Kind::Close(Bracket::Round);
    match (&name.kind, &argument.kind) {
        (Kind::Symbol(name), Kind::Symbol(argument)) if in_brackets => Some(Expression::Call(
            Function::Named(name.clone()),
            vec![Expression::Symbol(argument.clone())],
        )),
        _ => None,
    }
}

/// The names in `(x, y)`; none if it is anything else.
fn tuple_of_names(tokens: &[Token<'_>]) -> Vec<CompactString> {
    let [open, inner @ .., close] = tokens else {
        return Vec::new();
    };
    if open.kind != Kind::Open(Bracket::Round) || close.kind != Kind::Close(Bracket::Round) {
        return Vec::new();
    }
    let names: Vec<CompactString> = inner.split(|token| token.kind == Kind::Comma).map(spell).collect();
    if names.len() > 1 { names } else { Vec::new() }
}

/// Longest name in tokens. A longer left side is a calculation.
const MAX_NAME_TOKENS: usize = 24;

fn is_name(tokens: &[Token<'_>]) -> bool {
    if tokens.len() > MAX_NAME_TOKENS {
        return false;
    }
    let mut in_brackets = 0usize;
    let mut has_letter = false;
    // `AB` names a segment, `xy` multiplies.
    let mut variables = 0usize;
    let mut all_upper = true;
    let mut argument = Argument::Not;
    let mut is_of_combined = false;
    let mut is_of_function = false;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match &token.kind {
            // `\dim V`
            Kind::Symbol(name) if in_brackets == 0 && name.chars().nth(1).is_some_and(char::is_alphabetic) => {
                has_letter = true;
            }
            Kind::Symbol(name) => {
                has_letter = true;
                if in_brackets == 0 {
                    // `P(A)P(B)` is a product.
                    if index > 0 && matches!(tokens[index - 1].kind, Kind::Close(_)) {
                        return false;
                    }
                    variables += 1;
                    all_upper &= name.starts_with(char::is_uppercase);
                }
            }
            // `\sin A\sin B`
            Kind::Function(_) if in_brackets == 0 && is_of_function => return false,
            Kind::Function(_) => {
                has_letter = true;
                is_of_function |= in_brackets == 0;
            }
            Kind::Text(_) | Kind::Word(_) => has_letter = true,
            Kind::Shape(_) => (variables, all_upper) = (0, true),
            // `e = \frac12` names the eccentricity; `\pi r` is a product.
            Kind::Constant(_) if in_brackets == 0 && tokens.len() > 1 => return false,
            Kind::Constant(constant) if in_brackets == 0 => {
                has_letter |= matches!(constant, Constant::Euler | Constant::Imaginary);
            }
            Kind::Constant(_) | Kind::Accent(_) | Kind::Prime | Kind::Bar => {}
            // `\det A`
            Kind::Other("\\det") => has_letter = true,
            // `\Delta H^\circ`
            Kind::Degree if matches!(&tokens[0].kind, Kind::Symbol(name) if name == "Δ") => {}
            Kind::GroupOpen | Kind::GroupClose | Kind::Operator("∘") => {}
            Kind::Underscore => {
                index += subscript_length(&tokens[index + 1..]);
            }
            Kind::Open(bracket @ (Bracket::Round | Bracket::Square | Bracket::Angle | Bracket::Bar)) => {
                if in_brackets == 0 {
                    argument = Argument::at(tokens, index);
                    // `(x)(y)` is a product, `(f+g)(x)` a value.
                    let combined = combined::functions_in_brackets(tokens, index);
                    if index > 0 && matches!(tokens[index - 1].kind, Kind::Close(_)) && !is_of_combined {
                        return false;
                    }
                    is_of_combined = combined;
                    if combined {
                        argument = Argument::Surely;
                    }
                }
                // `E[X]`, and `[ABC]` for an area; other square brackets are intervals.
                if *bracket == Bracket::Square && argument != Argument::Surely && !is_area(tokens) {
                    return false;
                }
                in_brackets += 1;
            }
            Kind::Close(_) => in_brackets = in_brackets.saturating_sub(1),
            // `f(2, -1)`, `(x, y)`; outside brackets these make a calculation.
            Kind::Comma if in_brackets > 0 => {}
            Kind::Number(..) if in_brackets > 0 && (argument != Argument::Not || is_alone(tokens, index)) => {}
            Kind::Minus if in_brackets > 0 && (argument != Argument::Not || is_sign(tokens, index)) => {}
            // `P(X \ge 2)`
            Kind::Plus | Kind::Cup | Kind::Other("\\cap") | Kind::Relation(_)
                if in_brackets > 0 && argument == Argument::Surely => {}
            // `f^{-1}(3)`
            // `f^{(3)}(0)`
            Kind::Caret if in_brackets == 0 && index > 0 && applied::order_at(tokens, index).is_some() => {
                index = applied::order_at(tokens, index).map_or(index, |order| order.end + 1);
            }
            Kind::Caret if in_brackets == 0 && index > 0 && applied::inverse_at(&tokens[index..]).is_some() => {
                index += applied::inverse_length(&tokens[index..]).map_or(0, |length| length - 1);
            }
            _ => return false,
        }
        index += 1;
    }
    has_letter && (variables <= 1 || all_upper)
}

/// Whether this is the area of a polygon, `[ABC]`.
fn is_area(tokens: &[Token<'_>]) -> bool {
    let [open, points @ .., close] = tokens else {
        return false;
    };
    let square = [Kind::Open(Bracket::Square), Kind::Close(Bracket::Square)];
    let are_points = match points {
        // More than three letters in a row are a word.
        [word] => matches!(word.kind, Kind::Word(word) if word.chars().all(char::is_uppercase)),
        points => points.len() >= 3 && points.iter().all(Token::is_point),
    };
    open.kind == square[0] && close.kind == square[1] && are_points
}

/// Whether this is the derivative of a letter, which may be asked for by that name: `\frac{dV}{dt}`.
fn is_derivative(tokens: &[Token<'_>]) -> bool {
    tokens.first().is_some_and(|first| first.kind == Kind::Frac)
        && matches!(
            grammar::expression(tokens),
            Ok(Expression::Call(Function::Named(name), operands))
                if (name.starts_with("d/") || name.starts_with("∂/")) && matches!(operands[..], [Expression::Symbol(_)])
        )
}

/// `dy`
fn is_differential(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [d, letter] => matches!(&d.kind, Kind::Symbol(name) if name == "d") && matches!(&letter.kind, Kind::Symbol(_)),
        _ => false,
    }
}

/// Whether it is a function that is worked out of numbers, `\gcd(6, 9)`: a calculation, which may be wrong.
fn is_of_numbers(tokens: &[Token<'_>]) -> bool {
    let is_letter = |kind: &Kind<'_>| matches!(kind, Kind::Symbol(_) | Kind::Text(_) | Kind::Word(_) | Kind::Shape(_));
    let has = |wanted: &dyn Fn(&Kind<'_>) -> bool| tokens.iter().any(|token| wanted(&token.kind));
    has(&|kind| matches!(kind, Kind::Function(_)))
        && has(&|kind| matches!(kind, Kind::Number(..) | Kind::Constant(_)))
        && !has(&is_letter)
}

/// Whether brackets hold the argument of a function, so that a calculation in them belongs to its name: `f(x - 1)`, but
/// not `(x - 1)` or `|x - 1|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    Not,
    /// A letter stands before them.
    Perhaps,
    /// A function does.
    Surely,
}

impl Argument {
    fn at(tokens: &[Token<'_>], open: usize) -> Self {
        if open == 0 || !matches!(tokens[open].kind, Kind::Open(Bracket::Round | Bracket::Square)) {
            return Self::Not;
        }
        let is_function = |token: &Token<'_>| match &token.kind {
            Kind::Function(_) => true,
            Kind::Symbol(name) => token.applies || super::primary::is_function_letter(name),
            _ => false,
        };
        if tokens[..open].iter().any(is_function) {
            return Self::Surely;
        }
        // `x(x - 1)` is a product.
        let letter = &tokens[open - 1].kind;
        let has_letter = matches!(letter, Kind::Symbol(_)) && tokens[open..].iter().any(|token| token.kind == *letter);
        if has_letter { Self::Not } else { Self::Perhaps }
    }
}

/// Whether a number is an item by itself, as in `(x, 2)`.
fn is_alone(tokens: &[Token<'_>], number: usize) -> bool {
    let ends = |token: Option<&Token<'_>>| matches!(token.map(|next| &next.kind), Some(Kind::Close(_) | Kind::Comma));
    matches!(tokens[number - 1].kind, Kind::Open(_) | Kind::Comma | Kind::Minus) && ends(tokens.get(number + 1))
}

/// Whether a minus sign belongs to a number, as in `(2, -1)`.
fn is_sign(tokens: &[Token<'_>], minus: usize) -> bool {
    let stands_first = matches!(tokens[minus - 1].kind, Kind::Open(_) | Kind::Comma);
    stands_first && matches!(tokens.get(minus + 1).map(|next| &next.kind), Some(Kind::Number(..)))
}

/// What is done with the name behind it: `\text{the square of } x`.
const CALCULATES: [&str; 12] = [
    "square",
    "cube",
    "root",
    "reciprocal",
    "inverse",
    "negative",
    "opposite",
    "half",
    "double",
    "complement",
    "supplement",
    "logarithm",
];

/// Whether words outside of brackets take back or hedge what follows: `\text{not } x = 5`, `\text{maybe } x = 5`. What
/// is counted may well be `not chosen`.
fn is_taken_back(tokens: &[Token<'_>]) -> bool {
    let mut in_brackets = 0usize;
    let mut words: Vec<(usize, String)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open(_) => in_brackets += 1,
            Kind::Close(_) => in_brackets = in_brackets.saturating_sub(1),
            Kind::Text(word) | Kind::Word(word) if in_brackets == 0 => words.push((index, word.to_lowercase())),
            _ => {}
        }
    }
    let is_first_of = |(index, word): &(usize, String)| {
        *index == 0
            && matches!(
                word.as_str(),
                "not"
                    | "never"
                    | "neither"
                    | "if"
                    | "unless"
                    | "except"
                    | "excluding"
                    | "twice"
                    | "thrice"
                    | "double"
                    | "triple"
                    | "half"
                    | "minus"
                    | "negative"
                    | "reciprocal"
            )
    };
    words.first().is_some_and(is_first_of)
        || words
            .last()
            .is_some_and(|(index, word)| *index + 1 == tokens.len() && word == "not")
        || words.windows(2).any(|pair| {
            matches!(pair[0].1.as_str(), "is" | "not" | "we") && matches!(pair[1].1.as_str(), "not" | "true" | "reject")
        })
        // `\text{two times } x`, `\text{one less than } x`
        || words.iter().any(|(index, word)| {
            let is_before_name = tokens
                .get(index + 1)
                .is_some_and(|next| !matches!(next.kind, Kind::Text(_) | Kind::Word(_)));
            is_before_name && matches!(word.as_str(), "times" | "than" | "half" | "double" | "triple")
        })
        || words.windows(2).any(|pair| {
            matches!(
                (pair[0].1.as_str(), pair[1].1.as_str()),
                ("do" | "does" | "did" | "can", "not")
                    | ("false", "that")
                    | ("is", "twice" | "thrice" | "never" | "half" | "minus")
                    | ("at", "least" | "most")
                    | ("all", "but")
                    | ("times" | "plus" | "minus", _)
                    | ("log", "of")
            )
        })
        || words
            .windows(2)
            .any(|pair| CALCULATES.contains(&pair[0].1.as_str()) && pair[1].1 == "of" && pair[1].0 + 1 < tokens.len())
        || words.iter().any(|(_, word)| {
            word != "false" && takes_back(word) || matches!(word.as_str(), "except" | "excluding" | "cannot" | "never")
        })
}

/// Tokens of the subscript that begins here: one, or a group.
fn subscript_length(tokens: &[Token<'_>]) -> usize {
    if !matches!(tokens.first(), Some(token) if token.kind == Kind::GroupOpen) {
        return 1;
    }
    let end = tokens.iter().position(|token| token.kind == Kind::GroupClose);
    end.map_or(tokens.len(), |end| end + 1)
}
