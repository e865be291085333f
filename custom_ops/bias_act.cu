// CUDA kernel of bias_act for activations that are more than two straight lines.
#include "bias_act.h"

#include "tiles.h"

namespace custom_ops {
namespace {

// u <- the derivative of an order of the curve at u.
template <typename A, int V, typename S>
__device__ __forceinline__ void derive(S (&u)[V], int order, const Constants<S>& constants) {
#pragma unroll
  for (int v = 0; v < V; ++v) {
    u[v] = order == 0 ? value_at<A>(u[v], constants)
        : order == 1  ? slope_at<A>(u[v], constants)
                      : curvature_at<A>(u[v], constants);
  }
}

template <int V, bool LAST, typename T>
__global__ void __launch_bounds__(THREADS)
product_pass(const Product<T> in, const Tiles tiles, int act, int order, const Constants<Wide<T>> constants) {
  using S = Wide<T>;
  const Place p = tiles.place(blockIdx.x, threadIdx.x);
  if (p.pack >= tiles.fast) return;
  S b[V];
  if constexpr (LAST) fill<V>(b, in.b ? in.b + p.pack * V : nullptr, S(0));
  int64_t at = ((p.sample * tiles.slow + p.row) * tiles.fast + p.pack) * V;
#pragma unroll 1  // unrolled, the compiler splits wide stores
  for (int64_t row = p.row; row < p.end; row += tiles.rows, at += tiles.rows * tiles.fast * V) {
    const S one = !LAST && in.b ? __ldg(in.b + row) : S(0);
    const Pack<T, V> x = read<V>(in.x + at);
    S u[V];
#pragma unroll
    for (int v = 0; v < V; ++v) u[v] = widen(x.at[v]) + (LAST ? b[v] : one);
    with_activation(act, [&](auto activation) { derive<decltype(activation)>(u, order, constants); });
    for (const T* factor : {in.p, in.q}) {
      if (!factor) continue;
      const Pack<T, V> f = read<V>(factor + at);
#pragma unroll
      for (int v = 0; v < V; ++v) u[v] *= widen(f.at[v]);
    }
    Pack<T, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) out.at[v] = narrow<T>(u[v]);
    write<V>(in.out + at, out);
  }
}

template <int V, typename T>
void run(const Product<T>& in, const Tensor& like, int act, int order, const Constants<Wide<T>>& constants) {
  const Tiles tiles = tiles_of<V>(in.layout, 16);
  launch(in.layout.last ? product_pass<V, true, T> : product_pass<V, false, T>, tiles.blocks(), like, in, tiles, act,
         order, constants);
}

}  // namespace

template <typename T>
bool product_kernel(const Product<T>& in, const Tensor& like, int order, const Curve& curve) {
  const int act = activation_number(curve.act);
  if (act < 0) return false;
  const int64_t length = in.layout.last ? in.layout.channels : in.layout.pixels;
  if (is_wide<T>(length, in.x, in.p, in.q, in.b, in.out)) {
    run<WIDTH<T>>(in, like, act, order, curve.constants<T>());
  } else {
    run<1>(in, like, act, order, curve.constants<T>());
  }
  return true;
}

template bool product_kernel(const Product<float>&, const Tensor&, int, const Curve&);
template bool product_kernel(const Product<double>&, const Tensor&, int, const Curve&);
template bool product_kernel(const Product<BFloat16>&, const Tensor&, int, const Curve&);
template bool product_kernel(const Product<Half>&, const Tensor&, int, const Curve&);

}  // namespace custom_ops

STABLE_TORCH_LIBRARY_IMPL(custom_ops, CUDA, m) {
  m.impl("bias_act", ENTRY(bias_act));
  m.impl("bias_act_backward", ENTRY(bias_act_backward));
  m.impl("bias_act_curvature", ENTRY(bias_act_curvature));
}
