// Weighted sums of lines of numbers: the primitive of FIR filters on a CPU.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "scalar.h"

namespace custom_ops {

// A buffer aligned to cache lines. Vectors across two cache lines load at half the speed.
template <typename T>
class Buffer {
 public:
  // If the buffer grows, it loses its content and is filled with `fill`.
  void reserve(int64_t n, T fill) {
    if (n <= size_) return;
    numbers_.reset(static_cast<T*>(std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64)));
    if (!numbers_) throw std::bad_alloc();
    size_ = n;
    std::fill_n(data(), n, fill);
  }
  T* data() { return numbers_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> numbers_;
  int64_t size_ = 0;
};

// Rounds as `narrow`, without its test for NaN, which takes a quarter of a line's time. The result is wrong only for a
// NaN whose high payload bits are zero, and sums of narrow numbers cannot give such a NaN.
template <typename T>
inline T rounded(Wide<T> x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return BFloat16(static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16), BFloat16::from_bits());
  }
  return narrow<T>(x);
}

// `rows` times `count` runs of n numbers each. The summed lines advance by x_row per row and x_run per run, and their
// sum by y_row and y_run.
struct Runs {
  int64_t rows, x_row, y_row;
  int64_t count, x_run, y_run;
  int64_t n;

  int64_t numel() const { return rows * count * n; }
  static Runs one(int64_t n) { return {1, 0, 0, 1, 0, 0, n}; }
};

template <int M, bool ADD, typename D, typename S>
void sum_lines(D* y_, const S* const* x, const Wide<S>* w, const Wide<S>* before, const Runs& runs) {
  const Wide<S> w0 = w[0], w1 = w[M > 1 ? 1 : 0], w2 = w[M > 2 ? 2 : 0], w3 = w[M > 3 ? 3 : 0];
  const int64_t n = runs.n, d1 = x[M > 1 ? 1 : 0] - x[0], d2 = x[M > 2 ? 2 : 0] - x[0], d3 = x[M > 3 ? 3 : 0] - x[0];
  for (int64_t row = 0; row < runs.rows; ++row)
    for (int64_t run = 0; run < runs.count; ++run) {
      const int64_t at = row * runs.x_row + run * runs.x_run;
      const S *x0 = x[0] + at, *x1 = x0 + d1, *x2 = x0 + d2, *x3 = x0 + d3;
      D* y = y_ + row * runs.y_row + run * runs.y_run;
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) {
        Wide<S> sum = w0 * widen(x0[j]);
        if constexpr (M > 1) sum += w1 * widen(x1[j]);
        if constexpr (M > 2) sum += w2 * widen(x2[j]);
        if constexpr (M > 3) sum += w3 * widen(x3[j]);
        if constexpr (ADD) sum += before[j];
        y[j] = rounded<D>(sum);
      }
      if constexpr (ADD) before += n;
    }
}

// A sum of lines, with a weight for each.
template <typename S>
class WeightedSum {
  static constexpr int MOST = 4;  // lines that are summed at once

 public:
  void clear() { lines_.clear(), weights_.clear(); }
  void add(const S* line, Wide<S> weight) { lines_.push_back(line), weights_.push_back(weight); }

  // `spare` holds partial sums if there are more than MOST lines.
  template <typename D>
  void into(D* y, const Runs& runs, Buffer<Wide<S>>& spare) const {
    const int64_t m = static_cast<int64_t>(lines_.size()), n = runs.numel();
    if (m == 0) return nothing(y, runs);
    if (m <= MOST) return some<false>(y, 0, m, nullptr, runs);
    spare.reserve(2 * n, 0);
    Wide<S>*to = spare.data(), *before = to + n;
    const Runs part{runs.rows, runs.x_row, runs.count * runs.n, runs.count, runs.x_run, runs.n, runs.n};
    some<false>(to, 0, MOST, nullptr, part);
    for (int64_t i = MOST; i < m; i += MOST) {
      std::swap(to, before);
      if (i + MOST >= m) some<true>(y, i, m - i, before, runs);
      else some<true>(to, i, MOST, before, part);
    }
  }

 private:
  template <typename D>
  static void nothing(D* y, const Runs& runs) {
    for (int64_t row = 0; row < runs.rows; ++row)
      for (int64_t run = 0; run < runs.count; ++run)
        std::fill_n(y + row * runs.y_row + run * runs.y_run, runs.n, rounded<D>(0));
  }

  template <bool ADD, typename D>
  void some(D* y, int64_t first, int64_t m, const Wide<S>* before, const Runs& runs) const {
    const S* const* x = &lines_[first];
    const Wide<S>* w = &weights_[first];
    if (m == 1) return sum_lines<1, ADD>(y, x, w, before, runs);
    if (m == 2) return sum_lines<2, ADD>(y, x, w, before, runs);
    if (m == 3) return sum_lines<3, ADD>(y, x, w, before, runs);
    return sum_lines<4, ADD>(y, x, w, before, runs);
  }

  std::vector<const S*> lines_;
  std::vector<Wide<S>> weights_;
};

// Several neighboring output lines of a filter of four taps, so that each input line is read once: y[r] = sum of w[k] *
// x[r * DOWN + k]. For UP = 2 every other tap meets a zero, and the first line uses the odd taps.
template <int UP, int DOWN>
struct Block {
  static constexpr int OUT = DOWN == 2 ? 2 : 4;
  static constexpr int IN = UP == 2 ? OUT / 2 + 1 : (OUT - 1) * DOWN + 4;

  template <typename S>
  static void sum(Wide<S>* y, int64_t y_step, const S* const* x_, const Wide<S>* w, int64_t n) {
    const S* x[IN];
    std::copy_n(x_, IN, x);
    const Wide<S> w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) {
      Wide<S> v[IN];
#pragma GCC unroll 16
      for (int i = 0; i < IN; ++i) v[i] = widen(x[i][j]);
#pragma GCC unroll 16
      for (int r = 0; r < OUT; ++r) {
        const int i = UP == 2 ? r / 2 : r * DOWN;
        if constexpr (UP == 1) y[r * y_step + j] = w0 * v[i] + w1 * v[i + 1] + w2 * v[i + 2] + w3 * v[i + 3];
        else y[r * y_step + j] = r % 2 ? w0 * v[i] + w2 * v[i + 1] : w1 * v[i] + w3 * v[i + 1];
      }
    }
  }
};

}  // namespace custom_ops
