// Attention over sequences that lie one behind the other, each with its own queries and keys, and the same for training
// over rows with branches. On CUDA libtorch's FlashAttention computes it; elsewhere plain operators do, sequence by
// sequence, which is slow and there for tests.

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "common.h"
#include "record.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Queries queries_from[i] to queries_from[i + 1] are those of sequence i, its keys begin at keys_from[i]. They end where
// the next ones begin or, where `keys_used` is given, after keys_used[i] of them; then they may lie in any order and
// overlap. All [sequences + 1] or [sequences] in int32. Where `is_causal`, the last query sees all keys of its sequence,
// the one before it all but the last, and so on.
struct Sequences {
  at::Tensor queries_from, keys_from;
  std::optional<at::Tensor> keys_used;
  int64_t most_queries, most_keys;
  bool is_causal;
};

// What attention returns: [queries, heads, head_dim], and the logarithms of the sums of the exponentials of its scores,
// [heads, queries], at least in f32.
struct Attended {
  at::Tensor output, sums;
};

at::ScalarType wide_kind(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// One sequence by plain operators.
struct Plain {
  int64_t first_query, query_count, first_key, key_count;
  // [kv_heads, shared, queries, head_dim], and [kv_heads, 1, keys, head_dim].
  at::Tensor queries, keys, values;
  // [kv_heads, shared, queries, keys].
  at::Tensor scores;
  double scale;

  Plain(
      const at::Tensor& all_queries,
      const at::Tensor& all_keys,
      const at::Tensor& all_values,
      const Sequences& sequences,
      int64_t index) {
    const int32_t* queries_from = sequences.queries_from.const_data_ptr<int32_t>();
    const int32_t* keys_from = sequences.keys_from.const_data_ptr<int32_t>();
    first_query = queries_from[index];
    query_count = queries_from[index + 1] - first_query;
    first_key = keys_from[index];
    key_count = sequences.keys_used.has_value() ? sequences.keys_used->const_data_ptr<int32_t>()[index]
                                                : keys_from[index + 1] - first_key;
    const int64_t head_dim = all_queries.size(2);
    scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
    const auto key_head_first = [&](const at::Tensor& tensor) {
      return tensor.narrow(0, first_key, key_count).to(wide_kind(tensor)).transpose(0, 1).unsqueeze(1);
    };
    keys = key_head_first(all_keys);
    values = key_head_first(all_values);
    queries = fold(all_queries);
    scores = at::matmul(queries, keys.transpose(-2, -1)) * scale;
    if (sequences.is_causal) {
      const at::Tensor places = at::arange(key_count, sequences.keys_from.options());
      const at::Tensor last =
          at::arange(query_count, sequences.keys_from.options()).unsqueeze(1) + (key_count - query_count);
      scores = scores.masked_fill(places.gt(last), -std::numeric_limits<double>::infinity());
    }
  }

  // This sequence's part of [queries, heads, width] as [kv_heads, shared, queries, width].
  at::Tensor fold(const at::Tensor& tensor) const {
    const int64_t kv_heads = keys.size(0);
    return tensor.narrow(0, first_query, query_count)
        .to(wide_kind(tensor))
        .view({query_count, kv_heads, tensor.size(1) / kv_heads, tensor.size(2)})
        .permute({1, 2, 0, 3});
  }

  // The way back.
  static at::Tensor unfold(const at::Tensor& folded) {
    return folded.permute({2, 0, 1, 3}).flatten(1, 2);
  }
};

Attended attend(
    const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, const Sequences& sequences) {
  if (queries.is_cuda()) {
    auto [output, sums, seed, offset, mask] = at::_flash_attention_forward(
        queries,
        keys,
        values,
        sequences.queries_from,
        sequences.keys_from,
        sequences.most_queries,
        sequences.most_keys,
        /*dropout_p=*/0.0,
        sequences.is_causal,
        /*return_debug_mask=*/false,
        /*scale=*/std::nullopt,
        /*window_size_left=*/std::nullopt,
        /*window_size_right=*/std::nullopt,
        sequences.keys_used);
    return {output, sums};
  }
  // Laid out as the queries are, as the kernel's is.
  at::Tensor output = at::empty_like(queries);
  at::Tensor sums = at::empty({queries.size(1), queries.size(0)}, queries.options().dtype(wide_kind(queries)));
  for (int64_t index = 0; index + 1 < sequences.queries_from.size(0); ++index) {
    const Plain plain(queries, keys, values, sequences, index);
    const at::Tensor of_rows = plain.scores.logsumexp({-1}, true);
    const at::Tensor attended = at::matmul((plain.scores - of_rows).exp(), plain.values);
    output.narrow(0, plain.first_query, plain.query_count).copy_(Plain::unfold(attended));
    sums.narrow(1, plain.first_query, plain.query_count).copy_(of_rows.flatten(0, 1).squeeze(-1));
  }
  return {output, sums};
}

struct Gradients {
  at::Tensor queries, keys, values;
};

// The gradients where `attended` is the whole softmax that these keys are a part of. What the other parts add is a
// matter of theirs: with P = exp(scores − sums) and D = Σ gradient · output, d scores = P · (d P − D) for each of them.
Gradients attend_backward(
    const at::Tensor& gradient,
    const at::Tensor& queries,
    const at::Tensor& keys,
    const at::Tensor& values,
    const Attended& attended,
    const Sequences& sequences) {
  if (queries.is_cuda()) {
    // Only dropout needs the state of the generator.
    const at::Tensor none = at::empty({2}, queries.options().dtype(at::kUInt64));
    auto [of_queries, of_keys, of_values] = at::_flash_attention_backward(
        gradient,
        queries,
        keys,
        values,
        attended.output,
        attended.sums,
        sequences.queries_from,
        sequences.keys_from,
        sequences.most_queries,
        sequences.most_keys,
        /*dropout_p=*/0.0,
        sequences.is_causal,
        none,
        at::empty({}, queries.options().dtype(at::kUInt64)));
    return {of_queries, of_keys, of_values};
  }
  Gradients all = {at::zeros_like(queries), at::zeros_like(keys), at::zeros_like(values)};
  for (int64_t index = 0; index + 1 < sequences.queries_from.size(0); ++index) {
    const Plain plain(queries, keys, values, sequences, index);
    const at::Tensor of_output = plain.fold(gradient);
    const at::Tensor shares = (plain.scores - plain.fold(attended.sums.t().unsqueeze(-1))).exp();
    const at::Tensor whole = (of_output * plain.fold(attended.output)).sum({-1}, true);
    const at::Tensor of_scores = shares * (at::matmul(of_output, plain.values.transpose(-2, -1)) - whole) * plain.scale;
    const auto of_key_heads = [](const at::Tensor& of_heads) { return of_heads.sum(1).transpose(0, 1); };
    all.queries.narrow(0, plain.first_query, plain.query_count)
        .copy_(Plain::unfold(at::matmul(of_scores, plain.keys)));
    all.keys.narrow(0, plain.first_key, plain.key_count)
        .add_(of_key_heads(at::matmul(of_scores.transpose(-2, -1), plain.queries)));
    all.values.narrow(0, plain.first_key, plain.key_count)
        .add_(of_key_heads(at::matmul(shares.transpose(-2, -1), of_output)));
  }
  return all;
}

// Which tokens of a packed batch attend to which, with branches. Every prefix and every branch attends causally to itself
// (`own`); the branches, gathered, attend to gathered tokens of their prefixes (`over`), all branches of one cut together.
struct Tree {
  Sequences own;
  // [branch tokens] and [prefix tokens], int64; not defined where there are no branches.
  at::Tensor branch_tokens, prefix_tokens;
  Sequences over;
};

struct TreeAttention : torch::autograd::Function<TreeAttention> {
  static at::Tensor forward(
      AutogradContext* context,
      const at::Tensor& queries,
      const at::Tensor& keys,
      const at::Tensor& values,
      const Tree& tree) {
    const Recorded recorded("anytime::tree_attention");
    Attended attended = attend(queries, keys, values, tree.own);
    if (tree.branch_tokens.defined()) {
      const Attended over = attend(
          queries.index_select(0, tree.branch_tokens),
          keys.index_select(0, tree.prefix_tokens),
          values.index_select(0, tree.prefix_tokens),
          tree.over);
      const at::Tensor own_sums = attended.sums.index_select(1, tree.branch_tokens);
      const at::Tensor sums = at::logaddexp(own_sums, over.sums);
      const at::Tensor share = (over.sums - sums).exp().t().unsqueeze(-1);
      const at::Tensor own = attended.output.index_select(0, tree.branch_tokens).to(share.scalar_type());
      const at::Tensor merged = own.lerp(over.output.to(share.scalar_type()), share);
      attended.output.index_copy_(0, tree.branch_tokens, merged.to(queries.scalar_type()));
      attended.sums.index_copy_(1, tree.branch_tokens, sums);
    }
    context->save_for_backward(
        {queries,
         keys,
         values,
         attended.output,
         attended.sums,
         tree.own.queries_from,
         tree.branch_tokens,
         tree.prefix_tokens,
         tree.over.queries_from,
         tree.over.keys_from});
    context->saved_data["own_most"] = tree.own.most_queries;
    context->saved_data["over_most_queries"] = tree.over.most_queries;
    context->saved_data["over_most_keys"] = tree.over.most_keys;
    return attended.output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Recorded recorded("anytime::tree_attention_backward");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &queries = saved[0], &keys = saved[1], &values = saved[2];
    const Attended attended = {saved[3], saved[4]};
    const int64_t own_most = context->saved_data["own_most"].toInt();
    const Sequences own = {saved[5], saved[5], std::nullopt, own_most, own_most, true};
    const at::Tensor gradient = gradients[0].contiguous();
    Gradients all = attend_backward(gradient, queries, keys, values, attended, own);
    const at::Tensor &branch_tokens = saved[6], &prefix_tokens = saved[7];
    if (branch_tokens.defined()) {
      const Sequences over = {
          saved[8],
          saved[9],
          std::nullopt,
          context->saved_data["over_most_queries"].toInt(),
          context->saved_data["over_most_keys"].toInt(),
          false};
      const Attended of_branches = {
          attended.output.index_select(0, branch_tokens), attended.sums.index_select(1, branch_tokens)};
      const Gradients more = attend_backward(
          gradient.index_select(0, branch_tokens),
          queries.index_select(0, branch_tokens),
          keys.index_select(0, prefix_tokens),
          values.index_select(0, prefix_tokens),
          of_branches,
          over);
      // A token of a prefix takes part once for each cut behind it; the sum is rounded once.
      const auto add = [](at::Tensor& sum, const at::Tensor& tokens, const at::Tensor& part) {
        const at::ScalarType wide = wide_kind(sum);
        sum = sum.to(wide).index_add(0, tokens, part.to(wide)).to(sum.scalar_type());
      };
      add(all.queries, branch_tokens, more.queries);
      add(all.keys, prefix_tokens, more.keys);
      add(all.values, prefix_tokens, more.values);
    }
    return {all.queries, all.keys, all.values, at::Tensor()};
  }
};

at::Tensor or_none(const at::Tensor* tensor) {
  return tensor == nullptr ? at::Tensor() : *tensor;
}

}  // namespace

