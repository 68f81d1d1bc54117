// Drawing a token from each row of logits on the CPU, without a tensor as wide as the vocabulary.
//
// A row is read twice: for its largest logit, and for the sums of exponentials of stretches of it. Sums of stretches are
// added in f64, because with 150,000 tokens the tail of an f32 sum would lose the tokens it is made of; then only the
// stretch that the uniform number falls into is looked at place by place.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "common.h"
#include "exponential.h"
#include "record.h"

namespace {

constexpr int64_t STRETCH = 256;

template <typename Element>
INLINE float scaled(Element logit, float temperature) {
  return static_cast<float>(logit) / temperature;
}

template <typename Element>
INLINE void draw_row(
    const Element* logits, int64_t width, float temperature, double uniform, std::vector<double>& sums, int64_t* id,
    double* log_prob) {
  float largest = -INFINITY;
  for (int64_t place = 0; place < width; place++) {
    const float logit = scaled(logits[place], temperature);
    largest = logit > largest ? logit : largest;
  }
  const int64_t stretches = (width + STRETCH - 1) / STRETCH;
  sums.resize(stretches);
  double total = 0.0;
  for (int64_t stretch = 0; stretch < stretches; stretch++) {
    const int64_t start = stretch * STRETCH;
    const int64_t end = std::min(start + STRETCH, width);
    float sum = 0.0f;
    for (int64_t place = start; place < end; place++) {
      sum += exponential(scaled(logits[place], temperature) - largest);
    }
    sums[stretch] = sum;
    total += sum;
  }

  // The first stretch whose end lies above the target, or the last one with any mass.
  const double target = uniform * total;
  double before = 0.0;
  double below = 0.0;
  int64_t hit = 0;
  for (int64_t stretch = 0; stretch < stretches; stretch++) {
    if (sums[stretch] > 0.0) {
      hit = stretch;
      below = before;
      if (before + sums[stretch] > target) {
        break;
      }
    }
    before += sums[stretch];
  }
  const int64_t start = hit * STRETCH;
  const int64_t count = std::min(STRETCH, width - start);
  float masses[STRETCH];
  double inside = 0.0;
  for (int64_t place = 0; place < count; place++) {
    masses[place] = exponential(scaled(logits[start + place], temperature) - largest);
    inside += masses[place];
  }
  // The share of the stretch's mass that lies below the target: both sums of it differ by rounding.
  const double share = sums[hit] > 0.0 ? (target - below) / sums[hit] : 0.0;
  const double target_inside = share * inside;
  double passed = 0.0;
  int64_t chosen = 0;
  for (int64_t place = 0; place < count; place++) {
    if (masses[place] > 0.0f) {
      chosen = place;
      passed += masses[place];
      if (passed > target_inside) {
        break;
      }
    }
  }
  *id = start + chosen;
  *log_prob = static_cast<double>(scaled(logits[start + chosen], temperature) - largest) - std::log(total);
}

template <typename Element>
struct Rows {
  const Element* logits;
  int64_t stride;
  const float* temperatures;
  const int64_t* widths;
  const double* uniforms;
  int64_t* ids;
  double* log_probs;
};

template <typename Element>
INLINE void draw_rows_of(const Rows<Element>& rows, int64_t begin, int64_t end) {
  std::vector<double> sums;
  for (int64_t row = begin; row < end; row++) {
    draw_row(
        rows.logits + row * rows.stride, rows.widths[row], rows.temperatures[row], rows.uniforms[row], sums,
        rows.ids + row, rows.log_probs + row);
  }
}

FOR_EACH_PROCESSOR void draw_rows(const Rows<float>& rows, int64_t begin, int64_t end) {
  draw_rows_of(rows, begin, end);
}

FOR_EACH_PROCESSOR void draw_rows(const Rows<at::BFloat16>& rows, int64_t begin, int64_t end) {
  draw_rows_of(rows, begin, end);
}

template <typename Element>
void draw(
    const at::Tensor& logits, const float* temperatures, const int64_t* widths, const double* uniforms, int64_t* ids,
    double* log_probs) {
  const Rows<Element> rows{
      logits.const_data_ptr<Element>(), logits.size(1), temperatures, widths, uniforms, ids, log_probs};
  at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) { draw_rows(rows, begin, end); });
}

}  // namespace

extern "C" {

// `logits` [rows, width] contiguous, f32 or bf16; of each row the first widths[row] places take part, at least one.
char* anytime_draw(
    const at::Tensor* logits, const float* temperatures, const int64_t* widths, const double* uniforms, int64_t* ids,
    double* log_probs) {
  return guarded([&] {
    const Recorded recorded("anytime::draw");
    if (!logits->is_contiguous() || logits->dim() != 2) {
      throw std::invalid_argument("drawing takes contiguous logits of two axes");
    }
    if (logits->scalar_type() == at::kFloat) {
      draw<float>(*logits, temperatures, widths, uniforms, ids, log_probs);
    } else if (logits->scalar_type() == at::kBFloat16) {
      draw<at::BFloat16>(*logits, temperatures, widths, uniforms, ids, log_probs);
    } else {
      throw std::invalid_argument("drawing takes f32 and bf16");
    }
  });
}

}  // extern "C"
