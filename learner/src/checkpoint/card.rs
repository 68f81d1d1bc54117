//! The model card of an export, `README.md` as the Hugging Face hub has it: what the model was trained with, how accurate
//! it was at every budget before and after, and the strings by which a budget is kept to elsewhere. It names no directory of
//! this machine: a path is shown by its last part, and what is of the hub by its name there.

use std::fmt::Write as _;

use anytime_proto::ShortName as _;
use anytime_proto::settings::{HubReference, JobSettings};
use anytime_proto::v1;
use serde_json::json;

use super::front_matter::FrontMatter;

/// Decimal places of an accuracy.
const PLACES: usize = 3;

/// What a card is made of.
#[derive(Clone, Copy)]
pub struct Card<'a> {
    /// The job.
    pub job: &'a v1::Job,
    /// The export's step.
    pub step: u64,
    /// The README of the model that the job started from.
    pub base: Option<&'a str>,
    /// Under which name that stands beside the card.
    pub base_name: &'a str,
}

/// What an export says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its card, for people.
    pub card: String,
    /// How it is asked, as JSON.
    pub asking: String,
}

/// Markers, budgets and the rest that a request to the model depends on, as `anytime serve` reads them.
pub fn asking(settings: &JobSettings) -> String {
    let (markers, rollout) = (&settings.markers, &settings.rollout);
    let asking = json!({
        "markers": {
            "open": markers.open, "end": markers.end, "cut": markers.cut, "summary": markers.summary,
        },
        "budgets": rollout.budgets,
        "max_summary_tokens": rollout.max_summary_tokens,
        "temperature": rollout.temperature, "top_p": rollout.top_p, "top_k": rollout.top_k,
        "instruction": settings.data.instruction,
        "chat_template": settings.data.chat_template,
    });
    format!("{asking:#}\n")
}

