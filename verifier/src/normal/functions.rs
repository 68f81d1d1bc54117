//! Functions of forms.

use dashu_ratio::RBig;
use smallvec::SmallVec;

use super::arithmetic::{add, multiply, subtract};
use super::exponent::Exponent;
use super::form::{Atom, Content, Form, Monomial, Term};
use super::moment::Moment;
use super::trigonometry::call;
use super::{integers, inverse, logarithm, numbers, power, product, trigonometry};
use crate::expression::Function;
use crate::steps::{Steps, Stop};

/// Largest lower number for which a binomial coefficient of a form is written as a polynomial, and largest shift that
/// is taken out of a factorial.
const MAX_FALLING: i64 = 12;

/// A function of forms.
pub(crate) fn evaluate(
    function: &Function,
    mut arguments: SmallVec<[Form; 1]>,
    steps: &mut Steps,
) -> Result<Form, Stop> {
    // A call is told from others by a digest of all that is in it, at every level of nested calls.
    let weight = arguments.iter().map(Form::weight).fold(0, u32::saturating_add);
    steps.spend(40 + u64::from(weight))?;
    if arguments.iter().any(Form::is_infinite) {
        return Err(Stop::Undefined);
    }
    match (function, arguments.as_slice()) {
        (Function::Sin | Function::Cos | Function::Tan | Function::Cot | Function::Sec | Function::Csc, [argument]) => {
            trigonometry::evaluate(function, argument, steps)
        }
        (Function::Arcsin | Function::Arccos | Function::Arctan | Function::Arccot, [argument]) => {
            trigonometry::evaluate_inverse(function, argument, steps)
        }
        (Function::Sinh | Function::Cosh | Function::Tanh, [argument]) => hyperbolic(function, argument, steps),
        (Function::Arsinh | Function::Arcosh | Function::Artanh, [argument]) => {
            inverse_hyperbolic(function, argument, steps)
        }
        (Function::Ln, [argument]) => logarithm::natural(argument, steps),
        (Function::Log, [argument, base]) => logarithm::to_base(argument, base, steps),
        (Function::Abs, [argument]) => absolute(argument, steps),
        (Function::Floor, [argument]) => round(function, argument, RBig::floor),
        (Function::Ceiling, [argument]) => round(function, argument, RBig::ceil),
        (Function::Factorial, [argument]) => factorial(argument, steps),
        (Function::DoubleFactorial, [argument]) => double_factorial(argument, steps),
        (Function::Modulo, [value, modulus]) => match (value.as_rational(), modulus.as_rational()) {
            (Some(value), Some(modulus)) => integers::modulo(value, modulus, steps).map(Form::number),
            _ => opaque(function, arguments),
        },
        (Function::Binomial, [above, below]) => binomial(above, below, steps),
        (Function::Gcd | Function::Lcm | Function::Max | Function::Min, [_, ..]) => {
            arguments.sort_unstable();
            arguments.dedup();
            of_numbers(function, arguments, steps)
        }
        (Function::Re | Function::Im | Function::Conjugate, [argument]) => complex_part(function, argument, steps),
        (Function::Named(name), [argument]) => match Moment::named(name) {
            Some(moment) => moment.of(argument, steps),
            None => opaque(function, arguments),
        },
        (Function::Named(_), _) => opaque(function, arguments),
        _ => Err(Stop::Unsupported),
    }
}

fn opaque(function: &Function, arguments: SmallVec<[Form; 1]>) -> Result<Form, Stop> {
    Content::Call(function.clone(), arguments).into_atom().map(Form::atom)
}

/// Hyperbolic functions, written with powers of e.
fn hyperbolic(function: &Function, argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let euler = Form::atom(Atom::Euler);
    let grown = power::power(&euler, argument, steps)?;
    let shrunk = power::power(&euler, &argument.clone().negated(), steps)?;
    let half = Form::number(numbers::ratio(1, 2));
    match function {
        Function::Sinh => multiply(&half, &subtract(grown, shrunk, steps)?, steps),
        Function::Cosh => multiply(&half, &add(grown, shrunk, steps)?, steps),
        _ => {
            let above = subtract(grown.clone(), shrunk.clone(), steps)?;
            let below = add(grown, shrunk, steps)?;
            product::product(vec![product::power(&below, -1, steps)?, above], steps)
        }
    }
}

/// Inverse hyperbolic functions, written with logarithms.
fn inverse_hyperbolic(function: &Function, argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let one = Form::integer(1);
    let half = numbers::ratio(1, 2);
    if *function == Function::Artanh {
        let below = product::power(&subtract(one.clone(), argument.clone(), steps)?, -1, steps)?;
        let quotient = product::product(vec![below, add(one, argument.clone(), steps)?], steps)?;
        return multiply(&Form::number(half), &logarithm::natural(&quotient, steps)?, steps);
    }
    let square = product::power(argument, 2, steps)?;
    let radicand = match function {
        Function::Arsinh => add(square, one, steps)?,
        _ => subtract(square, one, steps)?,
    };
    let root = power::rational_power(&radicand, &half, steps)?;
    logarithm::natural(&add(argument.clone(), root, steps)?, steps)
}

