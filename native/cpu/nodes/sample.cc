// The sample op: one row per task. The active instruction set's kernels make the passes over the logits.
// ops/candidates.h sums probabilities in a fixed order, for cuts such as top-k and top-p and for the draw. Equal logits
// and seeds therefore give the same token on every instruction set.
#include "cpu/nodes/nodes.h"
#include "ops/sample.h"

namespace heddle {
namespace cpu {
namespace {

LogitRange range(const float* x, int64_t n) {
  LogitRange r{0, 0, false};
  // logits_range returns false for a row with NaN or infinity. scan_range then tells NaN from -infinity.
  return active().logits_range(x, n, &r.largest, &r.smallest) ? r : scan_range(x, n);
}
LogitSums sums(const float* x, int64_t n, float largest) {
  LogitSums s;
  active().logits_sums(x, n, largest, &s.mass, &s.distance);
  return s;
}
int64_t index_of_largest(const float* x, int64_t n, float largest) { return active().logits_index(x, n, largest); }

void sample(const Node& n, Context& c) {
  c.pool.run(n.in[0].shape[0], [&](int64_t row, int) { sample_row(n, row, {range, sums, index_of_largest}); });
}

}  // namespace

void register_sample() { add_kernel("sample", "sample_rows", nullptr, nullptr, sample); }

}  // namespace cpu
}  // namespace heddle
