//! Rows of one call of [`crate::Decoder::extend`] as sequences that attend without masks.
//!
//! All rows with one new token are one launch, all rows with more another one: with a single query each, a kernel splits
//! the keys of long rows among its blocks. A branch attends over its own slot with the others, and over its prefix in a
//! third launch, where all branches of one cut are queries of one sequence, so that its keys are read once; the heads
//! that share a key head are further queries there. The logarithms of the sums say how the two parts are merged.

use tch::{Kind, Tensor};

use crate::cache::{LayerCache, Region};
use crate::operators::kernels::{self, Part};
use crate::operators::sequences::Sequences;
use crate::shapes::{SequenceRow, StepShape};

/// The plan in host memory.
pub(crate) struct Sequencing {
    own: Vec<Call>,
    over: Option<(usize, Call)>,
    /// Query heads that share a key head.
    shared: usize,
}

/// The sequences of one launch.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    tokens: usize,
    most_queries: usize,
    most_keys: usize,
    /// One more than there are sequences, as `keys_from` has.
    queries_from: Vec<i32>,
    keys_from: Vec<i32>,
    keys_used: Vec<i32>,
}

/// The plan on the device.
pub(crate) struct SequencePlan {
    /// Rows with one new token, and rows with more; each with its number of tokens, consecutive in the packed order.
    own: Vec<(i64, Sequences)>,
    over: Option<OverPrefixes>,
}

struct OverPrefixes {
    /// The first token of the branches, and how many they have.
    first: i64,
    tokens: i64,
    shared: i64,
    sequences: Sequences,
}

impl Call {
    /// Adds a sequence of `tokens` tokens, of `queries` queries each, whose `keys` keys begin at the row `first_key`.
    fn push(&mut self, tokens: usize, queries: usize, first_key: i64, keys: usize) {
        if self.queries_from.is_empty() {
            self.queries_from.push(0);
            self.keys_from.push(0);
        }
        // Before the number that nobody reads.
        let last = self.keys_from.len() - 1;
        self.keys_from.insert(last, number(first_key as usize));
        self.keys_used.push(number(keys));
        self.tokens += tokens;
        self.queries_from.push(number(self.tokens * queries));
        self.most_queries = self.most_queries.max(tokens * queries);
        self.most_keys = self.most_keys.max(keys);
    }

    /// Its last sequence has `tokens` tokens more, of `queries` queries each.
    fn widen(&mut self, tokens: usize, queries: usize) {
        self.tokens += tokens;
        let count = self.queries_from.len();
        self.queries_from[count - 1] = number(self.tokens * queries);
        let of_last = self.queries_from[count - 1] - self.queries_from[count - 2];
        self.most_queries = self.most_queries.max(of_last as usize);
    }

    /// Fills the call up to `tokens` tokens with sequences of one each, over the row `nobody`.
    fn fill_one_by_one(&mut self, tokens: usize, nobody: i64) {
        while self.tokens < tokens {
            self.push(1, 1, nobody, 1);
        }
    }

    /// Fills the call up to `tokens` tokens, of `queries` queries each, with one sequence over the row `nobody`, and then
    /// up to `sequences` with empty ones.
    fn fill_at_once(&mut self, tokens: usize, sequences: usize, queries: usize, nobody: i64) {
        while self.keys_used.len() < sequences {
            self.push(tokens - self.tokens, queries, nobody, 1);
        }
    }

    fn numbers(&self) -> impl Iterator<Item = i32> {
        [&self.queries_from, &self.keys_from, &self.keys_used]
            .into_iter()
            .flatten()
            .copied()
    }

    /// Takes its numbers from the first of `rest` on.
    fn on_device(&self, rest: &mut Rest<'_>, is_causal: bool) -> Sequences {
        Sequences {
            queries_from: rest.next(self.queries_from.len()),
            keys_from: rest.next(self.keys_from.len()),
            keys_used: rest.next(self.keys_used.len()),
            most_queries: self.most_queries as i64,
            most_keys: self.most_keys as i64,
            is_causal,
        }
    }
}

/// What is left of a vector.
struct Rest<'a> {
    all: &'a Tensor,
    start: i64,
}

impl Rest<'_> {
    fn next(&mut self, length: usize) -> Tensor {
        let part = self.all.narrow(0, self.start, length as i64);
        self.start += length as i64;
        part
    }
}

/// The number as the kernel takes it.
///
/// # Panics
/// If a cache has 2³¹ rows, which would be hundreds of gigabytes in every layer.
fn number(number: usize) -> i32 {
    i32::try_from(number).expect("a cache has fewer than 2^31 rows")
}

