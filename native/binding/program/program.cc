#include "binding/program/program.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "binding/guard.h"
#include "binding/init.h"
#include "binding/lane/lane.h"
#include "binding/tensor.h"
#include "binding/unwrap.h"
#include "cpu/isa/dispatch.h"
#include "core/cpus.h"
#include "core/platform/limits.h"
#include "core/memory.h"

namespace heddle {
namespace {

Napi::Array array(const Napi::Object& object, const char* name) {
  Napi::Value v = object.Get(name);
  if (!v.IsArray()) throw invalid_argument(std::string(name) + ": expected an array, got another value");
  return v.As<Napi::Array>();
}

std::vector<int> integers(const Napi::Array& a, const char* name) {
  std::vector<int> out;
  for (uint32_t i = 0; i < a.Length(); ++i) {
    Napi::Value v = a.Get(i);
    if (!v.IsNumber()) throw invalid_argument(std::string(name) + ": expected numbers, got another value");
    // Not Int32Value(), which wraps: 2^32 + 3 would become 3.
    const double number = v.As<Napi::Number>().DoubleValue();
    if (!(number >= INT32_MIN && number <= INT32_MAX) || number != std::trunc(number))
      throw invalid_argument(std::string(name) + ": expected integers of 32 bits, got " + std::to_string(number));
    out.push_back(static_cast<int>(number));
  }
  return out;
}

// Decodes `flat`, which holds dtype, rank and dimensions of each value.
std::vector<ValueDesc> values_of(const std::vector<int>& flat) {
  std::vector<ValueDesc> values;
  for (size_t i = 0; i < flat.size();) {
    ValueDesc v{};
    if (i + 2 > flat.size() || flat[i] < 0 || flat[i] >= static_cast<int>(DType::count) || flat[i + 1] < 0 ||
        flat[i + 1] > max_rank || i + 2 + static_cast<size_t>(flat[i + 1]) > flat.size())
      throw invalid_argument("values: expected dtype, rank (at most 4) and dimensions, got something else");
    v.dtype = static_cast<DType>(flat[i]);
    v.shape.rank = flat[i + 1];
    for (int d = 0; d < v.shape.rank; ++d) v.shape.dims[d] = flat[i + 2 + d];
    values.push_back(v);
    i += 2 + static_cast<size_t>(v.shape.rank);
  }
  return values;
}

ProgramDesc decode(const Napi::Object& o) {
  ProgramDesc d;
  for (int s : integers(array(o, "symbols"), "symbols")) d.symbols.push_back(s);
  d.values = values_of(integers(array(o, "values"), "values"));
  d.bound = integers(array(o, "bound"), "bound");
  d.inputs = integers(array(o, "inputs"), "inputs");
  d.outputs = integers(array(o, "outputs"), "outputs");
  Napi::Array nodes = array(o, "nodes");
  for (uint32_t i = 0; i < nodes.Length(); ++i) {
    Napi::Value v = nodes.Get(i);
    if (!v.IsObject()) throw invalid_argument("nodes: expected objects, got another value");
    Napi::Object n = v.As<Napi::Object>();
    NodeDesc node;
    node.op = n.Get("op").ToString().Utf8Value();
    node.origin = n.Get("origin").ToString().Utf8Value();
    node.inputs = integers(array(n, "inputs"), "inputs");
    node.outputs = integers(array(n, "outputs"), "outputs");
    Napi::Array attributes = array(n, "attributes");  // name, value, name, value, ...
    for (uint32_t k = 0; k + 1 < attributes.Length(); k += 2)
      node.attributes.set(attributes.Get(k).ToString().Utf8Value(), attributes.Get(k + 1).ToNumber().DoubleValue());
    d.nodes.push_back(std::move(node));
  }
  return d;
}

Napi::Value list_ops(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    Napi::Array names = Napi::Array::New(info.Env());
    for (const OpDef* op : Registry::all()) names.Set(names.Length(), op->name);
    return names;
  });
}

// cudaKernels(): maps every op to the names of its CUDA kernels, or to null if it is a view and needs none.
Napi::Value cuda_kernels(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    Napi::Object out = Napi::Object::New(info.Env());
    for (const OpDef* op : Registry::all()) {
      if (op->view) {
        out.Set(op->name, info.Env().Null());
        continue;
      }
      Napi::Array names = Napi::Array::New(info.Env());
      for (const KernelDef* kernel : Registry::kernels(op->name))
        if (kernel->device == DeviceKind::cuda) names.Set(names.Length(), kernel->name);
      out.Set(op->name, names);
    }
    return out;
  });
}

