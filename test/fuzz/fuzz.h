// Helpers of the fuzz targets: expected errors, memory of an exact size, and values that tend to break code.
#pragma once
#include <fuzzer/FuzzedDataProvider.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace heddle {
namespace fuzz {

using Input = FuzzedDataProvider;

// Checks a property that must hold for every input. libFuzzer reports the abort with the input.
inline void require(bool holds, const std::string& property) {
  if (holds) return;
  std::fprintf(stderr, "property does not hold: %s\n", property.c_str());
  std::abort();
}

// Returns true if `body` returns, and false if it throws an Error. The code INTERNAL is a defect, and so is any other
// exception, which ends the process. `internal` allows INTERNAL, for inputs that internal callers never pass.
template <class F> bool accepts(F&& body, bool internal = false) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    require(internal || std::strcmp(error.code(), "INTERNAL") != 0, error.what());
    return false;
  }
}

// Memory of exactly the given size, so that AddressSanitizer detects any access beyond it.
class Block {
 public:
  explicit Block(size_t bytes) : bytes_(new uint8_t[bytes]()), size_(bytes) {}
  // Filled with `from`, which is repeated if it is shorter.
  Block(size_t bytes, const std::vector<uint8_t>& from) : Block(bytes) {
    for (size_t i = 0; i < bytes && !from.empty(); ++i) bytes_[i] = from[i % from.size()];
  }
  uint8_t* data() const { return bytes_.get(); }
  size_t size() const { return size_; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  size_t size_;
};

inline DType quantized_type(Input& in) {
  const int first = static_cast<int>(DType::q8_0), last = static_cast<int>(DType::count) - 1;
  return static_cast<DType>(in.ConsumeIntegralInRange<int>(first, last));
}

// Returns a small integer in half of the cases, and otherwise a special value or any double.
inline double number(Input& in) {
  static const double odd[] = {0, 1, 2, 3, 4, 8, 0.5, -1, -0.0, 1e-300, 5e-324, 1e6, 1e38, 1e300, 2147483647.0,
      2147483648.0, 9007199254740992.0, 9.3e18, 1.9e19, INFINITY, -INFINITY, NAN};
  if (in.ConsumeBool()) return in.ConsumeIntegralInRange<int>(0, 4);
  return in.ConsumeBool() ? odd[in.ConsumeIntegralInRange<size_t>(0, sizeof odd / sizeof *odd - 1)]
                          : in.ConsumeFloatingPoint<double>();
}

}  // namespace fuzz
}  // namespace heddle
