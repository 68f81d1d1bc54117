//! Exact identities, applied at random places.

use crate::support::Random;
use crate::tree::{Function, Tree, angle, random_point, value};

/// Larger trees are left alone.
const LARGEST: usize = 70;

/// The expression after so many identities were applied to it.
pub(crate) fn rewritten(tree: &Tree, times: usize, random: &mut Random) -> Tree {
    let mut tree = tree.clone();
    for _ in 0..times {
        let size = tree.size();
        if size > LARGEST {
            break;
        }
        let mut number = random.below(size);
        if let Some(node) = tree.node_mut(&mut number) {
            let before = std::mem::replace(node, Tree::Pi);
            *node = match special(&before, random) {
                Some(after) if !random.once_in(4) => after,
                _ => general(before, random),
            };
        }
    }
    tree
}

/// A number other than zero.
fn constant(random: &mut Random) -> Tree {
    match random.below(6) {
        0..4 => Tree::Number(random.between(2, 9) as i64),
        4 => Tree::root(*random.pick(&[2, 3, 5, 7])),
        _ => Tree::Pi,
    }
}

fn sine_and_cosine_squared(random: &mut Random) -> [Tree; 2] {
    let angle = angle(random);
    [Function::Sin, Function::Cos].map(|function| Tree::squared(Tree::call(function, angle.clone())))
}

/// One, written in another way.
fn one(random: &mut Random) -> Tree {
    match random.below(6) {
        0 => Tree::Sum(sine_and_cosine_squared(random).to_vec()),
        1 => {
            let (root, number) = (Tree::root(2), Tree::Number(1));
            Tree::Product(vec![root.clone().plus(number.clone()), root.plus(number.negated())])
        }
        2 => {
            // (√p + √q)(√p − √q) = p − q
            let (left, right) = *random.pick(&[(7, 3), (5, 2), (11, 6), (3, 2), (2, 7)]);
            let (root, other) = (Tree::root(left), Tree::root(right));
            let product = Tree::Product(vec![root.clone().plus(other.clone()), root.plus(other.negated())]);
            Tree::quotient(product, Tree::Number(left - right))
        }
        3 => Tree::squared(Tree::Imaginary).negated(),
        4 => {
            let exponent = angle(random);
            let opposite = Tree::exponential(exponent.clone().negated());
            Tree::Product(vec![Tree::exponential(exponent), opposite])
        }
        _ => {
            let logarithm = |number| Tree::call(Function::Ln, Tree::Number(number));
            Tree::quotient(logarithm(9), Tree::times(2, logarithm(3)))
        }
    }
}

fn is_surely_not_zero(tree: &Tree, random: &mut Random) -> bool {
    let point = random_point(random);
    value(tree, &point).clearly_differs(value(&Tree::Number(0), &point))
}

/// Identities that hold for anything.
fn general(tree: Tree, random: &mut Random) -> Tree {
    match random.below(12) {
        0 => {
            let added = Tree::Product(vec![constant(random), angle(random)]);
            Tree::Sum(vec![tree, added.clone(), added.negated()])
        }
        1 => {
            let factor = constant(random);
            Tree::quotient(Tree::Product(vec![factor.clone(), tree]), factor)
        }
        2 => {
            let factor = constant(random);
            Tree::Product(vec![factor.clone(), Tree::quotient(tree, factor)])
        }
        3 => Tree::Product(vec![tree, one(random)]),
        4 => {
            let [sine, cosine] = sine_and_cosine_squared(random);
            let times = random.between(1, 9) as i64;
            Tree::Sum(vec![
                tree,
                Tree::times(times, sine),
                Tree::times(times, cosine),
                Tree::Number(-times),
            ])
        }
        5 => tree.negated().negated(),
        6 => {
            let half = Tree::quotient(tree, Tree::Number(2));
            half.clone().plus(half)
        }
        7 => Tree::times(2, tree.clone()).plus(tree.negated()),
        8 => Tree::quotient(tree, one(random)),
        9 => {
            let (product, number) = (one(random), Tree::Number(-1));
            Tree::Sum(vec![product, tree, number])
        }
        10 if is_surely_not_zero(&tree, random) => {
            let reciprocal = Tree::quotient(Tree::Number(1), tree);
            Tree::quotient(Tree::Number(1), Tree::quotient(reciprocal, Tree::Number(1)))
        }
        _ => Tree::times(1, tree),
    }
}

