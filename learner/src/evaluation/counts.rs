//! Counts over the traces of scored groups, for the shares that both a training step and an evaluation report.

use anytime_objectives::statistics::is_overthinking;
use anytime_proto::v1;

/// Counts over all groups that were added, from which the shares follow.
#[derive(Clone, Debug, Default)]
pub struct TraceCounts {
    traces: u64,
    finished: u64,
    overthinking: u64,
    summaries: u64,
    formatted: u64,
    thinking_tokens: u64,
    generated_tokens: u64,
}

impl TraceCounts {
    /// Adds a group; `rewards` is `r[g][s]`, the mean score of each of its traces at each budget.
    pub fn add(&mut self, group: &v1::ScoredGroup, rewards: &[Vec<f64>]) {
        self.overthinking += rewards.iter().filter(|row| is_overthinking(row)).count() as u64;
        for trace in &group.traces {
            self.traces += 1;
            if let Some(thinking) = &trace.thinking {
                self.finished += u64::from(thinking.finish() == v1::FinishReason::EndMarker);
                self.thinking_tokens += thinking.ids.len() as u64;
                self.generated_tokens += thinking.ids.len() as u64;
            }
            for summary in trace.nodes.iter().flat_map(|node| &node.summaries) {
                self.summaries += 1;
                self.formatted += u64::from(summary.formatted);
                self.generated_tokens += summary.generated.as_ref().map_or(0, |one| one.ids.len() as u64);
            }
        }
    }

    /// Tokens of thinking and of summaries.
    pub fn generated_tokens(&self) -> u64 {
        self.generated_tokens
    }

    /// Tokens per trace.
    pub fn mean_thinking_tokens(&self) -> f64 {
        share(self.thinking_tokens, self.traces)
    }

    /// Share of summaries with the right format.
    pub fn formatted_share(&self) -> f64 {
        share(self.formatted, self.summaries)
    }

    /// Share of traces that ended their thinking themselves.
    pub fn finished_share(&self) -> f64 {
        share(self.finished, self.traces)
    }

    /// Share of traces that were right at an earlier budget and are not at the largest.
    pub fn overthinking_share(&self) -> f64 {
        share(self.overthinking, self.traces)
    }
}

/// 0 of none.
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}
