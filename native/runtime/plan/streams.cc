// Which weight comes next: between two products the memory would stand idle, so threads that wait fetch ahead.
#include "runtime/program.h"

namespace heddle {
namespace {

constexpr size_t least_bytes = 65536;  // of an operand that is worth it

}  // namespace

void Executable::find_streams() {
  const ProgramDesc& d = program_->desc_;
  next_stream_.assign(nodes_.size(), {});
  if (accelerator_) return;
  std::vector<char> bound(d.values.size(), 0);
  for (int v : d.bound) bound[v] = 1;
  Stream next;
  for (int twice = 0; twice < 2; ++twice)  // after the last comes the first: a program is likely to run again
    for (size_t i = nodes_.size(); i-- > 0;) {
      next_stream_[i] = next;
      if (program_->ops_[i]->lookup || program_->still_[i]) continue;
      size_t most = least_bytes;
      for (size_t k = 0; k < d.nodes[i].inputs.size(); ++k) {
        const int v = d.nodes[i].inputs[k];
        if (v < 0 || !bound[program_->root_[v]] || program_->ops_[i]->writes(k) || nodes_[i].in[k].bytes() < most)
          continue;
        most = nodes_[i].in[k].bytes();
        next = {static_cast<int>(i), static_cast<int>(k)};
      }
    }
}

void Executable::announce_stream(size_t after, Pool& pool) const {
  const Stream next = next_stream_[after];
  if (next.node < 0) return;
  const Node& node = nodes_[static_cast<size_t>(next.node)];
  const Tensor& weight = node.in[static_cast<size_t>(next.operand)];
  pool.announce_stream(node.packed ? node.packed : weight.data, weight.bytes());
}

}  // namespace heddle
