// The steps between the products of a decoding step on the CPU, each in one pass. libtorch needs six operators for a
// normalisation and a dozen to rotate and store a token, and with few rows the operators cost more than the arithmetic.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common.h"
#include "record.h"

namespace {

// The fewest rows of one thread: with fewer, starting a second thread costs more than it brings.
constexpr int64_t ROWS_PER_THREAD = 16;

// Normalises one row, in f32 whatever the elements are.
template <typename Element, typename From>
INLINE void normalise(const From* from, const Element* weight, int64_t width, float epsilon, Element* to) {
  float squares = 0.0f;
  for (int64_t i = 0; i < width; i++) {
    const float value = static_cast<float>(from[i]);
    squares += value * value;
  }
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
  for (int64_t i = 0; i < width; i++) {
    to[i] = static_cast<Element>(static_cast<float>(from[i]) * scale * static_cast<float>(weight[i]));
  }
}

template <typename Element>
INLINE void normalise_rows(
    const Element* input, const Element* weight, int64_t begin, int64_t end, int64_t width, float epsilon,
    Element* output) {
  for (int64_t row = begin; row < end; row++) {
    normalise(input + row * width, weight, width, epsilon, output + row * width);
  }
}

FOR_EACH_PROCESSOR void normalise_rows_of(
    const float* input, const float* weight, int64_t begin, int64_t end, int64_t width, float epsilon, float* output) {
  normalise_rows(input, weight, begin, end, width, epsilon, output);
}

FOR_EACH_PROCESSOR void normalise_rows_of(
    const at::BFloat16* input, const at::BFloat16* weight, int64_t begin, int64_t end, int64_t width, float epsilon,
    at::BFloat16* output) {
  normalise_rows(input, weight, begin, end, width, epsilon, output);
}

template <typename Element>
struct Rotation {
  const Element* projected;
  // Of queries and of keys, both or none.
  const Element* query_norm;
  const Element* key_norm;
  float epsilon;
  const float* cosine;
  const float* sine;
  const int64_t* rows;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  Element* keys;
  Element* values;
  Element* queries;
};

template <typename Element>
INLINE void rotate(const Element* from, const float* cosine, const float* sine, int64_t width, Element* to) {
  const int64_t half = width / 2;
  // The sign of the first half is in the sine.
  for (int64_t i = 0; i < half; i++) {
    const float first = static_cast<float>(from[i]);
    const float second = static_cast<float>(from[i + half]);
    to[i] = static_cast<Element>(first * cosine[i] + second * sine[i]);
    to[i + half] = static_cast<Element>(second * cosine[i + half] + first * sine[i + half]);
  }
}

template <typename Element>
INLINE void rotate_tokens(const Rotation<Element>& of, int64_t begin, int64_t end) {
  const int64_t width = of.head_dim;
  std::vector<Element> normed(width);
  for (int64_t token = begin; token < end; token++) {
    const Element* projected = of.projected + token * (of.heads + 2 * of.kv_heads) * width;
    const float* cosine = of.cosine + token * width;
    const float* sine = of.sine + token * width;
    for (int64_t head = 0; head < of.heads + of.kv_heads; head++) {
      const bool is_query = head < of.heads;
      const int64_t kv_head = head - of.heads;
      const Element* from = projected + head * width;
      if (of.query_norm != nullptr) {
        normalise(from, is_query ? of.query_norm : of.key_norm, width, of.epsilon, normed.data());
        from = normed.data();
      }
      Element* to = is_query ? of.queries + (token * of.heads + head) * width
                             : of.keys + of.rows[token * of.kv_heads + kv_head] * width;
      rotate(from, cosine, sine, width, to);
    }
    for (int64_t kv_head = 0; kv_head < of.kv_heads; kv_head++) {
      std::memcpy(
          of.values + of.rows[token * of.kv_heads + kv_head] * width,
          projected + (of.heads + of.kv_heads + kv_head) * width, width * sizeof(Element));
    }
  }
}

FOR_EACH_PROCESSOR void rotate_tokens_of(const Rotation<float>& of, int64_t begin, int64_t end) {
  rotate_tokens(of, begin, end);
}

FOR_EACH_PROCESSOR void rotate_tokens_of(const Rotation<at::BFloat16>& of, int64_t begin, int64_t end) {
  rotate_tokens(of, begin, end);
}

template <typename Element>
const Element* data_or_null(const at::Tensor* tensor) {
  return tensor == nullptr ? nullptr : tensor->const_data_ptr<Element>();
}

template <typename Element>
void rotate_and_store(
    const at::Tensor& projected, const at::Tensor* query_norm, const at::Tensor* key_norm, double epsilon,
    const at::Tensor& cosine, const at::Tensor& sine, const at::Tensor& rows, const at::Tensor& keys,
    const at::Tensor& values, const at::Tensor& queries) {
  const int64_t tokens = queries.size(0);
  const Rotation<Element> of{
      projected.const_data_ptr<Element>(),
      data_or_null<Element>(query_norm),
      data_or_null<Element>(key_norm),
      static_cast<float>(epsilon),
      cosine.const_data_ptr<float>(),
      sine.const_data_ptr<float>(),
      rows.const_data_ptr<int64_t>(),
      queries.size(1),
      rows.numel() / std::max<int64_t>(tokens, 1),
      queries.size(2),
      keys.mutable_data_ptr<Element>(),
      values.mutable_data_ptr<Element>(),
      queries.mutable_data_ptr<Element>()};
  at::parallel_for(
      0, tokens, ROWS_PER_THREAD, [&](int64_t begin, int64_t end) { rotate_tokens_of(of, begin, end); });
}

}  // namespace

