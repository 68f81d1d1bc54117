//! The plan of one call of [`crate::Decoder::extend`]: where each token is placed, and what each of them reads.
//!
//! Tokens are packed without padding, so that projections and feed-forward layers do no idle work: first the rows with
//! few new tokens, then the branches, then the rows with many. Only attention tells them apart. On the CPU the first
//! two go through an operator that takes tokens one by one; elsewhere they form groups (see `grouping`). A row with
//! many new tokens attends alone, where no mask has to be widened for the others.

use tch::{Device, Kind, Tensor};

use crate::cache::{KvCache, Region, Slots};
use crate::config::ModelConfig;
use crate::grouping::{Group, Member, groups};
use crate::operators::attention::{Read, Strides, can_attend_reads};

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
}

/// Everything about a call that is the same in all layers.
pub(crate) struct ExtensionPlan {
    /// `[tokens]` int64.
    pub(crate) ids: Tensor,
    /// `[tokens]` int64.
    pub(crate) positions: Tensor,
    /// Rows of the cache to write to, [tokens * kv_heads] int64.
    pub(crate) writes: Tensor,
    /// For each of the caller's rows the packed index of its last token, `[rows]` int64; `None` where it is 0, 1, 2, …
    pub(crate) last: Option<Tensor>,
    /// The first tokens.
    pub(crate) together: Together,
    /// Rows of many tokens, consecutive after the others.
    pub(crate) alone: Vec<Group>,
}

/// How the rows with few new tokens and the branches attend.
pub(crate) enum Together {
    /// Token by token.
    Reads { reads: Vec<Read>, strides: Strides },
    /// In groups of one operation each, consecutive in the packed order.
    Groups {
        rows: Vec<Group>,
        branches: Option<BranchGroups>,
    },
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
        let kv_heads = config.num_key_value_heads;
        let (prefixes, branches) = (cache.prefix_region(), cache.branch_region());
        let in_groups = !can_attend_reads(kind, device);
        let order = packed_order(rows, in_groups);

        let mut ids = Vec::new();
        let mut positions = Vec::new();
        let mut writes = Vec::new();
        let mut last = vec![0; rows.len()];
        let mut packed = Vec::with_capacity(rows.len());
        for &row in &order {
            let extension = &rows[row];
            let region = if extension.prefix.is_some() { branches } else { prefixes };
            let before = extension.prefix.map_or(0, |prefix| prefix.length);
            let first_row = region.row(extension.slot);
            packed.push(PackedRow {
                first: ids.len(),
                count: extension.ids.len(),
            });
            for (offset, &id) in extension.ids.iter().enumerate() {
                let place = extension.start + offset;
                ids.push(i64::from(id));
                positions.push((before + place) as i64);
                writes.extend((0..kv_heads).map(|head| first_row + head * region.allocated as i64 + place as i64));
            }
            last[row] = ids.len() as i64 - 1;
        }
        // All index vectors go over in one transfer, because on CUDA each costs more than the kernels that it feeds.
        let tokens = ids.len() as i64;
        let last_is_identity = last.iter().enumerate().all(|(row, &index)| row as i64 == index);
        let all: Vec<i64> = ids.into_iter().chain(positions).chain(last).chain(writes).collect();
        let all = Tensor::from_slice(&all).to_device(device);
        let count = rows.len() as i64;

        let ordered: Vec<(&Extension<'_>, PackedRow)> = order.iter().map(|&row| &rows[row]).zip(packed).collect();
        let together = ordered.partition_point(|(extension, _)| !extension.is_alone());
        let (together, alone) = ordered.split_at(together);
        let shared = config.query_group();
        let group = |region: Region, members: &[Member]| Group::new(region, members, shared, kind, device);
        ExtensionPlan {
            ids: all.narrow(0, 0, tokens),
            positions: all.narrow(0, tokens, tokens),
            last: (!last_is_identity).then(|| all.narrow(0, 2 * tokens, count)),
            writes: all.narrow(0, 2 * tokens + count, tokens * kv_heads),
            together: if in_groups {
                together_in_groups(together, prefixes, branches, shared, &group)
            } else {
                reads(together, prefixes, branches)
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

/// The packed order of the tokens of the rows: rows, branches by their prefix, rows that attend
/// alone; each by slot. For groups, rows of one class of lengths are kept together first.
fn packed_order(rows: &[Extension<'_>], in_groups: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| {
        let Extension { slot, prefix, .. } = &rows[row];
        let class = if in_groups && prefix.is_none() {
            length_class(rows[row].start + rows[row].ids.len())
        } else {
            0
        };
        (rows[row].is_alone(), prefix.map(|prefix| prefix.slot), class, *slot)
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
        let group_count = |in_groups: bool| {
            let members: Vec<Member> = packed_order(&rows, in_groups)
                .iter()
                .enumerate()
                .map(|(token, &row)| Member {
                    slot: rows[row].slot,
                    queries: vec![(token as i64, rows[row].start as i64 + 1)],
                })
                .collect();
            groups(&members, 8192, 1).count()
        };
        assert_eq!(group_count(true), 2);
        // By slots alone padding would split them again and again, or be read for nothing.
        let order = packed_order(&rows, false);
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
        assert_eq!(packed_order(&rows, true), [0, 1, 2]);
    }
}
