// Compares the linear kernel for quantized weights with its reference, for arbitrary bytes of weights and activations.
// Finite results must agree. Where the reference's result is not finite, the kernel's must not be finite either.
#include <cmath>

#include "fuzz.h"
#include "ops/op.h"
#include "ops/reference.h"
#include "core/memory.h"

#define HEDDLE_ISA fuzzed_isa
#if defined(__AVX2__)
#define HEDDLE_SIMD_AVX2 1
#endif
#include "cpu/quant/quant-inl.h"

using namespace heddle;
using namespace heddle::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Pool& pool = *new Pool(1);
  Input in(data, size);
  const DType type = quantized_type(in);
  const int64_t blocks = in.ConsumeIntegralInRange<int64_t>(0, 3), N = in.ConsumeIntegralInRange<int64_t>(0, 26),
                M = in.ConsumeIntegralInRange<int64_t>(0, 18);
  const bool int8 = in.ConsumeBool(), raw = in.ConsumeBool();
  const DType xt = in.ConsumeBool() ? DType::bf16 : DType::f32, yt = in.ConsumeBool() ? DType::bf16 : DType::f32;
  const int64_t K = blocks * block_type(type).elements;
  const std::vector<uint8_t> weights =
      in.ConsumeBytes<uint8_t>(static_cast<size_t>(in.ConsumeIntegralInRange<int>(0, 400)));
  const std::vector<uint8_t> rest = in.ConsumeRemainingBytes<uint8_t>();

  Tensor x{nullptr, xt, {2, {N, K}}}, w{nullptr, type, {2, {M, K}}}, y{nullptr, yt, {2, {N, M}}};
  const Block xs(x.bytes(), rest), ws(w.bytes(), weights), ys(y.bytes()), expected(y.bytes());
  x.data = xs.data(), w.data = ws.data(), y.data = ys.data();
  if (!raw)  // replaces the activations by multiples of 1/16 in [-2, 2]
    for (int64_t i = 0; i < N * K; ++i)
      store_float(x, i, static_cast<float>((i * 37 + static_cast<int64_t>(rest.size())) % 65 - 32) / 16);

  cpu::QuantLinear p{};
  p.m = N, p.n = M, p.k = K, p.int8 = int8;
  p.x = x.data, p.x_type = xt, p.w = w.data, p.w_type = type, p.y = y.data, p.y_type = yt;
  const std::shared_ptr<Storage> scratch = Storage::allocate(heddle::fuzzed_isa::quant_linear_scratch(p, 1) + 64);
  heddle::fuzzed_isa::quant_linear(p, pool, scratch->data());

  Attributes attributes;
  attributes.set("transposed", 0), attributes.set("int8", int8), attributes.set("rowwise", 0);
  Node node{&attributes, {x, w}, {y}, {true, true}};
  node.out[0].data = expected.data();
  Registry::find("linear")->reference(node);

  const Row wide = load_all(w), activations = load_all(x);
  for (int64_t i = 0; i < N; ++i)
    for (int64_t m = 0; m < M; ++m) {
      double largest = 0, reach = 0;  // upper bounds of the sum, and of the kernel's intermediate values
      for (int64_t k = 0; k < K; ++k) {
        const double weight = std::fabs(wide[m * K + k]), activation = std::fabs(activations[i * K + k]);
        largest += activation * weight;
        // The kernel may multiply an infinite weight (mxfp4 with a scale of 2^127) by an activation of zero. It may
        // also sum activations whose weights are zero.
        if (std::isinf(weight)) reach += weight;
        else if (std::isfinite(activation)) reach += activation * std::fmax(weight, 1);
      }
      const double got = load_float(y, i * M + m), want = load_float(node.out[0], i * M + m);
      // Skips sums that are close to overflow: an intermediate value, such as a scale times a minimum, may overflow
      // although the sum does not.
      if (largest > 1e30 || reach > 1e30) continue;
      if (!std::isfinite(want)) {
        require(!std::isfinite(got),
            "expected a result that is not finite, as in the reference, got " + std::to_string(got));
        continue;
      }
      const double allowed = (yt == DType::bf16 ? 0.01 : 1e-4) * largest + 1e-30;
      require(std::fabs(got - want) <= allowed,
          std::string(dtype_name(type)) + ": expected " + std::to_string(want) + ", got " + std::to_string(got));
    }
  return 0;
}
