// How a tensor [samples, channels, pixels] is divided among the threads of a GPU.
//
// `fast` counts along memory in packs of V numbers: pixels of a channel, or channels of a pixel if channels are
// neighbors. `slow` counts the other of the two. A block has a tile of `lanes` packs and THREADS / lanes rows, which it
// moves along the slow direction `steps` times: more often for large tensors, but never beyond the end of a sample, as
// some kernels take every step. The division, and so the order of sums, depends on sizes only and not on the GPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda.h"

namespace custom_ops {

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
