// Kernels of our own for a CUDA device, where libtorch would launch several. They are text: the device's own compiler
// makes them at run time (see `kernels.cpp`), so that neither a build nor a host without a device needs one. The same
// text is compiled as C++ too, with one thread in a block, and tests run that.
//
// Every parameter is eight bytes wide: a pointer, a whole number or a number in f64.

#ifdef __CUDACC_RTC__

#define KERNEL extern "C" __global__ void
#define HELPER __device__ __forceinline__
#define SHARED __shared__
#define THREAD static_cast<int>(threadIdx.x)
#define THREADS static_cast<int>(blockDim.x)
#define LANE static_cast<int>(threadIdx.x % 32)
#define LANES 32
#define BLOCK static_cast<Number>(blockIdx.x)
#define SYNCHRONISE __syncthreads()
#define EXP expf
#define LOG log
#define ROOT rsqrtf
#define NO_NUMBER __int_as_float(0xff800000)
#define UNROLL _Pragma("unroll 4")

#else

#define KERNEL static void
#define HELPER static inline
#define SHARED
#define THREAD 0
#define THREADS 1
#define LANE 0
#define LANES 1
#define BLOCK block_of_host
#define SYNCHRONISE static_cast<void>(0)
#define EXP std::exp
#define LOG std::log
#define ROOT(square) (1.0f / std::sqrt(square))
#define NO_NUMBER (-std::numeric_limits<float>::infinity())
#define UNROLL

// Which block the thread runs.
static thread_local long long block_of_host = 0;

#endif

using Number = long long;
using Half = unsigned short;
using Word = unsigned int;

// What a thread copies at a time: sixteen bytes, which are eight numbers.
struct alignas(16) Eight {
  Word words[4];
};

// A bf16 number is the upper half of an f32.
HELPER float wide(Half half) {
#ifdef __CUDACC_RTC__
  return __uint_as_float(static_cast<Word>(half) << 16);
#else
  const Word bits = static_cast<Word>(half) << 16;
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
#endif
}

