//! The checks of a job specification whose defaults are filled in.

use super::{
    CheckpointSettings, DataSettings, EvaluationSettings, InvalidSetting, JobSettings, MarkerSettings, Method,
    ModelSettings, ObjectiveSettings, RolloutSettings, TrainingSettings,
};
use crate::ShortName;
use crate::v1;

pub(super) type Checked<T> = Result<T, InvalidSetting>;

/// Largest number of traces, summaries, … of one problem: beyond it is a typing error.
const MAX_COUNT: u32 = 4096;

/// Largest budget in tokens.
const MAX_TOKENS: u32 = 1 << 20;

pub(super) fn check(spec: &v1::JobSpec) -> Checked<JobSettings> {
    let name = check_name(spec.name.as_deref())?;
    let kind = check_kind(spec.kind)?;
    let model = check_model(&spec.model.clone().unwrap_or_default())?;
    let data = check_data(&spec.data.clone().unwrap_or_default(), kind)?;
    let markers = check_markers(&spec.markers.clone().unwrap_or_default())?;
    let rollout = check_rollout(&spec.rollout.clone().unwrap_or_default())?;
    let objective = ObjectiveSettings::try_new(&spec.objective.clone().unwrap_or_default(), &rollout.budgets)?;
    check_kinds_of_traces(&objective, &rollout)?;
    let training = check_training(&spec.training.unwrap_or_default(), kind)?;
    let evaluation = check_evaluation(&spec.evaluation.clone().unwrap_or_default(), kind)?;
    let checkpoint = check_checkpoint(&spec.checkpoint.clone().unwrap_or_default());
    let grading = check_grading(&spec.grading.unwrap_or_default())?;
    Ok(JobSettings {
        name,
        kind,
        model,
        data,
        markers,
        rollout,
        objective,
        training,
        evaluation,
        checkpoint,
        grading,
    })
}

fn check_name(name: Option<&str>) -> Checked<String> {
    let allowed = "1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit";
    let Some(name) = name else {
        return Err(InvalidSetting::missing("name", allowed));
    };
    let valid = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if valid {
        Ok(name.to_owned())
    } else {
        Err(InvalidSetting::new("name", name, allowed))
    }
}

fn check_kind(kind: Option<i32>) -> Checked<v1::JobKind> {
    match kind {
        None => Err(InvalidSetting::missing("kind", v1::JobKind::allowed())),
        Some(number) => enumeration("kind", number),
    }
}

fn check_model(model: &v1::ModelSpec) -> Checked<ModelSettings> {
    Ok(ModelSettings {
        path: required_path(
            "model.path",
            model.path.as_deref(),
            "a Hugging Face checkpoint directory",
        )?,
        initialise: model.initialise.unwrap_or_default(),
        seed: model.seed.unwrap_or_default(),
        dtype: enumeration("model.dtype", model.dtype.unwrap_or_default())?,
    })
}

fn check_data(data: &v1::DataSpec, kind: v1::JobKind) -> Checked<DataSettings> {
    let path = if kind == v1::JobKind::Evaluate {
        data.path.clone().unwrap_or_default()
    } else {
        required_path("data.path", data.path.as_deref(), "a JSON or JSONL file")?
    };
    Ok(DataSettings {
        path,
        instruction: data.instruction.clone().unwrap_or_default(),
        chat_template: data.chat_template,
        max_prompt_tokens: count("data.max_prompt_tokens", data.max_prompt_tokens, MAX_TOKENS)?,
        shuffle_seed: data.shuffle_seed.unwrap_or_default(),
    })
}

fn check_markers(markers: &v1::MarkerSpec) -> Checked<MarkerSettings> {
    let checked = MarkerSettings {
        open: markers.open.clone().unwrap_or_default(),
        end: markers.end.clone().unwrap_or_default(),
        cut: markers.cut.clone().unwrap_or_default(),
        summary: markers.summary.clone().unwrap_or_default(),
    };
    for (field, text) in [("markers.end", &checked.end), ("markers.summary", &checked.summary)] {
        if text.is_empty() {
            return Err(InvalidSetting::new(field, text, "a string that is not empty"));
        }
    }
    let all = [
        ("markers.open", &checked.open),
        ("markers.end", &checked.end),
        ("markers.cut", &checked.cut),
        ("markers.summary", &checked.summary),
    ];
    for (field, text) in all {
        for (other_field, other) in all {
            if field != other_field && !other.is_empty() && text.contains(other.as_str()) {
                let allowed = format!("a string that does not contain `{other_field}` ({other:?})");
                return Err(InvalidSetting::new(field, text, allowed));
            }
        }
    }
    Ok(checked)
}

