// The arithmetic of every element: activations, their two derivatives, gain and clamp. Serves CPU and CUDA.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "scalar.h"

namespace custom_ops {

// The numbers in y = clamp(gain * f(u), -limit, limit). A limit that is not a number sets none: every comparison with
// it is false.
template <typename S>
struct Constants {
  S alpha, gain, limit;
};

template <typename S>
HOST_DEVICE S clamped(S v, S limit) {
  v = v > limit ? limit : v;
  return v < -limit ? -limit : v;
}

template <typename S>
HOST_DEVICE bool at_limit(S y, S limit) {
  return (y < 0 ? -y : y) >= limit;
}

// e^x and e^x - 1 for x <= 0, both to full relative precision.
template <typename S>
struct Exponential {
  S value, minus_one;
};

HOST_DEVICE Exponential<double> exponential(double x) {
  return {exp(x), expm1(x)};
}

// Written out, as compilers vectorise this and not a call: x = k ln 2 + r with a whole k and |r| <= ln(2) / 2, and the
// series of e^r - 1.
HOST_DEVICE Exponential<float> exponential(float x) {
  x = x < -87.0f ? -87.0f : x;  // e^-87 is the last normal number
  const float shift = 12582912.0f;  // 1.5 * 2^23 leaves no place for a fraction
  const float k = (x * 1.44269504f + shift) - shift;
  const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;  // ln 2 in two parts
  const float tail = 4.16666667e-2f + r * (8.33333333e-3f + r * (1.38888889e-3f + r * 1.98412698e-4f));
  const float p = r + r * r * (0.5f + r * (1.66666667e-1f + r * tail));
  const int32_t bits = (static_cast<int32_t>(k) + 127) << 23;
  float power;  // 2^k
  std::memcpy(&power, &bits, sizeof power);
  return {power + power * p, power * p + (power - 1.0f)};
}

// log(1 + z) for 0 <= z <= 1.
HOST_DEVICE double log_of_one_plus(double z) {
  return log1p(z);
}

// As 2 artanh(t), t = z / (2 + z) <= 1/3.
HOST_DEVICE float log_of_one_plus(float z) {
  const float t = z / (2.0f + z), q = t * t;
  const float tail = 1.0f / 9 + q * (1.0f / 11 + q * (1.0f / 13 + q * (1.0f / 15)));
  return 2.0f * t * (1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * tail))));
}

// s = 1 / (1 + e^-u) and its complement 1 - s, both to full relative precision.
template <typename S>
struct Logistic {
  S value, complement;

  HOST_DEVICE explicit Logistic(S u) {
    const S e = exponential(u < 0 ? u : -u).value;
    const S large = 1 / (1 + e), small = e * large;
    value = u < 0 ? small : large;
    complement = u < 0 ? large : small;
  }
};

// One struct an activation: f and its derivatives df and d2f at the input u.
struct Linear {
  template <typename S> static HOST_DEVICE S f(S u, S) { return u; }
  template <typename S> static HOST_DEVICE S df(S, S) { return 1; }
  template <typename S> static HOST_DEVICE S d2f(S, S) { return 0; }
};

struct Relu {
  template <typename S> static HOST_DEVICE S f(S u, S) { return u < 0 ? 0 : u; }
  template <typename S> static HOST_DEVICE S df(S u, S) { return u > 0 ? 1 : 0; }
  template <typename S> static HOST_DEVICE S d2f(S, S) { return 0; }
};

struct LeakyRelu {
  template <typename S> static HOST_DEVICE S f(S u, S alpha) { return u > 0 ? u : u * alpha; }
  template <typename S> static HOST_DEVICE S df(S u, S alpha) { return u > 0 ? 1 : alpha; }
  template <typename S> static HOST_DEVICE S d2f(S, S) { return 0; }
};

struct Tanh {
  template <typename S> static HOST_DEVICE S f(S u, S) {
    const S m = exponential(u < 0 ? 2 * u : -2 * u).minus_one;
    const S t = m / (2 + m);
    return u < 0 ? t : -t;
  }
  template <typename S> static HOST_DEVICE S df(S u, S) {
    const Logistic<S> s(2 * u);
    return 4 * s.value * s.complement;
  }
  template <typename S> static HOST_DEVICE S d2f(S u, S alpha) { return -2 * f(u, alpha) * df(u, alpha); }
};

struct Sigmoid {
  template <typename S> static HOST_DEVICE S f(S u, S) { return Logistic<S>(u).value; }
  template <typename S> static HOST_DEVICE S df(S u, S) {
    const Logistic<S> s(u);
    return s.value * s.complement;
  }
  template <typename S> static HOST_DEVICE S d2f(S u, S) {
    const Logistic<S> s(u);
    return s.value * s.complement * (s.complement - s.value);
  }
};

