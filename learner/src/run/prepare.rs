//! From settings to everything that a job needs besides the weights: the model's configuration, tokenizer, marker ids,
//! tokenised problems. It runs twice: at submission, so that a bad job is refused before it exists, and when the job
//! starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anytime_objectives::objective;
use anytime_policy::{ModelConfig, Tokenizer};
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;

use super::model::{OpenModel, markers, model_notes, open_model, template_in_use};
use super::prompts::{self, PromptAndCompletion, Prompted};
use super::rendering::Rendering;
use crate::data::{CompletionRow, DataFiles, Fields, ProblemRow};

/// The inputs of a job, read and checked.
pub struct Prepared {
    /// The model's directory.
    pub model_directory: PathBuf,
    /// Its config.json.
    pub config: ModelConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Markers as ids.
    pub markers: v1::MarkerIds,
    /// The training problems of a train job; empty for other jobs.
    pub problems: Vec<v1::Problem>,
    /// The problems on which a train or evaluate job measures accuracy. May be empty for train jobs.
    pub evaluation_problems: Vec<v1::Problem>,
    /// The rows of `evaluation_problems`, one each.
    pub evaluation_rows: Vec<ProblemRow>,
    /// The rows of an sft job, which are imitated; empty for other jobs.
    pub completions: Vec<PromptAndCompletion>,
    /// What was found in the files of `data.path` and `evaluation.path`, as far as the job reads them.
    pub checks: Vec<v1::DataCheck>,
    /// Which chat template prompts go through, as a sentence.
    pub template: String,
    /// What a user should know about how the model's files were read, a sentence each.
    pub notes: Vec<String>,
}

impl Prepared {
    /// How many ids the model can generate: those that both its tokenizer and its embedding have.
    pub fn vocabulary(&self) -> u32 {
        let rows = u32::try_from(self.config.vocab_size).unwrap_or(u32::MAX);
        self.tokenizer.vocabulary_size().min(rows)
    }

    /// The most ids that are inserted before a summary.
    pub(super) fn inserted_tokens(&self) -> usize {
        self.markers.cut.len() + self.markers.end.len() + self.markers.summary.len()
    }
}

/// Reads and checks everything that the job names. Relative paths start at `root`. Data is read until `until`, if that
/// is given; the part that was read then stands for the whole.
///
/// # Errors
/// The first setting that cannot work.
pub fn prepare(settings: &JobSettings, root: &Path, until: Option<Instant>) -> Result<Prepared, InvalidSetting> {
    let model_directory = root.join(&settings.model.path);
    let model = open_model(settings, root)?;
    let (open, markers) = markers(settings, &model)?;
    let rendering = Rendering::new(settings, &model, &open)?;
    let fields = Fields {
        problem: settings.data.problem_field.as_deref(),
        answer: settings.data.answer_field.as_deref(),
        or_common: false,
    };
    let data = DataFiles {
        setting: "data.path",
        names: &settings.data.path,
        root,
        fields,
        until,
    };
    // In a train job, `data.problem_field` and `data.answer_field` belong to the training file first of all.
    let or_common = settings.kind == v1::JobKind::Train;
    let evaluation = DataFiles {
        setting: "evaluation.path",
        names: &settings.evaluation.path,
        fields: Fields { or_common, ..fields },
        ..data
    };
    let prompt_ids = |field: &str, problem: &str| rendering.ids(field, problem);
    let mut checks = Vec::new();
    let mut completions = Vec::new();
    let mut problems = Vec::new();
    let mut evaluation_problems = Vec::new();
    let mut evaluation_rows = Vec::new();
    match settings.kind {
        v1::JobKind::Sft => {
            let encode = |row: &CompletionRow| completion_ids(settings, &rendering, &model, row);
            let (rows, check) = prompts::completions(&data, settings, encode)?;
            completions = rows;
            checks.push(check);
        }
        v1::JobKind::Train => {
            let prompted = prompts::problems(&data, settings, &prompt_ids)?;
            problems = prompted.problems;
            checks.push(prompted.check);
        }
        v1::JobKind::Evaluate | v1::JobKind::Unspecified => {}
    }
    if settings.kind != v1::JobKind::Sft && !settings.evaluation.path.is_empty() {
        let Prompted { problems, rows, check } = prompts::problems(&evaluation, settings, &prompt_ids)?;
        (evaluation_problems, evaluation_rows) = (problems, rows);
        checks.push(check);
    }
    let (template, notes) = (
        template_in_use(settings, &model.tokenizer),
        model_notes(settings, &model),
    );
    let OpenModel { config, tokenizer, .. } = model;
    let prepared = Prepared {
        model_directory,
        config,
        tokenizer,
        markers,
        problems,
        evaluation_problems,
        evaluation_rows,
        completions,
        checks,
        template,
        notes,
    };
    if settings.kind != v1::JobKind::Sft {
        check_length(settings, &prepared)?;
    }
    if settings.kind == v1::JobKind::Train {
        check_needs(settings, &prepared)?;
    }
    Ok(prepared)
}

