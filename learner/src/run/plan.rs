//! The rollout plans of a job: one for training, one for evaluation.

use anytime_proto::settings::JobSettings;
use anytime_proto::v1;

use super::prepare::Prepared;

/// How training groups are generated.
pub fn training_plan(settings: &JobSettings, prepared: &Prepared) -> v1::RolloutPlan {
    let rollout = &settings.rollout;
    v1::RolloutPlan {
        budgets: rollout.budgets.clone(),
        traces: rollout.traces,
        summaries: rollout.summaries,
        sampling: Some(rollout.sampling()),
        ..common_plan(settings, prepared, &prepared.problems)
    }
}

/// How evaluation groups are generated.
pub fn evaluation_plan(settings: &JobSettings, prepared: &Prepared) -> v1::RolloutPlan {
    let evaluation = &settings.evaluation;
    v1::RolloutPlan {
        budgets: evaluation.budgets.clone(),
        traces: evaluation.samples,
        summaries: evaluation.summaries,
        sampling: Some(evaluation.sampling()),
        ..common_plan(settings, prepared, &prepared.evaluation_problems)
    }
}

fn common_plan(settings: &JobSettings, prepared: &Prepared, problems: &[v1::Problem]) -> v1::RolloutPlan {
    let longest_prompt = problems
        .iter()
        .map(|problem| problem.prompt_ids.len())
        .max()
        .unwrap_or(0);
    v1::RolloutPlan {
        max_summary_tokens: settings.rollout.max_summary_tokens,
        markers: Some(prepared.markers.clone()),
        eos_ids: prepared.tokenizer.eos_ids().to_vec(),
        vocabulary: prepared.vocabulary(),
        cache_policy: settings.rollout.plan_cache_policy().into(),
        extraction: v1::Extraction::Anytime.into(),
        conventions: Some(settings.grading.conventions()),
        max_prompt_tokens: longest_prompt as u32,
        deterministic: settings.rollout.deterministic,
        ..v1::RolloutPlan::default()
    }
}
