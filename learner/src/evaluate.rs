//! Accuracy at every budget: leases for every problem, and the figures of the groups that come back.

use anytime_objectives::ScoreTable;
use anytime_proto::v1;

/// Two-sided 95 % of the normal distribution.
const Z95: f64 = 1.959_964;

/// One lease per problem. Group ids hold the step, so that two evaluations of a job do not mix.
pub fn evaluation_leases(
    job_id: &str,
    step: u64,
    problems: &[v1::Problem],
    plan: &v1::RolloutPlan,
    seed: u64,
    weights: (u64, String),
    seconds: u32,
) -> Vec<v1::Lease> {
    let (version, manifest_checksum) = weights;
    let mut leases = Vec::with_capacity(problems.len());
    for (index, problem) in problems.iter().enumerate() {
        leases.push(v1::Lease {
            job_id: job_id.to_owned(),
            group_id: format!("{job_id}/evaluate/{step}/{index:06}"),
            purpose: v1::Purpose::Evaluate.into(),
            problem: Some(problem.clone()),
            plan: Some(plan.clone()),
            // The same problem draws the same numbers in every evaluation: what differs is the weights.
            seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index as u64),
            min_weights_version: version,
            manifest_checksum: manifest_checksum.clone(),
            seconds,
        });
    }
    leases
}

/// Accuracy per budget with 95 % intervals over problems (normal approximation on the problems' means: the samples of
/// one problem are not independent of each other).
pub fn evaluation_result(groups: &[v1::ScoredGroup], budgets: &[u32]) -> v1::EvaluationResult {
    let mut per_budget: Vec<Vec<f64>> = vec![Vec::with_capacity(groups.len()); budgets.len()];
    let mut anytime_per_problem = Vec::with_capacity(groups.len());
    let mut traces = 0_u64;
    let mut thinking_tokens = 0_u64;
    let mut generated_tokens = 0_u64;
    for group in groups {
        let rewards = ScoreTable::of_group(group).mean_per_budget();
        let mut of_problem = 0.0;
        for (budget, column) in per_budget.iter_mut().enumerate() {
            let mean = rewards.iter().map(|row| row[budget]).sum::<f64>() / rewards.len() as f64;
            column.push(mean);
            of_problem += mean / budgets.len() as f64;
        }
        anytime_per_problem.push(of_problem);
        traces += group.traces.len() as u64;
        thinking_tokens += thinking_tokens_of(group);
        generated_tokens += generated_tokens_of(group);
    }
    let (anytime, anytime_ci95) = mean_and_interval(&anytime_per_problem);
    let (accuracy, ci95): (Vec<f64>, Vec<f64>) = per_budget.iter().map(|column| mean_and_interval(column)).unzip();
    v1::EvaluationResult {
        budgets: budgets.to_vec(),
        r#final: accuracy.last().copied().unwrap_or(0.0),
        accuracy,
        ci95,
        anytime,
        anytime_ci95,
        mean_thinking_tokens: thinking_tokens as f64 / traces.max(1) as f64,
        problems: groups.len() as u32,
        samples: groups.first().map_or(0, |group| group.traces.len() as u32),
        generated_tokens,
        ..v1::EvaluationResult::default()
    }
}

/// Thinking tokens of all traces.
pub fn thinking_tokens_of(group: &v1::ScoredGroup) -> u64 {
    group
        .traces
        .iter()
        .filter_map(|trace| trace.thinking.as_ref())
        .map(|thinking| thinking.ids.len() as u64)
        .sum()
}

/// Generated tokens of all traces and summaries.
pub fn generated_tokens_of(group: &v1::ScoredGroup) -> u64 {
    let summaries = group
        .traces
        .iter()
        .flat_map(|trace| &trace.nodes)
        .flat_map(|node| &node.summaries);
    let of_summaries: u64 = summaries
        .filter_map(|summary| summary.generated.as_ref())
        .map(|generated| generated.ids.len() as u64)
        .sum();
    thinking_tokens_of(group) + of_summaries
}

fn mean_and_interval(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, Z95 * (variance / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_intervals_over_problems() {
        let (mean, half_width) = mean_and_interval(&[0.0, 1.0, 1.0, 0.0]);
        assert_eq!(mean, 0.5);
        // Standard deviation √(1/3), over √4.
        assert!((half_width - 1.959_964 * (1.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-9);
        assert_eq!(mean_and_interval(&[0.3]), (0.3, 0.0));
    }
}
