//! Percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13): the interval of a mean is
//! where the middle 95 % of the means of resamples lie.
//!
//! Problems are resampled, not traces: the traces of one problem are not independent of each other. All columns
//! (budgets and their mean) are read off the same resamples. The seed is fixed, so that the same scores give the same
//! interval.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How many resamples are drawn.
const RESAMPLES: usize = 2000;

/// The share of resamples below the lower end of the interval, and above its upper end.
const TAIL: f64 = 0.025;

const SEED: u64 = 0;

/// The ends of a 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The interval of each column's mean. `columns[c][i]` is what problem i has in column c; all columns are of one
/// length. Without problems every interval is zero.
pub fn intervals(columns: &[Vec<f64>]) -> Vec<Interval> {
    let problems = columns.first().map_or(0, Vec::len);
    debug_assert!(columns.iter().all(|column| column.len() == problems));
    if problems == 0 {
        return vec![Interval::default(); columns.len()];
    }
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut means: Vec<Vec<f64>> = vec![Vec::with_capacity(RESAMPLES); columns.len()];
    let mut drawn = vec![0_usize; problems];
    for _ in 0..RESAMPLES {
        drawn.fill_with(|| random.random_range(0..problems));
        for (column, means) in columns.iter().zip(&mut means) {
            let sum: f64 = drawn.iter().map(|problem| column[*problem]).sum();
            means.push(sum / problems as f64);
        }
    }
    means
        .into_iter()
        .map(|mut means| {
            means.sort_unstable_by(f64::total_cmp);
            Interval {
                low: quantile(&means, TAIL),
                high: quantile(&means, 1.0 - TAIL),
            }
        })
        .collect()
}

/// The quantile of sorted values, by linear interpolation (Hyndman and Fan's type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(values: &[f64]) -> Interval {
        intervals(&[values.to_vec()])[0]
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[1.0], 0.975), 1.0);
    }

    #[test]
    fn few_problems_give_the_quantiles_of_their_binomial() {
        // The mean of a resample of {0, 1} is 0, ½ or 1 with probabilities ¼, ½, ¼.
        assert_eq!(interval(&[0.0, 1.0]), Interval { low: 0.0, high: 1.0 });
        // Ten of which five are right: 10 times the mean is binomial(10, ½), P(X ≤ 1) = 0.011, P(X ≤ 2) = 0.055.
        let half = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(interval(&half), Interval { low: 0.2, high: 0.8 });
        assert_eq!(interval(&[0.25; 9]), Interval { low: 0.25, high: 0.25 });
        assert_eq!(interval(&[0.3]), Interval { low: 0.3, high: 0.3 });
        assert_eq!(interval(&[]), Interval::default());
    }

    #[test]
    fn many_problems_give_the_normal_interval() {
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 5) / 4.0).collect();
        // Mean ½, variance of {0, ¼, ½, ¾, 1} is ⅛.
        let half_width = 1.959_964 * (0.125_f64 / 400.0).sqrt();
        let found = interval(&values);
        assert!((found.low - (0.5 - half_width)).abs() < 0.05 * half_width, "{found:?}");
        assert!((found.high - (0.5 + half_width)).abs() < 0.05 * half_width, "{found:?}");
    }

    #[test]
    fn columns_share_their_resamples_and_nothing_changes_from_call_to_call() {
        let column: Vec<f64> = (0..30).map(|index| f64::from(index % 3)).collect();
        let doubled: Vec<f64> = column.iter().map(|value| 2.0 * value).collect();
        let found = intervals(&[column.clone(), doubled]);
        assert_eq!(found[1].low, 2.0 * found[0].low);
        assert_eq!(found[1].high, 2.0 * found[0].high);
        assert_eq!(interval(&column), found[0]);
    }

    /// Data sets of 40 problems, each a mean over four traces whose chance of being right differs by problem: the
    /// interval holds the true accuracy as often as it promises. Percentile intervals of 40 values fall a little short.
    #[test]
    fn the_interval_covers_the_truth() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let (data_sets, problems, truth) = (400, 40, 1.0 / 3.0);
        let mut covered = 0;
        for _ in 0..data_sets {
            let mut values = Vec::with_capacity(problems);
            for _ in 0..problems {
                // The square of a uniform number has the mean ⅓.
                let chance = random.random::<f64>().powi(2);
                let right = (0..4).filter(|_| random.random::<f64>() < chance).count();
                values.push(right as f64 / 4.0);
            }
            let found = interval(&values);
            covered += usize::from((found.low..=found.high).contains(&truth));
        }
        let share = f64::from(covered as u32) / f64::from(data_sets);
        // Four standard errors around 0.94: √(0.94·0.06/400) = 0.012.
        assert!((0.892..=0.988).contains(&share), "{share}");
    }
}
