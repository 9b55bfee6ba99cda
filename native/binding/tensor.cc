#include "binding/tensor.h"

#include <cstdint>
#include <cstring>
#include <string>

#include "binding/files.h"
#include "binding/guard.h"
#include "binding/lane/lane.h"
#include "binding/unwrap.h"

namespace heddle {

const napi_type_tag TensorHandle::tag = {0x6865646a54656e73ULL, 0x6f72000000000001ULL};

Napi::Function TensorHandle::define(Napi::Env env) {
  return DefineClass(env, class_name,
      {InstanceAccessor<&TensorHandle::bytes>("bytes"), InstanceMethod<&TensorHandle::dispose>("dispose")});
}

namespace {

// Reads { rowBytes, order: Int32Array } for a tensor of `bytes` bytes. If `value` is undefined, the result keeps the
// rows in their order.
RowOrder row_order(const Napi::Value& value, size_t bytes) {
  RowOrder rows;
  if (!value.IsObject()) return rows;
  const Napi::Object object = value.As<Napi::Object>();
  rows.row_bytes = static_cast<size_t>(integer(object.Get("rowBytes"), "rowBytes", 1e12));
  const ByteView order = byte_view(object.Get("order"), "order");
  const size_t count = order.bytes / sizeof(int32_t);
  rows.order.resize(count);
  if (count) std::memcpy(rows.order.data(), order.data, count * sizeof(int32_t));
  if (rows.row_bytes == 0 || count == 0 || rows.row_bytes > bytes / count || bytes % (rows.row_bytes * count) != 0)
    throw invalid_argument("order: expected blocks of " + std::to_string(count) + " rows of " +
                           std::to_string(rows.row_bytes) + " bytes, got " + std::to_string(bytes) + " bytes");
  for (const int32_t row : rows.order)
    if (row < 0 || static_cast<size_t>(row) >= count)
      throw invalid_argument("order: expected rows below " + std::to_string(count) + ", got " + std::to_string(row));
  return rows;
}

}  // namespace

TensorHandle::TensorHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guard(info, [&] {
    info.This().As<Napi::Object>().TypeTag(&tag);
    if (info[0].IsNumber() || info.Length() == 1) {
      std::shared_ptr<Accelerator> accelerator;
      if (!info[1].IsUndefined()) accelerator = unwrap<LaneHandle>(info[1], "lane").accelerator();
      storage_ = Storage::allocate(static_cast<size_t>(integer(info[0], "bytes", 281474976710656.0)), accelerator);
      if (accelerator) return;  // device memory does not put pressure on the garbage collector
      reported_ = static_cast<int64_t>(storage_->bytes());
      Napi::MemoryManagement::AdjustExternalMemory(info.Env(), reported_);
      return;
    }
    if (info[2].IsObject()) {  // copies a mapped tensor to the lane with its rows reordered
      const TensorHandle& from = unwrap<TensorHandle>(info[0], "tensor");
      const size_t bytes = from.storage()->bytes();
      if (!from.file_) throw invalid_argument("tensor: expected a tensor that maps a file, got a copy");
      storage_ =
          unwrap<LaneHandle>(info[1], "lane").copy_of(from.file_, from.file_offset_, bytes, row_order(info[2], bytes));
      return;
    }
    if (info[1].IsNumber() && info[2].IsNumber() && is_a<TensorHandle>(info[0])) {  // a part of another tensor
      const std::shared_ptr<Storage> whole = unwrap<TensorHandle>(info[0], "tensor").storage();
      const size_t offset = static_cast<size_t>(integer(info[1], "offset")),
                   bytes = static_cast<size_t>(integer(info[2], "bytes"));
      if (offset > whole->bytes() || bytes > whole->bytes() - offset)
        throw invalid_argument("tensor: expected a range within " + std::to_string(whole->bytes()) + " bytes, got " +
                               std::to_string(bytes) + " bytes at " + std::to_string(offset));
      storage_ = Storage::part(whole, offset, bytes);
      return;
    }
    std::shared_ptr<Mapping> mapping = MappedFile::mapping(info[0]);
    const size_t offset = static_cast<size_t>(integer(info[1], "offset")),
                 bytes = static_cast<size_t>(integer(info[2], "bytes"));
    if (offset > mapping->size() || bytes > mapping->size() - offset)
      throw invalid_file("tensor: expected " + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                         ", got a file of " + std::to_string(mapping->size()) + " bytes");
    if (!info[3].IsUndefined()) {
      LaneHandle& lane = unwrap<LaneHandle>(info[3], "lane");
      RowOrder rows = row_order(info[4], bytes);
      if (lane.accelerator() || !rows.order.empty()) {
        storage_ = lane.copy_of(mapping, offset, bytes, std::move(rows));
        return;
      }
    }
    void* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(mapping->data())) + offset;
    storage_ = Storage::borrow(data, bytes, mapping);
    file_ = mapping, file_offset_ = offset;
  });
}

std::shared_ptr<Storage> TensorHandle::storage() const {
  if (!storage_) throw Error("DISPOSED", "tensor: used after dispose()");
  return storage_;
}

Napi::Value TensorHandle::bytes(const Napi::CallbackInfo& info) {
  return guard(
      info, [&]() -> Napi::Value { return Napi::Number::New(info.Env(), static_cast<double>(storage()->bytes())); });
}

Napi::Value TensorHandle::dispose(const Napi::CallbackInfo& info) {
  return guard(info, [&] { release(info.Env()); });
}

void TensorHandle::release(Napi::Env env) {
  if (reported_) Napi::MemoryManagement::AdjustExternalMemory(env, -reported_);
  reported_ = 0;
  storage_.reset();
  file_.reset();
}

}  // namespace heddle
