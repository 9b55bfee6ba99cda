#include "ops/candidates.h"

#include <algorithm>
#include <cmath>

#include "ops/logit_scan.h"

namespace heddle {
namespace {

// Language models put nearly all probability within this distance of the best token. The buckets cover this range
// first. Tokens beyond it share the last bucket, which is split only when a cut or a draw falls there.
constexpr float near_range = 12.0f;
constexpr float weightless = 87.0f;  // exp_negative(x) is 0 for x >= 87
constexpr int64_t block = 64;        // tokens per call of add_block

}  // namespace

void Candidates::reset(const float* logits, int64_t n, float largest, float smallest, float temperature) {
  logits_ = logits;
  n_ = n;
  largest_ = largest;
  temperature_ = temperature;
  full_range_ = std::min(std::max((largest - smallest) / temperature, 1e-6f), weightless);
  spread(std::min(full_range_, near_range));
}

void Candidates::spread(float range) {
  range_ = range;
  width_ = (bucket_count - 1) / range;
  bucket_.resize(n_);
  buckets_.assign(bucket_count, Bucket{});
  for (int64_t begin = 0; begin < n_; begin += block) add_block(begin, std::min(block, n_ - begin));
  sorted_bucket_ = -1;
  end_ = bucket_count - 1;
  end_count_ = buckets_[end_].count;
  mass_ = 0;
  for (const Bucket& b : buckets_) mass_ += b.mass;
}

// Adds logits [begin, begin + count) to the buckets. Distances and exponentials are vectorized, but additions into
// buckets cannot be. If a whole group of tokens belongs to the last bucket, one addition therefore adds all of them.
void Candidates::add_block(int64_t begin, int64_t count) {
  const auto place = [&](Float4 distance) {
    const Float4 p = distance * width_, most = fill4(bucket_count - 1);
    return __builtin_convertvector(p < most ? p : most, Int4);
  };
  Bucket& far = buckets_[bucket_count - 1];
  uint16_t* bucket = bucket_.data() + begin;
  int64_t i = 0;
  for (; i + scan_width <= count; i += scan_width) {
    Float4 e[scan_vectors];
    Int4 at[scan_vectors];
    for (int j = 0; j < scan_vectors; ++j) {
      const Float4 distance = (largest_ - load4(logits_ + begin + i + 4 * j)) / temperature_;
      at[j] = place(distance);
      e[j] = exp_negative(distance);
    }
    const Int4 nearest = (at[0] < at[1] ? at[0] : at[1]) < (at[2] < at[3] ? at[2] : at[3])
                             ? (at[0] < at[1] ? at[0] : at[1])
                             : (at[2] < at[3] ? at[2] : at[3]);
    if (std::min(std::min(nearest[0], nearest[1]), std::min(nearest[2], nearest[3])) == bucket_count - 1) {
      const Float4 sum = (e[0] + e[1]) + (e[2] + e[3]);
      far.mass += static_cast<double>(sum[0]) + sum[1] + sum[2] + sum[3];
      far.count += scan_width;
      std::fill(bucket + i, bucket + i + scan_width, static_cast<uint16_t>(bucket_count - 1));
      continue;
    }
    for (int j = 0; j < scan_vectors; ++j)
      for (int lane = 0; lane < 4; ++lane) {
        Bucket& to = buckets_[at[j][lane]];
        to.mass += e[j][lane];
        ++to.count;
        bucket[i + 4 * j + lane] = static_cast<uint16_t>(at[j][lane]);
      }
  }
  for (; i < count; ++i) {
    const Float4 distance = fill4((largest_ - logits_[begin + i]) / temperature_);
    bucket[i] = static_cast<uint16_t>(place(distance)[0]);
    buckets_[bucket[i]].mass += exp_negative(distance)[0];
    ++buckets_[bucket[i]].count;
  }
}

// If `bucket` is the last and the range is not full, spreads all tokens over the full range and returns true. Otherwise
// returns false. No cut is undone: after a cut in an earlier bucket, no caller reaches the last one. A cut in the last
// bucket happens only when the range is full.
bool Candidates::widen(int bucket) {
  if (bucket < bucket_count - 1 || range_ == full_range_) return false;
  spread(full_range_);
  return true;
}

const std::vector<Candidates::Item>& Candidates::sorted(int bucket) {
  if (bucket == sorted_bucket_) return items_;
  items_.clear();
  const uint16_t wanted = static_cast<uint16_t>(bucket);
  const auto take = [&](int64_t i) {
    if (bucket_[i] == wanted) items_.push_back({(largest_ - logits_[i]) / temperature_, static_cast<int32_t>(i)});
  };
  int64_t i = 0;
  for (; i + 16 <= n_; i += 16) {  // most groups have no match, and one vector comparison skips them
    uint16_t any = 0;
    for (int j = 0; j < 16; ++j) any |= static_cast<uint16_t>(bucket_[i + j] == wanted);
    if (any)
      for (int64_t j = i; j < i + 16; ++j) take(j);
  }
  for (; i < n_; ++i) take(i);
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
  mass_ = mass;
}

void Candidates::keep_top_k(int64_t k) {
  int64_t before = 0;
  double mass = 0;
  for (int b = 0; b <= end_; ++b) {
    const int64_t here = b == end_ ? end_count_ : buckets_[b].count;
    if (before + here >= k) {
      if (widen(b)) return keep_top_k(k);
      const auto& items = sorted(b);
      for (int64_t i = 0; i < k - before; ++i) mass += exp_negative(items[i].distance);
      return cut(b, k - before, mass);
    }
    before += here;
    mass += buckets_[b].mass;
  }
}

void Candidates::keep_top_p(double p) {
  const double wanted = p * mass_;
  double mass = 0;
  for (int b = 0; b <= end_; ++b) {
    if (b < end_ && mass + buckets_[b].mass < wanted) {
      mass += buckets_[b].mass;
      continue;
    }
    if (buckets_[b].count == 0) continue;
    if (widen(b)) return keep_top_p(p);
    const auto& items = sorted(b);
    const int64_t most = b == end_ ? end_count_ : buckets_[b].count;
    int64_t kept = 0;
    do mass += exp_negative(items[kept++].distance);
    while (kept < most && mass < wanted);
    return cut(b, kept, mass);  // rounding may leave the sum just short of `wanted`, by a negligible weight
  }
}

void Candidates::keep_min_p(double p) {
  const float limit = static_cast<float>(-std::log(p));
  const float place = limit * width_;
  const int bucket = place < bucket_count - 1 ? static_cast<int>(place) : bucket_count - 1;
  if (bucket > end_) return;
  if (widen(bucket)) return keep_min_p(p);
  double mass = 0;
  for (int b = 0; b < bucket; ++b) mass += buckets_[b].mass;
  const auto& items = sorted(bucket);
  const int64_t most = bucket == end_ ? end_count_ : buckets_[bucket].count;
  int64_t kept = 0;
  while (kept < most && items[kept].distance <= limit) mass += exp_negative(items[kept++].distance);
  cut(bucket, kept, mass);
}

int64_t Candidates::draw(double uniform) {
  const double wanted = std::min(uniform * mass_, std::nextafter(mass_, 0.0));  // the product may round up to mass_
  double mass = 0;
  int64_t last = 0;  // the least probable token so far, in case rounding leaves the sum just below `wanted`
  for (int b = 0; b <= end_; ++b) {
    const int64_t here = b == end_ ? end_count_ : buckets_[b].count;
    if (here == 0) continue;
    if (b < end_ && mass + buckets_[b].mass <= wanted) {
      mass += buckets_[b].mass;
      continue;
    }
    if (widen(b)) return draw(uniform);
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
