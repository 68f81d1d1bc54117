//! The plan of one call of [`crate::Decoder::extend`]: where each token is placed, and what each of them reads.
//!
//! Tokens are packed without padding, so that projections and feed-forward layers do no idle work: first the rows with
//! few new tokens, then the branches, then the rows with many. Only attention tells them apart. On the CPU the first
//! two go through an operator that takes tokens one by one; on CUDA in bf16 all rows are sequences of one or two calls
//! (see `sequences`); otherwise they form groups (see `grouping`), and a row with many new tokens attends alone, where
//! no mask has to be widened for the others.

use tch::{Device, Kind, Tensor};

use crate::cache::{KvCache, Layout, Region, Slots};
use crate::config::ModelConfig;
use crate::grouping::{Group, Member, groups};
use crate::operators::attention::{Read, Strides, can_attend_reads};
use crate::sequences::{SequencePlan, Sequencing};
use crate::shapes::{SequenceRow, StepShape};
use crate::steps::{Step, StepRow};

/// The new tokens of one sequence in a call of [`crate::Decoder::extend`].
#[derive(Debug, Clone, Copy)]
pub struct Extension<'a> {
    /// The sequence's slot in the cache: a branch slot where `prefix` is given, otherwise a prefix slot.
    pub slot: usize,
    /// How many tokens the slot holds already; the new ones follow them.
    pub start: usize,
    /// The new tokens, at least one.
    pub ids: &'a [u32],
    /// What the sequence continues, where it is a branch.
    pub prefix: Option<Prefix>,
}

/// The tokens that a branch continues. The call that extends the branch may write their keys and values too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// A prefix slot of the cache.
    pub slot: usize,
    /// How many of its first tokens the branch sees; the branch's positions follow them.
    pub length: usize,
}

/// Rows with more new tokens than this attend alone.
const LONGEST_TOGETHER: usize = 32;

impl Extension<'_> {
    fn is_alone(&self) -> bool {
        self.prefix.is_none() && self.ids.len() > LONGEST_TOGETHER
    }

    fn as_sequence(&self) -> SequenceRow {
        SequenceRow {
            slot: self.slot,
            tokens: self.ids.len(),
            own: self.start + self.ids.len(),
            prefix: self.prefix.map(|prefix| (prefix.slot, prefix.length)),
        }
    }
}

/// The step that the rows are, where each has one new token, or is a branch and has a few, and the cache lies by token.
pub(crate) fn as_step(config: &ModelConfig, cache: &KvCache, rows: &[Extension<'_>]) -> Option<Step> {
    let several = || rows.iter().filter(|row| row.ids.len() != 1);
    let of_several: usize = several().map(|row| row.ids.len()).sum();
    if cache.layout() != Layout::ByToken
        || several().any(|row| row.prefix.is_none())
        || of_several > StepShape::MOST_OF_LONGER
    {
        return None;
    }
    check(cache, rows);
    let (prefixes, branches, nobody) = (cache.prefix_region(), cache.branch_region(), cache.nobody());
    fn as_row<'a>(row: &Extension<'a>, prefixes: Region, branches: Region) -> StepRow<'a> {
        let region = if row.prefix.is_some() { branches } else { prefixes };
        StepRow {
            ids: row.ids,
            position: row.prefix.map_or(0, |prefix| prefix.length) + row.start,
            write: region.row(row.slot) + row.start as i64,
            sequence: row.as_sequence(),
        }
    }
    let steps: Vec<StepRow<'_>> = rows.iter().map(|row| as_row(row, prefixes, branches)).collect();
    let order = packed_order(rows, Manner::Sequences);
    Some(Step::new(&steps, &order, nobody, |rows, shape| {
        Sequencing::of_step(rows, shape, prefixes, branches, nobody, config.query_group())
    }))
}

