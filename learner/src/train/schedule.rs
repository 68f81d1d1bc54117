//! The learning rate of every optimiser update.

use anytime_proto::settings::TrainingSettings;
use anytime_proto::v1::Schedule;

/// The learning rate by update: a linear warm-up from zero, then constant or half a cosine down to zero.
#[derive(Clone, Debug)]
pub struct LearningRate {
    peak: f64,
    schedule: Schedule,
    warmup_updates: u64,
    total_updates: u64,
}

impl LearningRate {
    /// The schedule of a job, over `steps × minibatches` updates.
    pub fn new(settings: &TrainingSettings) -> Self {
        Self {
            peak: settings.learning_rate,
            schedule: settings.schedule,
            warmup_updates: settings.warmup_updates,
            total_updates: settings.steps * u64::from(settings.minibatches),
        }
    }

    /// The rate of the update with this number, from 0.
    pub fn at(&self, update: u64) -> f64 {
        if update < self.warmup_updates {
            return self.peak * (update + 1) as f64 / self.warmup_updates as f64;
        }
        if self.schedule != Schedule::Cosine {
            return self.peak;
        }
        let span = self.total_updates.saturating_sub(self.warmup_updates).max(1) as f64;
        let progress = ((update - self.warmup_updates) as f64 / span).min(1.0);
        self.peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls() {
        let rate = LearningRate {
            peak: 2.0,
            schedule: Schedule::Cosine,
            warmup_updates: 4,
            total_updates: 14,
        };
        assert_eq!([rate.at(0), rate.at(3), rate.at(4)], [0.5, 2.0, 2.0]);
        assert!((rate.at(9) - 1.0).abs() < 1e-12);
        assert!(rate.at(14).abs() < 1e-12);
        let constant = LearningRate {
            schedule: Schedule::Constant,
            ..rate
        };
        assert_eq!(constant.at(13), 2.0);
    }
}
