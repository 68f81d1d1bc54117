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

use super::prompts::{self, Prompted, with_instruction};
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
}

/// The ids of a supervised row: the prompt, and the completion with the end of sequence behind it.
pub type PromptAndCompletion = (Vec<u32>, Vec<u32>);

/// Reads and checks everything that the job names. Relative paths start at `root`. Data is read until the given time,
/// where there is one, and then what has been read stands for the whole.
///
/// # Errors
/// The first setting that cannot work.
pub fn prepare(settings: &JobSettings, root: &Path, until: Option<Instant>) -> Result<Prepared, InvalidSetting> {
    let model_directory = root.join(&settings.model.path);
    let (config, tokenizer) = open_model(settings, &model_directory)?;
    let open = marker_ids(&tokenizer, "markers.open", &settings.markers.open)?;
    let mut markers = v1::MarkerIds::default();
    // Supervised rows hold their markers themselves.
    if settings.kind != v1::JobKind::Sft {
        markers.end = marker_ids(&tokenizer, "markers.end", &settings.markers.end)?;
        markers.cut = marker_ids(&tokenizer, "markers.cut", &settings.markers.cut)?;
        markers.summary = marker_ids(&tokenizer, "markers.summary", &settings.markers.summary)?;
        check_marker_ids(settings, &open, &markers)?;
    }

    let prompts = Prompts {
        settings,
        tokenizer: &tokenizer,
        open: &open,
    };
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
    // Where a job trains, the names of fields are those of the other file first of all.
    let or_common = settings.kind == v1::JobKind::Train;
    let evaluation = DataFiles {
        setting: "evaluation.path",
        names: &settings.evaluation.path,
        fields: Fields { or_common, ..fields },
        ..data
    };
    let prompt_ids = |field: &str, problem: &str| prompts.prompt_ids(field, problem);
    let mut checks = Vec::new();
    let mut completions = Vec::new();
    let mut problems = Vec::new();
    let mut evaluation_problems = Vec::new();
    let mut evaluation_rows = Vec::new();
    match settings.kind {
        v1::JobKind::Sft => {
            let (rows, check) = prompts::completions(&data, |row| prompts.completion(row))?;
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
    };
    if settings.kind != v1::JobKind::Sft {
        check_length(settings, &prepared)?;
    }
    if settings.kind == v1::JobKind::Train {
        check_needs(settings, &prepared)?;
    }
    Ok(prepared)
}

fn open_model(settings: &JobSettings, directory: &Path) -> Result<(ModelConfig, Tokenizer), InvalidSetting> {
    let refuse = |error: &dyn std::fmt::Display| {
        let reason = format!("it must be a Hugging Face checkpoint directory: {error}");
        InvalidSetting::new("model.path", directory.display().to_string(), reason)
    };
    if !directory.is_dir() {
        return Err(refuse(&"no such directory"));
    }
    if let Some(name) = irregular_file(directory) {
        return Err(refuse(&format!("{name} in it is no regular file")));
    }
    let config = ModelConfig::load(directory).map_err(|error| refuse(&error))?;
    let tokenizer = Tokenizer::load(directory).map_err(|error| refuse(&error))?;
    if !settings.model.initialise {
        anytime_policy::check_weights(directory, &config).map_err(|error| refuse(&error))?;
    }
    if tokenizer.vocabulary_size() as i64 > config.vocab_size {
        let sizes = format!(
            "the tokenizer has {} ids, the embedding {} (vocab_size in config.json), which must have as many or more",
            tokenizer.vocabulary_size(),
            config.vocab_size
        );
        return Err(refuse(&sizes));
    }
    let is_beyond = |id: &&u32| i64::from(**id) >= config.vocab_size;
    if let Some(id) = tokenizer.eos_ids().iter().find(is_beyond) {
        return Err(refuse(&format!(
            "eos_token_id is {id}; it must be below vocab_size in config.json, which is {}",
            config.vocab_size
        )));
    }
    Ok((config, tokenizer))
}

/// An entry of the directory whose reading could wait for ever, such as a FIFO.
fn irregular_file(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?;
    let is_irregular = |path: &Path| std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    let mut irregular = entries.flatten().filter(|entry| is_irregular(&entry.path()));
    irregular
        .next()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn marker_ids(tokenizer: &Tokenizer, field: &str, text: &str) -> Result<Vec<u32>, InvalidSetting> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |what: &str| InvalidSetting::new(field, text, format!("it must be a text that {what}"));
    let ids = tokenizer
        .encode(text)
        .map_err(|error| refuse(&format!("the model's vocabulary can spell ({error})")))?;
    if ids.is_empty() {
        Err(refuse("has tokens, and the model's tokenizer makes none of this one"))
    } else {
        Ok(ids)
    }
}

/// Compares the markers by their ids, which is what the model sees: different strings may have the same ids.
fn check_marker_ids(settings: &JobSettings, open: &[u32], markers: &v1::MarkerIds) -> Result<(), InvalidSetting> {
    let named = [
        ("markers.open", &settings.markers.open, open),
        ("markers.end", &settings.markers.end, &markers.end),
        ("markers.cut", &settings.markers.cut, &markers.cut),
        ("markers.summary", &settings.markers.summary, &markers.summary),
    ];
    for (field, text, ids) in named {
        for (other_field, _, other) in named {
            let contains = !other.is_empty() && ids.windows(other.len()).any(|window| window == other);
            if field != other_field && contains {
                let reason = format!("its tokens {ids:?} must not contain those of {other_field}, {other:?}");
                return Err(InvalidSetting::new(field, text, reason));
            }
        }
    }
    Ok(())
}

/// Turns problems and completions into ids.
struct Prompts<'a> {
    settings: &'a JobSettings,
    tokenizer: &'a Tokenizer,
    open: &'a [u32],
}

