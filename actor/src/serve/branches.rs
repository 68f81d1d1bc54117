//! A request of several branches (SART, arXiv 2505.13326): N traces think about one prompt, as soon as M of them have ended and
//! are summarised the others are stopped, and the summaries of those that have ended vote. A branch has ended where its
//! thinking has, by its end marker, an end of sequence or the budget. Where the request asks for it, branches that do not
//! promise much are given up on the way.

use std::collections::BTreeMap;

use anytime_proto::v1::{FinishReason, Generated};

use super::answer::{Checkpoint, Ended, Update, Usage, Versions, WhyEnded};
use super::error::ApiError;
use super::line::{Line, Stop};
use super::polling::poll;
use super::pruning::Pruning;
use super::request::Ask;
use super::text::{Guard, TextStream};
use crate::engine::{Event, ServedEvent};

/// A branch that has ended.
struct Branch {
    thinking: Generated,
    /// The node at its end.
    last_node: usize,
    summaries: Vec<Generated>,
}

/// What is told beside the answer.
struct Told {
    usage: Usage,
    versions: Option<Versions>,
    /// Where branches may be given up, how many were.
    given_up: Option<usize>,
}

/// Serves the request to its end.
///
/// # Errors
/// Where there is no answer.
pub(crate) async fn run(line: &mut Line, ask: &Ask, prompt: usize) -> Result<(), Stop> {
    let mut usage = Usage {
        prompt,
        ..Usage::default()
    };
    let mut branches: BTreeMap<usize, Branch> = BTreeMap::new();
    let mut versions = None;
    let mut begun = 0;
    let mut is_stopped = false;
    let mut pruning = ask.prune.map(|rule| Pruning::new(rule, ask.branches, ask.finish_first));
    loop {
        match line.next().await? {
            Event::Served(ServedEvent::Started { cached, computed, .. }) => {
                // The branches share the prompt, which the first of them computes.
                if begun == 0 {
                    (usage.cached, usage.computed) = (cached, computed);
                    line.tell(Update::Started).await?;
                }
                begun += 1;
            }
            Event::Served(ServedEvent::Drawn { summary, version, .. }) => {
                versions = Versions::and(versions, version);
                match summary {
                    None => usage.reasoning += 1,
                    Some(_) => usage.summaries += 1,
                }
            }
            Event::TraceFinished {
                trace, thinking, nodes, ..
            } => {
                let branch = Branch {
                    thinking,
                    last_node: nodes.len().saturating_sub(1),
                    summaries: Vec::new(),
                };
                branches.insert(trace, branch);
            }
            Event::NodeFinished {
                trace, node, summaries, ..
            } => {
                let last_node = branches.get(&trace).map(|branch| branch.last_node);
                if let Some(pruning) = &mut pruning {
                    let chosen = poll(&line.served, &ask.stops, summaries.clone()).await?;
                    match last_node {
                        Some(last) if last == node => pruning.end(trace, &chosen),
                        // Between its last budget and its end there is nothing to save.
                        Some(_) => {}
                        None if pruning.look(trace, &chosen) => line.ticket.prune(trace),
                        None => {}
                    }
                }
                if let Some(branch) = branches.get_mut(&trace).filter(|branch| branch.last_node == node) {
                    branch.summaries = summaries;
                }
                let ended = branches.values().filter(|branch| !branch.summaries.is_empty()).count();
                if ended >= ask.finish_first as usize && !is_stopped {
                    is_stopped = true;
                    line.ticket.stop();
                }
            }
            Event::GroupFinished { .. } => break,
            Event::GroupFailed { .. } | Event::Served(ServedEvent::NotContinued { .. }) => {}
        }
    }
    line.ticket.close();
    branches.retain(|_, branch| !branch.summaries.is_empty());
    let told = Told {
        usage,
        versions,
        given_up: pruning.map(|pruning| pruning.given_up()),
    };
    conclude(line, ask, branches, told).await
}

async fn conclude(line: &Line, ask: &Ask, branches: BTreeMap<usize, Branch>, told: Told) -> Result<(), Stop> {
    let ended = branches.len();
    let (of, summaries): (Vec<&Branch>, Vec<Generated>) = branches
        .values()
        .flat_map(|branch| branch.summaries.iter().map(move |summary| (branch, summary.clone())))
        .unzip();
    let chosen = poll(&line.served, &ask.stops, summaries).await?;
    let branch = of.get(chosen.index);
    let branch = branch.ok_or_else(ApiError::without_answer)?;
    let reasoning = reasoning(line, &branch.thinking.ids);
    line.tell(Update::Reasoning(reasoning.clone())).await?;
    let checkpoint = Checkpoint {
        budget: ask.budgets.last().copied().unwrap_or(0),
        thinking_tokens: branch.thinking.ids.len(),
        answer: chosen.answer,
        content: chosen.content.clone(),
        agreement: chosen.agreement,
        is_cut_off: chosen.is_cut_off,
    };
    line.tell(Update::Checkpoint(checkpoint.clone())).await?;
    line.tell(Update::Content(chosen.content.clone())).await?;
    let why = match branch.thinking.finish() {
        FinishReason::EndMarker => WhyEnded::EndMarker,
        FinishReason::Eos => WhyEnded::EndOfSequence,
        _ => WhyEnded::Budget,
    };
    line.tell(Update::Ended(Box::new(Ended {
        reasoning,
        content: chosen.content,
        checkpoints: vec![checkpoint],
        why,
        thinking_tokens: branch.thinking.ids.len(),
        ended_branches: Some(ended),
        pruned_branches: told.given_up,
        usage: told.usage,
        versions: told.versions,
    })))
    .await
}

/// The text of a thinking, without its end.
fn reasoning(line: &Line, ids: &[u32]) -> String {
    let mut text = TextStream::behind(line.served.tokenizer.clone(), &[]);
    let mut guard = Guard::new(vec![line.served.end_text.clone()]);
    let mut whole = String::new();
    for &id in ids.iter().filter(|&&id| !line.ends_sequence(id)) {
        whole.push_str(&guard.push(&text.push(id)));
    }
    whole.push_str(&guard.push(&text.finish()));
    whole.push_str(&guard.finish());
    whole
}
