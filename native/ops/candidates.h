// The tokens that may be drawn, ordered by probability (ties by id) without sorting them all: one pass spreads them
// over buckets of equal width in the logit, and only the bucket in which a cut or the draw falls is sorted.
#pragma once
#include <cstdint>
#include <vector>

namespace heddle {

class Candidates {
 public:
  // logits (n), divided by temperature > 0; `largest` and `smallest` bound the finite ones. Everything is a candidate.
  void reset(const float* logits, int64_t n, float largest, float smallest, float temperature);

  // Each keeps a prefix of what is left; at least one token stays.
  void keep_top_k(int64_t k);
  void keep_top_p(double p);  // the shortest prefix whose share reaches p
  void keep_min_p(double p);  // those at least p times as probable as the best

  int64_t draw(double uniform);  // the token at that point of the cumulative distribution

  struct Item {
    float distance;  // (largest logit - logit) / temperature: ascending is most probable first
    int32_t id;
  };

 private:
  static constexpr int buckets = 2048;
  int bucket_of(float distance) const;
  const std::vector<Item>& sorted(int bucket);
  void cut(int bucket, int64_t items, double mass);

  float width_ = 1;                // buckets per unit of distance
  std::vector<float> distance_;    // (n)
  std::vector<uint16_t> bucket_;   // (n)
  std::vector<int64_t> count_;     // (buckets)
  std::vector<double> mass_;       // (buckets): sums of exp(-distance)
  std::vector<Item> items_;        // the bucket sorted last
  int sorted_bucket_ = -1;
  // What is left: whole buckets before end_, and the first end_count_ items of bucket end_.
  int end_ = 0;
  int64_t end_count_ = 0;
  double total_ = 0;
};

}  // namespace heddle
