// Truncates the distribution of each row (top_k, top_p, min_p) and draws a token. Tokens are ordered by their distance
// from the best logit, then by id. Each truncation keeps a prefix of this order. The tokens are not sorted. They are
// grouped in bins by the upper bits of their distance, and each bin has their number and the sum of their weights. The
// end of a prefix, or the drawn token, is then found in its bin by radix select: digit by digit, with one pass over the
// bin's tokens for each digit.
#include "cuda/rows/philox.cuh"
#include "cuda/rows/sample.cuh"

namespace heddle {
namespace cuda {
namespace sampling {
namespace {

// Whether the row's token is drawn at random, which needs a usable row and a temperature above 0. At temperature 0, the
// token is the best one. Sets `best` and `candidates` if a.state[row].usable. All threads of the block must call it.
template <int block_threads>
__device__ bool draws(
    const Arguments& a, int64_t row, BlockReduction<block_threads>& block, Candidates* candidates, Best* best) {
  if (!a.state[row].usable) return false;
  *best = best_of(a, row, block);
  const float temperature = parameters_of(a, row).temperature;
  *candidates = {a.used(row), best->logit, temperature};
  return best->usable && temperature > 0;
}

// Counts the tokens of each bin of a part, and adds up their weights. grid (R * parts)
__global__ void __launch_bounds__(threads) count_kernel(PreviousKernel previous, Arguments a) {
  previous.wait();
  const Place at(a);
  HEDDLE_SHARED(unsigned, count, [bins]);
  HEDDLE_SHARED(unsigned, low, [bins]);
  HEDDLE_SHARED(unsigned, high, [bins]);
  BlockReduction<threads> block;
  Candidates candidates;
  Best best;
  if (!draws(a, at.row, block, &candidates, &best)) return;  // uniform over the block
  for (int b = threadIdx.x; b < bins; b += threads) count[b] = low[b] = high[b] = 0;
  __syncthreads();
  for (int64_t i = at.begin + threadIdx.x; i < at.end; i += threads) {
    const unsigned distance = candidates.distance(i);
    if (distance >= weightless) continue;
    const Key weight = weight_of(distance);
    const unsigned bin = distance >> bin_shift, above = static_cast<unsigned>(weight >> low_bits);
    atomicAdd(&count[bin], 1u);
    atomicAdd(&low[bin], static_cast<unsigned>(weight) & ((1u << low_bits) - 1));
    if (above) atomicAdd(&high[bin], above);
  }
  __syncthreads();
  for (int b = threadIdx.x; b < bins; b += threads) {
    if (count[b] == 0) continue;
    atomicAdd(&a.count[at.row * bins + b], count[b]);
    atomicAdd(&a.mass[at.row * bins + b], (static_cast<Key>(high[b]) << low_bits) + low[b]);
  }
}

// The number of tokens in a prefix of the order, and the sum of their weights.
struct Prefix {
  unsigned count;
  Key mass;
};

// Computes prefix sums over the threads of a block. `own` becomes the sum up to and including this thread. `before`
// receives the sum over the threads before it. All threads must call it, and pass another barrier before its next call.
template <int block_threads> __device__ void add_up_to(Prefix& own, Prefix& before) {
  constexpr int warps = block_threads / warp_size;
  HEDDLE_SHARED(unsigned, counts, [warps]);
  HEDDLE_SHARED(Key, masses, [warps]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const Prefix mine = own;
  for (int lanes = 1; lanes < warp_size; lanes *= 2) {
    const unsigned count = __shfl_up_sync(all_lanes, own.count, lanes);
    const Key mass = __shfl_up_sync(all_lanes, own.mass, lanes);
    if (lane >= lanes) own.count += count, own.mass += mass;
  }
  if (lane == warp_size - 1) counts[warp] = own.count, masses[warp] = own.mass;
  __syncthreads();
  for (int w = 0; w < warp; ++w) own.count += counts[w], own.mass += masses[w];
  before = {own.count - mine.count, own.mass - mine.mass};
}

// Fills `ids`: groups the tokens by bin. grid (R * parts)
__global__ void __launch_bounds__(threads) group_kernel(PreviousKernel previous, Arguments a) {
  previous.wait();
  const Place at(a);
  HEDDLE_SHARED(unsigned, place, [bins]);
  BlockReduction<threads> block;
  Candidates candidates;
  Best best;
  if (!draws(a, at.row, block, &candidates, &best)) return;  // uniform over the block
  for (int b = threadIdx.x; b < bins; b += threads) place[b] = 0;
  __syncthreads();
  for (int64_t i = at.begin + threadIdx.x; i < at.end; i += threads) {
    const unsigned distance = candidates.distance(i);
    if (distance < weightless) atomicAdd(&place[distance >> bin_shift], 1u);
  }
  // Turns place[b] from the part's count into the index in `ids` where the part's tokens of bin b begin. That is after
  // the tokens of all earlier bins, and after the places in bin b that other blocks have already reserved.
  constexpr int own_bins = ceil_div(bins, threads);
  const int first = threadIdx.x * own_bins;
  Prefix own{0, 0}, before;
  for (int b = first; b < first + own_bins && b < bins; ++b) own.count += a.count[at.row * bins + b];
  add_up_to<threads>(own, before);  // its barrier completes the counts
  for (int b = first; b < first + own_bins && b < bins; ++b) {
    const unsigned tokens = place[b];
    place[b] = before.count + (tokens ? atomicAdd(&a.filled[at.row * bins + b], tokens) : 0);
    before.count += a.count[at.row * bins + b];
  }
  __syncthreads();
  for (int64_t i = at.begin + threadIdx.x; i < at.end; i += threads) {
    const unsigned distance = candidates.distance(i);
    if (distance < weightless)
      a.ids[at.row * a.V + atomicAdd(&place[distance >> bin_shift], 1u)] = static_cast<uint32_t>(i);
  }
}

// ---- the search, by one block per row

constexpr int search_threads = 1024, digit_bits = 10, digits = 1 << digit_bits;
static_assert(digits == search_threads, "each thread has a digit");

// The result of a search: the smallest key whose prefix is large enough, and that prefix.
struct Cut {
  Key key;
  Prefix upto;
  bool found;
};

// Shared memory of a search.
struct SearchMemory {
  unsigned* count;   // (bins): number of tokens up to a bin's end
  Key* mass;         // (bins): sum of weights up to a bin's end
  unsigned* counts;  // (digits): number of tokens with each value of the current digit
  Key* masses;       // (digits): sum of their weights
  int* found;        // (2): the bin and the digit that were found
  Prefix* sums;      // (2): the prefixes that end before and after the digit that was found
};

// Searches the grouped tokens of a row, by one block. All threads must call first() and mass_upto().
struct Search {
  const Candidates& candidates;
  const uint32_t* ids;
  const SearchMemory& memory;
  int64_t V;
  BlockReduction<search_threads>& block;

  // Returns the prefix that ends with `bin`.
  __device__ Prefix upto(int bin) const { return bin < 0 ? Prefix{0, 0} : Prefix{memory.count[bin], memory.mass[bin]}; }

  // Calls see(key) for this thread's share of the tokens in a bin.
  template <class F> __device__ void each(int bin, F see) const {
    const unsigned end = upto(bin).count;
    for (unsigned i = upto(bin - 1).count + threadIdx.x; i < end; i += search_threads)
      see(static_cast<Key>(candidates.distance(ids[i])) << 32 | ids[i]);
  }

  // Counts the tokens of `bin`, and adds up their weights, by digit. A token's digit is the `width` bits of its key
  // from bit `shift` on. Includes only tokens whose key equals `key` in the bits from `known` on.
  __device__ void add_digits(int bin, Key key, int known, int shift, int width) const {
    memory.counts[threadIdx.x] = 0, memory.masses[threadIdx.x] = 0;
    __syncthreads();
    // Each thread combines successive tokens with equal digits into one atomic addition. Otherwise, many tokens with
    // equal logits would contend for one address.
    unsigned digit = 0;
    Prefix own{0, 0};
    const auto flush = [&] {
      if (own.count == 0) return;
      atomicAdd(&memory.counts[digit], own.count);
      atomicAdd(&memory.masses[digit], own.mass);
      own = {0, 0};
    };
    each(bin, [&](Key token) {
      if (token >> known != key >> known) return;
      const unsigned next = static_cast<unsigned>(token >> shift) & ((1u << width) - 1);
      if (next != digit) flush();
      digit = next;
      own.count += 1, own.mass += weight_of(static_cast<unsigned>(token >> 32));
    });
    flush();
    __syncthreads();
  }

  // Returns the smallest key for which enough(the prefix up to that key) is true. enough must be monotonic: if it is
  // true for a prefix, it is true for all longer prefixes. It must be false for the empty prefix.
  //
  // One thread writes found[0], once a search. One writes found[1] and sums, once a digit. All threads read them after
  // the next barrier. Another barrier follows before the next write of each: those of the first digit for found[0], and
  // those of the next digit or search for the others.
  template <class F> __device__ Cut first(F enough) const {
    if (!enough(upto(bins - 1))) return {0, {0, 0}, false};
    for (int b = threadIdx.x; b < bins; b += search_threads)
      if (enough(upto(b)) && !enough(upto(b - 1))) memory.found[0] = b;
    __syncthreads();
    const int bin = memory.found[0];
    Cut cut{static_cast<Key>(bin) << (32 + bin_shift), upto(bin), true};
    Prefix before = upto(bin - 1);
    int id_bits = 1;
    while ((V - 1) >> id_bits) ++id_bits;
    // The first digits are those of the distance, from the bits below the bin's bits down to bit 32. Bits 31 to id_bits
    // are 0 in all keys. Then come the digits of the id, from bit id_bits - 1 down to bit 0.
    for (int shift = 32 + bin_shift; shift > 0;) {
      const int known = shift == 32 ? id_bits : shift, bits_left = known > 32 ? known - 32 : known,
                width = bits_left < digit_bits ? bits_left : digit_bits;
      shift = known - width;
      add_digits(bin, cut.key, known, shift, width);
      Prefix own{memory.counts[threadIdx.x], memory.masses[threadIdx.x]}, less;
      add_up_to<search_threads>(own, less);
      own.count += before.count, own.mass += before.mass;
      less.count += before.count, less.mass += before.mass;
      if (enough(own) && !enough(less)) memory.found[1] = threadIdx.x, memory.sums[0] = less, memory.sums[1] = own;
      __syncthreads();
      cut.key |= static_cast<Key>(memory.found[1]) << shift;
      before = memory.sums[0], cut.upto = memory.sums[1];
    }
    return cut;
  }

  // Returns the sum of weights of the tokens with a distance up to `most`, which must be below `weightless`.
  __device__ Key mass_upto(unsigned most) const {
    const int bin = static_cast<int>(most >> bin_shift);
    Key sum = 0;
    each(bin, [&](Key key) {
      if (key >> 32 <= most) sum += weight_of(static_cast<unsigned>(key >> 32));
    });
    return upto(bin - 1).mass + block.sum(sum);
  }
};

// Draws a token, and writes the row's outputs. grid (R)
__global__ void __launch_bounds__(search_threads) draw_kernel(PreviousKernel previous, Arguments a) {
  previous.wait();
  const int64_t row = blockIdx.x;
  HEDDLE_SHARED(unsigned, count, [bins]);
  HEDDLE_SHARED(Key, mass, [bins]);
  HEDDLE_SHARED(unsigned, counts, [digits]);
  HEDDLE_SHARED(Key, masses, [digits]);
  HEDDLE_SHARED(int, found, [2]);
  HEDDLE_SHARED(Prefix, sums, [2]);
  BlockReduction<search_threads> block;
  Candidates candidates;
  Best best{0, 0, false};
  int64_t token = 0;
  if (draws(a, row, block, &candidates, &best)) {  // uniform over the block
    Prefix all{0, 0};
    for (int first = 0; first < bins; first += search_threads) {
      const int b = first + threadIdx.x;
      Prefix own{0, 0}, before;
      if (b < bins) own = {a.count[row * bins + b], a.mass[row * bins + b]};
      add_up_to<search_threads>(own, before);
      if (b < bins) count[b] = all.count + own.count, mass[b] = all.mass + own.mass;
      __syncthreads();
      const int last = first + search_threads < bins ? first + search_threads - 1 : bins - 1;
      all = {count[last], mass[last]};
    }
    const Parameters s = parameters_of(a, row);
    const SearchMemory memory{count, mass, counts, masses, found, sums};
    const Search search{candidates, a.ids + row * a.V, memory, a.V, block};
    // The end of the kept prefix, and the prefix's weight. At first, the prefix has all counted tokens.
    Key last = static_cast<Key>(weightless) << 32, kept = all.mass;
    const auto keep = [&](const Cut& cut) {
      if (cut.found) last = cut.key, kept = cut.upto.mass;
    };
    if (s.top_k > 0 && s.top_k < static_cast<float>(a.V))
      keep(search.first([&](const Prefix& p) { return static_cast<float>(p.count) >= s.top_k; }));
    if (s.top_p < 1) {
      const double wanted = static_cast<double>(s.top_p) * static_cast<double>(kept);
      keep(search.first([&](const Prefix& p) { return static_cast<double>(p.mass) >= wanted; }));
    }
    // min_p keeps the tokens with exp(-distance) >= min_p, whose distances are at most |log(min_p)|.
    if (s.min_p > 0) {
      const unsigned most = __float_as_uint(fabsf(static_cast<float>(log(static_cast<double>(s.min_p)))));
      if ((static_cast<Key>(most) << 32 | 0xffffffffu) < last) kept = search.mass_upto(most);
    }
    // Finds the token at a uniformly drawn point of the kept weight. The point stays below `whole` even if the product
    // rounds up.
    const uint32_t* rng = a.rng + row * 3;
    const double whole = static_cast<double>(kept), below = nextafter(whole, 0.0),
                 point = philox_uniform(rng[0], rng[1], rng[2]) * whole, wanted = point < below ? point : below;
    token = id_of(search.first([&](const Prefix& p) { return static_cast<double>(p.mass) > wanted; }).key);
  } else {
    if (!best.usable) {
      if (threadIdx.x == 0) a.fault.report();
      return;
    }
    token = best.id;
  }

  const auto sum_of = [&](double Part::* term) {
    double sum = 0;
    for (int p = threadIdx.x; p < a.parts; p += search_threads) sum += a.part[row * a.parts + p].*term;
    return block.sum(sum);
  };
  const double all_mass = sum_of(&Part::mass), log_mass = log(all_mass);
  if (a.entropy) {  // uniform over the grid
    const double distance = sum_of(&Part::distance);
    if (threadIdx.x == 0) a.entropy[row] = static_cast<float>(log_mass + distance / all_mass);
  }
  const double log_sum = static_cast<double>(a.state[row].raw_largest) + log_mass;
  const float* raw = a.raw(row);
  if (threadIdx.x == 0) {
    a.token[row] = static_cast<int32_t>(token);
    a.logprob[row] = static_cast<float>(raw[token] - log_sum);
  }
  // Finds the K best raw logits of the row among those of its parts, in descending order.
  Key latest = 0;
  for (int64_t k = 0; k < a.K; ++k) {
    Key next = ~Key{0};
    for (int64_t i = threadIdx.x; i < a.parts * a.K; i += search_threads) {
      const Key key = a.top[row * a.parts * a.K + i];
      if ((k == 0 || key > latest) && key < next) next = key;
    }
    latest = block.min(next);
    if (threadIdx.x != 0) continue;
    const int64_t id = id_of(latest);
    a.top_ids[row * a.K + k] = static_cast<int32_t>(id);
    a.top_logprobs[row * a.K + k] = static_cast<float>(raw[id] - log_sum);
  }
}

}  // namespace

void draw_tokens(const Context& c, const Arguments& a) {
  const Grid of_parts{dim3(static_cast<unsigned>(a.R * a.parts)), dim3(threads)};
  launch(c, "sample", of_parts, count_kernel, a);
  launch(c, "sample", of_parts, group_kernel, a);
  launch(c, "sample", {dim3(static_cast<unsigned>(a.R)), dim3(search_threads)}, draw_kernel, a);
}

}  // namespace sampling
}  // namespace cuda
}  // namespace heddle
