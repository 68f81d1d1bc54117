// What libtorch's allocator of a device holds, and what the device has. Through the interface that all devices share,
// so that nothing of CUDA is linked: without CUDA's half of libtorch there is no allocator, and a text says so.

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstddef>
#include <cstdint>

#include "common.h"

namespace {

c10::DeviceAllocator& allocator_of_cuda() {
  // An allocator that has not been used yet knows no devices.
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  return *c10::getDeviceAllocator(c10::DeviceType::CUDA);
}

}  // namespace

extern "C" {

// figures[0] all bytes of the CUDA device, figures[1] those that nobody holds, figures[2] those that this process's
// allocator holds, figures[3] the part of these that tensors use, figures[4] the most that they used.
char* anytime_device_memory(int64_t device, uint64_t* figures) {
  return guarded([&] {
    auto& allocator = allocator_of_cuda();
    const auto index = static_cast<c10::DeviceIndex>(device);
    const auto [free, total] = allocator.getMemoryInfo(index);
    const auto stats = allocator.getDeviceStats(index);
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    figures[0] = total;
    figures[1] = free;
    figures[2] = static_cast<uint64_t>(stats.reserved_bytes[all].current);
    figures[3] = static_cast<uint64_t>(stats.allocated_bytes[all].current);
    figures[4] = static_cast<uint64_t>(stats.allocated_bytes[all].peak);
  });
}

// Restarts the count of the most bytes that tensors of the device used.
char* anytime_forget_peak(int64_t device) {
  return guarded([&] { allocator_of_cuda().resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

}  // extern "C"
