//! One leased group, from its first finished trace until it is scored.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anytime_policy::{Tokenizer, without_eos};
use anytime_proto::v1::{self, Generated, ScoredGroup, VerdictKind, VerifyItem};
use anytime_proto::{ActorId, GroupId, JobId, WeightsVersion};
use anytime_service::traces::{Span, SpanRef};

use tokio::task::AbortHandle;

use crate::engine::{GroupRequest, Installed, ModelId};
use crate::in_hand::Held;
use crate::nodes::{self, NodePlan, ThinkingEnd};
use crate::plan::Plan;
use crate::spans::GroupSpans;

/// A lease with a valid plan.
pub(crate) struct Leased {
    pub(crate) job_id: JobId,
    pub(crate) group_id: GroupId,
    pub(crate) purpose: i32,
    pub(crate) problem: v1::Problem,
    pub(crate) plan: Arc<Plan>,
    pub(crate) seed: u64,
    pub(crate) min_version: WeightsVersion,
    pub(crate) manifest_checksum: Option<String>,
    pub(crate) leased_at: Instant,
    pub(crate) held: Held,
    /// Its trace begins with it.
    pub(crate) span: SpanRef,
}

/// Whether the weights that are held may generate a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeightsMatch {
    /// They may.
    Ready,
    /// The weights that it needs are still to come.
    Early,
    /// The weights that it needs may have been replaced by newer ones.
    Late,
}

impl Leased {
    pub(crate) fn new(lease: v1::Lease, plan: Plan, held: Held) -> Self {
        Self {
            plan: Arc::new(plan),
            job_id: JobId(lease.job_id),
            group_id: GroupId(lease.group_id),
            purpose: lease.purpose,
            problem: lease.problem.unwrap_or_default(),
            seed: lease.seed,
            min_version: WeightsVersion(lease.min_weights_version),
            manifest_checksum: Some(lease.manifest_checksum).filter(|checksum| !checksum.is_empty()),
            leased_at: Instant::now(),
            held,
            span: SpanRef::default(),
        }
    }

    /// The same, traced below the span of its lease.
    pub(crate) fn traced(self, span: SpanRef) -> Self {
        Self { span, ..self }
    }

    pub(crate) fn match_weights(&self, installed: Option<&Installed>) -> WeightsMatch {
        let Some(held) = installed.map(|installed| &installed.id) else {
            return WeightsMatch::Early;
        };
        if held.job_id != self.job_id || held.version < self.min_version {
            return WeightsMatch::Early;
        }
        match &self.manifest_checksum {
            Some(checksum) if *checksum != held.manifest_checksum => WeightsMatch::Late,
            _ => WeightsMatch::Ready,
        }
    }

    pub(crate) fn request(&self, number: u64) -> GroupRequest {
        GroupRequest {
            number,
            job_id: self.job_id.clone(),
            min_version: self.min_version,
            manifest_checksum: self.manifest_checksum.clone(),
            seed: self.seed,
            prompt_ids: self.problem.prompt_ids.clone(),
            plan: Arc::clone(&self.plan),
        }
    }
}

/// A group that the engine works at, or whose summaries are graded.
pub(crate) struct GroupInHand {
    pub(crate) lease: Leased,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// Whether the engine has generated all of it.
    pub(crate) is_generated: bool,
    pub(crate) spans: GroupSpans,
    traces: Vec<TraceInHand>,
    gradings: Gradings,
}

/// The tasks that wait for a group's verdicts. They are aborted with the group, so that nothing is graded in vain.
#[derive(Default)]
struct Gradings(Vec<AbortHandle>);

impl Drop for Gradings {
    fn drop(&mut self) {
        for grading in &self.0 {
            grading.abort();
        }
    }
}

#[derive(Default)]
struct TraceInHand {
    thinking: Option<Generated>,
    nodes: Vec<NodePlan>,
    /// By node; `None` until it is graded.
    graded: Vec<Option<v1::Node>>,
}

impl GroupInHand {
    pub(crate) fn new(lease: Leased, tokenizer: Arc<Tokenizer>) -> Self {
        let traces = (0..lease.plan.traces).map(|_| TraceInHand::default()).collect();
        Self {
            spans: GroupSpans::begin(
                &lease.span,
                &lease.job_id,
                &lease.group_id,
                lease.plan.traces,
                lease.min_version,
            ),
            lease,
            tokenizer,
            is_generated: false,
            traces,
            gradings: Gradings::default(),
        }
    }

    /// A task waits for verdicts of this group.
    pub(crate) fn is_graded_by(&mut self, grading: AbortHandle) {
        self.gradings.0.push(grading);
    }

    /// Tokens of the longest thinking that has ended.
    pub(crate) fn thinking_tokens(&self) -> usize {
        let thinkings = self.traces.iter().filter_map(|trace| trace.thinking.as_ref());
        thinkings.map(|thinking| thinking.ids.len()).max().unwrap_or(0)
    }

    /// The engine has generated all of it.
    pub(crate) fn generated(&mut self) {
        self.is_generated = true;
        self.spans.generated();
    }

    pub(crate) fn trace_finished(&mut self, trace: usize, thinking: Generated, nodes: Vec<NodePlan>) {
        self.spans.trace_finished();
        let graded = nodes.iter().map(|_| None).collect();
        self.traces[trace] = TraceInHand {
            thinking: Some(thinking),
            nodes,
            graded,
        };
    }

