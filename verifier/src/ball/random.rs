//! Decides about expressions with variables at random points.
//!
//! Why a wrong "equal" is less likely than 1e-12: every point has 40 random bits a variable that come from a hash of both
//! expressions, and the values must agree to 128 bits of their largest addend. The difference of two expressions that are
//! not equal is, where it is real and defined, analytic on each of several pieces, and not zero on one of them. There a
//! polynomial of degree d vanishes at d of 2^40 values of a coordinate at most.
//! - Without roots, logarithms, absolute values and the like there is one piece, and three points at least must agree: the
//!   probability is (d/2^40)^3, which is 1e-18 even for a degree of a million.
//! - With them the pieces are those of the signs of the variables in them ([`super::signs`]). At two points of every
//!   combination of signs, of up to five variables, the values must agree where they are real: (d/2^40)^2, which is below
//!   1e-12 up to that degree.
//! - Roots, arcs and the like of sines and of unknown functions have other pieces. Forty points must agree there, so that a
//!   piece is missed with a probability of 2^-40 if every second point lies in it. Sums of powers in a root have pieces
//!   beside a curve; twenty points must agree there, so that only a piece that few of them meet is missed.
//!
//! Pieces that few points meet, beyond a kink or between two, are for [`crate::compare`] to look at. Where the difference
//! does not vanish but is smaller than can be seen, an addend of a sum is too small to be seen next to the others, which
//! is noted and makes the point unusable.

use std::hash::Hasher;

use super::context::{Context, Trouble};
use super::evaluate::Evaluator;
use super::point::{Fnv, Point, Signs, hash_expression};
use super::signs::{Divisions, Patterns, divides_by_sign};
use super::value::Value;
use crate::equality::Decision;
use crate::expression::{Constant, Expression, Function};
use crate::steps::{Steps, Stop};

/// Points that must agree.
const ENOUGH_POINTS: usize = 3;
/// Points in a row at which nothing is seen, after which far points are given up.
const ENOUGH_UNSEEN: usize = 4;
/// Bits of the largest addend to which values must agree.
pub(super) const AGREEING_BITS: i64 = 128;
/// Precisions at which a point is tried.
const PRECISIONS: [usize; 3] = [192, 512, 1280];
/// The precisions with unknown functions, whose arguments are told apart at half of the bits.
const PRECISIONS_OF_UNKNOWN: [usize; 2] = [768, 2048];
/// The scales at which every combination of signs is tried.
const SCALES: [i64; 2] = [0, 4];
/// Points that must be usable, if there are so many, where a root of a sine or of an unknown function makes pieces that
/// do not follow the signs of variables.
const ENOUGH_RESTLESS_POINTS: usize = 40;
/// The same where a sum in a root divides by a curve.
const ENOUGH_UNEVEN_POINTS: usize = 20;
/// Points that are tried for the forty, beside the others.
const RESTLESS_POINTS: usize = 64;
/// The points, small and large, of all signs. The first five are always tried unless all combinations of signs are; the
/// others only until enough of them are usable, or where a function has corners, as `|x - 100|` has.
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
    pub(super) modulus: bool,
    parts: bool,
    /// Functions that are made of pieces: points on all of them count.
    corners: bool,
    logarithms: bool,
    /// Powers with exponents that are no numbers.
    variable_exponents: bool,
    /// Whether there are functions that the signs of variables divide into pieces.
    divided: bool,
    /// Whether the variables were made large.
    is_far: bool,
    /// Whether only real values count.
    is_real: bool,
    /// Whether the points of one scale are enough, for which the variables were made as large as they should be.
    is_brief: bool,
}

impl Survey {
    /// The survey of expressions whose variables were made large; with `is_real` for values that are real.
    pub(super) fn far(is_real: bool) -> Self {
        Self {
            is_far: true,
            is_real,
            ..Self::default()
        }
    }

