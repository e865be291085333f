// CPU kernels of scale_bias_act. Every inner loop is plain and runs along memory: over the channels of a pixel if
// channels are neighbors, otherwise over the pixels of a channel.
#include "scale_bias_act.h"

#include <algorithm>
#include <vector>

namespace custom_ops {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // numbers per thread, at least
constexpr int64_t FEW = 32;         // channels: fewer do not fill vector registers

// Few channels of k pixels are processed like many channels of one pixel, unless noise belongs to pixels.
int64_t pixels_at_once(const Layout& l, bool by_pixel) {
  int64_t k = 1;
  while (l.last && !by_pixel && k * l.channels < FEW && l.pixels % (2 * k) == 0) k *= 2;
  return k;
}

Layout folded(const Layout& l, int64_t k) {
  return {l.samples, l.channels * k, l.pixels / k, l.last};
}

// Rows of C numbers, each repeated k times. Filled with `absent` if `from` is null.
template <typename S>
std::vector<S> repeated(const S* from, int64_t rows, int64_t C, int64_t k, S absent) {
  std::vector<S> all(rows * k * C, absent);
  for (int64_t i = 0; from && i < rows * k; ++i) std::copy_n(from + i / k * C, C, all.data() + i * C);
  return all;
}

template <typename T, bool FIRST, bool SECOND, typename Finish>
void along_channels(const Sum<T>& in, int64_t begin, int64_t end, const Finish finish) {
  using S = Wide<T>;
  const int64_t C = in.layout.channels, P = in.layout.pixels;
  for (int64_t q = begin, n = begin / P; q < end; ++n) {
    const S *scale = in.scale + n * C, *scale2 = in.scale2 + n * C, *b = in.b;
    const S* noise = in.noise ? in.noise - (in.one_noise ? n * P : 0) : nullptr;
    for (const int64_t stop = std::min(end, (n + 1) * P); q < stop; ++q) {
      const T *x = in.x + q * C, *x2 = in.x2 + q * C, *y = in.y + q * C;
      T* out = in.out + q * C;
      const S shift = noise ? noise[q] : S(0);
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) {
        S u = b[c] + shift;
        if constexpr (FIRST) u += widen(x[c]) * scale[c];
        if constexpr (SECOND) u += widen(x2[c]) * scale2[c];
        out[c] = narrow<T>(finish(u, y[c]));
      }
    }
  }
}

template <typename T, bool FIRST, bool SECOND, bool NOISE, typename Finish>
void along_pixels(const Sum<T>& in, int64_t begin, int64_t end, const Finish finish) {
  using S = Wide<T>;
  const int64_t C = in.layout.channels, P = in.layout.pixels;
  for (int64_t i = begin, row = begin / P; i < end; ++row) {
    const S scale = in.scale[row], scale2 = in.scale2[row], b = in.b[row % C];
    const S* noise = NOISE ? in.noise + (in.one_noise ? 0 : row / C * P) + (i - row * P) : nullptr;
    const T *x = in.x + i, *x2 = in.x2 + i, *y = in.y + i;
    T* out = in.out + i;
    const int64_t count = std::min(end, (row + 1) * P) - i;
#pragma omp simd
    for (int64_t p = 0; p < count; ++p) {
      S u = b;
      if constexpr (NOISE) u += noise[p];
      if constexpr (FIRST) u += widen(x[p]) * scale;
      if constexpr (SECOND) u += widen(x2[p]) * scale2;
      out[p] = narrow<T>(finish(u, y[p]));
    }
    i += count;
  }
}

