//! Whether a run kept what it had learnt: the mean reward over ten steps in a row, against the best such mean before it.

use anytime_objectives::statistics::mean;
use anytime_proto::v1;
use serde::{Deserialize, Serialize};

/// Steps whose rewards are averaged: one step's reward is noise.
const WINDOW: usize = 10;
/// A run has fallen when its reward is below this share of its best.
pub const FALL: f64 = 0.8;
/// Steps at the end whose mean says where a run ended.
const LAST: usize = 20;

/// How a run's reward at the largest budget went.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Stability {
    /// The best mean of ten steps in a row.
    pub best: f64,
    /// The lowest ratio of a mean of ten steps to the best such mean before it; 1 where the reward only rose.
    pub lowest_share: f64,
    /// The mean reward of the ten steps with that lowest ratio.
    pub lowest: f64,
    /// The last of these ten steps.
    pub lowest_step: u64,
    /// The mean of the last 20 steps.
    pub last: f64,
    /// The largest norm of a gradient before clipping.
    pub largest_norm: f64,
    /// The largest share of one token in the gradient of an update.
    pub largest_token_share: f64,
    /// The largest update, in units of the learning rate.
    pub largest_update: f64,
}

impl Stability {
    /// The stability of a job, from its steps in order; None where there are fewer than ten.
    pub fn of(series: &[v1::StepMetrics]) -> Option<Self> {
        let rewards: Vec<f64> = series.iter().map(|step| step.r#final).collect();
        let means: Vec<f64> = rewards.windows(WINDOW).map(mean).collect();
        let mut best = *means.first()?;
        let mut worst = Self {
            best,
            lowest_share: 1.0,
            lowest: best,
            lowest_step: series[WINDOW - 1].step,
            last: mean(&rewards[rewards.len().saturating_sub(LAST)..]),
            largest_norm: largest(series, |step| step.gradient_norm),
            largest_token_share: largest(series, |step| step.largest_token_share),
            largest_update: largest(series, |step| step.update_size),
        };
        for (index, &value) in means.iter().enumerate() {
            best = best.max(value);
            let share = if best > 0.0 { value / best } else { 1.0 };
            if share < worst.lowest_share {
                worst.lowest_share = share;
                worst.lowest = value;
                worst.lowest_step = series[index + WINDOW - 1].step;
            }
        }
        Some(Self { best, ..worst })
    }

    /// Whether the run fell.
    pub fn fell(&self) -> bool {
        self.lowest_share < FALL
    }
}

fn largest(series: &[v1::StepMetrics], figure: fn(&v1::StepMetrics) -> f64) -> f64 {
    series.iter().map(figure).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rewards: impl IntoIterator<Item = f64>) -> Vec<v1::StepMetrics> {
        let step = |(index, reward): (usize, f64)| v1::StepMetrics {
            step: index as u64 + 1,
            r#final: reward,
            gradient_norm: reward / 10.0,
            ..Default::default()
        };
        rewards.into_iter().enumerate().map(step).collect()
    }

    #[test]
    fn a_run_that_falls_and_comes_back_has_fallen() {
        let mut rewards = vec![0.9; 100];
        rewards[50..70].fill(0.3);
        let found = Stability::of(&series(rewards)).unwrap();
        assert!(found.fell(), "{found:?}");
        assert!((found.best - 0.9).abs() < 1e-9 && (found.last - 0.9).abs() < 1e-9);
        assert!((found.lowest - 0.3).abs() < 1e-9 && (found.lowest_share - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(found.lowest_step, 60);
        assert!((found.largest_norm - 0.09).abs() < 1e-9);
    }

    #[test]
    fn learning_and_noise_are_no_fall() {
        let rising = (0..200).map(|step| f64::from(step) / 200.0);
        assert_eq!(Stability::of(&series(rising)).unwrap().lowest_share, 1.0);
        // One bad step of ten.
        let mut rewards = vec![1.0; 100];
        rewards[40] = 0.0;
        assert!(!Stability::of(&series(rewards)).unwrap().fell());
        assert!(!Stability::of(&series(vec![0.0; 30])).unwrap().fell());
        assert_eq!(Stability::of(&series(vec![1.0; 9])), None);
    }

    #[test]
    fn a_bad_beginning_is_no_fall() {
        let rewards = std::iter::repeat_n(0.1, 30).chain(std::iter::repeat_n(0.8, 30));
        assert!(!Stability::of(&series(rewards)).unwrap().fell());
    }
}
