// Shared by all attention kernels: the function from q . k to a score, and the range of keys that a query row sees.
#pragma once
#include "cuda/rows/math.cuh"
#include "ops/attention.h"

namespace heddle {
namespace cuda {

constexpr int64_t largest_head = 256;  // maximum width of a head, in elements
constexpr int tile_rows = 32;          // rows of a tile in shared memory, one for each lane

// The score of a key: q . k times `scale`, bounded by softcap * tanh(score / softcap) if softcap is above 0.
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

// The keys [first, last) that a query row sees, as indices into all N rows.
struct RowSpan {
  int32_t first, last;
};

// Launches the kernel that fills spans (N) from the attributes `causal` and `window` of the node and from `documents`,
// which may be null. native/ops/attention.h defines which keys a row sees.
void find_spans(
    const Context& c, const char* name, const Node& n, const int32_t* documents, int64_t N, int64_t T, RowSpan* spans);

// A number of chunks of 32 columns, as a type.
template <int n> struct Chunks {
  static constexpr int value = n;
};
// Calls launch_it(Chunks<n>{}) with the smallest n of 2, 4 and 8 for which n chunks hold a head of D columns.
template <class F> void for_head(int64_t D, F launch_it) {
  if (D <= 64) launch_it(Chunks<2>{});
  else if (D <= 128) launch_it(Chunks<4>{});
  else launch_it(Chunks<8>{});
}

}  // namespace cuda
}  // namespace heddle
