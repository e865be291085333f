// CUDA kernel of separable filters of 12 taps, the wavelet of augmentations: first vertically, then horizontally, in
// shared memory. It takes 24 products per output instead of the matrix's 144.
#pragma once

#include "fir.h"

namespace custom_ops {

// The size of the outputs that a block computes, and of the input in its shared memory.
template <int UP, int DOWN>
struct Lines {
  static constexpr int TAPS = 12;
  static constexpr int MET = TAPS / UP;  // samples per output and direction
  static constexpr int COLUMNS = WARP, ROWS = DOWN == 2 ? 16 : 32;  // of the output
  static constexpr int IN_X = ((COLUMNS - 1) * DOWN + TAPS - 1) / UP + 1;
  static constexpr int IN_Y = ((ROWS - 1) * DOWN + TAPS - 1) / UP + 1;
  static constexpr int HALF = (IN_X + 1) / 2 + 1;
  static constexpr int PITCH = DOWN == 2 ? 2 * HALF : IN_X;
  static constexpr int64_t MOST_CHANNELS = 4;  // with more, other kernels are faster

  // Threads side by side read numbers side by side: for DOWN = 2, even columns are stored before odd columns.
  static HOST_DEVICE int place(int column) { return DOWN == 2 ? column % 2 * HALF + column / 2 : column; }

  static bool serves(const Axis& axis) { return axis.taps == TAPS && axis.up == UP && axis.down == DOWN; }
};

// Each channel separately. Barriers separate filling `input`, filtering it into `middle`, and filtering `middle`. What
// one stage reads is overwritten two barriers later.
template <typename T, int UP, int DOWN>
__global__ void __launch_bounds__(THREADS) two_lines(Images<T> images, Filter f) {
  using W = Wide<T>;
  using L = Lines<UP, DOWN>;
  __shared__ W down[L::TAPS];
  __shared__ W along[L::TAPS];
  __shared__ W input[L::IN_Y][L::IN_X];
  __shared__ W middle[L::ROWS][L::PITCH];
  if (threadIdx.x < L::TAPS) {
    down[threadIdx.x] = f.of_line<W>(threadIdx.x, 1.0);
    along[threadIdx.x] = f.of_line<W>(threadIdx.x, f.gain);
  }
  const Axis vertical = images.vertical, horizontal = images.horizontal;
  const int64_t C = images.channels;
  const int64_t tiles_x = ceil_divide(horizontal.out, L::COLUMNS), tiles_y = ceil_divide(vertical.out, L::ROWS);
  for (int64_t n = blockIdx.x; n < images.samples * C * tiles_y * tiles_x; n += gridDim.x) {
    int64_t sample = n;
    const int left = static_cast<int>(divide(sample, tiles_x)) * L::COLUMNS;
    const int top = static_cast<int>(divide(sample, tiles_y)) * L::ROWS;
    const int64_t c = divide(sample, C);
    const int x0 = meeting<UP, DOWN>(horizontal, left).first;
    const int y0 = meeting<UP, DOWN>(vertical, top).first;
    const T* from = images.x + sample * vertical.in * horizontal.in * C + c;
    for (int i = threadIdx.x; i < L::IN_Y * L::IN_X; i += THREADS) {
      const int y = y0 + i / L::IN_X, x = x0 + i % L::IN_X;
      const bool exists = is_on(y, vertical.in) && is_on(x, horizontal.in);
      input[i / L::IN_X][i % L::IN_X] = exists ? widen(from[(y * horizontal.in + x) * C]) : W(0);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < L::ROWS * L::IN_X; i += THREADS) {
      const int row = i / L::IN_X, x = i % L::IN_X;
      const Meeting y = meeting<UP, DOWN>(vertical, top + row);
      W sum = 0;
#pragma unroll
      for (int m = 0; m < L::MET; ++m) sum += down[y.tap + m * UP] * input[y.first - y0 + m][x];
      middle[row][L::place(x)] = sum;
    }
    __syncthreads();
    T* to = images.y + sample * vertical.out * horizontal.out * C + c;
    for (int i = threadIdx.x; i < L::ROWS * L::COLUMNS; i += THREADS) {
      const int row = i / L::COLUMNS, column = left + i % L::COLUMNS;
      if (!is_on(top + row, vertical.out) || !is_on(column, horizontal.out)) continue;
      const Meeting x = meeting<UP, DOWN>(horizontal, column);
      W sum = 0;
#pragma unroll
      for (int m = 0; m < L::MET; ++m) sum += along[x.tap + m * UP] * middle[row][L::place(x.first - x0 + m)];
      to[((top + row) * horizontal.out + column) * C] = narrow<T>(sum);
    }
  }
}

// Starts `two_lines` if it supports the filter; returns whether it does.
template <int UP, int DOWN, typename T>
bool twelve_taps(const Tensor& on, const Images<T>& images, const Filter& f) {
  using L = Lines<UP, DOWN>;
  const Axis &y = images.vertical, &x = images.horizontal;
  if (!f.separable || !L::serves(y) || !L::serves(x) || images.channels > L::MOST_CHANNELS) return false;
  const int64_t tiles = ceil_divide(x.out, L::COLUMNS) * ceil_divide(y.out, L::ROWS);
  start(two_lines<T, UP, DOWN>, images.samples * images.channels * tiles, on, images, f);
  return true;
}

}  // namespace custom_ops
