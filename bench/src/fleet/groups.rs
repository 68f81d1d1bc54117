//! Groups that nobody generated: random tokens in the shape of a real group, valid for the lease that they are pushed
//! with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anytime_actor::push::EncodedGroup;
use anytime_proto::nodes::{inserted_ids, node_spans};
use anytime_proto::{GroupId, JobId, v1};
use bytes::{Bytes, BytesMut};
use clap::Args;
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How many different groups there are; they differ in names besides.
const KINDS: usize = 4;

/// Number of versions whose encoded groups are kept.
const KEPT_VERSIONS: usize = 4;

/// The shape of a group; the default is that of the paper.
#[derive(Clone, Debug, Args)]
pub struct Shape {
    /// Traces of a group
    #[arg(long, default_value_t = 8)]
    pub traces: u32,
    /// Thinking tokens of a trace, and the largest budget
    #[arg(long, default_value_t = 8000)]
    pub thinking_tokens: u32,
    /// Budgets, in even distances
    #[arg(long, default_value_t = 4)]
    pub budgets: u32,
    /// Summaries per budget
    #[arg(long, default_value_t = 4)]
    pub summaries: u32,
    /// Tokens of a summary
    #[arg(long, default_value_t = 128)]
    pub summary_tokens: u32,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 200)]
    pub prompt_tokens: u32,
    /// Ids of tokens are below it
    #[arg(long, default_value_t = 151_665)]
    pub vocabulary: u32,
}

impl Shape {
    /// The shape of a group with few tokens, so that the fixed cost of a group shows.
    pub fn small() -> Self {
        Self {
            traces: 2,
            thinking_tokens: 8,
            budgets: 2,
            summaries: 1,
            summary_tokens: 4,
            prompt_tokens: 4,
            vocabulary: 151_665,
        }
    }

    /// The budgets, ascending.
    pub fn budget_list(&self) -> Vec<u32> {
        (1..=self.budgets)
            .map(|number| self.thinking_tokens * number / self.budgets)
            .collect()
    }

    /// Generated tokens of a group.
    pub fn tokens(&self) -> u64 {
        let of_trace = self.thinking_tokens + self.budgets * self.summaries * self.summary_tokens;
        u64::from(self.traces) * u64::from(of_trace)
    }
}

/// The markers of all groups.
pub fn markers() -> v1::MarkerIds {
    v1::MarkerIds {
        end: vec![1],
        cut: vec![2, 3],
        summary: vec![4, 5, 6],
        end_text: String::new(),
    }
}

/// Makes groups for leases. It is cheap to make another one of a version that was asked for lately.
pub struct GroupMaker {
    kinds: Vec<Vec<v1::Trace>>,
    /// The encoded traces of each kind, by version.
    encoded: Mutex<BTreeMap<u64, Arc<Vec<Bytes>>>>,
    shape: Shape,
}

impl GroupMaker {
    /// A maker of groups of this shape.
    pub fn new(shape: &Shape) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(18);
        let mut trace = || random_trace(shape, &mut random);
        Self {
            kinds: (0..KINDS)
                .map(|_| (0..shape.traces).map(|_| trace()).collect())
                .collect(),
            encoded: Mutex::default(),
            shape: shape.clone(),
        }
    }

    /// A group for a lease, whose tokens are of this version.
    pub fn group(&self, lease: &v1::Lease, actor_id: &str, weights: &v1::UsedWeights, number: usize) -> EncodedGroup {
        let problem = lease.problem.clone().unwrap_or_default();
        let head = v1::ScoredGroup {
            job_id: lease.job_id.clone(),
            group_id: lease.group_id.clone(),
            problem_id: problem.id,
            purpose: lease.purpose,
            budgets: self.shape.budget_list(),
            summaries_per_budget: self.shape.summaries,
            prompt_ids: problem.prompt_ids,
            traces: Vec::new(),
            actor_id: actor_id.to_owned(),
            end_marker_tokens: markers().end.len() as u32,
            no_thinking_traces: 0,
            weights: vec![weights.clone()],
            traceparent: String::new(),
        };
        let traces = self.traces(weights.version);
        let traces = &traces[number % traces.len()];
        // An encoded message is its fields in any order.
        let mut wire = BytesMut::with_capacity(head.encoded_len() + traces.len());
        wire.extend_from_slice(&head.encode_to_vec());
        wire.extend_from_slice(traces);
        EncodedGroup {
            job_id: JobId(lease.job_id.clone()),
            group_id: GroupId(lease.group_id.clone()),
            thinking_tokens: self.shape.thinking_tokens as usize,
            wire: wire.freeze(),
        }
    }

    fn traces(&self, version: u64) -> Arc<Vec<Bytes>> {
        let mut encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(traces) = encoded.get(&version) {
            return Arc::clone(traces);
        }
        let of_version = |traces: &Vec<v1::Trace>| {
            let mut traces = traces.clone();
            for generated in traces.iter_mut().flat_map(all_generated) {
                generated.versions.fill(version);
            }
            let group = v1::ScoredGroup {
                traces,
                ..v1::ScoredGroup::default()
            };
            Bytes::from(group.encode_to_vec())
        };
        let traces: Arc<Vec<Bytes>> = Arc::new(self.kinds.iter().map(of_version).collect());
        // Another job begins with low versions again, so the lowest version is not the oldest one.
        if encoded.len() >= KEPT_VERSIONS {
            encoded.clear();
        }
        encoded.insert(version, Arc::clone(&traces));
        traces
    }
}

