// An exponential that compilers turn into vector code.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "common.h"

// e^x for x <= 0, to 2 units in the last place; 0 below -87, where f32 ends.
INLINE float exponential(float exponent) {
  float x = exponent < -87.0f ? -87.0f : exponent;
  const float whole = std::floor(x * 1.44269504088896341f + 0.5f);
  x -= whole * 0.693359375f;
  x -= whole * -2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * x + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 5.0000001201e-1f;
  y = y * x * x + x + 1.0f;
  const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  return exponent < -87.0f ? 0.0f : y * power;
}
