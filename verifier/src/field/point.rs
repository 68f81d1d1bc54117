//! A random point: a prime, and a value for every symbol.

use std::hash::{Hash as _, Hasher as _};

use dashu_base::BitTest as _;
use dashu_ratio::RBig;

use crate::expression::{Constant, Expression, Function};
use crate::modulus::{Modulus, Residue, is_prime};
use crate::normal::{self, Atom, Content, Digest, Factor, Form};
use crate::steps::{Steps, Stop};

/// Bound of the size of an expression, which is at least its degree and the bits of its coefficients together.
const MAX_SIZE: u64 = 1 << 33;
/// Largest factorial, and lower number of a binomial coefficient, that is multiplied out.
const MAX_FACTORS: u64 = 20_000;
/// Steps for a modular power with an exponent of one word.
const STEPS_PER_POWER: u64 = 60;

/// A source of random words that is the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

/// A prime field with a square root of −1.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    modulus: Modulus,
    /// The random words for the values of constants.
    seed: u64,
}

impl Field {
    /// A random prime between 2^60 and 2^61 that is 1 modulo 4, each with the same probability.
    pub(crate) fn random(random: &mut Random, steps: &mut Steps) -> Result<Self, Stop> {
        loop {
            steps.spend(20)?;
            let candidate = (1 << 60) | (random.next() >> 4) & !3 | 1;
            if is_prime(candidate) {
                steps.spend(200)?;
                return Ok(Self {
                    modulus: Modulus::new(candidate),
                    seed: random.next(),
                });
            }
        }
    }

    /// The quotient of two residues.
    pub(crate) fn divide(&self, above: Residue, below: Residue) -> Option<Residue> {
        let inverse = self.modulus.invert(below)?;
        Some(self.modulus.multiply(above, inverse))
    }

    /// A square root of −1: half of all residues are no squares, and the power of any of them is one.
    fn imaginary(&self, steps: &mut Steps) -> Result<Residue, Stop> {
        let minus_one = self.modulus.negate(self.modulus.one());
        let mut candidate = 2;
        loop {
            steps.spend(STEPS_PER_POWER)?;
            let root = self
                .modulus
                .power(self.modulus.residue(candidate), (self.modulus.value() - 1) / 4);
            if self.modulus.multiply(root, root) == minus_one {
                return Ok(root);
            }
            candidate += 1;
        }
    }
}

/// Why there is no value at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// A divisor is zero here.
    Pole,
    /// There is no value anywhere, or it cannot be computed.
    Stop(Stop),
}

impl From<Stop> for NoValue {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// A residue with the size of the expression that it is the value of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) residue: Residue,
    size: u64,
}

/// A point of a field.
#[derive(Debug)]
pub(crate) struct Point<'a> {
    field: &'a Field,
    seed: u64,
    imaginary: Option<Residue>,
    pi: bool,
    euler: bool,
    /// Whether a part got a random value although it is not independent of the others.
    pub(crate) opaque: bool,
}

impl<'a> Point<'a> {
    pub(crate) fn new(field: &'a Field, seed: u64) -> Self {
        Self {
            field,
            seed,
            imaginary: None,
            pi: false,
            euler: false,
            opaque: false,
        }
    }

    /// Whether different values here prove that expressions differ. Of π and e together it is not known whether they
    /// are independent.
    pub(crate) fn proves_difference(&self) -> bool {
        !(self.opaque || self.pi && self.euler)
    }

