//! The settings of an objective: checked as part of a job, or alone where only advantages are computed.

use super::error::InvalidSetting;
use super::filled::choose_table;
use super::job::Job;
use super::row::{Checked, Row};
use super::table::TABLE;
use crate::v1;
use crate::v1::objective_spec::Settings;

/// The section `objective` of a job, checked: what all objectives share, and the table of the one that was chosen. See
/// `ObjectiveSpec` in objective.proto.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveSettings {
    /// The objective's name, which is also that of its table.
    pub name: String,
    /// The chosen objective's own settings, with every default filled in.
    pub own: Settings,
    /// b_1 … b_S: the budgets of the groups to come.
    pub budgets: Vec<u32>,
    /// Discount of V1 towards earlier budgets.
    pub lambda: f64,
    /// P_1 … P_S: the prior spelled out over the budgets, none negative, sum 1.
    pub prior: Vec<f64>,
    /// How V1 is weighed against V2.
    pub mix: v1::Mix,
    /// How a summary token is weighed beside a thinking token.
    pub summary_weighting: v1::SummaryWeighting,
    /// A factor on top of that.
    pub summary_weight: f64,
}

impl ObjectiveSettings {
    /// Fills in the defaults and checks every setting of an objective over groups with these budgets.
    ///
    /// # Errors
    /// The first setting that cannot work, with its name in a job file and the reason.
    pub fn try_new(spec: &v1::ObjectiveSpec, budgets: &[u32]) -> Result<Self, InvalidSetting> {
        let alone = v1::JobSpec {
            objective: Some(spec.clone()),
            rollout: Some(v1::RolloutSpec {
                budgets: budgets.to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut job = Job::new(&alone);
        choose_table(&mut job);
        let is_ours = |row: &&Row| row.path.starts_with("objective.");
        for row in TABLE.iter().filter(is_ours) {
            row.fill(&mut job);
        }
        for row in TABLE.iter().filter(is_ours) {
            row.check(&job)?;
        }
        Self::of_checked(&job.into_spec())
    }

    /// The settings of a job that is filled in and checked.
    pub(super) fn of_checked(job: &v1::JobSpec) -> Checked<Self> {
        let spec = job.objective.clone().unwrap_or_default();
        let budgets = job.rollout.clone().unwrap_or_default().budgets;
        let own = spec.settings.clone();
        Ok(Self {
            own: own.ok_or_else(|| InvalidSetting::missing("objective.name", "it must be the name of an objective"))?,
            lambda: spec.lambda(),
            prior: spell_out_prior(spec.prior(), &spec.prior_weights, &budgets),
            mix: spec.mix(),
            summary_weighting: spec.summary_weighting(),
            summary_weight: spec.summary_weight(),
            name: spec.name.unwrap_or_default(),
            budgets,
        })
    }
}

/// P_1 … P_S over the budgets (paper 1.2): uniform 1/S, linear b_i/Σb, base [0, …, 0, 1], or the given weights, whose
/// sum is made 1 exactly.
pub fn spell_out_prior(prior: v1::Prior, weights: &[f64], budgets: &[u32]) -> Vec<f64> {
    let count = budgets.len();
    match prior {
        v1::Prior::Uniform => vec![1.0 / count as f64; count],
        v1::Prior::Base => (1..=count)
            .map(|budget| if budget == count { 1.0 } else { 0.0 })
            .collect(),
        v1::Prior::Linear | v1::Prior::Unspecified => {
            let total: f64 = budgets.iter().copied().map(f64::from).sum();
            budgets.iter().map(|budget| f64::from(*budget) / total).collect()
        }
        v1::Prior::Explicit => {
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        }
    }
}
