//! What waits and what is under way: groups, their traces, and the nodes of finished traces. There are no tensors here.
//!
//! Summaries come before new traces, so that groups finish and the slots that hold finished thinkings become free. The
//! nodes of a trace go from the largest cut down.

#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use anytime_proto::v1::{FinishReason, Generated};

use super::cache::SlotLengths;
use super::kept::KeptTrace;
use super::messages::{Event, GroupRequest};
use super::sequence::{Seed, Sequence, SharedPrompt, Task, TraceKey};
use crate::nodes::{self, NodePlan};

/// A group that is being generated.
struct Group {
    request: GroupRequest,
    prompt: Rc<SharedPrompt>,
    /// By trace; `None` while the trace thinks or waits and has no summaries.
    traces: Vec<Option<TraceWork>>,
    /// The trace of an earlier request that goes on, until it has its row.
    resumed: Option<Sequence>,
    /// How many of its thinkings and summaries have not ended.
    unfinished: usize,
}

/// A trace whose thinking has ended, or that is summarised while it thinks.
#[derive(Default)]
struct TraceWork {
    /// The prompt and the thinking up to the largest cut, which is what the summaries see; empty while it thinks.
    needed: Vec<u32>,
    nodes: Vec<NodeWork>,
    /// How many of its summaries have not ended.
    unfinished: usize,
    has_ended: bool,
    /// The thinking that is kept when the last summary has ended.
    kept: Option<KeptTrace>,
}

/// What becomes of a trace when one of its sequences has ended.
pub(crate) enum TraceEnd {
    /// It goes on, or is summarised.
    NotYet,
    /// Nothing reads its thinking any more.
    Over,
    /// It may go on in a later request.
    Kept(Box<KeptTrace>),
}

struct NodeWork {
    plan: NodePlan,
    inserted: Rc<SharedPrompt>,
    summaries: Vec<Option<Generated>>,
    unfinished: usize,
}

/// A sequence that waits for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) key: TraceKey,
    /// Node and summary index; `None` for the thinking.
    pub(crate) summary: Option<(usize, usize)>,
    /// Whether it is a thinking that goes on where an earlier request left it, in its slot.
    pub(crate) is_resumed: bool,
}

/// Groups under way and the order in which their sequences get slots.
#[derive(Default)]
pub(crate) struct Scheduler {
    groups: BTreeMap<u64, Group>,
    traces: VecDeque<Waiting>,
    summaries: VecDeque<Waiting>,
}

impl Scheduler {
    /// `resumed` is the trace of an earlier request that goes on as the only one of this.
    pub(crate) fn add(&mut self, request: GroupRequest, resumed: Option<Sequence>) {
        let group = request.number;
        let traces = request.plan.traces;
        self.traces.extend((0..traces).map(|trace| Waiting {
            key: TraceKey { group, trace },
            summary: None,
            is_resumed: resumed.is_some(),
        }));
        let prompt = SharedPrompt::new(request.prompt_ids.clone());
        let finished = (0..traces).map(|_| None).collect();
        self.groups.insert(
            group,
            Group {
                request,
                prompt,
                traces: finished,
                resumed,
                unfinished: traces,
            },
        );
    }

    /// Forgets a group. The caller drops its rows and slots.
    pub(crate) fn remove(&mut self, group: u64) {
        self.groups.remove(&group);
        self.traces.retain(|waiting| waiting.key.group != group);
        self.summaries.retain(|waiting| waiting.key.group != group);
    }

    /// Numbers of the groups for which `matches` holds.
    pub(crate) fn groups_where(&self, matches: impl Fn(&GroupRequest) -> bool) -> Vec<u64> {
        self.groups
            .values()
            .filter(|group| matches(&group.request))
            .map(|group| group.request.number)
            .collect()
    }

    pub(crate) fn request(&self, group: u64) -> Option<&GroupRequest> {
        self.groups.get(&group).map(|group| &group.request)
    }

    /// The slots that every group under way or waiting fits, and that are no shorter than `least`.
    pub(crate) fn longest(&self, least: SlotLengths) -> SlotLengths {
        let lengths = self.groups.values().map(|group| SlotLengths::of(&group.request.plan));
        lengths.fold(least, SlotLengths::at_least)
    }

