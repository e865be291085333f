// Dtypes, memory formats and new tensors, with the stable ABI only. Shared by CPU and CUDA.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#if defined(__CUDACC__)
#define HOST_DEVICE __host__ __device__ __forceinline__
#else
#define HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace custom_ops {

using BFloat16 = torch::headeronly::BFloat16;
using Half = torch::headeronly::Half;
using Tensor = torch::stable::Tensor;
using ScalarType = torch::headeronly::ScalarType;
using MemoryFormat = torch::headeronly::MemoryFormat;

// 16-bit numbers are computed in float, others in their own type.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, BFloat16> || std::is_same_v<T, Half>, float, T>;

template <typename T>
HOST_DEVICE Wide<T> widen(T x) {
  return static_cast<Wide<T>>(x);
}

// Rounds to the nearest, ties to even. Without `NANS` x must not be NaN.
template <typename T, bool NANS = true>
HOST_DEVICE T narrow(Wide<T> x) {
#if !defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, BFloat16>) {  // without a branch, so that compilers vectorize it
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x0040u;  // NaN stays NaN
    const bool is_nan = NANS && (bits & 0x7fffffffu) > 0x7f800000u;
    return BFloat16(static_cast<uint16_t>(is_nan ? quiet : rounded), BFloat16::from_bits());
  }
#endif
  return static_cast<T>(x);
}

// Kernels see tensors as [samples, channels, pixels]. `last`: channels are neighbors in memory.
struct Layout {
  int64_t samples, channels, pixels;
  bool last;

  int64_t numel() const { return samples * channels * pixels; }
};

// Whether a 4-D tensor is dense in memory as [N, H, W, C], and not also as [N, C, H, W].
inline bool is_channels_last(const Tensor& x) {
  if (x.dim() != 4 || x.is_contiguous()) return false;
  const int64_t C = x.size(1), H = x.size(2), W = x.size(3);
  return (C == 1 || x.stride(1) == 1) && (W == 1 || x.stride(3) == C) && (H == 1 || x.stride(2) == W * C) &&
         (x.size(0) == 1 || x.stride(0) == H * W * C);
}

inline MemoryFormat format_of(const Tensor& x) {
  return is_channels_last(x) ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

// The layout of a dense tensor [N, C, ...].
inline Layout layout_of(const Tensor& x, MemoryFormat format) {
  int64_t pixels = 1;
  for (int64_t d = 2; d < x.dim(); ++d) pixels *= x.size(d);
  return {x.size(0), x.size(1), pixels, format == MemoryFormat::ChannelsLast || pixels == 1};
}

// x if it is dense in this format, otherwise a copy.
inline Tensor dense(const Tensor& x, MemoryFormat format) {
  const bool fits = format == MemoryFormat::ChannelsLast ? is_channels_last(x) : x.is_contiguous();
  return fits ? x : torch::stable::contiguous(x, format);
}

// An uninitialized tensor on the device of `like`, and of its dtype unless another is given.
inline Tensor empty(
    const std::vector<int64_t>& size, const Tensor& like, MemoryFormat format = MemoryFormat::Contiguous,
    std::optional<ScalarType> type = {}) {
  return torch::stable::empty(size, type.value_or(like.scalar_type()), {}, like.device(), {}, format);
}

// The dtype that a dtype is computed in: `Wide`.
inline ScalarType wide_type(ScalarType type) {
  return type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline std::vector<int64_t> size_of(const Tensor& x) {
  const auto sizes = x.sizes();
  return {sizes.begin(), sizes.end()};
}

// Turns a condition into a compile-time constant: f(std::true_type or std::false_type).
template <typename F>
void with_constant(bool condition, const F& f) {
  condition ? f(std::true_type{}) : f(std::false_type{});
}

// Calls f<T>() with the C++ type of a floating dtype.
template <typename F>
void with_floating(ScalarType type, const F& f) {
  switch (type) {
    case ScalarType::Float: return f.template operator()<float>();
    case ScalarType::Double: return f.template operator()<double>();
    case ScalarType::BFloat16: return f.template operator()<BFloat16>();
    case ScalarType::Half: return f.template operator()<Half>();
    default: STD_TORCH_CHECK(false, "custom operators compute with floating numbers only");
  }
}

}  // namespace custom_ops
