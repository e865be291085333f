// The horizontal half of a resampling filter on a CPU, and weighted sums of lines of numbers, of which filters consist.
#pragma once

#include <cstdlib>
#include <type_traits>

#include "upfirdn2d.h"

namespace custom_ops {

// A buffer aligned to cache lines. Vectors across two cache lines load at half the speed.
template <typename T>
class Buffer {
 public:
  // If the buffer grows, it loses its content and is filled with zeros.
  void reserve(int64_t n) {
    if (n > size()) lines_.assign((n - 1) / EACH + 1, Line{});
  }
  int64_t size() const { return static_cast<int64_t>(lines_.size()) * EACH; }
  T* data() { return lines_.empty() ? nullptr : lines_.data()->at; }

 private:
  static constexpr int64_t EACH = 64 / sizeof(T);
  struct alignas(64) Line {
    T at[EACH];
  };
  std::vector<Line> lines_;
};

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
    if (m <= MOST) return some<false>(y, 0, m, nullptr, runs);
    spare.reserve(2 * n);
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

template <typename T>
class RowFilter {
  using W = Wide<T>;

 public:
  RowFilter(const Axis& axis, int64_t channels, const std::vector<W>& taps)
      : axis_(axis), C_(channels), few_(channels < MANY_CHANNELS), taps_(taps) {}

  // Prepares for outputs `start` to `end` and up to `lines` input lines.
  void aim(int64_t start, int64_t end, int64_t lines) {
    if (start == start_ && end == end_ && lines <= count_) return;
    start_ = start, end_ = end, count_ = lines;
    low_ = unbounded_reach(axis_, start).first;
    const int64_t last = floor_divide((end - 1) * axis_.down - axis_.before + axis_.taps - 1, axis_.up);
    const int64_t high = std::max(last + 1, low_);
    width_ = std::max<int64_t>(ceil_divide(high - low_, axis_.down), 1) * axis_.down;
    low_in_ = std::clamp(std::clamp<int64_t>(low_, 0, axis_.in), low_, high);
    high_in_ = std::clamp(std::clamp<int64_t>(high, 0, axis_.in), low_in_, high);
    lines_.reserve(lines * step());
    if (splits()) split_.reserve(lines * step());
    for (int64_t i = 0; i < lines; ++i) {  // zeros to the left and right of the image
      W* all = lines_.data() + i * step();
      std::fill(all, line(i), W(0));
      std::fill(line(i) + numbers(), all + step(), W(0));
    }
    prepare();
  }

  // The caller fills line(i) with numbers() numbers, from column() of the input on, before `run`.
  int64_t column() const { return low_in_; }
  int64_t numbers() const { return (high_in_ - low_in_) * C_; }
  W* line(int64_t i) { return lines_.data() + i * step() + (low_in_ - low_) * C_; }
  int64_t step() const { return width_ * C_; }

  // Writes `rows` rows of outputs, y_row apart.
  void run(T* y, int64_t y_row, int64_t rows) {
    // Copies every down-th column to a line of its own, so that summed columns are neighbors.
    const int64_t length = width_ / axis_.down, parts = splits() ? rows * axis_.down : 0;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t line = part / axis_.down * width_, d = part % axis_.down;
      copy_pixels<false>(split_.data() + (line + d * length) * C_, lines_.data() + (line + d) * C_, length, axis_.down, C_);
    }
    for (int64_t q = 0; q < phases(); ++q) {
      const int64_t outputs = (end_ - start_ - q - 1) / axis_.up + 1, n = outputs * C_;
      Runs runs{rows, step(), y_row, 1, 0, 0, n};
      if (few_ && axis_.up > 1) {
        phase_.reserve(rows * n);
        runs.y_row = n;
        sums_[q].into(phase_.data(), runs, spare_);
        for (int64_t row = 0; row < rows; ++row)
          copy_pixels<true>(y + row * y_row + q * C_, phase_.data() + row * n, outputs, axis_.up, C_);
      } else {
        if (!few_ && (axis_.up > 1 || axis_.down > 1))
          runs.count = outputs, runs.x_run = axis_.down * C_, runs.y_run = axis_.up * C_, runs.n = C_;
        sums_[q].into(y + q * C_, runs, spare_);
      }
    }
  }

 private:
  static constexpr int64_t MANY_CHANNELS = 8;  // enough to fill vector registers
  bool splits() const { return few_ && axis_.down > 1; }
  int64_t phases() const { return std::min(axis_.up, end_ - start_); }

  // Outputs q, q + up, ... use the same taps.
  void prepare() {
    sums_.resize(phases());
    const W* from = splits() ? split_.data() : lines_.data();
    for (int64_t q = 0; q < phases(); ++q) {
      const Reach r = unbounded_reach(axis_, start_ + q);
      sums_[q].clear();
      for (int64_t m = 0; m < r.count; ++m) {
        const int64_t column = r.first - low_ + m, length = width_ / axis_.down;
        const int64_t at = splits() ? column % axis_.down * length + column / axis_.down : column;
        sums_[q].add(from + at * C_, taps_[r.tap + m * axis_.up]);
      }
    }
  }

  const Axis axis_;
  const int64_t C_;
  const bool few_;
  const std::vector<W>& taps_;
  int64_t start_ = 0, end_ = 0;       // outputs
  int64_t count_ = 0;                 // lines
  int64_t low_ = 0, width_ = 0;       // columns that the outputs use, also outside of the image
  int64_t low_in_ = 0, high_in_ = 0;  // those inside the image
  std::vector<WeightedSum<W>> sums_;
  Buffer<W> lines_, split_, phase_, spare_;
};

}  // namespace custom_ops
