//! What waits and what is under way: groups, their traces, the nodes of finished traces. No tensors.
//!
//! Summaries come before new traces, so that groups finish and the slots that hold finished thinkings become free. The
//! nodes of a trace go from the largest cut down: a summary of a larger cut holds everything that a smaller one needs.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use anytime_proto::v1::{FinishReason, Generated};

use super::sequence::{Prefix, Sequence, Task, TraceKey};
use super::{Event, GroupOrder};
use crate::anytime::{self, NodePlan};

/// The generation of one group under way.
struct Group {
    order: GroupOrder,
    prompt: Rc<Prefix>,
    /// By trace; `None` while the trace thinks or waits.
    traces: Vec<Option<FinishedTrace>>,
    /// Summaries and thinkings that have not finished.
    unfinished: usize,
}

/// A trace whose thinking has ended.
struct FinishedTrace {
    nodes: Vec<NodeWork>,
    /// Summaries that have not been started.
    unstarted: usize,
}

struct NodeWork {
    plan: NodePlan,
    prefix: Rc<Prefix>,
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
    pub(crate) fn add(&mut self, order: GroupOrder) {
        let group = order.number;
        let traces = order.plan.traces;
        self.traces.extend((0..traces).map(|trace| Waiting {
            key: TraceKey { group, trace },
            summary: None,
        }));
        let prompt = Prefix::new(order.prompt_ids.clone());
        let finished = (0..traces).map(|_| None).collect();
        self.groups.insert(
            group,
            Group {
                order,
                prompt,
                traces: finished,
                unfinished: traces,
            },
        );
    }

    /// Forgets a group; the caller drops its rows and slots.
    pub(crate) fn remove(&mut self, group: u64) {
        self.groups.remove(&group);
        self.traces.retain(|waiting| waiting.key.group != group);
        self.summaries.retain(|waiting| waiting.key.group != group);
    }

    /// Numbers of the groups for which `matches` holds.
    pub(crate) fn groups_where(&self, matches: impl Fn(&GroupOrder) -> bool) -> Vec<u64> {
        self.groups
            .values()
            .filter(|group| matches(&group.order))
            .map(|group| group.order.number)
            .collect()
    }

    pub(crate) fn order(&self, group: u64) -> Option<&GroupOrder> {
        self.groups.get(&group).map(|group| &group.order)
    }

    /// Sequences that wait for a slot.
    pub(crate) fn waiting(&self) -> usize {
        self.traces.len() + self.summaries.len()
    }

    /// The sequence that gets the next slot.
    pub(crate) fn peek(&self) -> Option<Waiting> {
        self.summaries.front().or_else(|| self.traces.front()).copied()
    }

    /// The finished trace that waits longest for its turn from now on: whose slot is missed last.
    pub(crate) fn last_in_turn(&self, held: &[TraceKey]) -> Option<TraceKey> {
        self.summaries
            .iter()
            .rev()
            .map(|waiting| waiting.key)
            .find(|key| held.contains(key))
    }

    /// Takes what [`Scheduler::peek`] showed. Returns the sequence and whether it was the last of a finished trace, whose
    /// slot is then no longer needed.
    pub(crate) fn take(&mut self) -> Option<(Sequence, bool)> {
        let waiting = match self.summaries.pop_front() {
            Some(waiting) => waiting,
            None => self.traces.pop_front()?,
        };
        let group = self.groups.get_mut(&waiting.key.group)?;
        let plan = Arc::clone(&group.order.plan);
        let Some((node, index)) = waiting.summary else {
            let prompt = Rc::clone(&group.prompt);
            return Some((
                Sequence::new(waiting.key, Task::Thinking, plan, prompt, group.order.seed),
                false,
            ));
        };
        let trace = group.traces[waiting.key.trace].as_mut()?;
        trace.unstarted -= 1;
        let work = &trace.nodes[node];
        let shared = group.prompt.ids.len() + work.plan.cut;
        let task = Task::Summary { node, index, shared };
        let sequence = Sequence::new(waiting.key, task, plan, Rc::clone(&work.prefix), group.order.seed);
        Some((sequence, trace.unstarted == 0))
    }

    /// Books a finished sequence: a thinking brings forth its summaries, a node's last summary completes it.
    pub(crate) fn finish(&mut self, sequence: Sequence, finish: FinishReason) -> Vec<Event> {
        let key = sequence.key;
        let Some(group) = self.groups.get_mut(&key.group) else {
            return Vec::new();
        };
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
                group.unfinished += trace.unstarted;
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
                    return events;
                };
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
        events
    }
}

fn finished_trace(group: &Group, thinking: &[u32], finish: FinishReason) -> FinishedTrace {
    let plan = &group.order.plan;
    let mut nodes = Vec::new();
    for node in anytime::nodes(plan, thinking.len(), finish) {
        let count = node.multiplicity * plan.summaries;
        let ids = [group.prompt.ids.as_slice(), &thinking[..node.cut], &node.inserted].concat();
        let summaries = (0..count).map(|_| None).collect();
        nodes.push(NodeWork {
            plan: node,
            prefix: Prefix::new(ids),
            summaries,
            unfinished: count,
        });
    }
    FinishedTrace {
        nodes,
        unstarted: plan.summaries_per_trace(),
    }
}
