//! Decoding through the engine: prompts are computed once for their traces, then every sequence draws its number of
//! tokens.

use anytime_actor::engine::{CacheLimit, EngineLimits};

use crate::engine::{GroupShape, RunFigures, TimedEngine, Until};
use crate::model::{LoadedModel, prompt_ids};

/// The shape of a decoding case. The length of every sequence is forced.
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
    /// As jobs with `rollout.deterministic` are generated
    #[arg(long)]
    pub deterministic: bool,
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

/// What [`measure`] finds.
#[derive(Clone, Debug, Default)]
pub struct DecodeFigures {
    /// Seconds of each repetition, prompts included.
    pub seconds: Vec<f64>,
    /// [`RunFigures::ids_digest`](crate::engine::RunFigures::ids_digest) of the first repetition.
    pub ids_digest: String,
}

/// Decodes `repetitions` times, after a small run that is not counted.
///
/// # Errors
/// As for [`TimedEngine::run`].
pub fn measure(
    model: &LoadedModel,
    case: &DecodeCase,
    cache_bytes: usize,
    repetitions: usize,
) -> anyhow::Result<DecodeFigures> {
    let mut figures = DecodeFigures::default();
    measure_each(model, case, cache_bytes, repetitions, |run| {
        let run = run()?;
        if figures.seconds.is_empty() {
            figures.ids_digest = run.ids_digest;
        }
        figures.seconds.push(run.elapsed.as_secs_f64());
        Ok(())
    })?;
    Ok(figures)
}

/// As [`measure`], with each repetition in the hands of `repetition`, which runs it once.
///
/// # Errors
/// As for [`measure`], or those of `repetition`.
pub fn measure_each(
    model: &LoadedModel,
    case: &DecodeCase,
    cache_bytes: usize,
    repetitions: usize,
    mut repetition: impl FnMut(&mut dyn FnMut() -> anyhow::Result<RunFigures>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let limits = EngineLimits {
        slots: case.sequences(),
        cache: CacheLimit::Bytes(cache_bytes),
    };
    let groups: Vec<GroupShape> = (0..case.prompts)
        .map(|number| GroupShape {
            prompt: prompt_ids(number, case.prompt_tokens, model.config.vocab_size),
            traces: case.traces,
            budgets: vec![case.new_tokens as u32],
            // A plan needs at least one; the run is over before it starts.
            summaries: 1,
            summary_tokens: 1,
            deterministic: case.deterministic,
        })
        .collect();
    let longest = groups.iter().map(GroupShape::tokens).max().unwrap_or(0);
    let mut engine = TimedEngine::start(model, limits, longest)?;
    let mut warm_up = groups.clone();
    for group in &mut warm_up {
        group.budgets = vec![2];
    }
    engine.run(&warm_up, Until::ThinkingEnds)?;
    for _ in 0..repetitions {
        repetition(&mut || engine.run(&groups, Until::ThinkingEnds))?;
    }
    Ok(())
}
