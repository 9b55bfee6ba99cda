// Packs weights into the layout that their kernels use, and caches the packed form with the tensor for all programs.
// The first run that reads a weight packs nothing, so a single run never pays for a copy. Later runs pack a few parts
// each, within the limits of PackingBudget, so that packing slows no run much.
#include <algorithm>

#include "core/platform/limits.h"
#include "runtime/profile.h"
#include "runtime/executable.h"

namespace heddle {

// Uses complete packed forms. Packs parts of the others if the budget allows it.
void Executable::pack_weights(const RunArguments& a, Lane& lane) {
  if (packed_.empty()) return;
  size_t missing = 0, bytes = 0;
  double work = 0;
  bool first = false;
  for (PackedOperand& p : packed_) {
    Node& node = nodes_[p.node];
    p.form = p.storage->packed(p.packing.layout);
    node.packed = p.form ? p.form->data() : nullptr, node.unpacked = !p.form;
    bytes += p.packing.bytes;
    work += static_cast<double>(p.packing.bytes) * static_cast<double>(node.out[0].shape.rows());
    p.due = p.storage->was_streamed();
    first |= !p.due;
    if (!p.form && p.due) missing += padded_to_line(p.packing.bytes);
  }
  for (PackedOperand& p : packed_) p.storage->mark_streamed();
  PackingBudget& budget = lane.packing_budget();
  budget.begin(work, static_cast<double>(bytes), first);
  if (!missing) form_space_ = nullptr;
  if (!missing || !budget.bytes(missing)) return;
  const Pool::Watch watch(lane.pool(), lane.cancellation(a.abort.get()));
  lane.pool().interrupt(true);
  pack_some(missing, lane);
}

void Executable::pack_some(size_t missing, Lane& lane) {
  // Leaves some memory available. The system can reclaim the pages of a mapped file, but not those of packed forms.
  if (missing > available_memory() / 8 * 7) return;
  for (PackedOperand& p : packed_) {
    if (p.form || !p.due) continue;
    const char* const layout = p.packing.layout;
    p.form = p.storage->packed(layout);  // may have been packed for an earlier node
    Storage::PartlyPacked made;
    if (!p.form && p.storage->begin_packing(layout, made)) {
      try {
        pack_parts(p, made, missing, lane);
      } catch (...) {
        p.storage->end_packing(layout, std::move(made), false);
        throw;
      }
      const bool whole = made.parts == p.packing.parts;
      p.storage->end_packing(layout, std::move(made), whole);
      if (!whole) return;
      p.storage->release_pages();
      p.form = p.storage->packed(layout);
    }
    nodes_[p.node].packed = p.form ? p.form->data() : nullptr, nodes_[p.node].unpacked = !p.form;
  }
}

// Packs as many parts of one form as the budget allows in this run.
void Executable::pack_parts(const PackedOperand& p, Storage::PartlyPacked& made, size_t missing, Lane& lane) {
  PackingBudget& budget = lane.packing_budget();
  const int64_t parts = p.packing.parts;
  const size_t each = p.packing.bytes / static_cast<size_t>(parts);
  for (size_t bytes; made.parts < parts && (bytes = budget.bytes(each * static_cast<size_t>(parts - made.parts)));) {
    if (!made.form) {
      if (!form_space_ || !(made.form = form_space_->take(p.packing.bytes))) {
        form_space_ = std::make_unique<FormSpace>(missing);
        made.form = form_space_->take(p.packing.bytes);
      }
    }
    const int64_t end = std::min(parts, made.parts + std::max<int64_t>(1, static_cast<int64_t>(bytes / each)));
    const size_t count = static_cast<size_t>(end - made.parts) * each;
    if (form_space_) form_space_->prepare(made.form->data() + static_cast<size_t>(made.parts) * each, count);
    const Stopwatch watch;
    plan_->nodes[p.node].kernel->packs.pack(nodes_[p.node], made.form->data(), made.parts, end, lane.pool());
    const double seconds = watch.seconds();
    made.parts = end;
    budget.packed(count, seconds);
    if (form_space_) form_space_->record_time(count, seconds);
    if (Profile::on()) Profile::add("packing of weights", count, seconds);
  }
}

}  // namespace heddle
