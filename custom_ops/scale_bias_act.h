// scale_bias_act and its derivatives, up to the kernels. Shared by CPU and CUDA.
#pragma once

#include <array>
#include <limits>
#include <tuple>

#include "tensor.h"

namespace custom_ops {

using Optional = std::optional<Tensor>;

// A kernel computes `out` from u = x * scale + x2 * scale2 + noise + b. Any pointer but `out` may be null.
template <typename T>
struct Sum {
  const T *x, *x2;
  const Wide<T> *scale, *scale2;  // [N, C]
  const Wide<T>* noise;           // [N, pixels], or [pixels] for all samples
  bool one_noise;
  const Wide<T>* b;  // [C]
  const T* y;        // the output of the forward pass, for derivatives
  T* out;
  Layout layout;
};

// With d = dy * slope(y), the backward kernel computes dx = d * scale, dscale of d * x, and dnoise and db of d.
template <typename T>
struct Sums {
  const T *dy, *y, *x;
  const Wide<T>* scale;
  T* dx;
  Wide<T>*dscale, *dnoise, *db;  // [N, C], [N, pixels], [C]; null if not wanted
  Layout layout;
};

// y = clamp(gain * (u > 0 ? u : alpha * u), -limit, limit). NaN sets no limit: every comparison with NaN is false.
template <typename T>
struct Curve {
  using S = Wide<T>;
  S alpha, gain, below, limit;
  S edge;  // the limit rounded as outputs are, so that an output at the limit compares equal

  Curve(double alpha, double gain, std::optional<double> clamp)
      : alpha(static_cast<S>(alpha)), gain(static_cast<S>(gain)), below(static_cast<S>(gain * alpha)),
        limit(clamp ? static_cast<S>(*clamp) : std::numeric_limits<S>::quiet_NaN()),
        edge(clamp ? widen(narrow<T>(limit)) : limit) {}

  HOST_DEVICE S value(S u) const {
    S v = (u > 0 ? u : u * alpha) * gain;
    v = v > limit ? limit : v;
    return v < -limit ? -limit : v;
  }

  // The slope, computed from the output. The slope is zero where the output has reached the limit.
  HOST_DEVICE S slope(S y) const {
    const S slope = y * gain > 0 ? gain : below;
    return (y < 0 ? -y : y) >= edge ? S(0) : slope;
  }

