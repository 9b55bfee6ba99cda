// Samples the next token of each row, as native/ops/sample.cc does. The kernels of this file check the parameters,
// apply bias and penalties, and reduce each part of a row. sample_draw.cu truncates the distribution and draws.
#include "cuda/rows/sample.cuh"

namespace heddle {
namespace cuda {
namespace sampling {
namespace {

// Whether the parameters are in their ranges. 2147483520 is the largest float that fits into an i32.
__device__ bool valid(const Parameters& s, int64_t L) {
  const auto finite = [](float v) { return fabsf(v) < INFINITY; };
  const auto count = [](float v) { return v >= 0 && v <= 2147483520.0f && v == floorf(v); };
  return s.temperature >= 0 && finite(s.temperature) && count(s.top_k) && s.top_p > 0 && s.top_p <= 1 && s.min_p >= 0 &&
         s.min_p <= 1 && s.repetition > 0 && finite(s.repetition) && finite(s.presence) && finite(s.frequency) &&
         count(s.history_length) && s.history_length <= static_cast<float>(L) && count(s.prompt_length) &&
         s.prompt_length <= s.history_length;
}

// Whether penalties apply. Requires valid parameters.
__device__ bool penalised(const Parameters& s) {
  return s.history_length > 0 &&
         (s.repetition != 1 || ((s.presence != 0 || s.frequency != 0) && s.history_length > s.prompt_length));
}
// Whether the row has a bias. All threads of the block must call it, and all get the result.
__device__ bool biased(const Arguments& a, int64_t row, BlockReduction<threads>& block) {
  float any = 0;
  for (int64_t b = threadIdx.x; b < a.B; b += threads)
    if (a.bias_ids[row * a.B + b] != -1) any = 1;
  return block.max(any) != 0;
}

// The best logit of a part, and whether the part has NaN.
struct PartBest {
  Key key = ~Key{0};
  float nan = 0;

