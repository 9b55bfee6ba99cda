// Element types, shapes and the non-owning tensor view that every kernel receives.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/block_types.h"

namespace heddle {

// The numbers are part of the binding's interface: they must equal DTYPES in lib/graph/dtype.ts.
enum class DType : uint8_t {
  f32 = 0,
  bf16 = 1,
  f16 = 2,
  i32 = 3,
  u8 = 4,
#define HEDDLE_ENUMERATE(name, ...) name,
  HEDDLE_BLOCK_TYPES(HEDDLE_ENUMERATE)
#undef HEDDLE_ENUMERATE
      count
};

// How a quantized type is stored; see core/block_types.h.
struct BlockType {
  const char* name;
  int elements, bytes, group;
  bool minimum;
  int low, high;  // range of the integers
};
constexpr BlockType block_types[] = {
#define HEDDLE_ROW(name, ...) {#name, __VA_ARGS__},
    HEDDLE_BLOCK_TYPES(HEDDLE_ROW)
#undef HEDDLE_ROW
};
constexpr int largest_block = 256;  // elements
constexpr bool is_quantized(DType t) { return t > DType::u8; }
constexpr const BlockType& block_type(DType t) {
  return block_types[static_cast<int>(t) - static_cast<int>(DType::u8) - 1];
}

// Bytes of one element. 0 for quantized types, which have a size per block only.
constexpr size_t dtype_bytes(DType t) {
  return is_quantized(t) ? 0 : t == DType::f32 || t == DType::i32 ? 4 : t == DType::u8 ? 1 : 2;
}
// Bytes of n elements in memory. n must be a multiple of the block size for quantized types.
constexpr size_t bytes_of_elements(DType t, int64_t n) {
  return is_quantized(t) ? static_cast<size_t>(n / block_type(t).elements) * block_type(t).bytes
                         : static_cast<size_t>(n) * dtype_bytes(t);
}
const char* dtype_name(DType t);

constexpr int max_rank = 4;

struct Shape {
  int rank = 0;
  std::array<int64_t, max_rank> dims{};

  int64_t operator[](int i) const { return dims[i]; }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  int64_t last() const { return rank ? dims[rank - 1] : 1; }
  int64_t rows() const { return rank ? size() / (last() ? last() : 1) : 1; }  // product of all dimensions but the last
  bool operator==(const Shape& o) const {
    if (rank != o.rank) return false;
    for (int i = 0; i < rank; ++i)
      if (dims[i] != o.dims[i]) return false;
    return true;
  }
  bool operator!=(const Shape& o) const { return !(*this == o); }
};
std::string to_string(const Shape& s);  // "(512, 576)"

// A dense row-major view, which owns nothing. data == nullptr: an absent optional operand.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  explicit operator bool() const { return data != nullptr; }
  size_t bytes() const { return bytes_of_elements(dtype, shape.size()); }
  template <class T> T* as() const { return static_cast<T*>(data); }
};

// bfloat16 and float16 as storage types. Conversions round to nearest even.
struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

inline float to_float(float v) { return v; }
inline float to_float(bf16 v) {
  uint32_t u = static_cast<uint32_t>(v.bits) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
float to_float(f16 v);
inline bf16 to_bf16(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40)};  // NaN stays NaN
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16)};
}
f16 to_f16(float f);
template <class T> T from_float(float f);
template <> inline float from_float<float>(float f) { return f; }
template <> inline bf16 from_float<bf16>(float f) { return to_bf16(f); }
template <> inline f16 from_float<f16>(float f) { return to_f16(f); }

// Reads and writes elements by runtime type, for reference implementations and rarely executed paths.
float load_float(const Tensor& t, int64_t i);
void store_float(const Tensor& t, int64_t i, float v);

}  // namespace heddle
