// CPU kernel of upfirdn2d: a few lines of the output at a time, first vertically, then horizontally.
//
// Both directions are weighted sums of lines of numbers. Vector registers hold channels, or columns and channels if
// channels are few. Bounds are computed once per line, never tested within a loop over numbers.
#include "row_filter.h"

namespace custom_ops {
namespace {

constexpr int64_t NEAR = 1 << 15;   // bytes of the input that are processed at a time, to fit into a cache
constexpr int64_t GRAIN = 1 << 15;  // outputs per thread, at least

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
      : images_(images), taps_(taps), C_(images.channels), along_(images.horizontal, images.channels, taps.columns) {
    const Axis &down = images.vertical, &across = images.horizontal;
    if (down.taps == 4) {
      if (down.up == 1 && down.down == 1) take<1, 1>();
      if (down.up == 1 && down.down == 2) take<1, 2>();
      if (down.up == 2 && down.down == 1) take<2, 1>();
    }
    const int64_t most = std::max<int64_t>(8, NEAR / sizeof(T) / block_out_ / C_) * across.up / across.down + 1;
    tile_ = ceil_divide(across.out, ceil_divide(across.out, most));
  }

  // Strips are counted over all samples. They depend on sizes only, so results do not depend on the number of threads.
  void operator()(int64_t begin, int64_t end) {
    const Strips strips = this->strips();
    const int64_t height = images_.vertical.out, width = images_.horizontal.out;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / strips.count, first = strips.first(i % strips.count), last = first + strips.rows;
      const int64_t row = std::max<int64_t>(first, 0), rows = std::min(last, height) - row;
      for (int64_t start = 0; start < width; start += tile_) {
        along_.aim(start, std::min(start + tile_, width), block_out_);
        T* y = images_.y + ((n * height + row) * width + start) * C_;
        if (block_sum_ && rows == strips.rows) block(y, n, row);
        else for (int64_t r = 0; r < rows; ++r) line(y + r * width * C_, n, row + r);
      }
    }
  }

  Strips strips() const { return {images_.vertical, block_out_}; }

 private:
  template <int UP, int DOWN>
  void take() {
    block_in_ = Block<UP, DOWN>::IN, block_out_ = Block<UP, DOWN>::OUT;
    block_sum_ = &Block<UP, DOWN>::template sum<T>;
  }

  const T* input(int64_t n, int64_t row) const {
    return images_.x + ((n * images_.vertical.in + row) * images_.horizontal.in + along_.column()) * C_;
  }

  void line(T* y, int64_t n, int64_t row) {
    const Reach r = reach(images_.vertical, row);
    down_.clear();
    for (int64_t m = 0; m < r.count; ++m)
      down_.add(input(n, r.first + m), taps_.rows[r.tap + m * images_.vertical.up]);
    down_.into(along_.line(0), Runs::one(along_.numbers()), spare_);
    along_.run(y, 0, 1);
  }

  void block(T* y, int64_t n, int64_t row) {
    nothing_.reserve(along_.numbers());
    const int64_t first = unbounded_reach(images_.vertical, row).first;
    const T* x[16];
    for (int64_t i = 0; i < block_in_; ++i) {
      const bool exists = first + i >= 0 && first + i < images_.vertical.in;
      x[i] = exists ? input(n, first + i) : nothing_.data();
    }
    block_sum_(along_.line(0), along_.step(), x, taps_.rows.data(), along_.numbers());
    along_.run(y, images_.horizontal.out * C_, block_out_);
  }

  const Images<T>& images_;
  const Taps<W>& taps_;
  const int64_t C_;
  RowFilter<T> along_;
  int64_t block_in_ = 1, block_out_ = 1;
  BlockSum block_sum_ = nullptr;
  int64_t tile_ = 0;  // columns of the output that are computed at once
  WeightedSum<T> down_;
  Buffer<W> spare_;
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
