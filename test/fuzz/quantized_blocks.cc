// Dequantizes blocks of arbitrary bytes, in which scales may be NaN, and quantizes arbitrary values, for every
// quantized type.
#include <cmath>

#include "fuzz.h"
#include "ops/quant.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

// Dequantizes a row at once, and block by block. The results must be equal.
void read(DType type, const std::vector<uint8_t>& bytes) {
  const BlockType& t = block_type(type);
  const int64_t blocks = static_cast<int64_t>(bytes.size()) / t.bytes, n = blocks * t.elements;
  const Block from(static_cast<size_t>(blocks) * t.bytes, bytes), row(static_cast<size_t>(n) * 4),
      one(static_cast<size_t>(t.elements) * 4);
  require(accepts([&] { dequantize(type, from.data(), n, reinterpret_cast<float*>(row.data())); }),
      "whole blocks can be dequantized");
  for (int64_t b = 0; b < blocks; ++b) {
    dequantize(type, from.data() + b * t.bytes, t.elements, reinterpret_cast<float*>(one.data()));
    require(std::memcmp(one.data(), row.data() + b * t.elements * 4, one.size()) == 0,
        "a block's values do not depend on its position");
  }
}

// Quantizes and dequantizes values. The squared error must be at most 2 % larger than that of a block of zeros.
void write(DType type, const std::vector<uint8_t>& bytes) {
  if (!quantizes_to(type)) return;
  const BlockType& t = block_type(type);
  std::vector<float> x(static_cast<size_t>(t.elements), 0.0f), back(x.size());
  if (!bytes.empty()) std::memcpy(x.data(), bytes.data(), std::min(bytes.size(), x.size() * 4));
  bool small = true;
  for (const float v : x) small = small && std::fabs(v) <= 65504.0f;
  const Block to(static_cast<size_t>(t.bytes));
  if (!accepts([&] { quantize(type, x.data(), t.elements, to.data()); }))
    return require(!small, "values within the range of f16 can be quantized");
  dequantize(type, to.data(), t.elements, back.data());
  double error = 0, energy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    require(
        std::isfinite(back[i]), std::string(dtype_name(type)) + ": a finite value was dequantized as a non-finite one");
    error += (static_cast<double>(back[i]) - x[i]) * (static_cast<double>(back[i]) - x[i]),
        energy += static_cast<double>(x[i]) * x[i];
  }
  // Scales are f16, whose smallest number is 6e-8. Values up to about 127 times as large, 1e-5, may have a scale that
  // is rounded to 0, or to that smallest number.
  const double vanishing = 1e-5 * 1e-5 * t.elements;
  require(error <= 1.02 * energy + vanishing,
      std::string(dtype_name(type)) + ": error " + std::to_string(error) + " of " + std::to_string(energy));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  const DType type = quantized_type(in);
  const bool reading = in.ConsumeBool();
  const std::vector<uint8_t> bytes = in.ConsumeRemainingBytes<uint8_t>();
  reading ? read(type, bytes) : write(type, bytes);
  return 0;
}
