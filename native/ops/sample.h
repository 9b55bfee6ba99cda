// One row of the op `sample`. The caller provides the functions that scan the row's logits.
#pragma once
#include "ops/logit_scan.h"
#include "ops/op.h"

namespace heddle {

struct LogitScans {
  LogitRange (*range)(const float* x, int64_t n);
  LogitSums (*sums)(const float* x, int64_t n, float largest);
  int64_t (*index_of_largest)(const float* x, int64_t n, float largest);
};

void sample_row(const Node& n, int64_t row, const LogitScans& scans);

}  // namespace heddle
