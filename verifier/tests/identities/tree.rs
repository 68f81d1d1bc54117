//! Random expressions, and their values at random points. The values are exact enough to see that two expressions
//! differ, never to see that they are equal.

use crate::support::Random;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Number(i64),
    Variable(&'static str),
    Pi,
    Euler,
    Imaginary,
    Sum(Vec<Tree>),
    Product(Vec<Tree>),
    Quotient(Box<Tree>, Box<Tree>),
    Power(Box<Tree>, Box<Tree>),
    Root(i64, Box<Tree>),
    Call(Function, Box<Tree>),
}

/// A function of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Sin,
    Cos,
    Tan,
    Ln,
}

pub(crate) const VARIABLES: [&str; 9] = ["x", "y", "n", "a", "b", "k", "x_1", "x_2", "\\theta"];

impl Tree {
    pub(crate) fn quotient(above: Self, below: Self) -> Self {
        Self::Quotient(Box::new(above), Box::new(below))
    }

    pub(crate) fn power(base: Self, exponent: Self) -> Self {
        Self::Power(Box::new(base), Box::new(exponent))
    }

    pub(crate) fn squared(base: Self) -> Self {
        Self::power(base, Self::Number(2))
    }

    pub(crate) fn root(radicand: i64) -> Self {
        Self::Root(2, Box::new(Self::Number(radicand)))
    }

    pub(crate) fn call(function: Function, argument: Self) -> Self {
        Self::Call(function, Box::new(argument))
    }

    pub(crate) fn exponential(exponent: Self) -> Self {
        Self::power(Self::Euler, exponent)
    }

    pub(crate) fn negated(self) -> Self {
        Self::times(-1, self)
    }

    pub(crate) fn times(factor: i64, other: Self) -> Self {
        Self::Product(vec![Self::Number(factor), other])
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self::Sum(vec![self, other])
    }

    /// How many nodes there are.
    pub(crate) fn size(&self) -> usize {
        1 + self.parts().into_iter().map(Self::size).sum::<usize>()
    }

    pub(crate) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Variable(_) | Self::Pi | Self::Euler | Self::Imaginary => Vec::new(),
            Self::Sum(parts) | Self::Product(parts) => parts.iter().collect(),
            Self::Quotient(left, right) | Self::Power(left, right) => vec![left, right],
            Self::Root(_, part) | Self::Call(_, part) => vec![part],
        }
    }

    pub(crate) fn parts_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Number(_) | Self::Variable(_) | Self::Pi | Self::Euler | Self::Imaginary => Vec::new(),
            Self::Sum(parts) | Self::Product(parts) => parts.iter_mut().collect(),
            Self::Quotient(left, right) | Self::Power(left, right) => vec![left, right],
            Self::Root(_, part) | Self::Call(_, part) => vec![part],
        }
    }

    /// The node with this number, counted from the root on.
    pub(crate) fn node_mut(&mut self, number: &mut usize) -> Option<&mut Self> {
        if *number == 0 {
            return Some(self);
        }
        *number -= 1;
        self.parts_mut().into_iter().find_map(|part| part.node_mut(number))
    }
}

fn prime(random: &mut Random) -> i64 {
    *random.pick(&[2, 3, 5, 6, 7, 10, 11, 15])
}

/// A random expression that is never zero for real variables other than zero.
fn divisor(random: &mut Random) -> Tree {
    match random.below(8) {
        0..4 => Tree::Number(random.between(2, 12) as i64),
        4 => Tree::Variable(random.pick::<&str>(&VARIABLES)),
        5 => Tree::squared(Tree::Variable(random.pick::<&str>(&VARIABLES)))
            .plus(Tree::Number(random.between(1, 9) as i64)),
        6 => Tree::root(prime(random)).plus(Tree::Number(random.between(1, 9) as i64)),
        _ => Tree::root(prime(random)),
    }
}

fn leaf(random: &mut Random) -> Tree {
    match random.below(14) {
        0..4 => Tree::Number(random.between(1, 12) as i64),
        4 => Tree::Number(random.between(-300, 2000) as i64),
        5..10 => Tree::Variable(random.pick::<&str>(&VARIABLES)),
        10 => Tree::Pi,
        11 => Tree::Imaginary,
        _ => Tree::root(prime(random)),
    }
}

/// A real variable or number, for arguments of functions.
pub(crate) fn angle(random: &mut Random) -> Tree {
    let variable = Tree::Variable(random.pick::<&str>(&VARIABLES));
    match random.below(6) {
        0..3 => variable,
        3 => Tree::times(random.between(2, 5) as i64, variable),
        4 => Tree::Number(random.between(1, 9) as i64),
        _ => Tree::quotient(Tree::Pi, Tree::Number(random.between(3, 12) as i64)),
    }
}

