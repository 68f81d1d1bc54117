// Attention of single tokens over the key-value cache on the CPU.
//
// libtorch's kernels need sequences of one length side by side, and with few queries each they spend their time in
// general matrix products of three rows. Here every token says how many keys of a prefix it reads, and how many of a
// branch of its own. Tokens that read the same prefix go over it together, block by block while the block is in the
// first-level cache, so that all summaries of a trace read its thinking once. Sums run in f32 in an order that depends
// on the token's own keys alone, so that its result is the same bits whatever else is in the batch.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "common.h"
#include "exponential.h"
#include "record.h"

namespace {

constexpr int64_t KEY_BLOCK = 64;
constexpr int64_t MOST_QUERIES = 64;

// As `Read` in attention.rs.
struct Read {
  int64_t token;
  int64_t prefix_row;
  int64_t prefix_keys;
  int64_t branch_row;
  int64_t branch_keys;
};

struct Heads {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  // Rows of the cache from one key head to the next.
  int64_t prefix_stride;
  int64_t branch_stride;
};

INLINE const float* as_floats(const float* from, int64_t, float*) {
  return from;
}

INLINE const float* as_floats(const at::BFloat16* from, int64_t count, float* to) {
  const auto* bits = reinterpret_cast<const uint16_t*>(from);
  for (int64_t i = 0; i < count; i++) {
    const uint32_t wide = static_cast<uint32_t>(bits[i]) << 16;
    std::memcpy(to + i, &wide, sizeof(wide));
  }
  return to;
}

// A softmax under way: the largest score so far, the sum of exponentials and the weighted values.
struct Softmax {
  float largest;
  float sum;
};

// DIM is the width of a head where it is known at compile time, else 0.
template <int64_t DIM>
INLINE void take_block(
    const float* keys, const float* values, int64_t count, int64_t head_dim, const float* query, float* sums,
    Softmax& softmax) {
  const int64_t dim = DIM > 0 ? DIM : head_dim;
  float scores[KEY_BLOCK];
  for (int64_t key = 0; key < count; key++) {
    float score = 0.0f;
    for (int64_t d = 0; d < dim; d++) {
      score += query[d] * keys[key * dim + d];
    }
    scores[key] = score;
  }
  float largest = softmax.largest;
  for (int64_t key = 0; key < count; key++) {
    largest = std::max(largest, scores[key]);
  }
  const float shrink = exponential(softmax.largest - largest);
  float sum = 0.0f;
  for (int64_t key = 0; key < count; key++) {
    scores[key] = exponential(scores[key] - largest);
    sum += scores[key];
  }
  softmax.largest = largest;
  softmax.sum = softmax.sum * shrink + sum;
  if constexpr (DIM > 0) {
    float local[DIM > 0 ? DIM : 1];
    for (int64_t d = 0; d < DIM; d++) {
      local[d] = sums[d] * shrink;
    }
    for (int64_t key = 0; key < count; key++) {
      for (int64_t d = 0; d < DIM; d++) {
        local[d] += scores[key] * values[key * DIM + d];
      }
    }
    for (int64_t d = 0; d < DIM; d++) {
      sums[d] = local[d];
    }
  } else {
    for (int64_t d = 0; d < dim; d++) {
      sums[d] *= shrink;
    }
    for (int64_t key = 0; key < count; key++) {
      for (int64_t d = 0; d < dim; d++) {
        sums[d] += scores[key] * values[key * dim + d];
      }
    }
  }
}

struct Scratch {
  std::vector<float> queries, sums, keys, values;
  std::vector<Softmax> softmax;
};

// Tokens reads[0..count] of one prefix, for one key head.
template <typename Element, int64_t DIM>
INLINE void attend_unit(
    const Element* queries, const Element* keys, const Element* values, const Read* reads, int64_t count,
    int64_t kv_head, const Heads& heads, float scale, Scratch& scratch, Element* output) {
  const int64_t dim = heads.head_dim;
  const int64_t shared = heads.heads / heads.kv_heads;
  const int64_t queries_count = count * shared;
  scratch.queries.resize(queries_count * dim);
  scratch.sums.assign(queries_count * dim, 0.0f);
  scratch.keys.resize(KEY_BLOCK * dim);
  scratch.values.resize(KEY_BLOCK * dim);
  scratch.softmax.assign(queries_count, Softmax{-1e30f, 0.0f});
  int64_t longest = 0;
  for (int64_t i = 0; i < count; i++) {
    const Element* from = queries + (reads[i].token * heads.heads + kv_head * shared) * dim;
    float* to = scratch.queries.data() + i * shared * dim;
    for (int64_t d = 0; d < shared * dim; d++) {
      to[d] = static_cast<float>(from[d]) * scale;
    }
    longest = std::max(longest, reads[i].prefix_keys);
  }

  const int64_t prefix_row = reads[0].prefix_row + kv_head * heads.prefix_stride;
  for (int64_t start = 0; start < longest; start += KEY_BLOCK) {
    const int64_t width = std::min(KEY_BLOCK, longest - start);
    const int64_t at = (prefix_row + start) * dim;
    const float* block_keys = as_floats(keys + at, width * dim, scratch.keys.data());
    const float* block_values = as_floats(values + at, width * dim, scratch.values.data());
    for (int64_t query = 0; query < queries_count; query++) {
      const int64_t seen = std::min(width, reads[query / shared].prefix_keys - start);
      if (seen > 0) {
        take_block<DIM>(
            block_keys, block_values, seen, dim, scratch.queries.data() + query * dim, scratch.sums.data() + query * dim,
            scratch.softmax[query]);
      }
    }
  }

  for (int64_t i = 0; i < count; i++) {
    const int64_t branch_row = reads[i].branch_row + kv_head * heads.branch_stride;
    for (int64_t start = 0; start < reads[i].branch_keys; start += KEY_BLOCK) {
      const int64_t width = std::min(KEY_BLOCK, reads[i].branch_keys - start);
      const int64_t at = (branch_row + start) * dim;
      const float* block_keys = as_floats(keys + at, width * dim, scratch.keys.data());
      const float* block_values = as_floats(values + at, width * dim, scratch.values.data());
      for (int64_t query = i * shared; query < (i + 1) * shared; query++) {
        take_block<DIM>(
            block_keys, block_values, width, dim, scratch.queries.data() + query * dim,
            scratch.sums.data() + query * dim, scratch.softmax[query]);
      }
    }
    Element* to = output + (reads[i].token * heads.heads + kv_head * shared) * dim;
    for (int64_t head = 0; head < shared; head++) {
      const int64_t query = i * shared + head;
      const float share = 1.0f / scratch.softmax[query].sum;
      for (int64_t d = 0; d < dim; d++) {
        to[head * dim + d] = static_cast<Element>(scratch.sums[query * dim + d] * share);
      }
    }
  }
}

struct Unit {
  int64_t first;
  int64_t count;
};

template <typename Element>
INLINE void attend_units_of(
    const Element* queries, const Element* keys, const Element* values, const Read* reads, const Unit* units,
    int64_t begin, int64_t end, const Heads& heads, float scale, Element* output) {
  thread_local Scratch scratch;
  for (int64_t index = begin; index < end; index++) {
    const Unit& unit = units[index / heads.kv_heads];
    const int64_t kv_head = index % heads.kv_heads;
    const Read* of_unit = reads + unit.first;
    switch (heads.head_dim) {
      case 64:
        attend_unit<Element, 64>(
            queries, keys, values, of_unit, unit.count, kv_head, heads, scale, scratch, output);
        break;
      case 128:
        attend_unit<Element, 128>(
            queries, keys, values, of_unit, unit.count, kv_head, heads, scale, scratch, output);
        break;
      default:
        attend_unit<Element, 0>(queries, keys, values, of_unit, unit.count, kv_head, heads, scale, scratch, output);
    }
  }
}

FOR_EACH_PROCESSOR void attend_units(
    const float* queries, const float* keys, const float* values, const Read* reads, const Unit* units, int64_t begin,
    int64_t end, const Heads& heads, float scale, float* output) {
  attend_units_of(queries, keys, values, reads, units, begin, end, heads, scale, output);
}

FOR_EACH_PROCESSOR void attend_units(
    const at::BFloat16* queries, const at::BFloat16* keys, const at::BFloat16* values, const Read* reads,
    const Unit* units, int64_t begin, int64_t end, const Heads& heads, float scale, at::BFloat16* output) {
  attend_units_of(queries, keys, values, reads, units, begin, end, heads, scale, output);
}

template <typename Element>
void attend(
    const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, const Read* reads,
    const std::vector<Unit>& units, const Heads& heads, at::Tensor& output) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(heads.head_dim));
  const auto* query_data = queries.const_data_ptr<Element>();
  const auto* key_data = keys.const_data_ptr<Element>();
  const auto* value_data = values.const_data_ptr<Element>();
  auto* output_data = output.mutable_data_ptr<Element>();
  const int64_t work = static_cast<int64_t>(units.size()) * heads.kv_heads;
  at::parallel_for(0, work, 1, [&](int64_t begin, int64_t end) {
    attend_units(query_data, key_data, value_data, reads, units.data(), begin, end, heads, scale, output_data);
  });
}

}  // namespace

