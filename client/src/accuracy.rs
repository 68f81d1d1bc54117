//! Accuracy of one set of weights at every budget, with its 95 % intervals, as reports, pictures and lines show it.

use anytime_proto::v1;
use serde::Serialize;

/// Accuracy of one set of weights.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Thinking budgets in tokens, ascending.
    pub budgets: Vec<u32>,
    /// Mean score at each budget.
    pub accuracy: Vec<f64>,
    /// Half width of each mean's 95 % interval over problems, by the normal approximation.
    pub ci95: Vec<f64>,
    /// Lower end of each mean's 95 % bootstrap interval over problems.
    pub accuracy_low: Vec<f64>,
    /// Upper end of the same intervals.
    pub accuracy_high: Vec<f64>,
    /// Unweighted mean over the budgets.
    pub anytime: f64,
    /// Half width of its 95 % interval, by the normal approximation.
    pub anytime_ci95: f64,
    /// Lower end of its 95 % bootstrap interval.
    pub anytime_low: f64,
    /// Upper end of that interval.
    pub anytime_high: f64,
    /// Mean score at the largest budget.
    #[serde(rename = "final")]
    pub final_accuracy: f64,
    /// Mean length of the thinking in tokens.
    pub mean_thinking_tokens: f64,
    /// Share of summaries with the right format.
    pub formatted_share: f64,
    /// Share of traces that ended their thinking themselves.
    pub finished_share: f64,
    /// Share of traces that were right at an earlier budget and are not at the largest.
    pub overthinking_share: f64,
    /// Number of problems.
    pub problems: u32,
    /// Traces per problem.
    pub samples: u32,
    /// The training step after which it was measured.
    pub step: u64,
    /// Wall time of the evaluation in seconds.
    pub seconds: f64,
    /// Generated tokens per second; null where nothing was timed.
    pub tokens_per_second: Option<f64>,
    /// File of what was generated, on the learner's file system; empty where none was kept.
    pub generations: String,
}

impl From<&v1::EvaluationResult> for Accuracy {
    fn from(result: &v1::EvaluationResult) -> Self {
        let (accuracy_low, accuracy_high) = intervals(result).into_iter().unzip();
        let (anytime_low, anytime_high) = anytime_interval(result);
        Self {
            budgets: result.budgets.clone(),
            accuracy: result.accuracy.clone(),
            ci95: result.ci95.clone(),
            accuracy_low,
            accuracy_high,
            anytime: result.anytime,
            anytime_ci95: result.anytime_ci95,
            anytime_low,
            anytime_high,
            final_accuracy: result.r#final,
            mean_thinking_tokens: result.mean_thinking_tokens,
            formatted_share: result.formatted_share,
            finished_share: result.finished_share,
            overthinking_share: result.overthinking_share,
            problems: result.problems,
            samples: result.samples,
            step: result.step,
            seconds: result.seconds,
            tokens_per_second: rate(result.generated_tokens as f64, result.seconds),
            generations: result.generations.clone(),
        }
    }
}

/// The ends of each budget's interval. Results of versions before the bootstrap have half widths only.
pub(crate) fn intervals(result: &v1::EvaluationResult) -> Vec<(f64, f64)> {
    let is_whole = [&result.accuracy_low, &result.accuracy_high]
        .iter()
        .all(|ends| ends.len() == result.accuracy.len());
    if is_whole {
        let ends = result.accuracy_low.iter().zip(&result.accuracy_high);
        return ends.map(|(low, high)| (*low, *high)).collect();
    }
    let half_widths = result.ci95.iter().chain(std::iter::repeat(&0.0));
    let means = result.accuracy.iter().zip(half_widths);
    means.map(|(mean, half_width)| around(*mean, *half_width)).collect()
}

/// The ends of the interval of the anytime accuracy.
pub(crate) fn anytime_interval(result: &v1::EvaluationResult) -> (f64, f64) {
    if result.accuracy_low.is_empty() {
        return around(result.anytime, result.anytime_ci95);
    }
    (result.anytime_low, result.anytime_high)
}

fn around(mean: f64, half_width: f64) -> (f64, f64) {
    ((mean - half_width).max(0.0), (mean + half_width).min(1.0))
}

/// A share with the ends of its interval.
pub(crate) fn with_interval(mean: f64, (low, high): (f64, f64)) -> String {
    format!("{mean:.3} [{low:.3}, {high:.3}]")
}

/// Tokens per second; none where nothing was timed.
pub(crate) fn rate(tokens: f64, seconds: f64) -> Option<f64> {
    (seconds > 0.0 && tokens > 0.0).then(|| tokens / seconds)
}
