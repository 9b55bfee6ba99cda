#include "tokenizer/models/merger.h"

#include <algorithm>
#include <cstring>
#include <functional>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "core/error.h"
#include "core/round.h"

namespace heddle {
size_t Merger::run(const MergeTable& merges, Symbol* symbols, size_t count) {
  const auto first = [&](size_t i) { return merges.find(symbols[i].id, symbols[i + 1].id); };
  return count <= short_limit ? run_short(merges, symbols, count, first) : run_long(merges, symbols, count, first);
}

size_t Merger::run_bytes(const MergeTable& merges, std::string_view text, Symbol* symbols) {
  const auto first = [&](size_t i) {
    return merges.find_bytes(static_cast<uint8_t>(text[i]), static_cast<uint8_t>(text[i + 1]));
  };
  const size_t count = text.size();
  return count <= short_limit ? run_short(merges, symbols, count, first) : run_long(merges, symbols, count, first);
}

namespace {

constexpr int place_bits = 6;
constexpr int32_t no_pair = INT32_MAX;
static_assert(Merger::short_limit <= size_t{1} << place_bits);

// Packs a pair's rank and, below it, its position. The minimum is then the leftmost pair of the best rank. MergeTable
// rejects ranks that do not fit.
int32_t order_of(Merge merge, size_t place) {
  if (merge.rank == no_token) return no_pair;
  return static_cast<int32_t>(merge.rank << place_bits | static_cast<uint32_t>(place));
}

// Returns the minimum of `count` numbers. `count` is a multiple of four, and `numbers` is aligned to 16 bytes.
int32_t least_of(const int32_t* numbers, size_t count) {
#if defined(__SSE2__)
  __m128i least = _mm_load_si128(reinterpret_cast<const __m128i*>(numbers));
  const auto take_less = [&](__m128i other) {
    const __m128i greater = _mm_cmpgt_epi32(least, other);
    least = _mm_or_si128(_mm_and_si128(greater, other), _mm_andnot_si128(greater, least));
  };
  for (size_t i = 4; i < count; i += 4) take_less(_mm_load_si128(reinterpret_cast<const __m128i*>(numbers + i)));
  take_less(_mm_shuffle_epi32(least, 0x4E));
  take_less(_mm_shuffle_epi32(least, 0xB1));
  return _mm_cvtsi128_si32(least);
#else
  int32_t least = numbers[0];
  for (size_t i = 1; i < count; ++i) least = std::min(least, numbers[i]);
  return least;
#endif
}

}  // namespace

// Symbols stay in place until the end. `next` and `previous` hold their neighbors' positions.
template <class F> size_t Merger::run_short(const MergeTable& merges, Symbol* symbols, size_t count, F&& first) {
  if (count < 2) return count;
  alignas(16) int32_t orders[short_limit];
  uint32_t made[short_limit];
  uint8_t next[short_limit + 1], previous[short_limit + 1];
  for (size_t i = 0; i + 1 < count; ++i) {
    const Merge merge = first(i);
    orders[i] = order_of(merge, i);
    made[i] = merge.id;
  }
  const size_t scanned = round_up(count, size_t{4});
  for (size_t i = count - 1; i < scanned; ++i) orders[i] = no_pair;
  for (size_t i = 0; i <= count; ++i) {
    next[i] = static_cast<uint8_t>(i + 1);
    previous[i] = static_cast<uint8_t>(i - 1);
  }
  const auto update = [&](size_t left, size_t right) {
    const Merge merge = merges.find(symbols[left].id, symbols[right].id);
    orders[left] = order_of(merge, left);
    made[left] = merge.id;
  };
  size_t left_over = count;
  for (;;) {
    const int32_t least = least_of(orders, scanned);
    if (least == no_pair) break;
    const size_t place = static_cast<size_t>(least) & (short_limit - 1);
    const size_t gone = next[place], after = next[gone];
    symbols[place].id = made[place];
    symbols[place].length += symbols[gone].length;
    symbols[gone].length = 0;
    next[place] = static_cast<uint8_t>(after);
    previous[after] = static_cast<uint8_t>(place);
    orders[gone] = orders[place] = no_pair;
    --left_over;
    if (after < count) update(place, after);
    if (place > 0) update(previous[place], place);
  }
  size_t to = 0;
  for (size_t i = 0; to < left_over; i = next[i]) symbols[to++] = symbols[i];
  return left_over;
}

template <class F> size_t Merger::run_long(const MergeTable& merges, Symbol* symbols, size_t count, F&& first) {
  if (count >= no_token) {
    throw Error("UNSUPPORTED", "encode: expected pieces below 4 GiB, got one of " + std::to_string(count) + " symbols");
  }
  constexpr uint32_t none = UINT32_MAX;
  const auto n = static_cast<uint32_t>(count);
  pairs_.assign(count, {no_token, no_token});
  next_.resize(count);
  previous_.resize(count);
  heap_.clear();
  for (uint32_t i = 0; i < n; ++i) {
    next_[i] = i + 1 < n ? i + 1 : none;
    previous_[i] = i > 0 ? i - 1 : none;
    if (i + 1 == n) break;
    if ((i & 0xFFFF) == 0) cancellation_.check();
    pairs_[i] = first(i);
    if (pairs_[i].rank != no_token) heap_.push_back(static_cast<uint64_t>(pairs_[i].rank) << 32 | i);
  }
  const std::greater<uint64_t> min_first;
  std::make_heap(heap_.begin(), heap_.end(), min_first);

  const auto update = [&](uint32_t i) {
    const uint32_t right = next_[i];
    pairs_[i] = right == none ? Merge{no_token, no_token} : merges.find(symbols[i].id, symbols[right].id);
    if (pairs_[i].rank == no_token) return;
    heap_.push_back(static_cast<uint64_t>(pairs_[i].rank) << 32 | i);
    std::push_heap(heap_.begin(), heap_.end(), min_first);
  };

  size_t steps = 0;
  while (!heap_.empty()) {
    if ((++steps & 0xFFFF) == 0) cancellation_.check();
    std::pop_heap(heap_.begin(), heap_.end(), min_first);
    const uint64_t top = heap_.back();
    heap_.pop_back();
    const auto i = static_cast<uint32_t>(top);
    // The entry is outdated if its pair has changed. A symbol that was merged away has no pair.
    if (pairs_[i].rank != top >> 32) continue;
    const uint32_t right = next_[i];
    symbols[i].id = pairs_[i].id;
    symbols[i].length += symbols[right].length;
    pairs_[right] = {no_token, no_token};
    next_[i] = next_[right];
    if (next_[i] != none) previous_[next_[i]] = i;
    update(i);
    if (previous_[i] != none) update(previous_[i]);
  }

  size_t left = 0;
  for (uint32_t i = 0; i != none; i = next_[i]) symbols[left++] = symbols[i];
  return left;
}

}  // namespace heddle
