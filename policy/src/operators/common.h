// Macros and helpers for all sources of this directory.

#pragma once

#include <cstring>
#include <exception>
#include <stdexcept>

// The same code for the vector units of several generations, chosen when the program is loaded.
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
// What a function for each processor calls must become part of it.
#define INLINE inline __attribute__((always_inline))

// Throws the text where a condition does not hold.
inline void require(bool holds, const char* problem) {
  if (!holds) {
    throw std::invalid_argument(problem);
  }
}

// Null, or the text of what `work` threw, for the caller to free: exceptions must not reach Rust.
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
