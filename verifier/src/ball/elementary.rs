//! Elementary functions of real balls: the argument is reduced in ball arithmetic, the series is summed at the
//! midpoint, and the radius of the argument goes through a bound of the derivative.

use dashu_base::{BitTest, Sign};
use dashu_int::IBig;

use super::context::{Context, Trouble};
use super::real::Ball;
use super::series;
use crate::steps::Stop;

/// Bits beyond those asked for, which make up for the rounding errors of the reductions.
const GUARD: usize = 16;
/// Exponentials of larger numbers than `2^40` are too large.
const LARGEST_EXPONENTIAL: i64 = 40;
/// Sines of larger numbers than `2^4096` are too large.
const LARGEST_ANGLE: i64 = 4096;

/// How often an argument is halved before its series: the more bits, the more halvings pay.
fn halvings(precision: usize) -> i64 {
    3 + (precision as f64).sqrt() as i64 / 3
}

/// Notes an argument that is so small that the function looks linear, or constant, at this precision.
fn note_small(x: &Ball, context: &mut Context<'_>) {
    if !x.contains_zero() && x.top() < -(context.precision as i64) / 4 {
        context.lost = true;
    }
}

/// The exponential.
pub fn exponential(x: &Ball, context: &mut Context<'_>) -> Result<Ball, Trouble> {
    if x.is_zero() {
        return Ok(Ball::ONE);
    }
    if x.top() > LARGEST_EXPONENTIAL {
        return Err(Stop::TooLarge.into());
    }
    if x.radius().top() > -2 {
        return Err(Trouble::Imprecise);
    }
    note_small(x, context);
    let precision = context.precision;
    let magnitude = x.upper();
    if magnitude.top() < -(precision as i64) {
        return Ok(Ball::ONE.widened(magnitude.shifted(1)));
    }
    let halvings = (halvings(precision) + x.top().min(0)).max(1);
    let working = precision + halvings as usize + GUARD;
    let result = context.at(working, |context| {
        let (rest, doublings) = if x.top() > -1 {
            // log2(e) to 56 bits and the argument to 8 bits behind the point: the rest is below one.
            let log2_e = IBig::from(103_957_133_576_908_769_u64);
            let doublings = (x.fixed(8) * log2_e) >> 64;
            let doublings = i64::try_from(doublings).map_err(|_| Stop::TooLarge)?;
            let reach = working + doublings.unsigned_abs().max(1).ilog2() as usize + 1;
            let rest = context.at(reach, |context| {
                let whole = series::ln_2(context)?.times(&Ball::integer(doublings), context)?;
                x.minus(&whole, context)
            })?;
            (rest, doublings)
        } else {
            (x.clone(), 0)
        };
        let rest = rest.shifted(-halvings - 1)?;
        if rest.top() > -1 {
            return Err(Trouble::Imprecise);
        }
        let mut result = series::exponential_series(&rest.midpoint(), working as i64, context)?;
        // e^δ is within 2δ of one for δ up to one, and the value is below two.
        result = result.widened(rest.radius().shifted(2)).round(context)?;
        for _ in 0..=halvings {
            result = result.squared(context)?;
        }
        result.shifted(doublings)
    })?;
    result.round(context)
}

