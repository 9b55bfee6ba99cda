// One call of JavaScript's NativeLane.quantizeFp8: converts a matrix to 8-bit floats in blocks of 128 x 128
// (ops/fp8.h).
#pragma once
#include <napi.h>

#include <cstdint>

#include "runtime/lane.h"

namespace heddle {

class Fp8Call {
 public:
  // Reads quantizeFp8(numbers, rows, columns). `numbers` is a Float32Array, which other code must not use until the
  // call is done. Throws INVALID_ARGUMENT or OUT_OF_MEMORY.
  explicit Fp8Call(const Napi::CallbackInfo& info);
  Napi::Object result() const { return result_; }  // { bytes, scales }: ArrayBuffers
  // The part that runs on the lane's thread. Throws NUMERICAL for values that are not finite.
  struct Work {
    const float* numbers;
    int64_t rows, columns;
    uint8_t* bytes;
    float* scales;
    void run(Lane& lane) const;
  };
  const Work& work() const { return work_; }

 private:
  Napi::Object result_;
  Work work_;
};

}  // namespace heddle
