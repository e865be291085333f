// CPU kernels of scale_bias_act. Every inner loop is plain and runs along memory: over the channels of a pixel if
// channels are neighbors, otherwise over the pixels of a channel.
#include "scale_bias_act.h"

namespace custom_ops {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // numbers per thread, at least
constexpr int64_t FEW = 32;         // channels: fewer do not fill vector registers

// Few channels of k pixels are processed like many channels of one pixel, unless noise belongs to pixels. Returns k.
int64_t fold(Layout& l, bool by_pixel) {
  int64_t k = 1;
  while (l.last && !by_pixel && k * l.channels < FEW && l.pixels % (2 * k) == 0) k *= 2;
  l.channels *= k, l.pixels /= k;
  return k;
}

// Rows of C numbers, each repeated k times. Filled with `absent` if `from` is null.
template <typename S>
std::vector<S> repeated(const S* from, int64_t rows, int64_t C, int64_t k, S absent) {
  std::vector<S> all(rows * k * C, absent);
  for (int64_t i = 0; from && i < rows * k; ++i) std::copy_n(from + i / k * C, C, all.data() + i * C);
  return all;
}

// LAST: a line is the channels of a pixel, `along` is b and `shift` noise; otherwise pixels of a channel, vice versa.
template <bool FIRST, bool SECOND, bool TANGENT, bool LAST, bool NOISE, typename T, typename S>
HOST_DEVICE void sum_line(
    const Sum<T>& in, int64_t at, int64_t n, const S* scale, const S* scale2, const S* along, S shift,
    const Curve<T>& curve) {
  const T *x = in.x + at, *x2 = in.x2 + at, *y = in.y + at;
  T* out = in.out + at;
  const S one = *scale, two = *scale2;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    S u = shift;
    if constexpr (LAST || NOISE) u = along[i] + shift;
    if constexpr (FIRST) u += widen(x[i]) * (LAST ? scale[i] : one);
    if constexpr (SECOND) u += widen(x2[i]) * (LAST ? scale2[i] : two);
    out[i] = narrow<T>(curve.template of<TANGENT>(u, y[i]));
  }
}

// LAST: pixels [begin, end); otherwise numbers.
template <bool FIRST, bool SECOND, bool TANGENT, bool LAST, bool NOISE, typename T>
void sum_range(const Sum<T>& in, int64_t begin, int64_t end, const Curve<T> curve) {
  using S = Wide<T>;
  const int64_t C = in.layout.channels, P = in.layout.pixels;
  for (int64_t i = begin, row = begin / P; i < end; ++row) {
    const int64_t stop = std::min(end, (row + 1) * P), noise_row = in.one_noise ? 0 : LAST ? row : row / C;
    const S* noise = NOISE ? in.noise + noise_row * P + (i - row * P) : nullptr;
    if constexpr (LAST) {
      for (; i < stop; ++i)
        sum_line<FIRST, SECOND, TANGENT, LAST, NOISE>(
            in, i * C, C, in.scale + row * C, in.scale2 + row * C, in.b, NOISE ? *noise++ : S(0), curve);
    } else {
      sum_line<FIRST, SECOND, TANGENT, LAST, NOISE>(
          in, i, stop - i, in.scale + row, in.scale2 + row, noise, in.b[row % C], curve);
      i = stop;
    }
  }
}

template <bool FIRST, bool SECOND, bool TANGENT, typename T>
void run(Sum<T> in, const Curve<T>& curve) {
  using S = Wide<T>;
  const int64_t N = in.layout.samples, channels = in.layout.channels, k = fold(in.layout, in.noise);
  const auto scale = repeated(in.scale, N, channels, k, S(1)), scale2 = repeated(in.scale2, N, channels, k, S(1));
  const auto b = repeated(in.b, 1, channels, k, S(0));
  if constexpr (!FIRST) in.x = in.y;
  if constexpr (!SECOND) in.x2 = in.y;
  in.scale = scale.data(), in.scale2 = scale2.data(), in.b = b.data();
  const Layout l = in.layout;
  const int64_t grain = l.last ? std::max<int64_t>(1, GRAIN / l.channels) : GRAIN;
  torch::stable::parallel_for(0, l.last ? N * l.pixels : l.numel(), grain, [&](int64_t begin, int64_t end) {
    with_constant(l.last, [&](auto last) {
      with_constant(in.noise, [&](auto noise) {
        sum_range<FIRST, SECOND, TANGENT, last.value, noise.value>(in, begin, end, curve);
      });
    });
  });
}

// LAST: the sums by channel are vectors, and the sum by pixel is a number; otherwise the other way round.
template <bool PRODUCTS, bool SUMS, bool MAP, bool LAST, typename T, typename S>
HOST_DEVICE void backward_line(
    const Sums<T>& in, int64_t at, int64_t n, const S* scale, S* products, S* sums, S* map, const Curve<T>& curve) {
  const T *dy = in.dy + at, *y = in.y + at, *x = in.x + at;
  T* dx = in.dx + at;
  const S one = *scale;
  S product = 0, total = 0;
#pragma omp simd reduction(+ : product, total)
  for (int64_t i = 0; i < n; ++i) {
    const S d = widen(dy[i]) * curve.slope(widen(y[i]));
    dx[i] = narrow<T>(d * (LAST ? scale[i] : one));
    if constexpr (PRODUCTS && LAST) products[i] += d * widen(x[i]);
    if constexpr (PRODUCTS && !LAST) product += d * widen(x[i]);
    if constexpr (LAST ? SUMS : MAP) (LAST ? sums : map)[i] += d;
    if constexpr (LAST ? MAP : SUMS) total += d;
  }
  if constexpr (PRODUCTS && !LAST) *products = product;
  if constexpr (LAST ? MAP : SUMS) *(LAST ? map : sums) = total;
}

