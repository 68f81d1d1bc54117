//! Decides about expressions with variables at random points.
//!
//! Why a wrong "equal" is less likely than 1e-12: the expressions must agree at three points at least, each with 40
//! random bits a variable that come from a hash of both expressions, to 128 bits of their largest addend. The
//! difference of two expressions that are not equal is, where it is real and defined, a piecewise analytic function
//! that is not zero; a polynomial of degree d vanishes at d of 2^40 values of a coordinate at most, so the probability
//! is (d/2^40)^3, which is 1e-18 even for a degree of a million. Where it does not vanish but is smaller than can be
//! seen, an addend of a sum is too small to be seen next to the others, which is noted and makes the point unusable.

use std::hash::Hasher;

use dashu_base::Sign;

use super::complex::Complex;
use super::constant;
use super::context::{Context, Trouble};
use super::evaluate::Evaluator;
use super::point::{Fnv, Point, Signs, hash_expression};
use super::value::Value;
use crate::equality::Decision;
use crate::expression::{Constant, Expression, Function};
use crate::steps::{Steps, Stop};

/// Points that must agree.
const ENOUGH_POINTS: usize = 3;
/// Bits of the largest addend to which values must agree.
const AGREEING_BITS: i64 = 128;
/// Precisions at which a point is tried.
const PRECISIONS: [usize; 3] = [192, 512, 1280];
/// The precisions with unknown functions, whose arguments are told apart at half of the bits.
const PRECISIONS_OF_UNKNOWN: [usize; 2] = [768, 2048];
/// The points, small and large, of all signs. The first five are always tried, so that a function of positive numbers,
/// such as `√(x²)` for `x`, is seen through at a negative one; the others only until enough of them are usable, or
/// where a function has corners, as `|x - 100|` has.
const POINTS: [(Signs, i64); 21] = [
    (Signs::Positive, 0),
    (Signs::Positive, 4),
    (Signs::Negative, 0),
    (Signs::Mixed, 5),
    (Signs::Mixed, 2),
    (Signs::Negative, 4),
    (Signs::Positive, 7),
    (Signs::Mixed, 0),
    (Signs::Positive, -2),
    (Signs::Positive, 3),
    (Signs::Negative, -2),
    (Signs::Negative, 3),
    (Signs::Mixed, -2),
    (Signs::Mixed, 3),
    (Signs::Positive, 0),
    (Signs::Positive, 2),
    (Signs::Positive, 5),
    (Signs::Positive, 10),
    (Signs::Negative, 7),
    (Signs::Negative, 10),
    (Signs::Mixed, 12),
];
/// How many of the points are always tried.
const ALWAYS_TRIED: usize = 5;

/// The things that occur in expressions and matter for the choice of points.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Survey {
    /// A variable or an unknown function.
    pub(super) varies: bool,
    unknown: bool,
    imaginary: bool,
    modulus: bool,
    parts: bool,
    /// Functions that are made of pieces: points on all of them count.
    corners: bool,
    logarithms: bool,
    /// Powers with exponents that are no numbers.
    variable_exponents: bool,
    /// Whether the variables were made large.
    is_far: bool,
}

impl Survey {
    /// The survey of expressions whose variables were made large.
    pub(super) fn far() -> Self {
        Self {
            is_far: true,
            ..Self::default()
        }
    }

    /// Notes what occurs in an expression.
    pub(super) fn add(&mut self, expression: &Expression) {
        match expression {
            Expression::Number(_) => {}
            Expression::Constant(constant) => self.imaginary |= *constant == Constant::Imaginary,
            Expression::Symbol(_) => self.varies = true,
            Expression::Sum(parts) | Expression::Product(parts) => parts.iter().for_each(|part| self.add(part)),
            Expression::Power(base, exponent) => {
                let is_positive = matches!(&**base, Expression::Number(_) | Expression::Constant(_));
                self.variable_exponents |= !is_positive && !matches!(&**exponent, Expression::Number(_));
                self.add(base);
                self.add(exponent);
            }
            Expression::Call(function, arguments) => {
                match function {
                    Function::Named(_) => (self.varies, self.unknown) = (true, true),
                    Function::Re | Function::Im | Function::Conjugate => self.parts = true,
                    Function::Abs => (self.modulus, self.corners) = (true, true),
                    Function::Ln | Function::Log => self.logarithms = true,
                    Function::Floor | Function::Ceiling | Function::Max | Function::Min => self.corners = true,
                    _ => {}
                }
                arguments.iter().for_each(|argument| self.add(argument));
            }
        }
    }

