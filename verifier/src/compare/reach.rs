//! How far from zero the kinks of a function may lie: `|\ln x - 50|` has one at e^50, `|\sqrt x - 1000|` at 10^6, and
//! `|1/x - 1000|` at 1/1000. What stands between the variable and the number decides.

use std::collections::BTreeSet;

use compact_str::CompactString;
use dashu_base::{BitTest as _, Sign};
use dashu_ratio::RBig;

use crate::expression::{Expression, Function};
use crate::steps::{Steps, Stop};

/// What stands between variables and the numbers beside them, in functions with a kink.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The degree of the roots, all that are in each other together: a number is met at its power to it.
    pub(super) roots: usize,
    /// Whether a large number is met near zero.
    pub(super) reciprocals: bool,
    /// Whether a large number is met at its logarithm.
    pub(super) exponentials: bool,
    /// How many logarithms are in each other: a number is met at the power of e to it.
    pub(super) logarithms: usize,
    /// The variables under logarithms.
    pub(super) under_logarithms: BTreeSet<CompactString>,
}

impl Reach {
    /// Notes what stands in the argument of a function with a kink.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`].
    pub(super) fn add(&mut self, argument: &Expression, steps: &mut Steps) -> Result<(), Stop> {
        self.add_inside(argument, 1, 0, steps)
    }

    /// The same below roots of this degree and so many logarithms.
    fn add_inside(
        &mut self,
        expression: &Expression,
        roots: usize,
        logarithms: usize,
        steps: &mut Steps,
    ) -> Result<(), Stop> {
        steps.spend(1)?;
        let mut all = |parts: &[Expression], logarithms| {
            (parts.iter()).try_for_each(|part| self.add_inside(part, roots, logarithms, steps))
        };
        match expression {
            Expression::Number(_) | Expression::Constant(_) => Ok(()),
            Expression::Symbol(name) => {
                self.roots = self.roots.max(roots);
                if logarithms > 0 {
                    self.logarithms = self.logarithms.max(logarithms);
                    self.under_logarithms.insert(name.clone());
                }
                Ok(())
            }
            Expression::Sum(parts) | Expression::Product(parts) => all(parts, logarithms),
            Expression::Power(base, exponent) => match &**exponent {
                Expression::Number(exponent) => {
                    self.reciprocals |= exponent.sign() == Sign::Negative;
                    self.add_inside(base, roots.saturating_mul(degree(exponent)), logarithms, steps)
                }
                exponent => {
                    self.reciprocals = true;
                    self.exponentials = true;
                    self.add_inside(base, roots, logarithms, steps)?;
                    self.add_inside(exponent, roots, logarithms, steps)
                }
            },
            Expression::Call(function, parts) => {
                let is_logarithm = matches!(
                    function,
                    Function::Ln | Function::Log | Function::Arsinh | Function::Arcosh
                );
                let is_exponential = matches!(
                    function,
                    Function::Sinh | Function::Cosh | Function::Tanh | Function::Factorial
                );
                all(parts, logarithms + usize::from(is_logarithm))?;
                self.exponentials |= is_exponential;
                Ok(())
            }
        }
    }
}

/// How many times as many bits as a root a number has at least whose root it is; one for other powers.
fn degree(exponent: &RBig) -> usize {
    let (above, below) = (exponent.numerator().bit_len(), exponent.denominator());
    match usize::try_from(below) {
        Ok(below) if below > 1 => (below >> (above.saturating_sub(1))).max(1),
        Ok(_) => 1,
        Err(_) => usize::MAX,
    }
}
