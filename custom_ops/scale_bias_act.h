// scale_bias_act and its derivatives, up to the kernels. Shared by CPU and CUDA.
#pragma once

#include <algorithm>
#include <limits>
#include <tuple>

#include "tensor.h"

namespace custom_ops {

using Optional = std::optional<Tensor>;

// Arguments of a kernel that computes `out` from u = x * scale + x2 * scale2 + noise + b. Any pointer but `out` may be
// null; a missing factor is one. x, x2, y and out have the memory format of `layout`.
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

// Arguments of the backward kernel. With d = dy * slope(y): dx = d * scale, dscale = sum of d * x over pixels, dnoise =
// sum of d over channels, db = sum of d over samples and pixels.
template <typename T>
struct Sums {
  const T *dy, *y, *x;
  const Wide<T>* scale;
  T* dx;
  Wide<T>*dscale, *dnoise, *db;  // [N, C], [N, pixels], [C]; null if not wanted
  Layout layout;
};

// The curve y = clamp(gain * (u > 0 ? u : alpha * u), -limit, limit). A limit that is NaN sets no limit: every comparison
// with NaN is false.
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
};

// Computes y from the sum u, or the change of y.
template <typename T>
struct Value {
  static constexpr bool TANGENT = false;
  Curve<T> curve;
  HOST_DEVICE Wide<T> operator()(Wide<T> u, T) const { return curve.value(u); }
};

template <typename T>
struct Tangent {
  static constexpr bool TANGENT = true;
  Curve<T> curve;
  HOST_DEVICE Wide<T> operator()(Wide<T> u, T y) const { return u * curve.slope(widen(y)); }
};

// A tensor of the size, dtype and device of `like`, dense in this format.
inline Tensor matching(const Tensor& t, const Tensor& like, MemoryFormat format) {
  const auto size = t.sizes(), wanted = like.sizes();
  STD_TORCH_CHECK(
      std::equal(size.begin(), size.end(), wanted.begin(), wanted.end()) && t.device() == like.device() &&
          t.scalar_type() == like.scalar_type(),
      "inputs, outputs and their derivatives must be of one size, type and device");
  return dense(t, format);
}

