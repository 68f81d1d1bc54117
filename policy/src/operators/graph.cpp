// Work of a CUDA device that is recorded once and then launched as a whole: a step of generation is hundreds of small
// kernels, and starting each by itself takes the host longer than the device needs to run it.
//
// libtorch's own class for this is in its CUDA half, which is loaded at run time (see `device.rs`), so that its functions
// are looked up by name. They are those of libtorch 2.11; where one is missing nothing is recorded.

#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/csrc/api/include/torch/version.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#include "common.h"

namespace {

// c10::MempoolId_t: which memory a recording takes its tensors from.
using Pool = std::pair<unsigned long long, unsigned long long>;

// cudaStreamCaptureModeThreadLocal: what other threads do meanwhile is no business of a recording's.
constexpr int THREAD_LOCAL = 1;

// The functions of at::cuda::CUDAGraph, whose first argument is the object.
struct Functions {
  void (*construct)(void*, bool) = nullptr;
  void (*destroy)(void*) = nullptr;
  void (*begin)(void*, Pool, int) = nullptr;
  void (*end)(void*) = nullptr;
  void (*replay)(void*) = nullptr;
  Pool (*new_pool)() = nullptr;

  Functions() {
    if (TORCH_VERSION_MAJOR != 2 || TORCH_VERSION_MINOR != 11) {
      return;
    }
    const auto find = [](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(RTLD_DEFAULT, name));
    };
    find(construct, "_ZN2at4cuda9CUDAGraphC1Eb");
    find(destroy, "_ZN2at4cuda9CUDAGraphD1Ev");
    find(begin, "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    find(end, "_ZN2at4cuda9CUDAGraph11capture_endEv");
    find(replay, "_ZN2at4cuda9CUDAGraph6replayEv");
    find(new_pool, "_ZN2at4cuda17graph_pool_handleEv");
  }

  bool are_there() const {
    return construct && destroy && begin && end && replay && new_pool;
  }
};

// Looked up when CUDA's half has been loaded.
const Functions& functions() {
  static const Functions all;
  return all;
}

// A recording. The object of libtorch's takes a few hundred bytes.
class Graph {
 public:
  Graph() {
    functions().construct(object_, false);
  }
  ~Graph() {
    functions().destroy(object_);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void* object() {
    return object_;
  }

 private:
  alignas(64) unsigned char object_[4096] = {};
};

// While it lives, this thread's work on the device goes to a stream of its own; the default one cannot be recorded. The
// device is idle at both ends.
class Recorder {
 public:
  explicit Recorder(int64_t device)
      : guard_(c10::DeviceType::CUDA),
        device_(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device)),
        // A recording is of this thread's device.
        previous_device_(guard_.exchangeDevice(device_)),
        previous_(enter()) {}

  ~Recorder() {
    try {
      if (graph_ != nullptr) {
        // Something failed while it was recording.
        functions().end(graph_->object());
      }
    } catch (...) {
    }
    guard_.exchangeStream(previous_);
    try {
      guard_.synchronizeDevice(device_.index());
    } catch (...) {
    }
    guard_.uncheckedSetDevice(previous_device_);
  }

  void begin(Pool pool) {
    guard_.synchronizeDevice(device_.index());
    auto graph = std::make_unique<Graph>();
    functions().begin(graph->object(), pool, THREAD_LOCAL);
    graph_ = std::move(graph);
  }

  Graph* end() {
    std::unique_ptr<Graph> graph = std::move(graph_);
    functions().end(graph->object());
    return graph.release();
  }

 private:
  c10::Stream enter() {
    guard_.synchronizeDevice(device_.index());
    // One for all recordings of a thread: products have working memory for each stream.
    static thread_local std::map<int, c10::Stream> streams;
    auto found = streams.find(device_.index());
    if (found == streams.end()) {
      found = streams.emplace(device_.index(), guard_.getStreamFromGlobalPool(device_)).first;
    }
    return guard_.exchangeStream(found->second);
  }

  c10::impl::VirtualGuardImpl guard_;
  c10::Device device_;
  c10::Device previous_device_;
  c10::Stream previous_;
  std::unique_ptr<Graph> graph_;
};

}  // namespace

extern "C" {

// To be asked once a CUDA device is in use.
bool anytime_can_record() {
  return functions().are_there();
}

void anytime_new_pool(unsigned long long* pool) {
  const Pool made = functions().new_pool();
  pool[0] = made.first;
  pool[1] = made.second;
}

char* anytime_recorder_new(int64_t device, Recorder** recorder) {
  return guarded([&] { *recorder = new Recorder(device); });
}

void anytime_recorder_free(Recorder* recorder) {
  delete recorder;
}

char* anytime_recorder_begin(Recorder* recorder, const unsigned long long* pool) {
  return guarded([&] { recorder->begin({pool[0], pool[1]}); });
}

char* anytime_recorder_end(Recorder* recorder, Graph** graph) {
  return guarded([&] { *graph = recorder->end(); });
}

char* anytime_graph_replay(Graph* graph) {
  return guarded([&] { functions().replay(graph->object()); });
}

void anytime_graph_free(Graph* graph) {
  delete graph;
}

}  // extern "C"
