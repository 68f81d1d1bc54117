//! The sections of a job as plain structures, generated from the messages of spec.proto.

use crate::v1;

include!(concat!(env!("OUT_DIR"), "/sections.rs"));

impl ModelSettings {
    /// The setting that says where the job starts, with its value.
    pub fn start(&self) -> (&'static str, &str) {
        match &self.from_job {
            Some(job) => ("model.from_job", job),
            None => ("model.path", &self.path),
        }
    }
}

impl RolloutSettings {
    /// How tokens of training groups are drawn.
    pub fn sampling(&self) -> v1::Sampling {
        sampling(self.temperature, self.top_p, self.top_k)
    }

    /// What happens to the cache of a trace under way when new weights arrive, as the enumeration of a rollout plan.
    pub fn plan_cache_policy(&self) -> v1::CachePolicy {
        match self.cache_policy {
            v1::CacheChoice::Recompute => v1::CachePolicy::Recompute,
            v1::CacheChoice::Keep | v1::CacheChoice::Unspecified => v1::CachePolicy::Keep,
        }
    }
}

impl EvaluationSettings {
    /// How tokens of evaluation groups are drawn.
    pub fn sampling(&self) -> v1::Sampling {
        sampling(self.temperature, self.top_p, self.top_k)
    }
}

fn sampling(temperature: f64, top_p: f64, top_k: u32) -> v1::Sampling {
    v1::Sampling {
        temperature: temperature as f32,
        top_p: top_p as f32,
        top_k,
    }
}

impl GradingSettings {
    /// The conventions that answers are judged by, as the verifier takes them.
    pub fn conventions(&self) -> v1::Conventions {
        v1::Conventions {
            percents: self.percents.into(),
            fractions: self.fractions.into(),
            rounding: self.rounding.into(),
            units: self.units.into(),
            lists: self.lists.into(),
            brackets: self.brackets.into(),
        }
    }
}
