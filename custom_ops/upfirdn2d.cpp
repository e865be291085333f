// CPU kernel of upfirdn2d: a few lines of the output at a time, first vertically, then horizontally. Both are weighted
// sums of lines. Vector registers hold channels, or columns and channels if channels are few.
#include "lines.h"

namespace custom_ops {
namespace {

constexpr int64_t NEAR = 1 << 15;   // bytes of the input that are processed at a time, to fit into a cache
constexpr int64_t GRAIN = 1 << 15;  // outputs per thread, at least
constexpr int64_t MANY_CHANNELS = 8;  // enough to fill vector registers

// The filter as a correlation in both directions. The gain goes with the columns.
template <typename W>
struct Taps {
  std::vector<W> columns, rows;
};

template <typename T>
class Worker {
  using W = Wide<T>;
  using BlockSum = void (*)(W*, int64_t, const T* const*, const W*, int64_t);

 public:
  Worker(const Images<T>& images, const Taps<W>& taps)
      : images_(images), down_(images.vertical), across_(images.horizontal), taps_(taps), C_(images.channels) {
    if (down_.taps == 4) {
      if (down_.up == 1 && down_.down == 1) take<1, 1>();
      if (down_.up == 1 && down_.down == 2) take<1, 2>();
      if (down_.up == 2 && down_.down == 1) take<2, 1>();
    }
    const int64_t most = std::max<int64_t>(8, NEAR / sizeof(T) / block_out_ / C_) * across_.up / across_.down + 1;
    tile_ = ceil_divide(across_.out, ceil_divide(across_.out, most));
  }

  // Strips are counted over all samples. They depend on sizes only, so results do not depend on the number of threads.
  void operator()(int64_t begin, int64_t end) {
    const Strips strips = this->strips();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / strips.count, first = strips.first(i % strips.count), last = first + strips.rows;
      const int64_t row = std::max<int64_t>(first, 0), rows = std::min(last, down_.out) - row;
      for (int64_t start = 0; start < across_.out; start += tile_) {
        aim(start, std::min(start + tile_, across_.out));
        T* y = images_.y + ((n * down_.out + row) * across_.out + start) * C_;
        if (block_sum_ && rows == strips.rows) block(y, n, row);
        else for (int64_t r = 0; r < rows; ++r) line(y + r * across_.out * C_, n, row + r);
      }
    }
  }

  Strips strips() const { return {down_, block_out_}; }

 private:
  template <int UP, int DOWN>
  void take() {
    block_in_ = Block<UP, DOWN>::IN, block_out_ = Block<UP, DOWN>::OUT;
    block_sum_ = &Block<UP, DOWN>::template sum<T>;
  }

  const T* input(int64_t n, int64_t row) const {
    return images_.x + ((n * down_.in + row) * across_.in + low_in_) * C_;
  }

  void line(T* y, int64_t n, int64_t row) {
    const Reach r = reach(down_, row);
    column_.clear();
    for (int64_t m = 0; m < r.count; ++m) column_.add(input(n, r.first + m), taps_.rows[r.tap + m * down_.up]);
    column_.into(inside(), Runs{1, 0, 0, 1, 0, 0, numbers()}, spare_);
    filter_rows(y, 1);
  }

  void block(T* y, int64_t n, int64_t row) {
    grow(nothing_, numbers());
    const int64_t first = unbounded_reach(down_, row).first;
    const T* x[16];
    for (int64_t i = 0; i < block_in_; ++i) {
      const bool exists = first + i >= 0 && first + i < down_.in;
      x[i] = exists ? input(n, first + i) : nothing_.data();
    }
    block_sum_(inside(), step(), x, taps_.rows.data(), numbers());
    filter_rows(y, block_out_);
  }

  // Prepares the horizontal filter for the columns `start` to `end` of the output.
  void aim(int64_t start, int64_t end) {
    if (start == start_ && end == end_) return;
    start_ = start, end_ = end;
    low_ = unbounded_reach(across_, start).first;
    const int64_t last = floor_divide((end - 1) * across_.down - across_.before + across_.taps - 1, across_.up);
    const int64_t high = std::max(last + 1, low_);
    width_ = std::max<int64_t>(ceil_divide(high - low_, across_.down), 1) * across_.down;
    low_in_ = std::clamp(std::clamp<int64_t>(low_, 0, across_.in), low_, high);
    high_in_ = std::clamp(std::clamp<int64_t>(high, 0, across_.in), low_in_, high);
    grow(lines_, block_out_ * step());
    if (splits()) grow(split_, block_out_ * step());
    for (int64_t i = 0; i < block_out_; ++i) {  // zeros to the left and right of the image
      W* line = inside() + i * step();
      std::fill(lines_.data() + i * step(), line, W(0));
      std::fill(line + numbers(), lines_.data() + (i + 1) * step(), W(0));
    }
    sums_.resize(phases());
    const W* from = splits() ? split_.data() : lines_.data();
    for (int64_t q = 0; q < phases(); ++q) {  // outputs q, q + up, ... use the same taps
      const Reach r = unbounded_reach(across_, start + q);
      sums_[q].clear();
      for (int64_t m = 0; m < r.count; ++m) {
        const int64_t column = r.first - low_ + m, length = width_ / across_.down;
        const int64_t at = splits() ? column % across_.down * length + column / across_.down : column;
        sums_[q].add(from + at * C_, taps_.columns[r.tap + m * across_.up]);
      }
    }
  }

