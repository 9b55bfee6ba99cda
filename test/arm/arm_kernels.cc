// Compares the kernels of the arm64 instruction sets with each other, bit by bit, where their arithmetic is the same.
// Runs on a processor that has all of these sets, or on qemu-aarch64 -cpu max. Exits with an error on other processors.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/block_types.h"
#include "core/platform/arm_features.h"
#include "cpu/isa/kernels.h"
#include "ops/quant.h"
#include "runtime/pool.h"

using namespace heddle;

namespace {

constexpr DType types[] = {
#define HEDDLE_TYPE(name, ...) DType::name,
    HEDDLE_BLOCK_TYPES(HEDDLE_TYPE)
#undef HEDDLE_TYPE
};

int failures = 0, cases = 0;
uint64_t state = 88172645463325252ull;
// Xorshift64 (Marsaglia, 2003).
uint64_t next_random() { return state ^= state << 13, state ^= state >> 7, state ^= state << 17; }
float uniform() { return static_cast<float>(static_cast<double>(next_random() >> 11) / (1ull << 53) * 2 - 1); }

// Scratch memory, followed by guard bytes.
struct Scratch {
  std::vector<char> bytes;
  size_t size;
  explicit Scratch(size_t size) : bytes(size + 192, 0x33), size(size) {}
  char* data() { return bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64); }
  bool guarded() {
    for (size_t i = 0; i < 64; ++i)
      if (data()[size + i] != 0x33) return false;
    return true;
  }
};

void expect(bool right, const char* isa, const char* what, int64_t m, int64_t n, int64_t k) {
  ++cases;
  if (right) return;
  ++failures;
  std::printf("FAIL %s: %s, %lld x %lld x %lld\n", isa, what, static_cast<long long>(m), static_cast<long long>(n),
      static_cast<long long>(k));
}

// Compares products of quantized weights and 8-bit activations. Their bits must be equal, because sums of integers are
// exact, and all sets add up the groups in the same order.
void quantized(const cpu::Kernels& base, const cpu::Kernels& other, DType type, int64_t m, int64_t n, int64_t blocks,
    bool rowwise, DType y_type) {
  const BlockType block = block_type(type);
  const int64_t k = blocks * block.elements, row_bytes = blocks * block.bytes;
  std::vector<float> x(static_cast<size_t>(m * k)), numbers(static_cast<size_t>(n * k)), bias(static_cast<size_t>(n));
  for (float& v : x) v = uniform();
  for (float& v : numbers) v = uniform();
  for (float& v : bias) v = uniform();
  std::vector<char> w(static_cast<size_t>(n * row_bytes));
  for (char& byte : w) byte = static_cast<char>(next_random() >> 20);
  // Clears bit 6 of each byte, because large exponents would make scales infinite.
  for (int64_t at = 0; at < n * blocks; ++at)
    for (int64_t i = 0; i < block.bytes; ++i) w[static_cast<size_t>(at * block.bytes + i)] &= static_cast<char>(0xbf);
  cpu::QuantLinear p{};
  p.m = m, p.n = n, p.k = k, p.x = x.data(), p.x_type = DType::f32, p.w = w.data(), p.w_type = type;
  p.y_type = y_type, p.bias = n % 2 ? bias.data() : nullptr, p.bias_type = DType::f32, p.int8 = true,
  p.rowwise = rowwise;
  std::vector<char> want(static_cast<size_t>(m * n * 4) + 64, 0x5a), got = want;
  for (const bool first : {true, false}) {
    const cpu::Kernels& kernels = first ? base : other;
    Pool pool(first ? 1 : 3);
    Scratch scratch(kernels.quant_linear_scratch(p, pool.threads()));
    p.y = first ? want.data() : got.data();
    kernels.quant_linear(p, pool, scratch.data());
    expect(scratch.guarded(), kernels.name, "wrote beyond its scratch memory", m, n, k);
  }
  expect(want == got, other.name, dtype_name(type), m, n, k);
}