fn round(function: &Function, argument: &Form, rounded: fn(&RBig) -> dashu_int::IBig) -> Result<Form, Stop> {
    match argument.as_rational() {
        Some(value) => Ok(Form::number(RBig::from(rounded(value)))),
        None => call(function.clone(), argument.clone()),
    }
}

fn absolute(argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let Some(first) = argument.terms.first() else {
        return Ok(Form::zero());
    };
    if let Some(term) = argument.single() {
        // |a·b| = |a|·|b|.
        let (known, unknown): (SmallVec<_>, SmallVec<_>) = term
            .monomial
            .factors
            .iter()
            .cloned()
            .partition(|factor| factor.atom.is_positive() || is_absolute(&factor.atom));
        let coefficient = numbers::absolute(&term.coefficient);
        let monomial = Monomial { factors: known };
        let mut result = Form::from(Term { monomial, coefficient });
        for factor in unknown {
            if factor.atom == Atom::Imaginary {
                continue;
            }
            let (base, exponent) = match factor.exponent.to_integer() {
                Some(_) => (Form::atom(factor.atom), factor.exponent),
                None => (Form::from(Term::atom(factor.atom, factor.exponent)), Exponent::ONE),
            };
            let Atom::Compound(compound) = Content::Call(Function::Abs, SmallVec::from_iter([base])).into_atom()?
            else {
                return Err(Stop::Unsupported);
            };
            let value = Form::from(Term::atom(Atom::Compound(compound), exponent));
            result = multiply(&result, &value, steps)?;
        }
        return Ok(result);
    }
    if argument.is_algebraic() && holds_imaginary(argument) {
        let (real, imaginary) = split_complex(argument);
        let real = product::power(&real, 2, steps)?;
        let imaginary = product::power(&imaginary, 2, steps)?;
        return power::rational_power(&add(real, imaginary, steps)?, &numbers::ratio(1, 2), steps);
    }
    let mut content = inverse::rational_content(argument, steps)?;
    if numbers::is_negative(&first.coefficient) {
        content = -content;
    }
    let primitive = inverse::divide_by_number(argument, &content, steps)?;
    let outside = Form::number(numbers::absolute(&content));
    multiply(&outside, &call(Function::Abs, primitive)?, steps)
}

fn is_absolute(atom: &Atom) -> bool {
    match atom {
        Atom::Compound(compound) => matches!(compound.content, Content::Call(Function::Abs, _)),
        _ => false,
    }
}

fn holds_imaginary(form: &Form) -> bool {
    form.terms.iter().any(is_imaginary)
}

fn is_imaginary(term: &Term) -> bool {
    term.monomial
        .factors
        .iter()
        .any(|factor| factor.atom == Atom::Imaginary)
}

/// The parts of a form without and with i; the second without its i.
fn split_complex(form: &Form) -> (Form, Form) {
    let mut real = form.clone();
    real.terms.retain(|term| !is_imaginary(term));
    let mut imaginary = form.clone();
    imaginary.terms.retain(|term| is_imaginary(term));
    for term in &mut imaginary.terms {
        term.monomial.factors.retain(|factor| factor.atom != Atom::Imaginary);
    }
    // Without i, terms keep their order only up to the factors before it.
    imaginary.terms.sort_unstable();
    (real, imaginary)
}

/// Real part, imaginary part and conjugate of numbers that show their parts.
fn complex_part(function: &Function, argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let is_plain = |term: &Term| {
        let mut factors = term.monomial.factors.iter();
        factors.all(|factor| factor.atom.is_positive() || factor.atom == Atom::Imaginary)
    };
    if !argument.terms.iter().all(is_plain) {
        return call(function.clone(), argument.clone());
    }
    let (real, imaginary) = split_complex(argument);
    match function {
        Function::Re => Ok(real),
        Function::Im => Ok(imaginary),
        _ => {
            let mirrored = multiply(&Form::atom(Atom::Imaginary), &imaginary, steps)?;
            subtract(real, mirrored, steps)
        }
    }
}

