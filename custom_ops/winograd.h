// Vectors of channels, and the one-dimensional transforms of the Winograd convolutions F(2, 3) and F(4, 3).
//
// F(m, 3) computes m outputs of a correlation of d, m + 2 numbers, with g, 3 weights, by m + 2 products instead of 3 m:
// y = A^T [(G g) * (B^T d)] (Winograd 1980; Lavin and Gray 2016, equation 8).
#pragma once

#include "lines.h"

namespace custom_ops {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int PANEL = 2 * LANES;  // channels that a product computes at a time

template <int N>
struct Floats {
  typedef float type __attribute__((vector_size(N * sizeof(float))));
  typedef float anywhere __attribute__((vector_size(N * sizeof(float)), aligned(4), may_alias));
};
using V = Floats<LANES>::type;
using V8 = Floats<8>::type;

template <typename T = V>
HOST_DEVICE T load(const float* p) {
  return *reinterpret_cast<const typename Floats<sizeof(T) / sizeof(float)>::anywhere*>(p);
}

template <typename T>
HOST_DEVICE void store(float* p, T x) {
  *reinterpret_cast<typename Floats<sizeof(T) / sizeof(float)>::anywhere*>(p) = x;
}

// B^T: inputs, A^T: outputs, A: their gradients, G: weights, G^T: their gradients.
template <int M>
struct Winograd;

template <>
struct Winograd<2> {  // points 0, 1, -1 and infinity
  struct Inputs {
    template <typename T>
    HOST_DEVICE void operator()(const T* d, T* v) const {
      v[0] = d[0] - d[2];
      v[1] = d[1] + d[2];
      v[2] = d[2] - d[1];
      v[3] = d[3] - d[1];
    }
  };
  struct Outputs {
    template <typename T>
    HOST_DEVICE void operator()(const T* m, T* y) const {
      y[0] = m[0] + (m[1] + m[2]);
      y[1] = (m[1] - m[2]) + m[3];
    }
  };
  struct OutputGradients {
    template <typename T>
    HOST_DEVICE void operator()(const T* y, T* m) const {
      m[0] = y[0];
      m[1] = y[0] + y[1];
      m[2] = y[0] - y[1];
      m[3] = y[1];
    }
  };
  struct Weights {
    template <typename T>
    HOST_DEVICE void operator()(const T* g, T* u) const {
      const T even = (g[0] + g[2]) * 0.5f, odd = g[1] * 0.5f;
      u[0] = g[0];
      u[1] = even + odd;
      u[2] = even - odd;
      u[3] = g[2];
    }
  };
  struct WeightGradients {
    template <typename T>
    HOST_DEVICE void operator()(const T* u, T* g) const {
      const T even = (u[1] + u[2]) * 0.5f;
      g[0] = u[0] + even;
      g[1] = (u[1] - u[2]) * 0.5f;
      g[2] = even + u[3];
    }
  };
};

// Points 0, a, -a, b, -b and infinity. With a = 1 / sqrt 2 and b = sqrt 2 the error is a half to a sixth of the error
// with 1 and 2, or 1/2 and 1. Even and odd powers of opposite points are shared.
template <>
struct Winograd<4> {
  static constexpr double A = 0.70710678118654752440, B = 1.41421356237309504880;
  static constexpr float a = A, b = B, a2 = A * A, b2 = B * B, a3 = A * A * A, b3 = B * B * B;
  static constexpr float at0 = 1 / (A * A * B * B);
  static constexpr float at_a = 1 / (2 * A * A * (A * A - B * B)), at_b = 1 / (2 * B * B * (B * B - A * A));
  static constexpr float a_at_a = A / (2 * A * A * (A * A - B * B)), b_at_b = B / (2 * B * B * (B * B - A * A));

  struct Inputs {
    template <typename T>
    HOST_DEVICE void operator()(const T* d, T* v) const {
      const T even_a = d[4] - b2 * d[2], odd_a = d[3] - b2 * d[1];
      const T even_b = d[4] - a2 * d[2], odd_b = d[3] - a2 * d[1];
      v[0] = (d[4] - (a2 + b2) * d[2]) + (a2 * b2) * d[0];
      v[1] = even_a + a * odd_a;
      v[2] = even_a - a * odd_a;
      v[3] = even_b + b * odd_b;
      v[4] = even_b - b * odd_b;
      v[5] = (d[5] - (a2 + b2) * d[3]) + (a2 * b2) * d[1];
    }
  };
  struct Outputs {
    template <typename T>
    HOST_DEVICE void operator()(const T* m, T* y) const {
      const T even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
      y[0] = (m[0] + even_a) + even_b;
      y[1] = b * odd_b + a * odd_a;
      y[2] = b2 * even_b + a2 * even_a;
      y[3] = (m[5] + b3 * odd_b) + a3 * odd_a;
    }
  };
  struct OutputGradients {
    template <typename T>
    HOST_DEVICE void operator()(const T* y, T* m) const {
      const T even_a = y[0] + a2 * y[2], odd_a = y[1] + a2 * y[3];
      const T even_b = y[0] + b2 * y[2], odd_b = y[1] + b2 * y[3];
      m[0] = y[0];
      m[1] = even_a + a * odd_a;
      m[2] = even_a - a * odd_a;
      m[3] = even_b + b * odd_b;
      m[4] = even_b - b * odd_b;
      m[5] = y[3];
    }
  };
  struct Weights {
    template <typename T>
    HOST_DEVICE void operator()(const T* g, T* u) const {
      const T even_a = (g[0] + a2 * g[2]) * at_a, odd_a = g[1] * a_at_a;
      const T even_b = (g[0] + b2 * g[2]) * at_b, odd_b = g[1] * b_at_b;
      u[0] = g[0] * at0;
      u[1] = even_a + odd_a;
      u[2] = even_a - odd_a;
      u[3] = even_b + odd_b;
      u[4] = even_b - odd_b;
      u[5] = g[2];
    }
  };
  struct WeightGradients {
    template <typename T>
    HOST_DEVICE void operator()(const T* u, T* g) const {
      const T even_a = (u[1] + u[2]) * at_a, even_b = (u[3] + u[4]) * at_b;
      g[0] = (even_a + even_b) + at0 * u[0];
      g[1] = (u[1] - u[2]) * a_at_a + (u[3] - u[4]) * b_at_b;
      g[2] = (u[5] + b2 * even_b) + a2 * even_a;
    }
  };
};

// The transform of a square's columns, then of its rows.
template <int IN, int OUT, typename F, typename T>
HOST_DEVICE void transform(const T (&x)[IN][IN], T (&y)[OUT][OUT], F f) {
  T half[OUT][IN];
  for (int j = 0; j < IN; ++j) {
    T column[IN], result[OUT];
    for (int i = 0; i < IN; ++i) column[i] = x[i][j];
    f(column, result);
    for (int i = 0; i < OUT; ++i) half[i][j] = result[i];
  }
  for (int i = 0; i < OUT; ++i) f(half[i], y[i]);
}

}  // namespace custom_ops