  // The output for a sum u or, with TANGENT, the change of the output y for the change u.
  template <bool TANGENT>
  HOST_DEVICE S of(S u, T y) const {
    if constexpr (TANGENT) return u * slope(widen(y));
    else return value(u);
  }
};

// A tensor of the size, dtype and device of `like`, dense in this format.
inline Optional matching(const Optional& t, const Tensor& like, MemoryFormat format) {
  if (!t) return t;
  STD_TORCH_CHECK(
      size_of(*t) == size_of(like) && t->device() == like.device() && t->scalar_type() == like.scalar_type(),
      "inputs, outputs and their derivatives must be of one size, type and device");
  return dense(*t, format);
}

template <typename T>
const T* data(const Optional& t) {
  return t ? t->const_data_ptr<T>() : nullptr;
}

// A vector or map of x: dense, on its device, in its computing dtype.
inline Optional belonging(const Optional& t, const Tensor& x, int64_t numel) {
  if (!t) return t;
  STD_TORCH_CHECK(
      t->scalar_type() == wide_type(x.scalar_type()) && t->device() == x.device() && t->numel() == numel,
      "scale, noise and bias must have the device of x, float32 numbers (float64 with such x) and a fitting size");
  return dense(*t, MemoryFormat::Contiguous);
}

// The kernels, in the .cpp for CPUs and in the .cu for GPUs. `results`: dscale, dnoise and db; empty if not wanted.
template <typename T>
void sum_kernel(const Sum<T>& sum, bool tangent, const Tensor& like, const Curve<T>& curve);
template <typename T>
void backward_kernel(const Sums<T>& sums, std::array<Tensor, 3>& results, const Tensor& like, const Curve<T>& curve);

// The curve of x * scale + noise + b with x = `like` or, with `tangent`, slope(like) * (x * scale + x2 * scale2 + ...).
inline Tensor weighted_sum(
    const Tensor& like_, bool tangent, const Optional& x_, const Optional& x2_, const Optional& scale_,
    const Optional& scale2_, const Optional& noise_, const Optional& b_, double alpha, double gain,
    std::optional<double> clamp) {
  const MemoryFormat format = format_of(like_);
  const Tensor like = dense(like_, format), out = empty(size_of(like), like, format);
  const Layout l = layout_of(like, format);
  const Optional x = tangent ? matching(x_, like, format) : Optional(like), x2 = matching(x2_, like, format);
  const Optional scale = belonging(scale_, like, l.samples * l.channels), b = belonging(b_, like, l.channels);
  const Optional scale2 = belonging(scale2_, like, l.samples * l.channels);
  const bool one_noise = noise_ && noise_->size(0) == 1;
  const Optional noise = belonging(noise_, like, (one_noise ? 1 : l.samples) * l.pixels);
  if (l.numel() == 0) return out;
  with_floating(like.scalar_type(), [&]<typename T>() {
    using S = Wide<T>;
    const Sum<T> sum{data<T>(x), data<T>(x2), data<S>(scale), data<S>(scale2), data<S>(noise), one_noise, data<S>(b),
                     like.const_data_ptr<T>(), out.mutable_data_ptr<T>(), l};
    sum_kernel(sum, tangent, like, Curve<T>(alpha, gain, clamp));
  });
  return out;
}

inline Tensor scale_bias_act(
    const Tensor& x, const Optional& scale, const Optional& noise, const Optional& b, double alpha, double gain,
    std::optional<double> clamp) {
  return weighted_sum(x, false, {}, {}, scale, {}, noise, b, alpha, gain, clamp);
}

// slope(y) * (dx * scale + x * dscale + dnoise + db)
inline Tensor scale_bias_act_jvp(
    const Tensor& y, const Optional& dx, const Optional& x, const Optional& scale, const Optional& dscale,
    const Optional& dnoise, const Optional& db, double alpha, double gain, std::optional<double> clamp) {
  STD_TORCH_CHECK(x || !dscale, "the derivative by the scale needs x");
  return weighted_sum(y, true, dx, dscale ? x : Optional(), scale, dscale, dnoise, db, alpha, gain, clamp);
}

inline std::tuple<Tensor, Tensor, Tensor, Tensor> scale_bias_act_backward(
    const Tensor& dy_, const Tensor& y_, const Optional& x_, const Optional& scale_, double alpha, double gain,
    std::optional<double> clamp, bool wants_dscale, bool wants_dnoise, bool wants_db) {
  const MemoryFormat format = format_of(y_);
  STD_TORCH_CHECK(x_ || !wants_dscale, "the derivative by the scale needs x");
  const Tensor y = dense(y_, format), dy = *matching(dy_, y, format), dx = empty(size_of(y), y, format);
  const Layout l = layout_of(y, format);
  const Optional x = wants_dscale ? matching(x_, y, format) : Optional();
  const Optional scale = belonging(scale_, y, l.samples * l.channels);
  const auto room = [&](bool wanted, std::vector<int64_t> size) {
    if (!wanted) size = {0};
    return empty(size, y, MemoryFormat::Contiguous, wide_type(y.scalar_type()));
  };
  std::vector<int64_t> map = size_of(y);
  map[1] = 1;
  std::array<Tensor, 3> results{
      room(wants_dscale, {l.samples, l.channels}), room(wants_dnoise, map), room(wants_db, {l.channels})};
  auto& [dscale, dnoise, db] = results;
  if (l.numel() == 0) {
    for (Tensor& t : results) torch::stable::zero_(t);
    return {dx, dscale, dnoise, db};
  }
  with_floating(y.scalar_type(), [&]<typename T>() {
    using S = Wide<T>;
    const Sums<T> sums{dy.const_data_ptr<T>(), y.const_data_ptr<T>(), data<T>(x), data<S>(scale),
                       dx.mutable_data_ptr<T>(), wants_dscale ? dscale.mutable_data_ptr<S>() : nullptr,
                       wants_dnoise ? dnoise.mutable_data_ptr<S>() : nullptr,
                       wants_db ? db.mutable_data_ptr<S>() : nullptr, l};
    backward_kernel(sums, results, y, Curve<T>(alpha, gain, clamp));
  });
  return {dx, dscale, dnoise, db};
}

}  // namespace custom_ops
