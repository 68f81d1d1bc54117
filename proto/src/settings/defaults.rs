//! Every default of a job file, in one place. Where the paper has a value it is the paper's.

use crate::v1;

/// Tokens that one summary takes in the reference code's response width: 118 generated and up to 10 inserted.
const SUMMARY_WIDTH: f64 = 128.0;

/// The specification with every setting that has a default filled in. Settings whose default depends on the model or
/// the device (`data.chat_template`, `training.micro_batch_tokens`) and on the job's directory (`checkpoint.output`)
/// stay open.
pub fn with_defaults(spec: &v1::JobSpec) -> v1::JobSpec {
    let mut filled = spec.clone();
    let is_sft = spec.kind == Some(v1::JobKind::Sft.into());

    let model = filled.model.get_or_insert_default();
    model.initialise.get_or_insert(false);
    model.seed.get_or_insert(0);
    model.dtype.get_or_insert(v1::Dtype::Auto.into());

    let data = filled.data.get_or_insert_default();
    data.instruction
        .get_or_insert_with(|| " Let's think step by step and output the final answer within \\boxed{}.".to_owned());
    data.max_prompt_tokens.get_or_insert(1024);
    data.shuffle_seed.get_or_insert(42);

    let markers = filled.markers.get_or_insert_default();
    markers.open.get_or_insert_with(String::new);
    markers.end.get_or_insert_with(|| "</think>".to_owned());
    markers.cut.get_or_insert_with(|| "...\n\n...\n\n".to_owned());
    markers
        .summary
        .get_or_insert_with(|| "\n\n**Final Answer**\n".to_owned());

    let rollout = filled.rollout.get_or_insert_default();
    if rollout.budgets.is_empty() {
        rollout.budgets = vec![2000, 4000, 6000, 8000];
    }
    rollout.traces.get_or_insert(8);
    let summaries = *rollout.summaries.get_or_insert(4);
    rollout.max_summary_tokens.get_or_insert(118);
    rollout.temperature.get_or_insert(1.0);
    rollout.top_p.get_or_insert(1.0);
    rollout.top_k.get_or_insert(0);
    rollout.seed.get_or_insert(0);
    rollout.cache_policy.get_or_insert(v1::CacheChoice::Keep.into());
    rollout.lease_seconds.get_or_insert(1800);
    let budgets = rollout.budgets.clone();

    let grading = filled.grading.get_or_insert_default();
    grading.percents.get_or_insert(v1::Percents::Either.into());
    grading.fractions.get_or_insert(v1::Fractions::Any.into());
    grading.rounding.get_or_insert(v1::Rounding::Exact.into());
    grading.units.get_or_insert(v1::Units::Optional.into());
    grading.lists.get_or_insert(v1::Lists::Unordered.into());
    grading.brackets.get_or_insert(v1::Brackets::Lenient.into());

    let objective = filled.objective.get_or_insert_default();
    fill_objective(objective);
    let is_degrpo = objective.name.as_deref() == Some("degrpo");

    let training = filled.training.get_or_insert_default();
    let batch = *training.batch.get_or_insert(64);
    training
        .minibatches
        .get_or_insert(if is_sft || batch == 1 { 1 } else { 2 });
    training.learning_rate.get_or_insert(1e-6);
    training.schedule.get_or_insert(v1::Schedule::Constant.into());
    training.warmup_updates.get_or_insert(0);
    training.beta1.get_or_insert(0.9);
    training.beta2.get_or_insert(0.999);
    training.epsilon.get_or_insert(1e-8);
    training.weight_decay.get_or_insert(0.01);
    training.gradient_clip.get_or_insert(1.0);
    let clip = *training.clip.get_or_insert(0.2);
    training.clip_high.get_or_insert(clip);
    training.importance_cap.get_or_insert(2.0);
    training.max_staleness.get_or_insert(1);
    training.normaliser.get_or_insert_with(|| {
        if is_degrpo {
            return 1.0;
        }
        let largest = f64::from(budgets.last().copied().unwrap_or(0));
        largest + (budgets.len() as f64 * f64::from(summaries) + 1.0) * SUMMARY_WIDTH
    });
    training.queue_groups.get_or_insert(batch.saturating_mul(2));
    training.seed.get_or_insert(0);
    training.activation_checkpointing.get_or_insert(false);

    let evaluation = filled.evaluation.get_or_insert_default();
    if evaluation.budgets.is_empty() {
        evaluation.budgets = budgets;
    }
    evaluation.samples.get_or_insert(4);
    evaluation.summaries.get_or_insert(1);
    evaluation.temperature.get_or_insert(0.6);
    evaluation.top_p.get_or_insert(1.0);
    evaluation.top_k.get_or_insert(0);
    evaluation.seed.get_or_insert(1000);
    evaluation.every.get_or_insert(0);
    evaluation.before.get_or_insert(true);
    evaluation.after.get_or_insert(true);
    evaluation.keep_generations.get_or_insert(true);

    let checkpoint = filled.checkpoint.get_or_insert_default();
    checkpoint.recovery_every.get_or_insert(20);
    checkpoint.export_every.get_or_insert(0);
    filled
}

/// The same for the objective alone.
pub(super) fn fill_objective(objective: &mut v1::ObjectiveSpec) {
    objective.name.get_or_insert_with(|| "brpo".to_owned());
    objective.lambda.get_or_insert(0.5);
    objective.prior.get_or_insert(v1::Prior::Linear.into());
    objective
        .variance_reduction
        .get_or_insert(v1::VarianceReduction::Brpo.into());
    objective.summary_method.get_or_insert(v1::SummaryMethod::Brpo.into());
    objective.summary_weight.get_or_insert(1.0);
    objective.mix.get_or_insert(v1::Mix::Index.into());
    objective.leave_one_out.get_or_insert(false);
    objective
        .summary_weighting
        .get_or_insert(v1::SummaryWeighting::Code.into());
    objective.summary_prior.get_or_insert(v1::Prior::Uniform.into());
    objective.length_penalty.get_or_insert(v1::LengthPenalty::None.into());
    objective.length_coefficient.get_or_insert(0.2);
    fill_related(objective);
}

/// What only one objective has: the papers' values, or where a paper has none those of its code.
fn fill_related(objective: &mut v1::ObjectiveSpec) {
    match objective.name.as_deref() {
        Some("elastic") => {
            objective.divide_by_deviation.get_or_insert(true);
        }
        Some("adaptthink") => {
            objective.no_thinking_bonus.get_or_insert(0.05);
            objective.reference_samples.get_or_insert(16);
            objective.sequence_ratio.get_or_insert(true);
        }
        Some("degrpo") => {
            objective.control_weight.get_or_insert(0.001);
            objective.thinking_cost.get_or_insert(0.5);
        }
        Some("short_rl") => {
            objective.length_tolerance.get_or_insert(100);
            objective.accuracy_tolerance.get_or_insert(0.05);
            objective.length_weight.get_or_insert(1.0);
        }
        Some("kimi") => {
            objective.length_weight.get_or_insert(1.0);
        }
        _ => {}
    }
}