// To the nearest, and to the even one of two.
HELPER Half narrow(float number) {
  if (number != number) {
    return 0x7fc0;
  }
#ifdef __CUDACC_RTC__
  const Word bits = __float_as_uint(number);
#else
  Word bits;
  std::memcpy(&bits, &number, sizeof(bits));
#endif
  return static_cast<Half>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// The sum over the lanes of a warp, on each of them.
HELPER float sum_of_lanes(float part) {
#ifdef __CUDACC_RTC__
  for (int step = 16; step > 0; step /= 2) {
    part += __shfl_xor_sync(0xffffffff, part, step);
  }
#endif
  return part;
}

HELPER float largest_of_lanes(float part) {
#ifdef __CUDACC_RTC__
  for (int step = 16; step > 0; step /= 2) {
    part = fmaxf(part, __shfl_xor_sync(0xffffffff, part, step));
  }
#endif
  return part;
}

// Turns queries and keys and stores keys and values: a token for each block, a head for each warp at a time.
//   projected [tokens, heads + 2 kv_heads, head_dim]; query_norm and key_norm [head_dim], or null; cosine and sine, signed,
//   [tokens, head_dim] f32; rows [tokens]; keys and values [rows, kv_heads, head_dim]; queries [tokens, heads, head_dim].
KERNEL rotate_and_store(
    const Half* projected, const Half* query_norm, const Half* key_norm, double epsilon, const float* cosine,
    const float* sine, const Number* rows, Half* keys, Half* values, Half* queries, Number heads, Number kv_heads,
    Number head_dim) {
  const Number token = BLOCK;
  const Number all = heads + 2 * kv_heads;
  const Number half = head_dim / 2;
  const Number row = rows[token];
  const float* turn = cosine + token * head_dim;
  const float* lean = sine + token * head_dim;
  for (Number head = THREAD / LANES; head < all; head += THREADS / LANES) {
    const Half* source = projected + (token * all + head) * head_dim;
    if (head >= heads + kv_heads) {
      Half* target = values + (row * kv_heads + head - heads - kv_heads) * head_dim;
      for (Number place = LANE; place < head_dim; place += LANES) {
        target[place] = source[place];
      }
      continue;
    }
    const bool is_query = head < heads;
    Half* target = is_query ? queries + (token * heads + head) * head_dim
                            : keys + (row * kv_heads + head - heads) * head_dim;
    const Half* norm = is_query ? query_norm : key_norm;
    float scale = 1.0f;
    if (norm != nullptr) {
      float squares = 0.0f;
      for (Number place = LANE; place < head_dim; place += LANES) {
        squares += wide(source[place]) * wide(source[place]);
      }
      const float mean = sum_of_lanes(squares) / static_cast<float>(head_dim);
      scale = ROOT(mean + static_cast<float>(epsilon));
    }
    for (Number place = LANE; place < half; place += LANES) {
      float first = wide(source[place]);
      float second = wide(source[place + half]);
      if (norm != nullptr) {
        // Rounded as normalising by itself rounds.
        first = wide(narrow(first * scale * wide(norm[place])));
        second = wide(narrow(second * scale * wide(norm[place + half])));
      }
      target[place] = narrow(first * turn[place] + second * lean[place]);
      target[place + half] = narrow(second * turn[place + half] + first * lean[place + half]);
    }
  }
}

HELPER float silu(float number) {
  return number / (1.0f + EXP(-number));
}

// silu(gate) * up of gate and up side by side: [tokens, 2 width] to [tokens, width]. Two numbers a thread, so that the
// width is even.
KERNEL gate(const Word* both, Word* output, Number tokens, Number width) {
  const Number pairs = width / 2;
  const Number index = BLOCK * THREADS + THREAD;
  if (index >= tokens * pairs) {
    return;
  }
  const Number token = index / pairs;
  const Number pair = index % pairs;
  const Word gates = both[token * width + pair];
  const Word ups = both[token * width + pairs + pair];
  Word result = 0;
  for (int side = 0; side < 2; side++) {
    const float turned_on = wide(static_cast<Half>(gates >> (16 * side)));
    const float up = wide(static_cast<Half>(ups >> (16 * side)));
    // Rounded between, as in training.
    const float open = wide(narrow(silu(turned_on)));
    result |= static_cast<Word>(narrow(open * up)) << (16 * side);
  }
  output[index] = result;
}

// Copies rows of tensors that are laid out alike, a copy within one tensor for each block: `addresses` of the tensors;
// for each copy three numbers in `copies`, the row that it begins at, the one that it goes to, and how many there are.
// A row has `eights` times sixteen bytes.
KERNEL copy_rows(const Number* addresses, const Number* copies, Number tensors, Number eights) {
  Eight* tensor = reinterpret_cast<Eight*>(addresses[BLOCK % tensors]);
  const Number* copy = copies + 3 * (BLOCK / tensors);
  const Eight* source = tensor + copy[0] * eights;
  Eight* target = tensor + copy[1] * eights;
  const Number count = copy[2] * eights;
  UNROLL
  for (Number index = THREAD; index < count; index += THREADS) {
    target[index] = source[index];
  }
}

// What all tokens have attended to, from two parts: sequences of one token, then longer ones; of the tokens of branches,
// which lie one behind the other, also from what they see of their prefixes, merged by the logarithms of the sums of
// exponentials.
//   one [ones, heads, head_dim] and one_sums [heads, ones] f32; longer and longer_sums alike, or null; seen
//   [branches * shared, kv_heads, head_dim] and seen_sums [kv_heads, branches * shared] f32, where the first token of a
//   branch is the token `first`; output [tokens, heads, head_dim]. A token for each block.
KERNEL merge(
    const Half* one, const float* one_sums, Number ones, const Half* longer, const float* longer_sums, Number longers,
    const Half* seen, const float* seen_sums, Number first, Number branches, Half* output, Number heads, Number kv_heads,
    Number head_dim) {
  const Number token = BLOCK;
  const Number shared = heads / kv_heads;
  const Number width = heads * head_dim;
  const bool is_one = token < ones;
  const Number place_of_token = is_one ? token : token - ones;
  const Number count = is_one ? ones : longers;
  const Half* own = (is_one ? one : longer) + place_of_token * width;
  const float* own_sums = (is_one ? one_sums : longer_sums) + place_of_token;
  Half* target = output + token * width;
  const Number branch = token - first;
  const bool is_branch = branch >= 0 && branch < branches;
  const Number rows = branches * shared;
  for (Number place = THREAD; place < width; place += THREADS) {
    if (!is_branch) {
      target[place] = own[place];
      continue;
    }
    const Number head = place / head_dim;
    const Number kv_head = head / shared;
    const Number row = branch * shared + head % shared;
    const float apart = seen_sums[kv_head * rows + row] - own_sums[head * count];
    const float share = 1.0f / (1.0f + EXP(-apart));
    const float of_own = wide(own[place]);
    const float of_seen = wide(seen[(row * kv_heads + kv_head) * head_dim + place % head_dim]);
    target[place] = narrow(share < 0.5f ? of_own + share * (of_seen - of_own)
                                        : of_seen - (of_seen - of_own) * (1.0f - share));
  }
}

// A stretch of neighbouring places is summed first, and only the one that is hit is looked at place by place.
#define STRETCH 256
#define MOST_STRETCHES 2048

// Draws a token from softmax(logits / temperature) of a row for each block: logits [rows, width] f32; for each row two
// numbers in `orders`, how many of its places take part and a uniform number in f64; `temperatures` in f64; `drawn` takes
// for each row the place, and the natural logarithm of its probability in f64.
KERNEL draw(const float* logits, Number width, const Number* places, const double* temperatures, const double* uniforms,
            Number* drawn, double* log_probs) {
  SHARED float sums[MOST_STRETCHES];
  SHARED float parts[32];
  SHARED float masses[STRETCH];
  SHARED float common;
  SHARED Number hit;
  SHARED double total, share;
  const Number row = BLOCK;
  const float* of_row = logits + row * width;
  const Number count = places[row] < width ? places[row] : width;
  const float temperature = static_cast<float>(temperatures[row]);

  // Whether all of them are numbers is part of the sums: with NaN or +∞ the logarithm is NaN.
  float largest = NO_NUMBER;
  for (Number place = THREAD; place < count; place += THREADS) {
    const float logit = of_row[place] / temperature;
    largest = logit > largest ? logit : largest;
  }
  largest = largest_of_lanes(largest);
  if (LANE == 0) {
    parts[THREAD / LANES] = largest;
  }
  SYNCHRONISE;
  if (THREAD == 0) {
    for (int warp = 0; warp < THREADS / LANES; warp++) {
      largest = parts[warp] > largest ? parts[warp] : largest;
    }
    common = largest;
  }
  SYNCHRONISE;
  largest = common;

  const Number stretches = (count + STRETCH - 1) / STRETCH;
  for (Number stretch = THREAD / LANES; stretch < stretches; stretch += THREADS / LANES) {
    const Number start = stretch * STRETCH;
    const Number end = start + STRETCH < count ? start + STRETCH : count;
    float sum = 0.0f;
    for (Number place = start + LANE; place < end; place += LANES) {
      sum += EXP(of_row[place] / temperature - largest);
    }
    sum = sum_of_lanes(sum);
    if (LANE == 0) {
      sums[stretch] = sum;
    }
  }
  SYNCHRONISE;
  if (THREAD == 0) {
    // In f64: with 150,000 tokens the tail of an f32 sum would lose the tokens it is made of.
    double all = 0.0;
    for (Number stretch = 0; stretch < stretches; stretch++) {
      all += sums[stretch];
    }
    const double target = uniforms[row] * all;
    double before = 0.0;
    double below = 0.0;
    // The first stretch whose end lies above the target, or the last one with any mass.
    Number found = 0;
    for (Number stretch = 0; stretch < stretches; stretch++) {
      if (sums[stretch] > 0.0f) {
        found = stretch;
        below = before;
        if (before + sums[stretch] > target) {
          break;
        }
      }
      before += sums[stretch];
    }
    hit = found;
    total = all;
    share = sums[found] > 0.0f ? (target - below) / sums[found] : 0.0;
  }
  SYNCHRONISE;
  const Number start = hit * STRETCH;
  const Number inside = STRETCH < count - start ? STRETCH : count - start;
  for (Number place = THREAD; place < inside; place += THREADS) {
    masses[place] = EXP(of_row[start + place] / temperature - largest);
  }
  SYNCHRONISE;
  if (THREAD == 0) {
    double mass = 0.0;
    for (Number place = 0; place < inside; place++) {
      mass += masses[place];
    }
    // By the share, because both sums of the stretch differ by rounding.
    const double target = share * mass;
    double passed = 0.0;
    Number chosen = 0;
    for (Number place = 0; place < inside; place++) {
      if (masses[place] > 0.0f) {
        chosen = place;
        passed += masses[place];
        if (passed > target) {
          break;
        }
      }
    }
    drawn[row] = start + chosen;
    log_probs[row] = static_cast<double>(of_row[start + chosen] / temperature - largest) - LOG(total);
  }
}
