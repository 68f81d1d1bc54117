//! Decides about sums and products whose end is a variable, as in `\sum_{k=0}^n \binom{n}{k}`: two expressions are the
//! same if they are at many integers, more than the difference can have zeros, and at some beyond all at which a part of
//! them may still be switched off ([`super::late`]).

use std::hash::Hasher as _;

use compact_str::CompactString;

use super::Comparison;
use super::late::Late;
use super::operators::Progress;
use crate::expression::{Expression, Function, operator};
use crate::normal::{self, Digest};
use crate::steps::Stop;

/// The integers at which every pair is tried; some others depend on the pair.
const INTEGERS: [i64; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 17];

/// How many integers depend on the pair at least, and how large they may be.
const MORE_INTEGERS: u64 = 4;
const LARGEST_INTEGER: u64 = 48;

/// At how many integers both sides must have a value and agree at least.
const AGREEMENTS: u64 = 10;

/// At how many of these beyond the one from which on both are settled, and how far beyond they may be.
const SETTLED_AGREEMENTS: u64 = 2;
const FURTHEST_BEYOND: u64 = 8;

/// Where expressions must be settled, and how many zeros their difference may have.
const LATEST: u64 = 60;
const MOST_ZEROS: u64 = 24;

/// Most variables in the ends of operators.
const MAX_VARIABLES: usize = 2;

impl Comparison<'_> {
    /// Whether both are the same at many integers in the place of the variables in the ends of operators.
    pub(super) fn agree_at_integers(&mut self, left: &Expression, right: &Expression) -> Result<bool, Stop> {
        let mut variables: Vec<CompactString> = Vec::new();
        for side in [left, right] {
            ends(side, &mut variables);
        }
        variables.sort_unstable();
        variables.dedup();
        if variables.is_empty() || variables.len() > MAX_VARIABLES {
            return Ok(false);
        }
        // `a_n` is not known for any n.
        let is_index = |name: &str| {
            (variables.iter()).any(|variable| name != variable.as_str() && name.contains(variable.as_str()))
        };
        if left.has_name(&is_index) || right.has_name(&is_index) {
            return Ok(false);
        }
        self.steps.spend(60 * (left.node_count() + right.node_count()) as u64)?;
        let is_meant = |name: &str| variables.iter().any(|variable| variable == name);
        let (Some(left_late), Some(right_late)) = (Late::of(left, &is_meant), Late::of(right, &is_meant)) else {
            return Ok(false);
        };
        let settled = left_late.settled.max(right_late.settled);
        let zeros = left_late.zeros.saturating_add(right_late.zeros);
        if settled > LATEST || zeros > MOST_ZEROS {
            return Ok(false);
        }
        let mut digest = Digest::default();
        digest.write(format!("{left:?}{right:?}").as_bytes());
        let mut arbitrary = |index: u64, below: u64| {
            digest.write_u64(index);
            (digest.finish() % below) as i64
        };
        // One after the other those of all pairs, those of this pair, and those beyond.
        let needed = AGREEMENTS.max(zeros + 1);
        let more = (needed + MORE_INTEGERS).saturating_sub(AGREEMENTS).max(MORE_INTEGERS);
        let all = INTEGERS.len() as u64 + more;
        let (mut agreements, mut settled_agreements) = (0, 0);
        for index in 0..all + SETTLED_AGREEMENTS {
            let mut values = Vec::with_capacity(variables.len());
            for position in 0..variables.len() {
                let key = index + 100 * position as u64;
                values.push(match INTEGERS.get(index as usize) {
                    Some(&value) if position == 0 => value,
                    _ if index < all => arbitrary(key, LARGEST_INTEGER) + 1,
                    _ => settled as i64 + 1 + arbitrary(key, FURTHEST_BEYOND),
                });
            }
            match self.agree_at(left, right, &variables, &values)? {
                Some(true) => {
                    agreements += 1;
                    let is_settled = values.iter().all(|&value| value as u64 > settled);
                    settled_agreements += u64::from(is_settled);
                }
                Some(false) => return Ok(false),
                None => {}
            }
        }
        Ok(agreements >= needed && settled_agreements >= SETTLED_AGREEMENTS)
    }

    /// Whether both sides agree at some integers; none if one of them has no value.
    fn agree_at(
        &mut self,
        left: &Expression,
        right: &Expression,
        variables: &[CompactString],
        values: &[i64],
    ) -> Result<Option<bool>, Stop> {
        self.steps.spend(2 * (left.node_count() + right.node_count()) as u64)?;
        let (mut left, mut right) = (left.clone(), right.clone());
        for (variable, &value) in variables.iter().zip(values) {
            left = left.substituted(variable, &Expression::integer(value));
            right = right.substituted(variable, &Expression::integer(value));
        }
        let mut progress = Progress::default();
        let left = self.expression_worked_out(&left, &mut progress)?;
        let right = self.expression_worked_out(&right, &mut progress)?;
        // A formula need not hold where there is nothing to add.
        if progress.empty || self.is_undefined(&left) || self.is_undefined(&right) {
            return Ok(None);
        }
        Ok(Some(!progress.left && self.expressions(left, right)))
    }

    fn is_undefined(&mut self, expression: &Expression) -> bool {
        normal::normalise(expression, self.steps) == Err(Stop::Undefined)
    }
}

/// The variables in the ends of operators.
fn ends(expression: &Expression, variables: &mut Vec<CompactString>) {
    match expression {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => {}
        Expression::Sum(parts) | Expression::Product(parts) => parts.iter().for_each(|part| ends(part, variables)),
        Expression::Power(base, exponent) => {
            ends(base, variables);
            ends(exponent, variables);
        }
        Expression::Call(function, parts) => {
            let name = match function {
                Function::Named(name) => name.as_str(),
                _ => "",
            };
            if matches!(name, operator::SUM | operator::PRODUCT) {
                for end in parts.iter().skip(2) {
                    symbols(end, variables);
                }
            }
            parts.iter().for_each(|part| ends(part, variables));
        }
    }
}

/// The variables of an expression that no operator binds.
pub(super) fn symbols(expression: &Expression, variables: &mut Vec<CompactString>) {
    match expression {
        Expression::Symbol(name) if !name.starts_with(operator::BOUND) => variables.push(name.clone()),
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => {}
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
            parts.iter().for_each(|part| symbols(part, variables));
        }
        Expression::Power(base, exponent) => {
            symbols(base, variables);
            symbols(exponent, variables);
        }
    }
}
