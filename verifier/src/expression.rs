//! The one expression tree that every spelling is read into and every comparison starts from.

use compact_str::CompactString;
use dashu_ratio::RBig;

/// A mathematical expression. Sums and products are flat lists, so that the depth of a tree is the depth of the
/// brackets it was written with; `a - b` is `a + (-1)·b` and `a / b` is `a · b^(-1)`.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Expression {
    /// A rational number, exactly. Decimals are rationals.
    Number(RBig),
    /// A constant with a name.
    Constant(Constant),
    /// A variable; subscripts and accents are part of the name: `x`, `a_{n+1}`, `\alpha`.
    Symbol(CompactString),
    /// The sum of its terms.
    Sum(Vec<Expression>),
    /// The product of its factors.
    Product(Vec<Expression>),
    /// Base and exponent. `\sqrt[n]{x}` is `x^(1/n)`. A negative real base to `p/q` with odd `q` is the real root, as
    /// in school; any other power is the principal one.
    Power(Box<Expression>, Box<Expression>),
    /// A function of its arguments.
    Call(Function, Vec<Expression>),
}

/// A constant with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Constant {
    /// π.
    Pi,
    /// e, the base of the natural logarithm.
    Euler,
    /// i, the imaginary unit.
    Imaginary,
    /// One degree, π/180.
    Degree,
    /// +∞. It only compares with itself: arithmetic with it is undefined, except for its sign.
    Infinity,
}

/// A function. The number of arguments in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// Sine (1).
    Sin,
    /// Cosine (1).
    Cos,
    /// Tangent (1).
    Tan,
    /// Cotangent (1).
    Cot,
    /// Secant (1).
    Sec,
    /// Cosecant (1).
    Csc,
    /// Inverse sine, principal value (1).
    Arcsin,
    /// Inverse cosine, principal value (1).
    Arccos,
    /// Inverse tangent, principal value (1).
    Arctan,
    /// Inverse cotangent in (0, π) (1).
    Arccot,
    /// Hyperbolic sine (1).
    Sinh,
    /// Hyperbolic cosine (1).
    Cosh,
    /// Hyperbolic tangent (1).
    Tanh,
    /// Inverse hyperbolic sine (1).
    Arsinh,
    /// Inverse hyperbolic cosine, at least zero for real numbers (1).
    Arcosh,
    /// Inverse hyperbolic tangent (1).
    Artanh,
    /// Natural logarithm, principal value (1).
    Ln,
    /// Logarithm of the first argument to the base that is the second (2).
    Log,
    /// Absolute value or modulus (1).
    Abs,
    /// Largest integer not above (1).
    Floor,
    /// Smallest integer not below (1).
    Ceiling,
    /// Factorial (1).
    Factorial,
    /// Double factorial, the product of every second integer down to 1 or 2 (1).
    DoubleFactorial,
    /// Rest of the first argument on division by the second, x − m⌊x/m⌋ (2).
    Modulo,
    /// Binomial coefficient, n over k (2).
    Binomial,
    /// Greatest common divisor (any).
    Gcd,
    /// Least common multiple (any).
    Lcm,
    /// Largest argument (any).
    Max,
    /// Smallest argument (any).
    Min,
    /// Real part (1).
    Re,
    /// Imaginary part (1).
    Im,
    /// Complex conjugate (1).
    Conjugate,
    /// A function that nothing is known of, such as `f` (any).
    Named(CompactString),
}

impl Expression {
    /// An integer.
    pub fn integer(value: i64) -> Self {
        Self::Number(RBig::from(value))
    }

    /// The negative of an expression.
    pub fn negated(self) -> Self {
        match self {
            Self::Number(value) => Self::Number(-value),
            Self::Product(mut factors) => {
                factors.insert(0, Self::integer(-1));
                Self::Product(factors)
            }
            other => Self::Product(vec![Self::integer(-1), other]),
        }
    }

    /// One over an expression.
    pub fn inverse(self) -> Self {
        Self::Power(Box::new(self), Box::new(Self::integer(-1)))
    }

    /// The difference of two expressions.
    pub fn minus(self, other: Self) -> Self {
        Self::Sum(vec![self, other.negated()])
    }

    /// The expression with another one in the place of a variable.
    #[must_use]
    pub fn substituted(&self, variable: &str, value: &Self) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.substituted(variable, value)).collect();
        match self {
            Self::Symbol(name) if name == variable => value.clone(),
            Self::Number(_) | Self::Constant(_) | Self::Symbol(_) => self.clone(),
            Self::Sum(parts) => Self::Sum(all(parts)),
            Self::Product(parts) => Self::Product(all(parts)),
            Self::Call(function, parts) => Self::Call(function.clone(), all(parts)),
            Self::Power(base, exponent) => Self::Power(
                Box::new(base.substituted(variable, value)),
                Box::new(exponent.substituted(variable, value)),
            ),
        }
    }

    /// Whether any variable or function has a name like this.
    pub fn has_name(&self, is_meant: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Symbol(name) => is_meant(name),
            Self::Number(_) | Self::Constant(_) => false,
            Self::Sum(parts) | Self::Product(parts) => parts.iter().any(|part| part.has_name(is_meant)),
            Self::Call(function, parts) => {
                matches!(function, Function::Named(name) if is_meant(name))
                    || parts.iter().any(|part| part.has_name(is_meant))
            }
            Self::Power(base, exponent) => base.has_name(is_meant) || exponent.has_name(is_meant),
        }
    }

    /// Whether no variable occurs.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Number(_) | Self::Constant(_) => true,
            Self::Symbol(_) | Self::Call(Function::Named(_), _) => false,
            Self::Sum(parts) | Self::Product(parts) | Self::Call(_, parts) => parts.iter().all(Self::is_constant),
            Self::Power(base, exponent) => base.is_constant() && exponent.is_constant(),
        }
    }

    /// How many nodes the tree has. The depth of a tree is bounded by the parser, so recursion is safe.
    pub fn node_count(&self) -> usize {
        let children = match self {
            Self::Number(_) | Self::Constant(_) | Self::Symbol(_) => 0,
            Self::Sum(parts) | Self::Product(parts) | Self::Call(_, parts) => parts.iter().map(Self::node_count).sum(),
            Self::Power(base, exponent) => base.node_count() + exponent.node_count(),
        };
        1 + children
    }
}

/// Operators that bind a variable: sums, products, integrals, limits. To the deciders they are unknown functions of
/// what they are applied to, so that two of them are equal where all their parts are. What can be worked out is, in
/// [`crate::compare`].
///
/// The variable is the first argument and has a name that no text can spell, one for each depth of nesting; so it does
/// not matter how it was called. Sums and products run from zero.
pub mod operator {
    /// Σ of the second argument, up to the third.
    pub const SUM: &str = "∑";
    /// Σ of the second argument, without an end.
    pub const SERIES: &str = "∑∞";
    /// Σ of the second argument over all integers.
    pub const DOUBLE_SERIES: &str = "∑±∞";
    /// Π of the second argument, up to the third.
    pub const PRODUCT: &str = "∏";
    /// Π of the second argument, without an end.
    pub const INFINITE_PRODUCT: &str = "∏∞";
    /// ∫ of the second argument from the third to the fourth.
    pub const INTEGRAL: &str = "∫";
    /// How the name of a bound variable begins.
    pub const BOUND: char = '§';

    /// The name of the variable at a depth of nesting.
    pub(crate) fn bound(depth: usize) -> compact_str::CompactString {
        compact_str::format_compact!("{BOUND}{depth}")
    }
}
