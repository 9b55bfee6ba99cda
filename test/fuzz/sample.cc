// Samples from arbitrary logits with arbitrary parameters. The op returns a token of the vocabulary, or throws a typed
// error.
#include <cmath>

#include "fuzz.h"
#include "ops/op.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

// Returns a parameter that is usually in the valid range.
float parameter(Input& in, float low, float high) {
  if (in.ConsumeIntegralInRange<int>(0, 7) == 0) return static_cast<float>(number(in));
  return in.ConsumeFloatingPointInRange<float>(low, high);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  const int64_t V = in.ConsumeIntegralInRange<int64_t>(1, 90), L = in.ConsumeIntegralInRange<int64_t>(0, 6),
                B = in.ConsumeIntegralInRange<int64_t>(0, 3);
  const int64_t top = in.ConsumeIntegralInRange<int64_t>(0, V);
  const float history_length = static_cast<float>(in.ConsumeIntegralInRange<int64_t>(0, L));
  // Temperature, top_k, top_p, min_p, three penalties, prompt length, history length (native/ops/sample.cc).
  float params[] = {parameter(in, 0, 3), std::floor(parameter(in, 0, 40)), parameter(in, 0, 1), parameter(in, 0, 1),
      parameter(in, 0.1f, 4), parameter(in, -3, 3), parameter(in, -3, 3), std::floor(parameter(in, 0, history_length)),
      history_length};
  if (in.ConsumeBool()) params[8] = static_cast<float>(number(in));
  const auto ids = [&](int64_t n) {
    std::vector<int32_t> list;
    for (int64_t i = 0; i < n; ++i)
      list.push_back(in.ConsumeIntegralInRange<int>(0, 30) == 0
                         ? in.ConsumeIntegral<int32_t>()
                         : in.ConsumeIntegralInRange<int32_t>(-1, static_cast<int32_t>(V) - 1));
    return list;
  };
  std::vector<int32_t> history = ids(L), biased = ids(B),
                       rng{in.ConsumeIntegral<int32_t>(), in.ConsumeIntegral<int32_t>(), in.ConsumeIntegral<int32_t>()};
  std::vector<float> bias;
  for (int64_t i = 0; i < B; ++i) bias.push_back(static_cast<float>(number(in)));
  const bool raw = in.ConsumeBool();
  const Block logits(static_cast<size_t>(V) * 4, in.ConsumeRemainingBytes<uint8_t>());
  float* logit = reinterpret_cast<float*>(logits.data());
  if (!raw)
    for (int64_t v = 0; v < V; ++v) logit[v] = static_cast<float>(logits.data()[4 * v]) / 16 - 8;

  int32_t token = -7;
  float logprob = 0, entropy = 0;
  const Block top_ids(static_cast<size_t>(top) * 4), top_logprobs(static_cast<size_t>(top) * 4);
  Attributes none;
  Node node;
  node.attributes = &none;
  const auto operand = [](void* at, DType type, int64_t columns) { return Tensor{at, type, {2, {1, columns}}}; };
  node.in = {operand(logit, DType::f32, V), operand(params, DType::f32, 9), operand(history.data(), DType::i32, L),
      operand(biased.data(), DType::i32, B), operand(bias.data(), DType::f32, B), operand(rng.data(), DType::i32, 3)};
  node.present.assign(6, true);
  node.out = {Tensor{&token, DType::i32, {1, {1}}}, Tensor{&logprob, DType::f32, {1, {1}}},
      operand(top_ids.data(), DType::i32, top), operand(top_logprobs.data(), DType::f32, top),
      Tensor{&entropy, DType::f32, {1, {1}}}};
  const OpDef& op = *Registry::find("sample");
  require(accepts([&] { op.check(node); }), "the op's check accepts the operands");
  if (!accepts([&] { op.reference(node); })) return 0;

  require(token >= 0 && token < V, "the token is in the vocabulary");
  require(!std::isnan(logprob) && logprob <= 1e-3f, "the log-probability is at most 0 and not NaN");
  require(entropy >= 0 && entropy <= std::log(static_cast<double>(V)) + 1e-3,
      "the entropy is at least 0 and at most log V");
  const int32_t* best = reinterpret_cast<const int32_t*>(top_ids.data());
  for (int64_t k = 0; k < top; ++k) {
    require(best[k] >= 0 && best[k] < V, "the best tokens are in the vocabulary");
    require(k == 0 || logit[best[k - 1]] >= logit[best[k]], "the best tokens are in descending order");
  }
  if (params[0] == 0 && B == 0 && (L == 0 || (params[4] == 1 && params[5] == 0 && params[6] == 0)) && top > 0)
    require(logit[token] == logit[best[0]], "temperature 0 takes the best token");
  const int32_t first = token;
  op.reference(node);
  require(token == first, "the same seed draws the same token");
  return 0;
}
