#include "core/crc32c.h"

#include <cstdlib>
#include <cstring>

#include "core/platform/arm_features.h"
#include "core/x86_features.h"

namespace heddle {
namespace {

// Polynomials modulo Castagnoli's over GF(2), bit-reflected like the checksum: the highest bit is the coefficient of
// x^0.
constexpr uint32_t castagnoli = 0x82f63b78, one = 1u << 31, x_to_8 = 1u << 23;

uint32_t times_x(uint32_t a) { return a & 1 ? a >> 1 ^ castagnoli : a >> 1; }

uint32_t product(uint32_t a, uint32_t b) {
  uint32_t sum = 0;
  for (; a; a <<= 1, b = times_x(b))
    if (a & one) sum ^= b;
  return sum;
}

// Returns x^(8 * bytes). The product with a checksum is the checksum after `bytes` more zero bytes.
uint32_t x_to_bytes(size_t bytes) {
  uint32_t power = one;
  for (uint32_t square = x_to_8; bytes; bytes >>= 1, square = product(square, square))
    if (bytes & 1) power = product(power, square);
  return power;
}

uint64_t word_at(const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// at[k][v] is the checksum of byte v followed by k zero bytes.
struct ByteTables {
  uint32_t at[8][256];
  ByteTables() {
    for (uint32_t v = 0; v < 256; ++v) {
      at[0][v] = v;
      for (int bit = 0; bit < 8; ++bit) at[0][v] = times_x(at[0][v]);
    }
    for (int k = 1; k < 8; ++k)
      for (int v = 0; v < 256; ++v) at[k][v] = at[k - 1][v] >> 8 ^ at[0][at[k - 1][v] & 255];
  }
};

// Slicing by eight (Kounavis and Berry 2005): processes eight bytes per step, each with the table of its position.
uint32_t by_tables(uint32_t before, const void* data, size_t bytes) {
  static const ByteTables& tables = *new ByteTables;
  const auto& at = tables.at;
  const uint8_t* p = static_cast<const uint8_t*>(data);
  uint32_t crc = ~before;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    const uint64_t w = word_at(p) ^ crc;
    crc = at[7][w & 255] ^ at[6][w >> 8 & 255] ^ at[5][w >> 16 & 255] ^ at[4][w >> 24 & 255] ^ at[3][w >> 32 & 255] ^
          at[2][w >> 40 & 255] ^ at[1][w >> 48 & 255] ^ at[0][w >> 56];
  }
  for (; bytes; --bytes) crc = crc >> 8 ^ at[0][(crc ^ *p++) & 255];
  return ~crc;
}

#if defined(__x86_64__) || defined(__aarch64__)

// Multiplies by x_to_bytes(bytes), with one table lookup per byte of the checksum.
class Shift {
 public:
  explicit Shift(size_t bytes) {
    const uint32_t power = x_to_bytes(bytes);
    for (int k = 0; k < 4; ++k)
      for (uint32_t v = 0; v < 256; ++v) at_[k][v] = product(v << 8 * k, power);
  }
  uint32_t operator()(uint32_t crc) const {
    return at_[0][crc & 255] ^ at_[1][crc >> 8 & 255] ^ at_[2][crc >> 16 & 255] ^ at_[3][crc >> 24];
  }

 private:
  uint32_t at_[4][256];
};

// The CRC instruction has a latency of three cycles and a throughput of one per cycle. Three independent streams reach
// that throughput. Shift then joins their checksums. After Gopal et al. 2011, "Fast CRC Computation for iSCSI
// Polynomial Using CRC32 Instruction" (Intel).
template <class Instruction> uint32_t by_instruction(uint32_t before, const void* data, size_t bytes) {
  constexpr size_t stream = 2048;  // bytes
  static const Shift& behind = *new Shift(stream);
  const uint8_t* p = static_cast<const uint8_t*>(data);
  uint32_t crc = ~before;
  for (; bytes >= 3 * stream; bytes -= 3 * stream, p += 3 * stream) {
    uint32_t second = 0, third = 0;
    for (size_t i = 0; i < stream; i += 8) {
      crc = Instruction::of_word(crc, word_at(p + i));
      second = Instruction::of_word(second, word_at(p + stream + i));
      third = Instruction::of_word(third, word_at(p + 2 * stream + i));
    }
    crc = behind(behind(crc) ^ second) ^ third;
  }
  for (; bytes >= 8; bytes -= 8, p += 8) crc = Instruction::of_word(crc, word_at(p));
  for (; bytes; --bytes) crc = Instruction::of_byte(crc, *p++);
  return ~crc;
}

#endif

// Written in assembly, because the compiler's intrinsics need code that is compiled for CPUs with this instruction.
#if defined(__x86_64__)
struct Sse42 {
  static uint32_t of_word(uint32_t crc, uint64_t word) {
    uint64_t wide = crc;
    asm("crc32q %1, %0" : "+r"(wide) : "rm"(word));
    return static_cast<uint32_t>(wide);
  }
  static uint32_t of_byte(uint32_t crc, uint8_t byte) {
    asm("crc32b %1, %0" : "+r"(crc) : "rm"(byte));
    return crc;
  }
};
#elif defined(__aarch64__)
struct Armv8 {
  static uint32_t of_word(uint32_t crc, uint64_t word) {
    asm(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    return crc;
  }
  static uint32_t of_byte(uint32_t crc, uint8_t byte) {
    asm(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"(static_cast<uint32_t>(byte)));
    return crc;
  }
};
#endif

std::vector<Crc32cVariant> variants() {
  std::vector<Crc32cVariant> found = {{"tables", by_tables}};
#if defined(__x86_64__)
  if (X86Features().sse42) found.push_back({"sse4.2", by_instruction<Sse42>});
#elif defined(__aarch64__)
  if (has_arm_feature(ArmFeature::crc32)) found.push_back({"armv8", by_instruction<Armv8>});
#endif
  return found;
}

}  // namespace

const std::vector<Crc32cVariant>& crc32c_variants() {
  static const std::vector<Crc32cVariant>& all = *new std::vector<Crc32cVariant>(variants());
  return all;
}

uint32_t crc32c(uint32_t before, const void* data, size_t bytes) {
  static const auto run = [] {
    const char* isa = std::getenv("HEDDLE_ISA");
    return (isa && std::strcmp(isa, "baseline") == 0 ? crc32c_variants().front() : crc32c_variants().back()).run;
  }();
  return run(before, data, bytes);
}

uint32_t crc32c_joined(uint32_t first, uint32_t second, size_t second_bytes) {
  return product(first, x_to_bytes(second_bytes)) ^ second;
}

}  // namespace heddle
