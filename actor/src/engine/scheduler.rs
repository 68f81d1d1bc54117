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
use super::messages::{Event, GroupRequest};
use super::sequence::{Sequence, SharedPrompt, Task, TraceKey};
use crate::nodes::{self, NodePlan};

/// A group that is being generated.
struct Group {
    request: GroupRequest,
    prompt: Rc<SharedPrompt>,
    /// By trace; `None` while the trace thinks or waits.
    traces: Vec<Option<FinishedTrace>>,
    /// How many of its thinkings and summaries have not ended.
    unfinished: usize,
}

/// A trace whose thinking has ended.
struct FinishedTrace {
    /// The prompt and the thinking up to the largest cut, which is what the summaries see.
    needed: Vec<u32>,
    nodes: Vec<NodeWork>,
    /// How many of its summaries have not ended.
    unfinished: usize,
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
}

/// Groups under way and the order in which their sequences get slots.
#[derive(Default)]
pub(crate) struct Scheduler {
    groups: BTreeMap<u64, Group>,
    traces: VecDeque<Waiting>,
    summaries: VecDeque<Waiting>,
}

impl Scheduler {
    pub(crate) fn add(&mut self, request: GroupRequest) {
        let group = request.number;
        let traces = request.plan.traces;
        self.traces.extend((0..traces).map(|trace| Waiting {
            key: TraceKey { group, trace },
            summary: None,
        }));
        let prompt = SharedPrompt::new(request.prompt_ids.clone());
        let finished = (0..traces).map(|_| None).collect();
        self.groups.insert(
            group,
            Group {
                request,
                prompt,
                traces: finished,
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
        let group = self.groups.get(&waiting.key.group)?;
        let (task, prompt) = match waiting.summary {
            None => (Task::Thinking, &group.prompt),
            Some((node, index)) => {
                let work = &group.traces[waiting.key.trace].as_ref()?.nodes[node];
                let seen = group.prompt.ids.len() + work.plan.cut;
                (Task::Summary { node, index, seen }, &work.inserted)
            }
        };
        let plan = Arc::clone(&group.request.plan);
        Some(Sequence::new(
            waiting.key,
            task,
            plan,
            Rc::clone(prompt),
            group.request.seed,
        ))
    }

    /// Enters a finished sequence. The summaries of a finished thinking begin to wait; the last summary completes its
    /// node. Returns the events to report, and whether the trace has ended, so that nothing reads its thinking any
    /// more.
    pub(crate) fn finish(&mut self, sequence: Sequence, finish: FinishReason) -> (Vec<Event>, bool) {
        let key = sequence.key;
        let Some(group) = self.groups.get_mut(&key.group) else {
            return (Vec::new(), true);
        };
        let mut was_last = false;
        group.unfinished -= 1;
        let mut events = Vec::new();
        match sequence.task {
            Task::Thinking => {
                let trace = finished_trace(group, &sequence.ids, finish);
                for (node, work) in trace.nodes.iter().enumerate().rev() {
                    let waiting = |index| Waiting {
                        key,
                        summary: Some((node, index)),
                    };
                    self.summaries.extend((0..work.summaries.len()).map(waiting));
                }
                group.unfinished += trace.unfinished;
                let nodes = trace.nodes.iter().map(|work| work.plan.clone()).collect();
                let thinking = sequence.into_generated(finish);
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
                    return (events, true);
                };
                trace.unfinished -= 1;
                was_last = trace.unfinished == 0;
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
        (events, was_last)
    }
}

fn finished_trace(group: &Group, thinking: &[u32], finish: FinishReason) -> FinishedTrace {
    let plan = &group.request.plan;
    let mut nodes = Vec::new();
    let mut largest_cut = 0;
    for node in nodes::nodes(plan, thinking.len(), finish) {
        let count = node.multiplicity * plan.summaries;
        let summaries = (0..count).map(|_| None).collect();
        largest_cut = largest_cut.max(node.cut);
        nodes.push(NodeWork {
            inserted: SharedPrompt::new(node.inserted.clone()),
            plan: node,
            summaries,
            unfinished: count,
        });
    }
    FinishedTrace {
        needed: [group.prompt.ids.as_slice(), &thinking[..largest_cut]].concat(),
        nodes,
        unfinished: plan.summaries_per_trace(),
    }
}
