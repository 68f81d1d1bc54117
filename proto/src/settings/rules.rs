//! Defaults and checks of the table that read more than one setting, or that take more than a clause to say.

use prost_reflect::Value;

use super::error::InvalidSetting;
use super::job::Job;
use super::row::{Checked, alternatives};
use crate::limits::MAX_MESSAGE_BYTES;
use crate::v1;
use crate::v1::objective_spec::Settings;

/// Tokens that one summary takes in the reference code's response width: 118 generated and up to 10 inserted.
const SUMMARY_WIDTH: f64 = 128.0;

/// Largest budget in tokens.
pub(super) const MAX_TOKENS: u64 = 1 << 20;

/// Largest number of traces, summaries, … of one problem: beyond it is a typing error.
pub(super) const MAX_COUNT: u64 = 4096;

/// The most bytes of a generated token in a pushed group: its id, its log-probability and its version.
const BYTES_PER_TOKEN: u64 = 3 + 4 + 3;

/// The most bytes of a token of the prompt.
const BYTES_PER_PROMPT_TOKEN: u64 = 3;

/// What a summary takes beside its tokens: its verdict, its score, its share of the inserted ids, and lengths.
const BYTES_PER_SUMMARY: u64 = 64;

/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// How far a prior's sum may be from 1: what decimal fractions in a file leave.
const PRIOR_TOLERANCE: f64 = 1e-6;

/// The objective of a job that names none.
const PAPERS_OBJECTIVE: &str = "brpo";

pub(super) fn name(job: &Job, path: &str) -> Checked<()> {
    let reason = "it must be 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit";
    if job.get(path).is_none() {
        return Err(InvalidSetting::missing(path, reason));
    }
    let name = job.text(path);
    let is_valid = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if is_valid {
        return Ok(());
    }
    Err(InvalidSetting::new(path, name, reason))
}

pub(super) fn not_empty(job: &Job, path: &str) -> Checked<()> {
    let text = job.text(path);
    if text.is_empty() {
        return Err(InvalidSetting::new(path, text, "it must not be empty"));
    }
    Ok(())
}

/// Names of fields with dots between them.
pub(super) fn field_name(job: &Job, path: &str) -> Checked<()> {
    let name = job.text(path);
    if job.get(path).is_some() && name.split('.').any(|part| part.trim().is_empty()) {
        let reason = "it must be the name of a field, with dots where it leads into nested fields";
        return Err(InvalidSetting::new(path, name, reason));
    }
    Ok(())
}

/// A text that says something, where it is written.
pub(super) fn not_blank(job: &Job, path: &str) -> Checked<()> {
    let text = job.text(path);
    if job.get(path).is_some() && text.trim().is_empty() {
        return Err(InvalidSetting::new(path, text, "it must say something, or be left out"));
    }
    Ok(())
}

/// Refuses names that every chat template is given anyway, names that no variable can have, and values that are not
/// JSON.
pub(super) fn template_arguments(job: &Job, path: &str) -> Checked<()> {
    for (name, value) in job.texts_by_name(path) {
        if ["messages", "add_generation_prompt"].contains(&name.as_str()) {
            let reason = "the prompt itself says what it is; it must be left out";
            return Err(InvalidSetting::because(&format!("{path}.{name}"), reason));
        }
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let reason = "its names must be those of a template's variables: letters, digits and `_`, no digit first";
            return Err(InvalidSetting::new(path, name, reason));
        }
        if serde_json::from_str::<serde_json::Value>(&value).is_err() {
            let reason = "it must be JSON, as which template arguments travel";
            return Err(InvalidSetting::new(&format!("{path}.{name}"), value, reason));
        }
    }
    Ok(())
}

