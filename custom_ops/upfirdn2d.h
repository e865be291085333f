// The geometry of resampling, and the checks before the kernels. The first tap of output o is at position o * down -
// before of the upsampled axis. Every up-th tap is used, for sample (position + tap) / up.
#pragma once

#include "tensor.h"

namespace custom_ops {

struct Axis {
  int64_t in, out;   // samples before and after
  int64_t up, down;  // factors
  int64_t before;    // zeros in front of the first sample; negative crops
  int64_t taps;
};

// a / b for b > 0, rounded towards minus infinity.
HOST_DEVICE int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return a % b < 0 ? q - 1 : q;
}

HOST_DEVICE int64_t ceil_divide(int64_t a, int64_t b) {
  return -floor_divide(-a, b);
}

// The samples of one output: first, first + 1, ... (`count` of them), with taps tap, tap + up, ...
struct Reach {
  int64_t first, count, tap;
};

// As if the axis had infinitely many zeros on both sides.
HOST_DEVICE Reach unbounded_reach(const Axis& axis, int64_t o) {
  const int64_t position = o * axis.down - axis.before;
  const int64_t first = ceil_divide(position, axis.up);
  const int64_t tap = first * axis.up - position;  // in [0, up)
  return {first, tap < axis.taps ? (axis.taps - 1 - tap) / axis.up + 1 : 0, tap};
}

// Only samples inside the image.
HOST_DEVICE Reach reach(const Axis& axis, int64_t o) {
  Reach r = unbounded_reach(axis, o);
  const int64_t missing = r.first < 0 ? -r.first : 0;
  const int64_t end = r.first + r.count < axis.in ? r.first + r.count : axis.in;
  r.first += missing;
  r.tap += missing * axis.up;
  r.count = end > r.first ? end - r.first : 0;
  return r;
}

// Strips of `rows` rows of outputs that are computed together; `rows` is even. For up = 2 the first row uses odd taps,
// so that rows 2 n and 2 n + 1 of a strip use the same samples. Rows outside of the image are not computed.
struct Strips {
  int64_t rows, offset, count;

  HOST_DEVICE Strips(const Axis& axis, int64_t rows)
      : rows(rows), offset(axis.up == 2 && axis.before % 2 == 0), count(ceil_divide(axis.out + offset, rows)) {}
  HOST_DEVICE int64_t first(int64_t strip) const { return strip * rows - offset; }
};

// Images in memory order [samples, height, width, channels]. A contiguous tensor [N, C, H, W] is N * C samples of one
// channel.
template <typename T>
struct Images {
  const T* x;
  T* y;
  int64_t samples, channels;
  Axis vertical, horizontal;
};

// Checks the arguments of the operator, allocates its result and calls compute(Images<T>).
template <typename Compute>
Tensor resample(
    const Tensor& x_, const Tensor& f, int64_t up, int64_t down, int64_t left, int64_t right, int64_t top,
    int64_t bottom, const Compute& compute) {
  const bool is_filter = (f.dim() == 1 || f.dim() == 2) && f.numel() > 0 && f.scalar_type() == ScalarType::Float;
  STD_TORCH_CHECK(
      x_.dim() == 4 && is_filter && x_.device() == f.device() && up > 0 && down > 0,
      "upfirdn2d takes images [N, C, H, W], float32 taps [taps] or [rows, columns] on their device, and factors >= 1");
  const MemoryFormat format = format_of(x_);
  const Tensor x = dense(x_, format);
  const int64_t N = x.size(0), C = x.size(1);
  Axis vertical{x.size(2), 0, up, down, top, f.size(0)};
  Axis horizontal{x.size(3), 0, up, down, left, f.size(f.dim() - 1)};
  vertical.out = ceil_divide(vertical.in * up + top + bottom - vertical.taps + 1, down);
  horizontal.out = ceil_divide(horizontal.in * up + left + right - horizontal.taps + 1, down);
  STD_TORCH_CHECK(vertical.out > 0 && horizontal.out > 0, "the filter does not fit into the padded image");
  const Tensor y = empty({N, C, vertical.out, horizontal.out}, x, format);
  if (y.numel() == 0) return y;
  const bool last = format == MemoryFormat::ChannelsLast;
  with_floating(x.scalar_type(), [&]<typename T>() {
    const int64_t samples = last ? N : N * C, channels = last ? C : 1;
    compute(Images<T>{x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), samples, channels, vertical, horizontal});
  });
  return y;
}

}  // namespace custom_ops
