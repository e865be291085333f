// CUDA kernel of the networks' filters: 4 x 4 taps that double, halve or keep the size.
//
// A thread computes a few outputs one below the other, for 16 bytes of channels. It reads each sample once.
#pragma once

#include "fir.h"

namespace custom_ops {

constexpr int ROWS = 4;  // outputs per thread, one below the other

// The sums of one thread's outputs, a strip of ROWS rows. Coordinates have 32 bits, addresses 64.
template <int UP, int DOWN>
struct Strip {
  static constexpr int SEEN = 4 / UP;                                           // samples per output and direction
  static constexpr int IN = UP == 2 ? ROWS / 2 + 1 : (ROWS - 1) * DOWN + SEEN;  // rows of samples for the strip

  // load(i, j) reads V numbers of sample j of row i. All rows are loaded before the first is used.
  template <int V, typename W, typename Load>
  static __device__ void sum(W (&sums)[ROWS][V], const W (*taps)[4], int first_tap, const Load& load) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int v = 0; v < V; ++v) sums[r][v] = 0;
#pragma unroll
    for (int j = 0; j < SEEN; ++j) {
      decltype(load(0, 0)) seen[IN];
#pragma unroll
      for (int i = 0; i < IN; ++i) seen[i] = load(i, j);
#pragma unroll
      for (int i = 0; i < IN; ++i)
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
          // The tap of output r for row i.
          const int k = UP == 1 ? i - r * DOWN : (r % 2 ? 0 : 1) + 2 * (i - r / 2);
          if (k < 0 || k >= 4) continue;
          const W tap = taps[k][first_tap + j * UP];
#pragma unroll
          for (int v = 0; v < V; ++v) sums[r][v] += tap * widen(seen[i].at[v]);
        }
    }
  }
};

template <typename W>
__device__ void share_taps(W (*taps)[4], const Filter& f) {
  if (threadIdx.x < 16) taps[threadIdx.x / 4][threadIdx.x % 4] = f.at<W>(threadIdx.x / 4, threadIdx.x % 4);
  __syncthreads();
}

// As `write`, but the compiler cannot split it into several stores.
template <typename T, int V>
__device__ void write_at_once(T* to, const Pack<T, V>& pack) {
  typename Bytes<sizeof pack>::type bytes;
  memcpy(&bytes, &pack, sizeof bytes);
  __stwb(reinterpret_cast<decltype(bytes)*>(to), bytes);
}

template <typename T, int V, int UP, int DOWN>
__global__ void __launch_bounds__(THREADS) strips(Images<T> images, Filter f) {
  using W = Wide<T>;
  using S = Strip<UP, DOWN>;
  __shared__ W taps[4][4];
  share_taps(taps, f);
  const Axis vertical = images.vertical, horizontal = images.horizontal;
  const Strips rows(vertical, ROWS);
  const int64_t C = images.channels, line = horizontal.in * C, out_line = horizontal.out * C;
  const int64_t total = images.samples * rows.count * horizontal.out * (C / V);
  for (int64_t n = blockIdx.x * int64_t(THREADS) + threadIdx.x; n < total; n += gridDim.x * int64_t(THREADS)) {
    int64_t sample = n;
    const int64_t c = divide(sample, C / V) * V;
    const int column = static_cast<int>(divide(sample, horizontal.out));
    const int row = static_cast<int>(rows.first(divide(sample, rows.count)));
    const Meeting x = meeting<UP, DOWN>(horizontal, column);
    const int top = meeting<UP, DOWN>(vertical, row).first;
    const T* from = images.x + (sample * vertical.in + top) * line + x.first * C + c;
    W sums[ROWS][V];
    if (is_on(top, vertical.in, S::IN) && is_on(x.first, horizontal.in, S::SEEN)) {
      S::template sum<V>(sums, taps, x.tap, [&](int i, int j) { return read<V>(from + i * line + j * C); });
    } else {
      S::template sum<V>(sums, taps, x.tap, [&](int i, int j) {
        Pack<T, V> pack{};
        if (is_on(top + i, vertical.in) && is_on(x.first + j, horizontal.in)) pack = read<V>(from + i * line + j * C);
        return pack;
      });
    }
    T* to = images.y + (sample * vertical.out + row) * out_line + column * C + c;
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      if (!is_on(row + r, vertical.out)) continue;
      Pack<T, V> pack;
#pragma unroll
      for (int v = 0; v < V; ++v) pack.at[v] = narrow<T>(sums[r][v]);
      write_at_once(to + r * out_line, pack);
    }
  }
}

template <int UP, int DOWN, typename T>
void four_taps(const Tensor& on, const Images<T>& images, const Filter& f) {
  const int64_t C = images.channels, each = Strips(images.vertical, ROWS).count;
  const int64_t threads = images.samples * each * images.horizontal.out * C;
  if (is_wide<T>(C, images.x, images.y))
    return start(strips<T, WIDTH<T>, UP, DOWN>, ceil_divide(threads / WIDTH<T>, THREADS), on, images, f);
  start(strips<T, 1, UP, DOWN>, ceil_divide(threads, THREADS), on, images, f);
}

}  // namespace custom_ops