impl Card<'_> {
    /// How the model is asked; none where the job's settings cannot be read.
    pub fn asking(&self) -> Option<String> {
        JobSettings::try_new(self.job.spec.as_ref()?)
            .ok()
            .map(|settings| asking(&settings))
    }

    /// The text. None where the job's settings cannot be read, because an earlier version wrote them.
    pub fn text(&self) -> Option<String> {
        let settings = JobSettings::try_new(self.job.spec.as_ref()?).ok()?;
        let base = self.base.map(FrontMatter::of).unwrap_or_default();
        let mut text = front_matter(&settings, &base);
        // Writing to a String cannot fail.
        let _ = self.write_body(&mut text, &settings);
        Some(text)
    }

    fn write_body(&self, text: &mut String, settings: &JobSettings) -> std::fmt::Result {
        let (job, step) = (self.job, self.step);
        let name = code(&settings.name);
        writeln!(text, "# {}\n", settings.name)?;
        let from = match &job.forked_from {
            Some(fork) => format!("step {} of job {}", fork.step, code(&fork.job_id)),
            None => code(&shown(&settings.model.path)),
        };
        let how = match (settings.kind, settings.model.initialise) {
            (v1::JobKind::Sft, false) => format!("fine-tuned from {from} on completions"),
            (v1::JobKind::Sft, true) => {
                format!("trained on completions from weights drawn anew, with the sizes of {from}")
            }
            (_, false) => format!("trained from {from} to be as right as it can be at every budget of thinking tokens"),
            (_, true) => format!("trained from weights drawn anew, with the sizes of {from}"),
        };
        writeln!(text, "This model was {how}.\n")?;
        writeln!(text, "## Training\n\n| | |\n|---|---|")?;
        let mut row = |what: &str, value: String| writeln!(text, "| {what} | {value} |");
        row(
            "job",
            format!(
                "{name} (id {}), a job of kind {}",
                code(&job.id),
                code(&settings.kind.short_name())
            ),
        )?;
        if let Some(fork) = &job.forked_from {
            let digits = code(&fork.checksum);
            row(
                "weights at the start",
                format!("those of {from} (BLAKE3 of the f32 file {digits})"),
            )?;
        }
        row("steps", format!("{step} of {}", settings.training.steps))?;
        row("groups per step", settings.training.batch.to_string())?;
        row("learning rate", settings.training.learning_rate.to_string())?;
        if let Some(lora) = &settings.training.lora {
            let (rank, alpha, targets) = (lora.rank, lora.alpha, lora.targets.join(", "));
            let merged = if lora.merge { "; they are in these weights" } else { "" };
            row(
                "adapters",
                format!("LoRA of rank {rank}, alpha {alpha}, on {targets}{merged}"),
            )?;
        }
        if settings.kind == v1::JobKind::Train {
            row("objective", code(&settings.objective.name))?;
            row("budgets (thinking tokens)", list(&settings.rollout.budgets))?;
            row("traces per problem", settings.rollout.traces.to_string())?;
            row("summaries per budget", settings.rollout.summaries.to_string())?;
        }
        row("training data", names(&settings.data.path))?;
        if settings.kind == v1::JobKind::Train && !settings.evaluation.path.is_empty() {
            row("evaluation data", names(&settings.evaluation.path))?;
        }
        row("software", format!("anytime {}", env!("CARGO_PKG_VERSION")))?;
        if settings.kind == v1::JobKind::Train {
            self.write_evaluation(text, settings)?;
            write_use(text, settings)?;
        }
        if self.base.is_some() {
            writeln!(
                text,
                "\n## The model before\n\nThe card of the model that training started from is in [{0}]({0}), as it was.",
                self.base_name
            )?;
        }
        Ok(())
    }

    fn write_evaluation(&self, text: &mut String, settings: &JobSettings) -> std::fmt::Result {
        writeln!(text, "\n## Evaluation\n")?;
        let evaluations = &self.job.evaluations;
        let before = evaluations.iter().find(|result| result.step == 0);
        let after = evaluations
            .iter()
            .filter(|result| result.step > 0 && result.step <= self.step)
            .max_by_key(|result| result.step);
        let measured: Vec<&v1::EvaluationResult> = before.into_iter().chain(after).collect();
        let Some(one) = measured.first() else {
            return writeln!(
                text,
                "The job has measured no accuracy of these weights, nor of earlier ones."
            );
        };
        writeln!(
            text,
            "Share of right answers at each budget, with the 95 % interval of a bootstrap over problems where there is one. \
             {} problems with {} traces each, at temperature {}.\n",
            one.problems, one.samples, settings.evaluation.temperature
        )?;
        let heads: Vec<String> = measured
            .iter()
            .map(|result| match result.step {
                0 => "before training".to_owned(),
                step => format!("after step {step}"),
            })
            .collect();
        writeln!(text, "| budget | {} |", heads.join(" | "))?;
        writeln!(text, "|---:|{}", "---|".repeat(measured.len()))?;
        for (place, budget) in one.budgets.iter().enumerate() {
            let cells: Vec<String> = measured.iter().map(|result| cell(result, place)).collect();
            writeln!(text, "| {budget} | {} |", cells.join(" | "))?;
        }
        let means: Vec<String> = measured
            .iter()
            .map(|result| {
                let ends = (!result.accuracy_low.is_empty()).then_some((result.anytime_low, result.anytime_high));
                with_interval(result.anytime, ends)
            })
            .collect();
        writeln!(text, "| mean | {} |", means.join(" | "))?;
        match after {
            Some(after) if after.step < self.step => writeln!(
                text,
                "\nThese weights are those after step {}; the newest evaluation before them is shown.",
                self.step
            ),
            None => writeln!(text, "\nThe weights after training were not evaluated."),
            Some(_) => Ok(()),
        }
    }
}

fn front_matter(settings: &JobSettings, base: &FrontMatter) -> String {
    let mut text = "---\n".to_owned();
    if !settings.model.initialise
        && let Some(model) = base_model(settings, base)
    {
        let _ = writeln!(text, "base_model: {}", quoted(&model));
    }
    let is_of_peft = settings.training.lora.as_ref().is_some_and(|lora| !lora.merge);
    let library = if is_of_peft { "peft" } else { "transformers" };
    let _ = writeln!(text, "library_name: {library}\npipeline_tag: text-generation");
    // Weights that were drawn anew are under no licence of the model whose sizes they have.
    if !settings.model.initialise {
        match base.licenses.as_slice() {
            [] => {}
            [one] => {
                let _ = writeln!(text, "license: {}", quoted(one));
            }
            several => {
                text.push_str("license:\n");
                for one in several {
                    let _ = writeln!(text, "- {}", quoted(one));
                }
            }
        }
        for (name, value) in [
            ("license_name", &base.license_name),
            ("license_link", &base.license_link),
        ] {
            if let Some(value) = value {
                let _ = writeln!(text, "{name}: {}", quoted(value));
            }
        }
    }
    text.push_str("tags:\n- anytime\n- reasoning\n");
    if settings.kind == v1::JobKind::Train {
        let _ = writeln!(text, "- budget-forcing\n- {}", quoted(&settings.objective.name));
    }
    text.push_str("---\n\n");
    text
}