/// The natural logarithm.
///
/// # Errors
/// [`Stop::Undefined`] of zero; [`Trouble::Imprecise`] unless all of the ball is positive.
pub fn logarithm(x: &Ball, context: &mut Context<'_>) -> Result<Ball, Trouble> {
    if x.is_zero() {
        return Err(Stop::Undefined.into());
    }
    if !x.is_positive() {
        return Err(Trouble::Imprecise);
    }
    let precision = context.precision;
    let roots = 2 + halvings(precision) / 2;
    // The mantissa in [3/4, 3/2), so that numbers around one need no multiple of ln 2.
    let mut exponent = x.top();
    if x.mantissa.bit_len() < 2 || (&x.mantissa >> (x.mantissa.bit_len() - 2)) == IBig::from(2) {
        exponent -= 1;
    }
    let reduced = x.clone().shifted(-exponent)?;
    let distance = reduced.minus(&Ball::ONE, context)?;
    if distance.is_zero() {
        return whole_logarithm(exponent, context);
    }
    let size = distance.upper();
    let near_one = if size.top() < -(precision as i64) {
        // |ln(1+d) - d| ≤ d².
        note_small(&distance, context);
        distance.widened(size.times(size))
    } else {
        note_small(&distance, context);
        let working = precision + (roots - distance.top().clamp(-(precision as i64), 0)) as usize + GUARD;
        context.at(working, |context| {
            let mut root = reduced;
            for _ in 0..roots {
                root = root.square_root(context)?;
            }
            // ln z = 2 atanh((z-1)/(z+1)).
            let above = root.minus(&Ball::ONE, context)?;
            let below = root.plus(&Ball::ONE, context)?;
            let ratio = above.over(&below, context)?;
            if ratio.top() > -1 {
                return Err(Trouble::Imprecise);
            }
            let bits = working as i64 - ratio.top().clamp(-(working as i64), 0);
            let series = series::inverse_tangent_series(&ratio.midpoint(), true, bits, context)?;
            // The derivative of atanh is at most 4/3 up to a half.
            series.widened(ratio.radius().shifted(1)).shifted(roots + 1)
        })?
    };
    let near_one = near_one.round(context)?;
    if exponent == 0 {
        return Ok(near_one);
    }
    near_one.plus(&whole_logarithm(exponent, context)?, context)
}

/// The logarithm of a power of two.
fn whole_logarithm(exponent: i64, context: &mut Context<'_>) -> Result<Ball, Trouble> {
    series::ln_2(context)?.times(&Ball::integer(exponent), context)
}

/// The sine and the cosine.
pub fn sine_and_cosine(x: &Ball, context: &mut Context<'_>) -> Result<(Ball, Ball), Trouble> {
    if x.is_zero() {
        return Ok((Ball::ZERO, Ball::ONE));
    }
    if x.top() > LARGEST_ANGLE {
        return Err(Stop::TooLarge.into());
    }
    if x.radius().top() > -2 {
        return Err(Trouble::Imprecise);
    }
    let precision = context.precision;
    let mut quarters = IBig::ZERO;
    let mut rest = x.clone();
    if x.top() > 0 {
        let reach = precision + GUARD + x.top() as usize;
        rest = context.at(reach, |context| {
            let quarter = series::pi(context)?.shifted(-1)?;
            quarters = x.midpoint().over(&quarter, context)?.fixed(0);
            let whole = quarter.times(&Ball::exact(quarters.clone(), 0), context)?;
            x.minus(&whole, context)
        })?;
    }
    let (sine, cosine) = reduced_sine_and_cosine(&rest, context)?;
    let low_bits = &quarters - ((&quarters >> 2) << 2);
    Ok(match i64::try_from(low_bits).unwrap_or(0) {
        0 => (sine, cosine),
        1 => (cosine, sine.negated()),
        2 => (sine.negated(), cosine.negated()),
        _ => (cosine.negated(), sine),
    })
}