// Joins the sums of `each` tasks per sample, [N, each, 2, C], in their order. Channels repeat k times.
template <typename S>
void join(const std::vector<S>& parts, int64_t each, int64_t N, int64_t C, int64_t k, S* dscale, S* db) {
  std::vector<double> product(C), sum(C);
  for (int64_t n = 0; n < N; ++n) {
    std::fill(product.begin(), product.end(), 0.0);
    for (int64_t row = n * each * 2 * k; row < (n + 1) * each * 2 * k; ++row) {
      std::vector<double>& total = row / k % 2 ? sum : product;
      for (int64_t c = 0; c < C; ++c) total[c] += parts[row * C + c];
    }
    if (dscale) std::copy(product.begin(), product.end(), dscale + n * C);
  }
  if (db) std::copy(sum.begin(), sum.end(), db);
}

// Adds the contribution of pixels [begin, end) of sample n to `products` and `sums` [C].
template <bool PRODUCTS, bool SUMS, bool MAP, bool LAST, typename T, typename S>
void backward_part(
    const Sums<T>& in, const Curve<T> curve, int64_t n, int64_t begin, int64_t end, const S* scale, S* products,
    S* sums) {
  const int64_t C = in.layout.channels, P = in.layout.pixels;
  S* map = MAP ? in.dnoise + n * P + begin : nullptr;
  if constexpr (LAST) {
    for (int64_t q = n * P + begin; q < n * P + end; ++q)
      backward_line<PRODUCTS, SUMS, MAP, LAST>(in, q * C, C, scale + n * C, products, sums, MAP ? map++ : map, curve);
  } else {
    if constexpr (MAP) std::fill_n(map, end - begin, S(0));
    for (int64_t c = 0; c < C; ++c)
      backward_line<PRODUCTS, SUMS, MAP, LAST>(
          in, (n * C + c) * P + begin, end - begin, scale + n * C + c, products + c, sums + c, map, curve);
  }
}

template <bool PRODUCTS, bool SUMS, bool MAP, typename T>
void run_backward(Sums<T> in, const Curve<T> curve) {
  using S = Wide<T>;
  const int64_t N = in.layout.samples, channels = in.layout.channels, k = fold(in.layout, MAP);
  const auto scale = repeated(in.scale, N, channels, k, S(1));
  if constexpr (!PRODUCTS) in.x = in.y;
  const Layout l = in.layout;
  const int64_t C = l.channels, P = l.pixels;
  // A task is a run of `step` pixels of one sample. Tasks, and so sums, do not depend on the number of threads.
  const int64_t step = std::max<int64_t>(1, l.last ? GRAIN / C : GRAIN / 2), each = (P + step - 1) / step;
  std::vector<S> parts(PRODUCTS || SUMS ? N * each * 2 * C : 0);
  const int64_t grain = std::max<int64_t>(1, GRAIN / (step * C));
  torch::stable::parallel_for(0, N * each, grain, [&, curve](int64_t from, int64_t to) {
    for (int64_t task = from; task < to; ++task) {
      const int64_t n = task / each, begin = task % each * step;
      const int64_t end = std::min(begin + step, P);
      S* products = parts.data() + (parts.empty() ? 0 : task * 2 * C);
      S* sums = products + (parts.empty() ? 0 : C);
      with_constant(l.last, [&](auto last) {
        backward_part<PRODUCTS, SUMS, MAP, last.value>(in, curve, n, begin, end, scale.data(), products, sums);
      });
    }
  });
  if constexpr (PRODUCTS || SUMS) join(parts, each, N, channels, k, in.dscale, in.db);
}

}  // namespace

template <typename T>
void sum_kernel(const Sum<T>& sum, bool tangent, const Tensor&, const Curve<T>& curve) {
  if (!tangent) return run<true, false, false>(sum, curve);
  with_constant(sum.x, [&](auto first) {
    with_constant(sum.x2, [&](auto second) { run<first.value, second.value, true>(sum, curve); });
  });
}

template <typename T>
void backward_kernel(const Sums<T>& sums, std::array<Tensor, 3>&, const Tensor&, const Curve<T>& curve) {
  with_constant(sums.dscale, [&](auto products) {
    with_constant(sums.db, [&](auto sum) {
      with_constant(sums.dnoise, [&](auto map) { run_backward<products.value, sum.value, map.value>(sums, curve); });
    });
  });
}

}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CPU, m) {
  m.impl("scale_bias_act", TORCH_BOX(&custom_ops::scale_bias_act));
  m.impl("scale_bias_act_backward", TORCH_BOX(&custom_ops::scale_bias_act_backward));
  m.impl("scale_bias_act_jvp", TORCH_BOX(&custom_ops::scale_bias_act_jvp));
}
