// What libtorch knows of devices and tch does not ask: which attention it may choose on CUDA, how much memory there is,
// and products of bf16 whose sums stay in f32. Only the CPU half of libtorch is needed to compile and to load this.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/mm.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceType.h>
#include <c10/core/GradMode.h>

#include <cstdint>

#include "common.h"
#include "record.h"

extern "C" {

// For the whole process, before or after CUDA's half is loaded.
void anytime_disable_cudnn_attention() {
  at::globalContext().setSDPUseCuDNN(false);
}

bool anytime_uses_cudnn_attention() {
  return at::globalContext().userEnabledCuDNNSDP();
}

// Bytes of the CUDA device of this number.
char* anytime_cuda_memory(int64_t device, uint64_t* free_bytes, uint64_t* total_bytes) {
  return guarded([&] {
    const auto memory = c10::getDeviceAllocator(c10::kCUDA)->getMemoryInfo(static_cast<c10::DeviceIndex>(device));
    *free_bytes = memory.first;
    *total_bytes = memory.second;
  });
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
