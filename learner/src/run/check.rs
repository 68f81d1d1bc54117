//! What a check of a job finds, for people: the first prompt as the model will see it, what ends a sequence, the counts
//! of the data, and the memory that the processes will take.

use anytime_policy::{Origin, expected_tensors};
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;

use super::memory::{memory, on_gpus};
use super::notices::notices;
use super::prepare::Prepared;

/// What was found in the files of a job that can work.
///
/// # Errors
/// A token that the tokenizer cannot write as text.
pub(super) fn job_check(settings: &JobSettings, prepared: &Prepared) -> Result<v1::JobCheck, InvalidSetting> {
    let tokenizer = &prepared.tokenizer;
    let text = |ids: &[u32]| {
        tokenizer.decode(ids).map_err(|error| {
            InvalidSetting::because(
                "model.path",
                format!("the tokenizer cannot decode its own ids ({error})"),
            )
        })
    };
    let problems = prepared.problems.iter().chain(&prepared.evaluation_problems);
    let mut prompts = problems
        .map(|problem| &problem.prompt_ids)
        .chain(prepared.completions.iter().map(|row| &row.0));
    let prompt_ids = prompts.next().cloned().unwrap_or_default();
    let mut ends = Vec::new();
    for id in tokenizer.eos_ids() {
        ends.push(v1::CheckedToken {
            id: *id,
            text: text(&[*id])?,
        });
    }
    let sizes = expected_tensors(&prepared.config);
    let parameters: i64 = sizes.iter().map(|(_, shape)| shape.iter().product::<i64>()).sum();
    Ok(v1::JobCheck {
        prompt_text: text(&prompt_ids)?,
        prompt_ids,
        template: template(settings, prepared),
        ends,
        data: prepared.checks.clone(),
        memory: memory(settings, prepared, parameters as u64),
        gpus: on_gpus(settings, prepared, parameters as u64),
        notices: notices(settings, &prepared.checks, &prepared.notes),
        parameters: parameters as u64,
        // Whoever has fetched it knows.
        hub: Vec::new(),
    })
}

/// Where the chat template for the prompts is; empty where no template is used.
fn template(settings: &JobSettings, prepared: &Prepared) -> String {
    let origin = prepared.tokenizer.chat_template_origin();
    let is_used = settings.data.chat_template.unwrap_or(true);
    origin.filter(|_| is_used).map(Origin::short).unwrap_or_default()
}
