// Matrix products of transformed tensors: blocks of the result stay in vector registers while products are summed.
#pragma once

#include "winograd_tiles.h"

namespace custom_ops {

constexpr int ROWS = LANES == 16 ? 12 : 6;  // of the result at a time: 24 or 12 of the 32 or 16 vector registers
constexpr int64_t DEEP = 4096 / LANES;      // products that are summed at a time: a panel of 32 KiB or less stays in L1

// c [R, PANEL] (+)= a b. a(r, k) is at a + r * a_row + k * a_step, and b [K, PANEL] is dense. SIDE: a_row is 1.
template <int R, bool SIDE>
void multiply(const float* a, int64_t lda, const float* b, int64_t K, float* c, int64_t ldc, bool add) {
  V sum[R][2];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
    for (int half = 0; half < 2; ++half) sum[r][half] = add ? load(c + r * ldc + half * LANES) : V{};
  for (int64_t k = 0; k < K; ++k, b += PANEL) {
    const V left = load(b), right = load(b + LANES);
    const float* factors = a + (SIDE ? k * lda : k);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const float factor = factors[SIDE ? r : r * lda];
      sum[r][0] = factor * left + sum[r][0];
      sum[r][1] = factor * right + sum[r][1];
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
    for (int half = 0; half < 2; ++half) store(c + r * ldc + half * LANES, sum[r][half]);
}

// The same for any number of rows.
template <bool SIDE, int R = ROWS>
void multiply_rows(
    const float* a, int64_t lda, int64_t rows, const float* b, int64_t K, float* c, int64_t ldc, bool add) {
  for (; rows >= R; rows -= R, a += SIDE ? R : R * lda, c += R * ldc) multiply<R, SIDE>(a, lda, b, K, c, ldc, add);
  if constexpr (R > 1) multiply_rows<SIDE, R - 1>(a, lda, rows, b, K, c, ldc, add);
}

// Panel o of c [rows, O] = a [rows, I] b [I, O] at position p, with a and c by rows and b by panels.
inline void multiply_inputs(
    const Matrices& a, const Matrices& b, const Matrices& c, int64_t p, int64_t o, int64_t rows, int64_t I) {
  for (int64_t i = 0; i < I; i += DEEP)
    multiply_rows<false>(
        a.at(0, i) + p * a.step, a.row, rows, b.at(i, o) + p * b.step, std::min(DEEP, I - i), c.at(0, o) + p * c.step,
        c.row, i > 0);
}

// Panel i of c [O, I] (+)= the transpose of a [rows, O] times b [rows, I], with a and c by rows and b by panels.
inline void multiply_gradients(
    const Matrices& a, const Matrices& b, const Matrices& c, int64_t p, int64_t i, int64_t rows, int64_t O, bool add) {
  multiply_rows<true>(
      a.at(0, 0) + p * a.step, a.row, O, b.at(0, i) + p * b.step, rows, c.at(0, i) + p * c.step, c.row, add);
}

}  // namespace custom_ops
