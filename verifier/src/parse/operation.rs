//! Operations that are no product of numbers: of vectors, of functions, of statements. They are functions that nothing
//! is known of, except whether the order of their operands matters.

use compact_str::CompactString;

use super::token::{Bracket, Conjunction, Kind, Token};
use crate::expression::{Expression, Function};

/// The operation that a LaTeX command without its backslash is, with the token before it and the text behind it.
pub(super) fn operator<'a>(name: &str, before: Option<&Kind<'_>>, after: &str) -> Option<Kind<'a>> {
    Some(Kind::Operator(match name {
        "circ" if composes(before, after) => "∘",
        "star" => "⋆",
        "ast" if are_functions(before, after) => "⋆",
        "implies" | "Rightarrow" | "Longrightarrow" | "therefore" => "⇒",
        _ => return None,
    }))
}

/// The same for a character beyond ASCII.
pub(super) fn character<'a>(next: char, before: Option<&Kind<'_>>, after: &str) -> Option<Kind<'a>> {
    let name = match next {
        '∘' => "circ",
        '⋆' => "star",
        '⇒' | '⟹' | '∴' => "implies",
        _ => return None,
    };
    operator(name, before, after)
}

/// Whether `\circ` stands between two functions, and is no degree sign.
fn composes(before: Option<&Kind<'_>>, after: &str) -> bool {
    let follows_name = matches!(
        before,
        Some(Kind::Symbol(_) | Kind::Prime | Kind::Close(_) | Kind::GroupClose | Kind::Function(_))
    );
    let after = after.trim_start();
    let is_scale = after.starts_with("\\text") || after.starts_with("\\mathrm");
    let starts_name = after.starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '(' | '\\'));
    follows_name && starts_name && !is_scale
}

/// Whether a sign stands between two functions, so that it is their convolution and no product.
fn are_functions(before: Option<&Kind<'_>>, after: &str) -> bool {
    let is_function = |name: &str| matches!(name, "f" | "g" | "h");
    let after = after.trim_start();
    matches!(before, Some(Kind::Symbol(name)) if is_function(name)) && after.get(..1).is_some_and(is_function)
}

/// Whether a negative space behind this token begins `\left(\!\!\binom{n}{k}\!\!\right)`, which counts multisets.
pub(super) fn opens_multiset(before: Option<&Kind<'_>>, after: &str) -> bool {
    let inside = after.trim_start();
    let inside = inside.strip_prefix("\\!").unwrap_or(inside).trim_start();
    let is_binomial = |inside: &str| {
        let is_choice = inside.starts_with('{') && inside.contains("\\choose");
        is_choice
            || ["\\binom", "\\dbinom", "\\tbinom"]
                .iter()
                .any(|name| inside.starts_with(name))
    };
    matches!(before, Some(Kind::Open(Bracket::Round))) && is_binomial(inside)
}

/// How strongly an operation between statements binds; none for others.
pub(super) fn strength(operator: &str) -> Option<u8> {
    Some(match operator {
        "⇒" => 1,
        "∨" => 2,
        "∧" => 3,
        _ => return None,
    })
}

/// Whether an operation is one between statements.
pub(super) fn joins_statements(operator: &str) -> bool {
    strength(operator).is_some()
}

pub(super) fn call(name: &'static str, operands: Vec<Expression>) -> Expression {
    Expression::Call(Function::Named(CompactString::const_new(name)), operands)
}

/// Decides what signs between letters mean, which depends on the whole text: `x<1 \lor x>3` joins two conditions and
/// `p\lor q` two statements; `x^2=4 \implies x=2` derives one from the other, which is no value, and `p\implies q`
/// is a statement.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    let holds_values = tokens.iter().any(|token| {
        matches!(
            token.kind,
            Kind::Relation(_) | Kind::Number(..) | Kind::Comma | Kind::Text(_) | Kind::Word(_)
        )
    });
    let is_arrow = |token: &Token<'_>| token.kind == Kind::Operator("⇒");
    // An arrow at an end, or at one of an item, joins nothing.
    let ends = |token: Option<&Token<'_>>| {
        token.is_none_or(|token| matches!(token.kind, Kind::Comma | Kind::Semicolon) || is_arrow(token))
    };
    if holds_values {
        for index in (0..tokens.len()).rev() {
            if !is_arrow(&tokens[index]) {
                continue;
            }
            let before = index.checked_sub(1).and_then(|before| tokens.get(before));
            if ends(before) || ends(tokens.get(index + 1)) {
                tokens.remove(index);
            } else {
                // `-5 \implies x < 0` is no product.
                tokens[index].kind = Kind::Other("\\implies");
            }
        }
        return;
    }
    while tokens.first().is_some_and(is_arrow) {
        tokens.remove(0);
    }
    while tokens.last().is_some_and(is_arrow) {
        tokens.pop();
    }
    let of_vectors = tokens.iter().any(is_vector) || are_forms(tokens);
    for token in tokens {
        let is_sign = !token.source.starts_with(|first: char| first.is_ascii_alphabetic());
        token.kind = match token.kind {
            Kind::Conjunction(Conjunction::And) if is_sign && of_vectors => Kind::Operator("⋀"),
            Kind::Conjunction(Conjunction::And) if is_sign => Kind::Operator("∧"),
            Kind::Conjunction(Conjunction::Or) if is_sign => Kind::Operator("∨"),
            _ => continue,
        };
    }
}

