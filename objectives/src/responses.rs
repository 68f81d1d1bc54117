//! Rewards, baselines and advantages of whole responses, for GRPO and the objectives of the related work.
//!
//! A response is a thinking with one of its A summaries at the largest budget. A summary has the advantage of its own
//! response; the thinking, which all A share, has their mean. Summaries at smaller budgets are measured, not trained.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::Analysis;
use super::baselines::previous_budgets_value;
use super::scores::ScoreTable;
use super::statistics::mean;
use super::targets::{TraceTargets, lay_out};

/// Added to a deviation, as in verl.
const EPSILON: f64 = 1e-6;

/// A score above this counts as right.
const RIGHT: f64 = 0.5;

/// The reward of every response, `[trace][summary]`.
pub(crate) type Rewards = Vec<Vec<f64>>;

pub(crate) fn is_right(score: f64) -> bool {
    score > RIGHT
}

/// λ of a response among others: 0.5 for the shortest, −0.5 for the longest, 0 where all are of one length.
pub(crate) fn relative_length_reward(length: u32, among: &[u32]) -> f64 {
    let shortest = among.iter().copied().min().unwrap_or(length);
    let longest = among.iter().copied().max().unwrap_or(length);
    if shortest == longest {
        return 0.0;
    }
    0.5 - f64::from(length - shortest) / f64::from(longest - shortest)
}

/// `reward(trace, score)` of every response.
pub(crate) fn rewards(table: &ScoreTable, reward: impl Fn(usize, f64) -> f64) -> Rewards {
    let last_budget = table.budgets().len() - 1;
    let of_trace = |(trace, columns): (usize, &Vec<Vec<f64>>)| {
        let scores = columns[last_budget].iter();
        scores.map(|score| reward(trace, *score)).collect()
    };
    table.scores().iter().enumerate().map(of_trace).collect()
}

/// The baseline of each trace: the mean reward over the group, or over the other traces. A trace that is alone is
/// compared with itself: there is nothing to learn from it.
pub(crate) fn group_baselines(rewards: &Rewards, leave_one_out: bool) -> Vec<f64> {
    let means: Vec<f64> = rewards.iter().map(mean).collect();
    let count = means.len() as f64;
    let sum: f64 = means.iter().sum();
    let without_itself = leave_one_out && means.len() > 1;
    means
        .iter()
        .map(|own| {
            if without_itself {
                (sum - own) / (count - 1.0)
            } else {
                sum / count
            }
        })
        .collect()
}

/// The analysis of an objective whose values are the same at every segment: R is the mean reward of the trace's
/// responses, V its baseline, A = (R − V)·`scale`.
pub(crate) fn analyse(
    settings: &ObjectiveSettings,
    table: &ScoreTable,
    rewards: &Rewards,
    baselines: &[f64],
    scale: f64,
) -> Analysis {
    let segments = table.budgets().len();
    let last_budget = segments - 1;
    let along_trace = |values: Vec<f64>| -> Vec<Vec<f64>> {
        let row = |value: f64| vec![value; segments];
        values.into_iter().map(row).collect()
    };
    let means: Vec<f64> = rewards.iter().map(mean).collect();
    let advantages = means.iter().zip(baselines).map(|(own, value)| (own - value) * scale);
    let advantages = along_trace(advantages.collect());

    let mut summary_advantages = Vec::with_capacity(rewards.len());
    for (columns, (own, value)) in table.scores().iter().zip(rewards.iter().zip(baselines)) {
        let mut of_trace: Vec<Vec<f64>> = columns.iter().map(|column| vec![0.0; column.len()]).collect();
        of_trace[last_budget] = own.iter().map(|reward| (reward - value) * scale).collect();
        summary_advantages.push(of_trace);
    }
    let mut base_prior = vec![0.0; segments];
    base_prior[last_budget] = 1.0;
    let scores = table.mean_per_budget();
    let own_values = scores
        .iter()
        .map(|row| previous_budgets_value(row, &base_prior, settings.lambda));
    let baseline = along_trace(baselines.to_vec());
    Analysis {
        advantages,
        reward_to_go: along_trace(means),
        previous_budgets_value: own_values.collect(),
        group_value: baseline.clone(),
        baseline,
        summary_advantages,
    }
}

/// Every thinking token weighs 1, a summary token at the largest budget what the settings say.
pub(crate) fn lay_out_responses(
    settings: &ObjectiveSettings,
    group: &v1::ScoredGroup,
    analysis: &Analysis,
) -> Vec<TraceTargets> {
    let last_budget = group.budgets.len() - 1;
    // All of equation 10's P' lies on the largest budget, because only that budget is trained.
    let summary_weight = match settings.summary_weighting {
        v1::SummaryWeighting::Equation10 => settings.summary_weight / f64::from(group.summaries_per_budget),
        v1::SummaryWeighting::Code | v1::SummaryWeighting::Unspecified => settings.summary_weight,
    };
    lay_out(
        group,
        |trace, segment| (analysis.advantages[trace][segment], 1.0),
        |trace, budget, summary| {
            let weight = if budget == last_budget { summary_weight } else { 0.0 };
            (analysis.summary_advantages[trace][budget][summary], weight)
        },
    )
}

/// The factor that expresses advantages in standard deviations of the group: 1/(σ + 1e-6) with σ the deviation of all
/// rewards as of a sample (n − 1), as in verl. It is 1 for fewer than two rewards, which have no deviation.
pub(crate) fn deviation_scale(rewards: &Rewards) -> f64 {
    let all: Vec<f64> = rewards.iter().flatten().copied().collect();
    if all.len() < 2 {
        return 1.0;
    }
    let center = mean(&all);
    let squares: f64 = all.iter().map(|value| (value - center) * (value - center)).sum();
    let deviation = (squares / (all.len() - 1) as f64).sqrt();
    1.0 / (deviation + EPSILON)
}
