// Shared by the CUDA kernels of upfirdn2d: the filter, the samples that an output uses, and the launch.
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

  // A tap of the filter as a correlation.
  template <typename W>
  __device__ W at(int64_t row, int64_t column) const {
    const int64_t i = flip ? row : rows - 1 - row, j = flip ? column : columns - 1 - column;
    const W both = separable ? tap<W>(i) * tap<W>(j) : tap<W>(i * columns + j);
    return both * static_cast<W>(gain);
  }

  // Tap k of a line, as a correlation.
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

// Returns i % n and sets i to i / n. Most numbers fit into 32 bits, whose division is much faster.
__device__ inline int64_t divide(int64_t& i, int64_t n) {
  const bool small = ((i | n) >> 32) == 0;
  const int64_t q = small ? static_cast<uint32_t>(i) / static_cast<uint32_t>(n) : i / n;
  const int64_t rest = i - q * n;
  i = q;
  return rest;
}

// The first sample and tap of an output, as in `unbounded_reach`, for constant factors and in 32 bits.
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