impl Sequencing {
    /// `shared` query heads share a key head.
    pub(crate) fn new(
        rows: impl IntoIterator<Item = SequenceRow>,
        prefixes: Region,
        branches: Region,
        shared: i64,
    ) -> Self {
        let shared = shared as usize;
        let (mut one, mut several) = (Call::default(), Call::default());
        let mut over: Option<(usize, Call)> = None;
        let (mut packed, mut cut) = (0, None);
        for row in rows {
            let region = if row.prefix.is_some() { branches } else { prefixes };
            let call = if row.tokens == 1 { &mut one } else { &mut several };
            call.push(row.tokens, 1, region.row(row.slot), row.own);
            if let Some((slot, length)) = row.prefix {
                let (_, call) = over.get_or_insert_with(|| (packed, Call::default()));
                if cut == row.prefix {
                    call.widen(row.tokens, shared);
                } else {
                    call.push(row.tokens, shared, prefixes.row(slot), length);
                }
            }
            cut = row.prefix;
            packed += row.tokens;
        }
        let own = [one, several].into_iter().filter(|call| call.tokens > 0).collect();
        Self { own, over, shared }
    }

    /// As [`Sequencing::new`], for rows filled up to a shape. What is filled in reads `nobody`, a row of the cache. The
    /// numbers of two steps of one shape differ in nothing but their values.
    pub(crate) fn of_step(
        rows: &[SequenceRow],
        shape: StepShape,
        prefixes: Region,
        branches: Region,
        nobody: i64,
        shared: i64,
    ) -> Self {
        let mut plan = Self::new([], prefixes, branches, shared);
        let heads = plan.shared;
        let part = |part: usize| {
            let start = rows.partition_point(|row| row.part() < part);
            let end = rows.partition_point(|row| row.part() <= part);
            &rows[start..end]
        };
        let (mut one, mut several, mut over) = (Call::default(), Call::default(), Call::default());
        for row in part(0) {
            one.push(1, 1, prefixes.row(row.slot), row.own);
        }
        one.fill_one_by_one(shape.thinkings, nobody);
        for row in part(1) {
            one.push(1, 1, branches.row(row.slot), row.own);
        }
        one.fill_one_by_one(shape.thinkings + shape.branches, nobody);
        for row in part(2) {
            several.push(row.tokens, 1, branches.row(row.slot), row.own);
        }
        several.fill_at_once(shape.of_longer, shape.longer + 1, 1, nobody);
        let (mut tokens, mut sequences) = (0, 0);
        for (rows, tokens_room, rows_room) in [
            (part(1), shape.branches, shape.branches),
            (part(2), shape.of_longer, shape.longer),
        ] {
            for of_cut in rows.chunk_by(|one, next| one.prefix == next.prefix) {
                if let Some((slot, length)) = of_cut[0].prefix {
                    let tokens = of_cut.iter().map(|row| row.tokens).sum();
                    over.push(tokens, heads, prefixes.row(slot), length);
                }
            }
            // There is room for a cut for every branch, and for what is filled in.
            tokens += tokens_room;
            sequences += rows_room + 1;
            over.fill_at_once(tokens, sequences, heads, nobody);
        }
        one.most_keys = shape.most_keys;
        several.most_keys = shape.most_keys;
        several.most_queries = shape.of_longer;
        over.most_keys = shape.most_keys;
        over.most_queries = over.tokens * heads;
        plan.own = [one, several].into_iter().filter(|call| call.tokens > 0).collect();
        plan.over = (over.tokens > 0).then_some((shape.thinkings, over));
        plan
    }

    /// All its numbers, two in one.
    pub(crate) fn in_pairs(&self) -> Vec<i64> {
        let calls = self.own.iter().chain(self.over.as_ref().map(|(_, call)| call));
        let numbers: Vec<i32> = calls.flat_map(Call::numbers).collect();
        let pair = |pair: &[i32]| {
            let [first, second] = [0, 1].map(|place| pair.get(place).copied().unwrap_or(0).to_ne_bytes());
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&first);
            bytes[4..].copy_from_slice(&second);
            i64::from_ne_bytes(bytes)
        };
        numbers.chunks(2).map(pair).collect()
    }

    /// The plan whose numbers lie in `pairs` on the device, as [`Sequencing::in_pairs`] has them.
    pub(crate) fn on_device(&self, pairs: &Tensor) -> SequencePlan {
        let numbers = pairs.view_dtype(Kind::Int);
        let mut rest = Rest {
            all: &numbers,
            start: 0,
        };
        SequencePlan {
            own: self
                .own
                .iter()
                .map(|call| (call.tokens as i64, call.on_device(&mut rest, true)))
                .collect(),
            over: self.over.as_ref().map(|(first, call)| OverPrefixes {
                first: *first as i64,
                tokens: call.tokens as i64,
                shared: self.shared as i64,
                sequences: call.on_device(&mut rest, false),
            }),
        }
    }
}