fn check_rollout(rollout: &v1::RolloutSpec) -> Checked<RolloutSettings> {
    let cache_policy = match enumeration("rollout.cache_policy", rollout.cache_policy.unwrap_or_default())? {
        v1::CacheChoice::Recompute => v1::CachePolicy::Recompute,
        _ => v1::CachePolicy::Keep,
    };
    Ok(RolloutSettings {
        budgets: check_budgets("rollout.budgets", &rollout.budgets)?,
        traces: count("rollout.traces", rollout.traces, MAX_COUNT)?,
        summaries: count("rollout.summaries", rollout.summaries, MAX_COUNT)?,
        max_summary_tokens: count("rollout.max_summary_tokens", rollout.max_summary_tokens, MAX_TOKENS)?,
        sampling: check_sampling("rollout", rollout.temperature, rollout.top_p, rollout.top_k)?,
        seed: rollout.seed.unwrap_or_default(),
        cache_policy,
        lease_seconds: count("rollout.lease_seconds", rollout.lease_seconds, 7 * 24 * 3600)?,
    })
}

/// Half of a group is of one kind: its log-probability is log 0.5 only where the halves are equal.
fn check_kinds_of_traces(objective: &ObjectiveSettings, rollout: &RolloutSettings) -> Checked<()> {
    let has_kinds = matches!(objective.method, Method::AdaptThink { .. });
    if has_kinds && !rollout.traces.is_multiple_of(2) {
        let allowed = format!("an even number with `objective.name` {:?}", objective.name);
        return Err(InvalidSetting::new("rollout.traces", rollout.traces, allowed));
    }
    Ok(())
}

fn check_grading(grading: &v1::GradingSpec) -> Checked<v1::Conventions> {
    fn choice<E: ShortName>(field: &str, number: Option<i32>) -> Checked<i32> {
        enumeration::<E>(field, number.unwrap_or_default()).map(Into::into)
    }
    Ok(v1::Conventions {
        percents: choice::<v1::Percents>("grading.percents", grading.percents)?,
        fractions: choice::<v1::Fractions>("grading.fractions", grading.fractions)?,
        rounding: choice::<v1::Rounding>("grading.rounding", grading.rounding)?,
        units: choice::<v1::Units>("grading.units", grading.units)?,
        lists: choice::<v1::Lists>("grading.lists", grading.lists)?,
        brackets: choice::<v1::Brackets>("grading.brackets", grading.brackets)?,
    })
}

fn check_training(training: &v1::TrainingSpec, kind: v1::JobKind) -> Checked<TrainingSettings> {
    let steps = match training.steps {
        Some(steps) if steps > 0 => steps,
        None if kind == v1::JobKind::Evaluate => 0,
        None => return Err(InvalidSetting::missing("training.steps", "1 or more")),
        Some(steps) => return Err(InvalidSetting::new("training.steps", steps, "1 or more")),
    };
    let batch = count("training.batch", training.batch, 1 << 20)?;
    let minibatches = count("training.minibatches", training.minibatches, batch)?;
    if batch % minibatches != 0 {
        let allowed = format!("a divisor of `training.batch` ({batch})");
        return Err(InvalidSetting::new("training.minibatches", minibatches, allowed));
    }
    let micro_batch_tokens = match training.micro_batch_tokens {
        None => None,
        given => Some(count("training.micro_batch_tokens", given, u32::MAX)?),
    };
    let queue_groups = count("training.queue_groups", training.queue_groups, 1 << 20)?;
    if queue_groups < batch {
        let allowed = format!("`training.batch` ({batch}) or more, or no step could ever start");
        return Err(InvalidSetting::new("training.queue_groups", queue_groups, allowed));
    }
    let below_one = |x: f64| (0.0..1.0).contains(&x);
    let positive = |x: f64| x > 0.0;
    let not_negative = |x: f64| x >= 0.0;
    Ok(TrainingSettings {
        steps,
        batch,
        minibatches,
        learning_rate: number("training.learning_rate", training.learning_rate, positive, "above 0")?,
        schedule: enumeration("training.schedule", training.schedule.unwrap_or_default())?,
        warmup_updates: training.warmup_updates.unwrap_or_default(),
        beta1: number("training.beta1", training.beta1, below_one, "0 or more, below 1")?,
        beta2: number("training.beta2", training.beta2, below_one, "0 or more, below 1")?,
        epsilon: number("training.epsilon", training.epsilon, positive, "above 0")?,
        weight_decay: number(
            "training.weight_decay",
            training.weight_decay,
            not_negative,
            "0 or more",
        )?,
        gradient_clip: number(
            "training.gradient_clip",
            training.gradient_clip,
            not_negative,
            "0 or more",
        )?,
        clip: number(
            "training.clip",
            training.clip,
            |x| x > 0.0 && x < 1.0,
            "between 0 and 1",
        )?,
        clip_high: number("training.clip_high", training.clip_high, positive, "above 0")?,
        importance_cap: number(
            "training.importance_cap",
            training.importance_cap,
            |x| x >= 1.0,
            "1 or more",
        )?,
        max_staleness: training.max_staleness.unwrap_or_default(),
        micro_batch_tokens,
        normaliser: number("training.normaliser", training.normaliser, positive, "above 0")?,
        queue_groups,
        seed: training.seed.unwrap_or_default(),
        activation_checkpointing: training.activation_checkpointing.unwrap_or_default(),
    })
}