// Returns the bytes that the system and the process's control groups can still provide. Infinity if neither reports
// them.
Napi::Value available_memory_left(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const size_t bytes = available_memory();
    return Napi::Number::New(
        info.Env(), bytes == SIZE_MAX ? std::numeric_limits<double>::infinity() : static_cast<double>(bytes));
  });
}

Napi::Value cpu_info(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    Napi::Object out = Napi::Object::New(info.Env());
    Napi::Array all = Napi::Array::New(info.Env());
    for (const std::string& isa : cpu_isas()) all.Set(all.Length(), isa);
    out.Set("isa", cpu_isa());
    out.Set("supported", all);
    out.Set("threads", usable_cpus());
    return out;
  });
}

void init_program(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeTensor", TensorHandle::define(env));
  exports.Set("NativeLane", LaneHandle::define(env));
  exports.Set("AbortFlag", AbortFlagHandle::define(env));
  exports.Set("NativeProgram", ProgramHandle::define(env));
  exports.Set("NativeExecutable", ExecutableHandle::define(env));
  exports.Set("opNames", Napi::Function::New<list_ops>(env, "opNames"));
  exports.Set("cudaKernels", Napi::Function::New<cuda_kernels>(env, "cudaKernels"));
  exports.Set("cpuInfo", Napi::Function::New<cpu_info>(env, "cpuInfo"));
  exports.Set("availableMemory", Napi::Function::New<available_memory_left>(env, "availableMemory"));
}
const BindingInit registered(init_program);

}  // namespace

const napi_type_tag ProgramHandle::tag = {0x6865646a50726f67ULL, 0x72616d0000000004ULL};
const napi_type_tag ExecutableHandle::tag = {0x6865646a45786563ULL, 0x0000000000000005ULL};

Napi::Function ProgramHandle::define(Napi::Env env) {
  return DefineClass(env, class_name, {InstanceAccessor<&ProgramHandle::arena_bytes>("arenaBytes")});
}

ProgramHandle::ProgramHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guard(info, [&] {
    info.This().As<Napi::Object>().TypeTag(&tag);
    if (!info[0].IsObject()) throw invalid_argument("description: expected an object, got another value");
    program_ = std::make_shared<Program>(decode(info[0].As<Napi::Object>()));
  });
}

Napi::Value ProgramHandle::arena_bytes(const Napi::CallbackInfo& info) {
  return guard(info,
      [&]() -> Napi::Value { return Napi::Number::New(info.Env(), static_cast<double>(program_->arena_bytes())); });
}

Napi::Function ExecutableHandle::define(Napi::Env env) {
  return DefineClass(env, class_name,
      {InstanceMethod<&ExecutableHandle::dispose>("dispose"),
          InstanceAccessor<&ExecutableHandle::device_seconds>("deviceSeconds"),
          InstanceAccessor<&ExecutableHandle::waited_seconds>("waitedSeconds"),
          InstanceAccessor<&ExecutableHandle::recordings>("recordings")});
}

ExecutableHandle::ExecutableHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guard(info, [&] {
    info.This().As<Napi::Object>().TypeTag(&tag);
    std::shared_ptr<Program> program = unwrap<ProgramHandle>(info[0], "program").program();
    if (!info[1].IsArray()) throw invalid_argument("tensors: expected an array, got another value");
    Napi::Array list = info[1].As<Napi::Array>();
    std::vector<std::shared_ptr<Storage>> tensors;
    for (uint32_t i = 0; i < list.Length(); ++i)
      tensors.push_back(unwrap<TensorHandle>(list.Get(i), "tensor").storage());
    // The executable runs on the device of the given lane. Without a lane, it runs on the CPU.
    std::shared_ptr<Accelerator> accelerator;
    if (info.Length() > 2 && !info[2].IsUndefined()) accelerator = unwrap<LaneHandle>(info[2], "lane").accelerator();
    executable_ = std::make_shared<Executable>(std::move(program), std::move(tensors), std::move(accelerator));
  });
}

Napi::Value ExecutableHandle::waited_seconds(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value { return Napi::Number::New(info.Env(), executable()->waited_seconds()); });
}

Napi::Value ExecutableHandle::device_seconds(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value { return Napi::Number::New(info.Env(), executable()->device_seconds()); });
}

Napi::Value ExecutableHandle::recordings(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value { return Napi::Number::New(info.Env(), executable()->recordings()); });
}

std::shared_ptr<Executable> ExecutableHandle::executable() const {
  if (!executable_) throw Error("DISPOSED", "executable: used after dispose()");
  return executable_;
}

Napi::Value ExecutableHandle::dispose(const Napi::CallbackInfo& info) {
  return guard(info, [&] { executable_.reset(); });
}

}  // namespace heddle
