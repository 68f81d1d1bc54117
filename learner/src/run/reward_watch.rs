//! A watch over the reward of a run: a run that collapses says so.
//!
//! The mean reward at the largest budget over the last 20 steps is compared with the best such mean of the run. Below
//! 0.8 of it the reward has *fallen*, below 0.5 it has *collapsed*; above 0.9 it is back. A difference counts only where
//! it is beyond what the spread of the steps explains (four standard errors of the two means), so that a run of small
//! batches is not said to fall because one of its windows was lucky.

use std::collections::VecDeque;

use anytime_proto::v1;
use serde::{Deserialize, Serialize};

/// Steps over which a mean is taken.
const WINDOW: usize = 20;

/// Shares of the best below which the reward has fallen, has collapsed, and above which it is back.
const FALLEN: f64 = 0.8;
const COLLAPSED: f64 = 0.5;
const BACK: f64 = 0.9;

/// A best reward below this is too low for a fall to mean anything.
const LEAST_BEST: f64 = 0.05;

/// How many standard errors a difference must have.
const ERRORS: f64 = 4.0;

/// How far the reward is below its best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    #[default]
    Well,
    Fallen,
    Collapsed,
}

/// The mean of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    value: f64,
    /// Its standard error.
    error: f64,
}

/// What the watch has to say after a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// The current mean as a share of the best; none before the first full window.
    pub(super) share: Option<f64>,
    /// A sentence, where the level has changed.
    pub(super) says: Option<String>,
}

/// The notice after an evaluation whose accuracy at the largest budget is far below the best of the earlier ones,
/// beyond its own interval; none otherwise.
pub(super) fn said_of_accuracy(earlier: &[v1::EvaluationResult], now: &v1::EvaluationResult) -> Option<String> {
    let best = earlier
        .iter()
        .filter(|one| one.step < now.step)
        .max_by(|one, other| one.r#final.total_cmp(&other.r#final))?;
    let high = now.accuracy_high.last().copied().unwrap_or(now.r#final);
    if best.r#final < LEAST_BEST || high >= best.r#final {
        return None;
    }
    let share = now.r#final / best.r#final;
    let what = if share < COLLAPSED {
        "has collapsed"
    } else if share < FALLEN {
        "has fallen"
    } else {
        return None;
    };
    Some(format!(
        "the accuracy at the largest budget {what}: it is {:.3} at step {}, after {:.3} at step {}",
        now.r#final, now.step, best.r#final, best.step
    ))
}

/// The rewards of the last steps and the best that they were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RewardWatch {
    last: VecDeque<f64>,
    best: Mean,
    best_step: u64,
    level: Level,
}

impl RewardWatch {
    /// The watch as a recovery checkpoint kept it; a new one where it kept none.
    pub(super) fn restore(state: Option<&serde_json::Value>) -> Self {
        state
            .and_then(|state| serde_json::from_value(state.clone()).ok())
            .unwrap_or_default()
    }

    /// For the recovery checkpoint; none before the first step.
    pub(super) fn state(&self) -> Option<serde_json::Value> {
        if self.last.is_empty() {
            return None;
        }
        serde_json::to_value(self).ok()
    }

    /// Takes the reward of a step in.
    pub(super) fn add(&mut self, step: u64, reward: f64) -> Seen {
        self.last.push_back(reward);
        if self.last.len() > WINDOW {
            self.last.pop_front();
        }
        if self.last.len() < WINDOW {
            return Seen {
                share: None,
                says: None,
            };
        }
        let current = self.mean();
        if current.value > self.best.value {
            (self.best, self.best_step) = (current, step);
        }
        if self.best.value < LEAST_BEST {
            return Seen {
                share: None,
                says: None,
            };
        }
        let share = current.value / self.best.value;
        let level = self.level_of(current, share);
        let changed = std::mem::replace(&mut self.level, level) != level;
        Seen {
            share: Some(share),
            says: changed.then(|| self.sentence(step, current)),
        }
    }

    /// A run that recovers leaves a level only once its reward is fully back.
    fn level_of(&self, current: Mean, share: f64) -> Level {
        if share >= BACK {
            return Level::Well;
        }
        let noise = ERRORS * self.best.error.hypot(current.error);
        let below = if self.best.value - current.value <= noise {
            Level::Well
        } else if share < COLLAPSED {
            Level::Collapsed
        } else if share < FALLEN {
            Level::Fallen
        } else {
            Level::Well
        };
        below.max(self.level)
    }