impl SequencePlan {
    /// Attention over the cache, which already holds the new tokens: `queries` [tokens, heads, head_dim]. Returns
    /// [tokens, heads * head_dim].
    pub(crate) fn attend(&self, queries: &Tensor, cache: &LayerCache) -> Tensor {
        let mut start = 0;
        let parts = self.own.iter().map(|(tokens, sequences)| {
            start += tokens;
            sequences.attend(&queries.narrow(0, start - tokens, *tokens), &cache.keys, &cache.values)
        });
        let (mut outputs, mut sums): (Vec<Tensor>, Vec<Tensor>) = parts.unzip();
        if let (Some(over), true) = (&self.over, cache.has_kernels) {
            return over.merged(queries, cache, &outputs, &sums).flatten(1, 2);
        }
        let joined = |parts: &mut Vec<Tensor>, axis| match parts.len() {
            1 => parts.swap_remove(0),
            _ => Tensor::cat(parts, axis),
        };
        let output = joined(&mut outputs, 0);
        if let Some(over) = &self.over {
            over.merge(queries, cache, &output, &joined(&mut sums, 1));
        }
        output.flatten(1, 2)
    }
}

impl OverPrefixes {
    /// What branches see of their prefixes: for each of their tokens the heads that share a key head as rows, one behind
    /// the other, [tokens * shared, kv_heads, head_dim] and [kv_heads, tokens * shared].
    fn seen(&self, queries: &Tensor, cache: &LayerCache) -> (Tensor, Tensor) {
        // [tokens, kv_heads, shared, …] and [tokens * shared, kv_heads, …] by turns.
        let folded = queries
            .narrow(0, self.first, self.tokens)
            .unflatten(1, [-1, self.shared])
            .transpose(1, 2)
            .flatten(0, 1);
        self.sequences.attend(&folded, &cache.keys, &cache.values)
    }

    /// As [`OverPrefixes::merge`] by one kernel, over the parts of what tokens have seen of their own slots. Returns
    /// [tokens, heads, head_dim].
    fn merged(&self, queries: &Tensor, cache: &LayerCache, outputs: &[Tensor], sums: &[Tensor]) -> Tensor {
        let (seen, seen_sums) = self.seen(queries, cache);
        // Attention lays its output out as the queries are: those of a single token may be seen in another order.
        let [seen, seen_sums] = [seen, seen_sums].map(|tensor| tensor.contiguous());
        let contiguous = |tensors: &[Tensor]| tensors.iter().map(Tensor::contiguous).collect::<Vec<_>>();
        let (outputs, sums) = (contiguous(outputs), contiguous(sums));
        let part = |place: usize| match (outputs.get(place), sums.get(place)) {
            (Some(output), Some(sums)) => Some(Part { output, sums }),
            _ => None,
        };
        let seen = Part {
            output: &seen,
            sums: &seen_sums,
        };
        kernels::merge([part(0), part(1)], seen, self.first)
    }

