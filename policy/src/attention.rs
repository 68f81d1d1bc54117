//! Grouped-query attention over the cache (generation) and over tree rows (training).
//!
//! Keys and values are never repeated for the query heads that share them. libtorch's masked kernels know nothing of
//! groups, so the heads are presented to them in a shape in which each key head has its own queries: either the group
//! is folded into the queries (few queries), or the key heads become the batch and the group their heads, with a
//! stride of zero over keys and values (many queries of one sequence).

use tch::Tensor;

use crate::cache::LayerCache;
use crate::extension::{Group, Slots, Visibility};
use crate::tree::{Block, LongRow, ShortRows};

/// Attention of one row of many queries: `queries` [tokens, heads, head_dim], `keys` and `values`
/// [kv_heads, length, head_dim], `mask` [tokens, length] to be added, causal if there is none and `causal`.
/// Returns [tokens, heads * head_dim].
fn attend_one(queries: &Tensor, keys: &Tensor, values: &Tensor, mask: Option<&Tensor>, causal: bool) -> Tensor {
    let (tokens, heads, head_dim) = queries.size3().expect("queries have three axes");
    let (kv_heads, length, _) = keys.size3().expect("keys have three axes");
    let group = heads / kv_heads;
    let queries = queries.view([tokens, kv_heads, group, head_dim]).permute([1, 2, 0, 3]);
    let keys = keys.unsqueeze(1).expand([kv_heads, group, length, head_dim], false);
    let values = values.unsqueeze(1).expand([kv_heads, group, length, head_dim], false);
    let mask = mask.map(|mask| mask.unsqueeze(0).unsqueeze(0));
    let causal = causal && tokens > 1;
    let attended = Tensor::scaled_dot_product_attention(&queries, &keys, &values, mask, 0.0, causal, None, false);
    attended.permute([2, 0, 1, 3]).reshape([tokens, heads * head_dim])
}

/// Attention of a packed tree batch: `queries` [tokens, heads, head_dim], `keys` and `values`
/// [tokens, kv_heads, head_dim], one mask per block that needs one. Returns [tokens, heads * head_dim].
pub(crate) fn attend_tree(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    blocks: &[Block],
    masks: &[Option<Tensor>],
) -> Tensor {
    let lengths: Vec<i64> = blocks.iter().map(Block::tokens).collect();
    // One split instead of a narrow per block: the gradient of a narrow is as wide as the whole batch.
    let queries = queries.split_with_sizes(&lengths, 0);
    let keys = keys.split_with_sizes(&lengths, 0);
    let values = values.split_with_sizes(&lengths, 0);
    let mut attended = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let (queries, keys, values, mask) = (&queries[index], &keys[index], &values[index], masks[index].as_ref());
        match block {
            Block::Long(row) => attend_long(queries, keys, values, row, mask, &mut attended),
            Block::Short(rows) => attended.push(attend_short(queries, keys, values, rows, mask)),
        }
    }
    Tensor::cat(&attended, 0)
}

/// A row by itself: the prefix causally, then the branches over prefix and branches.
fn attend_long(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    row: &LongRow,
    mask: Option<&Tensor>,
    attended: &mut Vec<Tensor>,
) {
    let (keys, values) = (keys.transpose(0, 1), values.transpose(0, 1));
    let Some(mask) = mask else {
        attended.push(attend_one(queries, &keys, &values, None, true));
        return;
    };
    let queries = queries.split_with_sizes([row.prefix, row.branches], 0);
    let (prefix_keys, prefix_values) = (keys.narrow(1, 0, row.prefix), values.narrow(1, 0, row.prefix));
    attended.push(attend_one(&queries[0], &prefix_keys, &prefix_values, None, true));
    attended.push(attend_one(&queries[1], &keys, &values, Some(mask), false));
}

/// Rows padded to one width under one mask; the heads that share a key head become further queries of it.
fn attend_short(queries: &Tensor, keys: &Tensor, values: &Tensor, rows: &ShortRows, mask: Option<&Tensor>) -> Tensor {
    let (_, heads, head_dim) = queries.size3().expect("queries have three axes");
    let kv_heads = keys.size()[1];
    let shared = heads / kv_heads;
    let (count, width) = (rows.rows, rows.width);
    let folded = queries
        .index_select(0, &rows.scatter)
        .view([count, width, kv_heads, shared, head_dim])
        .permute([0, 2, 3, 1, 4])
        .reshape([count, kv_heads, shared * width, head_dim]);
    let spread = |tensor: &Tensor| {
        tensor
            .index_select(0, &rows.scatter)
            .view([count, width, kv_heads, head_dim])
            .transpose(1, 2)
    };
    let attended =
        Tensor::scaled_dot_product_attention(&folded, &spread(keys), &spread(values), mask, 0.0, false, None, false);
    attended
        .reshape([count, kv_heads, shared, width, head_dim])
        .permute([0, 3, 1, 2, 4])
        .reshape([count * width, heads * head_dim])
        .index_select(0, &rows.gather)
}

/// Attention over the cache, which already holds the new tokens: `queries` [tokens, heads, head_dim].
/// Returns [tokens, heads * head_dim].
pub(crate) fn attend_cache(queries: &Tensor, cache: &LayerCache, groups: &[Group]) -> Tensor {
    if let [group] = groups {
        return attend_group(queries, cache, group);
    }
    let mut attended = Vec::with_capacity(groups.len());
    let mut start = 0;
    for group in groups {
        attended.push(attend_group(&queries.narrow(0, start, group.tokens), cache, group));
        start += group.tokens;
    }
    Tensor::cat(&attended, 0)
}

fn attend_group(queries: &Tensor, cache: &LayerCache, group: &Group) -> Tensor {
    let of_group = |tensor: &Tensor| {
        let tensor = tensor.narrow(2, 0, group.keys);
        match &group.slots {
            Slots::From(first) => tensor.narrow(0, *first, group.sequences),
            Slots::Listed(slots) => tensor.index_select(0, slots),
        }
    };
    let keys = of_group(&cache.keys);
    let values = of_group(&cache.values);
    let mask = match &group.visibility {
        Visibility::Mask(mask) => Some(mask),
        Visibility::All | Visibility::Causal => None,
    };
    if group.sequences == 1 && group.queries > 1 {
        let causal = matches!(group.visibility, Visibility::Causal);
        return attend_one(queries, &keys.get(0), &values.get(0), mask, causal);
    }
    attend_together(queries, &keys, &values, mask, group)
}

/// Few queries of many sequences: the heads that share a key head become further queries of it.
fn attend_together(queries: &Tensor, keys: &Tensor, values: &Tensor, mask: Option<&Tensor>, group: &Group) -> Tensor {
    let (_, heads, head_dim) = queries.size3().expect("queries have three axes");
    let kv_heads = keys.size()[1];
    let shared = heads / kv_heads;
    let scattered = group.scatter.as_ref().map(|places| queries.index_select(0, places));
    let folded = scattered
        .as_ref()
        .unwrap_or(queries)
        .view([group.sequences, group.queries, kv_heads, shared, head_dim])
        .permute([0, 2, 3, 1, 4])
        .reshape([group.sequences, kv_heads, shared * group.queries, head_dim]);
    let attended = Tensor::scaled_dot_product_attention(&folded, keys, values, mask, 0.0, false, None, false);
    let attended = attended
        .reshape([group.sequences, kv_heads, shared, group.queries, head_dim])
        .permute([0, 3, 1, 2, 4])
        .reshape([group.sequences * group.queries, heads * head_dim]);
    match &group.gather {
        Some(tokens) => attended.index_select(0, tokens),
        None => attended,
    }
}
