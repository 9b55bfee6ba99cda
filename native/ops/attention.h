// What attention and cached_attention share: attributes, the score of one key, and the softmax over visible keys.
#pragma once
#include <cmath>
#include <vector>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {

struct AttentionAttributes {
  bool causal;
  int64_t window;  // 0: none; else query i sees key j only if i - window < j, or, both ways, |i - j| <= window / 2
  double scale, softcap;

  explicit AttentionAttributes(const Node& n)
      : causal(n.attr_flag("causal")), window(n.attr_int("window")), scale(n.attr("scale")), softcap(n.attr("softcap")) {}

  static void check(const Check& c) {
    c.attr_flag("causal");
    c.attr_int("window", 0, int64_t{1} << 31);
    c.attr("scale", -1e6, 1e6);
    c.attr("softcap", 0, 1e6);
  }

  // Keys [first, last) that a query at `position` sees of a sequence of `length` keys.
  int64_t first(int64_t position) const {
    if (window == 0) return 0;
    const int64_t furthest = causal ? position - window + 1 : position - window / 2;
    return furthest > 0 ? furthest : 0;
  }
  int64_t last(int64_t position, int64_t length) const {
    if (causal) return position + 1;
    return window > 0 && position + window / 2 + 1 < length ? position + window / 2 + 1 : length;
  }

  // How many positions before its own a query sees at most.
  int64_t before() const { return window == 0 ? int64_t{1} << 62 : causal ? window - 1 : window / 2; }

  double score(double product) const {
    const double s = product * scale;
    return softcap > 0 ? softcap * std::tanh(s / softcap) : s;
  }
  // d score / d product at that score
  double score_gradient(double score) const {
    return softcap > 0 ? scale * (1 - (score / softcap) * (score / softcap)) : scale;
  }
};

// Rows of a sequence: the attribute's, or where that is 0 all of q's.
inline int64_t sequence_length(const Node& n, const Tensor& q) {
  const int64_t length = n.attr_int("sequenceLength");
  return length > 0 ? length : q.shape[0] > 0 ? q.shape[0] : 1;
}

// Keys [first, last) of a sequence.
struct Span {
  int64_t first, last;
};

// What row `position` of the sequence of T rows that begins at `start` sees. With `documents` (N) i32, rows of one run of
// equal ids within a sequence are a document and see one another alone; a negative id is padding and sees nothing.
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

// Turns n scores into probabilities in place; returns the log of the sum of exponentials, -inf of none. `sink` (may be
// null) is one more logit, which takes its share of the probability and has no value.
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