/// The sine and the cosine of a number below about one.
fn reduced_sine_and_cosine(x: &Ball, context: &mut Context<'_>) -> Result<(Ball, Ball), Trouble> {
    let precision = context.precision;
    let size = x.upper();
    note_small(x, context);
    if size.top() < -(precision as i64) / 2 - 8 {
        let square = size.times(size);
        return Ok((
            x.clone().widened(square.times(size)).round(context)?,
            Ball::ONE.widened(square),
        ));
    }
    let halvings = (halvings(precision) + x.top().clamp(-(precision as i64), 1)).max(1);
    let small = -x.top().clamp(-(precision as i64), 0);
    let working = precision + (2 * halvings + small) as usize + GUARD;
    let (sine, cosine) = context.at(working, |context| {
        let part = x.clone().shifted(-halvings)?;
        if part.top() > -1 {
            return Err(Trouble::Imprecise);
        }
        let mut sine = series::sine_series(&part.midpoint(), working as i64, context)?;
        // The cosine from the sine at the midpoint, and only then the radius of the argument for both.
        let cosine_square = Ball::ONE.minus(&sine.squared(context)?, context)?;
        let mut cosine = cosine_square.square_root(context)?.widened(part.radius());
        sine = sine.widened(part.radius());
        for _ in 0..halvings {
            let square = sine.squared(context)?.shifted(1)?;
            sine = sine.times(&cosine, context)?.shifted(1)?;
            cosine = Ball::ONE.minus(&square, context)?;
        }
        Ok((sine, cosine))
    })?;
    Ok((sine.round(context)?, cosine.round(context)?))
}

/// The inverse tangent.
pub fn inverse_tangent(x: &Ball, context: &mut Context<'_>) -> Result<Ball, Trouble> {
    if x.is_zero() {
        return Ok(Ball::ZERO);
    }
    if x.top() > 0 {
        let Some(sign) = x.sign() else {
            return Err(Trouble::Imprecise);
        };
        // atan x = ±π/2 - atan(1/x).
        let quarter = series::pi(context)?.shifted(-1)?;
        let quarter = if sign == Sign::Negative {
            quarter.negated()
        } else {
            quarter
        };
        let inverse = Ball::ONE.over(x, context)?;
        return quarter.minus(&small_inverse_tangent(&inverse, context)?, context);
    }
    small_inverse_tangent(x, context)
}

/// The inverse tangent of a number of magnitude up to about one.
fn small_inverse_tangent(x: &Ball, context: &mut Context<'_>) -> Result<Ball, Trouble> {
    let precision = context.precision;
    note_small(x, context);
    let size = x.upper();
    if size.top() < -(precision as i64) / 2 - 8 {
        return x.clone().widened(size.times(size).times(size)).round(context);
    }
    let halvings = (halvings(precision) / 2 + x.top().clamp(-(precision as i64), 1)).max(1);
    let small = -x.top().clamp(-(precision as i64), 0);
    let working = precision + (halvings + small) as usize + GUARD;
    let result = context.at(working, |context| {
        // atan x = 2 atan(x / (1 + √(1 + x²))); the radius goes in at the end, since the derivative is at most one.
        let mut part = x.midpoint();
        for _ in 0..halvings {
            let root = part.squared(context)?.plus(&Ball::ONE, context)?.square_root(context)?;
            part = part.over(&root.plus(&Ball::ONE, context)?, context)?;
        }
        if part.top() > -1 {
            return Err(Trouble::Imprecise);
        }
        let series = series::inverse_tangent_series(&part.midpoint(), false, working as i64, context)?;
        series.widened(part.radius()).shifted(halvings)
    })?;
    result.widened(x.radius()).round(context)
}

