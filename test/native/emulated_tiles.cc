// Compares native/cpu/isa/emulate_amx.h with the AMX instructions, bit by bit, on a processor that has them. Test
// builds for other processors use this emulation.
#include <cstdio>

#include "cpu/isa/emulate_amx.h"

#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEDDLE_SIMD [[gnu::always_inline]] static inline
namespace hardware {
#include "cpu/simd/simd_amx.h"
}

namespace {

// Whether the processor has AMX-BF16 and AMX-TILE, and Linux permits this process to use them.
bool has_amx() {
  constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 22 & 1 && d >> 24 & 1 &&
         syscall(SYS_arch_prctl, request, tile_data) == 0;
}

uint64_t state = 88172645463325252ull;
uint32_t random_bits() {
  return state ^= state << 13, state ^= state >> 7, state ^= state << 17, static_cast<uint32_t>(state >> 20);
}

// Returns a random bf16 with a biased exponent in [low, high].
uint16_t number(int low, int high) {
  const uint32_t bits = random_bits(),
                 exponent = static_cast<uint32_t>(low) + (bits >> 16) % static_cast<uint32_t>(high - low + 1);
  return static_cast<uint16_t>((bits & 0x807f) | exponent << 7);
}
// Returns a float with these upper bits, and random lower bits.
float extended(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16 | (random_bits() & 0xffff);
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

enum class Form {
  plain,
  cancels,  // products of neighbors along k cancel, except that some differ in the last bit
  least,    // the first product is 2^-126, the smallest normal number; the second is far smaller; the rest are 0
};

struct Kind {
  const char* name;
  int a_low, a_high, b_low, b_high, c_low, c_high;  // ranges of biased exponents
  Form form = Form::plain;
};
constexpr Kind kinds[] = {
    {"numbers of one magnitude", 120, 130, 120, 130, 120, 130},
    {"numbers of all magnitudes", 1, 254, 1, 254, 1, 254},
    {"any bits, including subnormals, infinities and NaN", 0, 255, 0, 255, 0, 255},
    {"sums near the smallest normal number", 55, 72, 55, 72, 0, 4},
    {"products far below the smallest normal number", 0, 70, 0, 70, 0, 2},
    {"subnormals times large numbers", 0, 2, 100, 255, 0, 255},
    {"sums near the largest number", 180, 191, 180, 191, 250, 254},
    {"sums that cancel", 110, 140, 110, 140, 100, 150, Form::cancels},
    {"sums that cancel to near the smallest normal number", 55, 70, 55, 70, 0, 10, Form::cancels},
    {"sums that round to the smallest normal number", 50, 53, 50, 53, 0, 0, Form::least},
};

// Fills tiles of a (16 rows of 16 pairs along k), b (16 pairs of 16 columns) and c (16, 16).
void fill(const Kind& kind, uint16_t* a, uint16_t* b, float* c) {
  for (int i = 0; i < 512; ++i) a[i] = number(kind.a_low, kind.a_high), b[i] = number(kind.b_low, kind.b_high);
  for (int i = 0; i < 256; ++i) c[i] = extended(number(kind.c_low, kind.c_high));
  for (int i = 0; i < 512; ++i) {
    const int of_a = i % 32 / 2, of_b = i / 32;  // index of the element's pair along k
    if (kind.form == Form::cancels) {
      if (of_a % 2) a[i] = static_cast<uint16_t>(a[i - 2] ^ 0x8000 ^ (random_bits() % 4 == 0));
      if (of_b % 2) b[i] = b[i - 32];
    } else if (kind.form == Form::least) {
      if (of_a != 1) a[i] = of_a ? 0 : 64 << 7;  // 2^-63
      if (of_b != 1) b[i] = of_b ? 0 : 64 << 7;
    }
  }
}

long check(const Kind& kind) {
  using namespace hardware;
  alignas(64) uint16_t a[512], b[512];
  alignas(64) float c[256], got[256];
  long wrong = 0;
  for (int round = 0; round < 400; ++round) {
    fill(kind, a, b, c);
    {
      const Tiles tiles;
      tile_load<0>(c, tile_row_bytes), tile_load<1>(a, tile_row_bytes), tile_load<2>(b, tile_row_bytes);
      tile_dot<0, 1, 2>();
      tile_store<0>(got, tile_row_bytes);
    }
    heddle::emulated::tdpbf16ps(c, a, b);
    for (int i = 0; i < 256; ++i) {
      if (std::isnan(c[i]) ? std::isnan(got[i]) : std::memcmp(c + i, got + i, sizeof *c) == 0) continue;
      if (wrong++ == 0)
        std::printf("FAIL %s: element %d of round %d: the instruction gives %a, the emulation %a\n", kind.name, i,
            round, static_cast<double>(got[i]), static_cast<double>(c[i]));
    }
  }
  std::printf("%s: %ld of %d differ\n", kind.name, wrong, 400 * 256);
  return wrong;
}

}  // namespace

int main() {
  if (!has_amx()) {
    std::printf("NOT RUN: the processor or the system does not support AMX\n");
    return 0;
  }
  long wrong = 0;
  for (const Kind& kind : kinds) wrong += check(kind);
  return wrong != 0;
}
#else
int main() { std::printf("NOT RUN: the comparison needs Linux on x86-64\n"); }
#endif
