// CUDA kernels of scale_bias_act, one pass over memory each. Sums are computed per thread, then per block, then over
// blocks by PyTorch. Their order depends on sizes only; there are no atomics.
#include "scale_bias_act.h"

#include "cuda.h"

namespace custom_ops {
namespace {

// Forward and tangent. LAST: channels are neighbors in memory, so scale and b belong to a thread and noise to a row;
// otherwise the other way round.
template <int V, bool LAST, bool TANGENT, typename T>
__global__ void __launch_bounds__(THREADS) sum_pass(const Sum<T> in, const Tiles tiles, const Curve<T> curve) {
  using S = Wide<T>;
  const Place p = tiles.place(blockIdx.x, threadIdx.x);
  if (p.pack >= tiles.fast) return;
  const int64_t first = p.sample * in.layout.channels, begin = p.pack * V;
  const S* noise = in.noise ? in.noise + (in.one_noise ? 0 : p.sample * in.layout.pixels) : nullptr;
  const S *scales = in.scale ? in.scale + first : nullptr, *scales2 = in.scale2 ? in.scale2 + first : nullptr;
  const S *own = LAST ? in.b : noise, *shared = LAST ? noise : in.b;
  S scale[V], scale2[V], shift[V];
  fill<V>(shift, own ? own + begin : nullptr, S(0));
  if constexpr (LAST) {
    fill<V>(scale, scales ? scales + begin : nullptr, S(1));
    if constexpr (TANGENT) fill<V>(scale2, scales2 ? scales2 + begin : nullptr, S(1));
  }
  int64_t at = ((p.sample * tiles.slow + p.row) * tiles.fast + p.pack) * V;
#pragma unroll 1
  for (int64_t row = p.row; row < p.end; row += tiles.rows, at += tiles.rows * tiles.fast * V) {
    const S offset = shared ? __ldg(shared + row) : S(0);
    const S one = !LAST && scales ? __ldg(scales + row) : S(1);
    const S two = !LAST && TANGENT && scales2 ? __ldg(scales2 + row) : S(1);
    S u[V];
#pragma unroll
    for (int v = 0; v < V; ++v) u[v] = shift[v] + offset;
    if (!TANGENT || in.x) {
      const Pack<T, V> x = read<V>(in.x + at);
#pragma unroll
      for (int v = 0; v < V; ++v) u[v] += widen(x.at[v]) * (LAST ? scale[v] : one);
    }
    if (TANGENT && in.x2) {
      const Pack<T, V> x = read<V>(in.x2 + at);
#pragma unroll
      for (int v = 0; v < V; ++v) u[v] += widen(x.at[v]) * (LAST ? scale2[v] : two);
    }
    Pack<T, V> y{}, out;
    if constexpr (TANGENT) y = read<V>(in.y + at);
#pragma unroll
    for (int v = 0; v < V; ++v) out.at[v] = narrow<T>(curve.template of<TANGENT>(u[v], y.at[v]));
    write<V>(in.out + at, out);
  }
}

// Sums a number over the rows of a block. Row 0 gets the sum.
template <typename S>
__device__ __forceinline__ S over_rows(S value, S* shared, int lanes) {
  shared[threadIdx.x] = value;
  for (int half = THREADS / 2; half >= lanes; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  const S sum = shared[threadIdx.x];
  __syncthreads();
  return sum;
}

// Sums a number over the lanes of a row. All lanes get the sum.
template <typename S>
__device__ __forceinline__ S over_lanes(S value, int lanes) {
  for (int half = lanes / 2; half > 0; half /= 2) value += __shfl_xor_sync(0xffffffffu, value, half);
  return value;
}

// If LAST, a thread sums by channel along its rows, and lanes sum by pixel; otherwise the other way round.
template <int V, bool LAST, bool SUMMING, typename T>
__global__ void __launch_bounds__(THREADS)
backward_pass(const Sums<T> in, const Tiles tiles, const Curve<T> curve) {
  using S = Wide<T>;
  __shared__ S shared[THREADS];
  const Place p = tiles.place(blockIdx.x, threadIdx.x);
  const bool inside = p.pack < tiles.fast;
  const S* scales = in.scale ? in.scale + p.sample * in.layout.channels : nullptr;
  S scale[V], product[V] = {}, sum[V] = {};  // LAST: of this thread's channels; otherwise `sum` of its pixels
  if (LAST && inside) fill<V>(scale, scales ? scales + p.pack * V : nullptr, S(1));
  int64_t at = ((p.sample * tiles.slow + p.row) * tiles.fast + p.pack) * V;
  int64_t to = (p.sample * tiles.tiles + p.tile) * tiles.slow + p.row;
  // Every thread takes every step, as lanes sum together.
#pragma unroll 1
  for (int64_t row = p.row, step = 0; step < tiles.steps; ++step) {
    S row_product = 0, row_sum = 0;
    if (inside && row < p.end) {
      const Pack<T, V> dy = read<V>(in.dy + at), y = read<V>(in.y + at);
      Pack<T, V> x{}, dx;
      if (SUMMING && in.dscale) x = read<V>(in.x + at);
      const S one = !LAST && scales ? __ldg(scales + row) : S(1);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const S d = widen(dy.at[v]) * curve.slope(widen(y.at[v]));
        dx.at[v] = narrow<T>(d * (LAST ? scale[v] : one));
        if constexpr (SUMMING) {
          (LAST ? product[v] : row_product) += d * widen(x.at[v]);
          sum[v] += d;
          row_sum += d;
        }
      }
      write<V>(in.dx + at, dx);
    }
    if constexpr (SUMMING) {
      S* const across = LAST ? in.dnoise : in.db;
      if (across) row_sum = over_lanes(row_sum, tiles.lanes);
      if (!LAST && in.dscale) row_product = over_lanes(row_product, tiles.lanes);
      if (threadIdx.x % tiles.lanes == 0 && row < p.end) {
        if (across) across[to] = row_sum;
        if (!LAST && in.dscale) in.dscale[to] = row_product;
      }
    }
    row += tiles.rows, to += tiles.rows, at += tiles.rows * tiles.fast * V;
  }
  if constexpr (SUMMING) {
    S* const along = LAST ? in.db : in.dnoise;
    const bool first = threadIdx.x < tiles.lanes && inside;
    to = ((p.sample * tiles.chunks + p.chunk) * tiles.fast + p.pack) * V;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const S total = along ? over_rows(sum[v], shared, tiles.lanes) : S(0);
      if (along && first) along[to + v] = total;
      const S products = LAST && in.dscale ? over_rows(product[v], shared, tiles.lanes) : S(0);
      if (LAST && in.dscale && first) in.dscale[to + v] = products;
    }
  }
}

template <int V, typename T>
void launch_backward(Sums<T> in, std::array<Tensor, 3>& results, const Tensor& like, const Curve<T>& curve) {
  using S = Wide<T>;
  const Layout& l = in.layout;
  const Tiles tiles = tiles_of<V>(l, 64);
  const int64_t by_channel = l.last ? tiles.chunks : tiles.tiles, by_pixel = l.last ? tiles.tiles : tiles.chunks;
  // Each sum [outer, inner] is written as parts [outer, middle, inner], one of each block, which are then added.
  const std::vector<int64_t> sizes[] = {
      {l.samples, by_channel, l.channels}, {l.samples, by_pixel, l.pixels}, {1, l.samples * by_channel, l.channels}};
  S** const places[] = {&in.dscale, &in.dnoise, &in.db};
  Optional parts[3];
  for (int i = 0; i < 3; ++i) {
    if (!*places[i] || sizes[i][1] == 1) continue;  // a single part is the sum
    parts[i] = empty(sizes[i], like, MemoryFormat::Contiguous, wide_type(like.scalar_type()));
    *places[i] = parts[i]->mutable_data_ptr<S>();
  }
  const bool summing = in.dscale || in.db || in.dnoise;
  const auto kernel = l.last ? (summing ? backward_pass<V, true, true, T> : backward_pass<V, true, false, T>)
                             : (summing ? backward_pass<V, false, true, T> : backward_pass<V, false, false, T>);
  launch(kernel, tiles.blocks(), like, in, tiles, curve);
  for (int i = 0; i < 3; ++i) {
    if (!parts[i]) continue;
    Tensor result = torch::stable::view(results[i], {sizes[i][0], sizes[i][2]});
    torch::stable::sum_out(result, *parts[i], {{1}});
  }
}

}  // namespace