/// Everything about a call that is the same in all layers.
pub(crate) struct ExtensionPlan {
    /// `[tokens]` int64.
    pub(crate) ids: Tensor,
    /// `[tokens]` int64.
    pub(crate) positions: Tensor,
    /// Rows of the cache to write to, int64: [tokens * kv_heads], or `[tokens]` where it lies by token.
    pub(crate) writes: Tensor,
    /// For each of the caller's rows the packed index of its last token, `[rows]` int64; `None` where it is 0, 1, 2, …
    pub(crate) last: Option<Tensor>,
    /// The first tokens.
    pub(crate) together: Together,
    /// Rows of many tokens, consecutive after the others.
    pub(crate) alone: Vec<Group>,
}

/// How the rows with few new tokens and the branches attend; as sequences, all rows.
pub(crate) enum Together {
    /// Token by token.
    Reads { reads: Vec<Read>, strides: Strides },
    /// In groups of one operation each, consecutive in the packed order.
    Groups {
        rows: Vec<Group>,
        branches: Option<BranchGroups>,
    },
    /// In one or two calls for all of them.
    Sequences(SequencePlan),
}

/// Branches attend twice, and the two results are merged.
pub(crate) struct BranchGroups {
    pub(crate) tokens: i64,
    /// Over prefixes: all branches of one prefix are queries of one sequence. Consecutive in the packed order.
    pub(crate) over_prefixes: Vec<Group>,
    /// Over their own slots.
    pub(crate) over_branches: Group,
}

/// The packed tokens of one row.
struct PackedRow {
    first: usize,
    count: usize,
}