inline Optional matching(const Optional& t, const Tensor& like, MemoryFormat format) {
  return t ? Optional(matching(*t, like, format)) : std::nullopt;
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

// Noise for each sample, or one noise for all.
inline Optional noise_of(const Optional& noise, const Tensor& x, const Layout& l) {
  if (!noise) return noise;
  return belonging(noise, x, (noise->size(0) == 1 ? 1 : l.samples) * l.pixels);
}

// The kernels, in the .cpp for CPUs and in the .cu for GPUs. They allocate memory on the device of `like`.
template <typename T>
void forward_kernel(const Sum<T>& sum, const Tensor& like, const Curve<T>& curve);
template <typename T>
void jvp_kernel(const Sum<T>& sum, const Tensor& like, const Curve<T>& curve);
template <typename T>
void backward_kernel(const Sums<T>& sums, const Tensor& like, const Curve<T>& curve);

#define INSTANTIATE_SCALE_BIAS_ACT(T)                                          \
  template void forward_kernel(const Sum<T>&, const Tensor&, const Curve<T>&); \
  template void jvp_kernel(const Sum<T>&, const Tensor&, const Curve<T>&);     \
  template void backward_kernel(const Sums<T>&, const Tensor&, const Curve<T>&);

inline Tensor scale_bias_act(
    const Tensor& x_, const Optional& scale_, const Optional& noise_, const Optional& b_, double alpha, double gain, std::optional<double> clamp) {
  const MemoryFormat format = format_of(x_);
  const Tensor x = dense(x_, format), out = empty(size_of(x), x, format);
  const Layout l = layout_of(x, format);
  const Optional scale = belonging(scale_, x, l.samples * l.channels), b = belonging(b_, x, l.channels);
  const Optional noise = noise_of(noise_, x, l);
  if (l.numel() == 0) return out;
  with_floating(x.scalar_type(), "scale_bias_act", [&]<typename T>() {
    using S = Wide<T>;
    const T* p = x.const_data_ptr<T>();
    const Sum<T> sum{p, nullptr, data<S>(scale), nullptr, data<S>(noise), noise && noise->size(0) == 1, data<S>(b), p,
                     out.mutable_data_ptr<T>(), l};
    forward_kernel(sum, x, Curve<T>(alpha, gain, clamp));
  });
  return out;
}

// slope(y) * (dx * scale + x * dscale + dnoise + db)
inline Tensor scale_bias_act_jvp(
    const Tensor& y_, const Optional& dx_, const Optional& x_, const Optional& scale_, const Optional& dscale_,
    const Optional& dnoise_, const Optional& db_, double alpha, double gain, std::optional<double> clamp) {
  const MemoryFormat format = format_of(y_);
  const Tensor y = dense(y_, format), out = empty(size_of(y), y, format);
  const Layout l = layout_of(y, format);
  STD_TORCH_CHECK(x_ || !dscale_, "the derivative by the scale needs x");
  const Optional dx = matching(dx_, y, format), x = dscale_ ? matching(x_, y, format) : std::nullopt;
  const Optional scale = belonging(scale_, y, l.samples * l.channels), db = belonging(db_, y, l.channels);
  const Optional dscale = belonging(dscale_, y, l.samples * l.channels);
  const Optional dnoise = noise_of(dnoise_, y, l);
  if (l.numel() == 0) return out;
  with_floating(y.scalar_type(), "scale_bias_act_jvp", [&]<typename T>() {
    using S = Wide<T>;
    const Sum<T> sum{data<T>(dx), data<T>(x), data<S>(scale), data<S>(dscale), data<S>(dnoise),
                     dnoise && dnoise->size(0) == 1, data<S>(db), y.const_data_ptr<T>(), out.mutable_data_ptr<T>(), l};
    jvp_kernel(sum, y, Curve<T>(alpha, gain, clamp));
  });
  return out;
}

inline std::tuple<Tensor, Tensor, Tensor, Tensor> scale_bias_act_backward(
    const Tensor& dy_, const Tensor& y_, const Optional& x_, const Optional& scale_, double alpha, double gain, std::optional<double> clamp, bool wants_dscale, bool wants_dnoise, bool wants_db) {
  const MemoryFormat format = format_of(y_);
  STD_TORCH_CHECK(x_ || !wants_dscale, "the derivative by the scale needs x");
  const Tensor y = dense(y_, format), dy = matching(dy_, y, format), dx = empty(size_of(y), y, format);
  const Layout l = layout_of(y, format);
  const Optional x = wants_dscale ? matching(x_, y, format) : std::nullopt;
  const Optional scale = belonging(scale_, y, l.samples * l.channels);
  const auto room = [&](bool wanted, std::vector<int64_t> size) {
    return empty(wanted ? size : std::vector<int64_t>{0}, y, MemoryFormat::Contiguous, wide_type(y.scalar_type()));
  };
  std::vector<int64_t> map = size_of(y);
  map[1] = 1;
  Tensor dscale = room(wants_dscale, {l.samples, l.channels}), dnoise = room(wants_dnoise, map);
  Tensor db = room(wants_db, {l.channels});
  if (l.numel() == 0) {
    for (Tensor* t : {&dscale, &dnoise, &db}) torch::stable::zero_(*t);
    return {dx, dscale, dnoise, db};
  }
  with_floating(y.scalar_type(), "scale_bias_act_backward", [&]<typename T>() {
    using S = Wide<T>;
    const auto place = [](bool wanted, const Tensor& t) { return wanted ? t.mutable_data_ptr<S>() : nullptr; };
    const Sums<T> sums{
        dy.const_data_ptr<T>(), y.const_data_ptr<T>(), data<T>(x), data<S>(scale),
        dx.mutable_data_ptr<T>(), place(wants_dscale, dscale), place(wants_dnoise, dnoise),
        place(wants_db, db), l};
    backward_kernel(sums, y, Curve<T>(alpha, gain, clamp));
  });
  return {dx, dscale, dnoise, db};
}

}  // namespace custom_ops
