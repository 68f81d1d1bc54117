//! The context of operations on balls: the working precision, the budget of steps, and the reasons why an operation has
//! no result.

use crate::steps::{Steps, Stop};

/// Why there is no result at this precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no result at any precision.
    Stop(Stop),
    /// A higher precision may give a result.
    Imprecise,
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// A working precision, the budget, and whether anything was lost on the way.
#[derive(Debug)]
pub struct Context<'steps> {
    /// Bits of midpoints.
    pub precision: usize,
    /// The budget that every operation is charged to.
    pub steps: &'steps mut Steps,
    /// Whether something that is not zero was too small to be seen at this precision, as `e^(-1000)` in
    /// `1 + e^(-1000)`. A difference that contains zero then says nothing.
    pub lost: bool,
}

impl<'steps> Context<'steps> {
    /// A context for one evaluation.
    pub fn new(precision: usize, steps: &'steps mut Steps) -> Self {
        Self {
            precision,
            steps,
            lost: false,
        }
    }

    /// Charges one operation. A multiplication of w words takes about 12 + w²/8 steps with allocation.
    pub(super) fn charge(&mut self) -> Result<(), Stop> {
        self.charge_many(1)
    }

    /// Charges this many operations.
    pub(super) fn charge_many(&mut self, operations: u64) -> Result<(), Stop> {
        let words = self.precision as u64 / 64 + 1;
        self.steps.spend(operations.saturating_mul(12 + words * words / 8))
    }

    /// Runs something at another precision.
    pub(super) fn at<T>(
        &mut self,
        precision: usize,
        run: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let before = std::mem::replace(&mut self.precision, precision);
        let result = run(self);
        self.precision = before;
        result
    }
}
