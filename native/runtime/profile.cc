#include "runtime/profile.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

namespace heddle {
namespace {

constexpr size_t most_rows = 1 << 16;  // limits memory, because sizes may change with every run

std::atomic<bool> asked{false};
std::mutex mutex;
std::unordered_map<std::string, Profile::Row> rows;

std::string key_of(const Profile::Row& row) {
  std::string key = row.op + '/' + row.kernel;
  for (const auto* operands : {&row.inputs, &row.outputs}) {
    key += '/';
    for (const Profile::Operand& o : *operands) key += std::to_string(static_cast<int>(o.dtype)) + to_string(o.shape);
  }
  return key;
}

void count(Profile::Row row, double seconds) {
  std::string key = key_of(row);
  const std::lock_guard<std::mutex> lock(mutex);
  auto found = rows.find(key);
  if (found == rows.end()) {
    if (rows.size() >= most_rows) {
      row = {"others", "", {}, {}};
      key = key_of(row);
    }
    found = rows.emplace(std::move(key), std::move(row)).first;
  }
  ++found->second.calls;
  found->second.seconds += seconds;
}

}  // namespace

bool Profile::on() { return asked.load(std::memory_order_relaxed); }

void Profile::start() {
  const std::lock_guard<std::mutex> lock(mutex);
  if (asked) throw invalid_argument("profile: expected no profile in progress, got a second call");
  rows.clear();
  asked = true;
}

std::vector<Profile::Row> Profile::stop() {
  const std::lock_guard<std::mutex> lock(mutex);
  asked = false;
  std::vector<Row> all;
  for (auto& entry : rows) all.push_back(std::move(entry.second));
  rows.clear();
  return all;
}

void Profile::add(const std::string& op, const KernelDef* kernel, const Node* nodes, size_t number, double seconds) {
  Row row{op, kernel ? kernel->name : "reference", {}, {}};
  for (size_t j = 0; j < number; ++j) {
    for (size_t k = j ? 1 : 0; k < nodes[j].in.size(); ++k)
      if (nodes[j].has_input(k)) row.inputs.push_back({nodes[j].in[k].dtype, nodes[j].in[k].shape});
    for (const Tensor& t : nodes[j].out) row.outputs.push_back({t.dtype, t.shape});
  }
  count(std::move(row), seconds);
}

void Profile::add(const std::string& what, size_t bytes, double seconds) {
  Shape shape;
  shape.rank = 1, shape.dims[0] = static_cast<int64_t>(bytes);
  count({what, "", {}, {{DType::u8, shape}}}, seconds);
}

}  // namespace heddle
