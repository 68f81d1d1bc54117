// A name for a piece of our own arithmetic, so that libtorch's observers see it beside libtorch's operators.

#pragma once

#include <ATen/record_function.h>

#include <optional>
#include <utility>

// Lives as long as the work that it names. Without an observer it costs what every operator of libtorch pays for the
// same question: a look at two lists that are empty. The scope is the user's, because counts of operators
// (`anytime_count`) are of what libtorch dispatches.
class Recorded {
 public:
  explicit Recorded(const char* name) {
    auto observers = at::getStepCallbacksUnlessEmpty(at::RecordScope::USER_SCOPE);
    if (observers.has_value()) {
      function_.emplace(std::move(*observers));
      function_->before(name);
    }
  }

 private:
  std::optional<at::RecordFunction> function_;
};
