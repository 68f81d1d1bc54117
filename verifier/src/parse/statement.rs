//! Reads statements that are joined by ∧, ∨ and ⇒.

use super::grammar::{Parsed, Parser};
use super::operation::{call, ordered, strength, unordered};
use super::token::Kind;

impl Parser<'_, '_> {
    /// A sum, or statements joined by operations that bind at least so strongly.
    pub(super) fn statement(&mut self, weakest: u8) -> Parsed {
        let mut left = self.arithmetic()?;
        while let Some(Kind::Operator(operator)) = self.peek() {
            let operator = *operator;
            let Some(strength) = strength(operator).filter(|strength| *strength >= weakest) else {
                break;
            };
            self.position += 1;
            let right = self.statement(strength + 1)?;
            left = match operator {
                "⇒" => ordered(operator, left, right),
                _ => unordered(operator, left, right),
            };
        }
        Ok(left)
    }

    /// The negation of the next factor.
    pub(super) fn negation(&mut self) -> Parsed {
        Ok(call("¬", vec![self.factor()?]))
    }
}
