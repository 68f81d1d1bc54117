// libtorch has Gloo inside but not its headers: what libtorch's own header of its process group names of it, which is
// never made, read or destroyed here.
#pragma once

#include <chrono>
#include <memory>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