    /// Whether a group under way or waiting must not depend on what is computed together with it.
    pub(crate) fn is_any_deterministic(&self) -> bool {
        self.groups.values().any(|group| group.request.plan.deterministic)
    }

    /// Sequences that wait for a slot.
    pub(crate) fn waiting(&self) -> usize {
        self.traces.len() + self.summaries.len()
    }

    /// The sequence that gets the next slot.
    pub(crate) fn peek(&self) -> Option<Waiting> {
        self.summaries.front().or_else(|| self.traces.front()).copied()
    }

    /// The prompt and thinking of a finished trace, as far as its summaries see them.
    pub(crate) fn needed_of(&self, key: TraceKey) -> Option<&[u32]> {
        let trace = self.groups.get(&key.group)?.traces.get(key.trace)?.as_ref()?;
        Some(&trace.needed)
    }

    /// Takes what [`Scheduler::peek`] showed.
    pub(crate) fn take(&mut self) -> Option<Sequence> {
        let waiting = match self.summaries.pop_front() {
            Some(waiting) => waiting,
            None => self.traces.pop_front()?,
        };
        let group = self.groups.get_mut(&waiting.key.group)?;
        if waiting.summary.is_none()
            && let Some(resumed) = group.resumed.take()
        {
            return Some(resumed);
        }
        let (task, prompt) = match waiting.summary {
            None => (Task::Thinking, &group.prompt),
            Some((node, index)) => {
                let work = &group.traces[waiting.key.trace].as_ref()?.nodes[node];
                let seen = group.prompt.ids.len() + work.plan.cut;
                (Task::Summary { node, index, seen }, &work.inserted)
            }
        };
        let plan = Arc::clone(&group.request.plan);
        let seed = group.request.seed;
        let seed = match &plan.serving {
            Some(_) => Seed::ByCut {
                seed,
                prompt: group.prompt.ids.len(),
            },
            None => Seed::ByNode(seed),
        };
        Some(Sequence::new(waiting.key, task, plan, Rc::clone(prompt), seed))
    }

    /// A served thinking that goes on has passed this budget (from 0): its summaries begin to wait.
    pub(crate) fn pass_budget(&mut self, key: TraceKey, budget: usize) {
        let Some(group) = self.groups.get_mut(&key.group) else {
            return;
        };
        let plan = &group.request.plan;
        let node = nodes::cut_node(plan, budget);
        let work = NodeWork::new(node, plan.summaries_of(1));
        let trace = group.traces[key.trace].get_or_insert_default();
        let place = trace.nodes.len();
        trace.unfinished += work.unfinished;
        group.unfinished += work.unfinished;
        self.summaries.extend(work.waiting(key, place));
        trace.nodes.push(work);
    }

    /// Ends a served request before its summaries have. The caller drops its rows, of which `thinking` is the one that
    /// still thinks. Returns the trace that is kept.
    pub(crate) fn stop(&mut self, group: u64, thinking: Option<Sequence>) -> Option<KeptTrace> {
        let stopped = self.groups.remove(&group)?;
        self.remove(group);
        match thinking {
            _ if !stopped.request.plan.keeps_trace() => None,
            Some(sequence) => Some(KeptTrace {
                sequence: sequence.for_later(),
                finish: FinishReason::Length,
            }),
            None => stopped.traces.into_iter().next()??.kept,
        }
    }

    /// Gives up a trace that still thinks. The caller drops its rows and slot. Returns the events to report; none where the
    /// trace has ended, or the group is not there.
    pub(crate) fn prune(&mut self, key: TraceKey) -> Option<Vec<Event>> {
        let group = self.groups.get_mut(&key.group)?;
        let trace = group.traces.get_mut(key.trace)?;
        if trace.as_ref().is_some_and(|trace| trace.has_ended) {
            return None;
        }
        let given_up = trace.take().map_or(0, |trace| trace.unfinished);
        // Its thinking, and the summaries of the budgets that it has passed.
        group.unfinished -= 1 + given_up;
        self.traces.retain(|waiting| waiting.key != key);
        self.summaries.retain(|waiting| waiting.key != key);
        if group.unfinished > 0 {
            return Some(Vec::new());
        }
        self.groups.remove(&key.group);
        Some(vec![Event::GroupFinished { group: key.group }])
    }

