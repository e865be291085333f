// What the CUDA kernels of upfirdn2d share: the filter on the device, where outputs meet samples, and the launch.
#pragma once

#include "cuda.h"
#include "upfirdn2d.h"

namespace custom_ops {

constexpr int64_t MOST_BLOCKS = 1 << 20;

struct Filter {
  const void* taps;
  bool is_double, separable, flip;
  double gain;
  int64_t rows, columns;

  // As a filter that correlates.
  template <typename W>
  __device__ W at(int64_t row, int64_t column) const {
    const int64_t i = flip ? row : rows - 1 - row, j = flip ? column : columns - 1 - column;
    const W both = separable ? tap<W>(i) * tap<W>(j) : tap<W>(i * columns + j);
    return both * static_cast<W>(gain);
  }

  // Of a line: tap k of the filter that correlates.
  template <typename W>
  __device__ W of_line(int64_t k, double gain) const {
    return is_double ? turned_tap<W>(static_cast<const double*>(taps), k, columns, gain, flip)
                     : turned_tap<W>(static_cast<const float*>(taps), k, columns, gain, flip);
  }

  template <typename W>
  __device__ W tap(int64_t i) const {
    return static_cast<W>(is_double ? static_cast<const double*>(taps)[i] : static_cast<const float*>(taps)[i]);
  }
};

// Returns i % n and leaves i / n. Most numbers have 32 bits, whose division is much the faster.
__device__ inline int64_t divide(int64_t& i, int64_t n) {
  const bool small = ((i | n) >> 32) == 0;
  const int64_t q = small ? static_cast<uint32_t>(i) / static_cast<uint32_t>(n) : i / n;
  const int64_t rest = i - q * n;
  i = q;
  return rest;
}

// Where an output meets the samples, as `unbounded_reach` has it, for factors that are known and in 32 bits.
struct Meeting {
  int first, tap;
};

template <int UP, int DOWN>
HOST_DEVICE Meeting meeting(const Axis& axis, int o) {
  const int position = o * DOWN - static_cast<int>(axis.before);
  const int first = UP == 2 ? (position + 1) >> 1 : position;
  return {first, first * UP - position};
}

__device__ inline bool is_on(int place, int64_t length, int count = 1) {
  return place >= 0 && place <= static_cast<int>(length) - count;
}

template <typename T>
using Kernel = void (*)(Images<T>, Filter);

template <typename T>
void start(Kernel<T> kernel, int64_t blocks, const Tensor& on, const Images<T>& images, const Filter& f) {
  launch(kernel, std::min(blocks, MOST_BLOCKS), on, images, f);
}

}  // namespace custom_ops
