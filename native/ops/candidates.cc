#include "ops/candidates.h"

#include <algorithm>
#include <cmath>

#include "ops/logit_scan.h"

namespace heddle {

// Beyond this distance a token has less than 1e-13 of the best one's probability: one bucket takes them all.
constexpr float farthest = 30.0f;

int Candidates::bucket_of(float distance) const {
  const float place = distance * width_;
  return place < buckets - 1 ? static_cast<int>(place) : buckets - 1;
}

void Candidates::reset(const float* logits, int64_t n, float largest, float smallest, float temperature) {
  const float range = (largest - smallest) / temperature;
  width_ = (buckets - 1) / (range < farthest ? (range > 1e-6f ? range : 1e-6f) : farthest);
  distance_.resize(n);
  bucket_.resize(n);
  float* distance = distance_.data();
  uint16_t* bucket = bucket_.data();
  for (int64_t i = 0; i < n; ++i) {
    distance[i] = (largest - logits[i]) / temperature;
    const float place = distance[i] * width_;
    bucket[i] = static_cast<uint16_t>(static_cast<int32_t>(place < buckets - 1 ? place : buckets - 1));
  }
  count_.assign(buckets, 0);
  mass_.assign(buckets, 0);
  // Blocks: the exponentials vectorise, the additions into buckets cannot.
  constexpr int64_t block = 256;
  float e[block];
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t m = std::min(block, n - begin);
    for (int64_t i = 0; i < m; ++i) e[i] = exp_negative(distance[begin + i]);
    for (int64_t i = 0; i < m; ++i) {
      ++count_[bucket[begin + i]];
      mass_[bucket[begin + i]] += e[i];
    }
  }
  sorted_bucket_ = -1;
  end_ = buckets - 1;
  end_count_ = count_[buckets - 1];
  total_ = 0;
  for (double m : mass_) total_ += m;
}

const std::vector<Candidates::Item>& Candidates::sorted(int bucket) {
  if (bucket == sorted_bucket_) return items_;
  items_.clear();
  const int64_t n = static_cast<int64_t>(distance_.size());
  const uint16_t wanted = static_cast<uint16_t>(bucket);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {  // most groups hold none: one vector comparison passes over them
    uint16_t any = 0;
    for (int j = 0; j < 16; ++j) any |= static_cast<uint16_t>(bucket_[i + j] == wanted);
    if (!any) continue;
    for (int64_t j = i; j < i + 16; ++j)
      if (bucket_[j] == wanted) items_.push_back({distance_[j], static_cast<int32_t>(j)});
  }
  for (; i < n; ++i)
    if (bucket_[i] == wanted) items_.push_back({distance_[i], static_cast<int32_t>(i)});
  const auto before = [](const Item& a, const Item& b) {
    return a.distance < b.distance || (a.distance == b.distance && a.id < b.id);
  };
  if (!std::is_sorted(items_.begin(), items_.end(), before)) std::sort(items_.begin(), items_.end(), before);
  sorted_bucket_ = bucket;
  return items_;
}

void Candidates::cut(int bucket, int64_t items, double mass) {
  end_ = bucket;
  end_count_ = items;
  total_ = mass;
}

void Candidates::keep_top_k(int64_t k) {
  int64_t before = 0;
  double mass = 0;
  for (int b = 0; b <= end_; ++b) {
    const int64_t here = b == end_ ? end_count_ : count_[b];
    if (before + here >= k) {
      const auto& items = sorted(b);
      for (int64_t i = 0; i < k - before; ++i) mass += exp_negative(items[i].distance);
      return cut(b, k - before, mass);
    }
    before += here;
    mass += mass_[b];
  }
}

void Candidates::keep_top_p(double p) {
  const double wanted = p * total_;
  double mass = 0;
  for (int b = 0; b <= end_; ++b) {
    if (b < end_ && mass + mass_[b] < wanted) {
      mass += mass_[b];
      continue;
    }
    if (count_[b] == 0) continue;
    const auto& items = sorted(b);
    const int64_t most = b == end_ ? end_count_ : count_[b];
    int64_t kept = 0;
    do mass += exp_negative(items[kept++].distance);
    while (kept < most && mass < wanted);
    // A later bucket may hold the rest when rounding left the sum just short; it is of no weight.
    return cut(b, kept, mass);
  }
}

void Candidates::keep_min_p(double p) {
  const float limit = static_cast<float>(-std::log(p));
  const int b_limit = bucket_of(limit);
  if (b_limit > end_) return;
  double mass = 0;
  for (int b = 0; b < b_limit; ++b) mass += mass_[b];
  const auto& items = sorted(b_limit);
  const int64_t most = b_limit == end_ ? end_count_ : count_[b_limit];
  int64_t kept = 0;
  while (kept < most && items[kept].distance <= limit) mass += exp_negative(items[kept++].distance);
  cut(b_limit, kept, mass);
}

int64_t Candidates::draw(double uniform) {
  const double wanted = std::min(uniform * total_, std::nextafter(total_, 0.0));  // the product may round up to total_
  double mass = 0;
  int64_t last = 0;  // the least probable token passed: rounding may leave the sum just below `wanted`
  for (int b = 0; b <= end_; ++b) {
    const int64_t here = b == end_ ? end_count_ : count_[b];
    if (here == 0) continue;
    if (b < end_ && mass + mass_[b] <= wanted) {
      mass += mass_[b];
      continue;
    }
    const auto& items = sorted(b);
    for (int64_t i = 0; i < here; ++i) {
      const float e = exp_negative(items[i].distance);
      if (e == 0) break;
      last = items[i].id;
      mass += e;
      if (mass > wanted) return last;
    }
  }
  return last;
}

}  // namespace heddle
