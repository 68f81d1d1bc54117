//! Groups of sequences that attend in one operation of libtorch, padded to one number of queries and of keys, under a
//! mask.

use tch::{Device, Kind, Tensor};

use crate::cache::{LENGTH_STEP, Region};

/// Elements of a group's mask: 64 Mi, 128 MiB in bf16.
const MASK_ELEMENTS: usize = 1 << 26;

/// The queries over one slot: for each the index of its token, and how many of the slot's keys it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) slot: usize,
    pub(crate) queries: Vec<(i64, i64)>,
}

/// Slots that are read in one operation.
pub(crate) struct Group {
    pub(crate) region: Region,
    /// Tokens of the group.
    pub(crate) tokens: i64,
    /// Sequences in the batch of the attention, slots that are only passed over included.
    pub(crate) sequences: i64,
    /// Queries per sequence, padding included.
    pub(crate) queries: i64,
    /// Keys per sequence.
    pub(crate) keys: i64,
    pub(crate) slots: SlotChoice,
    /// For each place in [sequences * queries] its token; `None` for the identity.
    pub(crate) scatter: Option<Tensor>,
    /// For each token its place in [sequences * queries]; `None` for the identity.
    pub(crate) gather: Option<Tensor>,
    pub(crate) visibility: Visibility,
}

/// The slots that a group reads.
pub(crate) enum SlotChoice {
    /// `sequences` slots from this one on, read in place.
    From(i64),
    /// Slots so far apart that copying them out is cheaper than passing over those between, `[sequences]` int64.
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

/// Splits members, in the order of their tokens, into groups. Members stay together while their lengths are alike and
/// the mask is small.
pub(crate) fn groups(members: &[Member], allocated: usize, shared: i64) -> impl Iterator<Item = &[Member]> {
    let mut rest = members;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut size = 1;
        let mut queries = first.queries.len();
        let (mut keys, mut seen) = (first.longest(), first.longest());
        for member in &rest[1..] {
            queries = queries.max(member.queries.len());
            keys = keys.max(member.longest());
            seen += member.longest();
            let is_mask_too_large = (size + 1) * queries * shared as usize * allocated > MASK_ELEMENTS;
            // So much padding costs more than another operation.
            let padding = (size as i64 + 1) * keys - seen;
            if is_mask_too_large || padding > seen.max(MOST_PADDING) {
                break;
            }
            size += 1;
        }
        let (group, others) = rest.split_at(size);
        rest = others;
        Some(group)
    })
}

/// How many keys may be read for nothing before a group is split.
const MOST_PADDING: i64 = 4096;

impl Member {
    fn longest(&self) -> i64 {
        self.queries.iter().map(|&(_, limit)| limit).max().unwrap_or(1)
    }
}

impl Group {
    /// `members` have slots of their own each; their tokens are numbered from 0 on, in any order.
    pub(crate) fn new(region: Region, members: &[Member], shared: i64, kind: Kind, device: Device) -> Self {
        let slots = || members.iter().map(|member| member.slot);
        let first_slot = slots().min().unwrap_or(0);
        let span = slots().max().unwrap_or(0) - first_slot + 1;
        // Passing over idle slots costs their share of the attention; copying active ones out costs a read and a write
        // of each.
        let dense = span <= 2 * members.len();
        let sequences = if dense { span } else { members.len() };
        let place = |index: usize| if dense { members[index].slot - first_slot } else { index };
        let queries = members.iter().map(|member| member.queries.len()).max().unwrap_or(1);
        let longest = members.iter().map(Member::longest).max().unwrap_or(1) as usize;
        let uniform = members.iter().all(|member| member.queries.len() == queries);

        // An idle slot and a padding query see key 0 alone, so that their softmax is finite; nobody reads them.
        let mut limits = vec![1_i64; sequences * queries];
        let mut scatter = vec![0_i64; sequences * queries];
        let tokens: usize = members.iter().map(|member| member.queries.len()).sum();
        let mut gather = vec![0_i64; tokens];
        for (index, member) in members.iter().enumerate() {
            for (offset, &(token, limit)) in member.queries.iter().enumerate() {
                let target = place(index) * queries + offset;
                limits[target] = limit;
                scatter[target] = token;
                gather[token as usize] = target as i64;
            }
        }
        let in_order = gather.iter().enumerate().all(|(token, &target)| token as i64 == target);
        let in_place = uniform && sequences == members.len() && in_order;
        let starts_from_nothing = members.len() == 1 && members[0].queries[0].1 == 1;
        let (keys, visibility) = if starts_from_nothing && queries > 1 && longest == queries {
            (queries, Visibility::Causal)
        } else if limits.iter().all(|&limit| limit == longest as i64) {
            (longest, Visibility::All)
        } else {
            let keys = longest.next_multiple_of(LENGTH_STEP).min(region.allocated);
            (
                keys,
                Visibility::Mask(mask(&limits, sequences, queries, keys, shared, kind, device)),
            )
        };
        let slots = if dense {
            SlotChoice::From(first_slot as i64)
        } else {
            let listed: Vec<i64> = members.iter().map(|member| member.slot as i64).collect();
            SlotChoice::Listed(Tensor::from_slice(&listed).to_device(device))
        };
        Group {
            region,
            tokens: tokens as i64,
            sequences: sequences as i64,
            queries: queries as i64,
            keys: keys as i64,
            slots,
            scatter: (!in_place).then(|| Tensor::from_slice(&scatter).to_device(device)),
            gather: (!in_place).then(|| Tensor::from_slice(&gather).to_device(device)),
            visibility,
        }
    }

    /// The keys or values that the group reads: [sequences, kv_heads, keys, head_dim].
    pub(crate) fn read(&self, tensor: &Tensor) -> Tensor {
        let slots = self.region.of(tensor).narrow(2, 0, self.keys);
        match &self.slots {
            SlotChoice::From(first) => slots.narrow(0, *first, self.sequences),
            SlotChoice::Listed(listed) => slots.index_select(0, listed),
        }
    }

    /// The mask, if there is one.
    pub(crate) fn mask(&self) -> Option<&Tensor> {
        match &self.visibility {
            Visibility::Mask(mask) => Some(mask),
            Visibility::All | Visibility::Causal => None,
        }
    }

    /// Queries [tokens, heads, head_dim] with the heads that share a key head as further queries of it:
    /// [sequences, kv_heads, shared * queries, head_dim].
    pub(crate) fn fold(&self, queries: &Tensor, kv_heads: i64) -> Tensor {
        let (_, heads, head_dim) = queries.size3().expect("queries have three axes");
        let shared = heads / kv_heads;
        let scattered = self.scatter.as_ref().map(|places| queries.index_select(0, places));
        scattered
            .as_ref()
            .unwrap_or(queries)
            .view([self.sequences, self.queries, kv_heads, shared, head_dim])
            .permute([0, 2, 3, 1, 4])
            .reshape([self.sequences, kv_heads, shared * self.queries, head_dim])
    }

    /// The way back: [sequences, kv_heads, shared * queries, width] to [tokens, heads, width].
    pub(crate) fn unfold(&self, folded: &Tensor) -> Tensor {
        let (_, kv_heads, rows, width) = folded.size4().expect("folded queries have four axes");
        let shared = rows / self.queries;
        let places = folded
            .reshape([self.sequences, kv_heads, shared, self.queries, width])
            .permute([0, 3, 1, 2, 4])
            .reshape([self.sequences * self.queries, kv_heads * shared, width]);
        match &self.gather {
            Some(tokens) => places.index_select(0, tokens),
            None => places,
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
