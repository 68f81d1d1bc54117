//! How large the cases of a report are.

use crate::decode::DecodeCase;
use crate::rollout::RolloutCase;
use crate::steady::SteadyCase;
use crate::training::TrainingCase;

/// How large the cases are.
#[derive(Clone, Debug, clap::Args)]
pub struct GpuCases {
    /// Sequences decoded at the same time
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    pub batches: Vec<usize>,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 128)]
    pub prompt_tokens: usize,
    /// Tokens drawn in each sequence of the decoding cases
    #[arg(long, default_value_t = 128)]
    pub new_tokens: usize,
    /// Thinking tokens at which rollouts are summarised
    #[arg(long, value_delimiter = ',', default_value = "64,128,192,256")]
    pub budgets: Vec<u32>,
    /// Traces of each of two groups, and of an update
    #[arg(long, default_value_t = 16)]
    pub traces: usize,
    /// Sequences that run at the same time in rollouts
    #[arg(long, default_value_t = 256)]
    pub slots: usize,
    /// Memory of the key-value cache in GiB
    #[arg(long, default_value_t = 16)]
    pub cache_gib: usize,
    /// Groups of the steady case, each of another length
    #[arg(long, default_value_t = 8)]
    pub steady_groups: usize,
    /// Thinking tokens of the shortest group of the steady case
    #[arg(long, default_value_t = 256)]
    pub steady_shortest: usize,
    /// Thinking tokens of its longest group
    #[arg(long, default_value_t = 2048)]
    pub steady_longest: usize,
    /// Sequences that run at the same time in the steady case
    #[arg(long, default_value_t = 96)]
    pub steady_slots: usize,
    /// Thinking tokens of each row of the update with mixed lengths
    #[arg(long, value_delimiter = ',', default_value = "512,1024,2048,3072,4608,6144")]
    pub mixed_lengths: Vec<u32>,
    /// Runs of each case that count, after the first, which is reported by itself
    #[arg(long, default_value_t = 2)]
    pub repetitions: usize,
}

impl GpuCases {
    pub(super) fn cache_bytes(&self) -> usize {
        self.cache_gib << 30
    }

    pub(super) fn decode_case(&self, batch: usize, new_tokens: usize) -> DecodeCase {
        // Up to 16 sequences share a prompt, as traces of a group do.
        let traces = if batch.is_multiple_of(16) { 16 } else { 1 };
        DecodeCase {
            prompts: batch / traces,
            traces,
            prompt_tokens: self.prompt_tokens,
            new_tokens,
            deterministic: false,
        }
    }

    pub(super) fn rollout_case(&self) -> RolloutCase {
        RolloutCase {
            groups: 2,
            traces: self.traces,
            prompt_tokens: self.prompt_tokens,
            budgets: self.budgets.clone(),
            summaries: 4,
            summary_tokens: 16,
            slots: self.slots,
        }
    }

    pub(super) fn steady_case(&self) -> SteadyCase {
        SteadyCase {
            groups: self.steady_groups,
            traces: self.traces,
            prompt_tokens: self.prompt_tokens,
            shortest: self.steady_shortest,
            longest: self.steady_longest,
            summaries: 2,
            summary_tokens: 16,
            slots: self.steady_slots,
        }
    }

    pub(super) fn training_case(&self) -> TrainingCase {
        TrainingCase {
            traces: self.traces,
            prompt_tokens: self.prompt_tokens,
            budgets: self.budgets.clone(),
            summaries: 4,
            summary_tokens: 16,
        }
    }

    /// One trace for each length, so that every row is of another.
    pub(super) fn mixed_cases(&self) -> Vec<TrainingCase> {
        let case = |&length: &u32| TrainingCase {
            traces: 1,
            budgets: (1..=4).map(|part| length * part / 4).collect(),
            ..self.training_case()
        };
        self.mixed_lengths.iter().map(case).collect()
    }
}
