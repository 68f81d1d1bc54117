//! What a report takes, by arithmetic, before any of it is done: the most memory at a time and, roughly, the time.

use anytime_policy::ModelConfig;
use anytime_policy::actor_memory::{ActorMemory, ModelSizes, Place};
use tch::Kind;

use super::cases::GpuCases;

/// Bytes of a parameter in training: master, gradient and two moments in f32.
const BYTES_OF_A_PARAMETER: u64 = 16;
/// What CUDA itself and the spaces of its libraries take.
const CONTEXT: u64 = 2 << 30;
/// Logits of a chunk of tokens and what is made of them.
const LOGITS: u64 = 4 << 30;

/// Seconds of a decoding step where its launches bind it, as they do at most of the sizes here.
const STEP_SECONDS: f64 = 0.015;
/// Operations a second in bf16 and in f32 that any card with this much memory reaches in training.
const FLOP_PER_SECOND: [f64; 2] = [1e14, 1.5e13];
/// The check against the CPU, the peaks, and drawing weights.
const OTHER_SECONDS: f64 = 60.0;

/// What a report takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The most device memory at a time, in bytes.
    pub bytes: u64,
    /// From the first case to the last.
    pub seconds: f64,
}

impl Estimate {
    /// The estimate of a report in `kind`, a few of whose cases run in f32 as well.
    pub fn new(config: &ModelConfig, kind: Kind, cases: &GpuCases) -> Self {
        let sizes = ModelSizes::from(config);
        let kinds = if kind == Kind::Float {
            vec![kind]
        } else {
            vec![kind, Kind::Float]
        };
        let generation = |kind: &Kind| {
            let needs = ActorMemory::new(&sizes, kind.elt_size_in_bytes() as u64, cases.slots as u64, Place::Cuda);
            // The weights as they were drawn, and the decoder's beside them while it joins layers.
            needs.next + needs.step + cases.cache_bytes() as u64
        };
        let tokens = cases.training_case().packed_tokens() as u64;
        let longest = cases.mixed_cases().iter().map(|case| case.packed_tokens() as u64).max();
        let together = tokens.max(longest.unwrap_or(0)).max(1);
        let training = |kind: &Kind| {
            let element = kind.elt_size_in_bytes() as u64;
            let copy = if *kind == Kind::Float { 0 } else { element };
            // The input of every layer, and all that one layer keeps.
            let kept = sizes.layers * sizes.hidden * element;
            let layer =
                (8 * sizes.hidden + 3 * sizes.query_width + 4 * sizes.key_width + 4 * sizes.intermediate) * element;
            sizes.parameters() * (BYTES_OF_A_PARAMETER + copy) + together * (kept + layer) + LOGITS
        };
        let most = kinds.iter().flat_map(|kind| [generation(kind), training(kind)]).max();
        Self {
            bytes: most.unwrap_or(0) + CONTEXT,
            seconds: Self::seconds(sizes.in_products() as f64, kind, cases),
        }
    }

    fn seconds(parameters: f64, kind: Kind, cases: &GpuCases) -> f64 {
        let runs = (cases.repetitions + 1) as f64;
        // Each batch, and one of them in f32.
        let decode = (cases.batches.len() + 1) as f64 * runs * cases.new_tokens as f64;
        let steady = cases.steady_case();
        let steady_tokens = (steady.thinking_tokens() + steady.summary_tokens_in_all()) as f64;
        let rollout = cases.rollout_case();
        let summaries = rollout.summary_tokens_in_all() as f64 / cases.slots.max(1) as f64;
        let thinking = cases.budgets.last().copied().unwrap_or(0) as f64;
        // Rollouts, the thinking alone, and two waves.
        let rollouts = runs * (2.0 * thinking + 3.0 * summaries + 32.0);
        // The slots are not full to the end.
        let steps = decode + rollouts + 2.0 * 1.5 * steady_tokens / steady.slots.max(1) as f64 + steady.longest as f64;
        // Forward, backward and forward again; one more for the log-probabilities that it starts from.
        let update = |tokens: usize, place: usize| 10.0 * parameters * tokens as f64 / FLOP_PER_SECOND[place];
        let own = usize::from(kind == Kind::Float);
        let tokens = cases.training_case().packed_tokens();
        let mixed: usize = cases.mixed_cases().iter().map(|case| case.packed_tokens()).sum();
        let training = runs * (update(tokens, own) + update(mixed, own) + update(tokens, 1));
        OTHER_SECONDS + steps * STEP_SECONDS + training
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::model::Shape;

    #[derive(clap::Parser)]
    struct Defaults {
        #[command(flatten)]
        cases: GpuCases,
    }

    #[test]
    fn the_report_fits_eighty_gigabytes_and_eight_minutes() {
        let cases = Defaults::parse_from(["report"]).cases;
        let config = ModelConfig::from_json(&Shape::R1DistillQwen.config_json().to_string()).expect("a shape");
        let estimate = Estimate::new(&config, Kind::BFloat16, &cases);
        // The rest of the 80 GB is for fragmentation.
        assert!(estimate.bytes < 72_000_000_000, "{estimate:?}");
        assert!(estimate.bytes > 30_000_000_000, "{estimate:?}");
        assert!(estimate.seconds < 480.0, "{estimate:?}");
        assert!(estimate.seconds > OTHER_SECONDS, "{estimate:?}");
    }
}