    fn sentence(&self, step: u64, current: Mean) -> String {
        let (now, best, at) = (current.value, self.best.value, self.best_step);
        let compared = format!(
            "the reward at the largest budget is {now:.3} over the {WINDOW} steps up to {step}, after {best:.3} up to \
             step {at}"
        );
        match self.level {
            Level::Well => format!("the reward is back: {compared}"),
            Level::Fallen => format!("the reward has fallen: {compared}"),
            Level::Collapsed => format!("the reward has collapsed: {compared}"),
        }
    }

    fn mean(&self) -> Mean {
        let count = self.last.len() as f64;
        let value = self.last.iter().sum::<f64>() / count;
        let variance = self.last.iter().map(|one| (one - value).powi(2)).sum::<f64>() / (count - 1.0);
        Mean {
            value,
            error: (variance / count).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, with the step, when these rewards come one after the other.
    fn said(rewards: impl IntoIterator<Item = f64>) -> Vec<(u64, String)> {
        let mut watch = RewardWatch::default();
        let mut said = Vec::new();
        for (step, reward) in (1..).zip(rewards) {
            // As a restart would, at every step.
            watch = RewardWatch::restore(watch.state().as_ref());
            said.extend(watch.add(step, reward).says.map(|says| (step, says)));
        }
        said
    }

    /// Alternates around a mean.
    fn around(mean: f64, spread: f64, steps: usize) -> impl Iterator<Item = f64> {
        (0..steps).map(move |step| {
            if step.is_multiple_of(2) {
                mean + spread
            } else {
                mean - spread
            }
        })
    }

    #[test]
    fn a_collapse_is_said_once_and_so_is_the_way_back() {
        let rewards = around(0.2, 0.02, 30)
            .chain(around(0.98, 0.01, 100))
            .chain(around(0.07, 0.02, 100))
            .chain(around(0.97, 0.01, 60));
        let said = said(rewards);
        let words: Vec<&str> = said
            .iter()
            .map(|(_, says)| says.split(':').next().expect("a sentence"))
            .collect();
        assert_eq!(
            words,
            [
                "the reward has fallen",
                "the reward has collapsed",
                "the reward is back"
            ]
        );
        // Within one window of the fall.
        assert!(said[0].0 > 130 && said[1].0 <= 130 + WINDOW as u64, "{said:?}");
        assert!(said[1].1.contains("after 0.980"), "{said:?}");
    }

    #[test]
    fn an_evaluation_far_below_the_best_is_said() {
        let result = |step: u64, accuracy: f64, high: f64| v1::EvaluationResult {
            step,
            r#final: accuracy,
            accuracy_high: vec![high],
            ..Default::default()
        };
        let earlier = [result(0, 0.4, 0.45), result(20, 0.9, 0.93), result(40, 0.85, 0.9)];
        let said = |accuracy: f64, high: f64| said_of_accuracy(&earlier, &result(60, accuracy, high));
        assert!(
            said(0.3, 0.35).is_some_and(|says| says.contains("has collapsed") && says.contains("0.900 at step 20"))
        );
        assert!(said(0.7, 0.75).is_some_and(|says| says.contains("has fallen")));
        assert_eq!(said(0.8, 0.85), None);
        // Within what a few problems can show.
        assert_eq!(said(0.6, 0.95), None);
        assert_eq!(said_of_accuracy(&[], &result(60, 0.0, 0.0)), None);
    }

    #[test]
    fn a_fall_that_is_none_is_not_said() {
        // Climbs, and stays.
        assert!(said((0..300).map(|step| f64::from(step) / 300.0)).is_empty());
        // Dips to 0.85 of its best.
        assert!(said(around(0.8, 0.05, 60).chain(around(0.68, 0.05, 60))).is_empty());
        // Never had a reward to speak of.
        assert!(said(around(0.03, 0.02, 60).chain(around(0.0, 0.0, 60))).is_empty());
        // Two windows that differ by less than their steps do.
        assert!(said(around(0.30, 0.3, 60).chain(around(0.18, 0.18, 60))).is_empty());
    }
}
