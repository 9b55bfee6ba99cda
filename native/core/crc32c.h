// CRC-32C (Castagnoli's polynomial, as in iSCSI and ext4), which detects damage to stored bytes. It detects every burst
// of up to 32 bits, and all but one in 2^32 of other changes. It does not protect against deliberate changes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace heddle {

// Extends the checksum `before` (0 at the start) by the bytes at `data`. Uses the CRC instruction if the CPU has one,
// unless HEDDLE_ISA is baseline.
uint32_t crc32c(uint32_t before, const void* data, size_t bytes);

// Returns the checksum of two consecutive ranges from their checksums.
uint32_t crc32c_joined(uint32_t first, uint32_t second, size_t second_bytes);

// One implementation. crc32c_variants() lists all that this machine supports, from the simplest to the fastest.
struct Crc32cVariant {
  const char* name;
  uint32_t (*run)(uint32_t before, const void* data, size_t bytes);
};
const std::vector<Crc32cVariant>& crc32c_variants();

}  // namespace heddle
