//! Rolls whole groups out through the engine, thinking and then summaries at every budget, and finds out what more than
//! the summaries' own tokens the summaries cost.
//!
//! `summary_overhead` = (rollouts − thinking only) / own tokens.
//!
//! *Rollouts*: all groups with all summaries. *Thinking only*: the same groups with a single budget, up to the moment
//! when the last thinking ends, before any summary starts. *Own tokens*: what the engine needs to decode as many tokens
//! in as many sequences at the same time at the same context lengths, without any prefix to compute. It is a difference
//! of two runs over one wave of sequences, whose prompts are as long as the summaries' prefixes (every cut as often as
//! in the rollouts, A sequences to a prompt): each sequence draws 1 + summary_tokens tokens in one run and 1 in the
//! other, so that prompts cancel. One wave is what runs at the same time; it counts as often as the rollouts have
//! waves.

use anytime_actor::engine::{CacheLimit, EngineLimits};

use crate::engine::{END_MARKER, GroupShape, SUMMARY_MARKER, TimedEngine, Until};
use crate::model::{LoadedModel, prompt_ids};

/// The shape of a rollout case. The length of every sequence is forced.
#[derive(Clone, Debug, clap::Args)]
pub struct RolloutCase {
    /// Prompts, each a group
    #[arg(long, default_value_t = 2)]
    pub groups: usize,
    /// Traces of a group
    #[arg(long, default_value_t = 16)]
    pub traces: usize,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 32)]
    pub prompt_tokens: usize,
    /// Thinking tokens at which every trace is summarised
    #[arg(long, value_delimiter = ',', default_value = "64,128,192,256")]
    pub budgets: Vec<u32>,
    /// Summaries at each budget
    #[arg(long, default_value_t = 4)]
    pub summaries: usize,
    /// Tokens of a summary
    #[arg(long, default_value_t = 16)]
    pub summary_tokens: usize,
    /// Sequences that run at the same time
    #[arg(long, default_value_t = 64)]
    pub slots: usize,
}

/// Seconds of each repetition.
#[derive(Clone, Debug, Default)]
pub struct RolloutFigures {
    /// Seconds of whole rollouts.
    pub rollouts: Vec<f64>,
    /// Up to the last token of the last thinking.
    pub thinking: Vec<f64>,
    /// Seconds of the summaries' own tokens, as the head of this file defines them.
    pub own_tokens: Vec<f64>,
    /// [`RunFigures::ids_digest`](crate::engine::RunFigures::ids_digest) of everything in the first repetition.
    pub ids_digest: String,
}

impl RolloutCase {
    /// Tokens drawn for thinkings.
    pub fn thinking_tokens(&self) -> usize {
        self.groups * self.traces * self.longest_budget() as usize
    }

    /// Tokens drawn for summaries.
    pub fn summary_tokens_in_all(&self) -> usize {
        self.summaries_in_all() * self.summary_tokens
    }

    /// Summaries of all groups.
    pub fn summaries_in_all(&self) -> usize {
        self.groups * self.traces * self.budgets.len() * self.summaries
    }

    /// Groups of A sequences that one wave of the difference method has.
    pub fn wave_groups(&self) -> usize {
        (self.slots.min(self.summaries_in_all()) / self.summaries).max(1)
    }

    fn longest_budget(&self) -> u32 {
        self.budgets.last().copied().unwrap_or(0)
    }

    pub(crate) fn rollouts(&self, vocabulary: i64) -> Vec<GroupShape> {
        let group = |number| GroupShape {
            prompt: prompt_ids(number, self.prompt_tokens, vocabulary),
            traces: self.traces,
            budgets: self.budgets.clone(),
            summaries: self.summaries,
            summary_tokens: self.summary_tokens,
            deterministic: false,
        };
        (0..self.groups).map(group).collect()
    }

    fn thinking_only(&self, vocabulary: i64) -> Vec<GroupShape> {
        let mut groups = self.rollouts(vocabulary);
        for group in &mut groups {
            group.budgets = vec![self.longest_budget()];
            (group.summaries, group.summary_tokens) = (1, 1);
        }
        groups
    }

    /// The same groups with little to do.
    pub(crate) fn warm_up(&self, vocabulary: i64) -> Vec<GroupShape> {
        let mut groups = self.rollouts(vocabulary);
        for group in &mut groups {
            group.budgets = vec![2, 4];
            group.summary_tokens = 2;
        }
        groups
    }

    /// Sequences at the context lengths of one wave of summaries that draw `tokens` tokens each.
    fn wave(&self, tokens: usize, vocabulary: i64) -> Vec<GroupShape> {
        let inserted = END_MARKER.len() + SUMMARY_MARKER.len();
        let group = |number: usize| {
            // From the largest cut down, as the engine takes them.
            let cut = self.budgets[self.budgets.len() - 1 - number % self.budgets.len()];
            GroupShape {
                prompt: prompt_ids(number, self.prompt_tokens + cut as usize + inserted, vocabulary),
                traces: self.summaries,
                budgets: vec![tokens as u32],
                summaries: 1,
                summary_tokens: 1,
                deterministic: false,
            }
        };
        (0..self.wave_groups()).map(group).collect()
    }
}

/// Runs all three in turn, `repetitions` times, after a small run that is not counted.
///
/// # Errors
/// As for [`TimedEngine::run`].
pub fn measure(
    model: &LoadedModel,
    case: &RolloutCase,
    cache_bytes: usize,
    repetitions: usize,
) -> anyhow::Result<RolloutFigures> {
    let limits = EngineLimits {
        slots: case.slots,
        cache: CacheLimit::Bytes(cache_bytes),
    };
    let vocabulary = model.config.vocab_size;
    let waves = case.summaries_in_all() as f64 / (case.wave_groups() * case.summaries) as f64;
    let longer = case.wave(1 + case.summary_tokens, vocabulary);
    let all = [case.rollouts(vocabulary), longer.clone()].concat();
    let longest = all.iter().map(GroupShape::tokens).max().unwrap_or(0);
    let mut engine = TimedEngine::start(model, limits, longest)?;
    let mut figures = RolloutFigures::default();
    engine.run(&case.warm_up(vocabulary), Until::AllEnds)?;
    for repetition in 0..repetitions {
        let rollouts = engine.run(&case.rollouts(vocabulary), Until::AllEnds)?;
        figures.rollouts.push(rollouts.elapsed.as_secs_f64());
        if repetition == 0 {
            figures.ids_digest = rollouts.ids_digest;
        }
        let thinking = engine.run(&case.thinking_only(vocabulary), Until::ThinkingEnds)?;
        figures.thinking.push(thinking.elapsed.as_secs_f64());
        let shorter = engine.run(&case.wave(1, vocabulary), Until::ThinkingEnds)?.elapsed;
        let longer = engine.run(&longer, Until::ThinkingEnds)?.elapsed;
        figures
            .own_tokens
            .push(waves * (longer.as_secs_f64() - shorter.as_secs_f64()));
    }
    Ok(figures)
}
