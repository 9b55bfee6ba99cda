// Times the main kernels without Node, for scripts/gpu-check.sh on a machine that lacks it. The cases are some of those
// of `heddle bench --device cuda`, with the same names, units and operands (lib/bench/suites).
//
//   bench [--quick]
//
// Prints one JSON object per line. A value is the median over the rounds, by device time. --quick takes small shapes,
// for a rehearsal.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/run.h"

using namespace heddle;
using namespace heddle::cases;

namespace {

constexpr int rounds = 9;

// A case: a program of several equal nodes, or of a chain of nodes, and the work of one run in 10^9 units.
struct Timed {
  std::string name;
  const char* unit;
  double work;
  Builder program;
};

// Adds a bound value. It has the numbers of lib/bench/ceilings.ts, which are in [-1, 1), times `factor`.
int filled(Builder& b, DType type, std::initializer_list<int64_t> dims, float factor = 1) {
  constexpr int64_t period = 2048;
  const int v = b.value(type, dims);
  Tensor t{nullptr, type, b.desc.values[static_cast<size_t>(v)].shape};
  const int64_t count = std::min(period, t.shape.size());
  b.data.emplace_back(t.bytes());
  auto& bytes = b.data.back();
  t.data = bytes.data();
  for (int64_t i = 0; i < count; ++i)
    store_float(t, i, factor * (static_cast<float>(i * 7919 % period) / (period / 2) - 1));
  for (size_t done = t.bytes() / static_cast<size_t>(t.shape.size()) * static_cast<size_t>(count); done < bytes.size();
      done *= 2)
    std::memcpy(bytes.data() + done, bytes.data(), std::min(done, bytes.size() - done));
  b.desc.bound.push_back(v);
  return v;
}

std::string size_name(std::initializer_list<int64_t> sizes) {
  std::string text;
  for (const int64_t size : sizes) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

Timed gemm(DType type, int64_t size) {
  Timed one{std::string("gemm ") + dtype_name(type) + " " + size_name({size, size, size}) + " NT", "GFLOP/s", 0, {}};
  const double flops = 2. * size * size * size;
  const int repeat = std::max(1, std::min(8, static_cast<int>(1e12 / flops)));
  const int x = filled(one.program, type, {size, size}), w = filled(one.program, type, {size, size});
  for (int i = 0; i < repeat; ++i)
    one.program.node("linear", {x, w}, {one.program.value(type, {size, size})}, {{"transposed", 0}});
  one.work = flops * repeat / 1e9;
  return one;
}

// A chain of products of one row, which finds none of its weights in the cache.
Timed gemv(int64_t size) {
  Timed one{"gemv bf16 " + size_name({size, size}), "GB/s", 0, {}};
  const int count = size < 1024 ? 1 : 16;
  Builder& b = one.program;
  int x = filled(b, DType::f32, {1, size});
  for (int i = 0; i < count; ++i) {
    // The factor keeps the results of the chain near 1.
    const int w = filled(b, DType::bf16, {size, size}, 1 / std::sqrt(static_cast<float>(size) / 3)),
              y = b.value(DType::f32, {1, size});
    b.node("linear", {x, w}, {y}, {{"transposed", 0}, {"int8", 1}});
    x = y;
  }
  one.work = 2. * size * size * count / 1e9;
  return one;
}

Timed attention(int64_t batch, int64_t heads, int64_t length, int64_t width, bool backward) {
  const std::string shape = "B" + std::to_string(batch) + " H" + std::to_string(heads) + "/" + std::to_string(heads) +
                            " T" + std::to_string(length) + " D" + std::to_string(width);
  Timed one{std::string("attention ") + (backward ? "forward+backward" : "forward") + " bf16 " + shape, "GFLOP/s",
      2. * batch * heads * length * length * width * (backward ? 3.5 : 1) / 1e9, {}};
  Builder& b = one.program;
  const auto of_rows = [&](bool data) {
    return data ? filled(b, DType::bf16, {batch * length, heads, width})
                : b.value(DType::bf16, {batch * length, heads, width});
  };
  const int q = of_rows(true), k = of_rows(true), v = of_rows(true), g = of_rows(true), o = of_rows(false),
            lse = b.value(DType::f32, {batch * length, heads});
  const std::initializer_list<std::pair<const char*, double>> attributes = {
      {"sequenceLength", static_cast<double>(length)}, {"causal", 1}, {"window", 0},
      {"scale", 1 / std::sqrt(static_cast<double>(width))}, {"softcap", 0}};
  b.node("attention", {q, k, v, -1, -1}, {o, lse}, attributes);
  if (backward)
    b.node("attention_backward", {g, q, k, v, o, lse, -1, -1}, {of_rows(false), of_rows(false), of_rows(false)},
        attributes);
  return one;
}

Timed rows(const char* name, int64_t count, int64_t width) {
  Timed one{std::string(name) + " bf16 " + size_name({count, width}), "GB/s", 3. * 2 * count * width / 1e9, {}};
  Builder& b = one.program;
  const int a = filled(b, DType::bf16, {count, width}), c = filled(b, DType::bf16, {count, width});
  const int y = b.value(DType::bf16, {count, width});
  if (std::string(name) == "add") b.node("add", {a, c}, {y}, {});
  else b.node("glu", {a, c}, {y}, {{"activation", 0}});
  return one;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print(const std::string& name, const char* unit, double value) {
  std::printf("{\"name\":\"%s\",\"unit\":\"%s\",\"value\":%.6g}\n", name.c_str(), unit, value);
  std::fflush(stdout);
}

void time_program(const Timed& one, const std::shared_ptr<Accelerator>& device, Lane& lane) {
  std::vector<std::shared_ptr<Storage>> bound;
  for (const auto& bytes : one.program.data) {
    bound.push_back(Storage::allocate(bytes.size(), device));
    device->upload(bound.back()->data(), bytes.data(), bytes.size());
  }
  std::vector<double> values;
  on_lane(lane, [&] {
    Executable executable(std::make_shared<Program>(one.program.desc), bound, device);
    // The second run is recorded, and later runs replay the recording.
    for (int round = -2; round < rounds; ++round) {
      RunArguments arguments;
      executable.run(arguments, lane);
      if (round >= 0) values.push_back(one.work / executable.device_seconds());
    }
  });
  print(one.name, one.unit, median(values));
}

void time_copy(size_t bytes, const std::shared_ptr<Accelerator>& device, Lane& lane) {
  const auto from = Storage::allocate(bytes, device), to = Storage::allocate(bytes, device);
  std::vector<double> values;
  on_lane(lane, [&] {
    for (int round = -1; round < rounds; ++round) {
      device->mark_begin();
      for (int i = 0; i < 4; ++i) device->queue_copy(to->data(), from->data(), bytes, *device);
      device->mark_end();
      device->wait();
      if (round >= 0) values.push_back(8e-9 * static_cast<double>(bytes) / device->marked_seconds());
    }
  });
  print("copy within the device", "GB/s", median(values));
}

void run_all(bool quick) {
  const auto device = open_cuda(0);
  Lane lane(1, device);
  std::fprintf(stderr, "on %s\n", cuda_devices()[0].name.c_str());
  time_copy(quick ? size_t{1} << 16 : size_t{1} << 30, device, lane);
  if (quick) {
    for (const Timed& one : {gemm(DType::bf16, 64), gemv(256), attention(1, 2, 64, 64, false), rows("add", 8, 64)})
      time_program(one, device, lane);
    return;
  }
  // Each is built when it is its turn, because operands take up to half a gigabyte.
  time_program(gemm(DType::f32, 4096), device, lane);
  time_program(gemm(DType::bf16, 4096), device, lane);
  time_program(gemm(DType::bf16, 8192), device, lane);
  time_program(gemv(4096), device, lane);
  for (const bool backward : {false, true}) {
    time_program(attention(8, 16, 2048, 128, backward), device, lane);
    time_program(attention(1, 16, 16384, 128, backward), device, lane);
  }
  time_program(rows("add", 65536, 2048), device, lane);
  time_program(rows("swiglu", 65536, 2048), device, lane);
}

}  // namespace

int main(int count, char** arguments) {
  setenv("HEDDLE_EMULATE_CUDA", "1", 0);  // a build for a GPU ignores it
  try {
    run_all(count > 1 && std::string(arguments[1]) == "--quick");
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "FAILED %s\n", e.what());
    return 1;
  }
}
