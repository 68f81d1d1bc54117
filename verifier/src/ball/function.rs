//! The functions of [`Evaluator`]. They are exact where their arguments are, and otherwise computed in balls.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use dashu_base::{Abs, BitTest, DivRem, Gcd, Sign};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::complex::Complex;
use super::context::Trouble;
use super::elementary;
use super::evaluate::{Evaluator, LARGEST_ORDER};
use super::point::{Fnv, arbitrary};
use super::real::Ball;
use super::value::{Bound, EXACT_BITS, Value, rational_bits};
use crate::expression::{Constant, Expression, Function};
use crate::normal::integers;
use crate::steps::{MAX_BITS, Stop};

type Evaluation = Result<Value, Trouble>;

/// Factorials of larger numbers have more than [`MAX_BITS`] bits.
const LARGEST_FACTORIAL: u64 = 1_800;

impl<'tree> Evaluator<'tree, '_> {
    /// The value of a function.
    pub(super) fn call(&mut self, function: &Function, arguments: &'tree [Expression]) -> Evaluation {
        if matches!(function, Function::Ln) && arguments == [Expression::Constant(Constant::Euler)] {
            return Ok(Value::integer(1));
        }
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.evaluate(argument)?);
        }
        match function {
            Function::Gcd | Function::Lcm => return self.divisors(function, &values),
            Function::Max | Function::Min => return self.extreme(function, values),
            Function::Named(name) => return self.named(name, &values),
            _ => {}
        }
        let mut values = values.into_iter();
        match (values.next(), values.next(), values.next()) {
            (Some(value), None, None) => self.unary(function, value),
            (Some(left), Some(right), None) => match function {
                Function::Log => self.logarithm_to_base(left, right),
                Function::Binomial => self.binomial(&left, &right),
                Function::Modulo => match (&left, &right) {
                    (Value::Rational(value), Value::Rational(modulus)) => {
                        Ok(Value::Rational(integers::modulo(value, modulus, self.context.steps)?))
                    }
                    _ => Err(Stop::Unsupported.into()),
                },
                _ => Err(Stop::Unsupported.into()),
            },
            _ => Err(Stop::Unsupported.into()),
        }
    }

    fn unary(&mut self, function: &Function, value: Value) -> Evaluation {
        match function {
            Function::Sin => self.sine(value),
            Function::Cos => self.cosine(value),
            Function::Tan => self.sine_over_cosine(value),
            Function::Cot => {
                let (sine, cosine) = (self.sine(value.clone())?, self.cosine(value)?);
                self.over(cosine, sine)
            }
            Function::Sec => {
                let cosine = self.cosine(value)?;
                self.integer_power(cosine, -1)
            }
            Function::Csc => {
                let sine = self.sine(value)?;
                self.integer_power(sine, -1)
            }
            Function::Arcsin => self.inverse_sine(&value),
            Function::Arccos => {
                let sine = self.inverse_sine(&value)?;
                self.minus(half_pi(), sine)
            }
            Function::Arctan => self.inverse_tangent(&value),
            Function::Arccot => {
                let tangent = self.inverse_tangent(&value)?;
                self.minus(half_pi(), tangent)
            }
            Function::Sinh | Function::Cosh | Function::Tanh => self.hyperbolic(function, &value),
            Function::Arsinh | Function::Arcosh | Function::Artanh => self.inverse_hyperbolic(function, &value),
            Function::Ln => self.logarithm(&value),
            Function::Abs => self.absolute(value),
            Function::Floor => self.floor(value),
            Function::Ceiling => {
                let negative = self.negated(value);
                let floor = self.floor(negative)?;
                Ok(self.negated(floor))
            }
            Function::Factorial => self.factorial(&value),
            Function::DoubleFactorial => match &value {
                Value::Rational(ratio) => match integers::double_factorial(ratio, self.context.steps)? {
                    Some(product) => Ok(Value::Rational(product)),
                    None => Err(Stop::Unsupported.into()),
                },
                _ => Err(Stop::Unsupported.into()),
            },
            Function::Re | Function::Im | Function::Conjugate => Ok(self.part(function, value)),
            _ => Err(Stop::Unsupported.into()),
        }
    }

    /// The sine.
    pub(super) fn sine(&mut self, value: Value) -> Evaluation {
        match value {
            // sin πr = cos π(r - 1/2).
            Value::PiMultiple(multiple) => self.cosine_of_pi(&(multiple - half())),
            value if value.is_zero() => Ok(Value::integer(0)),
            value => {
                let ball = value.to_complex(&mut self.context)?;
                Ok(Value::number(ball.sine_and_cosine(&mut self.context)?.0, None))
            }
        }
    }

    /// The cosine.
    pub(super) fn cosine(&mut self, value: Value) -> Evaluation {
        match value {
            Value::PiMultiple(multiple) => self.cosine_of_pi(&multiple),
            value if value.is_zero() => Ok(Value::integer(1)),
            value => {
                let ball = value.to_complex(&mut self.context)?;
                Ok(Value::number(ball.sine_and_cosine(&mut self.context)?.1, None))
            }
        }
    }

    fn sine_over_cosine(&mut self, value: Value) -> Evaluation {
        if value.is_zero() {
            return Ok(value);
        }
        if matches!(value, Value::PiMultiple(_)) {
            let (sine, cosine) = (self.sine(value.clone())?, self.cosine(value)?);
            return self.over(sine, cosine);
        }
        let ball = value.to_complex(&mut self.context)?;
        let (sine, cosine) = ball.sine_and_cosine(&mut self.context)?;
        Ok(Value::number(sine.over(&cosine, &mut self.context)?, None))
    }

    /// `cos πr`: rational for multiples of thirds and halves, otherwise half an algebraic integer.
    fn cosine_of_pi(&mut self, multiple: &RBig) -> Evaluation {
        let bits = rational_bits(multiple);
        self.charge_rational(bits, bits)?;
        let two = RBig::from(2);
        let turns = (multiple / &two).floor();
        let mut angle = multiple - &two * RBig::from(turns);
        // cos π(2-r) = cos πr and cos π(1-r) = -cos πr bring the angle into a quarter turn.
        if angle > RBig::ONE {
            angle = two - angle;
        }
        let negative = angle > half();
        if negative {
            angle = RBig::ONE - angle;
        }
        let cosine = if angle.is_zero() {
            Value::integer(1)
        } else if angle == half() {
            Value::integer(0)
        } else if angle == RBig::from_parts(IBig::ONE, UBig::from(3u32)) {
            Value::Rational(half())
        } else {
            let bound = self.cosine_bound(&angle);
            let ball = Value::PiMultiple(angle).to_real(&mut self.context)?;
            let (_, cosine) = elementary::sine_and_cosine(&ball, &mut self.context)?;
            Value::number(Complex::from_real(cosine), bound)
        };
        Ok(if negative { self.negated(cosine) } else { cosine })
    }

    /// The bound of `cos πr`, if the order of the root of unity is within reach.
    fn cosine_bound(&mut self, multiple: &RBig) -> Option<Bound> {
        let halved = multiple * half();
        let order = u64::try_from(halved.denominator())
            .ok()
            .filter(|&order| order <= LARGEST_ORDER)?;
        self.context.steps.spend(40).ok()?;
        self.adjoin_cosines(order);
        Some(Bound::COSINE)
    }

    fn inverse_sine(&mut self, value: &Value) -> Evaluation {
        if let Value::Rational(ratio) = value {
            let angle = [(-2, -2), (-1, -6), (0, 0), (1, 6), (2, 2)]
                .into_iter()
                .find(|(halves, _)| *ratio == RBig::from(*halves) * half())
                .map(|(_, angle)| angle);
            match angle {
                Some(0) => return Ok(Value::integer(0)),
                Some(part) => return Ok(pi_over(part)),
                None => {}
            }
        }
        let ball = value.to_complex(&mut self.context)?;
        Ok(Value::number(ball.inverse_sine(&mut self.context)?, None))
    }

    fn inverse_tangent(&mut self, value: &Value) -> Evaluation {
        if let Value::Rational(ratio) = value {
            if ratio.is_zero() {
                return Ok(Value::integer(0));
            }
            if ratio.is_one() || *ratio == RBig::NEG_ONE {
                return Ok(pi_over(if ratio.is_one() { 4 } else { -4 }));
            }
        }
        let ball = value.to_complex(&mut self.context)?;
        Ok(Value::number(ball.inverse_tangent(&mut self.context)?, None))
    }

    fn hyperbolic(&mut self, function: &Function, value: &Value) -> Evaluation {
        let ball = value.to_complex(&mut self.context)?;
        let (sine, cosine) = ball.hyperbolic_sine_and_cosine(&mut self.context)?;
        let result = match function {
            Function::Sinh => sine,
            Function::Cosh => cosine,
            _ => sine.over(&cosine, &mut self.context)?,
        };
        Ok(Value::number(result, None))
    }

    /// ln(z + √(z² ± 1)), or half of ln((1 + z)/(1 − z)).
    fn inverse_hyperbolic(&mut self, function: &Function, value: &Value) -> Evaluation {
        let unit = match value {
            Value::Rational(ratio) if ratio.is_zero() && *function != Function::Arcosh => {
                return Ok(Value::integer(0));
            }
            Value::Rational(ratio) if ratio.is_one() && *function == Function::Arcosh => {
                return Ok(Value::integer(0));
            }
            Value::Rational(ratio) if *function == Function::Artanh && ratio.clone().abs().is_one() => {
                return Err(Stop::Undefined.into());
            }
            _ => Complex::from_real(Ball::ONE),
        };
        let ball = value.to_complex(&mut self.context)?;
        let context = &mut self.context;
        if *function == Function::Artanh {
            let (above, below) = (unit.plus(&ball, context)?, unit.minus(&ball, context)?);
            let logarithm = above.over(&below, context)?.logarithm(context)?;
            return Ok(Value::number(logarithm.shifted(-1)?, None));
        }
        let square = ball.times(&ball, context)?;
        let radicand = match function {
            Function::Arsinh => square.plus(&unit, context)?,
            _ => square.minus(&unit, context)?,
        };
        let sum = ball.plus(&radicand.square_root(context)?, context)?;
        Ok(Value::number(sum.logarithm(context)?, None))
    }

    fn logarithm(&mut self, value: &Value) -> Evaluation {
        if value.is_zero() {
            return Err(Stop::Undefined.into());
        }
        let ball = value.to_complex(&mut self.context)?;
        Ok(Value::number(ball.logarithm(&mut self.context)?, None))
    }

    fn logarithm_to_base(&mut self, value: Value, base: Value) -> Evaluation {
        let above = self.logarithm(&value)?;
        let below = self.logarithm(&base)?;
        let quotient = self.over(above, below)?;
        if let (Value::Rational(value), Value::Rational(base), Value::Number(ball, _)) = (&value, &base, &quotient)
            && let Some(exact) = self.exact_logarithm(value, base, ball)?
        {
            return Ok(Value::Rational(exact));
        }
        Ok(quotient)
    }

    /// The rational logarithm p/q of a positive number, where `base^p = value^q` for a small q.
    fn exact_logarithm(&mut self, value: &RBig, base: &RBig, ball: &Complex) -> Result<Option<RBig>, Trouble> {
        if value.sign() == Sign::Negative || base.sign() == Sign::Negative || ball.real.top() > 12 {
            return Ok(None);
        }
        for degree in 1..=6_i64 {
            let scaled = ball.real.times(&Ball::integer(degree), &mut self.context)?;
            let nearest = scaled.fixed(0);
            let rest = scaled.minus(&Ball::exact(nearest.clone(), 0), &mut self.context)?;
            let Some(power) = i64::try_from(&nearest).ok().filter(|_| rest.top() < -40) else {
                continue;
            };
            let bits = (rational_bits(base) as u64).saturating_mul(power.unsigned_abs());
            if bits > EXACT_BITS as u64 || rational_bits(value) * degree as usize > EXACT_BITS {
                return Ok(None);
            }
            let left = self.integer_power(Value::Rational(base.clone()), power)?;
            let right = self.integer_power(Value::Rational(value.clone()), degree)?;
            let equal = matches!((&left, &right), (Value::Rational(left), Value::Rational(right)) if left == right);
            return Ok(equal.then(|| RBig::from_parts(nearest, UBig::from(degree as u64))));
        }
        Ok(None)
    }

    fn absolute(&mut self, value: Value) -> Evaluation {
        Ok(match value {
            Value::Rational(value) => Value::Rational(value.abs()),
            Value::PiMultiple(value) => Value::PiMultiple(value.abs()),
            Value::Number(value, bound) => {
                let bound = bound.filter(|_| value.is_real());
                Value::number(Complex::from_real(value.modulus(&mut self.context)?), bound)
            }
        })
    }

    fn floor(&mut self, value: Value) -> Evaluation {
        if let Value::Rational(value) = &value {
            self.charge_rational(rational_bits(value), 0)?;
            return Ok(Value::Rational(RBig::from(value.floor())));
        }
        let ball = value.to_real(&mut self.context)?;
        if ball.upper().top() > EXACT_BITS as i64 {
            return Err(Stop::TooLarge.into());
        }
        let nearest = Value::Rational(RBig::from(ball.fixed(0)));
        let rest = self.minus(value, nearest.clone())?;
        match rest.sign() {
            None if rest.is_zero() => Ok(nearest),
            None => Err(Trouble::Imprecise),
            Some(Sign::Positive) => Ok(nearest),
            Some(Sign::Negative) => self.minus(nearest, Value::integer(1)),
        }
    }

    fn factorial(&mut self, value: &Value) -> Evaluation {
        let Some(whole) = value.as_integer() else {
            return Err(Stop::Unsupported.into());
        };
        if whole.sign() == Sign::Negative {
            return Err(Stop::Undefined.into());
        }
        let Some(whole) = u64::try_from(whole).ok().filter(|&whole| whole <= LARGEST_FACTORIAL) else {
            return Err(Stop::TooLarge.into());
        };
        // Eleven bits a factor, and half of the words of the result on the average.
        self.context.steps.spend(whole * (4 + whole / 64))?;
        let product = (2..=whole).fold(UBig::ONE, |product, factor| product * UBig::from(factor));
        Ok(Value::Rational(RBig::from(product)))
    }

    fn binomial(&mut self, above: &Value, below: &Value) -> Evaluation {
        let (Some(above), Some(below)) = (above.as_integer(), below.as_integer()) else {
            return Err(Stop::Unsupported.into());
        };
        if below.sign() == Sign::Negative {
            return Ok(Value::integer(0));
        }
        let mut chosen = below.clone();
        if above.sign() == Sign::Positive {
            let others = above - below;
            if others.sign() == Sign::Negative {
                return Ok(Value::integer(0));
            }
            chosen = chosen.min(others);
        }
        let chosen = u64::try_from(&chosen).ok().filter(|&chosen| chosen <= MAX_BITS as u64);
        let chosen = chosen.ok_or(Stop::TooLarge)?;
        if above.bit_len() as u64 * chosen > MAX_BITS as u64 * 2 {
            return Err(Stop::TooLarge.into());
        }
        self.context
            .steps
            .spend(chosen * (10 + chosen * above.bit_len() as u64 / 32))?;
        let mut product = IBig::ONE;
        for index in 0..chosen {
            product = product * (above - IBig::from(index)) / IBig::from(index + 1);
        }
        Ok(Value::Rational(RBig::from(product)))
    }

    fn divisors(&mut self, function: &Function, values: &[Value]) -> Evaluation {
        let mut result: Option<UBig> = None;
        for value in values {
            let Some(whole) = value.as_integer() else {
                return Err(Stop::Unsupported.into());
            };
            let whole = UBig::from_words(whole.as_sign_words().1);
            let Some(known) = result.take() else {
                result = Some(whole);
                continue;
            };
            let bits = known.bit_len() + whole.bit_len();
            if bits > MAX_BITS {
                return Err(Stop::TooLarge.into());
            }
            self.charge_rational(bits, 0)?;
            let zero = known.is_zero() || whole.is_zero();
            result = Some(match function {
                Function::Gcd if zero => known + whole,
                Function::Gcd => known.gcd(whole),
                _ if zero => UBig::ZERO,
                _ => {
                    let common = (&known).gcd(&whole);
                    known.div_rem(common).0 * whole
                }
            });
        }
        result
            .map(|result| Value::Rational(RBig::from(result)))
            .ok_or_else(|| Stop::Unsupported.into())
    }

    fn extreme(&mut self, function: &Function, values: Vec<Value>) -> Evaluation {
        let mut result: Option<Value> = None;
        for value in values {
            let Some(known) = result.take() else {
                result = Some(value);
                continue;
            };
            let wanted = if *function == Function::Max {
                Ordering::Greater
            } else {
                Ordering::Less
            };
            if let (Value::Rational(left), Value::Rational(right)) = (&known, &value) {
                self.charge_rational(rational_bits(left), rational_bits(right))?;
                result = Some(if left.cmp(right) == wanted { known } else { value });
                continue;
            }
            let (left, right) = (known.to_real(&mut self.context)?, value.to_real(&mut self.context)?);
            result = Some(match left.order(&right, &mut self.context) {
                Ok(order) if order == wanted => known,
                Ok(_) => value,
                // Either may be the larger one.
                Err(Trouble::Imprecise) => Value::real(left.hull(&right, &mut self.context)?),
                Err(trouble) => return Err(trouble),
            });
        }
        result.ok_or_else(|| Stop::Unsupported.into())
    }

    fn part(&mut self, function: &Function, value: Value) -> Value {
        match (function, value) {
            (Function::Im, Value::Rational(_) | Value::PiMultiple(_)) => Value::integer(0),
            (Function::Im, Value::Number(number, _)) => Value::real(number.imaginary),
            (Function::Re, Value::Number(number, bound)) => {
                let bound = bound.filter(|_| number.is_real());
                Value::number(Complex::from_real(number.real), bound)
            }
            (Function::Conjugate, Value::Number(number, bound)) => {
                let bound = bound.filter(|_| number.is_real());
                Value::number(number.conjugated(), bound)
            }
            (_, value) => value,
        }
    }

    /// An unknown function: an arbitrary value for its name and its arguments, which are told apart at half the bits of
    /// the precision, so that two spellings of an argument are the same one.
    fn named(&mut self, name: &str, arguments: &[Value]) -> Evaluation {
        let point = self.point.ok_or(Stop::Unsupported)?;
        let grid = self.context.precision as i64 / 2;
        let mut hasher = Fnv::seeded(point.seed);
        name.hash(&mut hasher);
        self.context.steps.spend(2 + name.len() as u64 / 4)?;
        for argument in arguments {
            let ball = argument.to_complex(&mut self.context)?;
            for part in [ball.real, ball.imaginary] {
                if part.radius().top() > -grid - 8 {
                    return Err(Trouble::Imprecise);
                }
                if part.top() > MAX_BITS as i64 {
                    return Err(Stop::TooLarge.into());
                }
                hasher.write_u8(0);
                part.fixed(grid).hash(&mut hasher);
            }
        }
        Ok(Value::real(arbitrary(hasher)))
    }
}

fn half() -> RBig {
    RBig::from_parts(IBig::ONE, UBig::from(2u32))
}

fn pi_over(parts: i64) -> Value {
    Value::PiMultiple(RBig::from_parts_signed(IBig::ONE, IBig::from(parts)))
}

fn half_pi() -> Value {
    Value::PiMultiple(half())
}