template <bool FIRST, bool SECOND, typename T, typename Finish>
void run(Sum<T> in, const Finish& finish) {
  using S = Wide<T>;
  const int64_t N = in.layout.samples, C = in.layout.channels, k = pixels_at_once(in.layout, in.noise);
  const auto scale = repeated(in.scale, N, C, k, S(1)), scale2 = repeated(in.scale2, N, C, k, S(1));
  const auto b = repeated(in.b, 1, C, k, S(0));
  if constexpr (!FIRST) in.x = in.y;
  if constexpr (!SECOND) in.x2 = in.y;
  in.scale = scale.data(), in.scale2 = scale2.data(), in.b = b.data();
  const Layout l = in.layout = folded(in.layout, k);
  if (l.last) {
    const int64_t grain = std::max<int64_t>(1, GRAIN / l.channels);
    torch::stable::parallel_for(0, N * l.pixels, grain, [&](int64_t begin, int64_t end) {
      along_channels<T, FIRST, SECOND>(in, begin, end, finish);
    });
  } else {
    torch::stable::parallel_for(0, l.numel(), GRAIN, [&](int64_t begin, int64_t end) {
      if (in.noise) {
        along_pixels<T, FIRST, SECOND, true>(in, begin, end, finish);
      } else {
        along_pixels<T, FIRST, SECOND, false>(in, begin, end, finish);
      }
    });
  }
}

// A task is a run of pixels of one sample, with all channels. Tasks depend on sizes only, so sums do not depend on the
// number of threads.
struct Tasks {
  int64_t step, each;  // pixels in a task, tasks in a sample

  explicit Tasks(const Layout& l) {
    step = std::max<int64_t>(1, l.last ? GRAIN / l.channels : GRAIN / 2);
    each = (l.pixels + step - 1) / step;
  }
};

// Adds the contribution of pixels [begin, end) of sample n to `products` and `sums` [C].
template <bool PRODUCTS, bool SUMS, bool MAP, typename T>
void backward_along_channels(
    const Sums<T>& in, const Curve<T> curve, int64_t n, int64_t begin, int64_t end, Wide<T>* products,
    Wide<T>* sums) {
  using S = Wide<T>;
  const int64_t C = in.layout.channels, P = in.layout.pixels;
  const S* scale = in.scale + n * C;
  for (int64_t q = n * P + begin; q < n * P + end; ++q) {
    const T *dy = in.dy + q * C, *y = in.y + q * C, *x = in.x + q * C;
    T* dx = in.dx + q * C;
    S total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t c = 0; c < C; ++c) {
      const S d = widen(dy[c]) * curve.slope(widen(y[c]));
      dx[c] = narrow<T>(d * scale[c]);
      if constexpr (PRODUCTS) products[c] += d * widen(x[c]);
      if constexpr (SUMS) sums[c] += d;
      if constexpr (MAP) total += d;
    }
    if constexpr (MAP) in.dnoise[q] = total;
  }
}

template <bool PRODUCTS, bool SUMS, bool MAP, typename T>
void backward_along_pixels(
    const Sums<T>& in, const Curve<T> curve, int64_t n, int64_t begin, int64_t end, Wide<T>* products,
    Wide<T>* sums) {
  using S = Wide<T>;
  const int64_t C = in.layout.channels, P = in.layout.pixels;
  S* map = MAP ? in.dnoise + n * P + begin : nullptr;
  const int64_t count = end - begin;
  if constexpr (MAP) std::fill_n(map, count, S(0));
  for (int64_t c = 0; c < C; ++c) {
    const int64_t at = (n * C + c) * P + begin;
    const T *dy = in.dy + at, *y = in.y + at, *x = in.x + at;
    T* dx = in.dx + at;
    const S scale = in.scale[n * C + c];
    S product = 0, sum = 0;
#pragma omp simd reduction(+ : product, sum)
    for (int64_t p = 0; p < count; ++p) {
      const S d = widen(dy[p]) * curve.slope(widen(y[p]));
      dx[p] = narrow<T>(d * scale);
      if constexpr (PRODUCTS) product += d * widen(x[p]);
      if constexpr (SUMS) sum += d;
      if constexpr (MAP) map[p] += d;
    }
    if constexpr (PRODUCTS) products[c] = product;
    if constexpr (SUMS) sums[c] = sum;
  }
}

