//! The rewards to go and the baselines of BRPO over `r[g][s]` and `P[s]` (equations 6 to 9).

use anytime_proto::v1;

/// `R[s] = Σ_{k ≥ s} P[k]·r[k]` (equation 6) of one trace.
pub fn reward_to_go(rewards: &[f64], prior: &[f64]) -> Vec<f64> {
    let mut to_go = vec![0.0; rewards.len()];
    let mut sum = 0.0;
    for segment in (0..rewards.len()).rev() {
        sum += prior[segment] * rewards[segment];
        to_go[segment] = sum;
    }
    to_go
}

/// `V1[s]` (equation 7) of one trace: the rewards at the budgets before s, each discounted by λ per budget of distance,
/// averaged, times the prior's weight from s on; 0 at the first segment, which has nothing before it.
pub fn previous_budgets_value(rewards: &[f64], prior: &[f64], lambda: f64) -> Vec<f64> {
    let mut values = vec![0.0; rewards.len()];
    for segment in 1..rewards.len() {
        let mut weighted = 0.0;
        let mut total = 0.0;
        for (earlier, reward) in rewards[..segment].iter().enumerate() {
            // One factor λ less than in equation 7: it cancels, and the nearest budget counts however small λ is.
            let discount = lambda.powi((segment - earlier) as i32 - 1);
            weighted += discount * reward;
            total += discount;
        }
        let prior_to_go: f64 = prior[segment..].iter().sum();
        values[segment] = weighted / total * prior_to_go;
    }
    values
}

/// `V2[g][s]` (equation 8): the mean of `R[·][s]` over the group, the trace itself included. It is 0 for a group of
/// one, as in the reference code.
pub fn mean_over_group(to_go: &[Vec<f64>]) -> Vec<Vec<f64>> {
    if to_go.len() < 2 {
        return zeros_like(to_go);
    }
    let mean = sums(to_go).iter().map(|sum| sum / to_go.len() as f64).collect();
    vec![mean; to_go.len()]
}

/// `V2[g][s]` without the trace itself: the mean of `R[·][s]` over the other G − 1 traces, which does not depend on
/// what trace g did. It is 0 for a group of one.
pub fn mean_over_others(to_go: &[Vec<f64>]) -> Vec<Vec<f64>> {
    if to_go.len() < 2 {
        return zeros_like(to_go);
    }
    let sums = sums(to_go);
    let others = (to_go.len() - 1) as f64;
    to_go
        .iter()
        .map(|row| row.iter().zip(&sums).map(|(own, sum)| (sum - own) / others).collect())
        .collect()
}

/// The weight of V1 in V at segment s; V2 has the rest: s/S (equation 9), or the share of the largest budget that has
/// been used when the segment begins (Figure 1).
pub fn share_of_previous(mix: v1::Mix, budgets: &[u32], segment: usize) -> f64 {
    match mix {
        v1::Mix::Budget => {
            let begin = segment.checked_sub(1).map_or(0, |previous| budgets[previous]);
            f64::from(begin) / f64::from(budgets[budgets.len() - 1])
        }
        v1::Mix::Index | v1::Mix::Unspecified => segment as f64 / budgets.len() as f64,
    }
}

fn sums(rows: &[Vec<f64>]) -> Vec<f64> {
    let segments = rows.first().map_or(0, Vec::len);
    (0..segments)
        .map(|segment| rows.iter().map(|row| row[segment]).sum())
        .collect()
}

fn zeros_like(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    rows.iter().map(|row| vec![0.0; row.len()]).collect()
}
