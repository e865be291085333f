// CUDA kernels of scale_bias_act, one pass over memory each. Sums are computed per thread, then per block, then over
// blocks by further kernels. Their order depends on sizes only; there are no atomics.
#include "scale_bias_act.h"

#include "tiles.h"

namespace custom_ops {
namespace {

// Forward and tangent. LAST: channels are neighbors in memory, so scale and b belong to a thread and noise to a row;
// otherwise the other way round.
template <int V, bool LAST, typename T, typename Finish>
__global__ void __launch_bounds__(THREADS) sum_pass(const Sum<T> in, const Tiles tiles, const Finish finish) {
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
    if constexpr (Finish::TANGENT) fill<V>(scale2, scales2 ? scales2 + begin : nullptr, S(1));
  }
  int64_t at = ((p.sample * tiles.slow + p.row) * tiles.fast + p.pack) * V;
#pragma unroll 1  // unrolled, the compiler splits wide stores
  for (int64_t row = p.row; row < p.end; row += tiles.rows, at += tiles.rows * tiles.fast * V) {
    const S offset = shared ? __ldg(shared + row) : S(0);
    const S one = !LAST && scales ? __ldg(scales + row) : S(1);
    const S two = !LAST && Finish::TANGENT && scales2 ? __ldg(scales2 + row) : S(1);
    S u[V];
#pragma unroll
    for (int v = 0; v < V; ++v) u[v] = shift[v] + offset;
    if (!Finish::TANGENT || in.x) {
      const Pack<T, V> x = read<V>(in.x + at);
#pragma unroll
      for (int v = 0; v < V; ++v) u[v] += widen(x.at[v]) * (LAST ? scale[v] : one);
    }
    if (Finish::TANGENT && in.x2) {
      const Pack<T, V> x = read<V>(in.x2 + at);
#pragma unroll
      for (int v = 0; v < V; ++v) u[v] += widen(x.at[v]) * (LAST ? scale2[v] : two);
    }
    Pack<T, V> y{}, out;
    if constexpr (Finish::TANGENT) y = read<V>(in.y + at);
#pragma unroll
    for (int v = 0; v < V; ++v) out.at[v] = narrow<T>(finish(u[v], y.at[v]));
    write<V>(in.out + at, out);
  }
}

// Buffers for the sums of blocks, [samples, chunks or tiles, channels or pixels]: of d * x and d by channel, and of d
// by pixel. Null if not wanted.
template <typename S>
struct Parts {
  S *products, *sums, *map;
};

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
backward_pass(const Sums<T> in, const Tiles tiles, const Curve<T> curve, const Parts<Wide<T>> parts) {
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
      if (SUMMING && parts.products) x = read<V>(in.x + at);
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
      S* const across = LAST ? parts.map : parts.sums;
      if (across) row_sum = over_lanes(row_sum, tiles.lanes);
      if (!LAST && parts.products) row_product = over_lanes(row_product, tiles.lanes);
      if (threadIdx.x % tiles.lanes == 0 && row < p.end) {
        if (across) across[to] = row_sum;
        if (!LAST && parts.products) parts.products[to] = row_product;
      }
    }
    row += tiles.rows, to += tiles.rows, at += tiles.rows * tiles.fast * V;
  }
  if constexpr (SUMMING) {
    S* const along = LAST ? parts.sums : parts.map;
    const bool first = threadIdx.x < tiles.lanes && inside;
    to = ((p.sample * tiles.chunks + p.chunk) * tiles.fast + p.pack) * V;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const S total = along ? over_rows(sum[v], shared, tiles.lanes) : S(0);
      if (along && first) along[to + v] = total;
      const S products = LAST && parts.products ? over_rows(product[v], shared, tiles.lanes) : S(0);
      if (LAST && parts.products && first) parts.products[to + v] = products;
    }
  }
}

// Parts that a block joins. For example, 65,536 parts of a bias of 32 channels are joined by 256 blocks, then by one.
constexpr int64_t SPAN = 256;

// out [outer, spans, inner] = sums over the middle of parts [outer, middle, inner], SPAN of them each.
template <typename S>
__global__ void __launch_bounds__(THREADS)
join_pass(const S* parts, S* out, int64_t middle, int64_t inner, int64_t spans) {
  __shared__ S shared[THREADS];
  const int64_t across = (inner + WARP - 1) / WARP, to = blockIdx.x / across;  // of outer * spans
  const int64_t outer = to / spans, first = to % spans * SPAN, end = first + SPAN < middle ? first + SPAN : middle;
  const int64_t i = blockIdx.x % across * WARP + threadIdx.x % WARP;
  S sum = 0;
  if (i < inner) {
#pragma unroll 4
    for (int64_t m = first + threadIdx.x / WARP; m < end; m += THREADS / WARP) {
      sum += parts[(outer * middle + m) * inner + i];
    }
  }
  sum = over_rows(sum, shared, WARP);
  if (threadIdx.x < WARP && i < inner) out[to * inner + i] = sum;
}