/// Checks all four markers. It is the check of the last one, when all have their values.
pub(super) fn markers(job: &Job, path: &str) -> Checked<()> {
    not_empty(job, path)?;
    let all = ["markers.open", "markers.end", "markers.cut", "markers.summary"];
    for field in all {
        for other_field in all {
            let (text, other) = (job.text(field), job.text(other_field));
            if field != other_field && !other.is_empty() && text.contains(&other) {
                let reason = format!("it must not contain {other_field}, which is {other:?}");
                return Err(InvalidSetting::new(field, text, reason));
            }
        }
    }
    Ok(())
}

pub(super) fn budgets(job: &Job, path: &str) -> Checked<()> {
    let budgets = job.budgets(path);
    let ascending = budgets.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = budgets
        .iter()
        .all(|budget| (1..=MAX_TOKENS).contains(&u64::from(*budget)));
    if budgets.is_empty() || !ascending || !in_range {
        let reason = format!("they must be ascending numbers of tokens from 1 to {MAX_TOKENS}, no two equal");
        return Err(InvalidSetting::new(path, budgets, reason));
    }
    Ok(())
}

pub(super) fn steps(job: &Job, path: &str) -> Checked<()> {
    let is_evaluation = job.choice::<v1::JobKind>("kind") == v1::JobKind::Evaluate;
    match job.get(path) {
        None if is_evaluation => Ok(()),
        None => Err(InvalidSetting::missing(path, "it must be 1 or more")),
        Some(_) if job.whole(path) == 0 => Err(InvalidSetting::new(path, 0, "it must be 1 or more")),
        Some(_) => Ok(()),
    }
}

pub(super) fn minibatches(job: &Job) -> Option<Value> {
    let is_sft = job.choice::<v1::JobKind>("kind") == v1::JobKind::Sft;
    let is_one = is_sft || job.whole("training.batch") == 1;
    Some(Value::U32(if is_one { 1 } else { 2 }))
}

/// What the study of long runs chose for policies (docs/study). Supervised updates were no part of it.
pub(super) fn gradient_clip_history(job: &Job) -> Option<Value> {
    let is_sft = job.choice::<v1::JobKind>("kind") == v1::JobKind::Sft;
    Some(Value::F64(if is_sft { 0.0 } else { 1.05 }))
}

pub(super) fn divides_batch(job: &Job, path: &str) -> Checked<()> {
    let (minibatches, batch) = (job.whole(path), job.whole("training.batch"));
    if minibatches == 0 || !batch.is_multiple_of(minibatches) {
        let reason = format!("it must divide training.batch, which is {batch}");
        return Err(InvalidSetting::new(path, minibatches, reason));
    }
    Ok(())
}

/// L_max of the paper's scripts, the response width; or what `own` has for the job's objective.
pub(super) fn normaliser(job: &Job, own: &[(&str, f64)]) -> Option<Value> {
    let name = job.text("objective.name");
    if let Some((_, normaliser)) = own.iter().find(|(objective, _)| *objective == name) {
        return Some(Value::F64(*normaliser));
    }
    let budgets = job.budgets("rollout.budgets");
    let largest = f64::from(budgets.last().copied().unwrap_or(0));
    let summaries = job.whole("rollout.summaries") as f64;
    Some(Value::F64(
        largest + (budgets.len() as f64 * summaries + 1.0) * SUMMARY_WIDTH,
    ))
}

/// A group of training fits into a message.
pub(super) fn training_group_fits(job: &Job, path: &str) -> Checked<()> {
    is_within(job, path, MAX_TOKENS)?;
    group_fits(
        job,
        "rollout.traces",
        &job.budgets("rollout.budgets"),
        job.whole("rollout.summaries"),
    )
}

/// A group of an evaluation fits into a message.
pub(super) fn evaluation_group_fits(job: &Job, path: &str) -> Checked<()> {
    is_within(job, path, MAX_COUNT)?;
    group_fits(
        job,
        "evaluation.samples",
        &job.budgets("evaluation.budgets"),
        job.whole("evaluation.summaries"),
    )
}

