// Launching CUDA kernels, dividing tensors among their threads, and reading and writing memory in them.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include "tensor.h"

namespace custom_ops {

constexpr int THREADS = 256;  // of a block

// How many numbers the widest access, 16 bytes, holds.
template <typename T>
constexpr int WIDTH = 16 / sizeof(T);

// V numbers that are read or written at once.
template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T at[V];
};

template <int BYTES>
struct Bytes;
template <> struct Bytes<2> { using type = unsigned short; };
template <> struct Bytes<4> { using type = unsigned int; };
template <> struct Bytes<8> { using type = uint2; };
template <> struct Bytes<16> { using type = uint4; };

// Reads memory that is not written while the kernel runs, so loads may be reordered before stores.
template <int V, typename T>
__device__ __forceinline__ Pack<T, V> read(const T* from) {
  using B = typename Bytes<sizeof(T) * V>::type;
  const B bytes = __ldg(reinterpret_cast<const B*>(from));
  Pack<T, V> pack;
  memcpy(&pack, &bytes, sizeof pack);
  return pack;
}

// Writes V numbers by one store, which the compiler cannot split.
template <int V, typename T>
__device__ __forceinline__ void write(T* to, const Pack<T, V>& pack) {
  typename Bytes<sizeof(T) * V>::type bytes;
  memcpy(&bytes, &pack, sizeof pack);
  __stwb(reinterpret_cast<decltype(bytes)*>(to), bytes);
}

// Reads V numbers, or fills with `absent` if `from` is null. Reads of more than 16 bytes must be 16-byte aligned.
template <int V, typename S>
__device__ __forceinline__ void fill(S (&to)[V], const S* from, S absent) {
  constexpr int STEP = V < WIDTH<S> ? 1 : WIDTH<S>;
#pragma unroll
  for (int v = 0; v < V; v += STEP) {
    Pack<S, STEP> pack{};
    if (from) pack = read<STEP>(from + v);
#pragma unroll
    for (int i = 0; i < STEP; ++i) to[v + i] = from ? pack.at[i] : absent;
  }
}

// Whether rows of this length at these addresses (null is ignored) can be accessed 16 bytes at a time.
template <typename T, typename... P>
bool is_wide(int64_t length, const P*... places) {
  const auto fits = [](const void* place) { return reinterpret_cast<uintptr_t>(place) % 16 == 0; };
  return length % WIDTH<T> == 0 && (fits(places) && ...);
}

// Calls f with the number of numbers that an access may have, as a compile-time constant.
template <typename T, typename F>
void with_width(bool is_wide, const F& f) {
  is_wide ? f(std::integral_constant<int, WIDTH<T>>()) : f(std::integral_constant<int, 1>());
}

// Starts a kernel on the current stream of a tensor's device, without waiting for its end.
template <typename... P, typename... A>
void launch(void (*kernel)(P...), int64_t blocks, const Tensor& on, const A&... arguments) {
  STD_TORCH_CHECK(blocks > 0 && blocks <= INT32_MAX, "too large for one kernel: ", blocks, " blocks");
  const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(on.get_device_index(), &stream));
  kernel<<<static_cast<unsigned>(blocks), THREADS, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
  const cudaError_t status = cudaGetLastError();
  STD_TORCH_CHECK(status == cudaSuccess, "a kernel did not start: ", cudaGetErrorString(status));
}

// How a tensor [samples, channels, pixels] is divided among threads. `fast` counts along memory in packs of V numbers,
// pixels or, if they are neighbors, channels. `slow` counts the other of the two. A block has a tile of `lanes` packs
// and THREADS / lanes rows, which it moves along the slow direction `steps` times, never beyond the end of a sample.
// The division, and so the order of sums, depends on sizes only.

// A thread's sample, its pack in the fast direction, and its first row and end in the slow direction.
struct Place {
  int64_t sample, pack, row, end;
  int chunk, tile;
};

struct Tiles {
  static constexpr int64_t BLOCKS = 1024;  // enough to keep every GPU busy

  int64_t slow, fast, samples;
  int64_t chunks, tiles;  // in the slow and in the fast direction of a sample
  int lanes, rows, steps;

  Tiles(int64_t samples, int64_t slow, int64_t fast, int64_t most_steps) : slow(slow), fast(fast), samples(samples) {
    for (lanes = 1; lanes < fast && lanes < 32;) lanes *= 2;
    rows = THREADS / lanes;
    tiles = (fast + lanes - 1) / lanes;
    const int64_t useful = (slow + rows - 1) / rows;  // steps from one end of a sample to the other
    const int64_t once = samples * tiles * useful;    // blocks of one step
    steps = static_cast<int>(std::clamp<int64_t>(std::min(once / BLOCKS, useful), 1, most_steps));
    chunks = (slow + rows * steps - 1) / (rows * steps);
  }

  int64_t blocks() const { return samples * chunks * tiles; }

  HOST_DEVICE Place place(uint32_t block, int thread) const {
    // In 32 bits, as a 64-bit division takes as long as several numbers.
    const uint32_t across = static_cast<uint32_t>(tiles), down = static_cast<uint32_t>(chunks), above = block / across;
    Place p;
    p.sample = above / down;
    p.chunk = static_cast<int>(above % down);
    p.tile = static_cast<int>(block % across);
    const int64_t height = static_cast<int64_t>(steps) * rows, first = p.chunk * height, beyond = first + height;
    p.pack = static_cast<int64_t>(p.tile) * lanes + thread % lanes;
    p.row = first + thread / lanes;
    p.end = beyond < slow ? beyond : slow;
    return p;
  }
};

// For packs of V numbers.
template <int V>
Tiles tiles_of(const Layout& l, int64_t most_steps) {
  return l.last ? Tiles(l.samples, l.pixels, l.channels / V, most_steps)
                : Tiles(l.samples, l.channels, l.pixels / V, most_steps);
}

}  // namespace custom_ops
