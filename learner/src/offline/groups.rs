//! `anytime-learner groups`: a file of groups as JSON, decoded for reading. `anytime show` prints it for people.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_objectives::ScoreTable;
use anytime_objectives::statistics::mean;
use anytime_policy::Tokenizer;
use anytime_proto::generations::ProblemHead;
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde_json::{Value, json};

use crate::args::GroupsArgs;
use crate::checkpoint::Assets;
use crate::evaluation::generations::Reading;
use crate::jobs::fork::start_directory;
use crate::kept::{self, KeptGroups};

/// `anytime-learner groups`: the heads of all groups, or one group with its texts, ids and log-probabilities.
///
/// # Errors
/// [`ExitError`] with the configuration code where there is no such group, or no tokenizer; otherwise a file that is damaged
/// or cannot be read.
pub fn groups(args: &GroupsArgs) -> anyhow::Result<()> {
    let kept = kept::read(&args.file)?;
    let directory = tokenizer_directory(args, &kept);
    let tokenizer = Tokenizer::load(&directory).map_err(|error| {
        let place = directory.display();
        ExitError::configuration(format!(
            "{place}: {error}; --model names the model that the groups are of"
        ))
    })?;
    let reading = Reading {
        tokenizer: &tokenizer,
        extraction: v1::Extraction::Anytime,
    };
    let mut document = json!({ "job": kept.head.job_id, "step": kept.head.step });
    match &args.problem {
        None => {
            let heads = kept.groups.iter().map(|kept| Ok(json!(head(kept, &reading)?)));
            document["problems"] = heads.collect::<anyhow::Result<Vec<Value>>>()?.into();
        }
        Some(wanted) => {
            let is_place = |kept: &&v1::KeptGroup| kept.sequence.to_string() == *wanted;
            let is_id = |kept: &&v1::KeptGroup| {
                let group = kept.group.as_ref();
                group.is_some_and(|group| group.problem_id == *wanted)
            };
            // A place comes first: ids are often numbers too.
            let found = kept
                .groups
                .iter()
                .find(is_place)
                .or_else(|| kept.groups.iter().find(is_id));
            let found = found.ok_or_else(|| {
                let places: Vec<String> = kept.groups.iter().map(|kept| kept.sequence.to_string()).collect();
                let (file, places) = (args.file.display(), places.join(", "));
                ExitError::configuration(format!(
                    "--problem {wanted} is not in {file}, which has the places {places}"
                ))
            })?;
            document["problem"] = whole(found, &reading)?;
        }
    }
    writeln!(std::io::stdout(), "{document}").context("standard output")
}

/// The files that a job keeps beside its groups; else its model.
fn tokenizer_directory(args: &GroupsArgs, kept: &KeptGroups) -> PathBuf {
    if let Some(model) = &args.model {
        return model.clone();
    }
    let job_directory = args.file.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    if kept.head.step > 0 && Assets::of_job(job_directory).is_ok() {
        return Assets::directory_of_job(job_directory);
    }
    let model = kept.head.spec.as_ref().and_then(|spec| spec.model.as_ref());
    if model.is_some_and(|model| model.from_job.is_some()) {
        return start_directory(job_directory);
    }
    args.root.join(model.map(v1::ModelSpec::path).unwrap_or_default())
}

/// What a group says of its problem. Its ground truths are not among it.
fn head(kept: &v1::KeptGroup, reading: &Reading<'_>) -> anyhow::Result<ProblemHead> {
    let group = kept.group.as_ref().context("an entry without a group")?;
    let by_trace = ScoreTable::of_group(group).mean_per_budget();
    let accuracy = (0..group.budgets.len()).map(|budget| mean(by_trace.iter().map(|row| row[budget])));
    Ok(ProblemHead {
        row: kept.sequence,
        id: group.problem_id.clone(),
        problem: reading.tokenizer.decode(&group.prompt_ids)?,
        ground_truths: Vec::new(),
        budgets: group.budgets.clone(),
        summaries_per_budget: group.summaries_per_budget,
        accuracy: accuracy.collect(),
    })
}

/// A group as `anytime show` reads it, with ids, log-probabilities and versions beside every text.
fn whole(kept: &v1::KeptGroup, reading: &Reading<'_>) -> anyhow::Result<Value> {
    let group = kept.group.as_ref().context("an entry without a group")?;
    let mut document = json!(head(kept, reading)?);
    document["prompt_ids"] = json!(group.prompt_ids);
    document["actor_id"] = json!(group.actor_id);
    let mut traces = Vec::with_capacity(group.traces.len());
    for trace in &group.traces {
        let mut text = json!(reading.trace(&group.budgets, trace)?);
        add_tokens(&mut text, trace.thinking.as_ref());
        for (number, node) in trace.nodes.iter().enumerate() {
            let of_node = &mut text["nodes"][number];
            of_node["inserted_ids"] = json!(node.inserted_ids);
            for (place, summary) in node.summaries.iter().enumerate() {
                add_tokens(&mut of_node["summaries"][place], summary.generated.as_ref());
            }
        }
        traces.push(text);
    }
    document["traces"] = traces.into();
    Ok(document)
}

fn add_tokens(text: &mut Value, generated: Option<&v1::Generated>) {
    let Some(generated) = generated else { return };
    text["ids"] = json!(generated.ids);
    text["log_probs"] = json!(generated.log_probs);
    text["versions"] = json!(generated.versions);
}