    /// How points are chosen and what counts, in the order of trying.
    ///
    /// Variables are real unless functions of complex numbers tell otherwise. All values on the way must be real too,
    /// unless the imaginary unit is written; if there are no such points, the complex values at real points count.
    fn modes(self) -> &'static [Mode] {
        const REAL: Mode = Mode {
            complex_points: false,
            complex_values: false,
        };
        const REAL_POINTS: Mode = Mode {
            complex_points: false,
            complex_values: true,
        };
        const COMPLEX: Mode = Mode {
            complex_points: true,
            complex_values: true,
        };
        if self.parts || self.imaginary && self.modulus {
            &[COMPLEX]
        } else if self.imaginary {
            &[REAL_POINTS, COMPLEX]
        } else {
            &[REAL, REAL_POINTS, COMPLEX]
        }
    }

    /// Where it counts that only one of two sides is real.
    ///
    /// A root has its domain, and another domain makes another function. Powers with symbols in the exponent are
    /// functions of positive numbers. Under a logarithm the sign is often left out, `\ln x` for `\ln|x|`, so that it
    /// counts only where no positive number is left on which both are real: `\ln(-x)` is not `\ln|x|`.
    fn domain(self) -> Domain {
        if self.logarithms && self.is_far {
            Domain::Nowhere
        } else if self.logarithms {
            Domain::SomePositive
        } else if self.variable_exponents {
            Domain::Positive
        } else {
            Domain::All
        }
    }

    fn precisions(self) -> &'static [usize] {
        if self.unknown {
            &PRECISIONS_OF_UNKNOWN
        } else {
            &PRECISIONS
        }
    }
}

/// How points are chosen and what counts.
#[derive(Clone, Copy, Debug)]
struct Mode {
    complex_points: bool,
    complex_values: bool,
}

/// The points at which two equal functions must be real alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Domain {
    /// All of them.
    All,
    /// The positive ones.
    Positive,
    /// Some of the positive ones.
    SomePositive,
    /// None.
    Nowhere,
}

/// The result of one point.
enum Finding<T> {
    /// Proven to differ.
    Differ,
    /// The values agree.
    Agree(T),
    /// One side is real and the other is not.
    OneSided,
    /// The point tells nothing.
    Unusable,
}

/// Goes through the points until one differs or enough agree. The state holds what the points so far agreed on.
fn try_points<T>(
    left: &Expression,
    right: &Expression,
    survey: Survey,
    steps: &mut Steps,
    mut try_point: impl FnMut(Point, Mode, Option<&T>, &mut Steps) -> Result<Finding<T>, Stop>,
) -> Result<Finding<T>, Stop> {
    // Both hashes count the same, so that swapping the sides changes nothing.
    let mut seed = 0_u64;
    for side in [left, right] {
        let mut hasher = Fnv::seeded(0);
        steps.spend(side.node_count() as u64 * 2)?;
        hash_expression(side, &mut hasher);
        seed = seed.wrapping_add(hasher.mixed());
    }
    for &mode in survey.modes() {
        let mut state = None;
        let mut usable = 0;
        let (mut agrees_at_positive, mut one_sided) = (false, 0);
        for (index, (signs, scale)) in POINTS.into_iter().enumerate() {
            if index >= ALWAYS_TRIED && usable >= ENOUGH_POINTS && !survey.corners {
                break;
            }
            let mut hasher = Fnv::seeded(seed);
            hasher.write_usize(index);
            let point = Point {
                seed: hasher.mixed(),
                signs,
                scale,
                complex: mode.complex_points,
            };
            let is_positive = matches!(signs, Signs::Positive);
            match try_point(point, mode, state.as_ref(), steps)? {
                Finding::Differ => return Ok(Finding::Differ),
                Finding::Agree(found) => {
                    usable += 1;
                    agrees_at_positive |= is_positive;
                    state.get_or_insert(found);
                }
                Finding::OneSided => match survey.domain() {
                    Domain::All => return Ok(Finding::Differ),
                    Domain::Positive if is_positive => return Ok(Finding::Differ),
                    Domain::SomePositive if is_positive => one_sided += 1,
                    Domain::Positive | Domain::SomePositive | Domain::Nowhere => {}
                },
                Finding::Unusable => {}
            }
        }
        if one_sided > 1 && !agrees_at_positive {
            return Ok(Finding::Differ);
        }
        if let Some(state) = state.filter(|_| usable >= ENOUGH_POINTS) {
            return Ok(Finding::Agree(state));
        }
    }
    Ok(Finding::Unusable)
}

