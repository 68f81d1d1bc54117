//! Changes expressions by a small step so that they are surely not equal any more.

use crate::support::Random;
use crate::tree::{Function, Tree, VARIABLES, random_point, value};

/// An expression that looks like this one and has another value; none if no try gave one.
pub(crate) fn near_miss(tree: &Tree, random: &mut Random) -> Option<(&'static str, Tree)> {
    for _ in 0..20 {
        let mut other = tree.clone();
        let mut number = random.below(tree.size());
        let why = change(other.node_mut(&mut number)?, random);
        if let Some(why) = why
            && differs(tree, &other, random)
        {
            return Some((why, other));
        }
    }
    None
}

/// Whether the values differ by much at two points of two at least.
fn differs(left: &Tree, right: &Tree, random: &mut Random) -> bool {
    (0..3).all(|_| {
        let point = random_point(random);
        value(left, &point).clearly_differs(value(right, &point))
    })
}

fn change(tree: &mut Tree, random: &mut Random) -> Option<&'static str> {
    if random.once_in(12) {
        let before = tree.clone();
        *tree = before.plus(Tree::Number(*random.pick(&[-2, -1, 1, 2])));
        return Some("a number added");
    }
    match tree {
        Tree::Number(number) => {
            let text = number.to_string();
            let transposed: String = text.chars().rev().collect();
            match random.below(4) {
                0 => *number += 1,
                1 => *number -= 1,
                2 => *number = -*number,
                _ => *number = transposed.parse().ok()?,
            }
            Some("a number changed")
        }
        Tree::Variable(name) => {
            *name = random.pick::<&str>(&VARIABLES);
            Some("a variable renamed")
        }
        Tree::Pi => {
            *tree = Tree::Number(3);
            Some("3 for π")
        }
        Tree::Imaginary => {
            *tree = Tree::Imaginary.negated();
            Some("conjugated")
        }
        Tree::Euler => None,
        Tree::Sum(terms) => {
            let index = random.below(terms.len());
            if random.once_in(2) && terms.len() > 1 {
                terms.remove(index);
                return Some("a term missing");
            }
            terms[index] = terms[index].clone().negated();
            Some("the sign of a term")
        }
        Tree::Product(factors) => {
            let index = random.below(factors.len());
            if random.once_in(2) && factors.len() > 1 {
                factors.remove(index);
                return Some("a factor missing");
            }
            factors[index] = Tree::squared(factors[index].clone());
            Some("a factor squared")
        }
        Tree::Quotient(above, below) => {
            std::mem::swap(above, below);
            Some("upside down")
        }
        Tree::Power(base, exponent) => match exponent.as_mut() {
            Tree::Number(exponent) => {
                *exponent += if random.once_in(2) { 1 } else { -1 };
                Some("an exponent changed")
            }
            _ => {
                std::mem::swap(base, exponent);
                Some("base and exponent swapped")
            }
        },
        Tree::Root(degree, _) => {
            *degree += 1;
            Some("a root of another degree")
        }
        Tree::Call(function, _) => {
            let others = [Function::Sin, Function::Cos, Function::Tan, Function::Ln];
            *function = *random.pick(&others);
            Some("another function")
        }
    }
}
