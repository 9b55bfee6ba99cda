// A call of JavaScript's NativeLane.quantiseFp8: converts a matrix to 8-bit floats in blocks of 128 x 128 (ops/fp8.h).
#pragma once
#include <napi.h>

#include <cstdint>

#include "runtime/lane.h"

namespace heddle {

class Fp8Call {
 public:
  // Reads quantiseFp8(numbers, rows, columns): a Float32Array, which nobody else may have until it is done. Throws
  // INVALID_ARGUMENT, OUT_OF_MEMORY.
  explicit Fp8Call(const Napi::CallbackInfo& info);
  Napi::Object result() const { return result_; }  // { bytes, scales }: ArrayBuffers
  // The work of the lane's thread. Throws NUMERICAL for values that are not finite.
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
