// Compares CPU kernels of the active instruction set (HEDDLE_ISA) with the references of their ops. Shapes have partial
// vectors and tiles in every dimension. Guard bytes follow each operand and the scratch memory. Runs with one and with
// three threads must give the same bits. Another run places every operand at the end of accessible memory. Further runs
// place output 0 in the memory of each input that allows it.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "cpu/isa/dispatch.h"
#include "ops/op.h"
#include "runtime/pool.h"

using namespace heddle;

namespace {  // included by each test executable once

constexpr DType f32 = DType::f32, bf = DType::bf16, f16_ = DType::f16, i32 = DType::i32;

uint64_t state = 88172645463325252ull;
// Xorshift64 (Marsaglia, 2003).
uint64_t next_random() { return state ^= state << 13, state ^= state >> 7, state ^= state << 17; }
float uniform() { return static_cast<float>(static_cast<double>(next_random() >> 11) / (1ull << 53) * 2 - 1); }
int64_t below(int64_t n) { return static_cast<int64_t>(next_random() % static_cast<uint64_t>(n)); }

// Whether the kernels of the active instruction set multiply bf16 numbers. In ops of bf16 tensors, they then also round
// intermediate operands of products, such as probabilities, to bf16.
inline bool multiplies_bf16() {
  const std::string isa = cpu_isa();
  return isa == "avx512bf16" || isa == "amx" || isa == "neoni8mm";
}

struct Buffer {  // a tensor's memory followed by guard bytes
  Tensor t;
  std::vector<char> bytes;
  Buffer() = default;
  Buffer(DType dtype, std::vector<int64_t> dims) {
    t.dtype = dtype, t.shape.rank = static_cast<int>(dims.size());
    for (size_t i = 0; i < dims.size(); ++i) t.shape.dims[i] = dims[i];
    bytes.assign(t.bytes() + 128, 0x5a);
  }
  void fill(float scale = 1) {
    for (int64_t i = 0; i < t.shape.size(); ++i) {
      Tensor v = view();
      if (t.dtype == i32) v.as<int32_t>()[i] = 0;
      else store_float(v, i, uniform() * scale);
    }
  }
  Tensor view() {
    Tensor v = t;
    v.data = bytes.data();
    return v;
  }
  bool guarded() const {
    for (size_t i = t.bytes(); i < bytes.size(); ++i)
      if (bytes[i] != 0x5a) return false;
    return true;
  }
};

// A copy of a tensor that ends at the end of accessible memory, as in a mapped file.
class AtEdge {
 public:
  explicit AtEdge(const Buffer& from) : bytes_(from.t.bytes()) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (bytes_ + page - 1) / page * page + page;
    mapped_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (mapped_ == MAP_FAILED || mprotect(mapped_ + size_ - page, page, PROT_NONE) != 0) std::abort();
    tensor_ = from.t;
    tensor_.data = mapped_ + size_ - page - bytes_;
    if (bytes_) std::memcpy(tensor_.data, from.bytes.data(), bytes_);
  }
  ~AtEdge() { munmap(mapped_, size_); }
  AtEdge(const AtEdge&) = delete;
  AtEdge& operator=(const AtEdge&) = delete;
  const Tensor& view() const { return tensor_; }
  bool equals(const Buffer& b) const { return bytes_ == 0 || std::memcmp(tensor_.data, b.bytes.data(), bytes_) == 0; }

 private:
  size_t bytes_, size_;
  char* mapped_;
  Tensor tensor_;
};

struct Case {
  std::string op, label;
  std::vector<std::pair<std::string, double>> attributes;
  std::vector<Buffer> in, out;
  std::vector<bool> present;  // per input; empty: all
  double tolerance = 2e-5;    // relative to the value plus the output's root mean square
  double floor = 1e-7;        // absolute tolerance
  // Whether the kernel rounds the terms of its sums to bf16. bf16 outputs then get an additional tolerance of the
  // largest output times 2^-8.
  bool rounds_terms = false;
  std::vector<Buffer> want;  // expected outputs; empty: use the reference
};

int failures = 0, cases = 0;
std::map<std::string, int> covered;  // number of runs of each kernel

void fail(const Case& c, const std::string& what) {
  ++failures;
  std::printf("FAIL %s %s: %s\n", c.op.c_str(), c.label.c_str(), what.c_str());
}