    /// The value of an expression.
    pub(crate) fn evaluate(&mut self, expression: &Expression, steps: &mut Steps) -> Result<Value, NoValue> {
        steps.spend(4)?;
        match expression {
            Expression::Number(number) => self.number(number, steps),
            Expression::Constant(constant) => self.constant(*constant, steps),
            Expression::Symbol(name) => Ok(self.symbol(name)),
            Expression::Sum(parts) => {
                let mut sum = Value {
                    residue: Residue::ZERO,
                    size: 0,
                };
                for part in parts {
                    let value = self.evaluate(part, steps)?;
                    sum.residue = self.field.modulus.add(sum.residue, value.residue);
                    // One more bit for the carry.
                    sum.size = bounded(sum.size + value.size + 1)?;
                }
                Ok(sum)
            }
            Expression::Product(parts) => {
                let mut product = self.one();
                for part in parts {
                    let value = self.evaluate(part, steps)?;
                    product = self.multiply(product, value)?;
                }
                Ok(product)
            }
            Expression::Power(base, exponent) => match exact_integer(exponent, steps)? {
                Some(exponent) => {
                    let base = self.evaluate(base, steps)?;
                    self.power(base, exponent, steps)
                }
                None => self.by_form(expression, steps),
            },
            Expression::Call(Function::Named(name), arguments) => {
                let mut digest = self.digest(self.seed, 2);
                name.hash(&mut digest);
                let mut size = 1;
                for argument in arguments {
                    let value = self.evaluate(argument, steps)?;
                    digest.write_u64(value.residue.word());
                    size = bounded(size + value.size)?;
                }
                let residue = self.random_residue(digest);
                Ok(Value { residue, size })
            }
            Expression::Call(Function::Factorial, arguments) => {
                if let [argument] = arguments.as_slice()
                    && let Some(count) = exact_integer(argument, steps)?
                    && let Ok(count) = u64::try_from(count)
                {
                    return self.falling(count, count, steps);
                }
                self.by_form(expression, steps)
            }
            Expression::Call(Function::Binomial, arguments) => {
                if let [above, below] = arguments.as_slice()
                    && let (Some(above), Some(below)) = (exact_integer(above, steps)?, exact_integer(below, steps)?)
                    && let (Ok(above), Ok(below)) = (u64::try_from(above), u64::try_from(below))
                    && below <= above
                {
                    let fewer = below.min(above - below);
                    let product = self.falling(above, fewer, steps)?;
                    let divisor = self.falling(fewer, fewer, steps)?;
                    return self.divide(product, divisor);
                }
                self.by_form(expression, steps)
            }
            Expression::Call(..) => self.by_form(expression, steps),
        }
    }

    fn one(&self) -> Value {
        Value {
            residue: self.field.modulus.one(),
            size: 0,
        }
    }

    fn number(&self, number: &RBig, steps: &mut Steps) -> Result<Value, NoValue> {
        let (above, below) = (number.numerator(), number.denominator());
        let size = (above.bit_len() + below.bit_len()) as u64;
        steps.spend(size / 32)?;
        let modulus = &self.field.modulus;
        let mut residue = modulus.reduce_signed(above);
        if !below.is_one() {
            steps.spend(STEPS_PER_POWER)?;
            residue = self.field.divide(residue, modulus.reduce(below)).ok_or(NoValue::Pole)?;
        }
        Ok(Value { residue, size })
    }

    fn constant(&mut self, constant: Constant, steps: &mut Steps) -> Result<Value, NoValue> {
        let (index, divisor) = match constant {
            Constant::Pi => (0, 1),
            Constant::Degree => (0, 180),
            Constant::Euler => (1, 1),
            Constant::Imaginary => {
                let residue = match self.imaginary {
                    Some(residue) => residue,
                    None => self.field.imaginary(steps)?,
                };
                self.imaginary = Some(residue);
                return Ok(Value { residue, size: 1 });
            }
            Constant::Infinity => return Err(NoValue::Stop(Stop::Unsupported)),
        };
        self.pi |= index == 0;
        self.euler |= index == 1;
        let mut digest = self.digest(self.field.seed, 0);
        digest.write_u64(index);
        let residue = self.random_residue(digest);
        let value = Value { residue, size: 1 };
        match divisor {
            1 => Ok(value),
            _ => self.multiply(value, self.number(&normal::ratio(1, divisor), steps)?),
        }
    }

    fn symbol(&self, name: &str) -> Value {
        let mut digest = self.digest(self.seed, 1);
        name.hash(&mut digest);
        let residue = self.random_residue(digest);
        Value { residue, size: 1 }
    }

    /// Starts from the random seed, so that names are not known to fall together.
    fn digest(&self, seed: u64, kind: u64) -> Digest {
        let mut digest = Digest::default();
        digest.write_u64(seed);
        digest.write_u64(kind);
        digest
    }

    fn random_residue(&self, digest: Digest) -> Residue {
        self.field.modulus.residue(Random::new(digest.finish()).next())
    }

    fn multiply(&self, left: Value, right: Value) -> Result<Value, NoValue> {
        Ok(Value {
            residue: self.field.modulus.multiply(left.residue, right.residue),
            size: bounded(left.size + right.size)?,
        })
    }

    fn divide(&self, above: Value, below: Value) -> Result<Value, NoValue> {
        let residue = self.field.divide(above.residue, below.residue).ok_or(NoValue::Pole)?;
        let size = bounded(above.size + below.size)?;
        Ok(Value { residue, size })
    }

