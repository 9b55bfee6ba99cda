// Shared by all attention kernels: the score function, and the range of keys that a row sees.
#pragma once
#include "cuda/rows/math.cuh"
#include "ops/attention.h"

namespace heddle {
namespace cuda {

constexpr int64_t largest_head = 256;
constexpr int tile_rows = 32;  // rows of the tile that passes through shared memory; each lane takes one

struct Scores {
  float scale, softcap;

  explicit Scores(const Node& n)
      : scale(static_cast<float>(n.attr("scale"))), softcap(static_cast<float>(n.attr("softcap"))) {}
  __device__ float of(float product) const {
    return softcap > 0 ? softcap * tanhf(product * scale / softcap) : product * scale;
  }
  __device__ float gradient(float product) const {  // d score / d product
    return softcap > 0 ? scale * tanh_slope(product * scale / softcap) : scale;
  }
};

// Rows [first, last) that a query row sees, as indices into all N rows.
struct RowSpan {
  int32_t first, last;
};

// Launches the kernel that fills spans (N) from the node's causal and window attributes and `documents`, which may be
// null. native/ops/attention.h defines the rules.
void find_spans(
    const Context& c, const char* name, const Node& n, const int32_t* documents, int64_t N, int64_t T, RowSpan* spans);

// The number of 32-column chunks of a head, as a type.
template <int n> struct Chunks {
  static constexpr int value = n;
};
// Calls launch_it(Chunks<n>{}) with the smallest n of 2, 4 and 8 whose chunks hold a head of D columns.
template <class F> void for_head(int64_t D, F launch_it) {
  if (D <= 64) launch_it(Chunks<2>{});
  else if (D <= 128) launch_it(Chunks<4>{});
  else launch_it(Chunks<8>{});
}

}  // namespace cuda
}  // namespace heddle