/// The name on the hub of the model that training started from. A model that this project trained itself passes on what it
/// was trained from, where its card says so.
fn base_model(settings: &JobSettings, base: &FrontMatter) -> Option<String> {
    let path = &settings.model.path;
    if let Some(Ok(reference)) = HubReference::read(path) {
        return Some(format!("{}/{}", reference.owner, reference.name));
    }
    // A snapshot in the hub's cache.
    let cached = path.split('/').find_map(|part| part.strip_prefix("models--"));
    if let Some((owner, name)) = cached.and_then(|name| name.split_once("--")) {
        return Some(format!("{owner}/{name}"));
    }
    if base.is_ours && base.base_model.is_some() {
        return base.base_model.clone();
    }
    Some(last_part(path)).filter(|name| !name.is_empty())
}

/// How a user keeps to a budget.
fn write_use(text: &mut String, settings: &JobSettings) -> std::fmt::Result {
    let markers = &settings.markers;
    let forced = format!("{}{}{}", markers.cut, markers.end, markers.summary);
    writeln!(
        text,
        "\n## Keeping to a budget\n\n\
         1. Let the model think behind the prompt, at most as many tokens as the budget has.\n\
         2. Where it has ended its thinking itself (`end of thinking`), append `summary`. Where the budget came first, append \
         `budget forcing`, which is the cut, the end of thinking and the summary's opening.\n\
         3. Let it write the answer, {} tokens at most in training.\n\n\
         The strings, as JSON:\n\n```json\n{:#}\n```",
        settings.rollout.max_summary_tokens,
        json!({
            "start of thinking": start(settings),
            "end of thinking": markers.end,
            "summary": markers.summary,
            "budget forcing": forced,
        })
    )?;
    if markers.open.is_empty() {
        writeln!(
            text,
            "\nThe chat template opens the thinking; the start above is the counterpart of its end, where the end is a tag."
        )?;
    }
    let problem = "PROBLEM";
    writeln!(
        text,
        "\nIn training a prompt was the problem with this behind it{}: {}\n",
        match settings.data.system {
            Some(_) => ", and with a system message",
            None => "",
        },
        code(&format!("{problem}{}", settings.data.instruction))
    )?;
    let config = json!({ "reasoning_start_str": start(settings), "reasoning_end_str": forced });
    writeln!(
        text,
        "vLLM takes them as its reasoning options, and the budget with each request as `thinking_token_budget`:\n\n\
         ```sh\nvllm serve MODEL --reasoning-config {}\n```\n\n\
         SGLang has the strings in its reasoning parsers: choose one by `--reasoning-parser` that ends the thinking with {}. \
         Its budgets append the end of thinking alone; a client that appends `budget forcing` itself gets what was trained.",
        shell_quoted(&config.to_string()),
        code(&markers.end)
    )
}

/// What opens the thinking. A template that opens it does so with the counterpart of what ends it.
fn start(settings: &JobSettings) -> String {
    let markers = &settings.markers;
    if !markers.open.is_empty() {
        return markers.open.clone();
    }
    match markers.end.strip_prefix("</") {
        Some(rest) => format!("<{rest}"),
        None => String::new(),
    }
}

fn cell(result: &v1::EvaluationResult, place: usize) -> String {
    let Some(accuracy) = result.accuracy.get(place) else {
        return String::new();
    };
    let ends = result
        .accuracy_low
        .get(place)
        .copied()
        .zip(result.accuracy_high.get(place).copied());
    with_interval(*accuracy, ends)
}

fn with_interval(mean: f64, ends: Option<(f64, f64)>) -> String {
    match ends {
        Some((low, high)) => format!("{mean:.PLACES$} [{low:.PLACES$}, {high:.PLACES$}]"),
        None => format!("{mean:.PLACES$}"),
    }
}

fn names(paths: &[String]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| code(&shown(path))).collect();
    shown.join(", ")
}

/// A name of the hub as it is; of a path its last part alone.
fn shown(path: &str) -> String {
    if HubReference::is_one(path) {
        path.to_owned()
    } else {
        last_part(path)
    }
}

fn last_part(path: &str) -> String {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn list(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

/// A text as code in Markdown, also within a table, whatever it holds.
fn code(text: &str) -> String {
    let text: String = text
        .chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect();
    let ticks = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(ticks + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('|', "\\|"))
}

/// A text as YAML has it: what is a string of JSON is one of YAML.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// A text as one word of a shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
