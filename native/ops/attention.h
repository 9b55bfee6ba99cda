// What attention and cached_attention share: attributes, the score of one key, and the softmax over visible keys.
#pragma once
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {

struct AttentionAttributes {
  bool causal;
  int64_t window;  // 0: none; else query i sees key j only if j > i - window
  double scale, softcap;

  explicit AttentionAttributes(const Node& n)
      : causal(n.attr_flag("causal")), window(n.attr_int("window")), scale(n.attr("scale")), softcap(n.attr("softcap")) {}

  static void check(const Check& c) {
    const bool causal = c.attr_flag("causal");
    const int64_t window = c.attr_int("window", 0, int64_t{1} << 31);
    if (window > 0 && !causal) c.invalid("window: expected 0 without causal, got " + std::to_string(window));
    c.attr("scale", -1e6, 1e6);
    c.attr("softcap", 0, 1e6);
  }

  // Keys [first, last) that a query at `position` sees of a sequence of `length` keys.
  int64_t first(int64_t position) const { return window > 0 && position - window + 1 > 0 ? position - window + 1 : 0; }
  int64_t last(int64_t position, int64_t length) const { return causal ? position + 1 : length; }

  double score(double product) const {
    const double s = product * scale;
    return softcap > 0 ? softcap * std::tanh(s / softcap) : s;
  }
  // d score / d product at that score
  double score_gradient(double score) const {
    return softcap > 0 ? scale * (1 - (score / softcap) * (score / softcap)) : scale;
  }
};

// Turns scores into probabilities in place; returns the log of the sum of exponentials.
inline double softmax_in_place(double* score, int64_t n) {
  double largest = -INFINITY, sum = 0;
  for (int64_t j = 0; j < n; ++j) largest = score[j] > largest ? score[j] : largest;
  for (int64_t j = 0; j < n; ++j) sum += score[j] = std::exp(score[j] - largest);
  for (int64_t j = 0; j < n; ++j) score[j] /= sum;
  return largest + std::log(sum);
}

}  // namespace heddle