    /// Merges what the branches see of their prefixes into `output` [tokens, heads, head_dim], in which they have seen
    /// themselves; `sums` [heads, tokens] are of that.
    fn merge(&self, queries: &Tensor, cache: &LayerCache, output: &Tensor, sums: &Tensor) {
        let head_dim = queries.size()[2];
        let (first, tokens, shared) = (self.first, self.tokens, self.shared);
        let (seen, seen_sums) = self.seen(queries, cache);
        let seen = seen.view([tokens, shared, -1, head_dim]).transpose(1, 2);
        let seen_sums = seen_sums.view([-1, tokens, shared]).transpose(0, 1);
        let own_sums = sums
            .narrow(1, first, tokens)
            .unflatten(0, [-1, shared])
            .permute([2, 0, 1]);
        let share = (seen_sums - own_sums).sigmoid().unsqueeze(-1);
        let own = output.narrow(0, first, tokens).unflatten(1, [-1, shared]);
        let wide = share.kind();
        let merged = own.to_kind(wide).lerp_tensor(&seen.to_kind(wide), &share);
        own.shallow_clone().copy_(&merged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{KvCache, Slots};
    use crate::config::ModelConfig;

    fn cache() -> KvCache {
        let config = ModelConfig::from_json(
            r#"{"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 8, "max_position_embeddings": 64}"#,
        )
        .expect("a configuration");
        let slots = |count, capacity| Slots { count, capacity };
        KvCache::by_token(&config, slots(4, 32), slots(4, 16), Kind::Double, tch::Device::Cpu)
    }

    fn row(slot: usize, tokens: usize, own: usize, prefix: Option<(usize, usize)>) -> SequenceRow {
        SequenceRow {
            slot,
            tokens,
            own,
            prefix,
        }
    }

    #[test]
    fn rows_of_one_token_come_apart_and_branches_of_a_cut_together() {
        let cache = cache();
        let rows = [
            row(2, 1, 20, None),
            row(1, 1, 3, Some((0, 7))),
            row(3, 1, 9, Some((0, 7))),
            row(0, 1, 1, Some((0, 8))),
            row(2, 5, 5, Some((0, 8))),
            row(1, 6, 30, None),
        ];
        let sequencing = Sequencing::new(rows, cache.prefix_region(), cache.branch_region(), 2);
        let one = Call {
            tokens: 4,
            most_queries: 1,
            most_keys: 20,
            queries_from: vec![0, 1, 2, 3, 4],
            keys_from: vec![64, 128 + 16, 128 + 48, 128, 0],
            keys_used: vec![20, 3, 9, 1],
        };
        let several = Call {
            tokens: 11,
            most_queries: 6,
            most_keys: 30,
            queries_from: vec![0, 5, 11],
            keys_from: vec![128 + 32, 32, 0],
            keys_used: vec![5, 30],
        };
        assert_eq!(sequencing.own, [one, several]);
        let over = Call {
            tokens: 8,
            most_queries: 12,
            most_keys: 8,
            queries_from: vec![0, 4, 16],
            keys_from: vec![0, 0, 0],
            keys_used: vec![7, 8],
        };
        assert_eq!(sequencing.over, Some((1, over)));
        let numbers = Tensor::from_slice(&sequencing.in_pairs());
        let plan = sequencing.on_device(&numbers);
        let of = |tensor: &Tensor| Vec::<i32>::try_from(tensor).expect("a vector");
        assert_eq!(of(&plan.own[1].1.keys_from), [160, 32, 0]);
        assert_eq!(of(&plan.over.expect("there are branches").sequences.keys_used), [7, 8]);
    }
    #[test]
    fn steps_of_one_shape_have_as_many_numbers() {
        let cache = cache();
        let nobody = cache.nobody();
        let of = |rows: &[SequenceRow]| {
            let shape = StepShape::of(rows);
            let plan = Sequencing::of_step(rows, shape, cache.prefix_region(), cache.branch_region(), nobody, 2);
            (shape, plan)
        };
        let (shape, few) = of(&[
            row(2, 1, 20, None),
            row(3, 1, 9, None),
            row(0, 1, 9, None),
            row(1, 1, 3, Some((0, 7))),
            row(2, 5, 5, Some((0, 8))),
            row(0, 3, 3, Some((0, 8))),
            row(3, 2, 2, Some((1, 8))),
        ]);
        let (other_shape, more) = of(&[
            row(2, 1, 2, None),
            row(3, 1, 9, None),
            row(1, 1, 9, None),
            row(0, 1, 9, None),
            row(1, 1, 3, Some((0, 7))),
            row(2, 6, 6, Some((0, 8))),
            row(0, 6, 6, Some((2, 8))),
            row(3, 2, 2, Some((1, 8))),
        ]);
        assert_eq!(shape, other_shape);
        assert_eq!((shape.rows(), shape.tokens()), (4 + 1 + 4, 4 + 1 + 16));
        assert_eq!(few.in_pairs().len(), more.in_pairs().len());
        // The fourth thinking is filled in, and six tokens of branches are a sequence of their own.
        assert_eq!(few.own[0].queries_from, [0, 1, 2, 3, 4, 5]);
        assert_eq!(few.own[0].keys_from[3], nobody as i32);
        assert_eq!(few.own[1].queries_from, [0, 5, 8, 10, 16, 16]);
        assert_eq!(few.own[1].keys_used, [5, 3, 2, 1, 1]);
        let (first, over) = few.over.expect("there are branches");
        assert_eq!(first, 4);
        assert_eq!(over.queries_from, [0, 2, 2, 18, 22, 34, 34, 34]);
        assert_eq!(over.keys_used, [7, 1, 8, 8, 1, 1, 1]);
        for call in [&few.own[0], &few.own[1], &over] {
            assert_eq!(call.most_keys, 512);
        }
    }
}