extern "C" {

// `input` and `output` [rows, width], `weight` [width], contiguous and of one kind.
char* anytime_rms_norm(const at::Tensor* input, const at::Tensor* weight, double epsilon, at::Tensor* output) {
  return guarded([&] {
    const Recorded recorded("anytime::rms_norm");
    const int64_t width = weight->numel();
    const int64_t rows = width == 0 ? 0 : input->numel() / width;
    for (const at::Tensor* tensor : {input, weight, static_cast<const at::Tensor*>(output)}) {
      require(tensor->is_contiguous(), "a normalisation takes contiguous tensors");
      require(tensor->scalar_type() == input->scalar_type(), "a normalisation takes tensors of one kind");
    }
    require(rows * width == input->numel() && output->numel() == input->numel(), "a normalisation keeps the shape");
    const auto each = [&](auto* element) {
      using Element = std::remove_pointer_t<decltype(element)>;
      const auto* from = input->const_data_ptr<Element>();
      const auto* by = weight->const_data_ptr<Element>();
      auto* to = output->mutable_data_ptr<Element>();
      at::parallel_for(0, rows, ROWS_PER_THREAD, [&](int64_t begin, int64_t end) {
        normalise_rows_of(from, by, begin, end, width, static_cast<float>(epsilon), to);
      });
    };
    if (input->scalar_type() == at::kFloat) {
      each(static_cast<float*>(nullptr));
    } else {
      require(input->scalar_type() == at::kBFloat16, "a normalisation takes f32 and bf16");
      each(static_cast<at::BFloat16*>(nullptr));
    }
  });
}

// `projected` [tokens, heads + 2 * kv_heads, head_dim], `cosine` and `sine` [tokens, head_dim] f32, `rows`
// [tokens * kv_heads] rows of `keys` and `values` [*, head_dim] to write to, `queries` [tokens, heads, head_dim] to
// write; the norms [head_dim] or null.
char* anytime_rotate_and_store(
    const at::Tensor* projected, const at::Tensor* query_norm, const at::Tensor* key_norm, double epsilon,
    const at::Tensor* cosine, const at::Tensor* sine, const at::Tensor* rows, const at::Tensor* keys,
    const at::Tensor* values, const at::Tensor* queries) {
  return guarded([&] {
    const Recorded recorded("anytime::rotate_and_store");
    for (const at::Tensor* tensor : {projected, cosine, sine, rows, keys, values, queries}) {
      require(tensor->is_contiguous(), "a rotation takes contiguous tensors");
    }
    for (const at::Tensor* tensor : {projected, keys, values}) {
      require(tensor->scalar_type() == queries->scalar_type(), "a rotation takes tensors of one kind");
    }
    if (queries->scalar_type() == at::kFloat) {
      rotate_and_store<float>(
          *projected, query_norm, key_norm, epsilon, *cosine, *sine, *rows, *keys, *values, *queries);
    } else {
      require(queries->scalar_type() == at::kBFloat16, "a rotation takes f32 and bf16");
      rotate_and_store<at::BFloat16>(
          *projected, query_norm, key_norm, epsilon, *cosine, *sine, *rows, *keys, *values, *queries);
    }
  });
}

}  // extern "C"
