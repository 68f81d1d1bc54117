//! The rewards to go and the two baselines of BRPO, over r[g][s] and P[s].

/// R[s] = Σ_{k ≥ s} P[k]·r[k] (equation 6) of one trace.
pub fn reward_to_go(rewards: &[f64], prior: &[f64]) -> Vec<f64> {
    let mut to_go = vec![0.0; rewards.len()];
    let mut sum = 0.0;
    for segment in (0..rewards.len()).rev() {
        sum += prior[segment] * rewards[segment];
        to_go[segment] = sum;
    }
    to_go
}

/// V1[s] (equation 7) of one trace: the rewards at the budgets before s, each discounted by λ per budget of distance,
/// averaged, times the prior's weight from s on; 0 at the first segment, which has nothing before it.
pub fn previous_budgets_value(rewards: &[f64], prior: &[f64], lambda: f64) -> Vec<f64> {
    let mut values = vec![0.0; rewards.len()];
    for segment in 1..rewards.len() {
        let mut weighted = 0.0;
        let mut total = 0.0;
        for (earlier, reward) in rewards[..segment].iter().enumerate() {
            let discount = lambda.powi((segment - earlier) as i32);
            weighted += discount * reward;
            total += discount;
        }
        let prior_to_go: f64 = prior[segment..].iter().sum();
        values[segment] = weighted / total * prior_to_go;
    }
    values
}

/// V2[s] (equation 8): the mean of R[·][s] over the group, the trace itself included; 0 for a group of one, as in the
/// reference code.
pub fn mean_over_group(to_go: &[Vec<f64>]) -> Vec<f64> {
    let segments = to_go.first().map_or(0, Vec::len);
    if to_go.len() < 2 {
        return vec![0.0; segments];
    }
    (0..segments)
        .map(|segment| to_go.iter().map(|row| row[segment]).sum::<f64>() / to_go.len() as f64)
        .collect()
}
