// Compiles the text of `kernels.cu` for a CUDA device when it is first needed, and launches its kernels; runs the same
// kernels on the CPU for tests.
//
// The compiler, NVRTC, and the driver are reached through the small library that libtorch has for its own kernels of this
// sort, which lies beside its CUDA half (see `device.rs`). All of it is looked up by name, so that the one binary still
// runs where there is no device.

#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "common.h"

namespace {

namespace on_host {
#include "kernels.cu"
}  // namespace on_host

// In the order of `Kernel` in `kernels.rs`.
constexpr const char* NAMES[] = {
    "rotate_and_store", "gate", "copy_rows", "merge", "draw"};
constexpr size_t KERNELS = sizeof(NAMES) / sizeof(*NAMES);

// CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
constexpr int MAJOR = 75, MINOR = 76;

struct Functions {
  // cudaStream_t c10::cuda::CUDAStream::stream() const; the object is a c10::Stream and nothing else.
  void* (*stream_of)(const c10::Stream*) = nullptr;
  int (*create)(void**, const char*, const char*, int, const char* const*, const char* const*) = nullptr;
  int (*compile)(void*, int, const char* const*) = nullptr;
  int (*destroy)(void**) = nullptr;
  int (*log_size)(void*, size_t*) = nullptr;
  int (*log)(void*, char*) = nullptr;
  int (*code_size)(void*, size_t*) = nullptr;
  int (*code)(void*, char*) = nullptr;
  int (*attribute)(int*, int, int) = nullptr;
  int (*retain)(void**, int) = nullptr;
  int (*set_current)(void*) = nullptr;
  int (*load)(void**, const void*) = nullptr;
  int (*function)(void**, void*, const char*) = nullptr;
  int (*launch)(
      void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) = nullptr;
  int (*text_of)(int, const char**) = nullptr;

  Functions() {
    find(RTLD_DEFAULT, stream_of, "_ZNK3c104cuda10CUDAStream6streamEv");
    Dl_info where;
    require(dladdr(reinterpret_cast<void*>(stream_of), &where) != 0, "libtorch's CUDA half is nowhere");
    const std::string half = where.dli_fname;
    const std::string path = half.substr(0, half.rfind('/') + 1) + "libcaffe2_nvrtc.so";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      throw std::runtime_error(dlerror());
    }
    find(library, create, "nvrtcCreateProgram");
    find(library, compile, "nvrtcCompileProgram");
    find(library, destroy, "nvrtcDestroyProgram");
    find(library, log_size, "nvrtcGetProgramLogSize");
    find(library, log, "nvrtcGetProgramLog");
    find(library, code_size, "nvrtcGetCUBINSize");
    find(library, code, "nvrtcGetCUBIN");
    find(library, attribute, "cuDeviceGetAttribute");
    find(library, retain, "cuDevicePrimaryCtxRetain");
    find(library, set_current, "cuCtxSetCurrent");
    find(library, load, "cuModuleLoadData");
    find(library, function, "cuModuleGetFunction");
    find(library, launch, "cuLaunchKernel");
    find(library, text_of, "cuGetErrorString");
  }

  // A library answers for those that it needs, too.
  template <typename Function>
  static void find(void* library, Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) {
      throw std::runtime_error(std::string("there is no ") + name);
    }
  }

  // Throws where the driver says no.
  void check(int outcome, const char* what) const {
    if (outcome == 0) {
      return;
    }
    const char* text = nullptr;
    text_of(outcome, &text);
    throw std::runtime_error(std::string(what) + ": " + (text == nullptr ? "an unknown error" : text));
  }
};

const Functions& functions() {
  static const Functions all;
  return all;
}

// The kernels of one device.
struct Compiled {
  void* kernels[KERNELS] = {};
};

std::vector<char> compiled_code(const char* source, int device) {
  const Functions& all = functions();
  int major = 0, minor = 0;
  all.check(all.attribute(&major, MAJOR, device), "the device does not tell its generation");
  all.check(all.attribute(&minor, MINOR, device), "the device does not tell its generation");
  const std::string generation = "--gpu-architecture=sm_" + std::to_string(10 * major + minor);
  const char* options[] = {generation.c_str(), "--std=c++17"};
  void* program = nullptr;
  require(all.create(&program, source, "kernels.cu", 0, nullptr, nullptr) == 0, "the kernels' compiler does not start");
  const auto destroy = [&all](void** held) { all.destroy(held); };
  const std::unique_ptr<void*, decltype(destroy)> guard(&program, destroy);
  size_t size = 0;
  if (all.compile(program, 2, options) != 0) {
    all.log_size(program, &size);
    std::string text(size, '\0');
    all.log(program, text.data());
    throw std::runtime_error("the kernels do not compile for " + generation + ": " + text.c_str());
  }
  require(all.code_size(program, &size) == 0, "the kernels' compiler made nothing");
  std::vector<char> code(size);
  require(all.code(program, code.data()) == 0, "the kernels' compiler made nothing");
  return code;
}