template <typename T>
void sum_kernel(const Sum<T>& sum, bool tangent, const Tensor& like, const Curve<T>& curve) {
  const bool last = sum.layout.last;
  const bool wide = is_wide<T>(last ? sum.layout.channels : sum.layout.pixels, sum.x, sum.x2, sum.y, sum.out, sum.scale,
                               sum.scale2, sum.noise, sum.b);
  with_width<T>(wide, [&](auto width) {
    constexpr int V = width.value;
    const Tiles tiles = tiles_of<V>(sum.layout, 16);
    const auto kernel = last ? (tangent ? sum_pass<V, true, true, T> : sum_pass<V, true, false, T>)
                             : (tangent ? sum_pass<V, false, true, T> : sum_pass<V, false, false, T>);
    launch(kernel, tiles.blocks(), like, sum, tiles, curve);
  });
}

template <typename T>
void backward_kernel(const Sums<T>& sums, std::array<Tensor, 3>& results, const Tensor& like, const Curve<T>& curve) {
  const int64_t length = sums.layout.last ? sums.layout.channels : sums.layout.pixels;
  with_width<T>(is_wide<T>(length, sums.dy, sums.y, sums.x, sums.dx, sums.scale), [&](auto width) {
    launch_backward<width.value>(sums, results, like, curve);
  });
}

}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CUDA, m) {
  m.impl("scale_bias_act", TORCH_BOX(&custom_ops::scale_bias_act));
  m.impl("scale_bias_act_backward", TORCH_BOX(&custom_ops::scale_bias_act_backward));
  m.impl("scale_bias_act_jvp", TORCH_BOX(&custom_ops::scale_bias_act_jvp));
}
