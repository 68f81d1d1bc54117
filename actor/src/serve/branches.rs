//! A request of several branches (SART, arXiv 2505.13326): N traces think about one prompt, as soon as M of them have ended and
//! are summarised the others are stopped, and the summaries of those that have ended vote. A branch has ended where its
//! thinking has, by its end marker, an end of sequence or the budget. Where the request asks for it, branches that do not
//! promise much are given up on the way.

use std::collections::BTreeMap;

use anytime_proto::v1::{FinishReason, Generated};

use serde_json::json;
use tokio::task::JoinSet;

use super::answer::{Checkpoint, Ended, Update, Usage, Versions, WhyEnded};
use super::anytime::ScoredBy;
use super::error::ApiError;
use super::line::{Line, Stop};
use super::polling::{Chosen, poll};
use super::pruning::Pruning;
use super::request::Ask;
use super::reward::Question;
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
    unscored: Option<usize>,
}

/// Where a branch has got to when it is looked at.
struct Look<'a> {
    trace: usize,
    /// Its thinking up to there.
    thinking: &'a [u32],
    chosen: &'a Chosen,
    has_ended: bool,
}

/// The looks that wait for a score of the service: the branch, whether it had ended, and the score.
type Scores = JoinSet<(usize, bool, Option<f64>)>;

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
    let is_rewarded = ask.prune.is_some_and(|rule| rule.by == ScoredBy::Reward);
    let mut thoughts: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    // Dropped with this call, so that nothing is asked any more for a request that is over.
    let mut scores = Scores::new();
    loop {
        let event = tokio::select! {
            Some(scored) = scores.join_next() => {
                if let (Some(pruning), Ok((trace, has_ended, score))) = (&mut pruning, scored) {
                    if has_ended {
                        pruning.end(score);
                    } else if !branches.contains_key(&trace) && pruning.look(trace, score) {
                        line.ticket.prune(trace);
                    }
                }
                continue;
            }
            event = line.next() => event?,
        };
        match event {
            Event::Served(ServedEvent::Started { cached, computed, .. }) => {
                // The branches share the prompt, which the first of them computes.
                if begun == 0 {
                    (usage.cached, usage.computed) = (cached, computed);
                    line.tell(Update::Started).await?;
                }
                begun += 1;
            }
            Event::Served(ServedEvent::Drawn {
                trace,
                summary,
                id,
                version,
                ..
            }) => {
                versions = Versions::and(versions, version);
                match summary {
                    None => {
                        usage.reasoning += 1;
                        if is_rewarded {
                            thoughts.entry(trace).or_default().push(id);
                        }
                    }
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
                // Between its last look and its end there is nothing to save.
                let is_looked_at = last_node.is_none_or(|last| last == node);
                if let Some(pruning) = pruning.as_mut().filter(|_| is_looked_at) {
                    let chosen = poll(&line.served, &ask.stops, summaries.clone()).await?;
                    let has_ended = last_node.is_some();
                    if is_rewarded {
                        let all = thoughts.get(&trace).map(Vec::as_slice).unwrap_or_default();
                        let cut = ask.budgets.get(node).map_or(all.len(), |&budget| budget as usize);
                        let look = Look {
                            trace,
                            thinking: &all[..cut.min(all.len())],
                            chosen: &chosen,
                            has_ended,
                        };
                        ask_for_score(line, ask, &look, &mut scores);
                    } else {
                        let score = Some(pruning.hear(trace, &chosen));
                        if has_ended {
                            pruning.end(score);
                        } else if pruning.look(trace, score) {
                            line.ticket.prune(trace);
                        }
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
        given_up: pruning.as_ref().map(Pruning::given_up),
        unscored: pruning.as_ref().and_then(Pruning::unscored),
    };
    conclude(line, ask, branches, told).await
}

/// Asks the service for the score of a branch. Its answer may take seconds, in which the request goes on.
fn ask_for_score(line: &Line, ask: &Ask, look: &Look, scores: &mut Scores) {
    let question = Question {
        messages: (ask.messages.iter())
            .map(|message| json!({ "role": message.role, "content": message.text }))
            .collect(),
        reasoning: reasoning(line, look.thinking),
        thinking_tokens: look.thinking.len(),
        content: look.chosen.content.clone(),
        answer: look.chosen.answer.clone(),
        agreement: look.chosen.agreement,
        ended: look.has_ended,
    };
    let (trace, has_ended) = (look.trace, look.has_ended);
    let service = line.served.reward.clone();
    scores.spawn(async move {
        let score = match service {
            Some(service) => service.score(&question).await,
            None => None,
        };
        (trace, has_ended, score)
    });
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
        unscored_looks: told.unscored,
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