/// Identities that hold for this kind of expression.
fn special(tree: &Tree, random: &mut Random) -> Option<Tree> {
    match tree {
        Tree::Number(number) => Some(number_in_other_words(*number, random)),
        Tree::Sum(terms) => sum(terms, random),
        Tree::Product(factors) => product(factors, random),
        Tree::Quotient(above, below) => Some(quotient(above, below, random)),
        Tree::Power(base, exponent) => power(base, exponent, random),
        Tree::Root(degree, radicand) => match radicand.as_ref() {
            Tree::Number(radicand @ 1..1_000_000) => Some(root(*degree, *radicand, random)),
            _ => None,
        },
        Tree::Call(function, argument) => Some(call(*function, argument, random)),
        Tree::Imaginary => Some(Tree::power(Tree::Imaginary, Tree::Number(3)).negated()),
        Tree::Variable(_) | Tree::Pi | Tree::Euler => None,
    }
}

fn number_in_other_words(number: i64, random: &mut Random) -> Tree {
    let other = random.between(2, 20) as i64;
    match random.below(4) {
        0 => Tree::Sum(vec![Tree::Number(number - other), Tree::Number(other)]),
        1 => Tree::quotient(Tree::Number(number * other), Tree::Number(other)),
        2 if (0..100).contains(&number) => Tree::root(number * number),
        _ => Tree::Number(number + other).plus(Tree::Number(-other)),
    }
}

fn sum(terms: &[Tree], random: &mut Random) -> Option<Tree> {
    let mut terms = terms.to_vec();
    match random.below(5) {
        0 => {
            random.shuffle(&mut terms);
            Some(Tree::Sum(terms))
        }
        1 if terms.len() > 2 => {
            let rest = terms.split_off(1 + random.below(terms.len() - 1));
            Some(Tree::Sum(terms).plus(Tree::Sum(rest)))
        }
        // A factor is taken out.
        2 => {
            let factor = constant(random);
            let inside = terms
                .into_iter()
                .map(|term| Tree::quotient(term, factor.clone()))
                .collect();
            Some(Tree::Product(vec![factor, Tree::Sum(inside)]))
        }
        // a² − b² = (a − b)(a + b)
        3 => match terms.as_slice() {
            [Tree::Power(left, two), Tree::Product(negated)] if **two == Tree::Number(2) => match negated.as_slice() {
                [Tree::Number(-1), Tree::Power(right, two)] if **two == Tree::Number(2) => {
                    let (left, right) = ((**left).clone(), (**right).clone());
                    let difference = left.clone().plus(right.clone().negated());
                    Some(Tree::Product(vec![difference, left.plus(right)]))
                }
                _ => None,
            },
            _ => None,
        },
        // A common denominator.
        _ => {
            let parts = |tree: &Tree| match tree {
                Tree::Quotient(above, below) => ((**above).clone(), (**below).clone()),
                other => (other.clone(), Tree::Number(1)),
            };
            let [left, right] = terms.as_slice() else {
                return None;
            };
            let ((above, below), (other_above, other_below)) = (parts(left), parts(right));
            let above = Tree::Product(vec![above, other_below.clone()]);
            let other_above = Tree::Product(vec![other_above, below.clone()]);
            Some(Tree::quotient(
                above.plus(other_above),
                Tree::Product(vec![below, other_below]),
            ))
        }
    }
}

fn product(factors: &[Tree], random: &mut Random) -> Option<Tree> {
    let mut factors = factors.to_vec();
    match random.below(3) {
        0 => {
            random.shuffle(&mut factors);
            Some(Tree::Product(factors))
        }
        1 if factors.len() > 2 => {
            let rest = factors.split_off(1 + random.below(factors.len() - 1));
            factors.push(Tree::Product(rest));
            Some(Tree::Product(factors))
        }
        // Multiplied out.
        _ => {
            let position = factors.iter().position(|factor| matches!(factor, Tree::Sum(_)))?;
            let Tree::Sum(terms) = factors.remove(position) else {
                return None;
            };
            let times = |term: Tree| {
                let mut product = factors.clone();
                product.push(term);
                Tree::Product(product)
            };
            Some(Tree::Sum(terms.into_iter().map(times).collect()))
        }
    }
}

