// Products with few rows on the CPU. Any code that computes them waits for the weights to come from memory, so the
// overhead decides: finding and launching a product of oneDNN takes longer than computing a small one here.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "common.h"
#include "record.h"

namespace {

// The fewest outputs of one thread.
constexpr int64_t OUTPUTS_PER_THREAD = 64;

// What follows the product; the numbers are those of `try_apply_narrow` in `linear.rs`.
enum After : int64_t { NOTHING = 0, SILU = 1, TIMES = 2, PLUS = 3 };

template <typename Weight>
struct Product {
  const float* input;    // [rows, inputs]
  const Weight* weight;  // [outputs, inputs]
  const float* bias;     // [outputs] or null
  const float* other;    // [rows, outputs] or null
  float* output;         // [rows, outputs]
  int64_t rows;
  int64_t inputs;
  int64_t outputs;
  After after;
};

template <typename Weight>
INLINE void multiply(const Product<Weight>& of, int64_t begin, int64_t end) {
  for (int64_t output = begin; output < end; output++) {
    const Weight* weight = of.weight + output * of.inputs;
    for (int64_t row = 0; row < of.rows; row++) {
      const float* input = of.input + row * of.inputs;
      float sum = 0.0f;
      for (int64_t i = 0; i < of.inputs; i++) {
        sum += input[i] * static_cast<float>(weight[i]);
      }
      if (of.bias != nullptr) {
        sum += of.bias[output];
      }
      const int64_t place = row * of.outputs + output;
      switch (of.after) {
        case NOTHING: break;
        case SILU: sum /= 1.0f + std::exp(-sum); break;
        case TIMES: sum *= of.other[place]; break;
        case PLUS: sum += of.other[place]; break;
      }
      of.output[place] = sum;
    }
  }
}

FOR_EACH_PROCESSOR void multiply_some(const Product<float>& of, int64_t begin, int64_t end) {
  multiply(of, begin, end);
}

FOR_EACH_PROCESSOR void multiply_some(const Product<at::BFloat16>& of, int64_t begin, int64_t end) {
  multiply(of, begin, end);
}

// The tensor, contiguous and in f32, without a copy where it is that already.
at::Tensor in_floats(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat ? tensor.contiguous() : tensor.to(at::kFloat).contiguous();
}

template <typename Weight>
at::Tensor product(
    const at::Tensor& input, const at::Tensor& weight, const at::Tensor* bias, const at::Tensor* other, After after) {
  const at::Tensor floats = in_floats(input);
  const at::Tensor biases = bias == nullptr ? at::Tensor() : in_floats(*bias);
  const at::Tensor others = other == nullptr ? at::Tensor() : in_floats(*other);
  const int64_t rows = input.size(0);
  const int64_t outputs = weight.size(0);
  at::Tensor output = at::empty({rows, outputs}, floats.options());
  const Product<Weight> of{
      floats.const_data_ptr<float>(),
      weight.const_data_ptr<Weight>(),
      bias == nullptr ? nullptr : biases.const_data_ptr<float>(),
      other == nullptr ? nullptr : others.const_data_ptr<float>(),
      output.mutable_data_ptr<float>(),
      rows,
      weight.size(1),
      outputs,
      after};
  at::parallel_for(
      0, outputs, OUTPUTS_PER_THREAD, [&](int64_t begin, int64_t end) { multiply_some(of, begin, end); });
  return output;
}

}  // namespace

extern "C" {

// `input` [rows, inputs], `weight` [outputs, inputs], `bias` [outputs] or null, `other` [rows, outputs] or null, f32 or
// bf16 each; `*product` [rows, outputs] in f32.
char* anytime_narrow_linear(
    const at::Tensor* input, const at::Tensor* weight, const at::Tensor* bias, const at::Tensor* other, int64_t after,
    at::Tensor** output) {
  return guarded([&] {
    const Recorded recorded("anytime::narrow_linear");
    require(input->dim() == 2 && weight->dim() == 2, "a product takes matrices");
    require(input->size(1) == weight->size(1), "a product's inputs fit its weight");
    require(weight->is_contiguous(), "a product takes a contiguous weight");
    require(bias == nullptr || bias->numel() == weight->size(0), "a product's bias has one number per output");
    require((other != nullptr) == (after == TIMES || after == PLUS), "a product with another tensor takes one");
    require(
        other == nullptr || (other->dim() == 2 && other->size(0) == input->size(0) && other->size(1) == weight->size(0)),
        "what a product goes on with has its shape");
    const auto what = static_cast<After>(after);
    if (weight->scalar_type() == at::kFloat) {
      *output = new at::Tensor(product<float>(*input, *weight, bias, other, what));
    } else {
      require(weight->scalar_type() == at::kBFloat16, "a product takes weights in f32 and bf16");
      *output = new at::Tensor(product<at::BFloat16>(*input, *weight, bias, other, what));
    }
  });
}

}  // extern "C"
