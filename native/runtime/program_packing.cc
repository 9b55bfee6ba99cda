// Weights in the form that their kernels ask for: made on the second run of any program that reads them, kept beside the tensor,
// shared by all later ones. On the first the kernels make it part by part as they go and keep nothing, which takes a fraction of the
// time that the pages of a copy take: the first token comes sooner, and who wants no second never pays.
#include <algorithm>

#include "runtime/profile.h"
#include "runtime/program.h"

namespace heddle {
namespace {

constexpr size_t alignment = 64;
constexpr size_t chunk_bytes = size_t{1} << 24;  // for which large pages are asked, or not
constexpr double slow_seconds = 0.4e-9;          // of a byte: twice what packing into small pages takes

// Asks for large pages part by part. They take a third of the time of small ones, but where memory is in pieces the system first moves
// others' to make room, for several times as long: after a chunk that shows it the next is left, after another two, and so on.
class LargePages {
 public:
  LargePages(const Storage& storage, size_t bytes) : storage_(storage), bytes_(bytes) {}
  // The next operand goes to `offset`; a large one is asked for as a whole.
  void reach(size_t offset, size_t operand) {
    if (offset < end_) return;
    if (asked_) left_ = wait_ = seconds_ > static_cast<double>(done_) * slow_seconds ? 2 * wait_ + 1 : 0;
    asked_ = left_ == 0;
    if (!asked_) --left_;
    end_ = std::min(bytes_, offset + std::max(chunk_bytes, operand)), done_ = 0, seconds_ = 0;
    if (asked_) storage_.want_large_pages(offset, end_ - offset);
  }
  void took(size_t bytes, double seconds) { done_ += bytes, seconds_ += seconds; }

 private:
  const Storage& storage_;
  const size_t bytes_;
  size_t end_ = 0, done_ = 0;
  double seconds_ = 0;
  int wait_ = 0, left_ = 0;
  bool asked_ = false;
};

}  // namespace

void Executable::find_packings() {
  const ProgramDesc& d = program_->desc_;
  if (accelerator_) return;
  std::vector<int> bound(d.values.size(), -1);
  for (size_t b = 0; b < d.bound.size(); ++b) bound[d.bound[b]] = static_cast<int>(b);
  std::vector<char> stays(d.bound.size(), 0);  // read as stored by some node: two forms would cost twice the memory
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Packing packing = kernels_[i] && kernels_[i]->packs.describe ? kernels_[i]->packs.describe(nodes_[i]) : Packing{};
    for (size_t k = 0; k < d.nodes[i].inputs.size(); ++k) {
      const int v = d.nodes[i].inputs[k], b = v < 0 ? -1 : bound[program_->root_[v]];
      if (b < 0) continue;
      if (packing.of_files && bound_[b]->writable()) {
        stays[b] = 1;
        continue;
      }
      if (packing.bytes && packing.input == static_cast<int>(k) && program_->root_[v] == v) packed_.push_back({i, bound_[b].get(), packing, nullptr});
      else if (!program_->ops_[i]->lookup) stays[b] = 1;
    }
  }
  std::vector<PackedOperand> chosen;
  for (PackedOperand& p : packed_) {
    bool kept = false;
    for (size_t b = 0; b < bound_.size(); ++b) kept |= bound_[b].get() == p.storage && stays[b];
    if (!kept) chosen.push_back(std::move(p));
  }
  packed_ = std::move(chosen);
}

// One allocation for all that is missing, so that the system can give large pages.
void Executable::pack_operands(Pool& pool) {
  const auto padded = [](size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; };
  size_t missing = 0;
  for (PackedOperand& p : packed_) {
    p.form = p.storage->packed(p.packing.layout);
    nodes_[p.node].unpacked = !p.form && !p.storage->was_streamed();
    if (!p.form && !nodes_[p.node].unpacked) missing += padded(p.packing.bytes);
    nodes_[p.node].packed = p.form ? p.form->data() : nullptr;
  }
  for (PackedOperand& p : packed_) p.storage->mark_streamed();
  if (!missing) return;
  if (missing > available_memory() / 8 * 7) {  // a mapped file's pages come and go, those of a form would stay
    for (PackedOperand& p : packed_) nodes_[p.node].unpacked = !p.form;
    return;
  }
  const std::shared_ptr<Storage> all = Storage::allocate(missing, nullptr, false);
  size_t at = 0;
  LargePages pages(*all, missing);
  for (PackedOperand& p : packed_) {
    if (nodes_[p.node].unpacked) continue;
    if (!p.form) p.form = p.storage->packed(p.packing.layout);  // of a node before this one
    if (!p.form) {
      p.form = Storage::borrow(all->data() + at, p.packing.bytes, all);
      at += padded(p.packing.bytes);
      pages.reach(static_cast<size_t>(p.form->data() - all->data()), p.packing.bytes);
      const Stopwatch watch;
      kernels_[p.node]->packs.pack(nodes_[p.node], p.form->data(), pool);
      const double seconds = watch.seconds();
      pages.took(p.packing.bytes, seconds);
      if (Profile::on()) Profile::add("packing of weights", seconds);
      p.storage->keep_packed(p.packing.layout, p.form);
      p.storage->release_pages();
    }
    nodes_[p.node].packed = p.form->data();
  }
}

}  // namespace heddle