fn factorial(argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    if let Some(value) = argument.as_rational() {
        return match integers::factorial(value, steps)? {
            Some(value) => Ok(Form::number(value)),
            None => call(Function::Factorial, argument.clone()),
        };
    }
    // (n + k)! = n!·(n + 1)···(n + k).
    let shift = match argument.terms.first() {
        Some(term) if term.monomial.is_one() => numbers::to_i64(&term.coefficient),
        _ => None,
    };
    match shift {
        Some(shift @ 1..=MAX_FALLING) => {
            let unshifted = subtract(argument.clone(), Form::integer(shift), steps)?;
            let mut factors = vec![call(Function::Factorial, unshifted.clone())?];
            for offset in 1..=shift {
                factors.push(add(unshifted.clone(), Form::integer(offset), steps)?);
            }
            product::product(factors, steps)
        }
        // (n - k)! = n! / (n·(n - 1)···(n - k + 1)).
        Some(shift) if (-MAX_FALLING..0).contains(&shift) => {
            let unshifted = subtract(argument.clone(), Form::integer(shift), steps)?;
            let mut factors = vec![call(Function::Factorial, unshifted.clone())?];
            for offset in 0..-shift {
                let factor = subtract(unshifted.clone(), Form::integer(offset), steps)?;
                factors.push(power::rational_power(&factor, &RBig::from(-1), steps)?);
            }
            product::product(factors, steps)
        }
        _ => call(Function::Factorial, argument.clone()),
    }
}

/// n!! of an integer; (2m)!! = 2^m·m! and (2m − 1)!! = (2m)!/(2^m·m!) where the argument is that for all integers.
fn double_factorial(argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    if let Some(value) = argument.as_rational() {
        return match integers::double_factorial(value, steps)? {
            Some(value) => Ok(Form::number(value)),
            None => call(Function::DoubleFactorial, argument.clone()),
        };
    }
    let two = RBig::from(2);
    let is_even = |value: &RBig| (value / &two).is_int();
    let constant = argument.terms.first().filter(|term| term.monomial.is_one());
    let is_odd = constant.is_some_and(|term| term.coefficient.is_int() && !is_even(&term.coefficient));
    let others = argument.terms.iter().filter(|term| !term.monomial.is_one());
    let is_integral = others.clone().all(|term| {
        let mut factors = term.monomial.factors.iter();
        is_even(&term.coefficient)
            && factors.all(|factor| matches!(factor.atom, Atom::Symbol(_)) && factor.exponent.is_integer())
    });
    if !is_integral || constant.is_some_and(|term| !term.coefficient.is_int()) {
        return call(Function::DoubleFactorial, argument.clone());
    }
    let even = if is_odd {
        add(argument.clone(), Form::integer(1), steps)?
    } else {
        argument.clone()
    };
    let half = inverse::divide_by_number(&even, &two, steps)?;
    let powers = power::power(&Form::integer(2), &half, steps)?;
    let evens = product::product(vec![powers, factorial(&half, steps)?], steps)?;
    if !is_odd {
        return Ok(evens);
    }
    product::product(
        vec![factorial(&even, steps)?, product::power(&evens, -1, steps)?],
        steps,
    )
}

fn binomial(above: &Form, below: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    if let (Some(above), Some(below)) = (above.as_rational(), below.as_rational())
        && let Some(value) = integers::binomial(above, below, steps)?
    {
        return Ok(Form::number(value));
    }
    match below.as_rational().and_then(numbers::to_i64) {
        // n·(n - 1)···(n - k + 1) / k!.
        Some(count @ 0..=MAX_FALLING) => {
            let mut factors = Vec::new();
            for index in 0..count {
                let factor = subtract(above.clone(), Form::integer(index), steps)?;
                factors.push(inverse::divide_by_number(&factor, &RBig::from(index + 1), steps)?);
            }
            product::product(factors, steps)
        }
        _ => match binomial_of_factorials(above, below, steps) {
            // A negative integer has no factorial.
            Err(Stop::Undefined) => opaque(&Function::Binomial, SmallVec::from_iter([above.clone(), below.clone()])),
            written => written,
        },
    }
}

/// n!/(k!·(n − k)!).
fn binomial_of_factorials(above: &Form, below: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let rest = subtract(above.clone(), below.clone(), steps)?;
    let mut factors = vec![factorial(above, steps)?];
    for divisor in [below, &rest] {
        factors.push(power::rational_power(
            &factorial(divisor, steps)?,
            &RBig::NEG_ONE,
            steps,
        )?);
    }
    product::product(factors, steps)
}

/// Functions of any number of arguments in any order; these are sorted and different.
fn of_numbers(function: &Function, arguments: SmallVec<[Form; 1]>, steps: &mut Steps) -> Result<Form, Stop> {
    let values: Option<Vec<&RBig>> = arguments.iter().map(Form::as_rational).collect();
    let Some(values) = values else {
        return match (function, arguments.as_slice()) {
            (Function::Max | Function::Min, [only]) => Ok(only.clone()),
            _ => opaque(function, arguments),
        };
    };
    for value in &values {
        let bits = numbers::bits(value);
        steps.spend_on_bits(bits, bits)?;
    }
    let value = match function {
        Function::Gcd => integers::greatest_common_divisor(&values, steps)?,
        Function::Lcm => integers::least_common_multiple(&values, steps)?,
        Function::Max => values.iter().max().map(|value| (*value).clone()),
        _ => values.iter().min().map(|value| (*value).clone()),
    };
    match value {
        Some(value) => Ok(Form::number(value)),
        None => opaque(function, arguments),
    }
}
