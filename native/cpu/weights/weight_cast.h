// Converts stored weights to another element type and memory layout, on the threads of a pool.
#pragma once
#include <cstdint>

#include "cpu/weights/weight_source.h"
#include "runtime/pool.h"

namespace heddle {

// A strided view. Its element (i, j, …), row-major, is the source's element start + i * strides[0] + j * strides[1] + …
struct WeightView {
  int rank = 0;
  int64_t start = 0;
  int64_t sizes[4] = {}, strides[4] = {};

  int64_t count() const;
  // Returns the same view without dimensions of size 1, and with contiguous dimensions merged.
  WeightView merged() const;
  // Whether the last dimension is contiguous. Types other than plain floats require it, and are read in whole blocks.
  bool in_stretches() const { return strides[rank - 1] == 1; }
  // For views whose last dimension is not contiguous: the dimension with the smallest stride, except the last.
  // Dimensions up to this one index rows. Later dimensions hold the elements of a row.
  int along() const;
  int64_t row_length() const;
};

struct WeightCast {
  WeightSource source;
  WeightView view;    // rank 1 to 4, within the source; merged
  int64_t first = 0;  // `count` elements of the view from index `first` on are written, in whole blocks
  int64_t count = 0;
  DType to = DType::f32;
  float addend = 0;  // added before rounding
  uint8_t* out = nullptr;
};

// Converts like cast_run. Throws IO if a file has become shorter. Each thread converts 16,384 elements at a time in a
// buffer of fixed size.
CastFindings cast_weights(const WeightCast& cast, Pool& pool);

}  // namespace heddle
