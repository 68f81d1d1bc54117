//! Decoding through the engine: prompts are computed once for their traces, then every sequence draws so many tokens.

use anytime_actor::engine::EngineLimits;

use crate::engine::{GroupShape, TimedEngine, Until};
use crate::model::{LoadedModel, prompt_ids};

/// What is decoded. All lengths are forced.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DecodeCase {
    /// Different prompts
    #[arg(long, default_value_t = 4)]
    pub prompts: usize,
    /// Sequences of each prompt
    #[arg(long, default_value_t = 16)]
    pub traces: usize,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 32)]
    pub prompt_tokens: usize,
    /// Tokens drawn in each sequence
    #[arg(long, default_value_t = 32)]
    pub new_tokens: usize,
}

impl DecodeCase {
    /// Sequences decoded at the same time.
    pub fn sequences(&self) -> usize {
        self.prompts * self.traces
    }

    /// Tokens drawn in all sequences.
    pub fn tokens(&self) -> usize {
        self.sequences() * self.new_tokens
    }
}

/// Seconds of each repetition, prompts included, after a small run that is not counted.
///
/// # Errors
/// As for [`TimedEngine::run`].
pub fn measure(
    model: &LoadedModel,
    case: &DecodeCase,
    cache_bytes: usize,
    repetitions: usize,
) -> anyhow::Result<Vec<f64>> {
    let limits = EngineLimits {
        slots: case.sequences(),
        cache_bytes,
    };
    let groups: Vec<GroupShape> = (0..case.prompts)
        .map(|number| GroupShape {
            prompt: prompt_ids(number, case.prompt_tokens, model.config.vocab_size),
            traces: case.traces,
            budgets: vec![case.new_tokens as u32],
            // The least that a plan permits; the run is over before they start.
            summaries: 1,
            summary_tokens: 1,
        })
        .collect();
    let longest = groups.iter().map(GroupShape::tokens).max().unwrap_or(0);
    let mut engine = TimedEngine::start(model, limits, longest)?;
    let mut warm_up = groups.clone();
    for group in &mut warm_up {
        group.budgets = vec![2];
    }
    engine.run(&warm_up, Until::ThinkingEnds)?;
    let mut seconds = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let figures = engine.run(&groups, Until::ThinkingEnds)?;
        seconds.push(figures.elapsed.as_secs_f64());
    }
    Ok(seconds)
}
