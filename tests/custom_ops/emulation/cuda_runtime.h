// As much of CUDA as lets a C++ compiler take kernels, and a CPU run them, one block after the other, in grids and blocks
// of one dimension. The threads of a block take turns, from one __syncthreads() to the next, each with its own stack.
//
// Harder than a GPU where a GPU would be lucky: threads take turns in an order that is shuffled for each stretch between
// barriers (seeded, so a failure comes again), and shared arrays are full of NaN (integers: -1) when a block begins.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::max;
using std::min;

struct Extent {
  unsigned x = 1, y = 1, z = 1;
};

inline Extent threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

template <typename T>
T __ldg(const T* from) {
  return *from;
}

template <typename T>
void __stwb(T* to, T it) {
  *to = it;
}

namespace emulation {

struct Thread {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(1 << 16);
  bool finished = true;
};

inline std::vector<Thread> threads;
inline Thread* running = nullptr;
inline ucontext_t scheduler;
inline std::function<void()> kernel;

inline std::mt19937 dice(0);
inline std::vector<const void*> shared;  // arrays that this block has met already

// Called where a thread meets the declaration of a shared array: the first thread of the block fills it.
inline void share(void* array, size_t size) {
  if (std::find(shared.begin(), shared.end(), array) != shared.end()) return;
  shared.push_back(array);
  std::memset(array, 0xff, size);
}

inline void give_way() {
  swapcontext(&running->context, &scheduler);
}

inline void live() {
  kernel();
  running->finished = true;
  give_way();
}

inline void run_block() {
  threads.resize(std::max<size_t>(threads.size(), blockDim.x));
  shared.clear();
  std::vector<unsigned> turns(blockDim.x);
  for (unsigned i = 0; i < blockDim.x; ++i) turns[i] = i;
  for (unsigned i = 0; i < blockDim.x; ++i) {
    Thread& thread = threads[i];
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.finished = false;
    makecontext(&thread.context, live, 0);
  }
  for (bool any = true; any;) {
    any = false;
    std::shuffle(turns.begin(), turns.end(), dice);
    for (const unsigned i : turns) {
      running = &threads[i];
      if (running->finished) continue;
      threadIdx.x = i;
      swapcontext(&scheduler, &running->context);
      any = true;
    }
  }
}

template <typename... P, typename... A>
void launch(void (*started)(P...), long blocks, int threads, const A&... arguments) {
  kernel = [&] { started(arguments...); };
  gridDim.x = static_cast<unsigned>(blocks), blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) run_block();
}

}  // namespace emulation

inline void __syncthreads() {
  emulation::give_way();
}

// All threads of a block come here together, which is more than CUDA asks for: a warp would do.
template <typename T>
T __shfl_xor_sync(unsigned, T value, int other) {
  static T offered[1024];
  emulation::share(offered, sizeof offered);
  offered[threadIdx.x] = value;
  __syncthreads();
  const T taken = offered[threadIdx.x ^ other];
  __syncthreads();
  return taken;
}