fn quotient(above: &Tree, below: &Tree, random: &mut Random) -> Tree {
    let (above, below) = (above.clone(), below.clone());
    match random.below(4) {
        0 => Tree::Product(vec![above, Tree::quotient(Tree::Number(1), below)]),
        1 => Tree::Product(vec![above, Tree::power(below, Tree::Number(-1))]),
        2 => match above {
            Tree::Sum(terms) => Tree::Sum(
                terms
                    .into_iter()
                    .map(|term| Tree::quotient(term, below.clone()))
                    .collect(),
            ),
            above => Tree::quotient(above.negated(), below.negated()),
        },
        _ => {
            let factor = constant(random);
            let times = |tree| Tree::Product(vec![factor.clone(), tree]);
            Tree::quotient(times(above), times(below))
        }
    }
}

fn power(base: &Tree, exponent: &Tree, random: &mut Random) -> Option<Tree> {
    let (base, exponent) = (base.clone(), exponent.clone());
    match (&base, &exponent) {
        (Tree::Sum(terms), Tree::Number(2)) if terms.len() == 2 && !random.once_in(3) => {
            let (left, right) = (terms[0].clone(), terms[1].clone());
            Some(Tree::Sum(vec![
                Tree::squared(left.clone()),
                Tree::Product(vec![Tree::Number(2), left, right.clone()]),
                Tree::squared(right),
            ]))
        }
        (_, Tree::Number(2)) => Some(Tree::Product(vec![base.clone(), base])),
        (_, Tree::Number(power @ 3..)) => {
            let rest = Tree::power(base.clone(), Tree::Number(power - 1));
            Some(Tree::Product(vec![base, rest]))
        }
        // Positive bases only: the exponent is any real number.
        (Tree::Euler | Tree::Number(2..), _) if !matches!(exponent, Tree::Number(_)) => {
            let shift = Tree::Number(random.between(1, 3) as i64);
            Some(match random.below(3) {
                0 => Tree::quotient(
                    Tree::power(base.clone(), exponent.plus(shift.clone())),
                    Tree::power(base, shift),
                ),
                1 => Tree::squared(Tree::power(base, Tree::quotient(exponent, Tree::Number(2)))),
                _ => Tree::quotient(Tree::Number(1), Tree::power(base, exponent.negated())),
            })
        }
        _ => None,
    }
}

fn root(degree: i64, radicand: i64, random: &mut Random) -> Tree {
    let number = Tree::Number(radicand);
    let draw = |degree: i64, radicand: i64| Tree::Root(degree, Box::new(Tree::Number(radicand)));
    let factor = random.between(2, 5) as i64;
    match random.below(4) {
        0 => Tree::quotient(draw(degree, radicand * factor.pow(degree as u32)), Tree::Number(factor)),
        1 => draw(degree * 2, radicand * radicand),
        2 => Tree::quotient(number, Tree::power(draw(degree, radicand), Tree::Number(degree - 1))),
        _ => Tree::Product(vec![
            draw(degree, radicand * factor),
            Tree::quotient(Tree::Number(1), draw(degree, factor)),
        ]),
    }
}

fn call(function: Function, argument: &Tree, random: &mut Random) -> Tree {
    let argument = argument.clone();
    let sine = |argument| Tree::call(Function::Sin, argument);
    let cosine = |argument| Tree::call(Function::Cos, argument);
    let half = Tree::quotient(argument.clone(), Tree::Number(2));
    let complement = Tree::quotient(Tree::Pi, Tree::Number(2)).plus(argument.clone().negated());
    match (function, random.below(3)) {
        (Function::Sin, 0) => Tree::Product(vec![Tree::Number(2), sine(half.clone()), cosine(half)]),
        (Function::Sin, 1) => cosine(complement),
        (Function::Sin, _) => sine(argument.negated()).negated(),
        (Function::Cos, 0) => Tree::Number(1).plus(Tree::times(-2, Tree::squared(sine(half)))),
        (Function::Cos, 1) => sine(complement),
        (Function::Cos, _) => cosine(argument.plus(Tree::times(2, Tree::Pi))),
        (Function::Tan, _) => Tree::quotient(sine(argument.clone()), cosine(argument)),
        (Function::Ln, choice) => {
            let Tree::Number(number @ 1..1_000_000) = argument else {
                return Tree::call(Function::Ln, argument);
            };
            let logarithm = |number| Tree::call(Function::Ln, Tree::Number(number));
            let factor = random.between(2, 9) as i64;
            match choice {
                0 => logarithm(number * factor).plus(logarithm(factor).negated()),
                1 => Tree::quotient(logarithm(number * number), Tree::Number(2)),
                _ => Tree::call(Function::Ln, Tree::quotient(Tree::Number(1), Tree::Number(number))).negated(),
            }
        }
    }
}
