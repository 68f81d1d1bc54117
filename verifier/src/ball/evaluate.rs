//! Evaluates an expression at a point and a precision, with the semantics of [`Expression`].

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::complex::Complex;
use super::context::{Context, Trouble};
use super::elementary;
use super::point::Point;
use super::real::Ball;
use super::value::{Bound, EXACT_BITS, Value, rational_bits};
use crate::expression::{Constant, Expression};
use crate::steps::Stop;

/// More different radicals than this have a separation bound out of reach.
const MOST_RADICALS: usize = 12;
/// Roots of unity of a higher order have a separation bound out of reach.
pub(super) const LARGEST_ORDER: u64 = 1 << 16;
/// Bits of an addend above the error of its sum from which on it counts as seen.
const SEEN_BITS: i64 = 64;

/// An irrational root: its field is an extension by `degree` at most.
#[derive(Debug)]
struct Radical<'tree> {
    of: Radicand<'tree>,
    degree: u64,
}

/// The radicand of a root. Two spellings of it may count twice, which only makes a bound larger.
#[derive(Debug, PartialEq)]
enum Radicand<'tree> {
    Rational(RBig),
    Tree(&'tree Expression),
}

/// An evaluation at one point and one precision.
#[derive(Debug)]
pub struct Evaluator<'tree, 'steps> {
    /// Precision, budget, and whether something was lost.
    pub context: Context<'steps>,
    /// The exponent of the largest addend of any sum.
    pub largest_addend: i64,
    /// The precision that would tell whether the sums that contain zero are zero; none if no precision would.
    pub telling_precision: Option<u64>,
    /// Whether a subexpression that is not real has no value, as in school: then `√a·√b` is `√(ab)`.
    pub real_only: bool,
    pub(super) point: Option<Point>,
    radicals: Vec<Radical<'tree>>,
    order: u64,
}

type Evaluation = Result<Value, Trouble>;

