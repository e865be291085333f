// CUDA kernels of upfirdn2d, in one pass over memory.
//
// `four_taps` and `twelve_taps` are for the filters of networks and augmentations, `any_filter` for all others.
#include "four_taps.h"
#include "two_lines.h"

namespace custom_ops {
namespace {

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
  if (is_small && y.taps == 4 && x.taps == 4 && y.up == x.up && y.down == x.down) {
    if (x.up == 1 && x.down == 1) return four_taps<1, 1>(on, images, f);
    if (x.up == 2 && x.down == 1) return four_taps<2, 1>(on, images, f);
    if (x.up == 1 && x.down == 2) return four_taps<1, 2>(on, images, f);
  }
  if (is_small && (twelve_taps<1, 1>(on, images, f) || twelve_taps<2, 1>(on, images, f) ||
                   twelve_taps<1, 2>(on, images, f)))
    return;
  const int64_t total = images.samples * y.out * x.out * images.channels;
  start(any_filter<T>, ceil_divide(total, THREADS), on, images, f);
}

Tensor upfirdn2d(
    const Tensor& x, const Tensor& f_, int64_t up_x, int64_t up_y, int64_t down_x, int64_t down_y, int64_t left,
    int64_t right, int64_t top, int64_t bottom, double gain, bool flip) {
  const Tensor f = dense(f_, MemoryFormat::Contiguous);
  const bool is_double = f.scalar_type() == ScalarType::Double;
  const Filter filter{f.const_data_ptr(), is_double, f.dim() == 1, flip, gain, f.size(0), f.size(f.dim() - 1)};
  return resample(x, f, up_x, up_y, down_x, down_y, left, right, top, bottom, [&]<typename T>(const Images<T>& images) {
    run(x, images, filter);
  });
}

}  // namespace
}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CUDA, m) { m.impl("upfirdn2d", ENTRY(upfirdn2d)); }