/// The hyperbolic sine and cosine.
pub fn hyperbolic_sine_and_cosine(x: &Ball, context: &mut Context<'_>) -> Result<(Ball, Ball), Trouble> {
    if x.is_zero() {
        return Ok((Ball::ZERO, Ball::ONE));
    }
    let size = x.upper();
    if size.top() < -(context.precision as i64) / 2 - 8 {
        note_small(x, context);
        let square = size.times(size);
        return Ok((
            x.clone().widened(square.times(size)).round(context)?,
            Ball::ONE.widened(square),
        ));
    }
    // More bits make up for those that cancel in e^x - e^(-x) of a small x.
    let small = -x.top().clamp(-(context.precision as i64), 0);
    let (sine, cosine) = context.at(context.precision + small as usize + GUARD, |context| {
        let growing = exponential(x, context)?;
        let falling = Ball::ONE.over(&growing, context)?;
        Ok((
            growing.minus(&falling, context)?.shifted(-1)?,
            growing.plus(&falling, context)?.shifted(-1)?,
        ))
    })?;
    Ok((sine.round(context)?, cosine.round(context)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Steps;

    type Unary = fn(&Ball, &mut Context<'_>) -> Result<Ball, Trouble>;

    /// A name, the function, and the same on floats.
    type Case = (&'static str, Unary, fn(f64) -> f64);

    fn from_f64(value: f64) -> Ball {
        let bits = value.abs().to_bits();
        let mantissa = IBig::from(bits & ((1 << 52) - 1) | 1 << 52);
        let exponent = (bits >> 52) as i64 - 1075;
        Ball::exact(if value < 0.0 { -mantissa } else { mantissa }, exponent)
    }

    fn close(found: &Ball, expected: f64) -> bool {
        (found.to_f64() - expected).abs() <= 1e-12 * expected.abs().max(1e-300)
    }

    #[test]
    fn functions_agree_with_floats_and_with_themselves_at_higher_precision() {
        let functions: [Case; 6] = [
            ("exp", exponential, f64::exp),
            (
                "ln",
                |x, context| logarithm(&x.clone().absolute(), context),
                |x| x.abs().ln(),
            ),
            ("sin", |x, context| Ok(sine_and_cosine(x, context)?.0), f64::sin),
            ("cos", |x, context| Ok(sine_and_cosine(x, context)?.1), f64::cos),
            ("atan", inverse_tangent, f64::atan),
            (
                "sinh",
                |x, context| Ok(hyperbolic_sine_and_cosine(x, context)?.0),
                f64::sinh,
            ),
        ];
        let mut steps = Steps::new(u64::MAX);
        let arguments = [
            1e-200, 3e-60, 1e-20, 1e-5, 0.3, 0.5, 0.74, 0.76, 1.0, 1.4999, 1.5, 2.0, 3.0, 47.0, 690.0,
        ];
        for (name, function, float) in functions {
            for argument in arguments {
                for argument in [argument, -argument, argument * 1.0000001] {
                    let x = from_f64(argument);
                    let mut balls = Vec::new();
                    for precision in [64, 100, 128, 192, 384, 1024, 3072] {
                        let mut context = Context::new(precision, &mut steps);
                        let ball = function(&x, &mut context).expect("a value");
                        assert!(
                            close(&ball, float(argument)),
                            "{name} {argument} {} {}",
                            ball.to_f64(),
                            float(argument)
                        );
                        let lost_bits = if ball.is_zero() {
                            0
                        } else {
                            ball.radius().top() - ball.top() + precision as i64
                        };
                        assert!(lost_bits < 8, "{name} {argument} at {precision} loses {lost_bits} bits");
                        balls.push(ball);
                    }
                    let best = balls.pop().expect("several");
                    for ball in balls {
                        let mut context = Context::new(6000, &mut steps);
                        let difference = ball.minus(&best, &mut context).expect("a value");
                        assert!(difference.contains_zero(), "{name} {argument}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_out_of_reach_ends_at_once() {
        let mut steps = Steps::default();
        let mut context = Context::new(128, &mut steps);
        let huge = Ball::exact(IBig::ONE, 1 << 50);
        assert_eq!(exponential(&huge, &mut context), Err(Stop::TooLarge.into()));
        assert_eq!(sine_and_cosine(&huge, &mut context), Err(Stop::TooLarge.into()));
        assert!(logarithm(&huge, &mut context).is_ok());
        assert_eq!(logarithm(&Ball::ZERO, &mut context), Err(Stop::Undefined.into()));
        assert_eq!(logarithm(&Ball::integer(-1), &mut context), Err(Trouble::Imprecise));
        let vague = Ball::around_zero(super::super::radius::Radius::power_of_two(3));
        assert_eq!(exponential(&vague, &mut context), Err(Trouble::Imprecise));
        assert_eq!(
            inverse_tangent(&vague, &mut context).map(|ball| ball.contains_zero()),
            Ok(true)
        );
    }
}
