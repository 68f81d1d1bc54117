//! The smallest plan of a rollout in which everything occurs.

use anytime_proto::v1;

/// Two traces, two budgets, markers, and one summary at each cut.
pub fn small_plan() -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: vec![2, 4],
        traces: 2,
        summaries: 1,
        max_summary_tokens: 3,
        sampling: Some(v1::Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
        }),
        vocabulary: 10,
        markers: Some(v1::MarkerIds {
            end: vec![8],
            summary: vec![7],
            ..v1::MarkerIds::default()
        }),
        ..v1::RolloutPlan::default()
    }
}