    /// The same where points of one scale are enough, and values that are not real say nothing.
    pub(super) fn far_and_real() -> Self {
        Self {
            is_brief: true,
            ..Self::far(true)
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
                self.divided |=
                    !is_positive && !matches!(&**exponent, Expression::Number(exponent) if exponent.is_int());
                self.add(base);
                self.add(exponent);
            }
            Expression::Call(function, arguments) => {
                self.divided |= divides_by_sign(function);
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
        if self.is_real {
            &[REAL]
        } else if self.parts || self.imaginary && self.modulus {
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
pub(super) struct Mode {
    complex_points: bool,
    pub(super) complex_values: bool,
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
pub(super) enum Finding<T> {
    /// Proven to differ.
    Differ,
    /// The values agree.
    Agree(T),
    /// One side is real and the other is not.
    OneSided,
    /// One side is real with all values on the way, and the other one only as its other branch, as `√-x·√-y` is for
    /// positive variables. Whether the two values agree.
    OtherBranch(bool),
    /// The point tells nothing, as there is no value.
    Unusable,
    /// The point tells nothing, as no precision shows whether the values agree.
    Unseen,
}

/// Goes through the points until one differs or enough agree. The state holds what the points so far agreed on.
pub(super) fn try_points<T>(
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
    let divisions = if survey.divided {
        Divisions::of(left, right, steps)?
    } else {
        None
    };
    // Other pieces than those of the signs are not more or less where variables are large.
    let are_restless = !survey.is_far && divisions.as_ref().is_some_and(|divisions| divisions.are_restless);
    let are_uneven = !survey.is_far && divisions.as_ref().is_some_and(|divisions| divisions.are_uneven);
    let enough = match (are_restless, are_uneven) {
        (true, _) => ENOUGH_RESTLESS_POINTS,
        (false, true) => ENOUGH_UNEVEN_POINTS,
        (false, false) => ENOUGH_POINTS,
    };
    let mut unseen = 0;
    for &mode in survey.modes() {
        let mut state = None;
        let (mut usable, mut is_one_sided) = (0, false);
        let (mut agrees_at_positive, mut one_sided, mut other_branches) = (false, 0, 0);
        let patterns = divisions
            .as_ref()
            .map(|divisions| divisions.patterns(!mode.complex_values));
        let (always, all) = trials(patterns.as_ref(), survey, are_restless, seed);
        for (index, (signs, scale)) in all.into_iter().enumerate() {
            let is_hopeless = survey.is_far && usable == 0 && unseen >= ENOUGH_UNSEEN;
            if index >= always && usable >= enough || is_hopeless {
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
            let is_positive = signs.are_positive();
            match try_point(point, mode, state.as_ref(), steps)? {
                Finding::Differ => return Ok(Finding::Differ),
                Finding::Agree(found) => {
                    usable += 1;
                    agrees_at_positive |= is_positive;
                    state.get_or_insert(found);
                }
                Finding::OneSided => {
                    is_one_sided = true;
                    match survey.domain() {
                        Domain::All => return Ok(Finding::Differ),
                        Domain::Positive if is_positive => return Ok(Finding::Differ),
                        Domain::SomePositive if is_positive => one_sided += 1,
                        Domain::Positive | Domain::SomePositive | Domain::Nowhere => {}
                    }
                }
                Finding::OtherBranch(agrees) if is_positive => {
                    other_branches += usize::from(!agrees || survey.domain() == Domain::SomePositive);
                }
                Finding::OtherBranch(_) | Finding::Unusable => {}
                Finding::Unseen => unseen += 1,
            }
        }
        // Variables are positive by custom: what agrees for negative ones alone, as `√-x·√-y` does with `√(xy)`, is
        // another function.
        if !agrees_at_positive && (one_sided > 1 || usable > 0 && other_branches > 1) {
            return Ok(Finding::Differ);
        }
        if let Some(state) = state.filter(|_| usable >= ENOUGH_POINTS) {
            return Ok(Finding::Agree(state));
        }
        // There are real values, too large to be seen or of one side; complex ones are those of other branches.
        if survey.is_far && (unseen > 0 || is_one_sided) {
            break;
        }
    }
    Ok(if unseen > 0 { Finding::Unseen } else { Finding::Unusable })
}

/// The signs and scales of the points, and how many of them are always tried.
fn trials(patterns: Option<&Patterns>, survey: Survey, are_restless: bool, seed: u64) -> (usize, Vec<(Signs, i64)>) {
    let Some(patterns) = patterns else {
        let always = if survey.corners { POINTS.len() } else { ALWAYS_TRIED };
        return (always, POINTS.to_vec());
    };
    let scales = if survey.is_brief { &SCALES[..1] } else { &SCALES[..] };
    let mut trials: Vec<(Signs, i64)> = Vec::new();
    for &scale in scales {
        trials.extend(patterns.all(seed).map(|signs| (signs, scale)));
    }
    let mut always = trials.len();
    let others: Vec<(Signs, i64)> = match survey.is_brief {
        true => POINTS.into_iter().filter(|(_, scale)| *scale <= 0).collect(),
        false => {
            let is_new = |(signs, scale): &(Signs, i64)| matches!(signs, Signs::Mixed) || !scales.contains(scale);
            let new = POINTS.into_iter().filter(is_new);
            always += if survey.corners { new.clone().count() } else { 0 };
            new.chain(
                POINTS
                    .into_iter()
                    .cycle()
                    .take(if are_restless { RESTLESS_POINTS } else { 0 }),
            )
            .collect()
        }
    };
    for (signs, scale) in others {
        let mut hasher = Fnv::seeded(seed);
        hasher.write_usize(trials.len());
        hasher.write_u8(3);
        trials.push((patterns.like(signs, hasher.mixed()), scale));
    }
    (always, trials)
}

/// Runs a trial at rising precision until it tells. A point without a value is unusable.
pub(super) fn at_rising_precision<T>(
    point: Point,
    survey: Survey,
    steps: &mut Steps,
    mut trial: impl FnMut(&mut Steps, usize, Point) -> Result<Finding<T>, Trouble>,
) -> Result<Finding<T>, Stop> {
    for &precision in survey.precisions() {
        match trial(steps, precision, point) {
            Ok(finding) => return Ok(finding),
            Err(Trouble::Imprecise) => {}
            Err(Trouble::Stop(Stop::Undefined)) => return Ok(Finding::Unusable),
            Err(Trouble::Stop(Stop::TooLarge)) => return Ok(Finding::Unseen),
            Err(Trouble::Stop(stop)) => return Err(stop),
        }
    }
    Ok(Finding::Unseen)
}

/// How one side is real where the other one is not.
pub(super) enum OneReal {
    /// The other one is not, whatever branches are taken.
    Alone,
    /// The other one is real as a value of another branch. Whether that value is the same.
    OtherBranch(bool),
}

impl OneReal {
    /// What this says of a point.
    pub(super) fn finding<T>(self) -> Finding<T> {
        match self {
            Self::Alone => Finding::OneSided,
            Self::OtherBranch(agrees) => Finding::OtherBranch(agrees),
        }
    }
}

/// The values of both sides, or how only one of them is real. `has_modulus` is whether there are absolute values at all.
pub(super) fn both<'tree>(
    evaluator: &mut Evaluator<'tree, '_>,
    left: &'tree Expression,
    right: &'tree Expression,
    has_modulus: bool,
) -> Result<Result<(Value, Value), OneReal>, Trouble> {
    let undefined = |value: &Result<Value, Trouble>| matches!(value, Err(Trouble::Stop(Stop::Undefined)));
    let left_value = evaluator.evaluate(left);
    if let Err(trouble) = &left_value
        && !(evaluator.real_only && undefined(&left_value))
    {
        return Err(*trouble);
    }
    let right_value = evaluator.evaluate(right);
    let (not_real, is_real) = match (&left_value, &right_value) {
        (Err(_), Ok(_)) => (left, right),
        (Ok(_), Err(_)) if evaluator.real_only && undefined(&right_value) => (right, left),
        _ => return Ok(Ok((left_value?, right_value?))),
    };
    // A value may be real though a value on the way is not, as that of √-2 · √-3; or there is none at all. Against an
    // absolute value it is that of the other branch: (√x)² is not |x|.
    let has_bars = has_modulus && has_bars(is_real);
    evaluator.real_only = false;
    let real = left_value.or(right_value)?;
    let one_real = match evaluator.evaluate(not_real) {
        Ok(Value::Number(number, _)) if !number.imaginary.contains_zero() => OneReal::Alone,
        Ok(value) => match evaluator.minus(value, real)? {
            zero if zero.is_zero() => OneReal::OtherBranch(true),
            Value::Number(difference, _) if difference.contains_zero() => OneReal::OtherBranch(true),
            _ if has_bars => OneReal::Alone,
            _ => OneReal::OtherBranch(false),
        },
        Err(trouble @ Trouble::Stop(Stop::OutOfSteps)) => return Err(trouble),
        Err(_) => return Err(Stop::Undefined.into()),
    };
    Ok(Err(one_real))
}

/// Whether there is an absolute value in an expression.
fn has_bars(expression: &Expression) -> bool {
    match expression {
        Expression::Call(Function::Abs, _) => true,
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => false,
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => parts.iter().any(has_bars),
        Expression::Power(base, exponent) => has_bars(base) || has_bars(exponent),
    }
}

/// Whether two expressions agree wherever both are real, and are real at the same points as far as that counts; and whether
/// the values that agree are real on the way.
pub(super) fn decide(
    left: &Expression,
    right: &Expression,
    survey: Survey,
    steps: &mut Steps,
) -> Result<(Decision, bool), Stop> {
    let finding = try_points(left, right, survey, steps, |point, mode, _: Option<&bool>, steps| {
        at_rising_precision(point, survey, steps, |steps, precision, point| {
            let mut evaluator = Evaluator::new(Some(point), Context::new(precision, steps));
            evaluator.real_only = !mode.complex_values;
            let (left, right) = match both(&mut evaluator, left, right, survey.modulus)? {
                Ok(sides) => sides,
                Err(one_real) => return Ok(one_real.finding()),
            };
            let difference = evaluator.minus(left, right)?;
            match difference {
                difference if difference.is_zero() => Ok(Finding::Agree(evaluator.real_only)),
                Value::Number(difference, _) if difference.contains_zero() => {
                    let precise = difference.upper().top() + AGREEING_BITS <= evaluator.largest_addend;
                    if precise && !evaluator.context.lost {
                        Ok(Finding::Agree(evaluator.real_only))
                    } else {
                        Err(Trouble::Imprecise)
                    }
                }
                _ => Ok(Finding::Differ),
            }
        })
    })?;
    Ok(match finding {
        Finding::Differ => (Decision::Different, false),
        Finding::Agree(are_real) => (Decision::Equal, are_real),
        Finding::Unusable if survey.is_far => return Err(Stop::Undefined),
        Finding::OneSided | Finding::OtherBranch(_) | Finding::Unusable | Finding::Unseen => {
            (Decision::Undecided, false)
        }
    })
}
