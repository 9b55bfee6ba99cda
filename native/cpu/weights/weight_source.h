// Stored weights in a file or an array: plain elements, 8-bit floats with separate scales, or MXFP4 with separate
// scales.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/weights/weight_run.h"
#include "core/mapping.h"

namespace heddle {

// Bytes of a file from `offset` on, or, if `file` is null, the bytes at `bytes`. Owns neither.
struct StoredBytes {
  const Mapping* file = nullptr;
  size_t offset = 0;
  const uint8_t* bytes = nullptr;

  // Copies bytes. Throws IO if the file has become shorter.
  void read(size_t at, size_t count, uint8_t* to) const;
  // Returns the bytes in memory. For a file this is its mapping, which reads as zeros if the file has become shorter.
  // Call check() after using it.
  const uint8_t* lying() const { return file ? file->data() + offset : bytes; }
  // Throws IO if the file has become shorter.
  void check() const;
};

struct WeightSource {
  enum class Storage { plain, fp8, mxfp4 };

  Storage storage = Storage::plain;
  // Type of the elements that read() returns. For 8-bit floats: f32, the products with scales, or bf16, rounded from
  // these products.
  DType type = DType::f32;
  StoredBytes stored;               // fp8: e4m3 bytes; mxfp4: 16 bytes per block, two neighboring elements per byte
  StoredBytes scales;               // mxfp4: one byte per block
  std::vector<float> block_scales;  // fp8: (fp8_blocks(rows), fp8_blocks(columns))
  int64_t columns = 0;              // fp8

  // Returns the size of `count` elements in `stored`.
  size_t stored_bytes(int64_t count) const;
  // Reads elements [begin, begin + n) to `raw`: whole blocks, at most weight_run. Returns the findings of scaling and
  // rounding 8-bit floats.
  CastFindings read(int64_t begin, int64_t n, uint8_t* raw) const;
};

}  // namespace heddle
