// Operators that libtorch registers but has no C++ or C function for, reached through its dispatcher. Nothing is
// computed here. Every function returns null, or an error text that the caller frees; results go through pointers.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/headeronly/version.h>

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "common.h"

namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Scalars = c10::List<std::optional<at::Scalar>>;
using OptionalText = std::optional<std::string_view>;

using Pack = at::Tensor(const at::Tensor&, std::optional<int64_t>);
using PackedLinear = at::Tensor(
    const at::Tensor&, const at::Tensor&, const OptionalTensor&, std::string_view, Scalars, OptionalText);
using LinearWith = at::Tensor(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&, std::string_view);

template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

OptionalTensor optional(const at::Tensor* tensor) {
  return tensor == nullptr ? OptionalTensor() : OptionalTensor(*tensor);
}

struct Counts {
  std::atomic<uint64_t> operations{0};
  std::atomic<uint64_t> allocations{0};
  std::atomic<uint64_t> bytes{0};
  std::atomic<int64_t> held{0};
  std::atomic<int64_t> most_held{0};
};

// Told of every allocation and release of the thread for which it is installed.
struct AllocationCounter : c10::MemoryReportingInfoBase {
  explicit AllocationCounter(Counts* counts) : counts(counts) {}

  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    counts->held += size;
    if (size > 0) {
      counts->allocations++;
      counts->bytes += static_cast<uint64_t>(size);
      counts->most_held = std::max(counts->most_held.load(), counts->held.load());
    }
  }

  bool memoryProfilingEnabled() const override {
    return true;
  }

  Counts* counts;
};

thread_local Counts* counts_of_thread = nullptr;

std::unique_ptr<at::ObserverContext> count_operation(const at::RecordFunction&) {
  if (counts_of_thread != nullptr) {
    counts_of_thread->operations++;
  }
  return nullptr;
}

}  // namespace

extern "C" {

char* anytime_pack_linear(const at::Tensor* weight, int64_t rows, at::Tensor** packed) {
  return guarded([&] {
    static const auto pack = find<Pack>("mkldnn::_reorder_linear_weight", "");
    *packed = new at::Tensor(pack.call(*weight, rows));
  });
}

char* anytime_packed_linear(
    const at::Tensor* input, const at::Tensor* packed, const at::Tensor* bias, const char* after, at::Tensor** output) {
  return guarded([&] {
    static const auto linear = find<PackedLinear>("mkldnn::_linear_pointwise", "");
    *output = new at::Tensor(linear.call(*input, *packed, optional(bias), after, Scalars(), ""));
  });
}

char* anytime_packed_linear_with(
    const at::Tensor* input,
    const at::Tensor* other,
    const at::Tensor* packed,
    const at::Tensor* bias,
    const char* after,
    at::Tensor** output) {
  return guarded([&] {
    static const auto linear = find<LinearWith>("mkldnn::_linear_pointwise", "binary");
    *output = new at::Tensor(linear.call(*input, *other, *packed, optional(bias), after));
  });
}

// Calls work(argument) on this thread and counts the operators that it dispatches and the memory that they allocate:
// counted[0] operators, counted[1] allocations, counted[2] bytes, counted[3] the most bytes held at a time.
char* anytime_count(void (*work)(void*), void* argument, uint64_t* counted) {
  return guarded([&] {
    Counts counts;
    const auto handle =
        at::addThreadLocalCallback(at::RecordFunctionCallback(count_operation).scopes({at::RecordScope::FUNCTION}));
    counts_of_thread = &counts;
    {
      c10::DebugInfoGuard guard(
          c10::DebugInfoKind::PROFILER_STATE, std::make_shared<AllocationCounter>(&counts));
      work(argument);
    }
    counts_of_thread = nullptr;
    at::removeCallback(handle);
    counted[0] = counts.operations;
    counted[1] = counts.allocations;
    counted[2] = counts.bytes;
    counted[3] = static_cast<uint64_t>(counts.most_held.load());
  });
}

void anytime_keep_freed_memory() {
#ifdef __GLIBC__
  // 32 MiB is the most that glibc takes. Larger blocks are still mapped one by one.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, -1);
  // Other arenas are made of heaps of 64 MiB, which glibc unmaps once they are empty, whatever the threshold above.
  mallopt(M_ARENA_MAX, 1);
#endif
}

// Major, minor and patch of libtorch's version.
int anytime_libtorch_version(int part) {
  const int parts[] = {TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH};
  return parts[part];
}

void anytime_use_one_thread() {
  // libtorch sets the number when a thread first asks for it, here and within the library.
  at::internal::lazy_init_num_threads();
  at::get_num_threads();
  omp_set_num_threads(1);
}

void anytime_free(char* text) {
  std::free(text);
}

}  // extern "C"
