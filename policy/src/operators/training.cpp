// Functions of libtorch that a training update needs and tch has no binding for: the fused optimiser step, a backward
// pass from a given gradient, and linear layers and embeddings whose weight gradients are added where they are kept.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "common.h"
#include "record.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::vector<at::Tensor> tensors(const at::Tensor* const* pointers, int64_t count, bool must_be_contiguous) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (int64_t index = 0; index < count; index++) {
    // The fused step ignores shapes and goes over memory.
    if (must_be_contiguous && !pointers[index]->is_contiguous()) {
      throw std::invalid_argument("the optimiser was given a tensor that is not contiguous");
    }
    list.push_back(*pointers[index]);
  }
  return list;
}

// The gradient that a leaf keeps from an earlier pass, where a further one can be added in place.
at::Tensor kept_gradient(const at::Tensor& weight) {
  if (!weight.is_leaf() || !weight.requires_grad() || c10::GradMode::is_enabled()) {
    return {};
  }
  const at::Tensor& kept = weight.mutable_grad();
  return kept.defined() && kept.is_contiguous() ? kept : at::Tensor();
}

using Scalars = c10::List<std::optional<at::Scalar>>;
using PlainLinear = at::Tensor(
    const at::Tensor&,
    const at::Tensor&,
    const std::optional<at::Tensor>&,
    std::string_view,
    Scalars,
    std::optional<std::string_view>);

// Weights from this size on go to oneDNN, which takes milliseconds to prepare for a shape that it has not seen.
constexpr int64_t LARGE_WEIGHT = 1 << 16;

// The operator of oneDNN's product, where this libtorch has one.
const c10::TypedOperatorHandle<PlainLinear>* onednn_linear() {
  using Handle = c10::TypedOperatorHandle<PlainLinear>;
  static const std::optional<Handle> linear = []() -> std::optional<Handle> {
    const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!at::globalContext().hasMKLDNN() || !found.has_value()) {
      return std::nullopt;
    }
    return found->typed<PlainLinear>();
  }();
  return linear.has_value() ? &*linear : nullptr;
}

// input · weightᵀ + bias, without a graph. In f32 on the CPU oneDNN is faster than MKL: a little where there are many
// rows, by half at the hundred of a chunk of logits (measured on AMD Zen 5).
at::Tensor product(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const bool is_large = weight.numel() >= LARGE_WEIGHT && input.size(0) > 0;
  if (is_large && input.is_cpu() && input.scalar_type() == at::kFloat && onednn_linear() != nullptr) {
    const c10::NoGradGuard no_graph;
    return onednn_linear()->call(input, weight, bias, "none", Scalars(), "");
  }
  return bias.has_value() ? at::addmm(*bias, input, weight.t()) : at::mm(input, weight.t());
}

// input [rows, inputs], weight [outputs, inputs], bias [outputs]: [rows, outputs].
struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(
      AutogradContext* context,
      const at::Tensor& input,
      const at::Tensor& weight,
      const std::optional<at::Tensor>& bias) {
    const Recorded recorded("anytime::linear");
    context->save_for_backward({input, weight});
    context->saved_data["has_bias"] = bias.has_value();
    return product(input, weight, bias);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Recorded recorded("anytime::linear_backward");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1];
    const at::Tensor gradient = gradients[0].contiguous();
    variable_list results(3);
    if (context->needs_input_grad(0)) {
      results[0] = product(gradient, weight.t(), std::nullopt);
    }
    if (context->needs_input_grad(1)) {
      at::Tensor kept = kept_gradient(weight);
      if (kept.defined()) {
        kept.addmm_(gradient.t(), input);
      } else {
        results[1] = at::mm(gradient.t(), input);
      }
    }
    // Without a bias there is no third input to ask for.
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)) {
      results[2] = at::sum(gradient, 0);
    }
    return results;
  }
};

// What elements are multiplied by: 0 for the share `dropout` of them, 1 / (1 - dropout) for the others. The draws follow from
// `seed` and an element's place alone (the finaliser of MurmurHash3), whatever else draws, so that a layer that is computed
// again drops the same.
at::Tensor dropout_factors(const at::Tensor& like, double dropout, int64_t seed) {
  const auto at_32_bits = [](uint32_t value) { return at::Scalar(static_cast<int32_t>(value)); };
  at::Tensor bits = at::arange(like.numel(), like.options().dtype(at::kInt)).view(like.sizes());
  const auto fold = [&](int64_t by) { bits.bitwise_xor_(at::bitwise_right_shift(bits, by).bitwise_and_((int64_t{1} << (32 - by)) - 1)); };
  bits.mul_(at_32_bits(0x9e3779b1)).add_(at_32_bits(static_cast<uint32_t>(seed)));
  fold(16);
  bits.mul_(at_32_bits(0x85ebca6b)).add_(at_32_bits(static_cast<uint32_t>(seed >> 32)));
  fold(13);
  bits.mul_(at_32_bits(0xc2b2ae35));
  fold(16);
  const at::Tensor drawn = bits.bitwise_and_(0x7fffffff);
  return drawn.ge(static_cast<int64_t>(dropout * 2147483648.0)).to(like.scalar_type()).div_(1 - dropout);
}

