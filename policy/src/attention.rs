//! Grouped-query attention over the cache (generation) and over tree rows (training).
//!
//! Keys and values are never repeated for the query heads that share them. On the CPU, generation goes through an
//! operator of this crate (`operators::attention`). Elsewhere, libtorch's masked kernels know nothing of groups, so
//! they are given the heads in a shape in which each key head has its own queries. Where there are few queries, the
//! group is folded into them. Where one sequence has many, the key heads become the batch and the group becomes their
//! heads, with a stride of zero over keys and values.

use tch::{Kind, Tensor};

use crate::cache::LayerCache;
use crate::extension::{BranchGroups, ExtensionPlan, Together};
use crate::grouping::{Group, Visibility};
use crate::operators::attention::attend_reads;
use crate::operators::device::wide_product;
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
/// [tokens, kv_heads, head_dim], the masks of each block. Returns [tokens, heads * head_dim].
pub(crate) fn attend_tree(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    blocks: &[Block],
    masks: &[Vec<Tensor>],
) -> Tensor {
    let lengths: Vec<i64> = blocks.iter().map(Block::tokens).collect();
    // One split instead of a narrow per block: the gradient of a narrow is as wide as the whole batch.
    let queries = queries.split_with_sizes(&lengths, 0);
    let keys = keys.split_with_sizes(&lengths, 0);
    let values = values.split_with_sizes(&lengths, 0);
    let mut attended = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let (queries, keys, values, masks) = (&queries[index], &keys[index], &values[index], &masks[index]);
        match block {
            Block::Long(row) => attend_long(queries, keys, values, row, masks, &mut attended),
            Block::Short(rows) => attended.push(attend_short(queries, keys, values, rows, masks.first())),
        }
    }
    Tensor::cat(&attended, 0)
}

/// Attention of one row by itself: its prefix attends causally, then the branches of each cut attend to what they see
/// of the prefix and to themselves.
fn attend_long(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    row: &LongRow,
    masks: &[Tensor],
    attended: &mut Vec<Tensor>,
) {
    let mut lengths = vec![row.prefix];
    lengths.extend(row.groups.iter().map(|group| group.tokens));
    let queries = queries.split_with_sizes(&lengths, 0);
    let keys = keys.split_with_sizes(&lengths, 0);
    let values = values.split_with_sizes(&lengths, 0);
    let heads_first = |tensor: &Tensor| tensor.transpose(0, 1);
    attended.push(attend_one(
        &queries[0],
        &heads_first(&keys[0]),
        &heads_first(&values[0]),
        None,
        true,
    ));
    for (index, (group, mask)) in row.groups.iter().zip(masks).enumerate() {
        let seen_and_own = |parts: &[Tensor]| {
            heads_first(&Tensor::cat(
                &[&parts[0].narrow(0, 0, group.seen), &parts[index + 1]],
                0,
            ))
        };
        attended.push(attend_one(
            &queries[index + 1],
            &seen_and_own(&keys),
            &seen_and_own(&values),
            Some(mask),
            false,
        ));
    }
}

/// Attention of rows that are padded to one width, under one mask. The heads that share a key head become further
/// queries of it.
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
/// Returns [tokens, heads * head_dim]. Where it is `row_independent`, no row's result depends on the others.
pub(crate) fn attend_cache(
    queries: &Tensor,
    cache: &LayerCache,
    plan: &ExtensionPlan,
    kv_heads: i64,
    row_independent: bool,
) -> Tensor {
    let mut attended = Vec::new();
    let mut start = 0;
    let mut next = |tokens: i64| {
        start += tokens;
        queries.narrow(0, start - tokens, tokens)
    };
    match &plan.together {
        Together::Reads { reads, strides } => {
            if !reads.is_empty() {
                let queries = next(reads.len() as i64);
                attended.push(attend_reads(
                    &queries,
                    &cache.keys,
                    &cache.values,
                    reads,
                    *strides,
                    kv_heads,
                ));
            }
        }
        Together::Groups { rows, branches } => {
            attended.extend(rows.iter().map(|group| attend_group(&next(group.tokens), cache, group)));
            attended.extend(
                branches
                    .iter()
                    .map(|branches| attend_branches(&next(branches.tokens), cache, branches)),
            );
        }
        Together::Sequences(plan) => return plan.attend(queries, cache),
    }
    attended.extend(plan.alone.iter().map(|group| {
        let queries = next(group.tokens);
        if row_independent {
            attend_copies(&queries, cache, group)
        } else {
            attend_group(&queries, cache, group)
        }
    }));
    match attended.len() {
        1 => attended.swap_remove(0),
        _ => Tensor::cat(&attended, 0),
    }
}

