// What every operator of this process takes, told by libtorch's own hook: one observer that is called where an operator,
// a node of the backward pass or a `Recorded` begins and ends, on whatever thread that is.

#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "common.h"

namespace {

using Clock = std::chrono::steady_clock;

// As profile.rs takes them: five numbers in this order.
struct Figures {
  uint64_t calls;
  uint64_t self_nanoseconds;
  uint64_t total_nanoseconds;
  uint64_t allocations;
  uint64_t bytes;
};

struct Profile {
  // One lock for all threads: as a rule one of them dispatches.
  std::mutex lock;
  std::map<std::string, Figures, std::less<>> by_name;
  std::optional<at::CallbackHandle> observer;
};

// Never destroyed: threads may still be within operators while the process ends.
Profile& profile() {
  static auto* one = new Profile();
  return *one;
}

struct Operator;
// The innermost operator of this thread that is under way.
thread_local Operator* innermost = nullptr;

// One call of an operator, from its begin to its end.
struct Operator : at::ObserverContext {
  Operator* caller = nullptr;
  uint64_t callees_nanoseconds = 0;
  uint64_t allocations = 0;
  uint64_t bytes = 0;
  // Held by the outermost operator of a thread: allocations are reported to what a thread has installed.
  std::optional<c10::DebugInfoGuard> memory;
  Clock::time_point begin;
};

struct AllocationsOfOperators : c10::MemoryReportingInfoBase {
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    if (size > 0 && innermost != nullptr) {
      innermost->allocations++;
      innermost->bytes += static_cast<uint64_t>(size);
    }
  }

  bool memoryProfilingEnabled() const override {
    return true;
  }
};

std::unique_ptr<at::ObserverContext> begin_operator(const at::RecordFunction&) {
  static const auto allocations = std::make_shared<AllocationsOfOperators>();
  auto call = std::make_unique<Operator>();
  call->caller = innermost;
  // Whoever counts allocations on this thread already goes on counting them.
  if (c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE) == nullptr) {
    call->memory.emplace(c10::DebugInfoKind::PROFILER_STATE, allocations);
  }
  innermost = call.get();
  // Last, so that what the observer itself does belongs to the caller.
  call->begin = Clock::now();
  return call;
}

void end_operator(const at::RecordFunction& function, at::ObserverContext* context) {
  const auto end = Clock::now();
  auto* call = static_cast<Operator*>(context);
  if (call == nullptr) {
    return;
  }
  const auto total = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(end - call->begin).count());
  innermost = call->caller;
  if (call->caller != nullptr) {
    call->caller->callees_nanoseconds += total;
    call->caller->allocations += call->allocations;
    call->caller->bytes += call->bytes;
  }
  call->memory.reset();
  const std::string_view name(function.name());
  const std::lock_guard guard(profile().lock);
  auto& by_name = profile().by_name;
  auto found = by_name.find(name);
  if (found == by_name.end()) {
    found = by_name.emplace(std::string(name), Figures{}).first;
  }
  Figures& figures = found->second;
  figures.calls++;
  figures.self_nanoseconds += total - std::min(total, call->callees_nanoseconds);
  figures.total_nanoseconds += total;
  figures.allocations += call->allocations;
  figures.bytes += call->bytes;
}

}  // namespace

extern "C" {

// Forgets what was measured and begins to measure all threads.
char* anytime_profile_begin() {
  return guarded([&] {
    const std::lock_guard guard(profile().lock);
    if (profile().observer.has_value()) {
      throw std::logic_error("operators are being profiled already");
    }
    profile().by_name.clear();
    profile().observer = at::addGlobalCallback(
        at::RecordFunctionCallback(begin_operator, end_operator)
            .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE}));
  });
}

// Ends what anytime_profile_begin began. An operator that is under way on another thread is measured to its end, which
// nobody reads.
char* anytime_profile_end() {
  return guarded([&] {
    const std::lock_guard guard(profile().lock);
    if (profile().observer.has_value()) {
      at::removeCallback(*profile().observer);
      profile().observer.reset();
    }
  });
}

// Calls take(argument, name, figures) for every operator that was measured. `take` must not dispatch operators.
char* anytime_profile_read(void (*take)(void*, const char*, const uint64_t*), void* argument) {
  return guarded([&] {
    const std::lock_guard guard(profile().lock);
    for (const auto& [name, of] : profile().by_name) {
      const uint64_t figures[] = {of.calls, of.self_nanoseconds, of.total_nanoseconds, of.allocations, of.bytes};
      take(argument, name.c_str(), figures);
    }
  });
}

}  // extern "C"