Node node_of(
    const Attributes& attributes, std::vector<Buffer>& in, std::vector<Buffer>& out, const std::vector<bool>& present) {
  Node n;
  n.attributes = &attributes;
  for (size_t i = 0; i < in.size(); ++i) n.in.push_back(present[i] ? in[i].view() : Tensor{});
  for (Buffer& b : out) n.out.push_back(b.view());
  n.present = present;
  return n;
}

// Compares two operands element by element. i32 operands are not compared.
void compare(const Case& c, const char* name, Buffer& got, Buffer& want) {
  Tensor g = got.view(), w = want.view();
  const int64_t n = g.shape.size();
  if (g.dtype == i32) return;
  double squares = 0, largest = 0;
  for (int64_t i = 0; i < n; ++i)
    squares += std::pow(load_float(w, i), 2), largest = std::max(largest, std::fabs(double(load_float(w, i))));
  const double typical = n ? std::sqrt(squares / static_cast<double>(n)) : 0;
  double worst = 0;
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = load_float(g, i), b = load_float(w, i);
    double allowed = c.tolerance * (typical + std::fabs(b)) + c.floor;
    if (g.dtype == bf) allowed += std::fabs(b) / 128;  // the two may be rounded to neighboring bf16 values
    if (g.dtype == bf && c.rounds_terms) allowed += largest / 256;
    const double error = std::isnan(a) != std::isnan(b) ? INFINITY
                         : std::isnan(a) || a == b      ? 0
                                                        : std::fabs(a - b) / allowed;
    if (!(error <= worst)) worst = error, at = i;
  }
  if (worst > 1)
    fail(c, std::string(name) + " differs at " + std::to_string(at) + " of " + std::to_string(n) + ": expected " +
                std::to_string(load_float(w, at)) + ", got " + std::to_string(load_float(g, at)));
}

void check_in_place(const Case& c, const std::vector<bool>& present, std::vector<Buffer>& want);

// Runs the kernel with every operand at the end of accessible memory. An access beyond an operand crashes. The results
// must equal those of the first run.
void check_at_edges(const Case& c, const Attributes& attributes, const std::vector<Buffer>& want_in,
    const std::vector<Buffer>& want_out) {
  std::deque<AtEdge> in, out;
  Node node;
  node.attributes = &attributes, node.present = c.present;
  for (size_t i = 0; i < c.in.size(); ++i) node.in.push_back(c.present[i] ? in.emplace_back(c.in[i]).view() : Tensor{});
  for (const Buffer& b : c.out) node.out.push_back(out.emplace_back(b).view());
  const KernelDef* kernel = Registry::pick(c.op, node);
  Pool pool(1);
  std::vector<char> memory((kernel->scratch ? kernel->scratch(node, 1) : 0) + 64);
  Context context{pool, memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64)};
  kernel->run(node, context);
  for (size_t i = 0; i < out.size(); ++i)
    if (!out[i].equals(want_out[i])) fail(c, "output " + std::to_string(i) + " depends on the addresses of operands");
  for (size_t i = 0, k = 0; i < c.in.size(); ++i)
    if (c.present[i] && !in[k++].equals(want_in[i]))
      fail(c, "input " + std::to_string(i) + " depends on the addresses of operands");
}

// Runs all checks of a case.
void check(Case c) {
  ++cases;
  if (c.present.empty()) c.present.assign(c.in.size(), true);
  Attributes attributes;
  for (const auto& a : c.attributes) attributes.set(a.first, a.second);
  const OpDef* op = Registry::find(c.op);
  if (!op) return fail(c, "no such op");
  std::vector<Buffer> in = c.in, out = c.out;
  Node reference = node_of(attributes, in, out, c.present);
  try {
    op->check(reference);
  } catch (const Error& e) {
    return fail(c, std::string("invalid case: ") + e.what());
  }
  if (c.want.empty()) op->reference(reference);
  else out = c.want;
  std::vector<Buffer> first_in, first_out;
  for (const int threads : {1, 3}) {
    std::vector<Buffer> kin = c.in, kout = c.out;
    Node node = node_of(attributes, kin, kout, c.present);
    const KernelDef* kernel = Registry::pick(c.op, node);
    if (!kernel) return fail(c, "no kernel supports the case");
    ++covered[kernel->name];
    Pool pool(threads);
    const size_t bytes = kernel->scratch ? kernel->scratch(node, threads) : 0;
    std::vector<char> memory(bytes + 256, 0x33);
    char* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
    Context context{pool, scratch};
    kernel->run(node, context);
    for (size_t i = bytes; i < bytes + 64; ++i)
      if (scratch[i] != 0x33) return fail(c, "wrote beyond its scratch memory");
    for (size_t i = 0; i < kin.size(); ++i) {
      if (!c.present[i]) continue;
      if (!kin[i].guarded()) fail(c, "wrote beyond input " + std::to_string(i));
      if (op->mutates >> i & 1) compare(c, ("input " + std::to_string(i)).c_str(), kin[i], in[i]);
      else if (kin[i].bytes != c.in[i].bytes) fail(c, "changed input " + std::to_string(i));
    }
    for (size_t i = 0; i < kout.size(); ++i) {
      if (!kout[i].guarded()) fail(c, "wrote beyond output " + std::to_string(i));
      compare(c, ("output " + std::to_string(i)).c_str(), kout[i], out[i]);
    }
    if (threads == 1) first_in = kin, first_out = kout;
    else
      for (size_t i = 0; i < kout.size(); ++i)
        if (kout[i].bytes != first_out[i].bytes)
          fail(c, "output " + std::to_string(i) + " depends on the number of threads");
  }
  check_at_edges(c, attributes, first_in, first_out);
  check_in_place(c, c.present, out);
}

