// Two-dimensional transforms of Winograd convolutions: from images to tiles and back, of weights, and of gradients.
//
// Images are [N, H, W, C] and weights [O, 3, 3, I] in memory. F(m x m, 3 x 3) cuts the outputs into tiles of m x m, each
// of which depends on P = (m + 2)^2 inputs; a transformed tensor consists of P matrices, one for each position of a tile.
#pragma once

#include <immintrin.h>

#include "winograd.h"

namespace custom_ops {

constexpr int64_t MOST_CHANNELS = 8192;
alignas(64) inline const float ZEROS[MOST_CHANNELS] = {};

struct Pictures {
  const float* p;
  int64_t N, H, W, C;
};

struct Tiles {
  int64_t m, down, across, count;
  Tiles(const Pictures& y, int64_t m)
      : m(m), down(ceil_divide(y.H, m)), across(ceil_divide(y.W, m)), count(y.N * down * across) {}
};

// The upper left corner of a tile.
struct Corner {
  int64_t n, y, x;
  Corner(const Tiles& tiles, int64_t i, int64_t padding = 0)
      : n(i / (tiles.down * tiles.across)),
        y(i / tiles.across % tiles.down * tiles.m - padding),
        x(i % tiles.across * tiles.m - padding) {}
};

// P matrices [rows, channels], either with channels in `row` consecutive numbers, or in panels of PANEL channels.
struct Matrices {
  float* p;
  int64_t step;        // from matrix to matrix
  int64_t row, panel;  // from row to row, and from one panel of channels to the next

  float* at(int64_t r, int64_t c) const { return p + r * row + c / PANEL * panel + c % PANEL; }
};

// An odd number of cache lines, so that matrices do not compete for the same places in a cache.
inline int64_t odd_lines(int64_t floats) { return (ceil_divide(floats, 16) | 1) * 16; }

inline Matrices by_rows(float* p, int64_t rows, int64_t channels) {
  return {p, odd_lines(rows * (channels + 16)), channels + 16, PANEL};
}

inline Matrices by_panels(float* p, int64_t rows, int64_t channels) {
  return {p, odd_lines(rows * channels), PANEL, rows * PANEL};
}

// Row r of the matrices: the transform of S x S pixels from a corner. Pixels outside of the image are zeros.
template <int S, int A, typename F>
void transform_pixels(const Pictures& x, const Corner& corner, const Matrices& to, int64_t r, F f) {
  const float* pixels[S][S];
  for (int i = 0; i < S; ++i)
    for (int j = 0; j < S; ++j) {
      const int64_t row = corner.y + i, column = corner.x + j;
      const bool inside = row >= 0 && row < x.H && column >= 0 && column < x.W;
      pixels[i][j] = inside ? x.p + ((corner.n * x.H + row) * x.W + column) * x.C : ZEROS;
    }
  for (int64_t c = 0; c < x.C; c += LANES) {
    V d[S][S], v[A][A];
    for (int i = 0; i < S; ++i)
      for (int j = 0; j < S; ++j) d[i][j] = load(pixels[i][j] + c);
    transform(d, v, f);
    float* at = to.at(r, c);
    for (int i = 0; i < A; ++i)
      for (int j = 0; j < A; ++j) store(at + (i * A + j) * to.step, v[i][j]);
  }
}

// Writes the M x M outputs from row r of the matrices, except those outside of the image.
template <int M>
void write_outputs(const Pictures& y, float* to, const Corner& corner, const Matrices& from, int64_t r) {
  constexpr int A = M + 2;
  const int64_t rows = std::min<int64_t>(M, y.H - corner.y), columns = std::min<int64_t>(M, y.W - corner.x);
  to += ((corner.n * y.H + corner.y) * y.W + corner.x) * y.C;
  for (int64_t c = 0; c < y.C; c += LANES) {
    V m[A][A], out[M][M];
    const float* at = from.at(r, c);
    for (int i = 0; i < A; ++i)
      for (int j = 0; j < A; ++j) m[i][j] = load(at + (i * A + j) * from.step);
    transform(m, out, typename Winograd<M>::Outputs());
    for (int i = 0; i < M; ++i)
      for (int j = 0; j < M; ++j)
        if (i < rows && j < columns) store(to + (i * y.W + j) * y.C + c, out[i][j]);
  }
}

inline void transpose(V8 (&x)[8]) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    x[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}

// Weights [O, 3, 3, I] -> P matrices [I, O], by panels of O; if `turned`, P matrices [O, I], by panels of I, of the
// weights rotated by 180 degrees. `to` has one row for each channel of the convolution's input.
template <int M>
void transform_weights(const float* w, int64_t O, int64_t I, bool turned, const Matrices& to) {
  constexpr int A = M + 2;
  const int64_t inputs = turned ? O : I, outputs = turned ? I : O;
  torch::stable::parallel_for(0, outputs / 8, 1, [&](int64_t begin, int64_t end) {
    for (int64_t out = begin * 8; out < end * 8; out += 8)
      for (int64_t in = 0; in < inputs; in += 8) {
        V8 taps[9][8];  // by input channel; lanes are output channels
        for (int k = 0; k < 9; ++k) {
          for (int c = 0; c < 8; ++c)
            taps[k][c] = load<V8>(turned ? w + ((in + c) * 9 + 8 - k) * I + out : w + ((out + c) * 9 + k) * I + in);
          if (!turned) transpose(taps[k]);
        }
        for (int c = 0; c < 8; ++c) {
          V8 g[3][3], u[A][A];
          for (int k = 0; k < 9; ++k) g[k / 3][k % 3] = taps[k][c];
          transform(g, u, typename Winograd<M>::Weights());
          float* at = to.at(in + c, out);
          for (int i = 0; i < A; ++i)
            for (int j = 0; j < A; ++j) store(at + (i * A + j) * to.step, u[i][j]);
        }
      }
  });
}

// P matrices [O, I] by rows -> the gradient of weights [O, 3, 3, I].
template <int M>
void write_weight_gradients(const Matrices& from, float* gw, int64_t O, int64_t I) {
  constexpr int A = M + 2;
  torch::stable::parallel_for(0, O, 4, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t i = 0; i < I; i += LANES) {
        V u[A][A], g[3][3];
        const float* at = from.at(o, i);
        for (int k = 0; k < A * A; ++k) u[k / A][k % A] = load(at + k * from.step);
        transform(u, g, typename Winograd<M>::WeightGradients());
        for (int k = 0; k < 9; ++k) store(gw + (o * 9 + k) * I + i, g[k / 3][k % 3]);
      }
  });
}

}  // namespace custom_ops
