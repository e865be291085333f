// Weighted sums and copies of lines of numbers, of which resampling filters on a CPU consist.
#pragma once

#include <new>

#include "upfirdn2d.h"

namespace custom_ops {

// Allocates at cache lines. Vectors across two cache lines load at half the speed.
template <typename T>
struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t LINE{64};
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), LINE)); }
  void deallocate(T* p, size_t) { ::operator delete(p, LINE); }
  bool operator==(const Aligned&) const = default;
};

template <typename T>
using Buffer = std::vector<T, Aligned<T>>;

// Makes room for n numbers. New ones are zeros.
template <typename T>
void grow(Buffer<T>& buffer, int64_t n) {
  if (n > static_cast<int64_t>(buffer.size())) buffer.resize(n);
}

// Rounds as `narrow`, without its test for NaN, which takes a quarter of a line's time. The result is wrong only for a
// NaN whose high payload bits are zero, and sums of narrow numbers cannot give such a NaN.
template <typename T>
inline T rounded(Wide<T> x) {
  return narrow<T, false>(x);
}

// `rows` times `count` runs of n numbers each. The summed lines advance by x_row per row and x_run per run, and their
// sum by y_row and y_run.
struct Runs {
  int64_t rows, x_row, y_row;
  int64_t count, x_run, y_run;
  int64_t n;

  int64_t numel() const { return rows * count * n; }
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
    if (m <= MOST) return some<false>(y, 0, m, nullptr, runs);
    grow(spare, 2 * n);
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
  template <bool ADD, typename D>
  void some(D* y, int64_t first, int64_t m, const Wide<S>* before, const Runs& runs) const {
    const S* const* x = lines_.data() + first;
    const Wide<S>* w = weights_.data() + first;
    if (m == 0)
      for (int64_t i = 0; i < runs.rows * runs.count; ++i)
        std::fill_n(y + i / runs.count * runs.y_row + i % runs.count * runs.y_run, runs.n, rounded<D>(0));
    if (m == 1) return sum_lines<1, ADD>(y, x, w, before, runs);
    if (m == 2) return sum_lines<2, ADD>(y, x, w, before, runs);
    if (m == 3) return sum_lines<3, ADD>(y, x, w, before, runs);
    if (m == 4) return sum_lines<4, ADD>(y, x, w, before, runs);
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

// SPREAD: copies pixels x to every step-th pixel of y; otherwise every step-th pixel of x to y. The usual steps and
// numbers of channels are constants, so that compilers unroll and vectorize the loops.
template <bool SPREAD, typename T, typename W>
void copy_pixels(T* y_, const W* x_, int64_t pixels, int64_t step, int64_t channels) {
  const auto copy = [&](auto step, auto channels) {
    T* __restrict y = y_;
    const W* __restrict x = x_;
    for (int64_t t = 0; t < pixels; ++t)
      for (int64_t c = 0; c < channels; ++c)
        y[(SPREAD ? t * step : t) * channels + c] = rounded<T>(x[(SPREAD ? t : t * step) * channels + c]);
  };
  const std::integral_constant<int64_t, 2> two;
  if (step == 2 && channels == 1) copy(two, std::integral_constant<int64_t, 1>());
  else if (step == 2 && channels == 3) copy(two, std::integral_constant<int64_t, 3>());
  else copy(step, channels);
}

}  // namespace custom_ops
