//! A plan that the unit tests share.

use anytime_proto::v1;

/// A small valid plan: one-token markers, four budgets, no truncation of the distribution.
pub(crate) fn plan_message() -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: vec![4, 8, 12, 16],
        traces: 3,
        summaries: 2,
        max_summary_tokens: 6,
        sampling: Some(v1::Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
        }),
        markers: Some(v1::MarkerIds {
            end: vec![2],
            cut: vec![3],
            summary: vec![4, 5],
            end_text: String::new(),
        }),
        eos_ids: vec![1],
        vocabulary: 30,
        cache_policy: v1::CachePolicy::Keep.into(),
        extraction: v1::Extraction::Anytime.into(),
        conventions: None,
        no_thinking_traces: 0,
        max_prompt_tokens: 8,
        deterministic: false,
    }
}
