//! What the server knows of its model before the first request: markers, budgets, defaults and limits, checked.

use std::path::Path;
use std::sync::Arc;

use anytime_policy::{Decoder, ModelConfig, Tokenizer, check_row_independence, device};
use anytime_proto::settings::reason_that_no_model_is_there;
use anytime_proto::{JobId, WeightsVersion, v1};
use anytime_service::exit::ExitError;
use serde::Deserialize;
use tch::Device;

use super::reward::RewardService;
use crate::config::{ReasoningField, ServeArgs};
use crate::engine::{Model, ModelId};

/// The file of a model directory that says how it is asked.
const FILE: &str = "anytime.json";

/// The job by which the engine knows the weights of a checkpoint, which have one version.
const JOB: &str = "served";

/// What `anytime.json` may hold; exports of this project write it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Hints {
    markers: MarkerHints,
    budgets: Vec<u32>,
    max_summary_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    instruction: Option<String>,
    chat_template: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MarkerHints {
    open: Option<String>,
    end: Option<String>,
    cut: Option<String>,
    summary: Option<String>,
}

/// What bounds one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest prompt, in tokens.
    pub(crate) prompt: usize,
    /// The largest budget, in tokens.
    pub(crate) thinking: u32,
    /// The longest summary, in tokens.
    pub(crate) summary: u32,
    /// The most summaries at a budget.
    pub(crate) summaries: u32,
    /// The most branches of a request.
    pub(crate) branches: u32,
    /// The longest sequence of the model, in tokens.
    pub(crate) context: usize,
    /// Tokens that may stand between a thinking and its summary.
    pub(crate) inserted: usize,
    /// Requests under way and waiting.
    pub(crate) requests: usize,
    /// Seconds that a request may take.
    pub(crate) seconds: u64,
    /// Bytes of a body.
    pub(crate) body: usize,
}

/// Everything that requests are checked against and turned into plans with.
pub(crate) struct Served {
    /// What the model is called.
    pub(crate) name: String,
    /// By which job the engine knows the weights.
    pub(crate) job_id: JobId,
    /// Whether that job is one of a learner, whose versions are followed.
    pub(crate) follows: bool,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) markers: v1::MarkerIds,
    /// The text that ends a thinking.
    pub(crate) end_text: String,
    /// What opens the thinking, behind the prompt.
    pub(crate) open: Vec<u32>,
    /// The budgets of a request that names none.
    pub(crate) budgets: Vec<u32>,
    pub(crate) sampling: v1::Sampling,
    pub(crate) instruction: String,
    pub(crate) uses_template: bool,
    /// Rows of the embedding that a tokenizer's id may have.
    pub(crate) vocabulary: u32,
    /// Whether a request with a seed has the same tokens in any company.
    pub(crate) is_reproducible: bool,
    pub(crate) reasoning: ReasoningField,
    /// Scores branches, where the server was given one.
    pub(crate) reward: Option<Arc<RewardService>>,
    pub(crate) limits: Limits,
}

