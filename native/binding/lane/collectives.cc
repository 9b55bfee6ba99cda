// Operations over the devices of several ranks.
#include "binding/guard.h"
#include "binding/lane/lane.h"
#include "binding/ranks/storage_lists.h"

namespace heddle {
namespace {

CollectedByRank spans_by_rank(
    const std::vector<Storages>& parts, const Lane& lane, int size, size_t element, const char* what) {
  if (parts.size() != static_cast<size_t>(size))
    throw invalid_argument(std::string(what) + ": expected the tensors of " + std::to_string(size) +
                           " ranks, got those of " + std::to_string(parts.size()));
  CollectedByRank spans;
  for (const Storages& tensors : parts) {
    spans.emplace_back();
    for (const auto& t : tensors) {
      check_place(*t, lane, what);
      spans.back().push_back({t->data(), t->bytes() / element});
    }
  }
  return spans;
}

}  // namespace

// allReduce(tensors): adds up f32 tensors over all ranks. allReduce(numbers): adds up a Float64Array over all ranks, in
// place.
Napi::Value LaneHandle::all_reduce(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    if (!info[0].IsArray()) {
      const ByteView numbers = byte_view(info[0], "numbers");
      return post(info.Env(), [=](Lane& lane) {
        Collective& all = lane.collective();
        std::shared_ptr<Storage> there = Storage::allocate(numbers.bytes, lane.accelerator());
        if (!numbers.bytes) return;
        lane.accelerator()->upload(there->data(), numbers.data, numbers.bytes);
        all.all_reduce_f64(there->data(), numbers.bytes / sizeof(double));
        lane.accelerator()->download(numbers.data, there->data(), numbers.bytes);
      }, info[0], {});
    }
    const Storages tensors = storages(info[0], true, "allReduce");
    return post(info.Env(), [=](Lane& lane) {
      Collective& all = lane.collective();
      for (const auto& t : tensors) check_place(*t, lane, "allReduce");
      for (const auto& t : tensors)
        if (t->bytes()) all.all_reduce_f32(t->data(), t->bytes() / sizeof(float));
      lane.accelerator()->wait();
    }, info.Env().Undefined(), {});
  });
}

// reduceScatter(tensors by rank, type): adds up all tensors of f32 (0) or bf16 (1) over all ranks, in place. Rank r
// receives only the sums of list r. Its other tensors are unchanged.
Napi::Value LaneHandle::reduce_scatter(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const std::vector<Storages> parts = storages_by_rank(info[0], true, "reduceScatter");
    const bool wide = integer(info[1], "type", 1) == 0;
    return post(info.Env(), [=](Lane& lane) {
      Collective& all = lane.collective();
      all.reduce_scatter(spans_by_rank(parts, lane, all.size(), wide ? 4 : 2, "reduceScatter"),
          wide ? Collected::f32 : Collected::bf16);
      lane.accelerator()->wait();
    }, info.Env().Undefined(), {});
  });
}

// allGather(tensors by rank): gives every rank the tensors of all ranks.
Napi::Value LaneHandle::all_gather(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const std::vector<Storages> parts = storages_by_rank(info[0], true, "allGather");
    return post(info.Env(), [=](Lane& lane) {
      Collective& all = lane.collective();
      all.all_gather(spans_by_rank(parts, lane, all.size(), 1, "allGather"), Collected::bytes);
      lane.accelerator()->wait();
    }, info.Env().Undefined(), {});
  });
}

}  // namespace heddle