// Checks that the bits of a row of a bf16 product do not depend on the number of rows, and compares the product with
// sums in double. The last rows, which do not fill a tile, use products of pairs instead of 2 x 2 blocks.
void blocks_of_bf16(const cpu::Kernels& kernels, int64_t n, int64_t k) {
  const int64_t most = 64;
  std::vector<bf16> a(static_cast<size_t>(most * k)), b(static_cast<size_t>(n * k));
  for (std::vector<bf16>* v : {&a, &b})
    for (bf16& to : *v) to = to_bf16(uniform());
  std::vector<float> whole(static_cast<size_t>(most * n)), part(static_cast<size_t>(most * n));
  const auto run = [&](int64_t m, float* c) {
    cpu::Gemm g{};
    g.m = m, g.n = n, g.k = k, g.a = a.data(), g.a_type = DType::bf16, g.lda = k;
    g.b = b.data(), g.b_type = DType::bf16, g.ldb = k, g.b_transposed = true, g.c = c, g.c_type = DType::f32, g.ldc = n;
    Pool pool(2);
    Scratch scratch(kernels.gemm_scratch(m, n, k, pool.threads()));
    kernels.gemm(g, pool, scratch.data());
    expect(scratch.guarded(), kernels.name, "wrote beyond its scratch memory", m, n, k);
  };
  run(most, whole.data());
  for (const int64_t m : {63, 61, 59, 57}) {
    run(m, part.data());
    expect(std::memcmp(whole.data(), part.data(), static_cast<size_t>(m * n) * sizeof(float)) == 0, kernels.name,
        "products of bf16 depend on the number of rows", m, n, k);
  }
  double worst = 0;
  for (int64_t i = 0; i < most; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += static_cast<double>(to_float(a[static_cast<size_t>(i * k + p)])) *
               to_float(b[static_cast<size_t>(j * k + p)]);
      worst = std::fmax(worst, std::fabs(sum - whole[static_cast<size_t>(i * n + j)]));
    }
  // There are k / 2 additions, each with an error of at most one unit in the last place. Sums have a standard deviation
  // of sqrt(k) / 3, so sqrt(k) is three of them.
  const double allowed = static_cast<double>(k) * std::sqrt(static_cast<double>(k)) * 0x1p-24;
  expect(worst <= allowed, kernels.name, "products of bf16 differ from their sums in double", most, n, k);
}

}  // namespace

int main() {
  for (const ArmFeature feature : {ArmFeature::dotprod, ArmFeature::i8mm, ArmFeature::bf16})
    if (!has_arm_feature(feature)) {
      std::printf("FAIL this processor lacks dotprod, i8mm or bf16\n");
      return 1;
    }
  cpu::Kernels dot = cpu::kernels_neon, matrices = cpu::kernels_neon;
  cpu::with_neondot(dot), cpu::with_neoni8mm(matrices);
  const cpu::Kernels* const others[] = {&dot, &matrices};
  for (const cpu::Kernels* other : others) {
    if (other->quant_linear == cpu::kernels_neon.quant_linear)
      std::printf("FAIL %s: no kernel\n", other->name), ++failures;
    // Each option is tested with some of the sizes only. Products with 13 rows are computed rowwise, those with 16
    // outputs store bf16, and those with an odd number of outputs add a bias.
    for (const DType type : types)
      for (const int64_t m : {1, 2, 3, 4, 5, 8, 13})
        for (const int64_t n : {1, 7, 16, 45})
          quantized(cpu::kernels_neon, *other, type, m, n, n == 7 ? 5 : 2, m == 13, n == 16 ? DType::bf16 : DType::f32);
  }
  for (const int64_t n : {40, 67})
    for (const int64_t k : {64, 129, 700}) blocks_of_bf16(matrices, n, k);
  std::printf("kernels of arm64: %d comparisons, %d failures\n", cases, failures);
  return failures || !cases ? 1 : 0;
}
