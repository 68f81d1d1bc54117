//! Trigonometric functions in terms of sine and cosine, with their exact values, and the inverse functions.

use dashu_ratio::RBig;
use smallvec::smallvec;

use super::arithmetic::{add, multiply};
use super::exponent::Exponent;
use super::form::{Atom, Content, Factor, Form, Monomial, Term};
use super::product::power;
use super::{numbers, radical};
use crate::expression::Function;
use crate::steps::{Steps, Stop};

/// The sine or the cosine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wave {
    Sine,
    Cosine,
}

impl Wave {
    fn function(self) -> Function {
        match self {
            Self::Sine => Function::Sin,
            Self::Cosine => Function::Cos,
        }
    }
}

/// The sine of π times a rational number.
pub(crate) fn sine_of_half_turns(half_turns: &RBig, steps: &mut Steps) -> Result<Form, Stop> {
    let mut rest = modulo_two(half_turns, steps)?;
    let mut negative = false;
    if rest >= RBig::ONE {
        rest -= RBig::ONE;
        negative = true;
    }
    if rest > numbers::ratio(1, 2) {
        rest = RBig::ONE - rest;
    }
    let value = sine_in_first_quadrant(&rest, steps)?;
    Ok(if negative { value.negated() } else { value })
}

/// The cosine of π times a rational number.
pub(crate) fn cosine_of_half_turns(half_turns: &RBig, steps: &mut Steps) -> Result<Form, Stop> {
    sine_of_half_turns(&numbers::add(half_turns, &numbers::ratio(1, 2), steps)?, steps)
}

/// e^(iπ·turns), where a turn of 1 is half a circle.
pub(crate) fn unit_root(half_turns: &RBig, steps: &mut Steps) -> Result<Form, Stop> {
    let real = cosine_of_half_turns(half_turns, steps)?;
    let imaginary = sine_of_half_turns(half_turns, steps)?;
    let imaginary = multiply(&Form::atom(Atom::Imaginary), &imaginary, steps)?;
    add(real, imaginary, steps)
}

fn modulo_two(value: &RBig, steps: &mut Steps) -> Result<RBig, Stop> {
    let bits = numbers::bits(value);
    steps.spend_on_bits(bits, bits)?;
    let two = RBig::from(2);
    let turns = (value / &two).floor();
    Ok(value - RBig::from(turns) * two)
}

/// The sine of an angle from 0 to 1/2. If it has no simple value, the angle is brought into the first octant.
fn sine_in_first_quadrant(half_turns: &RBig, steps: &mut Steps) -> Result<Form, Stop> {
    let numerator = numbers::to_i64(&RBig::from(half_turns.numerator().clone()));
    let denominator = u64::try_from(half_turns.denominator()).ok();
    // The value is the sum of the roots of the first numbers, with these signs, over the last.
    let (roots, divisor): (&[(i64, u64)], u64) = match (numerator, denominator) {
        (Some(0), _) => (&[], 1),
        (Some(1), Some(2)) => (&[(1, 1)], 1),
        (Some(1), Some(3)) => (&[(1, 3)], 2),
        (Some(1), Some(4)) => (&[(1, 2)], 2),
        (Some(1), Some(6)) => (&[(1, 1)], 2),
        (Some(1), Some(10)) => (&[(-1, 1), (1, 5)], 4),
        (Some(3), Some(10)) => (&[(1, 1), (1, 5)], 4),
        (Some(1), Some(12)) => (&[(-1, 2), (1, 6)], 4),
        (Some(5), Some(12)) => (&[(1, 2), (1, 6)], 4),
        _ => {
            let quarter = numbers::ratio(1, 4);
            let (function, angle) = match *half_turns <= quarter {
                true => (Function::Sin, half_turns.clone()),
                false => (Function::Cos, numbers::ratio(1, 2) - half_turns),
            };
            return call(function, multiple_of_pi(angle));
        }
    };
    let half = Exponent::new(1, 2)?;
    let mut sum = Form::zero();
    for &(sign, square) in roots {
        let mut root = radical::power(&RBig::from(square), half, steps)?;
        root.coefficient *= numbers::ratio(sign, divisor);
        sum = add(sum, Form::from(root), steps)?;
    }
    Ok(sum)
}

pub(crate) fn multiple_of_pi(coefficient: RBig) -> Form {
    if coefficient.is_zero() {
        return Form::zero();
    }
    let monomial = Monomial::new(Atom::Pi, Exponent::ONE);
    Form::from(Term { monomial, coefficient })
}

/// A function of one argument that is left as it is.
pub(crate) fn call(function: Function, argument: Form) -> Result<Form, Stop> {
    Content::Call(function, smallvec![argument]).into_atom().map(Form::atom)
}