// Runs the kernel once for each input whose bit is set in OpDef::inplace, with output 0 in the memory of that input.
void check_in_place(const Case& c, const std::vector<bool>& present, std::vector<Buffer>& want) {
  const OpDef* op = Registry::find(c.op);
  Attributes attributes;
  for (const auto& a : c.attributes) attributes.set(a.first, a.second);
  for (size_t i = 0; i < c.in.size(); ++i) {
    if (!(op->inplace >> i & 1) || !present[i]) continue;
    std::vector<Buffer> in = c.in, out = c.out;
    Node node = node_of(attributes, in, out, present);
    node.out[0].data = node.in[i].data;
    const KernelDef* kernel = Registry::pick(c.op, node);
    Pool pool(2);
    std::vector<char> memory((kernel->scratch ? kernel->scratch(node, 2) : 0) + 64);
    Context context{pool, memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64)};
    kernel->run(node, context);
    out[0].bytes = in[i].bytes;
    for (size_t k = 0; k < out.size(); ++k)
      compare(c, ("in place of " + std::to_string(i) + ", output " + std::to_string(k)).c_str(), out[k], want[k]);
  }
}

Buffer filled(DType t, std::vector<int64_t> dims, float scale = 1) {
  Buffer b(t, dims);
  b.fill(scale);
  return b;
}
// Returns random indices below `limit`. With `ignore`, every fifth is -100, which token_logprob ignores.
Buffer indices(int64_t n, int64_t limit, bool ignore = false) {
  Buffer b(i32, {n});
  for (int64_t i = 0; i < n; ++i)
    b.view().as<int32_t>()[i] = static_cast<int32_t>(ignore && i % 5 == 2 ? -100 : below(limit));
  return b;
}

// Returns the same values in f32.
Buffer widened(Buffer& b) {
  std::vector<int64_t> dims(b.t.shape.dims.begin(), b.t.shape.dims.begin() + b.t.shape.rank);
  Buffer w(f32, dims);
  for (int64_t i = 0; i < b.t.shape.size(); ++i) store_float(w.view(), i, load_float(b.view(), i));
  return w;
}

// Runs the kernel of a case with one thread, and leaves the results in c.out.
void run_kernel(Case& c) {
  Attributes attributes;
  for (const auto& a : c.attributes) attributes.set(a.first, a.second);
  Node node = node_of(attributes, c.in, c.out, std::vector<bool>(c.in.size(), true));
  const KernelDef* kernel = Registry::pick(c.op, node);
  Pool pool(1);
  std::vector<char> memory((kernel->scratch ? kernel->scratch(node, 1) : 0) + 64);
  Context context{pool, memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64)};
  kernel->run(node, context);
}

// Runs the group that the first argument names, or all groups. Prints how often each kernel ran.
int run_groups(const std::map<std::string, std::function<void()>>& groups, int argc, char** argv) {
  const std::string only = argc > 1 ? argv[1] : "";
  for (const auto& g : groups)
    if (only.empty() || only == g.first) g.second();
  for (const auto& k : covered) std::printf("%-44s %d runs\n", k.first.c_str(), k.second);
  std::printf("%s: %d cases, %d failures\n", cpu_isa(), cases, failures);
  return failures || !cases ? 1 : 0;
}

}  // namespace