/// Runs a trial at rising precision until it tells. A point without a value is unusable.
fn at_rising_precision<T>(
    point: Point,
    survey: Survey,
    steps: &mut Steps,
    mut trial: impl FnMut(&mut Steps, usize, Point) -> Result<Finding<T>, Trouble>,
) -> Result<Finding<T>, Stop> {
    for &precision in survey.precisions() {
        match trial(steps, precision, point) {
            Ok(finding) => return Ok(finding),
            Err(Trouble::Imprecise) => {}
            Err(Trouble::Stop(Stop::Undefined | Stop::TooLarge)) => return Ok(Finding::Unusable),
            Err(Trouble::Stop(stop)) => return Err(stop),
        }
    }
    Ok(Finding::Unusable)
}

/// The values of both sides; none if one of them is real, and the other one is not. `has_bars` is whether there are
/// absolute values.
fn both<'tree>(
    evaluator: &mut Evaluator<'tree, '_>,
    left: &'tree Expression,
    right: &'tree Expression,
    has_bars: bool,
) -> Result<Option<(Value, Value)>, Trouble> {
    let undefined = |value: &Result<Value, Trouble>| matches!(value, Err(Trouble::Stop(Stop::Undefined)));
    let left_value = evaluator.evaluate(left);
    if let Err(trouble) = &left_value
        && !(evaluator.real_only && undefined(&left_value))
    {
        return Err(*trouble);
    }
    let right_value = evaluator.evaluate(right);
    let not_real = match (&left_value, &right_value) {
        (Err(_), Ok(_)) => left,
        (Ok(_), Err(_)) if evaluator.real_only && undefined(&right_value) => right,
        _ => return Ok(Some((left_value?, right_value?))),
    };
    // A value may be real though a value on the way is not, as that of √-2 · √-3; or there is none at all. Beside an
    // absolute value it is that of the other branch: (√x)² is not |x|.
    evaluator.real_only = false;
    let real = left_value.or(right_value)?;
    match evaluator.evaluate(not_real) {
        Ok(Value::Number(number, _)) if !number.imaginary.contains_zero() => Ok(None),
        Ok(value) if has_bars => match evaluator.minus(value, real)? {
            Value::Number(difference, _) if difference.contains_zero() => Err(Stop::Undefined.into()),
            _ => Ok(None),
        },
        Err(trouble @ Trouble::Stop(Stop::OutOfSteps)) => Err(trouble),
        _ => Err(Stop::Undefined.into()),
    }
}

/// Whether two expressions agree wherever both are real, and are real at the same points as far as that counts.
pub(super) fn decide(
    left: &Expression,
    right: &Expression,
    survey: Survey,
    steps: &mut Steps,
) -> Result<Decision, Stop> {
    let finding = try_points(left, right, survey, steps, |point, mode, _: Option<&()>, steps| {
        at_rising_precision(point, survey, steps, |steps, precision, point| {
            let mut evaluator = Evaluator::new(Some(point), Context::new(precision, steps));
            evaluator.real_only = !mode.complex_values;
            let Some((left, right)) = both(&mut evaluator, left, right, survey.modulus)? else {
                return Ok(Finding::OneSided);
            };
            let difference = evaluator.minus(left, right)?;
            match difference {
                difference if difference.is_zero() => Ok(Finding::Agree(())),
                Value::Number(difference, _) if difference.contains_zero() => {
                    let precise = difference.upper().top() + AGREEING_BITS <= evaluator.largest_addend;
                    if precise && !evaluator.context.lost {
                        Ok(Finding::Agree(()))
                    } else {
                        Err(Trouble::Imprecise)
                    }
                }
                _ => Ok(Finding::Differ),
            }
        })
    })?;
    Ok(match finding {
        Finding::Differ => Decision::Different,
        Finding::Agree(()) => Decision::Equal,
        Finding::OneSided | Finding::Unusable => Decision::Undecided,
    })
}