    /// What the verifier is asked about a node's summaries. The text of each goes from the inserted ids to the last
    /// token before the end of sequence.
    pub(crate) fn verify_items(
        &self,
        trace: usize,
        node: usize,
        summaries: &[Generated],
    ) -> anyhow::Result<Vec<VerifyItem>> {
        let inserted = &self.traces[trace].nodes[node].inserted;
        let mut items = Vec::with_capacity(summaries.len());
        for summary in summaries {
            let generated = without_eos(&summary.ids, &self.lease.plan.eos_ids);
            let response = self.tokenizer.decode(&[inserted.as_slice(), generated].concat())?;
            items.push(VerifyItem {
                response,
                ground_truths: self.lease.problem.ground_truths.clone(),
            });
        }
        Ok(items)
    }

    /// Enters a node's verdicts. True when the group is complete.
    pub(crate) fn node_graded(
        &mut self,
        trace: usize,
        node: usize,
        summaries: Vec<Generated>,
        verdicts: &[VerdictKind],
    ) -> bool {
        let markers = &self.lease.plan.markers;
        let decode = |ids: &[u32]| self.tokenizer.decode(ids).unwrap_or_default();
        let trace = &mut self.traces[trace];
        let Some(thinking) = &trace.thinking else {
            return false;
        };
        let thinking = ThinkingEnd {
            length: thinking.ids.len(),
            finish: thinking.finish(),
        };
        let plan = &trace.nodes[node];
        let mut scored = Vec::with_capacity(summaries.len());
        for (generated, &verdict) in summaries.into_iter().zip(verdicts) {
            let formatted = nodes::is_formatted(markers, plan, thinking, &generated.ids, decode);
            let score = nodes::score(plan, thinking, verdict, formatted);
            scored.push(v1::Summary {
                generated: Some(generated),
                verdict: verdict.into(),
                formatted,
                score,
            });
        }
        trace.graded[node] = Some(v1::Node {
            cut: plan.cut as u32,
            first_budget: plan.first_budget as u32,
            multiplicity: plan.multiplicity as u32,
            inserted_ids: plan.inserted.clone(),
            summaries: scored,
        });
        self.is_complete()
    }

    fn is_complete(&self) -> bool {
        let is_graded = |trace: &TraceInHand| trace.thinking.is_some() && trace.graded.iter().all(Option::is_some);
        self.traces.iter().all(is_graded)
    }

    /// The group as it is pushed, with the span of its push; `recent` are the weights that generated lately.
    pub(crate) fn into_scored(self, actor_id: &ActorId, recent: &[ModelId]) -> (ScoredGroup, Held, Span) {
        let push = self.spans.pushed();
        let mut traces = Vec::with_capacity(self.traces.len());
        for trace in self.traces {
            let nodes = trace.graded.into_iter().flatten().collect();
            traces.push(v1::Trace {
                thinking: trace.thinking,
                nodes,
            });
        }
        let weights = used_weights(&traces, recent, &self.lease.job_id);
        let group = ScoredGroup {
            job_id: self.lease.job_id.0,
            group_id: self.lease.group_id.0,
            problem_id: self.lease.problem.id,
            purpose: self.lease.purpose,
            budgets: self.lease.plan.budgets.clone(),
            summaries_per_budget: self.lease.plan.summaries as u32,
            prompt_ids: self.lease.problem.prompt_ids,
            traces,
            actor_id: actor_id.0.clone(),
            end_marker_tokens: self.lease.plan.markers.end.len() as u32,
            no_thinking_traces: self.lease.plan.no_thinking_traces as u32,
            weights,
            traceparent: push.place().traceparent(),
        };
        debug_assert_eq!(anytime_proto::check_group(&group), Ok(()));
        (group, self.lease.held, push)
    }
}

/// Names the weights behind the version numbers of a group's tokens.
fn used_weights(traces: &[v1::Trace], recent: &[ModelId], job_id: &JobId) -> Vec<v1::UsedWeights> {
    let mut versions = BTreeSet::new();
    for trace in traces {
        let summaries = trace
            .nodes
            .iter()
            .flat_map(|node| &node.summaries)
            .filter_map(|summary| summary.generated.as_ref());
        for generated in trace.thinking.iter().chain(summaries) {
            versions.extend(generated.versions.iter().copied());
        }
    }
    let mut weights: Vec<v1::UsedWeights> = Vec::new();
    for model in recent {
        let used = v1::UsedWeights {
            version: model.version.0,
            manifest_checksum: model.manifest_checksum.clone(),
        };
        if model.job_id == *job_id && versions.contains(&used.version) && !weights.contains(&used) {
            weights.push(used);
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_stood_for_two_sets_of_weights_is_named_twice() {
        let trace = v1::Trace {
            thinking: Some(Generated {
                versions: vec![3, 3, 4],
                ..Generated::default()
            }),
            nodes: Vec::new(),
        };
        let model = |job: &str, version: u64, checksum: &str| ModelId {
            job_id: JobId(job.to_owned()),
            version: WeightsVersion(version),
            manifest_checksum: checksum.to_owned(),
        };
        let recent = [
            model("other", 3, "z"),
            model("job", 2, "a"),
            model("job", 3, "b"),
            model("job", 4, "c"),
            model("job", 3, "b"),
            model("job", 4, "d"),
        ];
        let named: Vec<(u64, String)> = used_weights(&[trace], &recent, &JobId("job".to_owned()))
            .into_iter()
            .map(|weights| (weights.version, weights.manifest_checksum))
            .collect();
        let expected = [(3, "b"), (4, "c"), (4, "d")].map(|(version, checksum)| (version, checksum.to_owned()));
        assert_eq!(named, expected);
    }
}
