//! The plan of one call of [`crate::Decoder::extend`]: which tokens stand where, and who attends together.
//!
//! Tokens are packed without padding, so that projections and feed-forward layers do no idle work. Only attention
//! forms groups. Rows with few new tokens attend together, one batch over a range of cache slots; a row with many
//! attends alone, where no mask has to be widened for the others.

use tch::{Device, Kind, Tensor};

use crate::cache::{KvCache, LENGTH_STEP};
use crate::config::Config;

/// New tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Extension<'a> {
    /// The sequence's slot in the cache.
    pub slot: usize,
    /// Tokens of the slot that stand already; the new ones follow them.
    pub start: usize,
    /// The new tokens, at least one.
    pub ids: &'a [u32],
}

/// Rows with more new tokens than this attend alone.
const LONGEST_TOGETHER: usize = 32;
/// Elements of a group's mask: 64 Mi, 128 MiB in bf16.
const MASK_ELEMENTS: usize = 1 << 26;

/// Everything about a call that is the same in all layers.
pub(crate) struct ExtensionPlan {
    /// [tokens] int64.
    pub(crate) ids: Tensor,
    /// [tokens] int64.
    pub(crate) positions: Tensor,
    /// Rows of the cache seen as [slots * kv_heads * allocated, head_dim] to write to, [tokens * kv_heads] int64.
    pub(crate) writes: Tensor,
    /// For each of the caller's rows the packed index of its last token, [rows] int64; `None` where that is 0, 1, 2, …
    pub(crate) last: Option<Tensor>,
    pub(crate) groups: Vec<Group>,
}

/// Rows that attend in one operation. Their tokens are consecutive in the packed order.
pub(crate) struct Group {
    /// Packed tokens of the group.
    pub(crate) tokens: i64,
    /// Sequences in the batch of the attention, rows of the cache that are only passed over included.
    pub(crate) sequences: i64,
    /// Queries per sequence, padding included.
    pub(crate) queries: i64,
    /// Keys per sequence.
    pub(crate) keys: i64,
    pub(crate) slots: Slots,
    /// For each place in [sequences * queries] the group's token that stands there; `None` for the identity.
    pub(crate) scatter: Option<Tensor>,
    /// For each of the group's tokens its place in [sequences * queries]; `None` for the identity.
    pub(crate) gather: Option<Tensor>,
    pub(crate) visibility: Visibility,
}

/// The cache slots that a group reads.
pub(crate) enum Slots {
    /// `sequences` slots from this one on, read in place.
    From(i64),
    /// Slots so far apart that copying them out is cheaper than passing over those between, [sequences] int64.
    Listed(Tensor),
}

/// Which keys a group's queries see.
pub(crate) enum Visibility {
    /// All of them.
    All,
    /// Query i sees keys 0..=i.
    Causal,
    /// Scores get this added, 0 or -∞: [queries, keys] for one sequence of several queries, otherwise
    /// [sequences, 1, shared * queries, keys] for the `shared` query heads of a key head.
    Mask(Tensor),
}

impl ExtensionPlan {
    pub(crate) fn new(config: &Config, cache: &KvCache, rows: &[Extension<'_>], kind: Kind, device: Device) -> Self {
        check(cache, rows);
        let kv_heads = config.num_key_value_heads;
        let shared = config.query_group();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| (rows[row].ids.len() > LONGEST_TOGETHER, rows[row].slot));

        let mut ids = Vec::new();
        let mut positions = Vec::new();
        let mut writes = Vec::new();
        let mut last = vec![0; rows.len()];
        let allocated = cache.allocated() as i64;
        for &row in &order {
            let Extension {
                slot,
                start,
                ids: new_ids,
            } = rows[row];
            for (offset, &id) in new_ids.iter().enumerate() {
                let position = (start + offset) as i64;
                ids.push(i64::from(id));
                positions.push(position);
                writes.extend((0..kv_heads).map(|head| (slot as i64 * kv_heads + head) * allocated + position));
            }
            last[row] = ids.len() as i64 - 1;
        }
        // One transfer for all index vectors: on CUDA each costs more than the kernels it feeds.
        let tokens = ids.len() as i64;
        let last_is_identity = last.iter().enumerate().all(|(row, &index)| row as i64 == index);
        let all: Vec<i64> = ids.into_iter().chain(positions).chain(last).chain(writes).collect();
        let all = Tensor::from_slice(&all).to_device(device);
        let count = rows.len() as i64;
        ExtensionPlan {
            ids: all.narrow(0, 0, tokens),
            positions: all.narrow(0, tokens, tokens),
            last: (!last_is_identity).then(|| all.narrow(0, 2 * tokens, count)),
            writes: all.narrow(0, 2 * tokens + count, tokens * kv_heads),
            groups: groups(cache, rows, &order, shared)
                .map(|members| Group::new(cache, rows, &members, shared, kind, device))
                .collect(),
        }
    }
}