    /// Where the last hidden state of a thinking belongs that has ended and is kept.
    pub(crate) fn prompt_for_later(&self, key: TraceKey) -> Option<Rc<SharedPrompt>> {
        let trace = self.groups.get(&key.group)?.traces.get(key.trace)?.as_ref()?;
        trace.kept.as_ref().map(|kept| Rc::clone(&kept.sequence.prompt))
    }

    /// Enters a finished sequence. The summaries of a finished thinking begin to wait; the last summary completes its
    /// node. Returns the events to report, and what becomes of the trace.
    pub(crate) fn finish(&mut self, sequence: Sequence, finish: FinishReason) -> (Vec<Event>, TraceEnd) {
        let key = sequence.key;
        let Some(group) = self.groups.get_mut(&key.group) else {
            return (Vec::new(), TraceEnd::Over);
        };
        let mut end = TraceEnd::NotYet;
        group.unfinished -= 1;
        let mut events = Vec::new();
        match sequence.task {
            Task::Thinking => {
                let before = group.traces[key.trace].take().unwrap_or_default();
                let (begun, waited_for) = (before.nodes.len(), before.unfinished);
                let mut trace = finished_trace(group, before, &sequence.ids, finish);
                for (node, work) in trace.nodes.iter().enumerate().skip(begun).rev() {
                    self.summaries.extend(work.waiting(key, node));
                }
                group.unfinished += trace.unfinished - waited_for;
                let nodes = trace.nodes.iter().map(|work| work.plan.clone()).collect();
                let thinking = if group.request.plan.keeps_trace() {
                    let thinking = sequence.generated(finish);
                    let sequence = sequence.for_later();
                    trace.kept = Some(KeptTrace { sequence, finish });
                    thinking
                } else {
                    sequence.into_generated(finish)
                };
                events.push(Event::TraceFinished {
                    group: key.group,
                    trace: key.trace,
                    thinking,
                    nodes,
                });
                group.traces[key.trace] = Some(trace);
            }
            Task::Summary { node, index, .. } => {
                let Some(trace) = group.traces[key.trace].as_mut() else {
                    return (events, TraceEnd::Over);
                };
                trace.unfinished -= 1;
                if trace.unfinished == 0 && trace.has_ended {
                    let kept = trace.kept.take();
                    end = kept.map_or(TraceEnd::Over, |kept| TraceEnd::Kept(Box::new(kept)));
                }
                let work = &mut trace.nodes[node];
                work.summaries[index] = Some(sequence.into_generated(finish));
                work.unfinished -= 1;
                if work.unfinished == 0 {
                    let summaries = work.summaries.drain(..).flatten().collect();
                    let event = Event::NodeFinished {
                        group: key.group,
                        trace: key.trace,
                        node,
                        summaries,
                    };
                    events.push(event);
                }
            }
        }
        if group.unfinished == 0 {
            self.groups.remove(&key.group);
            events.push(Event::GroupFinished { group: key.group });
        }
        (events, end)
    }
}

impl NodeWork {
    fn new(plan: NodePlan, count: usize) -> Self {
        Self {
            inserted: SharedPrompt::new(plan.inserted.clone()),
            plan,
            summaries: (0..count).map(|_| None).collect(),
            unfinished: count,
        }
    }

    /// Its summaries, as they wait; `node` is its place.
    fn waiting(&self, key: TraceKey, node: usize) -> impl Iterator<Item = Waiting> + use<> {
        (0..self.summaries.len()).map(move |index| Waiting {
            key,
            summary: Some((node, index)),
            is_resumed: false,
        })
    }
}

/// The work on a thinking that has ended. The first nodes may be under way since before.
fn finished_trace(group: &Group, before: TraceWork, thinking: &[u32], finish: FinishReason) -> TraceWork {
    let plan = &group.request.plan;
    let mut largest_cut = 0;
    let mut trace = before;
    let begun = trace.nodes.len();
    for (place, node) in nodes::nodes(plan, thinking.len(), finish).into_iter().enumerate() {
        largest_cut = largest_cut.max(node.cut);
        if place < begun {
            continue;
        }
        let count = plan.summaries_of(node.multiplicity);
        trace.unfinished += count;
        trace.nodes.push(NodeWork::new(node, count));
    }
    trace.needed = [group.prompt.ids.as_slice(), &thinking[..largest_cut]].concat();
    trace.has_ended = true;
    trace
}