/// Whether one expression is a constant times another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proportion {
    /// It is a positive real multiple.
    Positive,
    /// It is a negative real multiple.
    Negative,
    /// It is proven to be no multiple.
    None,
    /// It cannot be told.
    Undecided,
}

/// Whether `left = c · right` for a real constant c that is not zero, wherever both are real: two equations `left = 0`
/// and `right = 0` are then the same, and so are inequalities up to the sign of c.
///
/// # Errors
/// [`Stop`] if the budget does not suffice or a constant side has no value.
pub fn proportional(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Proportion, Stop> {
    let mut survey = Survey::default();
    steps.spend((left.node_count() + right.node_count()) as u64)?;
    survey.add(left);
    survey.add(right);
    if !survey.varies {
        return proportional_constants(left, right, steps);
    }
    let finding = try_points(
        left,
        right,
        survey,
        steps,
        |point, mode, known: Option<&Complex>, steps| {
            at_rising_precision(point, survey, steps, |steps, precision, point| {
                let mut evaluator = Evaluator::new(Some(point), Context::new(precision, steps));
                evaluator.real_only = !mode.complex_values;
                let Some((left, right)) = both(&mut evaluator, left, right, survey.modulus)? else {
                    return Ok(Finding::OneSided);
                };
                if left.is_zero() || right.is_zero() {
                    // Zero is no multiple of anything else; that both are says nothing.
                    let other = if left.is_zero() { right } else { left };
                    let other = other.to_complex(&mut evaluator.context)?;
                    return Ok(if other.contains_zero() {
                        Finding::Unusable
                    } else {
                        Finding::Differ
                    });
                }
                let ratio = evaluator.over(left, right)?.to_complex(&mut evaluator.context)?;
                let reference = known.unwrap_or(&ratio);
                let distance = ratio.minus(reference, &mut evaluator.context)?;
                if !distance.contains_zero() || !ratio.imaginary.contains_zero() {
                    return Ok(Finding::Differ);
                }
                let precise = ratio.radius().top() + AGREEING_BITS <= ratio.real.top();
                if !precise || evaluator.context.lost || ratio.real.sign().is_none() {
                    return Err(Trouble::Imprecise);
                }
                Ok(Finding::Agree(ratio))
            })
        },
    );
    let finding = match finding {
        Err(Stop::Unsupported) => Finding::Unusable,
        other => other?,
    };
    Ok(match finding {
        Finding::Differ => Proportion::None,
        Finding::Agree(ratio) => match ratio.real.sign() {
            Some(Sign::Positive) => Proportion::Positive,
            Some(Sign::Negative) => Proportion::Negative,
            None => Proportion::Undecided,
        },
        Finding::OneSided | Finding::Unusable => Proportion::Undecided,
    })
}

fn proportional_constants(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Proportion, Stop> {
    let zero = Expression::integer(0);
    let left = constant::difference(left, &zero, steps)?;
    let right = constant::difference(right, &zero, steps)?;
    Ok(match (left, right) {
        ((Decision::Equal, _), (Decision::Equal, _)) => Proportion::Positive,
        ((Decision::Different, Some(left)), (Decision::Different, Some(right))) => {
            if left == right {
                Proportion::Positive
            } else {
                Proportion::Negative
            }
        }
        ((Decision::Equal, _), (Decision::Different, _)) | ((Decision::Different, _), (Decision::Equal, _)) => {
            Proportion::None
        }
        _ => Proportion::Undecided,
    })
}