fn attend_group(queries: &Tensor, cache: &LayerCache, group: &Group) -> Tensor {
    let (keys, values) = (group.read(&cache.keys), group.read(&cache.values));
    if group.sequences == 1 && group.queries > 1 {
        let causal = matches!(group.visibility, Visibility::Causal);
        return attend_one(queries, &keys.get(0), &values.get(0), group.mask(), causal);
    }
    let folded = group.fold(queries, keys.size()[1]);
    let attended = Tensor::scaled_dot_product_attention(&folded, &keys, &values, group.mask(), 0.0, false, None, false);
    group.unfold(&attended).flatten(1, 2)
}

/// As [`attend_group`] of one sequence, over copies of what it reads. libtorch's kernel multiplies matrices, and how
/// those products round may depend on where in memory their operands begin: on the slot and on the tokens' place in the
/// batch.
fn attend_copies(queries: &Tensor, cache: &LayerCache, group: &Group) -> Tensor {
    let (keys, values) = (group.read(&cache.keys).get(0), group.read(&cache.values).get(0));
    let causal = matches!(group.visibility, Visibility::Causal);
    attend_one(&queries.copy(), &keys.copy(), &values.copy(), group.mask(), causal)
}

/// Attention of branches. Each branch attends to its prefix and to itself in two separate softmaxes; the logarithms of
/// their sums say what share of the whole softmax each of them is.
fn attend_branches(queries: &Tensor, cache: &LayerCache, branches: &BranchGroups) -> Tensor {
    let mut parts = Vec::with_capacity(branches.over_prefixes.len());
    let mut start = 0;
    for group in &branches.over_prefixes {
        let queries = queries.narrow(0, start, group.tokens);
        parts.push(attend_with_sum(&queries, cache, group, MOST_SCORES));
        start += group.tokens;
    }
    let (over_prefix, prefix_sums): (Vec<Tensor>, Vec<Tensor>) = parts.into_iter().unzip();
    let (over_branch, branch_sums) = attend_with_sum(queries, cache, &branches.over_branches, MOST_SCORES);
    let share = (Tensor::cat(&prefix_sums, 0) - branch_sums).sigmoid();
    let merged = over_branch.lerp_tensor(&Tensor::cat(&over_prefix, 0), &share);
    merged.to_kind(queries.kind()).flatten(1, 2)
}

/// How many scores are in memory at the same time, of branches over a prefix: 64 MiB in f32. Branches that are computed
/// again (`rollout.cache_policy = "recompute"`) have thousands of tokens in one call, over a prefix of any length.
const MOST_SCORES: i64 = 16 << 20;

/// Returns the attention [tokens, heads, head_dim] and the logarithms of the sums of the exponentials of its scores
/// [tokens, heads, 1], both at least in f32.
fn attend_with_sum(queries: &Tensor, cache: &LayerCache, group: &Group, most_scores: i64) -> (Tensor, Tensor) {
    let (keys, values) = (group.read(&cache.keys), group.read(&cache.values));
    let folded = group.fold(queries, keys.size()[1]);
    let [sequences, heads, rows, _] = folded.size()[..] else {
        unreachable!("queries are folded to four dimensions");
    };
    let at_once = most_scores / (sequences * heads * keys.size()[2]);
    if !matches!(group.visibility, Visibility::All) || rows <= at_once {
        let (attended, sums) = attend_folded(&folded, &keys, &values, group);
        return (group.unfold(&attended), group.unfold(&sums));
    }
    // Which keys a row sees is the same for all of them, so that any rows may be computed by themselves.
    let pieces = folded.split(at_once.max(1), 2);
    let pieces = pieces.iter().map(|piece| attend_folded(piece, &keys, &values, group));
    let (attended, sums): (Vec<Tensor>, Vec<Tensor>) = pieces.unzip();
    (
        group.unfold(&Tensor::cat(&attended, 2)),
        group.unfold(&Tensor::cat(&sums, 2)),
    )
}

