// Reads the lists of tensors that operations over several ranks take.
#pragma once

#include <string>
#include <vector>

#include "binding/tensor.h"
#include "binding/unwrap.h"

namespace heddle {

using Storages = std::vector<std::shared_ptr<Storage>>;

// Returns the storages of an array of tensors. All of them must be writable, and in a device's memory if `on_device` is
// true, otherwise in the CPU's.
inline Storages storages(const Napi::Value& list, bool on_device, const char* what) {
  if (!list.IsArray()) throw invalid_argument(std::string(what) + ": expected an array of tensors, got another value");
  const Napi::Array tensors = list.As<Napi::Array>();
  Storages all;
  for (uint32_t i = 0; i < tensors.Length(); ++i) {
    const auto& storage = all.emplace_back(unwrap<TensorHandle>(tensors.Get(i), "tensor").storage());
    if (!storage->writable())
      throw invalid_argument(std::string(what) + ": expected a writable tensor, got one mapped from a file");
    if (on_device != (storage->accelerator() != nullptr))
      throw invalid_argument(std::string(what) + (on_device ? ": expected tensors of a device, got one of the CPU"
                                                            : ": expected tensors of the CPU, got one of a device"));
    if (storage->bytes() && !storage->data())
      throw Error("UNSUPPORTED", std::string(what) + ": expected tensors with memory, got an unloaded one");
  }
  return all;
}

// Returns the storages of an array with one array of tensors for each rank.
inline std::vector<Storages> storages_by_rank(const Napi::Value& lists, bool on_device, const char* what) {
  if (!lists.IsArray()) throw invalid_argument(std::string(what) + ": expected an array of arrays, got another value");
  const Napi::Array ranks = lists.As<Napi::Array>();
  std::vector<Storages> all;
  for (uint32_t r = 0; r < ranks.Length(); ++r) all.push_back(storages(ranks.Get(r), on_device, what));
  return all;
}

}  // namespace heddle
