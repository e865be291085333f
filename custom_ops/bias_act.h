// bias_act between the dispatcher and the kernels: the same for CPU and CUDA.
#pragma once

#include "scale_bias_act.h"

namespace custom_ops {

// p * q * the derivative of an order (0, 1, 2) of the curve at u = x + b; p and q may be missing.
template <typename T>
struct Product {
  const T *x, *p, *q;
  const Wide<T>* b;  // [C], or null
  T* out;
  Layout layout;
};

// The kernel, in the .cpp for a CPU and in the .cu for a GPU; false for an activation that is not in the table.
template <typename T>
bool product_kernel(const Product<T>& product, const Tensor& like, int order, const Curve& curve);

inline Tensor bias_act_product(
    const Tensor& x_, const Optional& p_, const Optional& q_, const Optional& b_, int order, const Curve& curve) {
  const MemoryFormat format = format_of(x_);
  const Tensor x = dense(x_, format), out = empty(size_of(x), x, format);
  const Optional p = matching(p_, x, format), q = matching(q_, x, format), b = belonging(b_, x, x.size(1));
  if (out.numel() == 0) return out;
  bool known = false;
  with_floating(x.scalar_type(), "bias_act", [&]<typename T>() {
    const Product<T> product{x.const_data_ptr<T>(), data<T>(p), data<T>(q), data<Wide<T>>(b),
                             out.mutable_data_ptr<T>(), layout_of(x, format)};
    known = product_kernel(product, x, order, curve);
  });
  STD_TORCH_CHECK(known, "bias_act knows no activation ", curve.act);
  return out;
}

// What two straight lines can do better goes the way of scale_bias_act.
inline Tensor bias_act(
    const Tensor& x, const Optional& b, const std::string& act, double alpha, double gain,
    std::optional<double> clamp) {
  const Curve curve{act, alpha, gain, clamp};
  if (curve.tells_slope()) return scale_bias_act(x, {}, {}, b, act, alpha, gain, clamp);
  return bias_act_product(x, {}, {}, b, 0, curve);
}

inline std::tuple<Tensor, Tensor> bias_act_backward(
    const Tensor& dy, const Tensor& saved, const Optional& b, const std::string& act, double alpha, double gain,
    std::optional<double> clamp, bool wants_db) {
  const Curve curve{act, alpha, gain, clamp};
  if (curve.tells_slope()) {
    auto [dx, dscale, dnoise, db] =
        scale_bias_act_backward(dy, saved, {}, {}, act, alpha, gain, clamp, false, false, wants_db);
    return {dx, db};
  }
  const Tensor dx = bias_act_product(saved, dy, {}, b, 1, curve);
  if (!wants_db) return {dx, empty({0}, dx, MemoryFormat::Contiguous, wide_type(dx.scalar_type()))};
  return {dx, std::get<3>(scale_bias_act_backward(dx, dx, {}, {}, "linear", 0, 1, {}, false, false, true))};
}

inline Tensor bias_act_curvature(
    const Tensor& dy, const Tensor& ddx, const Tensor& x, const Optional& b, const std::string& act, double alpha,
    double gain, std::optional<double> clamp) {
  return bias_act_product(x, dy, ddx, b, 2, {act, alpha, gain, clamp});
}

}  // namespace custom_ops