extern "C" {

// queries [queries, heads, head_dim], keys and values [rows, kv_heads, head_dim]: [queries, heads, head_dim] and
// [heads, queries]; without a graph. `keys_used` may be null.
char* anytime_attend_sequences(
    const at::Tensor* queries,
    const at::Tensor* keys,
    const at::Tensor* values,
    const at::Tensor* queries_from,
    const at::Tensor* keys_from,
    const at::Tensor* keys_used,
    int64_t most_queries,
    int64_t most_keys,
    bool is_causal,
    at::Tensor** output,
    at::Tensor** sums) {
  return guarded([&] {
    const Recorded recorded("anytime::attend_sequences");
    const c10::NoGradGuard no_graph;
    const std::optional<at::Tensor> used =
        keys_used == nullptr ? std::nullopt : std::optional<at::Tensor>(*keys_used);
    Attended attended = attend(
        *queries, *keys, *values, {*queries_from, *keys_from, used, most_queries, most_keys, is_causal});
    *output = new at::Tensor(std::move(attended.output));
    *sums = new at::Tensor(std::move(attended.sums));
  });
}

// queries [tokens, heads, head_dim], keys and values [tokens, kv_heads, head_dim]: [tokens, heads, head_dim]. The four
// tensors after `own_most` are null where there are no branches.
char* anytime_attend_tree(
    const at::Tensor* queries,
    const at::Tensor* keys,
    const at::Tensor* values,
    const at::Tensor* own_from,
    int64_t own_most,
    const at::Tensor* branch_tokens,
    const at::Tensor* prefix_tokens,
    const at::Tensor* over_queries_from,
    const at::Tensor* over_keys_from,
    int64_t over_most_queries,
    int64_t over_most_keys,
    at::Tensor** output) {
  return guarded([&] {
    const Tree tree = {
        {*own_from, *own_from, std::nullopt, own_most, own_most, true},
        or_none(branch_tokens),
        or_none(prefix_tokens),
        {or_none(over_queries_from),
         or_none(over_keys_from),
         std::nullopt,
         over_most_queries,
         over_most_keys,
         false}};
    *output = new at::Tensor(TreeAttention::apply(*queries, *keys, *values, tree));
  });
}

}  // extern "C"