/// A group that measures a reference accuracy, at the largest budget alone, fits into a message.
pub(super) fn reference_group_fits(job: &Job, path: &str) -> Checked<()> {
    is_within(job, path, MAX_COUNT)?;
    let largest: Vec<u32> = job.budgets("rollout.budgets").last().copied().into_iter().collect();
    group_fits(job, path, &largest, 1)
}

fn is_within(job: &Job, path: &str, most: u64) -> Checked<()> {
    let number = job.whole(path);
    if (1..=most).contains(&number) {
        return Ok(());
    }
    Err(InvalidSetting::new(path, number, format!("it must be 1 to {most}")))
}

/// Whether the largest group that the setting `traces` allows fits into a message.
fn group_fits(job: &Job, traces: &str, budgets: &[u32], summaries: u64) -> Checked<()> {
    let count = job.whole(traces);
    let largest = u64::from(budgets.last().copied().unwrap_or(0));
    let summaries = summaries.saturating_mul(budgets.len() as u64);
    let summary_tokens = job.whole("rollout.max_summary_tokens");
    let tokens = largest.saturating_add(summaries.saturating_mul(summary_tokens));
    let prompt = job
        .whole("data.max_prompt_tokens")
        .saturating_mul(BYTES_PER_PROMPT_TOKEN);
    let bytes = tokens
        .saturating_mul(BYTES_PER_TOKEN)
        .saturating_add(summaries.saturating_mul(BYTES_PER_SUMMARY))
        .saturating_mul(count)
        .saturating_add(prompt);
    if bytes <= MAX_MESSAGE_BYTES as u64 {
        return Ok(());
    }
    let (size, most) = (bytes.div_ceil(MIB), MAX_MESSAGE_BYTES as u64 / MIB);
    let reason = format!(
        "a group of so many traces of up to {largest} tokens, each with {summaries} summaries of up to \
         {summary_tokens}, can have {size} MiB, and a message has at most {most} MiB"
    );
    Err(InvalidSetting::new(traces, count, reason))
}

/// 0 in a deterministic job, else 1: if several versions may generate a group, it depends on time which one does.
pub(super) fn max_staleness(job: &Job) -> Option<Value> {
    Some(Value::U64(u64::from(!job.flag("rollout.deterministic"))))
}

pub(super) fn staleness_is_deterministic(job: &Job, path: &str) -> Checked<()> {
    let staleness = job.whole(path);
    if staleness > 0 && job.flag("rollout.deterministic") {
        let reason = "it must be 0 where rollout.deterministic is true, because which of several versions generates a \
                      group depends on time";
        return Err(InvalidSetting::new(path, staleness, reason));
    }
    Ok(())
}

pub(super) fn queue_groups(job: &Job) -> Option<Value> {
    let batch = job.whole("training.batch") as u32;
    Some(Value::U32(batch.saturating_mul(2)))
}

pub(super) fn queue_holds_batch(job: &Job, path: &str) -> Checked<()> {
    let (groups, batch) = (job.whole(path), job.whole("training.batch"));
    if groups < batch {
        let reason = format!("it must be {batch} (training.batch) or more, or no step could ever start");
        return Err(InvalidSetting::new(path, groups, reason));
    }
    if groups > MAX_TOKENS {
        return Err(InvalidSetting::new(
            path,
            groups,
            format!("it must be 1 to {MAX_TOKENS}"),
        ));
    }
    Ok(())
}

/// The table that is written says which objective is meant; without one it is the paper's.
pub(super) fn objective_name(job: &Job) -> Option<Value> {
    let name = written_table(job).unwrap_or(PAPERS_OBJECTIVE);
    Some(Value::String(name.to_owned()))
}

/// The table that belongs to an objective, if one is written.
pub(super) fn written_table(job: &Job) -> Option<&'static str> {
    let is_written = |name: &&&str| job.get(&format!("objective.{name}")).is_some();
    Settings::NAMES.iter().find(is_written).copied()
}