/// The ids of a supervised row. One that is longer than the model's own limit is refused: beyond it the model would be
/// taught positions that it does not have. Rows whose prompt is left out anyway are not looked at.
fn completion_ids(
    settings: &JobSettings,
    rendering: &Rendering<'_>,
    model: &OpenModel,
    row: &CompletionRow,
) -> Result<PromptAndCompletion, InvalidSetting> {
    let prompt_ids = rendering.ids("data.path", &row.prompt)?;
    if prompt_ids.len() > settings.data.max_prompt_tokens as usize {
        return Ok((prompt_ids, Vec::new()));
    }
    let mut completion_ids = model.tokenizer.encode(&row.completion).map_err(|error| {
        let reason = format!(
            "the model's tokenizer cannot spell the completion {:?} ({error}); leave it out",
            row.completion
        );
        InvalidSetting::because("data.path", reason)
    })?;
    rendering.refuse_beyond_embedding("data.path", &row.completion, &completion_ids)?;
    completion_ids.push(model.tokenizer.completion_end());
    let (length, positions) = (
        prompt_ids.len() + completion_ids.len(),
        model.config.max_position_embeddings,
    );
    if length > positions {
        let reason = format!(
            "prompt and completion of {:?} have {length} tokens, more than the model's max_position_embeddings \
             ({positions}); shorten them, or leave them out",
            beginning(&row.prompt)
        );
        return Err(InvalidSetting::because("data.path", reason));
    }
    Ok((prompt_ids, completion_ids))
}

/// The first characters of a text, for a message.
fn beginning(text: &str) -> String {
    const CHARACTERS: usize = 60;
    let mut characters = text.chars();
    let mut start: String = characters.by_ref().take(CHARACTERS).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    start
}

/// Checks the objective's needs: forced traces need room for the end marker, and reference accuracies different ids.
fn check_needs(settings: &JobSettings, prepared: &Prepared) -> Result<(), InvalidSetting> {
    let needs = objective(&settings.objective).needs(settings.rollout.traces);
    let name = &settings.objective.name;
    let (budgets, end) = (&settings.rollout.budgets, prepared.markers.end.len());
    if needs.no_thinking_traces > 0 && (budgets[0] as usize) < end {
        let reason = format!(
            "with objective.name {name:?}, which makes traces end at once, they must hold the end marker ({end} tokens)"
        );
        return Err(InvalidSetting::new("rollout.budgets", budgets, reason));
    }
    if needs.reference_samples.is_none() {
        return Ok(());
    }
    let mut ids = BTreeSet::new();
    for problem in &prepared.problems {
        if !ids.insert(&problem.id) {
            let reason = format!(
                "with objective.name {name:?}, which measures every problem, its problems must have different ids, and \
                 {:?} comes twice",
                problem.id
            );
            return Err(InvalidSetting::new("data.path", &settings.data.path, reason));
        }
    }
    Ok(())
}

/// The longest sequence that the job can make must fit the model's positions.
fn check_length(settings: &JobSettings, prepared: &Prepared) -> Result<(), InvalidSetting> {
    let all = prepared.problems.iter().chain(&prepared.evaluation_problems);
    let prompt = all.map(|problem| problem.prompt_ids.len()).max().unwrap_or(0);
    let inserted = prepared.inserted_tokens();
    // Budgets at which the job generates nothing are not checked: their default is made for long contexts.
    let lists = [
        ("rollout.budgets", &settings.rollout.budgets, &prepared.problems),
        (
            "evaluation.budgets",
            &settings.evaluation.budgets,
            &prepared.evaluation_problems,
        ),
    ];
    for (field, budgets, problems) in lists {
        if problems.is_empty() {
            continue;
        }
        let largest = budgets.last().copied().unwrap_or(0) as usize;
        let length = prompt + largest + inserted + settings.rollout.max_summary_tokens as usize;
        if length > prepared.config.longest_sequence() {
            let reason = format!(
                "they must leave room for the longest prompt ({prompt}), the markers ({inserted}) and a summary ({}) \
                 within the {} positions of the model (max_position_embeddings, and what YaRN makes of it)",
                settings.rollout.max_summary_tokens,
                prepared.config.longest_sequence()
            );
            return Err(InvalidSetting::new(field, budgets, reason));
        }
    }
    Ok(())
}
