// Chooses the next token for each row of logits. The CPU kernel is the same code with faster scans of the logits.
// Nothing else takes long: penalties touch few tokens, and a cut or a draw sorts one bucket of candidates
// (candidates.h).
#include <algorithm>
#include <cmath>

#include "ops/candidates.h"
#include "ops/check.h"
#include "ops/philox.h"
#include "ops/sample.h"

namespace heddle {
namespace {

constexpr int parameters = 9;

// logits (R, V) f32
// params (R, 9) f32 = [temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty,
//                      promptLength, historyLength]
// history (R, L) i32: prompt then generated ids, historyLength of them
// bias_ids (R, B) i32 (-1: unused), bias_values (R, B) f32
// rng (R, 3) i32 = [seed low, seed high, counter]
// -> token (R) i32, logprob (R) f32[, top_ids (R, K) i32, top_logprobs (R, K) f32, entropy (R) f32 in nats]
// Log-probabilities and entropy are of the raw distribution, without temperature, bias and penalties.
void check_sample(const Node& n) {
  Check c("sample", n, 6, 6, n.out.size() > 2 ? 5 : 2, 5);
  const Operand logits = c.in(0, "logits"), params = c.in(1, "params"), history = c.in(2, "history"),
                bias_ids = c.in(3, "bias_ids"), bias_values = c.in(4, "bias_values"), rng = c.in(5, "rng");
  c.rank(logits, 2), c.dtype(logits, f32_only), c.positive(logits, 1);
  const int64_t R = logits.shape()[0];
  c.dtype(params, f32_only), c.shape(params, {R, parameters});
  c.rank(history, 2), c.dtype(history, i32_only), c.same_dim(history, 0, logits, 0);
  c.rank(bias_ids, 2), c.dtype(bias_ids, i32_only), c.same_dim(bias_ids, 0, logits, 0);
  c.same_shape(bias_values, bias_ids), c.dtype(bias_values, f32_only);
  c.dtype(rng, i32_only), c.shape(rng, {R, 3});
  const Operand token = c.out(0, "token"), logprob = c.out(1, "logprob");
  c.dtype(token, i32_only), c.shape(token, {R});
  c.dtype(logprob, f32_only), c.shape(logprob, {R});
  if (n.out.size() == 5) {
    const Operand top_ids = c.out(2, "top_ids"), top_logprobs = c.out(3, "top_logprobs"), entropy = c.out(4, "entropy");
    c.rank(top_ids, 2), c.dtype(top_ids, i32_only), c.same_dim(top_ids, 0, logits, 0);
    if (top_ids.shape()[1] > logits.shape()[1])
      c.mismatch("top_ids: expected at most " + std::to_string(logits.shape()[1]) +
                 " columns, the size of the vocabulary, got " + std::to_string(top_ids.shape()[1]));
    c.same_shape(top_logprobs, top_ids), c.dtype(top_logprobs, f32_only);
    c.dtype(entropy, f32_only), c.shape(entropy, {R});
  }
}

struct Parameters {
  float temperature, top_k, top_p, min_p, repetition, presence, frequency, prompt_length, history_length;
};

Parameters read_parameters(const float* p, int64_t row, int64_t history_capacity) {
  const auto require = [&](bool ok, const char* name, const char* expected, float got) {
    if (!ok)
      throw invalid_argument("sample: " + std::string(name) + " of row " + std::to_string(row) + ": expected " +
                             expected + ", got " + std::to_string(got));
  };
  // 2147483520 is the largest float below 2^31.
  const auto count = [](float v) { return v >= 0 && v <= 2147483520.0f && v == std::floor(v); };
  const Parameters s{p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8]};
  require(s.temperature >= 0 && std::isfinite(s.temperature), "temperature", "a finite number of at least 0",
      s.temperature);
  require(count(s.top_k), "topK", "an integer of at least 0", s.top_k);
  require(s.top_p > 0 && s.top_p <= 1, "topP", "a number in (0, 1]", s.top_p);
  require(s.min_p >= 0 && s.min_p <= 1, "minP", "a number in [0, 1]", s.min_p);
  require(
      s.repetition > 0 && std::isfinite(s.repetition), "repetitionPenalty", "a finite number above 0", s.repetition);
  require(std::isfinite(s.presence), "presencePenalty", "a finite number", s.presence);
  require(std::isfinite(s.frequency), "frequencyPenalty", "a finite number", s.frequency);
  require(count(s.history_length) && s.history_length <= static_cast<float>(history_capacity), "historyLength",
      "an integer of at most the size of `history`", s.history_length);
  require(count(s.prompt_length) && s.prompt_length <= s.history_length, "promptLength",
      "an integer of at most historyLength", s.prompt_length);
  return s;
}

// Buffers that each thread reuses between calls.
struct Workspace {
  std::vector<float> logits;
  std::vector<int32_t> count;    // (V): occurrences in the history, zero between uses
  std::vector<int32_t> touched;  // ids with a count above zero
  std::vector<std::pair<float, int32_t>> heap;
  Candidates candidates;
};

int32_t checked_id(int32_t id, const char* noun, int64_t row, int64_t V) {
  if (id < 0 || id >= V)
    throw invalid_argument("sample: " + std::string(noun) + " id " + std::to_string(id) + " of row " +
                           std::to_string(row) + " is outside [0, " + std::to_string(V) + ")");
  return id;
}

// Calls apply(id, occurrences) once for each distinct id.
template <class F> void for_each_distinct(Workspace& w, const int32_t* ids, int64_t n, int64_t V, F apply) {
  if (static_cast<int64_t>(w.count.size()) < V) w.count.resize(V);
  w.touched.clear();
  for (int64_t i = 0; i < n; ++i)
    if (w.count[ids[i]]++ == 0) w.touched.push_back(ids[i]);
  for (int32_t id : w.touched) {
    apply(id, w.count[id]);
    w.count[id] = 0;
  }
}

// Returns the logits after bias and penalties, in the order of Hugging Face's processors, or `raw` itself if none
// applies.
const float* adjust(const Node& n, int64_t row, const Parameters& s, const float* raw, int64_t V, Workspace& w) {
  const int64_t L = n.in[2].shape[1], B = n.in[3].shape[1];
  const int32_t* history = n.in[2].as<int32_t>() + row * L;
  const int32_t* bias_id = n.in[3].as<int32_t>() + row * B;
  const float* bias = n.in[4].as<float>() + row * B;
  const int64_t length = static_cast<int64_t>(s.history_length), prompt = static_cast<int64_t>(s.prompt_length);
  const bool repetition = s.repetition != 1 && length > 0;
  const bool counted = (s.presence != 0 || s.frequency != 0) && length > prompt;
  const bool biased = std::any_of(bias_id, bias_id + B, [](int32_t id) { return id != -1; });
  if (!repetition && !counted && !biased) return raw;

  w.logits.assign(raw, raw + V);
  float* logits = w.logits.data();
  for (int64_t i = 0; i < B; ++i)
    if (bias_id[i] != -1) logits[checked_id(bias_id[i], "bias", row, V)] += bias[i];
  if (repetition || counted)
    for (int64_t i = 0; i < length; ++i) checked_id(history[i], "history", row, V);
  if (repetition)
    for_each_distinct(w, history, length, V, [&](int32_t id, int32_t) {
      logits[id] = logits[id] > 0 ? logits[id] / s.repetition : logits[id] * s.repetition;
    });
  if (counted)
    for_each_distinct(w, history + prompt, length - prompt, V, [&](int32_t id, int32_t occurrences) {
      logits[id] -= s.presence + s.frequency * static_cast<float>(occurrences);
    });
  return logits;
}

LogitRange checked_range(const LogitScans& scans, const float* logits, int64_t V, int64_t row, const char* noun) {
  const LogitRange range = scans.range(logits, V);
  if (range.nan || range.largest == INFINITY || range.largest == -INFINITY)
    throw Error("NUMERICAL", "sample: " + std::string(noun) + " of row " + std::to_string(row) +
                                 ": expected finite numbers, got " +
                                 (range.nan              ? "NaN"
                                     : range.largest > 0 ? "infinity"
                                                         : "-infinity for every token"));
  return range;
}

// Writes the K most probable tokens of the raw distribution, best first, ties by id.
void top_logprobs(const Node& n, int64_t row, const float* raw, int64_t V, double log_sum, Workspace& w) {
  const int64_t K = n.out[2].shape[1];
  if (K == 0) return;
  using Entry = std::pair<float, int32_t>;
  const auto better = [](const Entry& a, const Entry& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  };
  auto& heap = w.heap;  // the K best so far, with the worst in front
  heap.clear();
  for (int64_t v = 0; v < K; ++v) heap.push_back({raw[v], static_cast<int32_t>(v)});
  std::make_heap(heap.begin(), heap.end(), better);
  for (int64_t v = K; v < V; ++v) {
    if (!(raw[v] > heap.front().first)) continue;  // among equal logits, the lower id is better
    std::pop_heap(heap.begin(), heap.end(), better);
    heap.back() = {raw[v], static_cast<int32_t>(v)};
    std::push_heap(heap.begin(), heap.end(), better);
  }
  std::sort_heap(heap.begin(), heap.end(), better);
  for (int64_t k = 0; k < K; ++k) {
    n.out[2].as<int32_t>()[row * K + k] = heap[k].second;
    n.out[3].as<float>()[row * K + k] = static_cast<float>(heap[k].first - log_sum);
  }
}

}  // namespace

