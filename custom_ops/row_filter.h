// The horizontal half of a resampling filter on a CPU. Its input lines are already filtered vertically.
#pragma once

#include "upfirdn2d.h"
#include "weighted_sum.h"

namespace custom_ops {

// Copies x to every step-th pixel of y, or every step-th pixel of x to y. C is the number of channels; 0 means any.
template <int C, typename T>
void scatter(T* __restrict y, const Wide<T>* __restrict x, int64_t pixels, int64_t step, int64_t channels) {
  if constexpr (C) channels = C;
  for (int64_t t = 0; t < pixels; ++t)
    for (int64_t c = 0; c < channels; ++c) y[t * step * channels + c] = rounded<T>(x[t * channels + c]);
}

template <int C, typename W>
void gather(W* __restrict y, const W* __restrict x, int64_t pixels, int64_t step, int64_t channels) {
  if constexpr (C) channels = C;
  for (int64_t t = 0; t < pixels; ++t)
    for (int64_t c = 0; c < channels; ++c) y[t * channels + c] = x[t * step * channels + c];
}

template <typename T>
class RowFilter {
  using W = Wide<T>;

 public:
  RowFilter(const Axis& axis, int64_t channels) : axis_(axis), C_(channels), few_(channels < MANY_CHANNELS) {}

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
    lines_.reserve(lines * step(), 0);
    if (splits()) split_.reserve(lines * step(), 0);
    for (int64_t i = 0; i < lines; ++i) {  // zeros to the left and right of the image
      W* all = lines_.data() + i * step();
      std::fill(all, line(i), W(0));
      std::fill(line(i) + numbers(), all + step(), W(0));
    }
    taps_ = nullptr;
  }

  // The caller fills line(i) with numbers() numbers, from column() of the input on, before `run`.
  int64_t column() const { return low_in_; }
  int64_t numbers() const { return (high_in_ - low_in_) * C_; }
  W* line(int64_t i) { return lines_.data() + i * step() + (low_in_ - low_) * C_; }
  int64_t step() const { return width_ * C_; }

  // Writes `rows` rows of outputs, y_row apart. Each is the sum of `count` filtered lines, with taps taps_row apart.
  void run(T* y, int64_t y_row, int64_t rows, int64_t count, const W* taps, int64_t taps_row) {
    if (splits()) split(rows * count);
    if (taps != taps_ || count != summed_) prepare(count, taps, taps_row);
    for (int64_t q = 0; q < phases(); ++q) {
      const int64_t outputs = (end_ - start_ - q - 1) / axis_.up + 1, n = outputs * C_;
      Runs runs{rows, count * step(), y_row, 1, 0, 0, n};
      if (few_ && axis_.up > 1) {
        phase_.reserve(rows * n, 0);
        runs.y_row = n;
        sums_[q].into(phase_.data(), runs, spare_);
        for (int64_t row = 0; row < rows; ++row) merge(y + row * y_row + q * C_, phase_.data() + row * n, outputs);
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
  void prepare(int64_t count, const W* taps, int64_t taps_row) {
    taps_ = taps, summed_ = count;
    sums_.resize(phases());
    const W* from = splits() ? split_.data() : lines_.data();
    for (int64_t q = 0; q < phases(); ++q) {
      const Reach r = unbounded_reach(axis_, start_ + q);
      sums_[q].clear();
      for (int64_t i = 0; i < count; ++i)
        for (int64_t m = 0; m < r.count; ++m) {
          const int64_t column = r.first - low_ + m, length = width_ / axis_.down;
          const int64_t at = splits() ? column % axis_.down * length + column / axis_.down : column;
          sums_[q].add(from + (i * width_ + at) * C_, taps[i * taps_row + r.tap + m * axis_.up]);
        }
    }
  }

  // Copies every down-th column to a line of its own, so that summed columns are neighbors.
  void split(int64_t count) {
    const int64_t length = width_ / axis_.down;
    for (int64_t i = 0; i < count; ++i)
      for (int64_t d = 0; d < axis_.down; ++d) {
        const W* from = lines_.data() + (i * width_ + d) * C_;
        W* to = split_.data() + (i * width_ + d * length) * C_;
        if (C_ == 1 && axis_.down == 2) gather<1>(to, from, length, 2, 1);
        else if (C_ == 3 && axis_.down == 2) gather<3>(to, from, length, 2, 3);
        else gather<0>(to, from, length, axis_.down, C_);
      }
  }

  void merge(T* y, const W* phase, int64_t outputs) {
    if (C_ == 1 && axis_.up == 2) scatter<1>(y, phase, outputs, 2, 1);
    else if (C_ == 3 && axis_.up == 2) scatter<3>(y, phase, outputs, 2, 3);
    else scatter<0>(y, phase, outputs, axis_.up, C_);
  }

  const Axis axis_;
  const int64_t C_;
  const bool few_;
  int64_t start_ = 0, end_ = 0;       // outputs
  int64_t count_ = 0;                 // lines
  int64_t low_ = 0, width_ = 0;       // columns that the outputs use, also outside of the image
  int64_t low_in_ = 0, high_in_ = 0;  // those inside the image
  const W* taps_ = nullptr;           // the taps of the prepared sums,
  int64_t summed_ = 0;                // and their number of lines
  std::vector<WeightedSum<W>> sums_;
  Buffer<W> lines_, split_, phase_, spare_;
};

}  // namespace custom_ops
