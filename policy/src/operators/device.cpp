// What libtorch does on devices and tch has no binding for: which attention it may choose on CUDA, and products of bf16
// whose sums stay in f32. Only the CPU half of libtorch is needed to compile and to load this.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/mm.h>
#include <c10/core/GradMode.h>

#include <cstdint>

#include "common.h"
#include "record.h"

extern "C" {

// Holds for the whole process. May be called before or after CUDA's half is loaded.
void anytime_disable_cudnn_attention() {
  at::globalContext().setSDPUseCuDNN(false);
}

bool anytime_uses_cudnn_attention() {
  return at::globalContext().userEnabledCuDNNSDP();
}

// left · right in f32, of two matrices [n, k] and [k, m] or two batches of them, both in bf16 on a CUDA device; without
// a graph.
char* anytime_cuda_wide_product(const at::Tensor* left, const at::Tensor* right, at::Tensor** output) {
  return guarded([&] {
    const Recorded recorded("anytime::wide_product");
    const c10::NoGradGuard no_graph;
    *output = new at::Tensor(
        left->dim() == 2 ? at::mm(*left, *right, at::kFloat) : at::bmm(*left, *right, at::kFloat));
  });
}

}  // extern "C"