void sample_row(const Node& n, int64_t row, const LogitScans& scans) {
  thread_local Workspace w;
  const int64_t V = n.in[0].shape[1];
  const float* raw = n.in[0].as<float>() + row * V;
  const Parameters s = read_parameters(n.in[1].as<float>() + row * parameters, row, n.in[2].shape[1]);
  const LogitRange raw_range = checked_range(scans, raw, V, row, "logits");
  const float* logits = adjust(n, row, s, raw, V, w);
  const LogitRange range =
      logits == raw ? raw_range : checked_range(scans, logits, V, row, "logits after bias and penalties");

  const bool reports = n.out.size() == 5;
  // Whether the candidates have the raw distribution. Their mass is then that of the raw logits.
  const bool untouched = logits == raw && s.temperature == 1;
  LogitSums sums{0, 0};
  if (reports || !untouched) sums = scans.sums(raw, V, raw_range.largest);
  int64_t token;
  if (s.temperature == 0) {
    token = scans.index_of_largest(logits, V, range.largest);
  } else {
    w.candidates.reset(logits, V, range.largest, range.smallest, s.temperature);
    if (untouched) sums.mass = w.candidates.mass();
    if (s.top_k > 0 && s.top_k < static_cast<float>(V)) w.candidates.keep_top_k(static_cast<int64_t>(s.top_k));
    if (s.top_p < 1) w.candidates.keep_top_p(s.top_p);
    if (s.min_p > 0) w.candidates.keep_min_p(s.min_p);
    const uint32_t* rng = n.in[5].as<uint32_t>() + row * 3;
    token = w.candidates.draw(philox_uniform(rng[0], rng[1], rng[2]));
  }
  const double log_sum = raw_range.largest + std::log(sums.mass);
  n.out[0].as<int32_t>()[row] = static_cast<int32_t>(token);
  n.out[1].as<float>()[row] = static_cast<float>(raw[token] - log_sum);
  if (!reports) return;
  top_logprobs(n, row, raw, V, log_sum, w);
  n.out[4].as<float>()[row] = static_cast<float>(sums.entropy());
}

namespace {

void sample(const Node& n) {
  for (int64_t row = 0; row < n.in[0].shape[0]; ++row) sample_row(n, row, {scan_range, scan_sums, first_index_of});
}

HEDDLE_OP(sample_op, {"sample", 6, 6, 5, check_sample, sample, 0, 0, false, false, false, nullptr, true});

}  // namespace
}  // namespace heddle
