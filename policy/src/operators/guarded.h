// Exceptions of libtorch as texts, for callers that are not C++.

#pragma once

#include <cstring>
#include <exception>

// Null, or a text for the caller to free.
template <typename Work>
char* guarded(Work work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("libtorch threw something that is no exception");
  }
}
