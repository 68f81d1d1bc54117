//! The account of a training step for its event: which groups it trained, and which were left out or replayed.

use anytime_proto::v1;

use crate::jobs::context::JobContext;
use crate::rollouts::group::{OTHER_LINE, QueuedGroup};

/// The account of a step whose weights are published. `left_out` and `replayed` are the groups since the step before.
pub(super) fn account(
    context: &JobContext,
    groups: &[QueuedGroup],
    left_out: Vec<v1::LeftOutGroup>,
    replayed: Vec<u64>,
) -> v1::StepAccount {
    v1::StepAccount {
        trained: groups.iter().map(trained).collect(),
        left_out,
        weights_checksum: context.manifest_checksum(),
        replayed,
    }
}

fn trained(queued: &QueuedGroup) -> v1::TrainedGroup {
    let traces = &queued.group.traces;
    let thinkings = || traces.iter().filter_map(|trace| trace.thinking.as_ref());
    let summaries = traces
        .iter()
        .flat_map(|trace| &trace.nodes)
        .flat_map(|node| &node.summaries)
        .filter_map(|summary| summary.generated.as_ref());
    let versions = thinkings()
        .chain(summaries)
        .flat_map(|generated| generated.versions.iter().copied())
        .filter(|version| *version != OTHER_LINE);
    let (oldest, newest) = versions.fold((u64::MAX, 0), |(oldest, newest), version| {
        (oldest.min(version), newest.max(version))
    });
    let longest = thinkings().map(|thinking| thinking.ids.len()).max().unwrap_or(0);
    v1::TrainedGroup {
        sequence: queued.sequence,
        oldest_version: oldest.min(newest),
        newest_version: newest,
        thinking_tokens: u32::try_from(longest).unwrap_or(u32::MAX),
    }
}