impl Prompts<'_> {
    /// Problem and instruction, through the chat template where the model has one, then the marker that opens the
    /// thinking.
    fn prompt_ids(&self, field: &str, problem: &str) -> Result<Vec<u32>, InvalidSetting> {
        let data = &self.settings.data;
        let refuse = |error: &dyn std::fmt::Display| {
            let reason = format!("the model's tokenizer cannot spell the prompt {problem:?} ({error}); leave it out");
            InvalidSetting::because(field, reason)
        };
        let user = with_instruction(problem, &data.instruction);
        let use_template = match data.chat_template {
            Some(true) if !self.tokenizer.has_chat_template() => {
                return Err(InvalidSetting::new(
                    "data.chat_template",
                    true,
                    "it must be false, because the model has no chat template",
                ));
            }
            Some(choice) => choice,
            None => self.tokenizer.has_chat_template(),
        };
        let text = if use_template {
            self.tokenizer.render_chat(&user).map_err(|error| {
                let reason = format!(
                    "the model's template fails on the prompt {problem:?} ({error}); correct the template, or set this \
                     to false"
                );
                InvalidSetting::because("data.chat_template", reason)
            })?
        } else {
            user
        };
        let mut ids = self.tokenizer.encode(&text).map_err(|error| refuse(&error))?;
        ids.extend_from_slice(self.open);
        if ids.is_empty() {
            return Err(refuse(&"it has no tokens"));
        }
        Ok(ids)
    }

    fn completion(&self, row: &CompletionRow) -> Result<PromptAndCompletion, InvalidSetting> {
        let prompt_ids = self.prompt_ids("data.path", &row.prompt)?;
        let mut completion_ids = self.tokenizer.encode(&row.completion).map_err(|error| {
            let reason = format!(
                "the model's tokenizer cannot spell the completion {:?} ({error}); leave it out",
                row.completion
            );
            InvalidSetting::because("data.path", reason)
        })?;
        completion_ids.extend(self.tokenizer.eos_ids().first());
        Ok((prompt_ids, completion_ids))
    }
}

/// Traces that are made to end at once need room for the end marker, and accuracies are kept by problem id.
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
    let markers = &prepared.markers;
    let inserted = markers.cut.len() + markers.end.len() + markers.summary.len();
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
        if length > prepared.config.max_position_embeddings {
            let reason = format!(
                "they must leave room for the longest prompt ({prompt}), the markers ({inserted}) and a summary ({}) \
                 within the model's max_position_embeddings ({})",
                settings.rollout.max_summary_tokens, prepared.config.max_position_embeddings
            );
            return Err(InvalidSetting::new(field, budgets, reason));
        }
    }
    Ok(())
}
