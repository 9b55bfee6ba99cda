// HEDDLE_CHECK=1 compares every node with its reference, and checks that kernels write nothing after their outputs.
// HEDDLE_CHECK=1e-5 sets the largest allowed difference for all types.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/executable.h"

namespace heddle {
namespace {

constexpr unsigned char sentinel = 0xa5;

// Returns the largest difference, relative to the reference's largest magnitude or `least`, whichever is larger.
// Integers must be equal. Differences of sums within the rounding of their terms are ignored, because they are large
// relative to a sum that cancels.
double difference(const Tensor& got, const Tensor& expected, double least, const SumBounds& sums) {
  const int64_t n = got.shape.size();
  if (got.dtype == DType::i32 || got.dtype == DType::u8)
    return std::memcmp(got.data, expected.data, got.bytes()) ? INFINITY : 0;
  double most = 0, scale = least;
  for (int64_t i = 0; i < n; ++i) {
    const double a = load_float(got, i), b = load_float(expected, i);
    if (std::isnan(a) != std::isnan(b) || (std::isinf(a) || std::isinf(b) ? a != b : false)) return INFINITY;
    const double apart = std::fabs(a - b);
    const bool rounded = !sums.magnitudes.empty() && apart <= sums.part * sums.magnitudes[static_cast<size_t>(i)];
    if (std::isfinite(a) && !rounded) most = std::fmax(most, apart);
    if (std::isfinite(b)) scale = std::fmax(scale, std::fabs(b));
  }
  return scale > 0 ? most / scale : most;
}

// A threshold for debugging: rounding of the output type plus reordered sums.
double allowed(DType t) { return t == DType::f32 ? 1e-3 : t == DType::f16 ? 4e-3 : 3e-2; }
// Uses a larger threshold if intermediate values may be rounded like the operands.
double allowed(const Node& n, DType result, const Accelerator* device) {
  const char* text = std::getenv("HEDDLE_CHECK");
  const double asked = text ? std::strtod(text, nullptr) : 0;
  if (asked > 0 && asked < 1) return asked;
  double most = allowed(result);
  if (device && device->allows_tf32()) most = std::fmax(most, 2.5e-3);
  for (size_t i = 0; i < n.in.size(); ++i)
    if (n.has_input(i) && n.in[i].dtype == DType::bf16) most = std::fmax(most, 1e-2);
  // With this attribute, the kernel itself rounds operands to bf16.
  if (n.attributes->get("bf16", 0) != 0) most = std::fmax(most, allowed(DType::bf16));
  return most;
}

std::string text(double difference) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.3g", difference);
  return digits;
}

// A copy of a node that its reference can overwrite. Copies the data of outputs and written operands. If the node runs
// on a device, copies the data of all operands.
class HostCopy {
 public:
  Node node;
  HostCopy(const Node& from, const OpDef& op, Accelerator* device, bool outputs = true) : node(from), device_(device) {
    for (size_t k = 0; k < node.in.size(); ++k)
      if (node.has_input(k) && (device || op.writes(k))) copy(node.in[k], true);
    for (Tensor& t : node.out) copy(t, outputs);
  }

 private:
  void copy(Tensor& t, bool content) {
    keep_.push_back(Storage::allocate(t.bytes()));
    if (content && t.bytes()) {
      if (device_) device_->download(keep_.back()->data(), t.data, t.bytes());
      else std::memcpy(keep_.back()->data(), t.data, t.bytes());
    }
    t.data = keep_.back()->data();
  }
  Accelerator* device_;
  std::vector<std::shared_ptr<Storage>> keep_;
};

}  // namespace

void Executable::run_reference(size_t i, Accelerator& device) {
  const OpDef& op = *plan_->nodes[i].op;
  Node& node = nodes_[i];
  HostCopy host(node, op, &device);
  op.reference(host.node);
  for (size_t k = 0; k < node.in.size(); ++k)
    if (node.has_input(k) && op.writes(k) && node.in[k].bytes())
      device.upload(node.in[k].data, host.node.in[k].data, node.in[k].bytes());
  for (size_t k = 0; k < node.out.size(); ++k)
    if (node.out[k].bytes()) device.upload(node.out[k].data, host.node.out[k].data, node.out[k].bytes());
}