fn check(cache: &KvCache, rows: &[Extension<'_>]) {
    assert!(!rows.is_empty(), "extension without rows");
    let mut seen = vec![false; cache.slots()];
    for row in rows {
        let (slot, slots, capacity) = (row.slot, cache.slots(), cache.capacity());
        assert!(slot < slots, "slot {slot} of a cache of {slots} slots");
        assert!(!seen[slot], "slot {slot} is extended twice");
        seen[slot] = true;
        assert!(!row.ids.is_empty(), "slot {slot} is extended by no tokens");
        let end = row.start + row.ids.len();
        assert!(
            end <= capacity,
            "slot {slot} would hold {end} tokens, its capacity is {capacity}"
        );
    }
}

/// Splits rows (in `order`) into groups: long rows alone, short ones together while their mask stays small.
fn groups<'a>(
    cache: &'a KvCache,
    rows: &'a [Extension<'_>],
    order: &'a [usize],
    shared: i64,
) -> impl Iterator<Item = Vec<usize>> + 'a {
    let mut rest = order;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let mut size = 1;
        let mut queries = rows[first].ids.len();
        if queries <= LONGEST_TOGETHER {
            for &row in &rest[1..] {
                queries = queries.max(rows[row].ids.len());
                let elements = (size + 1) * queries * shared as usize * cache.allocated();
                if rows[row].ids.len() > LONGEST_TOGETHER || elements > MASK_ELEMENTS {
                    break;
                }
                size += 1;
            }
        }
        let (members, others) = rest.split_at(size);
        rest = others;
        Some(members.to_vec())
    })
}

impl Group {
    fn new(
        cache: &KvCache,
        rows: &[Extension<'_>],
        members: &[usize],
        shared: i64,
        kind: Kind,
        device: Device,
    ) -> Self {
        let members: Vec<Extension<'_>> = members.iter().map(|&row| rows[row]).collect();
        let first_slot = members[0].slot;
        let span = members[members.len() - 1].slot - first_slot + 1;
        // Members stand in the order of their slots. Passing over idle slots costs their share of the attention;
        // copying active ones out costs a read and a write of each.
        let dense = span <= 2 * members.len();
        let sequences = if dense { span } else { members.len() };
        let place = |index: usize| if dense { members[index].slot - first_slot } else { index };
        let queries = members.iter().map(|row| row.ids.len()).max().unwrap_or(1);
        let longest = members.iter().map(|row| row.start + row.ids.len()).max().unwrap_or(1);
        let uniform = members.iter().all(|row| row.ids.len() == queries);

        // An idle slot and a padding query see key 0 alone, so that their softmax is finite; nobody reads them.
        let mut limits = vec![1_i64; sequences * queries];
        let mut scatter = vec![0_i64; sequences * queries];
        let mut gather = Vec::new();
        for (index, row) in members.iter().enumerate() {
            for offset in 0..row.ids.len() {
                let target = place(index) * queries + offset;
                limits[target] = (row.start + offset + 1) as i64;
                scatter[target] = gather.len() as i64;
                gather.push(target as i64);
            }
        }
        let in_place = uniform && sequences == members.len();
        let (keys, visibility) = if members.len() == 1 && members[0].start == 0 && queries > 1 {
            (queries, Visibility::Causal)
        } else if limits.iter().all(|&limit| limit == longest as i64) {
            (longest, Visibility::All)
        } else {
            let keys = longest.next_multiple_of(LENGTH_STEP).min(cache.allocated());
            (
                keys,
                Visibility::Mask(mask(&limits, sequences, queries, keys, shared, kind, device)),
            )
        };
        let slots = if dense {
            Slots::From(first_slot as i64)
        } else {
            let listed: Vec<i64> = members.iter().map(|row| row.slot as i64).collect();
            Slots::Listed(Tensor::from_slice(&listed).to_device(device))
        };
        Group {
            tokens: gather.len() as i64,
            sequences: sequences as i64,
            queries: queries as i64,
            keys: keys as i64,
            slots,
            scatter: (!in_place).then(|| Tensor::from_slice(&scatter).to_device(device)),
            gather: (!in_place).then(|| Tensor::from_slice(&gather).to_device(device)),
            visibility,
        }
    }
}

/// The mask of [`Visibility::Mask`] where query i of [sequences * queries] sees the keys below `limits[i]`.
fn mask(
    limits: &[i64],
    sequences: usize,
    queries: usize,
    keys: usize,
    shared: i64,
    kind: Kind,
    device: Device,
) -> Tensor {
    let (sequences, queries, keys) = (sequences as i64, queries as i64, keys as i64);
    let limits = Tensor::from_slice(limits)
        .to_device(device)
        .view([sequences, 1, queries, 1]);
    let hidden = Tensor::arange(keys, (Kind::Int64, device)).ge_tensor(&limits);
    let mask = Tensor::zeros([sequences, 1, queries, keys], (kind, device)).masked_fill_(&hidden, f64::NEG_INFINITY);
    if sequences == 1 && queries > 1 {
        return mask.view([queries, keys]);
    }
    // For one query per sequence this is a view; otherwise a copy, made here once and not in every layer.
    let wide = mask.unsqueeze(2).expand([sequences, 1, shared, queries, keys], false);
    wide.reshape([sequences, 1, shared * queries, keys])
}