fn check_evaluation(evaluation: &v1::EvaluationSpec, kind: v1::JobKind) -> Checked<EvaluationSettings> {
    let path = if kind == v1::JobKind::Evaluate {
        required_path(
            "evaluation.path",
            evaluation.path.as_deref(),
            "a JSON, JSONL or Parquet file of problems",
        )?
    } else {
        evaluation.path.clone().unwrap_or_default()
    };
    Ok(EvaluationSettings {
        path,
        budgets: check_budgets("evaluation.budgets", &evaluation.budgets)?,
        samples: count("evaluation.samples", evaluation.samples, MAX_COUNT)?,
        summaries: count("evaluation.summaries", evaluation.summaries, MAX_COUNT)?,
        sampling: check_sampling("evaluation", evaluation.temperature, evaluation.top_p, evaluation.top_k)?,
        seed: evaluation.seed.unwrap_or_default(),
        every: evaluation.every.unwrap_or_default(),
        before: evaluation.before.unwrap_or_default(),
        after: evaluation.after.unwrap_or_default(),
        keep_generations: evaluation.keep_generations.unwrap_or_default(),
    })
}

fn check_checkpoint(checkpoint: &v1::CheckpointSpec) -> CheckpointSettings {
    CheckpointSettings {
        output: checkpoint.output.clone().filter(|path| !path.is_empty()),
        recovery_every: checkpoint.recovery_every.unwrap_or_default(),
        export_every: checkpoint.export_every.unwrap_or_default(),
    }
}

fn check_budgets(field: &str, budgets: &[u32]) -> Checked<Vec<u32>> {
    let ascending = budgets.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = budgets.iter().all(|budget| (1..=MAX_TOKENS).contains(budget));
    if budgets.is_empty() || !ascending || !in_range {
        let allowed = format!("ascending numbers of tokens from 1 to {MAX_TOKENS}, no two equal");
        return Err(InvalidSetting::new(field, budgets, allowed));
    }
    Ok(budgets.to_vec())
}

fn check_sampling(
    section: &str,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u32>,
) -> Checked<v1::Sampling> {
    let warm = |x: f64| (0.01..=100.0).contains(&x);
    let share = |x: f64| x > 0.0 && x <= 1.0;
    Ok(v1::Sampling {
        temperature: number(&format!("{section}.temperature"), temperature, warm, "0.01 to 100")? as f32,
        top_p: number(&format!("{section}.top_p"), top_p, share, "above 0, up to 1")? as f32,
        top_k: top_k.unwrap_or_default(),
    })
}

fn required_path(field: &str, path: Option<&str>, what: &str) -> Checked<String> {
    match path {
        Some(path) if !path.is_empty() => Ok(path.to_owned()),
        Some(path) => Err(InvalidSetting::new(field, path, what)),
        None => Err(InvalidSetting::missing(field, what)),
    }
}

fn count(field: &str, value: Option<u32>, most: u32) -> Checked<u32> {
    let value = value.unwrap_or_default();
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(InvalidSetting::new(field, value, format!("1 to {most}")))
}

pub(super) fn number(field: &str, value: Option<f64>, valid: impl Fn(f64) -> bool, allowed: &str) -> Checked<f64> {
    let value = value.unwrap_or_default();
    if value.is_finite() && valid(value) {
        return Ok(value);
    }
    Err(InvalidSetting::new(field, value, allowed))
}

pub(super) fn enumeration<E: ShortName>(field: &str, number: i32) -> Checked<E> {
    match E::try_from(number) {
        Ok(variant) if number != 0 => Ok(variant),
        _ => Err(InvalidSetting::new(field, number, E::allowed())),
    }
}