/// Reads the model, and what it is asked with. Packing the weights takes seconds: not for an async thread.
///
/// # Errors
/// [`ExitError`] with the configuration code that names the argument or the file.
pub(crate) fn open(args: &ServeArgs, directory: &Path, device: Device) -> Result<(Served, Model), ExitError> {
    let refuse =
        |error: &dyn std::fmt::Display| ExitError::configuration(format!("--model {}: {error}", directory.display()));
    let shown = directory.display().to_string();
    if let Some(reason) = reason_that_no_model_is_there(Path::new(""), &shown) {
        return Err(refuse(&reason));
    }
    let hints = read_hints(directory).map_err(|error| refuse(&format!("{FILE}: {error}")))?;
    let config = ModelConfig::load(directory).map_err(|error| refuse(&error))?;
    let tokenizer = Tokenizer::load(directory).map_err(|error| refuse(&error))?;
    let kind = device::default_kind(device);
    let weights = anytime_policy::read_weights(directory, &config, kind, device).map_err(|error| refuse(&error))?;
    let mut decoder = Decoder::new(&config, &weights)
        .map_err(|error| refuse(&error))?
        .for_generation();
    let is_reproducible = device == Device::Cpu && check_row_independence(&mut decoder).is_ok();
    let model_of = Origin {
        name: directory_name(directory),
        job_id: JobId(JOB.to_owned()),
        follows: false,
        is_reproducible,
    };
    let served = Served::try_new(args, model_of, &hints, &config, Arc::new(tokenizer))?;
    let model = Model {
        id: ModelId {
            job_id: served.job_id.clone(),
            version: WeightsVersion(0),
            manifest_checksum: String::new(),
        },
        tokenizer: Arc::clone(&served.tokenizer),
        config: Arc::new(config),
        decoder,
    };
    Ok((served, model))
}

fn read_hints(directory: &Path) -> Result<Hints, String> {
    match std::fs::read(directory.join(FILE)) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Hints::default()),
        Err(error) => Err(error.to_string()),
    }
}

/// Where the weights come from.
pub(super) struct Origin {
    /// What the model is called where the arguments do not say.
    pub(super) name: String,
    pub(super) job_id: JobId,
    pub(super) follows: bool,
    pub(super) is_reproducible: bool,
}