impl<'tree, 'steps> Evaluator<'tree, 'steps> {
    /// An evaluator; expressions without variables and unknown functions need no point.
    pub fn new(point: Option<Point>, context: Context<'steps>) -> Self {
        Self {
            context,
            largest_addend: i64::MIN / 2,
            telling_precision: Some(0),
            real_only: false,
            point,
            radicals: Vec::new(),
            order: 1,
        }
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// [`Trouble::Imprecise`] if a higher precision may have one.
    pub fn evaluate(&mut self, expression: &'tree Expression) -> Evaluation {
        let value = self.evaluate_freely(expression)?;
        if self.real_only && matches!(&value, Value::Number(number, _) if !number.imaginary.contains_zero()) {
            return Err(Stop::Undefined.into());
        }
        Ok(value)
    }

    fn evaluate_freely(&mut self, expression: &'tree Expression) -> Evaluation {
        self.context.steps.spend(2)?;
        match expression {
            Expression::Number(value) => {
                self.context.steps.spend(rational_bits(value) as u64 / 512)?;
                Ok(Value::Rational(value.clone()))
            }
            Expression::Constant(constant) => self.constant(*constant),
            Expression::Symbol(name) => {
                let point = self.point.ok_or(Stop::Unsupported)?;
                self.context.steps.spend(2 + name.len() as u64 / 4)?;
                Ok(Value::number(point.symbol(name), None))
            }
            Expression::Sum(terms) => self.sum(terms),
            Expression::Product(factors) => self.product(factors, None),
            Expression::Power(base, exponent) => self.power(base, exponent),
            Expression::Call(function, arguments) => self.call(function, arguments),
        }
    }

    pub(super) fn constant(&mut self, constant: Constant) -> Evaluation {
        Ok(match constant {
            Constant::Pi => Value::PiMultiple(RBig::ONE),
            Constant::Degree => Value::PiMultiple(RBig::from_parts(IBig::ONE, UBig::from(180u32))),
            Constant::Euler => Value::real(elementary::exponential(&Ball::ONE, &mut self.context)?),
            Constant::Imaginary => {
                self.adjoin(Radicand::Rational(RBig::NEG_ONE), 2);
                Value::number(Complex::I, Some(Bound::UNIT))
            }
            Constant::Infinity => return Err(Stop::Undefined.into()),
        })
    }

    fn sum(&mut self, terms: &'tree [Expression]) -> Evaluation {
        let mut sum = Addition::default();
        for term in terms {
            let value = self.evaluate(term)?;
            self.add(&mut sum, value)?;
        }
        self.finish_sum(sum)
    }

    /// The sum of two values.
    pub(super) fn plus(&mut self, left: Value, right: Value) -> Evaluation {
        let mut sum = Addition::default();
        self.add(&mut sum, left)?;
        self.add(&mut sum, right)?;
        self.finish_sum(sum)
    }

    /// The difference of two values.
    pub fn minus(&mut self, left: Value, right: Value) -> Evaluation {
        let negative = self.negated(right);
        self.plus(left, negative)
    }

    pub(super) fn negated(&mut self, value: Value) -> Value {
        match value {
            Value::Rational(value) => Value::Rational(-value),
            Value::PiMultiple(value) => Value::PiMultiple(-value),
            Value::Number(value, bound) => Value::Number(value.negated(), bound),
        }
    }

    /// Adds exact values exactly, as long as the sum stays small.
    fn add(&mut self, sum: &mut Addition, term: Value) -> Result<(), Trouble> {
        match &term {
            Value::Rational(value) => {
                if let Some(exact) = self.exact_sum(&sum.rational, value)? {
                    sum.rational = exact;
                    return Ok(());
                }
            }
            Value::PiMultiple(value) => {
                if let Some(exact) = self.exact_sum(&sum.pi, value)? {
                    sum.pi = exact;
                    return Ok(());
                }
            }
            Value::Number(..) => {}
        }
        self.add_number(sum, &term)
    }

    fn exact_sum(&mut self, left: &RBig, right: &RBig) -> Result<Option<RBig>, Trouble> {
        if left.is_zero() {
            return Ok(Some(right.clone()));
        }
        let (left_bits, right_bits) = (rational_bits(left), rational_bits(right));
        if left_bits + right_bits > EXACT_BITS {
            return Ok(None);
        }
        self.charge_rational(left_bits, right_bits)?;
        Ok(Some(left + right))
    }

    /// Charges the greatest common divisor that a reduced result takes: about ten steps a word, and more for many
    /// words.
    pub(super) fn charge_rational(&mut self, left_bits: usize, right_bits: usize) -> Result<(), Stop> {
        let words = (left_bits + right_bits) as u64 / 64;
        self.context.steps.spend(8 + words * 10 + words * words / 2)
    }

    fn add_number(&mut self, sum: &mut Addition, term: &Value) -> Result<(), Trouble> {
        let number = term.to_complex(&mut self.context)?;
        for part in [&number.real, &number.imaginary] {
            self.largest_addend = self.largest_addend.max(part.upper().top());
        }
        if !number.real.contains_zero() {
            sum.smallest_real = sum.smallest_real.min(number.real.top());
        }
        if !number.imaginary.contains_zero() {
            sum.smallest_imaginary = sum.smallest_imaginary.min(number.imaginary.top());
        }
        let (old, old_bound) = sum.number.take().unwrap_or((Complex::ZERO, Some(Bound::UNIT)));
        let bound = match (old_bound, term.bound()) {
            (Some(left), Some(right)) if !old.is_zero() => Some(left.plus(right)),
            (Some(_), right) => right,
            _ => None,
        };
        sum.number = Some((old.plus(&number, &mut self.context)?, bound));
        Ok(())
    }

    fn finish_sum(&mut self, mut sum: Addition) -> Evaluation {
        let kinds = [sum.number.is_some(), !sum.pi.is_zero(), !sum.rational.is_zero()];
        match kinds {
            [false, false, _] => return Ok(Value::Rational(sum.rational)),
            [false, true, false] => return Ok(Value::PiMultiple(sum.pi)),
            _ => {}
        }
        if kinds[1] {
            let pi = Value::PiMultiple(std::mem::take(&mut sum.pi));
            self.add_number(&mut sum, &pi)?;
        }
        if kinds[2] {
            let rational = Value::Rational(std::mem::take(&mut sum.rational));
            self.add_number(&mut sum, &rational)?;
        }
        let Some((number, bound)) = sum.number.take() else {
            return Ok(Value::Rational(RBig::ZERO));
        };
        let unseen =
            |part: &Ball, smallest: i64| !part.radius().is_zero() && smallest < part.radius().top() + SEEN_BITS;
        if unseen(&number.real, sum.smallest_real) || unseen(&number.imaginary, sum.smallest_imaginary) {
            self.context.lost = true;
        }
        self.snapped(number, bound)
    }

    /// The value, or exactly zero where a separation bound proves that.
    fn snapped(&mut self, number: Complex, bound: Option<Bound>) -> Evaluation {
        if number.contains_zero() && !number.is_zero() {
            let Some(bound) = bound.filter(|_| self.degree() < u64::MAX) else {
                self.telling_precision = None;
                return Ok(Value::number(number, bound));
            };
            let separation = bound.separation(self.degree());
            let size = number.upper().top();
            if i64::try_from(separation).is_ok_and(|separation| size <= -separation) {
                return Ok(Value::Rational(RBig::ZERO));
            }
            let missing = separation.saturating_add_signed(size).saturating_add(16);
            let precision = (self.context.precision as u64).saturating_add(missing);
            self.telling_precision = self.telling_precision.map(|known| known.max(precision));
        }
        Ok(Value::number(number, bound))
    }

    /// The product, without the factor at one index.
    pub(super) fn product(&mut self, factors: &'tree [Expression], without: Option<usize>) -> Evaluation {
        let mut product = Value::integer(1);
        for (index, factor) in factors.iter().enumerate() {
            if Some(index) == without {
                continue;
            }
            let factor = self.evaluate(factor)?;
            product = self.times(product, factor)?;
        }
        Ok(product)
    }

    /// The product of two values.
    pub(super) fn times(&mut self, left: Value, right: Value) -> Evaluation {
        let exact = match (&left, &right) {
            (Value::Rational(one), other) | (other, Value::Rational(one)) if one.is_one() => return Ok(other.clone()),
            (Value::Rational(left), Value::Rational(right)) => Some((left, right, false)),
            (Value::Rational(left), Value::PiMultiple(right)) | (Value::PiMultiple(left), Value::Rational(right)) => {
                Some((left, right, true))
            }
            (Value::Rational(zero), _) | (_, Value::Rational(zero)) if zero.is_zero() => {
                return Ok(Value::Rational(RBig::ZERO));
            }
            _ => None,
        };
        if let Some((left, right, pi)) = exact {
            let (left_bits, right_bits) = (rational_bits(left), rational_bits(right));
            if left_bits + right_bits <= EXACT_BITS {
                self.charge_rational(left_bits, right_bits)?;
                let product = left * right;
                return Ok(if pi {
                    Value::PiMultiple(product)
                } else {
                    Value::Rational(product)
                });
            }
        }
        let bound = left.bound().zip(right.bound()).map(|(left, right)| left.times(right));
        let left = left.to_complex(&mut self.context)?;
        let right = right.to_complex(&mut self.context)?;
        Ok(Value::number(left.times(&right, &mut self.context)?, bound))
    }

    /// The quotient of two values.
    pub(super) fn over(&mut self, left: Value, right: Value) -> Evaluation {
        if let (Value::PiMultiple(left), Value::PiMultiple(right)) = (&left, &right)
            && !right.is_zero()
        {
            let (left_bits, right_bits) = (rational_bits(left), rational_bits(right));
            self.charge_rational(left_bits, right_bits)?;
            return Ok(Value::Rational(left / right));
        }
        let inverse = self.integer_power(right, -1)?;
        self.times(left, inverse)
    }

    pub(super) fn adjoin_root(&mut self, tree: &'tree Expression, base: &Value, degree: u64) -> Result<(), Trouble> {
        if let Value::Rational(ratio) = base {
            self.adjoin(Radicand::Rational(ratio.clone()), degree);
        } else {
            // Comparing with those that are known may walk through all of the tree.
            self.context
                .steps
                .spend(tree.node_count() as u64 * (1 + self.radicals.len() as u64 / 4))?;
            self.adjoin(Radicand::Tree(tree), degree);
        }
        Ok(())
    }

    fn adjoin(&mut self, of: Radicand<'tree>, degree: u64) {
        let known = self
            .radicals
            .iter()
            .any(|radical| radical.degree == degree && radical.of == of);
        if !known && self.radicals.len() <= MOST_RADICALS {
            self.radicals.push(Radical { of, degree });
        }
    }

    /// Notes that cosines of multiples of `2π/order` are used.
    pub(super) fn adjoin_cosines(&mut self, order: u64) {
        let common = common_divisor(self.order, order);
        self.order = (self.order / common).saturating_mul(order);
    }

    /// A bound of the degree of the field with all that was adjoined; the largest number stands for out of reach.
    fn degree(&self) -> u64 {
        if self.radicals.len() > MOST_RADICALS || self.order > LARGEST_ORDER {
            return u64::MAX;
        }
        // Cosines of multiples of 2π/n are in the real half of the field of n-th roots of unity.
        let cosines = (totient(self.order) / 2).max(1);
        self.radicals
            .iter()
            .fold(cosines, |degree, radical| degree.saturating_mul(radical.degree))
    }
}

/// A sum under way: the exact part, and the rest with the exponent of its smallest addend.
struct Addition {
    rational: RBig,
    pi: RBig,
    number: Option<(Complex, Option<Bound>)>,
    smallest_real: i64,
    smallest_imaginary: i64,
}

impl Default for Addition {
    fn default() -> Self {
        Self {
            rational: RBig::ZERO,
            pi: RBig::ZERO,
            number: None,
            smallest_real: i64::MAX,
            smallest_imaginary: i64::MAX,
        }
    }
}

fn common_divisor(left: u64, right: u64) -> u64 {
    let (mut left, mut right) = (left, right);
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.max(1)
}

/// Euler's function, by trial division of a number of at most 16 bits.
fn totient(number: u64) -> u64 {
    let (mut rest, mut result, mut prime) = (number, number, 2);
    while prime * prime <= rest {
        if rest % prime == 0 {
            result -= result / prime;
            while rest % prime == 0 {
                rest /= prime;
            }
        }
        prime += 1;
    }
    if rest > 1 {
        result -= result / rest;
    }
    result
}
