//! Plain statistics (mean, variance, correlation) of scores, for objectives, training steps and study reports.

use std::borrow::Borrow;

/// A variance below this is rounding: scores are of the order of one.
const NO_VARIANCE: f64 = 1e-24;

/// A mean score above this counts as right.
const RIGHT: f64 = 0.5;

/// Whether a trace with these mean scores by budget was right at an earlier budget and is not at the largest.
pub fn is_overthinking(rewards: &[f64]) -> bool {
    match rewards.split_last() {
        Some((at_end, earlier)) => *at_end <= RIGHT && earlier.iter().any(|reward| *reward > RIGHT),
        None => false,
    }
}

/// Corr[V, R]; None where one of the two does not vary.
pub fn correlation(values: &[f64], rewards: &[f64]) -> Option<f64> {
    let (value_mean, reward_mean) = (mean(values), mean(rewards));
    let products = values.iter().zip(rewards);
    let covariance = products
        .map(|(value, reward)| (value - value_mean) * (reward - reward_mean))
        .sum::<f64>()
        / values.len().max(1) as f64;
    let (value_variance, reward_variance) = (variance(values), variance(rewards));
    if value_variance < NO_VARIANCE || reward_variance < NO_VARIANCE {
        return None;
    }
    Some(covariance / (value_variance * reward_variance).sqrt())
}

/// `Var[R − V] / Var[R]`; None where R does not vary.
pub fn variance_ratio(values: &[f64], rewards: &[f64]) -> Option<f64> {
    let reward_variance = variance(rewards);
    if reward_variance < NO_VARIANCE {
        return None;
    }
    let differences: Vec<f64> = rewards
        .iter()
        .zip(values)
        .map(|(reward, value)| reward - value)
        .collect();
    Some(variance(&differences) / reward_variance)
}

/// The mean, summed in the order of the values; 0 of nothing. Takes a slice, or an iterator that knows its length.
pub fn mean<V: Borrow<f64>>(values: impl IntoIterator<Item = V, IntoIter: ExactSizeIterator>) -> f64 {
    let values = values.into_iter();
    let count = values.len().max(1) as f64;
    values.map(|value| *value.borrow()).sum::<f64>() / count
}

/// The p-value of the two-sample Kolmogorov-Smirnov test, whether two samples are of one distribution (asymptotic,
/// Numerical Recipes 14.3); 1 where one of them is empty.
pub fn kolmogorov_smirnov(one: &[f64], other: &[f64]) -> f64 {
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (one, other) = (sorted(one), sorted(other));
    let share = |values: &[f64], at: f64| values.partition_point(|value| *value <= at) as f64 / values.len() as f64;
    let distance = one
        .iter()
        .chain(&other)
        .map(|value| (share(&one, *value) - share(&other, *value)).abs())
        .fold(0.0, f64::max);
    let (n, m) = (one.len() as f64, other.len() as f64);
    let effective = (n * m / (n + m)).sqrt();
    let lambda = (effective + 0.12 + 0.11 / effective) * distance;
    if lambda.is_nan() || lambda < 0.2 {
        return 1.0;
    }
    let term = |k: i32| 2.0 * (-1.0_f64).powi(k - 1) * (-2.0 * f64::from(k * k) * lambda * lambda).exp();
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

/// The variance over the population (divided by n); 0 of nothing.
pub fn variance(values: &[f64]) -> f64 {
    let center = mean(values);
    values
        .iter()
        .map(|value| (value - center) * (value - center))
        .sum::<f64>()
        / values.len().max(1) as f64
}