// Joins the sums of all tasks, [tasks, 2, C], in their order. Channels repeat k times.
template <typename S>
void join(const std::vector<S>& parts, const Tasks& tasks, int64_t N, int64_t C, int64_t k, S* dscale, S* db) {
  std::vector<double> product(C), sum(C);
  for (int64_t n = 0; n < N; ++n) {
    std::fill(product.begin(), product.end(), 0.0);
    for (int64_t row = n * tasks.each * 2 * k; row < (n + 1) * tasks.each * 2 * k; ++row) {
      std::vector<double>& total = row / k % 2 ? sum : product;
      for (int64_t c = 0; c < C; ++c) total[c] += parts[row * C + c];
    }
    if (dscale) std::copy(product.begin(), product.end(), dscale + n * C);
  }
  if (db) std::copy(sum.begin(), sum.end(), db);
}

template <bool PRODUCTS, bool SUMS, bool MAP, typename T>
void run_backward(Sums<T> in, const Curve<T>& curve) {
  using S = Wide<T>;
  const int64_t N = in.layout.samples, C = in.layout.channels, k = pixels_at_once(in.layout, MAP);
  const auto scale = repeated(in.scale, N, C, k, S(1));
  in.scale = scale.data();
  if constexpr (!PRODUCTS) in.x = in.y;
  const Layout l = in.layout = folded(in.layout, k);
  const Tasks tasks(l);
  std::vector<S> parts(PRODUCTS || SUMS ? N * tasks.each * 2 * l.channels : 0);
  const int64_t size = tasks.step * l.channels;
  torch::stable::parallel_for(0, N * tasks.each, std::max<int64_t>(1, GRAIN / size), [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      const int64_t n = task / tasks.each, begin = task % tasks.each * tasks.step;
      const int64_t end = std::min(begin + tasks.step, l.pixels);
      S* products = parts.data() + (parts.empty() ? 0 : task * 2 * l.channels);
      S* sums = products + (parts.empty() ? 0 : l.channels);
      if (l.last) {
        backward_along_channels<PRODUCTS, SUMS, MAP>(in, curve, n, begin, end, products, sums);
      } else {
        backward_along_pixels<PRODUCTS, SUMS, MAP>(in, curve, n, begin, end, products, sums);
      }
    }
  });
  if constexpr (PRODUCTS || SUMS) join(parts, tasks, N, C, k, in.dscale, in.db);
}

}  // namespace

template <typename T>
void forward_kernel(const Sum<T>& sum, const Tensor&, const Curve<T>& curve) {
  run<true, false>(sum, Value<T>{curve});
}

template <typename T>
void jvp_kernel(const Sum<T>& sum, const Tensor&, const Curve<T>& curve) {
  with_constant(sum.x, [&](auto first) {
    with_constant(sum.x2, [&](auto second) { run<first.value, second.value>(sum, Tangent<T>{curve}); });
  });
}

template <typename T>
void backward_kernel(const Sums<T>& sums, const Tensor&, const Curve<T>& curve) {
  with_constant(sums.dscale, [&](auto products) {
    with_constant(sums.db, [&](auto sum) {
      with_constant(sums.dnoise, [&](auto map) { run_backward<products.value, sum.value, map.value>(sums, curve); });
    });
  });
}

INSTANTIATE_SCALE_BIAS_ACT(float)
INSTANTIATE_SCALE_BIAS_ACT(double)
INSTANTIATE_SCALE_BIAS_ACT(BFloat16)
INSTANTIATE_SCALE_BIAS_ACT(Half)

}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CPU, m) {
  m.impl("scale_bias_act", TORCH_BOX(&custom_ops::scale_bias_act));
  m.impl("scale_bias_act_backward", TORCH_BOX(&custom_ops::scale_bias_act_backward));
  m.impl("scale_bias_act_jvp", TORCH_BOX(&custom_ops::scale_bias_act_jvp));
}
