// The tokens that may be drawn, ordered by probability (ties by id). Not all tokens are sorted. One pass puts them into
// buckets, each of which is an interval of logits of the same width. Only a bucket in which a cut or the draw falls is
// sorted.
#pragma once
#include <cstdint>
#include <vector>

namespace heddle {

class Candidates {
 public:
  // Makes all n tokens candidates. Logits are divided by temperature > 0. `largest` and `smallest` are the bounds of
  // the finite logits. The logits must stay valid until the draw.
  void reset(const float* logits, int64_t n, float largest, float smallest, float temperature);

  // The sum of exp((logit - largest) / temperature) over the remaining candidates.
  double mass() const { return mass_; }

  // Each function keeps a prefix of the remaining candidates, with at least one token.
  void keep_top_k(int64_t k);
  void keep_top_p(double p);  // the shortest prefix whose share reaches p
  void keep_min_p(double p);  // the tokens that are at least p times as probable as the best

  // Returns the token at `uniform`, in [0, 1), of the cumulative distribution.
  int64_t draw(double uniform);

 private:
  struct Bucket {
    double mass;  // sum of exp(-distance)
    int64_t count;
  };
  struct Item {
    float distance;  // (largest - logit) / temperature, smallest for the most probable token
    int32_t id;
  };
  static constexpr int bucket_count = 1024;  // the last bucket also holds everything beyond range_

  void spread(float range);
  void add_block(int64_t begin, int64_t count);
  bool widen(int bucket);
  const std::vector<Item>& sorted(int bucket);
  void cut(int bucket, int64_t items, double mass);

  const float* logits_ = nullptr;
  int64_t n_ = 0;
  float largest_ = 0, temperature_ = 1;
  float full_range_ = 0;          // the largest distance with nonzero weight
  float range_ = 0;               // the distance that the buckets cover
  float width_ = 1;               // buckets per unit of distance
  std::vector<uint16_t> bucket_;  // (n): bucket of each token
  std::vector<Bucket> buckets_;   // (bucket_count): most probable first
  std::vector<Item> items_;       // items of the bucket that was sorted last
  int sorted_bucket_ = -1;
  // The remaining candidates: whole buckets before end_, and the first end_count_ items of bucket end_.
  int end_ = 0;
  int64_t end_count_ = 0;
  double mass_ = 0;
};

}  // namespace heddle
