// Compares every CRC-32C implementation of this machine with the bitwise definition. Lengths are close to the
// sizes of words and of interleaved streams, at any alignment. Checksums are also continued with more data, and
// combined from the checksums of two parts.
#include "core/crc32c.h"

#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

int failures = 0;

void expect(bool ok, const std::string& what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED %s\n", what.c_str());
}

// The definition. 0x82f63b78 is the bit-reversed polynomial of Castagnoli (RFC 3720).
uint32_t bit_by_bit(uint32_t before, const uint8_t* p, size_t bytes) {
  uint32_t crc = ~before;
  for (size_t i = 0; i < bytes; ++i) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
  }
  return ~crc;
}

void check_variant(const heddle::Crc32cVariant& variant, const std::vector<uint8_t>& bytes, std::mt19937_64& random) {
  const std::string name = variant.name;
  expect(variant.run(0, "123456789", 9) == 0xe3069283u, name + ": the check value of the standard");
  expect(
      variant.run(0x12345678u, bytes.data(), 0) == 0x12345678u, name + ": an empty input does not change the checksum");
  std::vector<uint8_t> zeros(32), ones(32, 0xff);
  expect(variant.run(0, zeros.data(), 32) == 0x8a9136aau && variant.run(0, ones.data(), 32) == 0x62a8ab43u,
      name + ": the vectors of RFC 3720");
  for (size_t length = 0; length < 80; ++length)
    for (size_t at = 0; at < 9; ++at)
      expect(variant.run(0, &bytes[at], length) == bit_by_bit(0, &bytes[at], length),
          name + ": " + std::to_string(length) + " bytes at " + std::to_string(at));
  for (size_t around : {2048, 4096, 6144, 12288, 65536})
    for (size_t length = around - 9; length <= around + 9; ++length)
      expect(variant.run(7, &bytes[length % 8], length) == bit_by_bit(7, &bytes[length % 8], length),
          name + ": " + std::to_string(length) + " bytes");
  for (int i = 0; i < 400; ++i) {
    const size_t at = random() % 5000, length = random() % 30000, cut = length ? random() % length : 0;
    const uint32_t before = static_cast<uint32_t>(random()), whole = bit_by_bit(before, &bytes[at], length);
    expect(variant.run(before, &bytes[at], length) == whole,
        name + ": " + std::to_string(length) + " bytes, continuing a checksum");
    expect(variant.run(variant.run(before, &bytes[at], cut), &bytes[at + cut], length - cut) == whole,
        name + ": two parts, the second continuing the first");
    const uint32_t first = variant.run(before, &bytes[at], cut),
                   second = variant.run(0, &bytes[at + cut], length - cut);
    expect(heddle::crc32c_joined(first, second, length - cut) == whole, name + ": two separate parts, joined");
  }
  // Any single flipped bit changes the checksum.
  std::vector<uint8_t> some(bytes.begin(), bytes.begin() + 20000);
  const uint32_t before = variant.run(0, some.data(), some.size());
  for (int i = 0; i < 400; ++i) {
    const size_t bit = random() % (some.size() * 8);
    some[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    expect(variant.run(0, some.data(), some.size()) != before,
        name + ": the checksum changes with bit " + std::to_string(bit) + " flipped");
    some[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  std::vector<uint8_t> bytes(70000);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  std::string names;
  for (const heddle::Crc32cVariant& variant : heddle::crc32c_variants()) {
    check_variant(variant, bytes, random);
    names += std::string(names.empty() ? "" : ", ") + variant.name;
  }
  expect(heddle::crc32c(0, bytes.data(), bytes.size()) == bit_by_bit(0, bytes.data(), bytes.size()),
      "the default implementation: the bitwise checksum");
  std::printf("crc32c: %s: %s\n", names.c_str(), failures ? "failed" : "equal to the bitwise definition");
  return failures ? 1 : 0;
}