  __device__ void see(float logit, int64_t id) {
    if (logit != logit) {
      nan = 1;
      return;
    }
    const Key own = descending(logit, id);
    key = own < key ? own : key;
  }
  __device__ void over_block(BlockReduction<threads>& block) {
    key = block.min(key);
    nan = block.max(nan);
  }
};

// Finds the best raw logits of each part, copies logits that will be adjusted, and clears the bins. grid (R * parts)
__global__ void __launch_bounds__(threads) scan_parts_kernel(PreviousKernel previous, Arguments a) {
  previous.wait();
  const Place at(a);
  const float* raw = a.raw(at.row);
  for (int b = at.part * threads + threadIdx.x; b < bins; b += a.parts * threads) {
    const int64_t bin = at.row * bins + b;
    a.mass[bin] = 0, a.count[bin] = 0, a.filled[bin] = 0;
  }
  const Parameters s = parameters_of(a, at.row);
  BlockReduction<threads> block;
  const bool copies = biased(a, at.row, block) || penalised(s);
  PartBest best;
  for (int64_t i = at.begin + threadIdx.x; i < at.end; i += threads) {
    const float logit = raw[i];
    best.see(logit, i);
    if (copies) a.adjusted[at.row * a.V + i] = logit, a.ids[at.row * a.V + i] = 0;
  }
  best.over_block(block);
  const int64_t place = at.row * a.parts + at.part;
  if (threadIdx.x == 0) {
    Part& part = a.part[place];
    part.best_raw = part.best = best.key;
    part.raw_nan = part.nan = best.nan != 0;
  }
  // Finds the K best raw logits of the part, in descending order.
  Key latest = 0;
  for (int64_t k = 0; k < a.K; ++k) {
    Key next = ~Key{0};
    for (int64_t i = at.begin + threadIdx.x; i < at.end; i += threads) {
      const Key key = raw[i] == raw[i] ? descending(raw[i], i) : ~Key{0};
      if ((k == 0 || key > latest) && key < next) next = key;
    }
    latest = block.min(next);
    if (threadIdx.x == 0) a.top[place * a.K + k] = latest;
  }
}

// Calls apply(id, occurrences) once for each id in history[first, length). `count` (V) holds zeros before, and when all
// threads have returned.
template <class F>
__device__ void each_id(const int32_t* history, int64_t first, int64_t length, uint32_t* count, F apply) {
  for (int64_t i = first + threadIdx.x; i < length; i += threads) atomicAdd(&count[history[i]], 1u);
  __syncthreads();
  for (int64_t i = first + threadIdx.x; i < length; i += threads) {
    uint32_t* of_id = &count[history[i]];
    const int occurrences = static_cast<int>(atomicAdd(of_id, 0u));
    // Of the threads with the same id, the one that takes its count handles it.
    if (occurrences > 0 && atomicCAS(reinterpret_cast<int*>(of_id), occurrences, 0) == occurrences)
      apply(history[i], occurrences);
  }
}

// Applies bias and penalties to the copied logits, in the order of Hugging Face's logits processors.
__device__ void adjust(const Arguments& a, int64_t row, const Parameters& s) {
  float* to = a.adjusted + row * a.V;
  const int32_t* history = a.history + row * a.L;
  const int64_t length = static_cast<int64_t>(s.history_length), prompt = static_cast<int64_t>(s.prompt_length);
  if (threadIdx.x == 0)
    for (int64_t b = 0; b < a.B; ++b)
      if (a.bias_ids[row * a.B + b] != -1) to[a.bias_ids[row * a.B + b]] += a.bias_values[row * a.B + b];
  // each_id has a barrier before it calls its function, so that the biases are complete.
  uint32_t* const count = a.ids + row * a.V;
  if (s.repetition != 1) {
    each_id(history, 0, length, count, [&](int32_t id, int) {
      float& logit = to[id];
      logit = logit > 0 ? logit / s.repetition : logit * s.repetition;
    });
    __syncthreads();  // the next ids are counted in the same places
  }
  if (s.presence != 0 || s.frequency != 0)
    each_id(history, prompt, length, count, [&](int32_t id, int occurrences) {
      to[id] -= s.presence + times(s.frequency, static_cast<float>(occurrences));
    });
}

// Checks the row, and applies bias and penalties. grid (R). Four blocks of a multiprocessor leave each thread 64
// registers, so that none is spilled.
__global__ void __launch_bounds__(threads, 4) adjust_kernel(PreviousKernel previous, Arguments a) {
  previous.wait();
  const int64_t row = blockIdx.x;
  const Parameters s = parameters_of(a, row);
  BlockReduction<threads> block;
  const bool is_valid = valid(s, a.L), is_penalised = is_valid && penalised(s), is_biased = biased(a, row, block);
  float wrong = is_valid ? 0.0f : 1.0f;
  const auto check_id = [&](int32_t id) {
    if (id < 0 || id >= a.V) wrong = 1;
  };
  for (int64_t b = threadIdx.x; b < a.B; b += threads)
    if (a.bias_ids[row * a.B + b] != -1) check_id(a.bias_ids[row * a.B + b]);
  if (is_penalised)
    for (int64_t i = threadIdx.x; i < static_cast<int64_t>(s.history_length); i += threads)
      check_id(a.history[row * a.L + i]);
  Key best = ~Key{0};
  for (int p = threadIdx.x; p < a.parts; p += threads) {
    const Part& part = a.part[row * a.parts + p];
    best = part.best_raw < best ? part.best_raw : best;
    if (part.raw_nan) wrong = 1;
  }
  best = block.min(best);
  wrong = block.max(wrong);
  const float largest = wrong == 0 ? a.raw(row)[id_of(best)] : 0.0f;
  const bool usable = wrong == 0 && fabsf(largest) < INFINITY;
  if (threadIdx.x == 0) {
    a.state[row] = {largest, usable, is_biased || is_penalised};
    if (!usable) a.fault.report();
  }
  if (usable && (is_biased || is_penalised)) adjust(a, row, s);  // uniform over the block
}

// Computes the results of a part that depend on adjust_kernel: the sums relative to the row's largest raw logit, and
// the best adjusted logit. grid (R * parts)
__global__ void __launch_bounds__(threads) sum_parts_kernel(PreviousKernel previous, Arguments a) {
  previous.wait();
  const Place at(a);
  const RowState state = a.state[at.row];
  if (!state.usable) return;  // uniform over the block
  const float* raw = a.raw(at.row);
  // Adds as the CPU does: exponentials in float in groups of four, whose elements are four apart, and the sums of the
  // groups in double.
  double mass = 0, distance = 0;
  // Infinite distances become 88, because infinity times exp_negative's 0 would be NaN.
  const auto distance_of = [&](float logit) { return fminf(state.raw_largest - logit, 88.0f); };
  const int64_t whole = (at.end - at.begin) / 16 * 4;
  for (int64_t i = threadIdx.x; i < whole; i += threads) {
    const float* x = raw + at.begin + i / 4 * 16 + i % 4;
    float e[4], weighted[4];
    for (int j = 0; j < 4; ++j) {
      const float d = distance_of(x[4 * j]);
      e[j] = exp_negative(d), weighted[j] = times(d, e[j]);
    }
    mass += (e[0] + e[1]) + (e[2] + e[3]);
    distance += (weighted[0] + weighted[1]) + (weighted[2] + weighted[3]);
  }
  for (int64_t i = at.begin + 4 * whole + threadIdx.x; i < at.end; i += threads) {
    const float d = distance_of(raw[i]), e = exp_negative(d);
    mass += e, distance += times(d, e);
  }
  Part& part = a.part[at.row * a.parts + at.part];
  BlockReduction<threads> block;
  mass = block.sum(mass);
  if (threadIdx.x == 0) part.mass = mass;
  if (a.entropy) {  // uniform over the grid
    distance = block.sum(distance);
    if (threadIdx.x == 0) part.distance = distance;
  }
  if (!state.adjusted) return;
  PartBest best;
  for (int64_t i = at.begin + threadIdx.x; i < at.end; i += threads) best.see(a.adjusted[at.row * a.V + i], i);
  best.over_block(block);
  if (threadIdx.x == 0) part.best = best.key, part.nan = best.nan != 0;
}

int parts_of(int64_t V) { return static_cast<int>(ceil_div(V, part_logits)); }

// Points a's arrays into the scratch, one after another. Wider elements come first, so that all are aligned. Returns
// the total size in bytes.
size_t place_scratch(Arguments& a, void* memory) {
  char* at = static_cast<char*>(memory);
  const auto take = [&](auto*& pointer, int64_t elements) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(at);
    at += elements * static_cast<int64_t>(sizeof *pointer);
  };
  take(a.top, a.R * a.parts * a.K);
  take(a.mass, a.R * bins);
  take(a.part, a.R * a.parts);
  take(a.state, a.R);
  take(a.adjusted, a.R * a.V);
  take(a.count, a.R * bins);
  take(a.filled, a.R * bins);
  take(a.ids, a.R * a.V);
  return static_cast<size_t>(at - static_cast<char*>(memory));
}

Arguments arguments_of(const Node& n) {
  const bool top = n.out.size() == 5;
  Arguments a{};
  a.logits = n.in[0].as<float>(), a.params = n.in[1].as<float>();
  a.history = n.in[2].as<int32_t>(), a.bias_ids = n.in[3].as<int32_t>();
  a.bias_values = n.in[4].as<float>(), a.rng = n.in[5].as<uint32_t>();
  a.token = n.out[0].as<int32_t>(), a.logprob = n.out[1].as<float>();
  if (top) a.top_ids = n.out[2].as<int32_t>(), a.top_logprobs = n.out[3].as<float>(), a.entropy = n.out[4].as<float>();
  a.R = n.in[0].shape[0], a.V = n.in[0].shape[1], a.L = n.in[2].shape[1], a.B = n.in[3].shape[1];
  a.K = top ? n.out[2].shape[1] : 0;
  a.parts = parts_of(a.V);
  return a;
}

size_t scratch(const Node& n, int) {
  Arguments a = arguments_of(n);
  return place_scratch(a, nullptr);
}

void sample(const Node& n, Context& c) {
  Arguments a = arguments_of(n);
  a.fault = fault_of(c);
  place_scratch(a, c.scratch);
  const Grid of_parts{dim3(static_cast<unsigned>(a.R * a.parts)), dim3(threads)},
      of_rows{dim3(static_cast<unsigned>(a.R)), dim3(threads)};
  launch(c, "sample", of_parts, scan_parts_kernel, a);
  launch(c, "sample", of_rows, adjust_kernel, a);
  launch(c, "sample", of_parts, sum_parts_kernel, a);
  draw_tokens(c, a);
}

const RegisterKernel kernels[] = {{"sample", "cuda_sample", nullptr, sample, scratch}};

}  // namespace
}  // namespace sampling
}  // namespace cuda
}  // namespace heddle