fn all_generated(trace: &mut v1::Trace) -> impl Iterator<Item = &mut v1::Generated> {
    let summaries = trace.nodes.iter_mut().flat_map(|node| &mut node.summaries);
    trace
        .thinking
        .iter_mut()
        .chain(summaries.filter_map(|summary| summary.generated.as_mut()))
}

/// A trace that was cut at the largest budget.
fn random_trace(shape: &Shape, random: &mut ChaCha8Rng) -> v1::Trace {
    let length = shape.thinking_tokens as usize;
    let markers = markers();
    let thinking = generated(length, v1::FinishReason::Length, shape, random);
    let mut nodes = Vec::new();
    for span in node_spans(&shape.budget_list(), length) {
        let mut summary = || {
            let is_right = random.random_bool(0.5);
            v1::Summary {
                generated: Some(generated(
                    shape.summary_tokens as usize,
                    v1::FinishReason::Length,
                    shape,
                    random,
                )),
                verdict: if is_right {
                    v1::VerdictKind::Correct.into()
                } else {
                    v1::VerdictKind::Wrong.into()
                },
                formatted: true,
                score: f32::from(is_right),
            }
        };
        nodes.push(v1::Node {
            cut: span.cut as u32,
            first_budget: span.first_budget as u32,
            multiplicity: span.multiplicity as u32,
            inserted_ids: inserted_ids(&markers.cut, &markers.end, &markers.summary, false),
            summaries: std::iter::repeat_with(&mut summary)
                .take(span.multiplicity * shape.summaries as usize)
                .collect(),
        });
    }
    v1::Trace {
        thinking: Some(thinking),
        nodes,
    }
}

fn generated(length: usize, finish: v1::FinishReason, shape: &Shape, random: &mut ChaCha8Rng) -> v1::Generated {
    v1::Generated {
        // Not the markers, which end a thinking.
        ids: (0..length).map(|_| random.random_range(10..shape.vocabulary)).collect(),
        log_probs: (0..length).map(|_| random.random_range(-3.0..0.0)).collect(),
        versions: vec![0; length],
        finish: finish.into(),
    }
}

#[cfg(test)]
mod tests {
    use anytime_proto::{check_group, check_group_against_plan, decode_group};

    use super::*;
    use crate::fleet::learner::plan;

    #[test]
    fn made_up_groups_are_valid() {
        for shape in [
            Shape::small(),
            Shape {
                traces: 3,
                thinking_tokens: 40,
                budgets: 4,
                summaries: 2,
                ..Shape::small()
            },
        ] {
            let lease = v1::Lease {
                job_id: "job".to_owned(),
                group_id: "job/train/00000007".to_owned(),
                problem: Some(v1::Problem::default()),
                ..v1::Lease::default()
            };
            let weights = v1::UsedWeights {
                version: 300,
                manifest_checksum: "0".repeat(64),
            };
            let made = GroupMaker::new(&shape).group(&lease, "fleet-1", &weights, 5);
            let group = decode_group(&made.wire).expect("a group");
            assert_eq!(check_group(&group), Ok(()));
            assert_eq!(check_group_against_plan(&group, &plan(&shape)), Ok(()));
            let thinking = group.traces[0].thinking.as_ref().expect("there");
            assert!(thinking.versions.iter().all(|version| *version == 300));
            assert_eq!(made.thinking_tokens, thinking.ids.len());
        }
    }
}
