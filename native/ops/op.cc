// The attribute list and the registry of ops and kernels.
#include "ops/op.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

namespace heddle {

// Defined in native/cpu/isa/dispatch.cc. Weak, so that a test can link the ops without any kernels.
#if defined(__GNUC__)
__attribute__((weak))
#endif
void register_cpu_kernels();

void Attributes::set(const std::string& name, double value) {
  if (name.size() > 16)
    throw invalid_argument(
        "attribute " + name + ": expected a name of at most 16 letters, got " + std::to_string(name.size()));
  const Key key(name.data(), name.size());
  for (Item& item : items_)
    if (item.key == key) return void(item.value = value);
  items_.push_back({key, value});
}

std::vector<int64_t> Attributes::list(const char* first, size_t count) const {
  std::vector<int64_t> numbers;
  if (count == 0) return numbers;
  const Item* item = find(first, std::strlen(first));
  if (!item || count > static_cast<size_t>(items_.data() + items_.size() - item)) absent(first);
  for (size_t i = 0; i < count; ++i) numbers.push_back(whole(first, item[i].value));
  return numbers;
}

void Attributes::absent(const char* name) {
  throw internal_error(std::string("attribute ") + name + ": expected a value from the op table, got none");
}

void Attributes::not_whole(const char* name, double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  throw invalid_argument(std::string(name) + ": expected a whole number, got " + text);
}

namespace {

// Deques keep addresses stable: pointers handed out stay valid for the process.
struct Tables {
  std::mutex mutex;
  std::once_flag kernels_registered;
  std::deque<OpDef> ops;
  std::deque<KernelDef> kernels;
  std::map<std::string, const OpDef*> op_by_name;
  std::map<std::string, std::vector<const KernelDef*>> kernels_by_op;  // highest priority first
};

// Built on first use, because the registrars of other files run before main in any order. Never destroyed, because a
// lane may still run during static destruction.
Tables& tables() {
  static Tables& t = *new Tables;
  return t;
}

void register_kernels_once() {
  std::call_once(tables().kernels_registered, [] {
#if defined(__GNUC__)
    if (!register_cpu_kernels) return;
#endif
    register_cpu_kernels();
  });
}

}  // namespace

// Read at every pick, so that one process can compare kernels with references.
bool Registry::references_only() {
  const char* value = std::getenv("HEDDLE_REFERENCE");
  return value && std::strcmp(value, "1") == 0;
}

const OpDef* Registry::find(const std::string& name) {
  Tables& t = tables();
  std::lock_guard<std::mutex> lock(t.mutex);
  auto it = t.op_by_name.find(name);
  return it == t.op_by_name.end() ? nullptr : it->second;
}

std::vector<const OpDef*> Registry::all() {
  Tables& t = tables();
  std::lock_guard<std::mutex> lock(t.mutex);
  std::vector<const OpDef*> ops;
  for (const auto& entry : t.op_by_name) ops.push_back(entry.second);
  return ops;
}

std::vector<const KernelDef*> Registry::kernels(const std::string& op) {
  register_kernels_once();
  Tables& t = tables();
  std::lock_guard<std::mutex> lock(t.mutex);
  auto it = t.kernels_by_op.find(op);
  return it == t.kernels_by_op.end() ? std::vector<const KernelDef*>{} : it->second;
}

const KernelDef* Registry::pick(const std::string& op, const Node& node, DeviceKind device) {
  const OpDef* const def = find(op);
  if (references_only() && !(def && def->uses_ranks)) return nullptr;
  for (const KernelDef* kernel : kernels(op))
    if (kernel->device == device && (!kernel->supports || kernel->supports(node))) return kernel;
  return nullptr;
}

void Registry::add(const OpDef& op) {
  Tables& t = tables();
  std::lock_guard<std::mutex> lock(t.mutex);
  t.ops.push_back(op);
  t.op_by_name.emplace(op.name, &t.ops.back());
}

void Registry::add(const KernelDef& kernel) {
  Tables& t = tables();
  std::lock_guard<std::mutex> lock(t.mutex);
  t.kernels.push_back(kernel);
  auto& list = t.kernels_by_op[kernel.op];
  // Inserted after kernels of equal priority, so that the kernel registered first is preferred.
  auto place =
      std::find_if(list.begin(), list.end(), [&](const KernelDef* k) { return k->priority < kernel.priority; });
  list.insert(place, &t.kernels.back());
}

}  // namespace heddle
