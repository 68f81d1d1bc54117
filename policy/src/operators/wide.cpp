// Products of bf16 matrices whose sums stay in f32, on the CPU. libtorch's linear layers round to the kind of their
// inputs; the microkernel that its attention is made of does not.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <cstring>

#include "common.h"
#include "record.h"

namespace {

// Outputs of one call of the microkernel, whose weights lie together.
constexpr int64_t BLOCK = 64;
// Rows are padded to a multiple of this: the microkernel compiles a kernel for each number of rows, once per thread.
constexpr int64_t ROW_STEP = 16;

int64_t blocks_of(int64_t outputs) { return (outputs + BLOCK - 1) / BLOCK; }

// The rows, padded with zeros.
at::Tensor filled_up(const at::Tensor& input, int64_t rows) {
  if (input.size(0) == rows && input.is_contiguous()) {
    return input;
  }
  at::Tensor filled = at::zeros({rows, input.size(1)}, input.options());
  filled.narrow(0, 0, input.size(0)).copy_(input);
  return filled;
}

void multiply(const at::Tensor& input, const at::Tensor& packed, at::Tensor& output) {
  const int64_t rows = input.size(0);
  const int64_t inputs = input.size(1);
  const int64_t outputs = output.size(1);
  const auto* left = input.const_data_ptr<at::BFloat16>();
  const auto* right = packed.const_data_ptr<at::BFloat16>();
  auto* sums = output.mutable_data_ptr<float>();
  at::parallel_for(0, packed.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) {
      const auto* weights = right + block * inputs * BLOCK;
      const int64_t first = block * BLOCK;
      if (first + BLOCK <= outputs) {
        at::native::cpublas::brgemm(
            rows, BLOCK, inputs, inputs, BLOCK, outputs, false, left, weights, sums + first, true);
        continue;
      }
      const at::Tensor whole = at::empty({rows, BLOCK}, output.options());
      auto* wide = whole.mutable_data_ptr<float>();
      at::native::cpublas::brgemm(rows, BLOCK, inputs, inputs, BLOCK, BLOCK, false, left, weights, wide, true);
      for (int64_t row = 0; row < rows; row++) {
        std::memcpy(sums + row * outputs + first, wide + row * BLOCK, (outputs - first) * sizeof(float));
      }
    }
    // The matrix units belong to this thread until it gives them back.
    at::native::cpublas::brgemm_release(true);
  });
}

}  // namespace

extern "C" {

// `weight` [outputs, inputs] bf16, `inputs` even; `*packed` [blocks, inputs / 2, BLOCK, 2], with zeros behind the last
// output: the pairs of a column beside each other, as the processor's products of bf16 read them.
char* anytime_pack_wide(const at::Tensor* weight, at::Tensor** packed) {
  return guarded([&] {
    require(weight->dim() == 2 && weight->scalar_type() == at::kBFloat16, "a weight is a matrix of bf16");
    const int64_t outputs = weight->size(0);
    const int64_t inputs = weight->size(1);
    require(inputs % 2 == 0, "a weight has pairs of inputs");
    const int64_t blocks = blocks_of(outputs);
    at::Tensor result = at::empty({blocks, inputs / 2, BLOCK, 2}, weight->options());
    const int64_t whole = outputs / BLOCK;
    const auto order = [&](const at::Tensor& rows, int64_t count) {
      return rows.view({count, BLOCK, inputs / 2, 2}).permute({0, 2, 1, 3});
    };
    result.narrow(0, 0, whole).copy_(order(weight->narrow(0, 0, whole * BLOCK), whole));
    if (whole < blocks) {
      const at::Tensor rest = filled_up(weight->narrow(0, whole * BLOCK, outputs - whole * BLOCK), BLOCK);
      result.narrow(0, whole, 1).copy_(order(rest, 1));
    }
    *packed = new at::Tensor(result);
  });
}

// `input` [rows, inputs] bf16, `packed` as above, `*product` [rows, outputs] f32. A row's result does not depend on the
// other rows.
char* anytime_wide_linear(const at::Tensor* input, const at::Tensor* packed, int64_t outputs, at::Tensor** product) {
  return guarded([&] {
    const Recorded recorded("anytime::wide_linear");
    require(input->dim() == 2 && input->scalar_type() == at::kBFloat16, "a wide product takes a matrix of bf16");
    require(packed->dim() == 4 && packed->is_contiguous(), "a wide product takes a packed weight");
    require(input->size(1) == 2 * packed->size(1), "a product's inputs fit its weight");
    require(blocks_of(outputs) == packed->size(0), "a product's outputs fit its weight");
    const int64_t rows = input->size(0);
    const int64_t filled = (rows + ROW_STEP - 1) / ROW_STEP * ROW_STEP;
    at::Tensor output = at::empty({filled, outputs}, input->options().dtype(at::kFloat));
    multiply(filled_up(*input, filled), *packed, output);
    *product = new at::Tensor(output.narrow(0, 0, rows));
  });
}

}  // extern "C"
