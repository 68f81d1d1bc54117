//! Accuracy at every budget: leases for every problem, and the figures of the groups that came back.

use anytime_objectives::statistics::mean;
use anytime_proto::v1;

use super::bootstrap;
use super::tally::Tally;

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
            // The token is made for the actor that gets the lease.
            token: Vec::new(),
        });
    }
    leases
}

/// Accuracy per budget with 95 % intervals over problems: from a bootstrap, and half widths by the normal
/// approximation. Both are computed from the problems' means, because the samples of one problem are not independent of
/// each other. `budgets` are those of the tally's groups.
pub fn evaluation_result(tally: &Tally, budgets: &[u32]) -> v1::EvaluationResult {
    // One column per budget, and the anytime accuracy behind them.
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); budgets.len() + 1];
    let mut samples = None;
    for problem in tally.problems() {
        let mut of_problem = 0.0;
        for (column, accuracy) in columns.iter_mut().zip(&problem.accuracy) {
            column.push(*accuracy);
            of_problem += accuracy / budgets.len() as f64;
        }
        columns[budgets.len()].push(of_problem);
        samples.get_or_insert(problem.traces);
    }
    let counts = tally.counts();
    let problems = columns[budgets.len()].len();
    let intervals = bootstrap::intervals(&columns);
    let (accuracy_intervals, anytime_interval) = intervals.split_at(budgets.len());
    let anytime_interval = anytime_interval.first().copied().unwrap_or_default();
    let (mut accuracy, mut ci95): (Vec<f64>, Vec<f64>) = columns.iter().map(|column| mean_and_interval(column)).unzip();
    let anytime = accuracy.pop().unwrap_or_default();
    let anytime_ci95 = ci95.pop().unwrap_or_default();
    v1::EvaluationResult {
        budgets: budgets.to_vec(),
        r#final: accuracy.last().copied().unwrap_or(0.0),
        accuracy,
        ci95,
        anytime,
        anytime_ci95,
        mean_thinking_tokens: counts.mean_thinking_tokens(),
        problems: problems as u32,
        samples: samples.unwrap_or(0) as u32,
        generated_tokens: counts.generated_tokens(),
        formatted_share: counts.formatted_share(),
        finished_share: counts.finished_share(),
        overthinking_share: counts.overthinking_share(),
        accuracy_low: accuracy_intervals.iter().map(|interval| interval.low).collect(),
        accuracy_high: accuracy_intervals.iter().map(|interval| interval.high).collect(),
        anytime_low: anytime_interval.low,
        anytime_high: anytime_interval.high,
        ..v1::EvaluationResult::default()
    }
}

fn mean_and_interval(values: &[f64]) -> (f64, f64) {
    let mean = mean(values.iter().copied());
    let count = values.len() as f64;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, Z95 * (variance / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(tokens: usize, finish: v1::FinishReason) -> Option<v1::Generated> {
        Some(v1::Generated {
            ids: vec![1; tokens],
            log_probs: vec![-0.5; tokens],
            versions: vec![0; tokens],
            finish: finish.into(),
        })
    }

    /// A trace of three thinking tokens, cut at the budget 2 and ended before the budget 4, with one summary of two
    /// tokens at each.
    fn trace(finish: v1::FinishReason, scores: [f32; 2]) -> v1::Trace {
        let nodes = [(2, 0), (3, 1)]
            .into_iter()
            .zip(scores)
            .map(|((cut, first_budget), score)| v1::Node {
                cut,
                first_budget,
                multiplicity: 1,
                inserted_ids: vec![7],
                summaries: vec![v1::Summary {
                    generated: generated(2, v1::FinishReason::Eos),
                    formatted: score > 0.0,
                    score,
                    ..Default::default()
                }],
            });
        v1::Trace {
            thinking: generated(3, finish),
            nodes: nodes.collect(),
        }
    }

    fn group(traces: Vec<v1::Trace>) -> v1::ScoredGroup {
        v1::ScoredGroup {
            budgets: vec![2, 4],
            summaries_per_budget: 1,
            traces,
            ..Default::default()
        }
    }

    /// The result of groups that are of one problem each.
    fn result_of(groups: &[v1::ScoredGroup]) -> v1::EvaluationResult {
        let mut tally = Tally::new((0..groups.len()).map(|place| place..place + 1).collect(), 2);
        for (place, group) in groups.iter().enumerate() {
            tally.add(place, group);
        }
        evaluation_result(&tally, &[2, 4])
    }

    #[test]
    fn shares_and_intervals_of_an_evaluation() {
        use v1::FinishReason::{EndMarker, Eos};
        let groups = [
            // Right early and wrong late: the definition of overthinking.
            group(vec![trace(EndMarker, [1.0, 0.0]), trace(EndMarker, [0.0, 1.0])]),
            group(vec![trace(Eos, [0.0, 0.0]), trace(EndMarker, [1.0, 1.0])]),
        ];
        for group in &groups {
            anytime_proto::check_group(group).expect("a valid group");
        }
        let result = result_of(&groups);
        assert_eq!(result.accuracy, [0.5, 0.5]);
        assert_eq!((result.anytime, result.r#final), (0.5, 0.5));
        assert_eq!((result.problems, result.samples), (2, 2));
        assert_eq!(result.mean_thinking_tokens, 3.0);
        assert_eq!(result.generated_tokens, 4 * 3 + 8 * 2);
        assert_eq!(result.formatted_share, 0.5);
        assert_eq!(result.finished_share, 0.75);
        assert_eq!(result.overthinking_share, 0.25);
        // Both problems have a mean of one half everywhere: resampling them changes nothing.
        assert_eq!(
            (&result.accuracy_low, &result.accuracy_high),
            (&vec![0.5; 2], &vec![0.5; 2])
        );
        assert_eq!((result.anytime_low, result.anytime_high), (0.5, 0.5));

        let unequal = [
            group(vec![trace(EndMarker, [0.0, 1.0])]),
            group(vec![trace(EndMarker, [0.0, 0.0])]),
        ];
        let result = result_of(&unequal);
        assert_eq!(
            (result.accuracy_low, result.accuracy_high),
            (vec![0.0, 0.0], vec![0.0, 1.0])
        );
        assert_eq!((result.anytime_low, result.anytime_high), (0.0, 0.5));
        let nothing = result_of(&[]);
        assert_eq!((nothing.accuracy, nothing.anytime), (vec![0.0, 0.0], 0.0));
    }

    #[test]
    fn means_and_intervals_over_problems() {
        let (mean, half_width) = mean_and_interval(&[0.0, 1.0, 1.0, 0.0]);
        assert_eq!(mean, 0.5);
        // Standard deviation √(1/3), over √4.
        assert!((half_width - 1.959_964 * (1.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-9);
        assert_eq!(mean_and_interval(&[0.3]), (0.3, 0.0));
    }
}
