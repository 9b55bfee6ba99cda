// Builds programs of a few nodes over random values, for the cases of kernels.cc.
#pragma once
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "ops/quant.h"
#include "runtime/executable.h"

namespace heddle {
namespace cases {

struct Builder {
  ProgramDesc desc;
  std::vector<std::vector<unsigned char>> data;  // content of the bound values
  std::mt19937 random{7};

  // value, floats, blocks and integers add a value to the program and return its id. `value` adds one without data,
  // which a node must compute. The others add bound values.
  int value(DType type, std::initializer_list<int64_t> dims) {
    ValueDesc v{type, {}};
    for (int64_t d : dims) v.shape.dims[v.shape.rank++] = d;
    desc.values.push_back(v);
    return static_cast<int>(desc.values.size()) - 1;
  }
  int floats(DType type, std::initializer_list<int64_t> dims) {
    const int v = value(type, dims);
    Tensor t{nullptr, type, desc.values[static_cast<size_t>(v)].shape};
    data.emplace_back(t.bytes());
    t.data = data.back().data();
    std::uniform_real_distribution<float> draw(-1, 1);
    for (int64_t i = 0; i < t.shape.size(); ++i) store_float(t, i, draw(random));
    desc.bound.push_back(v);
    return v;
  }
  // Sets `count` elements of the last value to NaN, from element `first` on. The value must come from `floats`.
  void forget(int64_t first, int64_t count) {
    const ValueDesc& v = desc.values[static_cast<size_t>(desc.bound.back())];
    const Tensor t{data.back().data(), v.dtype, v.shape};
    for (int64_t i = first; i < first + count; ++i) store_float(t, i, std::numeric_limits<float>::quiet_NaN());
  }
  // Rows of quantized blocks with values in [-1, 1).
  int blocks(DType type, std::initializer_list<int64_t> dims) {
    const int v = value(type, dims);
    const Shape& shape = desc.values[static_cast<size_t>(v)].shape;
    std::vector<float> numbers(static_cast<size_t>(shape.size()));
    std::uniform_real_distribution<float> draw(-1, 1);
    for (float& x : numbers) x = draw(random);
    data.emplace_back(bytes_of_elements(type, shape.size()));
    quantize(type, numbers.data(), shape.size(), data.back().data());
    desc.bound.push_back(v);
    return v;
  }
  int integers(std::initializer_list<int64_t> dims, std::vector<int32_t> numbers) {
    const int v = value(DType::i32, dims);
    const unsigned char* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
    data.emplace_back(bytes, bytes + numbers.size() * 4);
    desc.bound.push_back(v);
    return v;
  }
  void node(const char* op, std::vector<int> inputs, std::vector<int> outputs,
      std::initializer_list<std::pair<const char*, double>> attributes) {
    NodeDesc n{op, std::move(inputs), std::move(outputs), {}, ""};
    for (const auto& [name, number] : attributes) n.attributes.set(name, number);
    desc.nodes.push_back(std::move(n));
  }
};

// Adds a product of f32 with split-k, whose sums fill 72 KB of the scratch. Some of their bytes are NaN in bf16. A
// following node shows them if it reads parts of its scratch that it has not written.
inline void fill_scratch(Builder& b) {
  const int left = b.floats(DType::f32, {96, 1100}), right = b.floats(DType::f32, {96, 1100});
  b.node("linear", {left, right}, {b.value(DType::f32, {96, 96})}, {{"transposed", 0}});
}

}  // namespace cases
}  // namespace heddle
