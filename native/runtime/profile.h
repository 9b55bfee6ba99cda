// Measures the time of each operation, over all lanes of the process, while a profile is running.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ops/op.h"

namespace heddle {

class Profile {
 public:
  struct Operand {
    DType dtype;
    Shape shape;
  };
  // Totals of one operation with operands of the same types and sizes.
  struct Row {
    std::string op, kernel;
    std::vector<Operand> inputs, outputs;
    uint64_t calls = 0;
    double seconds = 0;
  };
  static bool on();
  static void start();             // throws INVALID_ARGUMENT if a profile is already running
  static std::vector<Row> stop();  // returns the totals since start()

  static void add(const std::string& op, const KernelDef* kernel, const Node& node, double seconds) {
    add(op, kernel, &node, 1, seconds);
  }
  // Adds adjacent nodes that one kernel ran together. Their operands are concatenated, with the shared first operand
  // once.
  static void add(const std::string& op, const KernelDef* kernel, const Node* nodes, size_t count, double seconds);
  // Adds work outside of operations, such as packing. It produced `bytes` bytes.
  static void add(const std::string& what, size_t bytes, double seconds);
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace heddle