struct Elu {
  template <typename S> static HOST_DEVICE S f(S u, S) {
    const S m = exponential(u > 0 ? 0 : u).minus_one;
    return u > 0 ? u : m;
  }
  template <typename S> static HOST_DEVICE S df(S u, S) { return exponential(u > 0 ? 0 : u).value; }
  template <typename S> static HOST_DEVICE S d2f(S u, S) {
    const S e = exponential(u > 0 ? 0 : u).value;
    return u > 0 ? 0 : e;
  }
};

// Klambauer et al. 2017: the fixed point of its statistics has mean 0 and variance 1.
struct Selu {
  static constexpr double scale = 1.0507009873554805, slope = 1.6732632423543772;
  template <typename S> static HOST_DEVICE S f(S u, S alpha) {
    return (u > 0 ? S(scale) : S(scale * slope)) * Elu::f(u, alpha);
  }
  template <typename S> static HOST_DEVICE S df(S u, S alpha) {
    return (u > 0 ? S(scale) : S(scale * slope)) * Elu::df(u, alpha);
  }
  template <typename S> static HOST_DEVICE S d2f(S u, S alpha) { return S(scale * slope) * Elu::d2f(u, alpha); }
};

struct Softplus {
  template <typename S> static HOST_DEVICE S f(S u, S) {
    return (u > 0 ? u : 0) + log_of_one_plus(exponential(u < 0 ? u : -u).value);
  }
  template <typename S> static HOST_DEVICE S df(S u, S alpha) { return Sigmoid::f(u, alpha); }
  template <typename S> static HOST_DEVICE S d2f(S u, S alpha) { return Sigmoid::df(u, alpha); }
};

struct Swish {
  template <typename S> static HOST_DEVICE S f(S u, S) { return u * Logistic<S>(u).value; }
  template <typename S> static HOST_DEVICE S df(S u, S) {
    const Logistic<S> s(u);
    return s.value * (1 + u * s.complement);
  }
  template <typename S> static HOST_DEVICE S d2f(S u, S) {
    const Logistic<S> s(u);
    return s.value * s.complement * (2 + u * (s.complement - s.value));
  }
};

// y, its derivative and its second derivative by u. The derivative is zero where the limit is reached.
template <typename A, typename S>
HOST_DEVICE S value_at(S u, const Constants<S>& k) {
  return clamped(A::f(u, k.alpha) * k.gain, k.limit);
}

template <typename A, typename S>
HOST_DEVICE S slope_at(S u, const Constants<S>& k) {
  return at_limit(A::f(u, k.alpha) * k.gain, k.limit) ? S(0) : A::df(u, k.alpha) * k.gain;
}

template <typename A, typename S>
HOST_DEVICE S curvature_at(S u, const Constants<S>& k) {
  return at_limit(A::f(u, k.alpha) * k.gain, k.limit) ? S(0) : A::d2f(u, k.alpha) * k.gain;
}

// The derivative of two straight lines, which the output y alone tells.
template <typename S>
struct Slopes {
  S above, below, limit;  // for u > 0, for u <= 0

  HOST_DEVICE S operator()(S y) const {
    const S slope = y * above > 0 ? above : below;
    return at_limit(y, limit) ? S(0) : slope;
  }
};

// The curve y(u) as a call names it.
struct Curve {
  std::string act;
  double alpha, gain;
  std::optional<double> clamp;

  // Whether the output tells the derivative: gain * y has the sign of u.
  bool tells_slope() const { return act == "linear" || act == "relu" || (act == "lrelu" && alpha >= 0); }

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
    const S limit = constants<T>().limit;  // rounded as outputs are, so that an output at the limit is known again
    return {static_cast<S>(gain), static_cast<S>(gain * below), clamp ? widen(narrow<T>(limit)) : limit};
  }
};

// The place of an activation in the table; -1 for none.
inline int activation_number(const std::string& act) {
  constexpr const char* table[] = {"linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"};
  for (int i = 0; i < 9; ++i) {
    if (act == table[i]) return i;
  }
  return -1;
}

// Calls f(A{}) with the struct of an activation; false for none. The first for those of two straight lines only.
template <typename F>
HOST_DEVICE bool with_homogeneous(int number, const F& f) {
  switch (number) {
    case 0: return f(Linear{}), true;
    case 1: return f(Relu{}), true;
    case 2: return f(LeakyRelu{}), true;
    default: return false;
  }
}

template <typename F>
HOST_DEVICE bool with_activation(int number, const F& f) {
  switch (number) {
    case 3: return f(Tanh{}), true;
    case 4: return f(Sigmoid{}), true;
    case 5: return f(Elu{}), true;
    case 6: return f(Selu{}), true;
    case 7: return f(Softplus{}), true;
    case 8: return f(Swish{}), true;
    default: return with_homogeneous(number, f);
  }
}

}  // namespace custom_ops
