//! The deterministic bound of the work on one pair. A clock would make verdicts depend on the machine's load.

/// Steps for one pair, all ground truths together. A step is about ten nanoseconds of one core, and up to twenty-five
/// in the worst mixtures that were found, so that the dearest input stays below 20 ms.
pub const STEPS: u64 = 600_000;

/// Largest number, in bits, that any result may have (numerator or denominator). It is the size of the *result* that is
/// bounded: exponents, towers and factorials are estimated before they are computed.
pub const MAX_BITS: usize = 16_384;

/// Most bits of all numerals of one answer together, because `1e4000` asks for many in few characters.
pub(crate) const MAX_NUMERAL_BITS: usize = 4 * MAX_BITS;

/// Why an evaluation ended without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A result or an expansion would exceed the limits.
    #[error("a result exceeds the limits")]
    TooLarge,
    /// The work exceeds the step budget.
    #[error("the step budget is spent")]
    OutOfSteps,
    /// The expression has no value: division by zero, arithmetic with ∞, the logarithm of zero.
    #[error("the expression has no value")]
    Undefined,
    /// This way of evaluation does not cover the expression.
    #[error("not covered by this evaluation")]
    Unsupported,
}

/// The rest of the step budget.
#[derive(Clone, Debug)]
pub struct Steps {
    left: u64,
}

impl Steps {
    /// A budget of this many steps.
    pub fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Takes steps off the budget, before the work is done.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`] if fewer are left; the budget is then empty.
    pub fn spend(&mut self, steps: u64) -> Result<(), Stop> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Stop::OutOfSteps)
            }
        }
    }

    /// Takes off the budget the cost of one multiplication, division or reduction of numbers with this many bits each.
    ///
    /// # Errors
    /// As [`Self::spend`].
    pub fn spend_on_bits(&mut self, left_bits: usize, right_bits: usize) -> Result<(), Stop> {
        let words = |bits: usize| bits as u64 / 64 + 1;
        self.spend(5 + words(left_bits) * words(right_bits))
    }

    /// Steps that are left.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self::new(STEPS)
    }
}