// Runs the reference, which throws the CPU's message for the bad operands.
void Executable::explain_fault(int i, Accelerator& device) {
  const NodeDesc& desc = program_->desc().nodes[i];
  try {
    HostCopy host(nodes_[i], *plan_->nodes[i].op, &device, false);
    plan_->nodes[i].op->reference(host.node);
  } catch (const Error& e) {
    throw Error(e.code(), e.what() + desc.made_at());
  }
  throw internal_error(
      desc.op + ": kernel " + plan_->nodes[i].kernel->name + " reported a fault that its reference did not find");
}

void Executable::run_checked(size_t i, Context& context) {
  const OpDef& op = *plan_->nodes[i].op;
  const KernelDef* kernel = plan_->nodes[i].kernel;
  Accelerator* device = accelerator_.get();
  Node& node = nodes_[i];
  if (!kernel || op.uses_ranks) return run_node(i, context);
  HostCopy reference(node, op, device);
  unsigned char guard[guard_bytes];
  std::memset(guard, sentinel, guard_bytes);
  for (Tensor& t : node.out) {
    unsigned char* end = static_cast<unsigned char*>(t.data) + t.bytes();
    if (device) device->upload(end, guard, guard_bytes);
    else std::memcpy(end, guard, guard_bytes);
  }
  kernel->run(node, context);
  if (device) {
    const int faulty = device->fault();
    if (faulty >= 0) explain_fault(faulty, *device);
  }
  const std::string name = program_->desc().nodes[i].op + ": kernel " + kernel->name;
  for (size_t k = 0; k < node.out.size(); ++k) {
    const unsigned char* end = static_cast<unsigned char*>(node.out[k].data) + node.out[k].bytes();
    unsigned char found[guard_bytes];
    if (device) device->download(found, end, guard_bytes);
    else std::memcpy(found, end, guard_bytes);
    if (std::memcmp(found, guard, guard_bytes) != 0)
      throw internal_error(
          name + " wrote past output " + std::to_string(k) + " of shape " + to_string(node.out[k].shape));
  }
  HostCopy got(node, op, device);
  // Describes the difference from a reference, or returns an empty string.
  const auto differs = [&](Node& expected) {
    op.reference(expected);
    SumBounds sums;
    if (op.sums) {
      sums = op.sums(expected);
      // The tolerance of a sum that may cancel is never larger than that of other results.
      sums.part = std::fmin(sums.part, allowed(expected, node.out[0].dtype, device));
    }
    const auto compare = [&](const char* what, size_t k, const Tensor& mine, const Tensor& truth,
                             const SumBounds& bounds) -> std::string {
      const double d = difference(mine, truth, op.returns_logs ? 1 : 0, bounds);
      if (d <= allowed(expected, mine.dtype, device)) return "";
      return name + ": " + what + " " + std::to_string(k) + " of shape " + to_string(mine.shape) +
             " differs from the reference, expected at most " + text(allowed(expected, mine.dtype, device)) +
             " of its largest value, got " + text(d);
    };
    std::string wrong;
    for (size_t k = 0; wrong.empty() && k < node.out.size(); ++k)
      wrong = compare("output", k, got.node.out[k], expected.out[k], k == 0 ? sums : SumBounds{});
    for (size_t k = 0; wrong.empty() && k < node.in.size(); ++k)
      if (node.has_input(k) && op.writes(k)) wrong = compare("written operand", k, got.node.in[k], expected.in[k], {});
    return wrong;
  };
  const std::string wrong = differs(reference.node);
  if (wrong.empty()) return;
  Attributes other = *node.attributes;
  if (op.alternative && op.alternative(other)) {
    reference.node.attributes = &other;
    if (differs(reference.node).empty()) return;
  }
  throw internal_error(wrong);
}

}  // namespace heddle
