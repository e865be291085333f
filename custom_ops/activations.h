// The curve y = clamp(gain * act(u), -limit, limit) of an activation made of two straight lines, and its slope.
// Shared by the CPU and CUDA kernels. `activations.py` computes the other activations with PyTorch.
#pragma once

#include <limits>
#include <optional>
#include <string>

#include "scalar.h"

namespace custom_ops {

// The constants of a curve. A limit that is NaN sets no limit: every comparison with NaN is false.
template <typename S>
struct Constants {
  S alpha, gain, limit;
};

template <typename S>
HOST_DEVICE S clamped(S v, S limit) {
  v = v > limit ? limit : v;
  return v < -limit ? -limit : v;
}

struct Linear {
  template <typename S> static HOST_DEVICE S f(S u, S) { return u; }
};

struct Relu {
  template <typename S> static HOST_DEVICE S f(S u, S) { return u < 0 ? 0 : u; }
};

struct LeakyRelu {
  template <typename S> static HOST_DEVICE S f(S u, S alpha) { return u > 0 ? u : u * alpha; }
};

template <typename A, typename S>
HOST_DEVICE S value_at(S u, const Constants<S>& k) {
  return clamped(A::f(u, k.alpha) * k.gain, k.limit);
}

// The slope of the curve, computed from its output y. The slope is zero where y has reached the limit.
template <typename S>
struct Slopes {
  S above, below, limit;  // for u > 0, for u <= 0

  HOST_DEVICE S operator()(S y) const {
    const S slope = y * above > 0 ? above : below;
    return (y < 0 ? -y : y) >= limit ? S(0) : slope;
  }
};

// The curve as the caller names it.
struct Curve {
  std::string act;
  double alpha, gain;
  std::optional<double> clamp;

  template <typename T>
  Constants<Wide<T>> constants() const {
    using S = Wide<T>;
    const S limit = clamp ? static_cast<S>(*clamp) : std::numeric_limits<S>::quiet_NaN();
    return {static_cast<S>(alpha), static_cast<S>(gain), limit};
  }

  template <typename T>
  Slopes<Wide<T>> slopes() const {
    using S = Wide<T>;
    const double below = act == "linear" ? 1 : act == "relu" ? 0 : alpha;
    const S limit = constants<T>().limit;  // rounded as outputs are, so that an output at the limit compares equal
    return {static_cast<S>(gain), static_cast<S>(gain * below), clamp ? widen(narrow<T>(limit)) : limit};
  }
};

// Calls f with the struct of the activation. Returns false for an unknown name.
template <typename F>
bool with_activation(const std::string& act, const F& f) {
  if (act == "linear") return f(Linear{}), true;
  if (act == "relu") return f(Relu{}), true;
  if (act == "lrelu") return f(LeakyRelu{}), true;
  return false;
}

}  // namespace custom_ops