std::mutex compiling;
std::map<int, Compiled>& compiled() {
  static std::map<int, Compiled> all;
  return all;
}

void compile(const char* source, int device) {
  const std::lock_guard<std::mutex> lock(compiling);
  if (compiled().count(device) != 0) {
    return;
  }
  const Functions& all = functions();
  const std::vector<char> code = compiled_code(source, device);
  void* module = nullptr;
  all.check(all.load(&module, code.data()), "the kernels do not load");
  Compiled kernels;
  for (size_t index = 0; index < KERNELS; ++index) {
    all.check(all.function(&kernels.kernels[index], module, NAMES[index]), NAMES[index]);
  }
  compiled()[device] = kernels;
}

// The device for as long as it lives; its context is this thread's, too.
class OnDevice {
 public:
  explicit OnDevice(int device) : guard_(c10::DeviceType::CUDA), device_(c10::DeviceType::CUDA, device) {
    previous_ = guard_.exchangeDevice(device_);
    // A thread that has called nothing of the device's yet has no context. The one that libtorch uses is retained for the
    // rest of the process.
    static thread_local int bound = -1;
    if (bound != device) {
      const Functions& all = functions();
      void* context = nullptr;
      all.check(all.retain(&context, device), "the device has no context");
      all.check(all.set_current(context), "the device's context cannot be used");
      bound = device;
    }
  }
  ~OnDevice() {
    guard_.uncheckedSetDevice(previous_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  c10::Stream stream() const {
    return guard_.getStream(device_);
  }

 private:
  c10::impl::VirtualGuardImpl guard_;
  c10::Device device_;
  c10::Device previous_ = c10::Device(c10::DeviceType::CUDA, 0);
};

// One parameter in its own type.
template <typename Type>
Type parameter(uint64_t bits) {
  Type value;
  static_assert(sizeof(value) == sizeof(bits), "every parameter is eight bytes wide");
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

template <typename... Types, size_t... Places>
void call(void (*kernel)(Types...), const uint64_t* parameters, std::index_sequence<Places...>) {
  kernel(parameter<Types>(parameters[Places])...);
}

template <typename... Types>
void run(void (*kernel)(Types...), const uint64_t* parameters, size_t count, int64_t blocks) {
  require(count == sizeof...(Types), "the kernel takes another number of parameters");
  for (on_host::block_of_host = 0; on_host::block_of_host < blocks; ++on_host::block_of_host) {
    call(kernel, parameters, std::index_sequence_for<Types...>());
  }
}

}  // namespace

extern "C" {

// Makes the kernels ready for a device. `source` ends with a zero.
char* anytime_compile_kernels(const char* source, int32_t device) {
  return guarded([&] {
    const OnDevice there(device);
    compile(source, device);
  });
}

// Launches a kernel on this thread's stream of the device, whose kernels are ready. The memory that pointers among the
// parameters name lives until the stream has come past the launch.
char* anytime_launch_kernel(
    size_t kernel, int32_t device, int64_t blocks, int64_t threads, uint64_t* parameters, size_t count) {
  return guarded([&] {
    const Functions& all = functions();
    const OnDevice there(device);
    const c10::Stream stream = there.stream();
    void* pointers[16];
    require(count <= 16, "a kernel has too many parameters");
    for (size_t index = 0; index < count; ++index) {
      pointers[index] = parameters + index;
    }
    const std::lock_guard<std::mutex> lock(compiling);
    void* function = compiled().at(device).kernels[kernel];
    all.check(
        all.launch(
            function, static_cast<unsigned>(blocks), 1, 1, static_cast<unsigned>(threads), 1, 1, 0,
            all.stream_of(&stream), pointers, nullptr),
        NAMES[kernel]);
  });
}

// Runs a kernel on the CPU, with one thread in a block.
char* anytime_run_kernel(size_t kernel, int64_t blocks, const uint64_t* parameters, size_t count) {
  return guarded([&] {
    switch (kernel) {
      case 0:
        return run(on_host::rotate_and_store, parameters, count, blocks);
      case 1:
        return run(on_host::gate, parameters, count, blocks);
      case 2:
        return run(on_host::copy_rows, parameters, count, blocks);
      case 3:
        return run(on_host::merge, parameters, count, blocks);
      case 4:
        return run(on_host::draw, parameters, count, blocks);
      default:
        throw std::invalid_argument("there is no such kernel");
    }
  });
}

}  // extern "C"