/// Whether these are products of differentials, `dx \wedge dy`.
fn are_forms(tokens: &[Token<'_>]) -> bool {
    let is_d = |token: &Token<'_>| matches!(&token.kind, Kind::Symbol(name) if name == "d");
    tokens
        .windows(2)
        .any(|pair| pair[0].source == "\\wedge" && is_d(&pair[1]))
}

/// Whether a token is a vector, or says that the next one is.
fn is_vector(token: &Token<'_>) -> bool {
    let is_arrow = matches!(token.kind, Kind::Accent(_))
        && [
            "\\vec",
            "\\overrightarrow",
            "\\hat",
            "\\widehat",
            "\\boldsymbol",
            "\\underline",
        ]
        .contains(&token.source);
    token.is_bold || is_arrow || matches!(&token.kind, Kind::Symbol(name) if name == "∇")
}

/// Whether these tokens are a vector: their first letter is one, and they are no length and no product of two.
pub(super) fn are_vector(tokens: &[Token<'_>], value: &Expression) -> bool {
    let is_number = match value {
        Expression::Call(Function::Abs, _) => true,
        Expression::Call(Function::Named(name), _) => name == "·",
        _ => false,
    };
    let is_before = |token: &&Token<'_>| {
        matches!(
            token.kind,
            Kind::Minus | Kind::Plus | Kind::Open(_) | Kind::GroupOpen | Kind::Number(..)
        )
    };
    let first = tokens.iter().find(|token| !is_before(token));
    !is_number && first.is_some_and(is_vector)
}

/// Whether it is ∇ alone, which makes a divergence or a curl of any field, in bold or not.
pub(super) fn is_nabla(value: &Expression) -> bool {
    matches!(value, Expression::Symbol(name) if name == "∇")
}

/// Takes the numbers out of a product: 2a is 2 times a.
pub(super) fn split_number(value: Expression) -> (Vec<Expression>, Expression) {
    let Expression::Product(factors) = value else {
        return (Vec::new(), value);
    };
    let (numbers, mut others): (Vec<Expression>, Vec<Expression>) = factors
        .into_iter()
        .partition(|factor| matches!(factor, Expression::Number(_)));
    let value = if others.len() == 1 {
        others.remove(0)
    } else {
        Expression::Product(others)
    };
    (numbers, value)
}

/// A product of two vectors: `a × b` is `-b × a`, `a · b` is `b · a`, and neither is the other.
pub(super) fn product_of_vectors(source: &str, left: Expression, right: Expression) -> Expression {
    let is_cross = source == "\\times" || source == "×";
    if is_nabla(&left) {
        return call(if is_cross { "∇×" } else { "∇·" }, vec![right]);
    }
    let (mut factors, left) = split_number(left);
    let (numbers, right) = split_number(right);
    factors.extend(numbers);
    let is_swapped = left > right;
    if is_cross && left == right {
        return Expression::integer(0);
    }
    if is_cross && is_swapped {
        factors.push(Expression::integer(-1));
    }
    let operands = if is_swapped {
        vec![right, left]
    } else {
        vec![left, right]
    };
    let product = call(if is_cross { "×" } else { "·" }, operands);
    if factors.is_empty() {
        return product;
    }
    factors.push(product);
    Expression::Product(factors)
}

/// An operation whose operands may not be swapped.
pub(super) fn ordered(operator: &'static str, left: Expression, right: Expression) -> Expression {
    call(operator, vec![left, right])
}

/// `∧` or `∨` of several statements in any order.
pub(super) fn unordered(operator: &'static str, left: Expression, right: Expression) -> Expression {
    let parts = |side| match side {
        Expression::Call(Function::Named(name), inner) if name == operator => inner,
        other => vec![other],
    };
    let mut operands = parts(left);
    for operand in parts(right) {
        let place = operands.partition_point(|known| *known < operand);
        // To say it twice adds nothing.
        if operands.get(place) != Some(&operand) {
            operands.insert(place, operand);
        }
    }
    call(operator, operands)
}