impl ExtensionPlan {
    pub(crate) fn new(
        config: &ModelConfig,
        cache: &KvCache,
        rows: &[Extension<'_>],
        kind: Kind,
        device: Device,
    ) -> Self {
        check(cache, rows);
        let (prefixes, branches) = (cache.prefix_region(), cache.branch_region());
        let manner = match cache.layout() {
            Layout::ByToken => Manner::Sequences,
            Layout::ByHead if can_attend_reads(kind, device) => Manner::Reads,
            Layout::ByHead => Manner::Groups,
        };
        let order = packed_order(rows, manner);

        let mut ids = Vec::new();
        let mut positions = Vec::new();
        let mut writes = Vec::new();
        let mut last = vec![0; rows.len()];
        let mut packed = Vec::with_capacity(rows.len());
        for &row in &order {
            let extension = &rows[row];
            let region = if extension.prefix.is_some() { branches } else { prefixes };
            let before = extension.prefix.map_or(0, |prefix| prefix.length);
            packed.push(PackedRow {
                first: ids.len(),
                count: extension.ids.len(),
            });
            for (offset, &id) in extension.ids.iter().enumerate() {
                let place = extension.start + offset;
                ids.push(i64::from(id));
                positions.push((before + place) as i64);
                writes.extend(region.rows_at(extension.slot, place));
            }
            last[row] = ids.len() as i64 - 1;
        }
        let ordered: Vec<(&Extension<'_>, PackedRow)> = order.iter().map(|&row| &rows[row]).zip(packed).collect();
        let shared = config.query_group();
        let sequences = (manner == Manner::Sequences).then(|| {
            let rows = ordered.iter().map(|(extension, _)| extension.as_sequence());
            Sequencing::new(rows, prefixes, branches, shared)
        });
        // All index vectors go over in one transfer, because on CUDA each costs more than the kernels that it feeds.
        let (tokens, written) = (ids.len() as i64, writes.len() as i64);
        let last_is_identity = last.iter().enumerate().all(|(row, &index)| row as i64 == index);
        let in_pairs = sequences.iter().flat_map(Sequencing::in_pairs);
        let all: Vec<i64> = ids
            .into_iter()
            .chain(positions)
            .chain(last)
            .chain(writes)
            .chain(in_pairs)
            .collect();
        let all = Tensor::from_slice(&all).to_device(device);
        let count = rows.len() as i64;
        let writes_from = 2 * tokens + count;

        let together = match manner {
            Manner::Sequences => ordered.len(),
            _ => ordered.partition_point(|(extension, _)| !extension.is_alone()),
        };
        let (together, alone) = ordered.split_at(together);
        let group = |region: Region, members: &[Member]| Group::new(region, members, shared, kind, device);
        ExtensionPlan {
            ids: all.narrow(0, 0, tokens),
            positions: all.narrow(0, tokens, tokens),
            last: (!last_is_identity).then(|| all.narrow(0, 2 * tokens, count)),
            writes: all.narrow(0, writes_from, written),
            together: match (manner, sequences) {
                (Manner::Sequences, Some(sequences)) => {
                    let start = writes_from + written;
                    Together::Sequences(sequences.on_device(&all.narrow(0, start, all.size()[0] - start)))
                }
                (Manner::Reads, _) => reads(together, prefixes, branches),
                _ => together_in_groups(together, prefixes, branches, shared, &group),
            },
            alone: alone
                .iter()
                .map(|(extension, packed)| group(prefixes, &[member(extension, 0, packed)]))
                .collect(),
        }
    }
}

fn check(cache: &KvCache, rows: &[Extension<'_>]) {
    assert!(!rows.is_empty(), "extension without rows");
    let (prefixes, branches) = (cache.prefixes(), cache.branches());
    let mut seen = [vec![false; prefixes.count], vec![false; branches.count]];
    for row in rows {
        let slots = if row.prefix.is_some() { branches } else { prefixes };
        let (slot, count, capacity) = (row.slot, slots.count, slots.capacity);
        assert!(slot < count, "slot {slot} of a cache of {count} slots");
        let seen = &mut seen[usize::from(row.prefix.is_some())][slot];
        assert!(!*seen, "slot {slot} is extended twice");
        *seen = true;
        assert!(!row.ids.is_empty(), "slot {slot} is extended by no tokens");
        let end = row.start + row.ids.len();
        assert!(
            end <= capacity,
            "slot {slot} would hold {end} tokens, its capacity is {capacity}"
        );
        if let Some(Prefix { slot, length }) = row.prefix {
            let Slots { count, capacity } = prefixes;
            assert!(slot < count, "prefix slot {slot} of a cache of {count} slots");
            assert!(
                (1..=capacity).contains(&length),
                "a branch of {length} tokens of a prefix; it must have 1 to {capacity}"
            );
        }
    }
}

/// Which attention the rows go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Reads,
    Groups,
    Sequences,
}

/// The packed order of the tokens of the rows: rows, branches by their prefix, rows that attend
/// alone; each by slot. For groups, rows of one class of lengths are kept together first; for sequences, rows with one
/// new token come before all others, and branches of one cut are kept together.
fn packed_order(rows: &[Extension<'_>], manner: Manner) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| {
        let Extension {
            slot,
            start,
            ids,
            prefix,
        } = &rows[row];
        let last = match manner {
            // Branches lie between rows of both sorts, one behind the other.
            Manner::Sequences => match (ids.len() > 1, prefix.is_some()) {
                (false, false) => 0,
                (false, true) => 1,
                (true, true) => 2,
                (true, false) => 3,
            },
            _ => u8::from(rows[row].is_alone()),
        };
        let class = match (manner, prefix) {
            (Manner::Sequences, Some(prefix)) => prefix.length,
            (Manner::Groups, None) => length_class(start + ids.len()) as usize,
            _ => 0,
        };
        (last, prefix.map(|prefix| prefix.slot), class, *slot)
    });
    order
}

/// Lengths of one class differ by less than a factor of two, so that padding them costs less than another operation.
/// All short lengths are one class, because their padding is always small.
fn length_class(length: usize) -> u32 {
    const SHORT: usize = 1024;
    (length / SHORT).max(1).ilog2()
}

fn reads(rows: &[(&Extension<'_>, PackedRow)], prefixes: Region, branches: Region) -> Together {
    let mut reads = Vec::new();
    for (extension, packed) in rows {
        for offset in 0..packed.count {
            let token = (packed.first + offset) as i64;
            let own = (extension.start + offset + 1) as i64;
            reads.push(match extension.prefix {
                None => Read {
                    token,
                    prefix_row: prefixes.row(extension.slot),
                    prefix_keys: own,
                    branch_row: 0,
                    branch_keys: 0,
                },
                Some(prefix) => Read {
                    token,
                    prefix_row: prefixes.row(prefix.slot),
                    prefix_keys: prefix.length as i64,
                    branch_row: branches.row(extension.slot),
                    branch_keys: own,
                },
            });
        }
    }
    reads.sort_by_key(|read| (read.prefix_row, read.token));
    Together::Reads {
        reads,
        strides: Strides {
            prefix: prefixes.allocated as i64,
            branch: branches.allocated as i64,
        },
    }
}

fn together_in_groups(
    rows: &[(&Extension<'_>, PackedRow)],
    prefixes: Region,
    branches: Region,
    shared: i64,
    group: &impl Fn(Region, &[Member]) -> Group,
) -> Together {
    let first_branch = rows.partition_point(|(extension, _)| extension.prefix.is_none());
    let (rows, of_branches) = rows.split_at(first_branch);
    let members: Vec<Member> = rows
        .iter()
        .map(|(extension, packed)| member(extension, packed.first, packed))
        .collect();
    let rows = groups(&members, prefixes.allocated, shared)
        .map(|members| group(prefixes, &from_zero(members)))
        .collect();
    let Some((_, first)) = of_branches.first() else {
        return Together::Groups { rows, branches: None };
    };
    let base = first.first;

    let mut over_prefixes: Vec<Member> = Vec::new();
    let mut over_branches = Vec::new();
    for (extension, packed) in of_branches {
        let prefix = extension.prefix.expect("branches have a prefix");
        let tokens = (packed.first - base..packed.first - base + packed.count).map(|token| token as i64);
        let queries = tokens.map(|token| (token, prefix.length as i64));
        match over_prefixes.last_mut().filter(|member| member.slot == prefix.slot) {
            Some(member) => member.queries.extend(queries),
            None => over_prefixes.push(Member {
                slot: prefix.slot,
                queries: queries.collect(),
            }),
        }
        over_branches.push(member(extension, packed.first - base, packed));
    }
    over_branches.sort_by_key(|member| member.slot);
    let branches = BranchGroups {
        tokens: over_prefixes.iter().map(|member| member.queries.len() as i64).sum(),
        over_prefixes: groups(&over_prefixes, prefixes.allocated, shared)
            .map(|members| group(prefixes, &from_zero(members)))
            .collect(),
        over_branches: group(branches, &over_branches),
    };
    Together::Groups {
        rows,
        branches: Some(branches),
    }
}

/// A row's tokens over its own slot, numbered from `first` on.
fn member(extension: &Extension<'_>, first: usize, packed: &PackedRow) -> Member {
    let query = |offset: usize| ((first + offset) as i64, (extension.start + offset + 1) as i64);
    Member {
        slot: extension.slot,
        queries: (0..packed.count).map(query).collect(),
    }
}

/// The same members with their tokens numbered from 0 on; they are consecutive.
fn from_zero(members: &[Member]) -> Vec<Member> {
    let base = members[0].queries[0].0;
    members
        .iter()
        .map(|member| Member {
            slot: member.slot,
            queries: member
                .queries
                .iter()
                .map(|&(token, limit)| (token - base, limit))
                .collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_rows_in_turn_attend_in_two_groups() {
        let ids = [7];
        let rows: Vec<Extension<'_>> = (0..64)
            .map(|slot| Extension {
                slot,
                start: if slot % 2 == 0 { 100 } else { 8000 },
                ids: &ids,
                prefix: None,
            })
            .collect();
        let group_count = |manner| {
            let members: Vec<Member> = packed_order(&rows, manner)
                .iter()
                .enumerate()
                .map(|(token, &row)| Member {
                    slot: rows[row].slot,
                    queries: vec![(token as i64, rows[row].start as i64 + 1)],
                })
                .collect();
            groups(&members, 8192, 1).count()
        };
        assert_eq!(group_count(Manner::Groups), 2);
        // By slots alone padding would split them again and again, or be read for nothing.
        let order = packed_order(&rows, Manner::Reads);
        assert!(order.is_sorted());
    }

    #[test]
    fn short_rows_keep_the_order_of_their_slots() {
        let ids = [7];
        let starts = [900, 3, 500];
        let rows = [0, 1, 2].map(|slot| Extension {
            slot,
            start: starts[slot],
            ids: &ids,
            prefix: None,
        });
        assert_eq!(packed_order(&rows, Manner::Groups), [0, 1, 2]);
    }
}