  // Filters `rows` lines horizontally.
  void filter_rows(T* y, int64_t rows) {
    // Copies every down-th column to a line of its own, so that summed columns are neighbors.
    const int64_t length = width_ / across_.down, parts = splits() ? rows * across_.down : 0;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t line = part / across_.down * width_, d = part % across_.down;
      copy_pixels<false>(
          split_.data() + (line + d * length) * C_, lines_.data() + (line + d) * C_, length, across_.down, C_);
    }
    const int64_t y_row = across_.out * C_;
    for (int64_t q = 0; q < phases(); ++q) {
      const int64_t outputs = (end_ - start_ - q - 1) / across_.up + 1, n = outputs * C_;
      Runs runs{rows, step(), y_row, 1, 0, 0, n};
      if (few_ && across_.up > 1) {
        grow(phase_, rows * n);
        runs.y_row = n;
        sums_[q].into(phase_.data(), runs, spare_);
        for (int64_t row = 0; row < rows; ++row)
          copy_pixels<true>(y + row * y_row + q * C_, phase_.data() + row * n, outputs, across_.up, C_);
        continue;
      }
      if (!few_ && (across_.up > 1 || across_.down > 1))
        runs.count = outputs, runs.x_run = across_.down * C_, runs.y_run = across_.up * C_, runs.n = C_;
      sums_[q].into(y + q * C_, runs, spare_);
    }
  }

  int64_t step() const { return width_ * C_; }                       // from line to line
  int64_t numbers() const { return (high_in_ - low_in_) * C_; }      // of a line inside the image
  W* inside() { return lines_.data() + (low_in_ - low_) * C_; }      // where they begin
  bool splits() const { return few_ && across_.down > 1; }
  int64_t phases() const { return std::min(across_.up, end_ - start_); }

  const Images<T>& images_;
  const Axis down_, across_;
  const Taps<W>& taps_;
  const int64_t C_;
  const bool few_ = C_ < MANY_CHANNELS;
  int64_t block_in_ = 1, block_out_ = 1;  // lines
  BlockSum block_sum_ = nullptr;
  int64_t tile_ = 0;                  // columns of the output that are computed at once
  int64_t start_ = 0, end_ = 0;       // those that are computed now
  int64_t low_ = 0, width_ = 0;       // columns that they use, also outside of the image
  int64_t low_in_ = 0, high_in_ = 0;  // those inside the image
  WeightedSum<T> column_;
  std::vector<WeightedSum<W>> sums_;
  Buffer<W> lines_, split_, phase_, spare_;
  Buffer<T> nothing_;
};

// A matrix is divided into its two factors. The product with the gain is rounded once.
template <typename W>
Taps<W> taps_of(const Tensor& f_, double gain, bool flip) {
  const Tensor given = dense(f_, MemoryFormat::Contiguous);
  const bool is_line = given.dim() == 1;
  const int64_t n = given.numel(), rows = given.size(0), columns = given.size(given.dim() - 1);
  std::vector<W> f(n), across(columns), down(rows);
  for (int64_t k = 0; k < n; ++k) {  // reversed unless `flip`, as a correlation
    const float tap = given.const_data_ptr<float>()[flip ? k : n - 1 - k];
    f[k] = static_cast<W>(tap * gain);
    if (is_line) down[k] = static_cast<W>(tap);
  }
  if (is_line) return {f, down};
  const auto largest = std::max_element(f.begin(), f.end(), [](W a, W b) { return std::abs(a) < std::abs(b); });
  if (*largest == 0) return {across, down};
  const int64_t row = (largest - f.begin()) / columns, column = (largest - f.begin()) % columns;
  for (int64_t j = 0; j < columns; ++j) across[j] = f[row * columns + j];
  for (int64_t i = 0; i < rows; ++i) down[i] = f[i * columns + column] / *largest;
  for (int64_t k = 0; k < n; ++k)
    STD_TORCH_CHECK(
        std::abs(down[k / columns] * across[k % columns] - f[k]) <= 1e-6 * std::abs(*largest),
        "a filter [rows, columns] must be the outer product of two lines");
  return {across, down};
}

template <typename T>
void run(const Images<T>& images, const Taps<Wide<T>>& taps) {
  const Strips strips = Worker<T>(images, taps).strips();
  const int64_t outputs = strips.rows * images.horizontal.out * images.channels;
  const int64_t grain = std::max<int64_t>(1, GRAIN / outputs);
  torch::stable::parallel_for(0, images.samples * strips.count, grain, [&](int64_t begin, int64_t end) {
    Worker<T>(images, taps)(begin, end);
  });
}

Tensor upfirdn2d(
    const Tensor& x, const Tensor& f, int64_t up, int64_t down, int64_t left, int64_t right, int64_t top,
    int64_t bottom, double gain, bool flip) {
  return resample(x, f, up, down, left, right, top, bottom, [&]<typename T>(const Images<T>& images) {
    run(images, taps_of<Wide<T>>(f, gain, flip));
  });
}

}  // namespace
}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CPU, m) { m.impl("upfirdn2d", TORCH_BOX(&custom_ops::upfirdn2d)); }
