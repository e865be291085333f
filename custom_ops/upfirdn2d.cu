// CUDA kernels of upfirdn2d, in one pass over memory: `four_taps` for the filters of networks, `any_filter` for others.
#include "cuda.h"
#include "upfirdn2d.h"

namespace custom_ops {
namespace {

constexpr int64_t MOST_BLOCKS = 1 << 20;

struct Filter {
  const float* taps;
  bool separable, flip;
  double gain;
  int64_t rows, columns;

  // A tap of the filter as a correlation.
  template <typename W>
  __device__ W at(int64_t row, int64_t column) const {
    const int64_t i = flip ? row : rows - 1 - row, j = flip ? column : columns - 1 - column;
    return (separable ? W(taps[i]) * W(taps[j]) : W(taps[i * columns + j])) * W(gain);
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

__device__ inline bool is_on(int64_t place, int64_t length, int count = 1) {
  return place >= 0 && place <= length - count;
}

// 4 x 4 taps that double, halve or keep the size. A thread computes a strip of ROWS outputs, one below the other.
constexpr int ROWS = 4;

// load(i, j) reads V numbers of sample j of row i, of IN rows. All rows are loaded before the first is used.
template <int UP, int DOWN, int IN, int V, typename W, typename Load>
__device__ void sum_strip(W (&sums)[ROWS][V], const W (*taps)[4], int64_t first_tap, const Load& load) {
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
#pragma unroll
    for (int v = 0; v < V; ++v) sums[r][v] = 0;
#pragma unroll
  for (int j = 0; j < 4 / UP; ++j) {
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

template <typename T, int V, int UP, int DOWN>
__global__ void __launch_bounds__(THREADS) strips(Images<T> images, Filter f) {
  using W = Wide<T>;
  constexpr int SEEN = 4 / UP;                                           // samples per output and direction
  constexpr int IN = UP == 2 ? ROWS / 2 + 1 : (ROWS - 1) * DOWN + SEEN;  // rows of samples for the strip
  __shared__ W taps[4][4];
  if (threadIdx.x < 16) taps[threadIdx.x / 4][threadIdx.x % 4] = f.at<W>(threadIdx.x / 4, threadIdx.x % 4);
  __syncthreads();
  Axis vertical = images.vertical, horizontal = images.horizontal;
  vertical.up = horizontal.up = UP, vertical.down = horizontal.down = DOWN, vertical.taps = horizontal.taps = 4;
  const Strips rows(vertical, ROWS);
  const int64_t C = images.channels, line = horizontal.in * C, out_line = horizontal.out * C;
  const int64_t total = images.samples * rows.count * horizontal.out * (C / V);
  for (int64_t n = blockIdx.x * int64_t(THREADS) + threadIdx.x; n < total; n += gridDim.x * int64_t(THREADS)) {
    int64_t sample = n;
    const int64_t c = divide(sample, C / V) * V;
    const int64_t column = divide(sample, horizontal.out), row = rows.first(divide(sample, rows.count));
    const Reach x = unbounded_reach(horizontal, column);
    const int64_t top = unbounded_reach(vertical, row).first;
    const T* from = images.x + (sample * vertical.in + top) * line + x.first * C + c;
    W sums[ROWS][V];
    if (is_on(top, vertical.in, IN) && is_on(x.first, horizontal.in, SEEN)) {
      sum_strip<UP, DOWN, IN>(sums, taps, x.tap, [&](int i, int j) { return read<V>(from + i * line + j * C); });
    } else {
      sum_strip<UP, DOWN, IN>(sums, taps, x.tap, [&](int i, int j) {
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
      write<V>(to + r * out_line, pack);
    }
  }
}

template <typename T>
void start(
    void (*kernel)(Images<T>, Filter), int64_t threads, const Tensor& on, const Images<T>& images, const Filter& f) {
  launch(kernel, std::min(ceil_divide(threads, THREADS), MOST_BLOCKS), on, images, f);
}

template <int UP, int DOWN, typename T>
void four_taps(const Tensor& on, const Images<T>& images, const Filter& f) {
  const int64_t C = images.channels, each = Strips(images.vertical, ROWS).count;
  const bool wide = is_wide<T>(C, images.x, images.y);
  const int64_t threads = images.samples * each * images.horizontal.out * (wide ? C / WIDTH<T> : C);
  start(wide ? strips<T, WIDTH<T>, UP, DOWN> : strips<T, 1, UP, DOWN>, threads, on, images, f);
}

template <typename T>
__global__ void __launch_bounds__(THREADS) any_filter(Images<T> images, Filter f) {
  using W = Wide<T>;
  const Axis vertical = images.vertical, horizontal = images.horizontal;
  const int64_t C = images.channels, total = images.samples * vertical.out * horizontal.out * C;
  for (int64_t i = blockIdx.x * int64_t(THREADS) + threadIdx.x; i < total; i += gridDim.x * int64_t(THREADS)) {
    int64_t sample = i;
    const int64_t c = divide(sample, C), column = divide(sample, horizontal.out), row = divide(sample, vertical.out);
    const Reach y = reach(vertical, row), x = reach(horizontal, column);
    W sum = 0;
    for (int64_t a = 0; a < y.count; ++a) {
      const T* line = images.x + ((sample * vertical.in + y.first + a) * horizontal.in + x.first) * C + c;
      for (int64_t b = 0; b < x.count; ++b)
        sum += f.at<W>(y.tap + a * vertical.up, x.tap + b * horizontal.up) * widen(line[b * C]);
    }
    images.y[i] = narrow<T>(sum);
  }
}

template <typename T>
void run(const Tensor& on, const Images<T>& images, const Filter& f) {
  const Axis &y = images.vertical, &x = images.horizontal;
  const int64_t extent = std::max({y.in, y.out, x.in, x.out, std::abs(y.before), std::abs(x.before)});
  const bool is_small = extent < INT32_MAX / 8;
  if (is_small && y.taps == 4 && x.taps == 4) {
    if (x.up == 1 && x.down == 1) return four_taps<1, 1>(on, images, f);
    if (x.up == 2 && x.down == 1) return four_taps<2, 1>(on, images, f);
    if (x.up == 1 && x.down == 2) return four_taps<1, 2>(on, images, f);
  }
  const int64_t total = images.samples * y.out * x.out * images.channels;
  start(any_filter<T>, total, on, images, f);
}

Tensor upfirdn2d(
    const Tensor& x, const Tensor& f_, int64_t up, int64_t down, int64_t left, int64_t right, int64_t top,
    int64_t bottom, double gain, bool flip) {
  const Tensor f = dense(f_, MemoryFormat::Contiguous);
  const Filter filter{f.const_data_ptr<float>(), f.dim() == 1, flip, gain, f.size(0), f.size(f.dim() - 1)};
  return resample(x, f, up, down, left, right, top, bottom, [&]<typename T>(const Images<T>& images) {
    run(x, images, filter);
  });
}

}  // namespace
}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CUDA, m) { m.impl("upfirdn2d", TORCH_BOX(&custom_ops::upfirdn2d)); }
