// CPU kernels of bias_act for activations that are more than two straight lines.
#include "bias_act.h"

#include <algorithm>

namespace custom_ops {
namespace {

constexpr int64_t GRAIN = 1 << 12;  // numbers that are worth a thread
constexpr int64_t BLOCK = 256;      // numbers that are worked on at once, in the nearest cache

// u <- the derivative of an order of the curve at u.
template <typename A, int ORDER, typename S>
void derive(S* u, int64_t n, const Constants<S>& constants) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (ORDER == 0) u[i] = value_at<A>(u[i], constants);
    if constexpr (ORDER == 1) u[i] = slope_at<A>(u[i], constants);
    if constexpr (ORDER == 2) u[i] = curvature_at<A>(u[i], constants);
  }
}

template <typename S>
using Derivative = void (*)(S* u, int64_t n, const Constants<S>& constants);

template <typename T>
void multiply(Wide<T>* u, const T* p, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) u[i] *= widen(p[i]);
}

// u = x + b, where b holds a number for each of a row, or one for all.
template <typename T>
void add(const T* x, const Wide<T>* b, bool one, Wide<T>* u, int64_t n) {
  const Wide<T> same = b && one ? b[0] : 0;
  if (b && !one) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) u[i] = widen(x[i]) + b[i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) u[i] = widen(x[i]) + same;
  }
}

template <typename T>
void store(const Wide<T>* u, T* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = narrow<T>(u[i]);
}

// Numbers [begin, end) of the whole, row by row: a pixel's channels, or a channel's pixels.
template <typename T>
void run(
    const Product<T>& in, int64_t begin, int64_t end, Derivative<Wide<T>> derive,
    const Constants<Wide<T>>& constants) {
  const int64_t C = in.layout.channels, length = in.layout.last ? C : in.layout.pixels;
  Wide<T> u[BLOCK];
  for (int64_t i = begin; i < end;) {
    const int64_t filled = std::min(BLOCK, end - i);
    for (int64_t j = i; j < i + filled;) {  // rows may be short
      const int64_t n = std::min(i + filled - j, length - j % length);
      const int64_t channel = in.layout.last ? j % length : j / length % C;
      add(in.x + j, in.b ? in.b + channel : nullptr, !in.layout.last, u + (j - i), n);
      j += n;
    }
    derive(u, filled, constants);
    if (in.p) multiply(u, in.p + i, filled);
    if (in.q) multiply(u, in.q + i, filled);
    store(u, in.out + i, filled);
    i += filled;
  }
}

}  // namespace

template <typename T>
bool product_kernel(const Product<T>& in, const Tensor&, int order, const Curve& curve) {
  Derivative<Wide<T>> derivative = nullptr;
  const bool known = with_activation(activation_number(curve.act), [&](auto act) {
    using A = decltype(act);
    derivative = order == 0 ? derive<A, 0, Wide<T>> : order == 1 ? derive<A, 1, Wide<T>> : derive<A, 2, Wide<T>>;
  });
  if (!known) return false;
  const auto constants = curve.constants<T>();
  torch::stable::parallel_for(0, in.layout.numel(), GRAIN, [&](int64_t begin, int64_t end) {
    run(in, begin, end, derivative, constants);
  });
  return true;
}

template bool product_kernel(const Product<float>&, const Tensor&, int, const Curve&);
template bool product_kernel(const Product<double>&, const Tensor&, int, const Curve&);
template bool product_kernel(const Product<BFloat16>&, const Tensor&, int, const Curve&);
template bool product_kernel(const Product<Half>&, const Tensor&, int, const Curve&);

}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CPU, m) {
  m.impl("bias_act", ENTRY(bias_act));
  m.impl("bias_act_backward", ENTRY(bias_act_backward));
  m.impl("bias_act_curvature", ENTRY(bias_act_curvature));
}
