// Winograd convolutions of 3x3 weights with stride 1, in float32 on CPUs with AVX2 or AVX-512, and their derivatives.
//
//     y = A^T [sum over i of (G w G^T) * (B^T x B)] A                 Lavin and Gray 2016, equation 12
//     gw = G^T [sum over tiles of (A gy A^T) * (B^T x B)] G           its adjoint
//
// The gradient of x is the convolution of gy with weights that are rotated by 180 degrees and transposed. Every number
// is summed in an order that depends on neither the number of threads nor the other images of the batch.
#if defined(__AVX2__) && defined(__FMA__)
#include "winograd_product.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace custom_ops {
namespace {

// With few channels, a block of tiles fits into a core's cache. Blocks are multiples of ROWS.
bool few(int64_t I, int64_t O) { return I * O <= 1 << 14; }
int64_t tiles_at_once(int64_t I, int64_t O) { return few(I, O) ? 48 : 192; }

// Memory that a thread keeps for its next call, as new memory costs more than the transforms that fill it. On huge pages
// where the system has them: a transform writes to 36 places at once.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  ~Scratch() { ::operator delete(p_, PAGE); }

  float* get(int64_t floats) {
    if (floats > size_) {
      ::operator delete(p_, PAGE);
      p_ = nullptr, size_ = 0;
      p_ = static_cast<float*>(::operator new(floats * sizeof(float), PAGE));
      size_ = floats;
#if defined(__linux__)
      madvise(p_, floats * sizeof(float), MADV_HUGEPAGE);
#endif
    }
    return p_;
  }

 private:
  static constexpr std::align_val_t PAGE{1 << 21};
  float* p_ = nullptr;
  int64_t size_ = 0;
};
thread_local Scratch transformed_weights, transformed_tiles;

// Whole blocks are dealt to threads if that is wanted and there are enough blocks; otherwise threads share each block.
template <typename F>
void for_blocks(const Tiles& tiles, int64_t rows, bool deal, const F& f) {
  const int64_t blocks = ceil_divide(tiles.count, rows);
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) f(k * rows, std::min(rows, tiles.count - k * rows));
  };
  if (deal && blocks >= 2 * static_cast<int64_t>(torch::stable::get_num_threads())) {
    torch::stable::parallel_for(0, blocks, 1, run);
  } else run(0, blocks);
}

template <typename F>
void for_panels(int64_t P, int64_t channels, const F& f) {
  const int64_t panels = channels / PANEL;
  torch::stable::parallel_for(0, P * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) f(k / panels, k % panels * PANEL);
  });
}

template <int M>
void convolve(const Pictures& x, const float* w, bool turned, const Pictures& y, float* out, int64_t padding) {
  constexpr int A = M + 2, P = A * A;
  const Tiles tiles(y, M);
  const int64_t I = x.C, O = y.C, rows = std::min(tiles_at_once(I, O), tiles.count);
  Matrices weights = by_panels(nullptr, I, O);
  weights.p = transformed_weights.get(P * weights.step);
  transform_weights<M>(w, turned ? I : O, turned ? O : I, turned, weights);
  for_blocks(tiles, rows, few(I, O), [&](int64_t first, int64_t count) {
    Matrices inputs = by_rows(nullptr, rows, I), outputs = by_rows(nullptr, rows, O);
    inputs.p = transformed_tiles.get(P * (inputs.step + outputs.step));
    outputs.p = inputs.p + P * inputs.step;
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        transform_pixels<A, A>(x, Corner(tiles, first + t, padding), inputs, t, typename Winograd<M>::Inputs());
    });
    for_panels(P, O, [&](int64_t p, int64_t o) { multiply_inputs(inputs, weights, outputs, p, o, count, I); });
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) write_outputs<M>(y, out, Corner(tiles, first + t), outputs, t);
    });
  });
}

