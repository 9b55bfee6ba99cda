// Autotuning of matrix products: a table maps the key of a product to the name of its fastest candidate. The candidates
// are configurations of choice.h. This header compiles without CUDA.
//
// The table stores names, not configurations. If a product has no candidate of the stored name, it uses choose_gemm's
// choice.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "cuda/runtime/choice.h"

namespace heddle {
namespace cuda {

using GemmTable = std::map<std::string, std::string>;  // maps gemm_key() to variant_name()

// Returns the key of a product. Products share a key if their numbers of rows have the same next power of two (at
// least 8).
inline std::string gemm_key(const GemmShape& g) {
  const auto rounded = [](int64_t rows) {
    int64_t up = 8;
    while (up < rows) up *= 2;
    return up;
  };
  const int64_t m = g.a_transposed ? g.m : rounded(g.m), k = g.a_transposed ? rounded(g.k) : g.k;
  std::string key = std::to_string(m) + " " + std::to_string(g.n) + " " + std::to_string(k);
  for (const DType type : {g.a, g.b, g.c}) key += std::string(" ") + dtype_name(type);
  return key + (g.a_transposed ? " T" : " N") + (g.b_transposed ? "T" : "N") + (g.accumulate ? "+" : "") +
         (g.gated ? "*" : "");
}

inline std::string variant_name(const GemmChoice& c) {
  static const char* const names[] = {"few_rows", "multiply_add", "tensor", "tensor_tf32", "warpgroup"};
  return std::string(names[static_cast<int>(c.kernel)]) + " " + std::to_string(c.tile_m) + "x" +
         std::to_string(c.tile_n) + (c.splits > 1 ? " parts" : "");
}

// Returns the candidates for a product, with choose_gemm's choice first. Their names are unique. Rowwise products and
// products with few rows have only one candidate.
inline std::vector<GemmChoice> gemm_candidates(const GemmShape& g, const DeviceProperties& device) {
  std::vector<GemmChoice> all{choose_gemm(g, device)};
  const GemmKernel own = all[0].kernel;
  if (g.rowwise || own == GemmKernel::few_rows) return all;
  const auto add = [&](const GemmChoice& c) {
    for (const GemmChoice& other : all)
      if (variant_name(other) == variant_name(c)) return;
    all.push_back(c);
  };
  if (own == GemmKernel::multiply_add) {
    const GemmChoice whole{own, 64, 64, 1, 1, g.k};
    add(whole), add(with_splits(g, device, 2, whole));
    return all;
  }
  if (takes_warpgroups(g, device)) {
    for (const GemmChoice& c : {wide_warpgroups(g), half_warpgroups(g)})
      if (c.tile_n < g.n || c.tile_n == 128) add(c), add(with_warpgroup_splits(g, device, c));
  }
  const GemmChoice large = large_tiles(g), small = small_tiles(g);
  if (has_wide_tiles(g, device)) add(wide_tiles(g));
  add(large), add(with_splits(g, device, 1, large)), add(small), add(with_splits(g, device, 2, small));
  return all;
}

// Returns the candidate that the table names for this product. Otherwise returns choose_gemm(g, device). Rowwise
// products ignore the table.
inline GemmChoice choose_gemm(const GemmShape& g, const DeviceProperties& device, const GemmTable& measured) {
  if (!measured.empty() && !g.rowwise) {
    const auto found = measured.find(gemm_key(g));
    if (found != measured.end())
      for (const GemmChoice& c : gemm_candidates(g, device))
        if (variant_name(c) == found->second) return c;
  }
  return choose_gemm(g, device);
}

}  // namespace cuda
}  // namespace heddle
