//! Up to which integer two expressions may agree and differ beyond.
//!
//! `\binom{n}{49}` is zero up to 48, `\max(0, n-60)` up to 60, `(n-1)(n-2)\cdots(n-9)` at nine integers, and
//! `\lfloor n/100\rfloor` up to 99. So agreement at integers proves something only for what settles: beyond a bound that
//! the numbers in it give, it must be one analytic function with few zeros.

use crate::expression::{Constant, Expression, Function, operator};

/// What is known of an expression of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late {
    /// From which integer on it is one analytic function.
    pub(super) settled: u64,
    /// At how many integers it may be zero without being it: the degree of a polynomial, and one more for every
    /// exponential or other function in it.
    pub(super) zeros: u64,
}

const NOTHING: Late = Late { settled: 0, zeros: 0 };

impl Late {
    /// The bounds of an expression in some variables, whose names a test tells; bound variables count as well. None if
    /// it never settles, or it is not known where.
    pub(super) fn of(expression: &Expression, is_meant: &impl Fn(&str) -> bool) -> Option<Self> {
        if !varies(expression, is_meant) {
            return Some(NOTHING);
        }
        match expression {
            Expression::Number(_) | Expression::Constant(_) => Some(NOTHING),
            Expression::Symbol(_) => Some(Self { settled: 0, zeros: 1 }),
            Expression::Sum(parts) => {
                let mut sum = NOTHING;
                for part in parts {
                    let late = Self::of(part, is_meant)?;
                    // Polynomials together have the degree of the highest; with anything else zeros add up.
                    sum.zeros = match is_polynomial(expression, is_meant) {
                        true => sum.zeros.max(late.zeros),
                        false => sum.zeros.saturating_add(late.zeros).saturating_add(1),
                    };
                    sum.settled = sum.settled.max(late.settled);
                }
                Some(sum)
            }
            Expression::Product(parts) => Self::of_all(parts, is_meant),
            Expression::Power(base, exponent) => {
                let (below, above) = (Self::of(base, is_meant)?, Self::of(exponent, is_meant)?);
                let settled = below.settled.max(above.settled);
                match &**exponent {
                    Expression::Number(exponent) if exponent.is_int() => Some(Self {
                        settled,
                        zeros: below
                            .zeros
                            .saturating_mul(magnitude(&Expression::Number(exponent.clone()))),
                    }),
                    // A root has a kink where what is in it is zero, as √((n - 60)²) has.
                    exponent if !varies(exponent, is_meant) => Some(Self {
                        settled: settled.max(magnitude(base)),
                        zeros: below.zeros.saturating_add(1),
                    }),
                    // (-1)^{48!/n} is one up to 48.
                    exponent if !is_positive(base) && !is_polynomial(exponent, is_meant) => None,
                    _ => Some(Self {
                        settled,
                        zeros: below.zeros.saturating_add(above.zeros).saturating_add(1),
                    }),
                }
            }
            Expression::Call(function, parts) => Self::of_call(function, parts, is_meant),
        }
    }

    fn of_all(parts: &[Expression], is_meant: &impl Fn(&str) -> bool) -> Option<Self> {
        parts.iter().try_fold(NOTHING, |all, part| {
            let late = Self::of(part, is_meant)?;
            Some(Self {
                settled: all.settled.max(late.settled),
                zeros: all.zeros.saturating_add(late.zeros),
            })
        })
    }

    fn of_call(function: &Function, parts: &[Expression], is_meant: &impl Fn(&str) -> bool) -> Option<Self> {
        let mut late = Self::of_all(parts, is_meant)?;
        late.zeros = late.zeros.saturating_add(1);
        let together = |parts: &[Expression]| parts.iter().map(magnitude).fold(1, u64::saturating_mul);
        let settled = match function {
            // They settle where their arguments have passed the numbers in them.
            Function::Factorial
            | Function::DoubleFactorial
            | Function::Binomial
            | Function::Abs
            | Function::Max
            | Function::Min
            | Function::Ln
            | Function::Log
            | Function::Arsinh
            | Function::Arcosh
            | Function::Artanh
            | Function::Arctan
            | Function::Arccot => together(parts),
            Function::Sinh | Function::Cosh | Function::Tanh => 0,
            // The sine of 48!π/n is zero up to 48.
            Function::Sin | Function::Cos | Function::Tan | Function::Cot | Function::Sec | Function::Csc => {
                if !parts.iter().all(|part| is_polynomial(part, is_meant)) {
                    return None;
                }
                0
            }
            Function::Named(name) => match name.as_str() {
                // A factor that is zero may leave the range, as in the product of k - 60 from n to 60.
                operator::PRODUCT => together(parts.get(1..).unwrap_or_default()),
                operator::SUM | operator::INTEGRAL => together(parts.get(2..).unwrap_or_default()),
                // Of its values nothing is known, so that none can be made zero.
                name if !super::operators::is_operator(name) => 0,
                _ => return None,
            },
            // Functions of divisibility and steps never settle.
            Function::Floor | Function::Ceiling | Function::Modulo | Function::Gcd | Function::Lcm => return None,
            Function::Arcsin | Function::Arccos | Function::Re | Function::Im | Function::Conjugate => return None,
        };
        late.settled = late.settled.max(settled);
        Some(late)
    }
}