    fn power(&self, base: Value, exponent: i64, steps: &mut Steps) -> Result<Value, NoValue> {
        steps.spend(2 + u64::from(64 - exponent.unsigned_abs().leading_zeros()))?;
        if exponent == 0 && base.residue.is_zero() {
            return Err(NoValue::Pole);
        }
        let size = bounded(base.size.max(1).saturating_mul(exponent.unsigned_abs()))?;
        let mut residue = self.field.modulus.power(base.residue, exponent.unsigned_abs());
        if exponent < 0 {
            steps.spend(STEPS_PER_POWER)?;
            residue = self.field.modulus.invert(residue).ok_or(NoValue::Pole)?;
        }
        Ok(Value { residue, size })
    }

    /// n·(n − 1)···, with a number of factors.
    fn falling(&self, first: u64, count: u64, steps: &mut Steps) -> Result<Value, NoValue> {
        if count > MAX_FACTORS {
            return Err(NoValue::Stop(Stop::TooLarge));
        }
        steps.spend(1 + count)?;
        let modulus = &self.field.modulus;
        let mut residue = modulus.one();
        for offset in 0..count {
            residue = modulus.multiply(residue, modulus.residue(first - offset));
        }
        let size = bounded(count * 64)?;
        Ok(Value { residue, size })
    }

    /// The value of an expression that has none in a field: the value of its canonical form, whose opaque atoms get
    /// random values. If such values are equal, the expressions are equal whatever the atoms are.
    fn by_form(&mut self, expression: &Expression, steps: &mut Steps) -> Result<Value, NoValue> {
        let form = normal::normalise(expression, steps)?;
        if form.is_infinite() {
            return Err(NoValue::Stop(Stop::Unsupported));
        }
        self.form(&form, steps)
    }

    fn form(&mut self, form: &Form, steps: &mut Steps) -> Result<Value, NoValue> {
        let mut sum = Value {
            residue: Residue::ZERO,
            size: 0,
        };
        for term in &form.terms {
            let mut product = self.number(&term.coefficient, steps)?;
            for factor in &term.monomial.factors {
                let value = self.factor(factor, steps)?;
                product = self.multiply(product, value)?;
            }
            sum.residue = self.field.modulus.add(sum.residue, product.residue);
            sum.size = bounded(sum.size + product.size + 1)?;
        }
        Ok(sum)
    }

    fn factor(&mut self, factor: &Factor, steps: &mut Steps) -> Result<Value, NoValue> {
        steps.spend(30)?;
        let (whole, fraction) = factor.exponent.split();
        let mut value = self.one();
        if whole != 0 {
            let base = self.atom(&factor.atom, steps)?;
            value = self.power(base, whole, steps)?;
        }
        if !fraction.is_zero() {
            // Its powers are not related to the base, so it only equals itself.
            self.opaque = true;
            let mut digest = self.digest(self.seed_of(&factor.atom), 3);
            factor.atom.hash(&mut digest);
            fraction.hash(&mut digest);
            let residue = self.random_residue(digest);
            value = self.multiply(value, Value { residue, size: 1 })?;
        }
        Ok(value)
    }

    fn seed_of(&self, atom: &Atom) -> u64 {
        if atom.is_constant() { self.field.seed } else { self.seed }
    }

    fn atom(&mut self, atom: &Atom, steps: &mut Steps) -> Result<Value, NoValue> {
        match atom {
            Atom::Symbol(name) => return Ok(self.symbol(name)),
            Atom::Pi => return self.constant(Constant::Pi, steps),
            Atom::Euler => return self.constant(Constant::Euler, steps),
            Atom::Imaginary => return self.constant(Constant::Imaginary, steps),
            Atom::Compound(compound) => {
                if let Content::Base(base) = &compound.content {
                    return self.form(base, steps);
                }
            }
            Atom::Prime(_) | Atom::Logarithm(_) | Atom::MinusOne | Atom::Infinity => {}
        }
        self.opaque = true;
        let mut digest = self.digest(self.seed_of(atom), 4);
        atom.hash(&mut digest);
        let residue = self.random_residue(digest);
        Ok(Value { residue, size: 1 })
    }
}

/// The exact value of a constant exponent, if it is an integer.
fn exact_integer(expression: &Expression, steps: &mut Steps) -> Result<Option<i64>, Stop> {
    let to_integer = |value: &RBig| -> Result<Option<i64>, Stop> {
        if !value.is_int() {
            return Ok(None);
        }
        i64::try_from(value.numerator()).map(Some).map_err(|_| Stop::TooLarge)
    };
    if let Expression::Number(value) = expression {
        return to_integer(value);
    }
    let form = normal::normalise(expression, steps)?;
    form.as_rational().map_or(Ok(None), to_integer)
}

fn bounded(size: u64) -> Result<u64, Stop> {
    if size > MAX_SIZE { Err(Stop::TooLarge) } else { Ok(size) }
}