impl Served {
    /// Checks what the arguments and the model say together.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument.
    pub(super) fn try_new(
        args: &ServeArgs,
        origin: Origin,
        hints: &Hints,
        config: &ModelConfig,
        tokenizer: Arc<Tokenizer>,
    ) -> Result<Self, ExitError> {
        let text = |given: &Option<String>, hint: &Option<String>, usual: &str| {
            given
                .clone()
                .or_else(|| hint.clone())
                .unwrap_or_else(|| usual.to_owned())
        };
        let vocabulary = tokenizer
            .vocabulary_size()
            .min(u32::try_from(config.vocab_size).unwrap_or(u32::MAX));
        let spell = |name: &str, text: &str| marker_ids(&tokenizer, vocabulary, name, text);
        let open = spell("--markers-open", &text(&args.markers_open, &hints.markers.open, ""))?;
        let end_marker = text(&args.markers_end, &hints.markers.end, "</think>");
        let cut = text(&args.markers_cut, &hints.markers.cut, "...\n\n...\n\n");
        let summary = text(&args.markers_summary, &hints.markers.summary, "\n\n**Final Answer**\n");
        let end = spell("--markers-end", &end_marker)?;
        let cut = spell("--markers-cut", &cut)?;
        let summary = spell("--markers-summary", &summary)?;
        for (name, ids) in [("--markers-end", &end), ("--markers-summary", &summary)] {
            if ids.is_empty() {
                return Err(ExitError::configuration(format!("{name} is empty; it must be a text")));
            }
        }
        let end_text = text_of_end(&tokenizer, &end_marker, &end);
        let budgets = if args.budgets.is_empty() {
            hints.budgets.clone()
        } else {
            args.budgets.clone()
        };
        let budgets = if budgets.is_empty() {
            vec![2000, 4000, 6000, 8000]
        } else {
            budgets
        };
        if budgets[0] == 0 || !budgets.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(ExitError::configuration(format!(
                "--budgets {budgets:?}: they must ascend from 1 or more"
            )));
        }
        let largest = budgets[budgets.len() - 1];
        let thinking = args.max_thinking.unwrap_or(largest.saturating_mul(2));
        if thinking < largest {
            return Err(ExitError::configuration(format!(
                "--max-thinking {thinking}: it must be at least the largest of --budgets, {largest}"
            )));
        }
        let sampling = v1::Sampling {
            temperature: args.temperature.or(hints.temperature).unwrap_or(1.0),
            top_p: args.top_p.or(hints.top_p).unwrap_or(1.0),
            top_k: args.top_k.or(hints.top_k).unwrap_or(0),
        };
        if !(sampling.temperature.is_finite() && sampling.temperature > 0.0) {
            let message = format!("--temperature {}: it must be above 0", sampling.temperature);
            return Err(ExitError::configuration(message));
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            let message = format!("--top-p {}: it must be above 0 and at most 1", sampling.top_p);
            return Err(ExitError::configuration(message));
        }
        let uses_template = args
            .chat_template
            .or(hints.chat_template)
            .unwrap_or(tokenizer.has_chat_template());
        if uses_template && !tokenizer.has_chat_template() {
            return Err(ExitError::configuration(
                "--chat-template true: it must be false, because the model has no chat template",
            ));
        }
        let inserted = cut.len() + end.len() + summary.len();
        let context = config.longest_sequence();
        let max_summary = args.max_summary_tokens.or(hints.max_summary_tokens).unwrap_or(118);
        let least = 1 + largest as usize + inserted + max_summary as usize;
        if least > context {
            return Err(ExitError::configuration(format!(
                "--budgets {largest}: with a summary of {max_summary} tokens and {inserted} that are inserted it is longer than \
                 the model's sequences, {context} tokens; give smaller --budgets"
            )));
        }
        let thinking = thinking.min(u32::try_from(context + largest as usize - least).unwrap_or(u32::MAX));
        let prompt = (args.max_prompt_tokens as usize).min(context + 1 - least);
        Ok(Self {
            name: args.name.clone().unwrap_or(origin.name),
            job_id: origin.job_id,
            follows: origin.follows,
            tokenizer,
            markers: v1::MarkerIds {
                end,
                cut,
                summary,
                end_text: end_text.clone(),
            },
            end_text,
            open,
            budgets,
            sampling,
            instruction: text(&args.instruction, &hints.instruction, ""),
            uses_template,
            vocabulary,
            is_reproducible: origin.is_reproducible,
            reasoning: args.reasoning_field,
            reward: RewardService::of(args)?,
            limits: Limits {
                prompt,
                thinking,
                summary: max_summary,
                summaries: args.max_summaries,
                branches: args.max_branches,
                context,
                inserted,
                requests: args.max_requests as usize,
                seconds: args.request_timeout,
                body: args.max_body_bytes as usize,
            },
        })
    }

    /// Tokens that a prefix slot has to hold, whatever is asked for.
    pub(crate) fn longest_prefix(&self) -> usize {
        self.limits.prompt + self.limits.thinking as usize
    }

    /// The same for a branch slot.
    pub(crate) fn longest_branch(&self) -> usize {
        self.limits.inserted + self.limits.summary as usize
    }
}

fn marker_ids(tokenizer: &Tokenizer, vocabulary: u32, name: &str, text: &str) -> Result<Vec<u32>, ExitError> {
    let refuse = |why: &dyn std::fmt::Display| {
        ExitError::configuration(format!("{name} {text:?}: the model cannot spell it ({why})"))
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let ids = tokenizer.encode(text).map_err(|error| refuse(&error))?;
    if ids.is_empty() {
        return Err(refuse(&"its tokenizer makes no tokens of it"));
    }
    match ids.iter().find(|&&id| id >= vocabulary) {
        Some(id) => Err(refuse(&format!("its token {id} is beyond the embedding"))),
        None => Ok(ids),
    }
}

/// The text by which the end marker is found in what the model writes, and kept out of what is sent. Unlike in training it
/// is looked for even where the marker is one added token, since the model can spell it with others, too.
fn text_of_end(tokenizer: &Tokenizer, marker: &str, ids: &[u32]) -> String {
    let spelled = tokenizer.decode(ids).unwrap_or_default();
    if spelled.contains(marker) {
        return marker.to_owned();
    }
    spelled.trim().to_owned()
}

fn directory_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "model".to_owned())
}
