//! How a group is generated, checked once where it comes in, so that the engine never meets an impossible plan.

use anytime_proto::v1;
use thiserror::Error;

/// A rollout plan that no engine can follow.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("rollout plan: {field} {problem}")]
pub struct InvalidPlan {
    /// The field's name in the message.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// How the verifier finds an answer, and what it holds it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grading {
    /// Where the answer stands in a summary.
    pub extraction: v1::Extraction,
    /// What mathematics leaves to convention.
    pub conventions: v1::Conventions,
}

/// The distribution that tokens are drawn from, given the model's logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; above zero.
    pub temperature: f32,
    /// The most probable tokens that together reach this mass are kept; in (0, 1].
    pub top_p: f32,
    /// So many of the most probable tokens are kept; 0 keeps all.
    pub top_k: usize,
    /// Ids from here on are never drawn.
    pub vocabulary: usize,
}

/// The token sequences that structure a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Ends the thinking.
    pub end: Vec<u32>,
    /// Inserted before `end` where the thinking is cut; may be empty.
    pub cut: Vec<u32>,
    /// Opens the summary.
    pub summary: Vec<u32>,
}

/// A valid [`v1::RolloutPlan`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// b_1 < … < b_S in thinking tokens, the end marker included.
    pub budgets: Vec<u32>,
    /// G.
    pub traces: usize,
    /// A.
    pub summaries: usize,
    /// Cap of a summary, its end of sequence included.
    pub max_summary_tokens: usize,
    /// The same for thinking and summaries.
    pub sampling: Sampling,
    /// Their token ids.
    pub markers: Markers,
    /// Generation ends at any of them.
    pub eos_ids: Vec<u32>,
    /// Whether traces under way are prefilled again under new weights.
    pub recompute: bool,
    /// How the verifier finds the answer, and what it holds it to.
    pub grading: Grading,
    /// The longest prompt that fits, in tokens.
    pub max_prompt_tokens: usize,
    /// So many traces, the first ones, end their thinking at once, and the others do not; 0 leaves all of them free.
    pub no_thinking_traces: usize,
}

impl Plan {
    /// Checks a plan.
    ///
    /// # Errors
    /// The first field that no engine can work with.
    pub fn try_new(plan: &v1::RolloutPlan) -> Result<Self, InvalidPlan> {
        let budgets = plan.budgets.clone();
        let ascend = budgets.windows(2).all(|pair| pair[0] < pair[1]);
        require(
            budgets.first().is_some_and(|&first| first > 0) && ascend,
            "budgets",
            "do not ascend from 1 or more",
        )?;
        require(plan.traces > 0, "traces", "is 0")?;
        require(plan.summaries > 0, "summaries", "is 0")?;
        require(plan.max_summary_tokens > 0, "max_summary_tokens", "is 0")?;
        require(plan.vocabulary > 0, "vocabulary", "is 0")?;
        require(plan.max_prompt_tokens > 0, "max_prompt_tokens", "is 0")?;

        let sampling = plan.sampling.unwrap_or_default();
        let temperature_is_valid = sampling.temperature.is_finite() && sampling.temperature > 0.0;
        require(temperature_is_valid, "sampling.temperature", "is not above zero")?;
        require(
            sampling.top_p > 0.0 && sampling.top_p <= 1.0,
            "sampling.top_p",
            "is not in (0, 1]",
        )?;

        let markers = plan.markers.clone().unwrap_or_default();
        require(!markers.end.is_empty(), "markers.end", "is empty")?;
        require(!markers.summary.is_empty(), "markers.summary", "is empty")?;
        if plan.no_thinking_traces > 0 {
            let leaves_some = plan.no_thinking_traces < plan.traces;
            require(leaves_some, "no_thinking_traces", "is not below traces")?;
            let fits = budgets[0] as usize >= markers.end.len();
            require(fits, "budgets", "do not hold the end marker")?;
        }
        Ok(Self {
            budgets,
            traces: plan.traces as usize,
            summaries: plan.summaries as usize,
            max_summary_tokens: plan.max_summary_tokens as usize,
            sampling: Sampling {
                temperature: sampling.temperature,
                top_p: sampling.top_p,
                top_k: sampling.top_k as usize,
                vocabulary: plan.vocabulary as usize,
            },
            markers: Markers {
                end: markers.end,
                cut: markers.cut,
                summary: markers.summary,
            },
            eos_ids: plan.eos_ids.clone(),
            recompute: plan.cache_policy() == v1::CachePolicy::Recompute,
            grading: Grading {
                extraction: plan.extraction(),
                conventions: plan.conventions.unwrap_or_default(),
            },
            max_prompt_tokens: plan.max_prompt_tokens as usize,
            no_thinking_traces: plan.no_thinking_traces as usize,
        })
    }

    /// b_S.
    pub fn largest_budget(&self) -> usize {
        // `try_new` refuses plans without budgets; 0 would end a trace at its first token.
        self.budgets.last().map_or(0, |&budget| budget as usize)
    }

    /// The longest thinking in tokens, with its prompt.
    pub fn longest_prefix(&self) -> usize {
        self.max_prompt_tokens + self.largest_budget()
    }

    /// The longest summary in tokens, with everything that can be inserted before it.
    pub fn longest_branch(&self) -> usize {
        let inserted = self.markers.cut.len() + self.markers.end.len() + self.markers.summary.len();
        inserted + self.max_summary_tokens
    }

    /// Summaries that hang on one trace: S × A, however its budgets merge.
    pub fn summaries_per_trace(&self) -> usize {
        self.budgets.len() * self.summaries
    }
}

fn require(holds: bool, field: &'static str, problem: &str) -> Result<(), InvalidPlan> {
    if holds {
        Ok(())
    } else {
        Err(InvalidPlan {
            field,
            problem: problem.to_owned(),
        })
    }
}
