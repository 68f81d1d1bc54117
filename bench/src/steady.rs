//! Rollouts as they are in the middle of a run: traces of very different lengths end and begin all the time, so that the
//! rows of a step stand at different lengths in scattered slots, and summaries run beside thinkings.

use anytime_actor::engine::{CacheLimit, EngineLimits};

use crate::engine::{GroupShape, TimedEngine, Until};
use crate::model::{LoadedModel, prompt_ids};

/// The shape of a steady case. The length of every sequence is forced.
#[derive(Clone, Copy, Debug)]
pub struct SteadyCase {
    /// Prompts, each a group whose traces are of one length.
    pub groups: usize,
    /// Traces of a group.
    pub traces: usize,
    /// Tokens of a prompt.
    pub prompt_tokens: usize,
    /// Thinking tokens of the shortest group.
    pub shortest: usize,
    /// Thinking tokens of the longest group; those between lie at equal ratios.
    pub longest: usize,
    /// Summaries at each of four budgets.
    pub summaries: usize,
    /// Tokens of a summary.
    pub summary_tokens: usize,
    /// Sequences that run at the same time; fewer than there are traces.
    pub slots: usize,
}

/// Budgets of a group.
const BUDGETS: usize = 4;

impl SteadyCase {
    /// Thinking tokens of each group, in the order in which they are asked for: long and short ones in turn.
    pub fn lengths(&self) -> Vec<usize> {
        let ratio = self.longest as f64 / self.shortest as f64;
        let length = |place: usize| {
            let exponent = place as f64 / (self.groups.max(2) - 1) as f64;
            (self.shortest as f64 * ratio.powf(exponent)).round() as usize
        };
        // From both ends inwards.
        (0..self.groups)
            .map(|number| match number % 2 {
                0 => length(number / 2),
                _ => length(self.groups - 1 - number / 2),
            })
            .collect()
    }

    /// Tokens drawn for thinkings.
    pub fn thinking_tokens(&self) -> usize {
        self.traces * self.lengths().iter().sum::<usize>()
    }

    /// Tokens drawn for summaries.
    pub fn summary_tokens_in_all(&self) -> usize {
        self.groups * self.traces * BUDGETS * self.summaries * self.summary_tokens
    }

    fn shapes(&self, vocabulary: i64) -> Vec<GroupShape> {
        let shape = |(number, length): (usize, usize)| GroupShape {
            prompt: prompt_ids(number, self.prompt_tokens, vocabulary),
            traces: self.traces,
            budgets: (1..=BUDGETS).map(|part| (length * part / BUDGETS) as u32).collect(),
            summaries: self.summaries,
            summary_tokens: self.summary_tokens,
            deterministic: false,
        };
        self.lengths().into_iter().enumerate().map(shape).collect()
    }
}

/// Seconds of each repetition, the first included.
///
/// # Errors
/// As for [`TimedEngine::run`].
pub fn measure(
    model: &LoadedModel,
    case: &SteadyCase,
    cache_bytes: usize,
    repetitions: usize,
) -> anyhow::Result<Vec<f64>> {
    let limits = EngineLimits {
        slots: case.slots,
        cache: CacheLimit::Bytes(cache_bytes),
    };
    let shapes = case.shapes(model.config.vocab_size);
    let longest = shapes.iter().map(GroupShape::tokens).max().unwrap_or(0);
    let mut engine = TimedEngine::start(model, limits, longest)?;
    let mut seconds = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        seconds.push(engine.run(&shapes, Until::AllEnds)?.elapsed.as_secs_f64());
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_lie_between_the_shortest_and_the_longest() {
        let case = SteadyCase {
            groups: 4,
            traces: 3,
            prompt_tokens: 8,
            shortest: 10,
            longest: 80,
            summaries: 2,
            summary_tokens: 5,
            slots: 6,
        };
        assert_eq!(case.lengths(), [10, 80, 20, 40]);
        assert_eq!(case.thinking_tokens(), 450);
        assert_eq!(case.summary_tokens_in_all(), 4 * 3 * 4 * 2 * 5);
        let one = SteadyCase { groups: 1, ..case };
        assert_eq!(one.lengths(), [10]);
    }
}