/// The name is one that there is, and the table is that of the name.
pub(super) fn objective(job: &Job, path: &str) -> Checked<()> {
    let name = job.text(path);
    if Settings::of_name(&name).is_none() {
        let reason = format!("it must be {}", alternatives(Settings::NAMES));
        return Err(InvalidSetting::new(path, name, reason));
    }
    match written_table(job) {
        Some(table) if table != name => Err(InvalidSetting {
            field: format!("objective.{table}"),
            value: Some("written".to_owned()),
            reason: format!("with objective.name {name:?} only [objective.{name}] can be"),
        }),
        _ => Ok(()),
    }
}

/// Checks the weights that belong to a prior, which have its name with `_weights` behind it.
pub(super) fn prior(job: &Job, path: &str) -> Checked<()> {
    let weights = job.numbers(&format!("{path}_weights"));
    check_prior_weights(path, job.choice(path), &weights, job.budgets("rollout.budgets").len())
}

/// The number of traces must be even where half of them must not think: the log-probability of a trace's kind is log
/// 0.5 only where the halves are equal.
pub(super) fn even_traces(job: &Job, path: &str) -> Checked<()> {
    let traces = job.whole("rollout.traces");
    if job.get(path).is_some() && !traces.is_multiple_of(2) {
        let reason = format!("with [{path}], half of whose traces do not think, it must be even");
        return Err(InvalidSetting::new("rollout.traces", traces, reason));
    }
    Ok(())
}

/// `setting` is the name of the prior. The setting of its weights has this name with `_weights` behind it.
fn check_prior_weights(setting: &str, prior: v1::Prior, weights: &[f64], budgets: usize) -> Checked<()> {
    let field = format!("{setting}_weights");
    if prior != v1::Prior::Explicit {
        if weights.is_empty() {
            return Ok(());
        }
        let reason = format!("it counts only where {setting} is \"explicit\"");
        return Err(InvalidSetting::new(&field, weights, reason));
    }
    // The sum of no weights is -0, which nobody wants to read.
    let sum: f64 = weights.iter().sum::<f64>() + 0.0;
    let negative = weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0);
    if weights.len() != budgets || negative || (sum - 1.0).abs() > PRIOR_TOLERANCE {
        let reason = format!(
            "it must be {budgets} weights (one per budget), none negative, with sum 1; there are {}, with sum {sum}",
            weights.len()
        );
        return Err(InvalidSetting::new(&field, weights, reason));
    }
    Ok(())
}

/// The projections of a layer that may have adapters.
pub(super) const LORA_TARGETS: &[&str] = &[
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// What is divided beyond the moments goes layer by layer, which adapters and kept activations do not.
pub(super) fn sharding(job: &Job, path: &str) -> Checked<()> {
    let value = match job.choice(path) {
        v1::Sharding::Gradients => "gradients",
        v1::Sharding::Full => "full",
        _ => return Ok(()),
    };
    let kept = "training.activation_checkpointing";
    let reason = if job.get("training.lora.rank").is_some() {
        "it must be none or optimizer with training.lora, whose adapters are small and whose base is not divided"
    } else if job.get(kept).is_some() && !job.flag(kept) {
        "it must be none or optimizer with training.activation_checkpointing = false, because a pass that keeps its \
         activations keeps the weights of all layers too"
    } else {
        return Ok(());
    };
    Err(InvalidSetting::new(path, value, reason))
}

/// Each target is a projection and is named once.
pub(super) fn lora_targets(job: &Job, path: &str) -> Checked<()> {
    let targets = job.texts(path);
    let is_good = |(index, target): (usize, &String)| {
        LORA_TARGETS.contains(&target.as_str()) && !targets[..index].contains(target)
    };
    if !targets.is_empty() && targets.iter().enumerate().all(is_good) {
        return Ok(());
    }
    let reason = format!("it must list some of {}, each once", LORA_TARGETS.join(", "));
    Err(InvalidSetting::new(path, targets, reason))
}
