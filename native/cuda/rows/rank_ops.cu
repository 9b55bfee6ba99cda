// Ops that exchange data with the other ranks of the device's world.
#include "cuda/rows/elementwise.cuh"
#include "ops/rank_ops.h"

namespace heddle {
namespace cuda {
namespace {

using namespace elementwise;

void all_reduce(const Node& n, Context& c) { start_all_reduce(n, c.sums); }

// own = sums, or own += sums with `add`.
void store_sums(const Context& c, const Tensor& own, void* sums, bool add) {
  Tensor from = own;
  from.data = sums;
  const int64_t size = own.shape.size();
  if (add) map(c, "reduce_scatter", Add{}, Operands<2, 1>{{view(own), view(from)}, {out(own)}, size});
  else map(c, "reduce_scatter", Assign{{}, fault_of(c)}, Operands<1, 1>{{view(from)}, {out(own)}, size});
}
void reduce_scatter(const Node& n, Context& c) {
  const RankRanges ranges = scattered_ranges(n, c.sums);
  const bool has_own = n.has_input(1), add = n.attr_flag("add");
  if (c.sums && c.sums->size() > 1) {
    void* const sums = !has_own || !add ? nullptr : c.scratch;
    float* const to = sums ? static_cast<float*>(sums) : has_own ? n.in[1].as<float>() : nullptr;
    c.sums->start(n.in[0].as<float>(), ranges, to, false);
    if (sums) store_sums(c, n.in[1], sums, true);
  } else if (has_own) {
    store_sums(c, n.in[1], n.in[0].data, add);
  }
}
size_t own_bytes(const Node& n, int) { return n.has_input(1) && n.attr_flag("add") ? n.in[1].bytes() : 0; }

void all_gather(const Node& n, Context& c) {
  const RankRanges ranges = gathered_ranges(n, c.sums);
  const auto fill = [&](void* range) {
    Tensor to = n.in[0];
    to.dtype = n.out[0].dtype, to.data = range;
    map(c, "all_gather", Assign{{}, fault_of(c)}, Operands<1, 1>{{view(n.in[0])}, {out(to)}, to.shape.size()});
  };
  if (c.sums && c.sums->size() > 1) c.sums->gather(fill, ranges, bytes_of_elements(n.out[0].dtype, 1), n.out[0].data);
  else fill(n.out[0].data);
}

const RegisterKernel kernels[] = {
    {"all_reduce", "cuda_all_reduce", supports_unquantized, all_reduce},
    {"reduce_scatter", "cuda_reduce_scatter", supports_unquantized, reduce_scatter, own_bytes},
    {"all_gather", "cuda_all_gather", supports_unquantized, all_gather},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
