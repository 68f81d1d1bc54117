// Sums and copies of tensors between processes, by libtorch's own c10d: its store for short messages and for finding each
// other, its process group over Gloo for tensors.

#define USE_DISTRIBUTED
#define USE_C10D
#define USE_C10D_GLOO

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "common.h"

namespace {

using StorePointer = c10::intrusive_ptr<c10d::Store>;
using Group = c10d::ProcessGroupGloo;
using GroupPointer = c10::intrusive_ptr<Group>;

// c10d keeps a record of the last collectives of all groups of a process, and adds groups to it without a lock, so that two
// threads with a group each may end the process. It keeps none of size 0. Set before main, while there is one thread.
[[maybe_unused]] const int no_record = setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);

std::chrono::milliseconds milliseconds(int64_t count) { return std::chrono::milliseconds(count); }

void finish(const c10::intrusive_ptr<c10d::Work>& work) { require(work->wait(), "a collective was not finished"); }

// A message waits by itself only as long as the group did for its members.
void finish(const GroupPointer& group, const c10::intrusive_ptr<c10d::Work>& work) {
  require(work->wait(group->getOptions()->timeout), "a message did not come in time");
}

}  // namespace

extern "C" {

// A store that others reach at `host` and `port`. Where `listener` is one, it is a listening socket that this process serves the
// store on, and takes over.
char* anytime_store_open(const char* host, uint16_t port, int listener, int64_t timeout, void** output) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = listener >= 0;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout);
    if (listener >= 0) {
      options.masterListenFd = listener;
    }
    *output = new StorePointer(c10::make_intrusive<c10d::TCPStore>(std::string(host), options));
  });
}

void anytime_store_close(void* store) { delete static_cast<StorePointer*>(store); }

// Returns when others see it: c10d waits for no answer to a value, and this connection's next question comes after it.
char* anytime_store_set(void* store, const char* key, const uint8_t* bytes, int64_t count) {
  return guarded([&] {
    auto& place = *static_cast<StorePointer*>(store);
    place->set(key, std::vector<uint8_t>(bytes, bytes + count));
    // Another may have deleted it since, so that the answer itself says nothing.
    static_cast<void>(place->check({key}));
  });
}

// Adds to a number, which begins at 0, and gives the sum.
char* anytime_store_add(void* store, const char* key, int64_t number, int64_t* output) {
  return guarded([&] { *output = (*static_cast<StorePointer*>(store))->add(key, number); });
}

// Whether the key is there.
char* anytime_store_has(void* store, const char* key, bool* output) {
  return guarded([&] { *output = (*static_cast<StorePointer*>(store))->check({key}); });
}

// Copies at most `room` bytes of a key that is there, and gives how many it has.
char* anytime_store_get(void* store, const char* key, uint8_t* bytes, int64_t room, int64_t* output) {
  return guarded([&] {
    const auto value = (*static_cast<StorePointer*>(store))->get(key);
    *output = static_cast<int64_t>(value.size());
    std::copy_n(value.begin(), std::min<int64_t>(room, *output), bytes);
  });
}

// Whether the key came within this time.
char* anytime_store_wait(void* store, const char* key, int64_t timeout, bool* output) {
  return guarded([&] {
    auto& place = *static_cast<StorePointer*>(store);
    try {
      place->wait({key}, milliseconds(timeout));
      *output = true;
    } catch (const std::exception&) {
      // It throws the same where the time is over and where the store is gone, which this call then says.
      *output = place->check({key});
    }
  });
}

char* anytime_store_delete(void* store, const char* key) {
  return guarded([&] { (*static_cast<StorePointer*>(store))->deleteKey(key); });
}

// Joins the group of `world` processes that meet under this prefix. `address` is where the others reach this one. They are
// waited for as long as `joining` says, and later calls as long as `timeout`.
char* anytime_group_join(void* store, const char* prefix, const char* address, int rank, int world, int64_t joining,
                         int64_t timeout, void** output) {
  return guarded([&] {
    auto options = Group::Options::create(milliseconds(joining));
    options->threads = 1;
    options->devices.push_back(Group::createDeviceForHostname(address));
    auto place = c10::make_intrusive<c10d::PrefixStore>(prefix, *static_cast<StorePointer*>(store));
    auto group = c10::make_intrusive<Group>(place, rank, world, options);
    // Over the base, so that what is called is libtorch's: Gloo's own types are not known here.
    c10d::Backend& backend = *group;
    backend.setTimeout(milliseconds(timeout));
    *output = new GroupPointer(std::move(group));
  });
}

void anytime_group_leave(void* group) { delete static_cast<GroupPointer*>(group); }

// The sum over all ranks, in place and with the same bits on each.
char* anytime_group_sum(void* group, const at::Tensor* tensor) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    finish((*static_cast<GroupPointer*>(group))->allreduce(tensors, c10d::AllreduceOptions()));
  });
}

// The sum over all ranks, on rank `to` alone; what the others' tensors hold then means nothing.
char* anytime_group_sum_at(void* group, const at::Tensor* tensor, int to) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::ReduceOptions options;
    options.rootRank = to;
    finish((*static_cast<GroupPointer*>(group))->reduce(tensors, options));
  });
}

// The largest of all ranks, in place.
char* anytime_group_largest(void* group, const at::Tensor* tensor) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = c10d::ReduceOp::MAX;
    finish((*static_cast<GroupPointer*>(group))->allreduce(tensors, options));
  });
}

// Sends a tensor to one rank, which receives it.
char* anytime_group_send(void* group, const at::Tensor* tensor, int to) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    const auto& place = *static_cast<GroupPointer*>(group);
    finish(place, place->send(tensors, to, /*tag=*/0));
  });
}

// Fills a tensor with what one rank sends.
char* anytime_group_receive(void* group, const at::Tensor* tensor, int from) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    const auto& place = *static_cast<GroupPointer*>(group);
    finish(place, place->recv(tensors, from, /*tag=*/0));
  });
}

// Copies rank `from`'s tensor over those of the others.
char* anytime_group_copy(void* group, const at::Tensor* tensor, int from) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = from;
    finish((*static_cast<GroupPointer*>(group))->broadcast(tensors, options));
  });
}

}  // extern "C"