/// As [`attend_with_sum`] of queries, keys and values [sequences, kv_heads, rows or keys, head_dim].
fn attend_folded(folded: &Tensor, keys: &Tensor, values: &Tensor, group: &Group) -> (Tensor, Tensor) {
    let head_dim = folded.size()[3];
    let keys = keys.transpose(-2, -1);
    // In bf16 neither the division nor the scores may be rounded: an absolute error of a score is a relative one of its
    // share.
    let scores = match folded.kind() {
        Kind::BFloat16 => wide_product(folded, &keys) / (head_dim as f64).sqrt(),
        _ => (folded / (head_dim as f64).sqrt()).matmul(&keys),
    };
    let scores = match &group.visibility {
        Visibility::All => scores,
        Visibility::Mask(mask) if mask.dim() == 2 => {
            // With one sequence the mask is that of one head, and the queries of the other heads follow those of the
            // first.
            let shared = scores.size()[2] / group.queries;
            scores + mask.repeat([shared, 1])
        }
        Visibility::Mask(mask) => scores + mask,
        Visibility::Causal => {
            let shared = scores.size()[2] / group.queries;
            let hidden = Tensor::ones([group.queries, group.keys], (Kind::Bool, scores.device())).triu(1);
            scores.masked_fill(&hidden.repeat([shared, 1]), f64::NEG_INFINITY)
        }
    };
    let sums = scores.logsumexp([-1].as_slice(), true);
    // As in fused kernels, the shares are rounded, and their sums over values are not.
    let shares = (scores - &sums).exp().to_kind(values.kind());
    (wide_product(&shares, values), sums)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::cache::{KvCache, Slots};
    use crate::config::ModelConfig;
    use crate::grouping::Member;

    const HEADS: i64 = 6;
    const KV_HEADS: i64 = 2;
    const HEAD_DIM: i64 = 128;
    const KEYS: usize = 4096;

    fn cache(kind: Kind, keys: &Tensor, values: &Tensor) -> KvCache {
        let json = format!(
            r#"{{"model_type": "qwen2", "hidden_size": 768, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": {HEADS}, "num_key_value_heads": {KV_HEADS}, "vocab_size": 8,
            "max_position_embeddings": {KEYS}}}"#
        );
        let config = ModelConfig::from_json(&json).unwrap();
        assert_eq!(config.head_dim, HEAD_DIM);
        let slots = Slots {
            count: 1,
            capacity: KEYS,
        };
        let cache = KvCache::with_branches(&config, slots, Slots::default(), kind, Device::Cpu);
        for (target, source) in [(&cache.layers[0].keys, keys), (&cache.layers[0].values, values)] {
            target.shallow_clone().copy_(source);
        }
        cache
    }

    /// Numbers that look normally distributed, in bf16. They are computed and not drawn: libtorch's generator is shared
    /// with the tests that run beside this one.
    fn normal(size: &[i64], seed: f64) -> Tensor {
        let places = Tensor::arange(size.iter().product::<i64>(), (Kind::Double, Device::Cpu)) + seed;
        let uniform = ((places * 12.9898).sin() * 43_758.545_3).frac().abs();
        let normal = (uniform * 1.999_998 - 0.999_999).erfinv() * std::f64::consts::SQRT_2;
        normal.reshape(size).to_kind(Kind::BFloat16)
    }

    /// Attention of three tokens over one slot, as branches over their prefix have it, with scores of this deviation.
    fn attend(kind: Kind, deviation: f64) -> (Tensor, Tensor) {
        attend_in_pieces(kind, deviation, MOST_SCORES)
    }

    fn attend_in_pieces(kind: Kind, deviation: f64, most_scores: i64) -> (Tensor, Tensor) {
        let _guard = tch::no_grad_guard();
        tch::set_num_threads(1);
        let queries = normal(&[3, HEADS, HEAD_DIM], 1e3) * deviation;
        let rows = KV_HEADS * KEYS as i64;
        let (keys, values) = (normal(&[rows, HEAD_DIM], 1e6), normal(&[rows, HEAD_DIM], 1e7));
        let cache = cache(kind, &keys, &values);
        let members = [Member {
            slot: 0,
            queries: (0..3).map(|token| (token, KEYS as i64)).collect(),
        }];
        let group = Group::new(cache.prefix_region(), &members, HEADS / KV_HEADS, kind, Device::Cpu);
        attend_with_sum(&queries.to_kind(kind), &cache.layers[0], &group, most_scores)
    }

    #[test]
    fn scores_that_would_fill_the_memory_are_computed_in_pieces() {
        let (expected, expected_sums) = attend(Kind::Double, 3.0);
        // One row of nine at a time, four, and fewer than one.
        let of_a_row = KV_HEADS * KEYS as i64;
        for most_scores in [of_a_row, 4 * of_a_row, 1] {
            let (found, sums) = attend_in_pieces(Kind::Double, 3.0, most_scores);
            assert_eq!(found.size(), expected.size());
            for (found, expected) in [(&found, &expected), (&sums, &expected_sums)] {
                let largest = (found - expected).abs().max().double_value(&[]);
                assert!(largest < 1e-12, "{most_scores}: {largest}");
            }
        }
    }

    #[test]
    fn branches_in_bf16_attend_as_closely_as_a_fused_kernel() {
        for deviation in [3.0, 6.0, 12.0] {
            let (expected, expected_sums) = attend(Kind::Double, deviation);
            let (found, sums) = attend(Kind::BFloat16, deviation);
            assert_eq!((found.kind(), sums.kind()), (Kind::Float, Kind::Float));
            let largest = |one: &Tensor, other: &Tensor| (one - other).abs().max().double_value(&[]);
            // Shares rounded to bf16 cost up to 2⁻⁹ of a value; rounded scores cost several hundredths.
            let (output, sum) = (largest(&found, &expected), largest(&sums, &expected_sums));
            assert!(output < 8e-3, "deviation {deviation}: outputs differ by {output}");
            assert!(
                sum < 1e-5 * (1.0 + deviation),
                "deviation {deviation}: sums differ by {sum}"
            );
        }
    }
}