template <int M>
void gradient_of_weights(const Pictures& gy, const Pictures& x, float* gw, int64_t padding) {
  constexpr int A = M + 2, P = A * A;
  const Tiles tiles(gy, M);
  const int64_t I = x.C, O = gy.C, rows = std::min(tiles_at_once(I, O), tiles.count);
  Matrices sums = by_rows(nullptr, O, I), outputs = by_rows(nullptr, rows, O), inputs = by_panels(nullptr, rows, I);
  sums.p = transformed_weights.get(P * sums.step);
  outputs.p = transformed_tiles.get(P * (outputs.step + inputs.step));
  inputs.p = outputs.p + P * outputs.step;
  for_blocks(tiles, rows, false, [&](int64_t first, int64_t count) {
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const typename Winograd<M>::OutputGradients gradients;
        transform_pixels<A, A>(x, Corner(tiles, first + t, padding), inputs, t, typename Winograd<M>::Inputs());
        transform_pixels<M, A>(gy, Corner(tiles, first + t), outputs, t, gradients);
      }
    });
    for_panels(P, I, [&](int64_t p, int64_t i) {
      multiply_gradients(outputs, inputs, sums, p, i, count, O, first > 0);
    });
  });
  write_weight_gradients<M>(sums, gw, O, I);
}

Pictures pictures(const Tensor& x) {
  return {x.const_data_ptr<float>(), x.size(0), x.size(2), x.size(3), x.size(1)};
}

void check(const Tensor& x, const char* name) {
  STD_TORCH_CHECK(
      x.dim() == 4 && x.numel() > 0 && x.scalar_type() == ScalarType::Float, name,
      " must be a 4-D tensor of float32 that is not empty");
  STD_TORCH_CHECK(
      x.size(1) % 32 == 0 && x.size(1) <= MOST_CHANNELS, name, " must have a multiple of 32 channels, at most ",
      MOST_CHANNELS);
}

// y [N, O, H', W'] of x [N, I, H, W] and w [O, I, 3, 3]; if `turned`, the gradient of x [N, I, H, W] from gy in place of
// x. `padding` is that of y in both cases, and `tile` is 2 or 4.
Tensor winograd(const Tensor& x_, const Tensor& w_, int64_t padding, bool turned, int64_t tile) {
  const Tensor x = dense(x_, MemoryFormat::ChannelsLast), w = dense(w_, MemoryFormat::ChannelsLast);
  check(x, "x"), check(w, "w");
  const int64_t O = w.size(turned ? 1 : 0), own = turned ? 2 - padding : padding;
  STD_TORCH_CHECK(w.size(2) == 3 && w.size(3) == 3 && O % 32 == 0, "w must be [32 k, 32 l, 3, 3]");
  STD_TORCH_CHECK(x.size(1) == w.size(turned ? 0 : 1), "x and w must have the same number of channels");
  STD_TORCH_CHECK(padding >= 0 && padding <= 2 && (tile == 2 || tile == 4), "padding or tile is out of range");
  Tensor y = empty({x.size(0), O, x.size(2) + 2 * own - 2, x.size(3) + 2 * own - 2}, x, MemoryFormat::ChannelsLast);
  (tile == 2 ? convolve<2> : convolve<4>)(
      pictures(x), w.const_data_ptr<float>(), turned, pictures(y), y.mutable_data_ptr<float>(), own);
  return y;
}

// The gradient [O, I, 3, 3] of weights, from gy [N, O, H', W'] and x [N, I, H, W].
Tensor winograd_weights(const Tensor& gy_, const Tensor& x_, int64_t padding, int64_t tile) {
  const Tensor gy = dense(gy_, MemoryFormat::ChannelsLast), x = dense(x_, MemoryFormat::ChannelsLast);
  check(gy, "gy"), check(x, "x");
  STD_TORCH_CHECK(padding >= 0 && padding <= 2 && (tile == 2 || tile == 4), "padding or tile is out of range");
  STD_TORCH_CHECK(
      gy.size(0) == x.size(0) && gy.size(2) == x.size(2) + 2 * padding - 2 && gy.size(3) == x.size(3) + 2 * padding - 2,
      "gy must have the size of the convolution of x");
  Tensor gw = empty({gy.size(1), x.size(1), 3, 3}, x, MemoryFormat::ChannelsLast);
  (tile == 2 ? gradient_of_weights<2> : gradient_of_weights<4>)(
      pictures(gy), pictures(x), gw.mutable_data_ptr<float>(), padding);
  return gw;
}

}  // namespace
}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CPU, m) {
  m.impl("winograd", TORCH_BOX(&custom_ops::winograd));
  m.impl("winograd_weights", TORCH_BOX(&custom_ops::winograd_weights));
}
#endif