fn varies(expression: &Expression, is_meant: &impl Fn(&str) -> bool) -> bool {
    expression.has_name(&|name: &str| is_meant(name) || name.starts_with(operator::BOUND))
}

/// Whether an expression is a polynomial of the variables that are meant.
fn is_polynomial(expression: &Expression, is_meant: &impl Fn(&str) -> bool) -> bool {
    let is_constant = |part: &Expression| !varies(part, is_meant);
    match expression {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => true,
        Expression::Sum(parts) | Expression::Product(parts) => parts.iter().all(|part| is_polynomial(part, is_meant)),
        Expression::Power(base, exponent) => {
            let is_natural = matches!(&**exponent, Expression::Number(exponent)
                if exponent.is_int() && exponent.sign() == dashu_base::Sign::Positive);
            is_constant(expression) || is_natural && is_polynomial(base, is_meant)
        }
        Expression::Call(..) => is_constant(expression),
    }
}

/// Whether a base is a positive number, as far as can be seen.
fn is_positive(base: &Expression) -> bool {
    match base {
        Expression::Number(value) => value.sign() == dashu_base::Sign::Positive && !value.is_zero(),
        Expression::Constant(constant) => matches!(constant, Constant::Pi | Constant::Euler | Constant::Degree),
        Expression::Symbol(_) => true,
        Expression::Sum(parts) | Expression::Product(parts) => parts.iter().all(is_positive),
        Expression::Power(base, _) => is_positive(base),
        Expression::Call(..) => false,
    }
}

/// A bound of the integers beyond which an expression has neither zeros nor poles.
fn magnitude(expression: &Expression) -> u64 {
    let Coefficients { above, below } = Coefficients::of(expression);
    above.max(below).saturating_add(1)
}

/// The sums of the coefficients of numerator and denominator of a quotient of two polynomials with integer coefficients,
/// without their signs: no zero of a polynomial is larger than one more than that. Other functions are taken for powers of
/// what they are applied to.
#[derive(Clone, Copy, Debug)]
struct Coefficients {
    above: u64,
    below: u64,
}

impl Coefficients {
    fn of(expression: &Expression) -> Self {
        match expression {
            Expression::Number(value) => {
                let size = |number: &dashu_int::UBig| u64::try_from(number).unwrap_or(u64::MAX);
                let (_, above) = value.numerator().clone().into_parts();
                Self {
                    above: size(&above),
                    below: size(value.denominator()),
                }
            }
            Expression::Constant(_) => Self { above: 4, below: 4 },
            Expression::Symbol(_) => Self { above: 1, below: 1 },
            Expression::Sum(parts) => parts
                .iter()
                .map(Self::of)
                .fold(Self { above: 0, below: 1 }, |sum, part| {
                    let (left, right) = (
                        sum.above.saturating_mul(part.below),
                        part.above.saturating_mul(sum.below),
                    );
                    Self {
                        above: left.saturating_add(right),
                        below: sum.below.saturating_mul(part.below),
                    }
                }),
            Expression::Product(parts) => Self::product(parts),
            Expression::Power(base, exponent) => {
                let base = Self::of(base);
                let times = u32::try_from(Self::of(exponent).above).unwrap_or(u32::MAX);
                let (above, below) = (base.above.saturating_pow(times), base.below.saturating_pow(times));
                match &**exponent {
                    Expression::Number(exponent) if exponent.sign() == dashu_base::Sign::Positive => {
                        Self { above, below }
                    }
                    Expression::Number(_) => Self {
                        above: below,
                        below: above,
                    },
                    _ => Self {
                        above: above.max(below),
                        below: above.max(below),
                    },
                }
            }
            // These grow at least as fast as their arguments.
            Expression::Call(Function::Factorial | Function::DoubleFactorial | Function::Binomial, parts) => {
                Self::product(parts)
            }
            Expression::Call(..) => Self {
                above: u64::MAX,
                below: u64::MAX,
            },
        }
    }

    fn product(parts: &[Expression]) -> Self {
        parts
            .iter()
            .map(Self::of)
            .fold(Self { above: 1, below: 1 }, |product, part| Self {
                above: product.above.saturating_mul(part.above),
                below: product.below.saturating_mul(part.below),
            })
    }
}
