// Routed experts (Shazeer et al. 2017): shared by the references and the kernels of route_experts.
#pragma once
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {

// Finds the k largest of E logits in descending order (ties to the lowest index) and their weights: the softmax over
// all E, or with `normalize` over the chosen ones. With NaN logits the choice is arbitrary but valid.
inline void route_row(const double* logit, int64_t E, int64_t k, bool normalize, float* weight, int32_t* expert) {
  double largest = -INFINITY, sum = 0;
  for (int64_t e = 0; e < E; ++e) largest = logit[e] > largest ? logit[e] : largest;
  for (int64_t j = 0; j < k; ++j) {
    int64_t best = -1;
    for (int64_t e = 0; e < E; ++e) {
      bool taken = false;
      for (int64_t i = 0; i < j; ++i) taken = taken || expert[i] == e;
      if (!taken && (best < 0 || logit[e] > logit[best])) best = e;
    }
    expert[j] = static_cast<int32_t>(best);
  }
  if (normalize)
    for (int64_t j = 0; j < k; ++j) sum += std::exp(logit[expert[j]] - largest);
  else
    for (int64_t e = 0; e < E; ++e) sum += std::exp(logit[e] - largest);
  for (int64_t j = 0; j < k; ++j) weight[j] = static_cast<float>(std::exp(logit[expert[j]] - largest) / sum);
}

// Computes dL/dlogits of a row from dL/dweights.
inline void route_backward_row(const double* logit, const int32_t* expert, const double* dweight, int64_t E, int64_t k,
    bool normalize, double* dlogit) {
  double largest = -INFINITY, sum = 0, mean = 0;
  for (int64_t e = 0; e < E; ++e) largest = logit[e] > largest ? logit[e] : largest;
  for (int64_t e = 0; e < E; ++e) dlogit[e] = 0;
  if (normalize)
    for (int64_t j = 0; j < k; ++j) sum += std::exp(logit[expert[j]] - largest);
  else
    for (int64_t e = 0; e < E; ++e) sum += std::exp(logit[e] - largest);
  const auto p = [&](int64_t e) { return std::exp(logit[e] - largest) / sum; };
  for (int64_t j = 0; j < k; ++j) mean += p(expert[j]) * dweight[j];
  // Without `normalize`, experts that were not chosen are in the softmax too, so they have a gradient.
  if (!normalize)
    for (int64_t e = 0; e < E; ++e) dlogit[e] = -p(e) * mean;
  for (int64_t j = 0; j < k; ++j) dlogit[expert[j]] = p(expert[j]) * (dweight[j] - mean);
}

// Gradient of the weighted sum of row r: writes dy of its k slots, and dL/dweights.
inline void combine_backward_row(
    const Tensor& dout, const Tensor& y, const Tensor& weights, const Tensor& dy, const Tensor& dweights, int64_t r) {
  const int64_t k = y.shape[1], M = y.shape[2];
  const Row dout_row = load_row(dout, r * M, M);
  Row y_row(M), dy_row(M);
  for (int64_t p = r * k; p < (r + 1) * k; ++p) {
    load_row(y, p * M, M, y_row.data());
    const double weight = load_float(weights, p);
    for (int64_t m = 0; m < M; ++m) dy_row[m] = weight * dout_row[m];
    store_row(dy, p * M, dy_row);
    store_float(dweights, p, static_cast<float>(dot(dout_row.data(), y_row.data(), M)));
  }
}

// The shape of expert_linear. A pair is a row of x and one of its k slots. x is (N, K) if the slots share a row, or
// (N, k, K).
struct ExpertShape {
  int64_t rows, slots, experts, inputs, outputs;
  bool per_slot;  // x has a row for each slot
  int64_t pairs() const { return rows * slots; }
  int64_t x_row(int64_t pair) const { return per_slot ? pair : pair / slots; }
};

}  // namespace heddle
