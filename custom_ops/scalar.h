// The types that kernels read and write, and the wider types that they compute in. Shared by CPU and CUDA.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#if defined(__CUDACC__)
#define HOST_DEVICE __host__ __device__ __forceinline__
#else
#define HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace custom_ops {

using BFloat16 = torch::headeronly::BFloat16;
using Half = torch::headeronly::Half;

// 16-bit numbers are computed in float, others in their own type.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, BFloat16> || std::is_same_v<T, Half>, float, T>;

template <typename T>
HOST_DEVICE Wide<T> widen(T x) {
  return static_cast<Wide<T>>(x);
}

// Rounds to the nearest, ties to even.
template <typename T>
HOST_DEVICE T narrow(Wide<T> x) {
#if !defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, BFloat16>) {  // without a branch, so that compilers vectorize it
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x0040u;  // NaN stays NaN
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return BFloat16(static_cast<uint16_t>(is_nan ? quiet : rounded), BFloat16::from_bits());
  }
#endif
  return static_cast<T>(x);
}

}  // namespace custom_ops
