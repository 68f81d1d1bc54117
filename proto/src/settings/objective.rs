//! The settings of an objective: checked as part of a job, and on their own where somebody only wants to compute.

use super::validate::{Checked, enumeration, number};
use super::{InvalidSetting, Method, defaults, method};
use crate::v1;

/// How far a prior's sum may be from 1: what decimal fractions in a file leave.
const PRIOR_TOLERANCE: f64 = 1e-6;

/// See `ObjectiveSpec` in objective.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ObjectiveSettings {
    pub name: String,
    pub method: Method,
    pub lambda: f64,
    /// P_1 … P_S: the prior spelled out over the budgets, none negative, sum 1.
    pub prior: Vec<f64>,
    pub variance_reduction: v1::VarianceReduction,
    pub mix: v1::Mix,
    pub leave_one_out: bool,
    pub summary_method: v1::SummaryMethod,
    pub summary_weight: f64,
    pub summary_weighting: v1::SummaryWeighting,
    /// P'_1 … P'_S, as `prior`.
    pub summary_prior: Vec<f64>,
    pub length_penalty: v1::LengthPenalty,
    pub length_coefficient: f64,
}

impl ObjectiveSettings {
    /// Fills in the defaults and checks every setting of an objective over groups with these budgets.
    ///
    /// # Errors
    /// The first setting that cannot work, with its name in a job file, its value and what is allowed.
    pub fn try_new(spec: &v1::ObjectiveSpec, budgets: &[u32]) -> Result<Self, InvalidSetting> {
        let mut filled = spec.clone();
        defaults::fill_objective(&mut filled);
        check(&filled, budgets)
    }
}

fn check(objective: &v1::ObjectiveSpec, budgets: &[u32]) -> Checked<ObjectiveSettings> {
    let method = method::check(objective)?;
    let prior = enumeration("objective.prior", objective.prior.unwrap_or_default())?;
    let summary_prior = enumeration("objective.summary_prior", objective.summary_prior.unwrap_or_default())?;
    Ok(ObjectiveSettings {
        name: objective.name.clone().unwrap_or_default(),
        method,
        lambda: number(
            "objective.lambda",
            objective.lambda,
            |x| x > 0.0 && x <= 1.0,
            "above 0, up to 1",
        )?,
        prior: spell_out_prior("objective.prior", prior, &objective.prior_weights, budgets)?,
        variance_reduction: enumeration(
            "objective.variance_reduction",
            objective.variance_reduction.unwrap_or_default(),
        )?,
        mix: enumeration("objective.mix", objective.mix.unwrap_or_default())?,
        leave_one_out: objective.leave_one_out.unwrap_or_default(),
        summary_method: enumeration("objective.summary_method", objective.summary_method.unwrap_or_default())?,
        summary_weight: number(
            "objective.summary_weight",
            objective.summary_weight,
            |x| x >= 0.0,
            "0 or more",
        )?,
        summary_weighting: enumeration(
            "objective.summary_weighting",
            objective.summary_weighting.unwrap_or_default(),
        )?,
        summary_prior: spell_out_prior(
            "objective.summary_prior",
            summary_prior,
            &objective.summary_prior_weights,
            budgets,
        )?,
        length_penalty: enumeration("objective.length_penalty", objective.length_penalty.unwrap_or_default())?,
        length_coefficient: number(
            "objective.length_coefficient",
            objective.length_coefficient,
            |x| (0.0..=1.0).contains(&x),
            "0 to 1",
        )?,
    })
}

/// P_1 … P_S (paper 1.2): uniform 1/S, linear b_i/Σb, base [0, …, 0, 1], or the given weights. `setting` is the name of
/// the choice; the weights are the setting with `_weights` behind it.
fn spell_out_prior(setting: &str, prior: v1::Prior, weights: &[f64], budgets: &[u32]) -> Checked<Vec<f64>> {
    let field = format!("{setting}_weights");
    if prior != v1::Prior::Explicit && !weights.is_empty() {
        let allowed = format!("nothing, unless `{setting}` is \"explicit\"");
        return Err(InvalidSetting::new(&field, weights, allowed));
    }
    let count = budgets.len();
    match prior {
        v1::Prior::Uniform => Ok(vec![1.0 / count as f64; count]),
        v1::Prior::Base => Ok((1..=count)
            .map(|budget| if budget == count { 1.0 } else { 0.0 })
            .collect()),
        v1::Prior::Linear | v1::Prior::Unspecified => {
            let total: f64 = budgets.iter().copied().map(f64::from).sum();
            Ok(budgets.iter().map(|budget| f64::from(*budget) / total).collect())
        }
        v1::Prior::Explicit => {
            let sum: f64 = weights.iter().sum();
            let negative = weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0);
            if weights.len() != count || negative || (sum - 1.0).abs() > PRIOR_TOLERANCE {
                let allowed = format!("{count} weights (one per budget), none negative, with sum 1 (here {sum})");
                return Err(InvalidSetting::new(&field, weights, allowed));
            }
            Ok(weights.iter().map(|weight| weight / sum).collect())
        }
    }
}
