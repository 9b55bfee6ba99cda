// Stored weights in a file or an array: plain elements, 8-bit floats with separate scales, or MXFP4 with separate
// scales.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/weights/weight_run.h"
#include "core/mapping.h"

namespace heddle {

// Bytes from `offset` of a file on, or, where `file` is null, those at `bytes`. They outlive it.
struct StoredBytes {
  const Mapping* file = nullptr;
  size_t offset = 0;
  const uint8_t* bytes = nullptr;

  // Copies. Throws IO where a file has become shorter.
  void read(size_t at, size_t count, uint8_t* to) const;
  // In memory: of a file, its mapping, which reads as zeros where the file has become shorter. Whoever used it calls
  // check().
  const uint8_t* lying() const { return file ? file->data() + offset : bytes; }
  void check() const;
};

struct WeightSource {
  enum class Storage { plain, fp8, mxfp4 };

  Storage storage = Storage::plain;
  // of what read() gives; of 8-bit floats f32, the products themselves, or bf16, to which they are rounded
  DType type = DType::f32;
  StoredBytes stored;               // fp8: e4m3 bytes; mxfp4: 16 bytes a block, neighbours in one byte
  StoredBytes scales;               // mxfp4: one byte a block
  std::vector<float> block_scales;  // fp8: (fp8_blocks(rows), fp8_blocks(columns))
  int64_t columns = 0;              // fp8

  // The bytes that `count` elements take in `stored`.
  size_t stored_bytes(int64_t count) const;
  // Elements [begin, begin + n), at most weight_run and whole blocks, at `raw`; its findings are of 8-bit floats'
  // products and their rounding to `type`.
  CastFindings read(int64_t begin, int64_t n, uint8_t* raw) const;
};

}  // namespace heddle