// A linear layer over `weight` [outputs, inputs], which holds scale · b · a already: a [rank, inputs] and b [outputs, rank]
// alone have gradients, and so the gradient of the weight, which is as large as it is, is never computed. With `dropout` a
// sees the inputs without the share that is dropped, and those that are kept enlarged, as the expectation is the same.
struct AdaptedLinear : torch::autograd::Function<AdaptedLinear> {
  static at::Tensor forward(
      AutogradContext* context,
      const at::Tensor& input,
      const at::Tensor& weight,
      const std::optional<at::Tensor>& bias,
      const at::Tensor& a,
      const at::Tensor& b,
      double scale,
      double dropout,
      int64_t seed) {
    const Recorded recorded("anytime::adapted_linear");
    at::Tensor output = product(input, weight, bias);
    at::Tensor kept;
    if (dropout > 0) {
      kept = dropout_factors(input, dropout, seed);
      const at::Tensor missing = input.mul(kept).sub_(input);
      const at::Tensor at_rank = at::mm(missing, a.to(input.scalar_type()).t());
      output = output.add(at::mm(at_rank, b.to(input.scalar_type()).t()), scale);
    }
    context->save_for_backward({input, weight, a, b, kept});
    context->saved_data["scale"] = scale;
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Recorded recorded("anytime::adapted_linear_backward");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1], &kept = saved[4];
    const double scale = context->saved_data["scale"].toDouble();
    const at::Tensor a = saved[2].to(input.scalar_type());
    const at::Tensor b = saved[3].to(input.scalar_type());
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor seen = kept.defined() ? input.mul(kept) : input;
    const at::Tensor at_rank = at::mm(gradient, b);
    variable_list results(8);
    if (context->needs_input_grad(0)) {
      results[0] = product(gradient, weight.t(), std::nullopt);
      if (kept.defined()) {
        results[0].add_(at::mm(at_rank, a).mul_(kept.sub(1)), scale);
      }
    }
    results[3] = at::mm(at_rank.t(), seen).mul_(scale).to(saved[2].scalar_type());
    results[4] = at::mm(gradient.t(), at::mm(seen, a.t())).mul_(scale).to(saved[3].scalar_type());
    return results;
  }
};

// weight [rows, width], ids [tokens]: [tokens, width].
struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& ids) {
    const Recorded recorded("anytime::embedding");
    context->save_for_backward({weight, ids});
    return at::embedding(weight, ids);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Recorded recorded("anytime::embedding_backward");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &weight = saved[0], &ids = saved[1];
    at::Tensor kept = kept_gradient(weight);
    if (kept.defined()) {
      kept.index_add_(0, ids, gradients[0]);
      return variable_list(2);
    }
    return {at::embedding_dense_backward(gradients[0], ids, weight.size(0), -1, false), at::Tensor()};
  }
};

}  // namespace

extern "C" {

// One step of AdamW over `count` parameters, each list in their order. `step` counts from 1, a scalar in f32.
// `gradient_divisor`: null, or a scalar in f32 by which the gradients are divided first.
char* anytime_adamw(
    const at::Tensor* const* parameters,
    const at::Tensor* const* gradients,
    const at::Tensor* const* first,
    const at::Tensor* const* second,
    int64_t count,
    const at::Tensor* step,
    const at::Tensor* gradient_divisor,
    double learning_rate,
    double beta1,
    double beta2,
    double weight_decay,
    double epsilon) {
  return guarded([&] {
    const Recorded recorded("anytime::adamw");
    const c10::NoGradGuard no_graph;
    const std::vector<at::Tensor> steps(count, *step);
    at::_fused_adamw_(
        tensors(parameters, count, true),
        tensors(gradients, count, true),
        tensors(first, count, true),
        tensors(second, count, true),
        {},
        steps,
        learning_rate,
        beta1,
        beta2,
        weight_decay,
        epsilon,
        /*amsgrad=*/false,
        /*maximize=*/false,
        gradient_divisor == nullptr ? std::nullopt : std::optional<at::Tensor>(*gradient_divisor),
        std::nullopt);
  });
}

void anytime_drop_gradient(const at::Tensor* parameter) {
  parameter->mutable_grad().reset();
}

char* anytime_set_gradient(const at::Tensor* parameter, const at::Tensor* gradient) {
  return guarded([&] {
    require(parameter->sizes() == gradient->sizes(), "a gradient has the shape of its parameter");
    parameter->mutable_grad() = *gradient;
  });
}

char* anytime_backward(const at::Tensor* output, const at::Tensor* gradient) {
  return guarded([&] {
    const Recorded recorded("anytime::backward");
    torch::autograd::backward({*output}, {*gradient});
  });
}

// Without a graph.
char* anytime_product(const at::Tensor* input, const at::Tensor* weight, at::Tensor** output) {
  return guarded([&] {
    const Recorded recorded("anytime::product");
    const c10::NoGradGuard no_graph;
    *output = new at::Tensor(product(*input, *weight, std::nullopt));
  });
}

char* anytime_training_linear(
    const at::Tensor* input, const at::Tensor* weight, const at::Tensor* bias, at::Tensor** output) {
  return guarded([&] {
    *output = new at::Tensor(Linear::apply(
        *input, *weight, bias == nullptr ? std::nullopt : std::optional<at::Tensor>(*bias)));
  });
}

// As `AdaptedLinear` says; `bias` may be null.
char* anytime_adapted_linear(
    const at::Tensor* input,
    const at::Tensor* weight,
    const at::Tensor* bias,
    const at::Tensor* a,
    const at::Tensor* b,
    double scale,
    double dropout,
    int64_t seed,
    at::Tensor** output) {
  return guarded([&] {
    const std::optional<at::Tensor> optional_bias = bias == nullptr ? std::nullopt : std::optional<at::Tensor>(*bias);
    *output = new at::Tensor(AdaptedLinear::apply(*input, *weight, optional_bias, *a, *b, scale, dropout, seed));
  });
}

char* anytime_training_embedding(const at::Tensor* weight, const at::Tensor* ids, at::Tensor** output) {
  return guarded([&] { *output = new at::Tensor(Embedding::apply(*weight, *ids)); });
}

}  // extern "C"