// The parts of a wanted sum, and their joining. A single part is the sum.
template <typename S>
class Joint {
 public:
  Joint(S* out, int64_t outer, int64_t middle, int64_t inner, const Tensor& like)
      : out_(out), outer_(outer), middle_(middle), inner_(inner), like_(like) {
    if (out && middle > 1) room_ = room(middle);
  }

  S* parts() const { return room_ ? room_->mutable_data_ptr<S>() : out_; }

  void finish() const {
    Optional from = room_;
    for (int64_t middle = middle_; from; ) {
      const int64_t spans = (middle + SPAN - 1) / SPAN;
      const Optional to = spans > 1 ? Optional(room(spans)) : std::nullopt;
      launch(join_pass<S>, outer_ * spans * ((inner_ + WARP - 1) / WARP), like_, from->const_data_ptr<S>(),
             to ? to->mutable_data_ptr<S>() : out_, middle, inner_, spans);
      from = to, middle = spans;
    }
  }

 private:
  Tensor room(int64_t middle) const {
    return empty({outer_ * middle * inner_}, like_, MemoryFormat::Contiguous, wide_type(like_.scalar_type()));
  }

  S* out_;
  int64_t outer_, middle_, inner_;
  const Tensor& like_;
  Optional room_;
};

template <int V, typename T, typename Finish>
void launch_sum(const Sum<T>& sum, const Tensor& like, const Finish& finish) {
  const Tiles tiles = tiles_of<V>(sum.layout, 16);
  launch(sum.layout.last ? sum_pass<V, true, T, Finish> : sum_pass<V, false, T, Finish>, tiles.blocks(), like, sum,
         tiles, finish);
}

template <typename T, typename Finish>
void run(const Sum<T>& sum, const Tensor& like, const Finish& finish) {
  const int64_t length = sum.layout.last ? sum.layout.channels : sum.layout.pixels;
  if (is_wide<T>(length, sum.x, sum.x2, sum.y, sum.out, sum.scale, sum.scale2, sum.noise, sum.b)) {
    launch_sum<WIDTH<T>>(sum, like, finish);
  } else {
    launch_sum<1>(sum, like, finish);
  }
}

template <int V, typename T>
void launch_backward(const Sums<T>& in, const Tensor& like, const Curve<T>& curve) {
  const Layout& l = in.layout;
  const Tiles tiles = tiles_of<V>(l, 64);
  const int64_t by_channel = l.last ? tiles.chunks : tiles.tiles, by_pixel = l.last ? tiles.tiles : tiles.chunks;
  const Joint<Wide<T>> dscale(in.dscale, l.samples, by_channel, l.channels, like);
  const Joint<Wide<T>> db(in.db, 1, l.samples * by_channel, l.channels, like);
  const Joint<Wide<T>> dnoise(in.dnoise, l.samples, by_pixel, l.pixels, like);
  const Parts<Wide<T>> parts{dscale.parts(), db.parts(), dnoise.parts()};
  const bool summing = in.dscale || in.db || in.dnoise;
  const auto kernel = l.last ? (summing ? backward_pass<V, true, true, T> : backward_pass<V, true, false, T>)
                             : (summing ? backward_pass<V, false, true, T> : backward_pass<V, false, false, T>);
  launch(kernel, tiles.blocks(), like, in, tiles, curve, parts);
  dscale.finish();
  db.finish();
  dnoise.finish();
}

}  // namespace

template <typename T>
void forward_kernel(const Sum<T>& sum, const Tensor& like, const Curve<T>& curve) {
  run(sum, like, Value<T>{curve});
}

template <typename T>
void jvp_kernel(const Sum<T>& sum, const Tensor& like, const Curve<T>& curve) {
  run(sum, like, Tangent<T>{curve});
}

template <typename T>
void backward_kernel(const Sums<T>& sums, const Tensor& like, const Curve<T>& curve) {
  const int64_t length = sums.layout.last ? sums.layout.channels : sums.layout.pixels;
  if (is_wide<T>(length, sums.dy, sums.y, sums.x, sums.dx, sums.scale)) {
    launch_backward<WIDTH<T>>(sums, like, curve);
  } else {
    launch_backward<1>(sums, like, curve);
  }
}

INSTANTIATE_SCALE_BIAS_ACT(float)
INSTANTIATE_SCALE_BIAS_ACT(double)
INSTANTIATE_SCALE_BIAS_ACT(BFloat16)
INSTANTIATE_SCALE_BIAS_ACT(Half)

}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CUDA, m) {
  m.impl("scale_bias_act", TORCH_BOX(&custom_ops::scale_bias_act));
  m.impl("scale_bias_act_backward", TORCH_BOX(&custom_ops::scale_bias_act_backward));
  m.impl("scale_bias_act_jvp", TORCH_BOX(&custom_ops::scale_bias_act_jvp));
}
