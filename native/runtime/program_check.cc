// HEDDLE_CHECK=1: every node runs beside its reference, with sentinels after every buffer it may write.
#include <cmath>
#include <cstring>

#include "runtime/program.h"

namespace heddle {
namespace {

constexpr unsigned char sentinel = 0xa5;
constexpr size_t guard_bytes = 64;

// The largest difference in units of the reference's largest magnitude. Exact for integers.
double difference(const Tensor& got, const Tensor& expected) {
  const int64_t n = got.shape.size();
  if (got.dtype == DType::i32 || got.dtype == DType::u8) return std::memcmp(got.data, expected.data, got.bytes()) ? INFINITY : 0;
  double most = 0, scale = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = load_float(got, i), b = load_float(expected, i);
    if (std::isnan(a) != std::isnan(b) || (std::isinf(a) || std::isinf(b) ? a != b : false)) return INFINITY;
    if (std::isfinite(a)) most = std::fmax(most, std::fabs(a - b));
    if (std::isfinite(b)) scale = std::fmax(scale, std::fabs(b));
  }
  return scale > 0 ? most / scale : most;
}

// A debugging aid's threshold, not a test's: rounding of the output type plus reordered sums.
double allowed(DType t) { return t == DType::f32 ? 1e-3 : t == DType::f16 ? 4e-3 : 3e-2; }

}  // namespace

void Executable::run_checked(size_t i, Context& context) {
  const OpDef& op = *program_->ops_[i];
  const KernelDef* kernel = program_->kernels_[i];
  Node& node = nodes_[i];
  Node shadow = node;
  std::vector<std::shared_ptr<Storage>> keep;
  auto clone = [&](Tensor& t, bool copy) {
    keep.push_back(Storage::allocate(t.bytes()));
    if (copy && t.bytes()) std::memcpy(keep.back()->data(), t.data, t.bytes());
    t.data = keep.back()->data();
  };
  for (size_t k = 0; k < shadow.in.size(); ++k)
    if (shadow.has_input(k) && (op.mutates >> k & 1)) clone(shadow.in[k], true);
  for (Tensor& t : shadow.out) clone(t, false);
  for (Tensor& t : node.out) std::memset(static_cast<unsigned char*>(t.data) + t.bytes(), sentinel, guard_bytes);

  if (!kernel) return op.reference(node);
  kernel->run(node, context);
  const std::string name = program_->desc_.nodes[i].op + ": kernel " + kernel->name;
  for (size_t k = 0; k < node.out.size(); ++k)
    for (size_t b = 0; b < guard_bytes; ++b)
      if (static_cast<unsigned char*>(node.out[k].data)[node.out[k].bytes() + b] != sentinel)
        throw internal_error(name + " wrote past output " + std::to_string(k) + " of shape " + to_string(node.out[k].shape));
  op.reference(shadow);
  auto compare = [&](const char* what, size_t k, const Tensor& got, const Tensor& expected) {
    const double d = difference(got, expected);
    if (!(d <= allowed(got.dtype)))
      throw internal_error(name + ": " + what + " " + std::to_string(k) + " of shape " + to_string(got.shape) +
                           " differs from the reference, expected at most " + std::to_string(allowed(got.dtype)) +
                           " of its largest value, got " + std::to_string(d));
  };
  for (size_t k = 0; k < node.out.size(); ++k) compare("output", k, node.out[k], shadow.out[k]);
  for (size_t k = 0; k < node.in.size(); ++k)
    if (node.has_input(k) && (op.mutates >> k & 1)) compare("written operand", k, node.in[k], shadow.in[k]);
}

}  // namespace heddle
