// Rotary frequencies that depend on the sequence length: dynamic NTK scaling and LongRoPE (Ding et al. 2024).
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// frequencies (R/2) f32, long? (R/2) f32, lengths? (N) i32 -> (N, R/2), or (R/2) without `lengths`. The attribute
// `length` then gives the length. Lengths of at most `original` leave the frequencies as they are. For greater lengths,
// the frequencies of `long` are used if it is present. Otherwise frequency i is multiplied by s^(-2i / (R - 2)) with
// s = factor * length / original - (factor - 1).
void check_rope_frequencies(const Node& n) {
  Check c("rope_frequencies", n, 1, 3, 1, 1);
  const Operand frequencies = c.in(0, "frequencies"), y = c.out(0, "y");
  c.rank(frequencies, 1), c.dtype(frequencies, f32_only), c.positive(frequencies, 0);
  if (c.has(1)) {
    const Operand long_frequencies = c.in(1, "long");
    c.same_shape(long_frequencies, frequencies), c.dtype(long_frequencies, f32_only);
  }
  c.dtype(y, f32_only);
  if (c.has(2)) {
    const Operand lengths = c.in(2, "lengths");
    c.rank(lengths, 1), c.dtype(lengths, i32_only);
    c.rank(y, 2), c.same_dim(y, 0, lengths, 0), c.same_dim(y, 1, frequencies, 0);
  } else {
    c.same_shape(y, frequencies);
    c.attr_int("length", 1, int64_t{1} << 31);
  }
  c.attr_int("original", 1, int64_t{1} << 31);
  c.attr("factor", 1e-6, 1e6);
}

void rope_frequencies(const Node& n) {
  const int64_t half = n.in[0].shape[0], rows = n.has_input(2) ? n.in[2].shape[0] : 1;
  const double original = n.attr("original"), factor = n.attr("factor");
  const float* short_frequencies = n.in[0].as<float>();
  for (int64_t r = 0; r < rows; ++r) {
    const double length = n.has_input(2) ? n.in[2].as<int32_t>()[r] : n.attr("length");
    float* y = n.out[0].as<float>() + r * half;
    const bool beyond = length > original;
    const double stretch = beyond ? factor * length / original - (factor - 1) : 1;
    for (int64_t i = 0; i < half; ++i) {
      if (n.has_input(1)) y[i] = (beyond ? n.in[1].as<float>() : short_frequencies)[i];
      else
        y[i] = beyond && i > 0
                   ? static_cast<float>(short_frequencies[i] *
                                        std::pow(stretch, -static_cast<double>(i) / static_cast<double>(half - 1)))
                   : short_frequencies[i];
    }
  }
}

HEDDLE_OP(rope_frequencies_op, {"rope_frequencies", 1, 3, 1, check_rope_frequencies, rope_frequencies});

}  // namespace
}  // namespace heddle