extern "C" {

// `queries` [tokens, heads, head_dim], `keys` and `values` [rows, head_dim], all contiguous and of one kind, `reads`
// sorted by prefix row. Writes [tokens, heads, head_dim] into `output`.
char* anytime_attend_reads(
    const at::Tensor* queries, const at::Tensor* keys, const at::Tensor* values, const int64_t* read_values,
    int64_t read_count, int64_t prefix_stride, int64_t branch_stride, int64_t kv_heads, at::Tensor* output) {
  return guarded([&] {
    const Recorded recorded("anytime::attend_reads");
    const auto* reads = reinterpret_cast<const Read*>(read_values);
    const Heads heads{queries->size(1), kv_heads, queries->size(2), prefix_stride, branch_stride};
    for (const at::Tensor* tensor : {queries, keys, values, static_cast<const at::Tensor*>(output)}) {
      if (!tensor->is_contiguous() || tensor->scalar_type() != queries->scalar_type()) {
        throw std::invalid_argument("attention over the cache takes contiguous tensors of one kind");
      }
    }
    const int64_t most = std::max<int64_t>(1, MOST_QUERIES * kv_heads / heads.heads);
    std::vector<Unit> units;
    for (int64_t first = 0; first < read_count;) {
      int64_t count = 1;
      while (first + count < read_count && count < most && reads[first + count].prefix_keys > 0 &&
             reads[first].prefix_keys > 0 && reads[first + count].prefix_row == reads[first].prefix_row) {
        count++;
      }
      units.push_back(Unit{first, count});
      first += count;
    }
    if (queries->scalar_type() == at::kFloat) {
      attend<float>(*queries, *keys, *values, reads, units, heads, *output);
    } else if (queries->scalar_type() == at::kBFloat16) {
      attend<at::BFloat16>(*queries, *keys, *values, reads, units, heads, *output);
    } else {
      throw std::invalid_argument("attention over the cache takes f32 and bf16");
    }
  });
}

}  // extern "C"
