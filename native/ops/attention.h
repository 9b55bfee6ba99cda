// Shared by attention and cached_attention: attributes, the score of a key, and the softmax over visible keys.
#pragma once
#include <cmath>
#include <vector>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {

struct AttentionAttributes {
  bool causal;
  // 0: unlimited. Causal: query i sees key j only if i - window < j. Bidirectional: |i - j| <= window / 2
  int64_t window;
  double scale, softcap;

  explicit AttentionAttributes(const Node& n)
      : causal(n.attr_flag("causal")), window(n.attr_int("window")), scale(n.attr("scale")),
        softcap(n.attr("softcap")) {}

  static void check(const Check& c) {
    c.attr_flag("causal");
    c.attr_int("window", 0, int64_t{1} << 31);
    c.attr("scale", -1e6, 1e6);
    c.attr("softcap", 0, 1e6);
  }

  // A query at `position` sees keys [first, last) of a sequence of `length` keys.
  int64_t first(int64_t position) const {
    if (window == 0) return 0;
    const int64_t furthest = causal ? position - window + 1 : position - window / 2;
    return furthest > 0 ? furthest : 0;
  }
  int64_t last(int64_t position, int64_t length) const {
    if (causal) return position + 1;
    return window > 0 && position + window / 2 + 1 < length ? position + window / 2 + 1 : length;
  }

  // Maximum number of earlier positions that a query sees.
  int64_t before() const { return window == 0 ? int64_t{1} << 62 : causal ? window - 1 : window / 2; }

  double score(double product) const {
    const double s = product * scale;
    return softcap > 0 ? softcap * std::tanh(s / softcap) : s;
  }
  // Returns d score / d product for a score.
  double score_gradient(double score) const {
    return softcap > 0 ? scale * (1 - (score / softcap) * (score / softcap)) : scale;
  }
};

// Rows per sequence: the attribute, or all rows of q if it is 0.
inline int64_t sequence_length(const Node& n, const Tensor& q) {
  const int64_t length = n.attr_int("sequenceLength");
  return length > 0 ? length : q.shape[0] > 0 ? q.shape[0] : 1;
}

// Keys [first, last) of a sequence.
struct Span {
  int64_t first, last;
};

// Returns the keys that row `position` sees in the sequence of T rows that begins at `start`. With `documents` (N) i32,
// a run of equal ids within a sequence is one document, and its rows see only each other. A negative id is padding and
// sees nothing.
inline Span visible(const AttentionAttributes& a, const Tensor* documents, int64_t start, int64_t T, int64_t position) {
  Span s{a.first(position), a.last(position, T)};
  if (!documents) return s;
  const int32_t* id = documents->as<int32_t>() + start;
  if (id[position] < 0) return {position, position};
  int64_t first = position, last = position + 1;
  while (first > 0 && id[first - 1] == id[position]) --first;
  while (last < T && id[last] == id[position]) ++last;
  return {s.first > first ? s.first : first, s.last < last ? s.last : last};
}

// Turns n scores into probabilities in place. Returns the log of the sum of exponentials, or -inf for n = 0 without a
// sink. `sink` (may be null) is an additional logit that takes probability and has no value vector.
inline double softmax_in_place(double* score, int64_t n, const double* sink = nullptr) {
  if (n == 0 && !sink) return -INFINITY;
  double largest = sink ? *sink : -INFINITY;
  for (int64_t j = 0; j < n; ++j) largest = score[j] > largest ? score[j] : largest;
  double sum = sink ? std::exp(*sink - largest) : 0;
  for (int64_t j = 0; j < n; ++j) sum += score[j] = std::exp(score[j] - largest);
  for (int64_t j = 0; j < n; ++j) score[j] /= sum;
  return largest + std::log(sum);
}

}  // namespace heddle
