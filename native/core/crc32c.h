// CRC-32C (Castagnoli's polynomial, as iSCSI and ext4 have it): finds whether stored bytes are still those that were written. It tells every change
// of up to 32 bits in a row, and any other but for one in 2^32; it is no protection against whoever changes a file on purpose.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace heddle {

// Of the bytes that `before` is the checksum of (0: of none) and those at `data` behind them. By the processor's own instruction where it has one, unless
// HEDDLE_ISA says baseline.
uint32_t crc32c(uint32_t before, const void* data, size_t bytes);

// Of two stretches, one behind the other, from the checksums of both.
uint32_t crc32c_joined(uint32_t first, uint32_t second, size_t second_bytes);

// A way of computing it; all of this machine's, the plainest first and the fastest last.
struct Crc32cWay {
  const char* name;
  uint32_t (*run)(uint32_t before, const void* data, size_t bytes);
};
const std::vector<Crc32cWay>& crc32c_ways();

}  // namespace heddle