/// A random expression of at most this depth.
pub(crate) fn random_tree(random: &mut Random, depth: usize) -> Tree {
    if depth == 0 {
        return leaf(random);
    }
    let many = |random: &mut Random| {
        let count = 2 + random.below(2);
        (0..count).map(|_| random_tree(random, depth - 1)).collect::<Vec<_>>()
    };
    match random.below(20) {
        0..5 => Tree::Sum(many(random)),
        5..9 => Tree::Product(many(random)),
        9..12 => Tree::quotient(random_tree(random, depth - 1), divisor(random)),
        12 | 13 => Tree::power(
            random_tree(random, depth - 1),
            Tree::Number(random.between(2, 4) as i64),
        ),
        14 => {
            let (left, right) = (random_tree(random, depth - 1), random_tree(random, depth - 1));
            Tree::squared(left).plus(Tree::squared(right).negated())
        }
        15 => {
            let variable = Tree::Variable(random.pick::<&str>(&VARIABLES));
            let radicand = Tree::squared(variable).plus(Tree::Number(random.between(1, 9) as i64));
            Tree::Root(2, Box::new(radicand))
        }
        16 => Tree::Root(
            random.between(2, 5) as i64,
            Box::new(Tree::Number(random.between(2, 60) as i64)),
        ),
        17 => {
            let function = *random.pick(&[
                Function::Sin,
                Function::Cos,
                Function::Sin,
                Function::Cos,
                Function::Tan,
            ]);
            Tree::call(function, angle(random))
        }
        18 => Tree::call(Function::Ln, Tree::Number(random.between(2, 40) as i64)),
        _ => {
            let base = if random.once_in(2) {
                Tree::Euler
            } else {
                Tree::Number(random.between(2, 9) as i64)
            };
            Tree::power(base, angle(random))
        }
    }
}

/// A complex number, roughly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value(f64, f64);

impl Value {
    fn size(self) -> f64 {
        self.0.hypot(self.1)
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }

    fn times(self, other: Self) -> Self {
        Self(self.0 * other.0 - self.1 * other.1, self.0 * other.1 + self.1 * other.0)
    }

    fn over(self, other: Self) -> Self {
        let square = other.0 * other.0 + other.1 * other.1;
        self.times(Self(other.0 / square, -other.1 / square))
    }

    fn exponential(self) -> Self {
        let size = self.0.exp();
        Self(size * self.1.cos(), size * self.1.sin())
    }

    fn power(self, exponent: Self) -> Self {
        if exponent.1 == 0.0 && exponent.0.fract() == 0.0 && exponent.0.abs() < 64.0 {
            let power = (0..exponent.0.abs() as u32).fold(Self(1.0, 0.0), |product, _| product.times(self));
            return if exponent.0 < 0.0 {
                Self(1.0, 0.0).over(power)
            } else {
                power
            };
        }
        let logarithm = Self(self.size().ln(), self.1.atan2(self.0));
        exponent.times(logarithm).exponential()
    }

    fn sine(self) -> Self {
        Self(self.0.sin() * self.1.cosh(), self.0.cos() * self.1.sinh())
    }

    fn cosine(self) -> Self {
        Self(self.0.cos() * self.1.cosh(), -self.0.sin() * self.1.sinh())
    }

    /// Whether two values surely differ.
    pub(crate) fn clearly_differs(self, other: Self) -> bool {
        let size = self.size().max(other.size());
        let gap = self.plus(Self(-other.0, -other.1)).size();
        size.is_finite() && size < 1e12 && gap > 1e-5 * (1.0 + size)
    }
}

/// The value at these values of the variables, which are in the order of [`VARIABLES`].
pub(crate) fn value(tree: &Tree, point: &[f64]) -> Value {
    match tree {
        Tree::Number(number) => Value(*number as f64, 0.0),
        Tree::Variable(name) => {
            let index = VARIABLES.iter().position(|known| known == name);
            Value(index.map_or(0.437, |index| point[index]), 0.0)
        }
        Tree::Pi => Value(std::f64::consts::PI, 0.0),
        Tree::Euler => Value(std::f64::consts::E, 0.0),
        Tree::Imaginary => Value(0.0, 1.0),
        Tree::Sum(parts) => parts
            .iter()
            .fold(Value(0.0, 0.0), |sum, part| sum.plus(value(part, point))),
        Tree::Product(parts) => parts
            .iter()
            .fold(Value(1.0, 0.0), |product, part| product.times(value(part, point))),
        Tree::Quotient(above, below) => value(above, point).over(value(below, point)),
        Tree::Power(base, exponent) => value(base, point).power(value(exponent, point)),
        Tree::Root(degree, radicand) => {
            let radicand = value(radicand, point);
            let exponent = Value(1.0 / *degree as f64, 0.0);
            // The real root, as in school.
            if degree % 2 == 1 && radicand.1 == 0.0 && radicand.0 < 0.0 {
                let root = Value(-radicand.0, 0.0).power(exponent);
                return Value(-root.0, 0.0);
            }
            radicand.power(exponent)
        }
        Tree::Call(function, argument) => {
            let argument = value(argument, point);
            match function {
                Function::Sin => argument.sine(),
                Function::Cos => argument.cosine(),
                Function::Tan => argument.sine().over(argument.cosine()),
                Function::Ln => Value(argument.size().ln(), argument.1.atan2(argument.0)),
            }
        }
    }
}

/// Positive values for all variables.
pub(crate) fn random_point(random: &mut Random) -> Vec<f64> {
    VARIABLES
        .iter()
        .map(|_| 0.3 + random.below(1 << 20) as f64 / f64::from(1 << 19))
        .collect()
}