fn is_multiple_of_pi(term: &Term) -> bool {
    matches!(term.monomial.factors.as_slice(), [Factor { atom: Atom::Pi, exponent }] if exponent.is_one())
}

/// Sine or cosine, in the first quarter turn of the multiple of π in the argument and with a positive rest.
fn wave(function: Wave, argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let mut rest = argument.clone();
    rest.terms.retain(|term| !is_multiple_of_pi(term));
    let of_pi = argument.terms.iter().find(|term| is_multiple_of_pi(term));
    let mut half_turns = of_pi.map_or(RBig::ZERO, |term| term.coefficient.clone());
    let Some(first) = rest.terms.first() else {
        return match function {
            Wave::Sine => sine_of_half_turns(&half_turns, steps),
            Wave::Cosine => cosine_of_half_turns(&half_turns, steps),
        };
    };
    let mut negative = false;
    if numbers::is_negative(&first.coefficient) {
        rest = rest.negated();
        half_turns = -half_turns;
        negative = function == Wave::Sine;
    }
    let mut reduced = modulo_two(&half_turns, steps)?;
    if reduced >= RBig::ONE {
        reduced -= RBig::ONE;
        negative = !negative;
    }
    let mut function = function;
    let half = numbers::ratio(1, 2);
    if reduced >= half {
        reduced -= half;
        // sin(a + π/2) = cos a, cos(a + π/2) = -sin a.
        negative ^= function == Wave::Cosine;
        function = if function == Wave::Sine {
            Wave::Cosine
        } else {
            Wave::Sine
        };
    }
    let angle = add(rest, multiple_of_pi(reduced), steps)?;
    let value = call(function.function(), angle)?;
    Ok(if negative { value.negated() } else { value })
}

/// Any of the six functions.
pub(crate) fn evaluate(function: &Function, argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let (above, below) = match function {
        Function::Sin => return wave(Wave::Sine, argument, steps),
        Function::Cos => return wave(Wave::Cosine, argument, steps),
        Function::Tan => (Some(Wave::Sine), Wave::Cosine),
        Function::Cot => (Some(Wave::Cosine), Wave::Sine),
        Function::Sec => (None, Wave::Cosine),
        Function::Csc => (None, Wave::Sine),
        _ => return Err(Stop::Unsupported),
    };
    let inverse = power(&wave(below, argument, steps)?, -1, steps)?;
    match above {
        Some(above) => multiply(&wave(above, argument, steps)?, &inverse, steps),
        None => Ok(inverse),
    }
}

/// The inverse functions; those of the cofunctions are π/2 less the others.
pub(crate) fn evaluate_inverse(function: &Function, argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let direct = match function {
        Function::Arcsin | Function::Arccos => Function::Arcsin,
        _ => Function::Arctan,
    };
    let is_cofunction = *function != direct;
    let value = inverse_value(direct, argument)?;
    if is_cofunction {
        return add(multiple_of_pi(numbers::ratio(1, 2)), value.negated(), steps);
    }
    Ok(value)
}

fn inverse_value(function: Function, argument: &Form) -> Result<Form, Stop> {
    let Some(first) = argument.terms.first() else {
        return Ok(Form::zero());
    };
    let negative = numbers::is_negative(&first.coefficient);
    let positive = if negative {
        argument.clone().negated()
    } else {
        argument.clone()
    };
    let half_turns = positive.single().and_then(|term| known_angle(&function, term));
    let value = match half_turns {
        Some(half_turns) => multiple_of_pi(half_turns),
        None => call(function, positive)?,
    };
    Ok(if negative { value.negated() } else { value })
}

/// The angle of a sine or a tangent, as a multiple of π.
fn known_angle(function: &Function, value: &Term) -> Option<RBig> {
    let radicand = match value.monomial.factors.as_slice() {
        [] => 1,
        [
            Factor {
                atom: Atom::Prime(prime),
                exponent,
            },
        ] if exponent.numerator() == 1 && exponent.denominator() == 2 => *prime,
        _ => return None,
    };
    let numerator = numbers::to_i64(&RBig::from(value.coefficient.numerator().clone()))?;
    let denominator = u64::try_from(value.coefficient.denominator()).ok()?;
    let divisor = match (function, numerator, radicand, denominator) {
        (Function::Arcsin, 1, 1, 2) => 6,
        (Function::Arcsin, 1, 2, 2) => 4,
        (Function::Arcsin, 1, 3, 2) => 3,
        (Function::Arcsin, 1, 1, 1) => 2,
        (Function::Arctan, 1, 3, 3) => 6,
        (Function::Arctan, 1, 1, 1) => 4,
        (Function::Arctan, 1, 3, 1) => 3,
        _ => return None,
    };
    Some(numbers::ratio(1, divisor))
}
