// Helpers that the emulator's tests share.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "emulator/emulator.h"

namespace heddle {

inline int failures = 0;
inline void expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("FAILED %s\n", what);
  ++failures;
}

// Expects the launch to fail with a message that contains `what`. `waits`: see run_grid.
template <class F> void expect_fatal(const char* what, unsigned threads, F body, bool waits = false) {
  try {
    emulator::run_grid("broken", {1}, {threads}, 0, body, waits);
    expect(false, what);
  } catch (const Error& e) {
    if (!std::strstr(e.what(), what)) std::printf("FAILED expected \"%s\", got \"%s\"\n", what, e.what()), ++failures;
  }
}

struct alignas(1024) Lines {
  uint16_t element[64][64];  // with the 128-byte swizzle
};
alignas(16) inline uint16_t ones[64 * 64];

}  // namespace heddle
