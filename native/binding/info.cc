// info(): describes this build and the devices it finds.
#include <napi.h>

#include <cstring>
#include <string>

#include "binding/guard.h"
#include "binding/init.h"
#include "runtime/devices.h"
#include "runtime/collective.h"

namespace heddle {

static std::string compiler_name() {
#if defined(__clang__)
  const std::string version = __clang_version__;  // vendors append their repository after a space
  return "clang " + version.substr(0, version.find(' '));
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

static Napi::Object device_object(Napi::Env env, const CudaDevice& device) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("index", device.index);
  object.Set("name", device.name);
  object.Set("computeCapability", std::to_string(device.major) + "." + std::to_string(device.minor));
  object.Set("driver", device.driver);
  object.Set("memoryBytes", static_cast<double>(device.memory_bytes));
  object.Set("multiprocessors", device.multiprocessors);
  object.Set("pciBusId", device.pci_bus_id);
  return object;
}

static Napi::Value info(const Napi::CallbackInfo& call) {
  return guard(call, [&]() -> Napi::Value {
    const Napi::Env env = call.Env();
    const std::vector<CudaDevice> found = cuda_devices();
    Napi::Array devices = Napi::Array::New(env, found.size());
    for (size_t i = 0; i < found.size(); ++i) devices.Set(static_cast<uint32_t>(i), device_object(env, found[i]));
    Napi::Object cuda = Napi::Object::New(env);
    cuda.Set("built", cuda_built());
    if (const std::string toolkit = cuda_toolkit(); !toolkit.empty()) cuda.Set("toolkit", toolkit);
    cuda.Set("devices", devices);
    if (const std::string problem = cuda_problem(); !problem.empty()) cuda.Set("problem", problem);

    Napi::Object result = Napi::Object::New(env);
    result.Set("version", HEDDLE_VERSION);
    result.Set("compiler", compiler_name());
    result.Set("buildType", HEDDLE_BUILD_TYPE);
    result.Set("cuda", cuda);
    return result;
  });
}

// collectiveId(): returns the id by which the ranks of a world find each other.
static Napi::Value new_collective_id(const Napi::CallbackInfo& call) {
  return guard(call, [&]() -> Napi::Value {
    const std::string id = collective_id();
    Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(call.Env(), id.size());
    std::memcpy(buffer.Data(), id.data(), id.size());
    return buffer;
  });
}

static void init_info(Napi::Env env, Napi::Object exports) {
  exports.Set("collectiveId", Napi::Function::New(env, new_collective_id, "collectiveId"));
  exports.Set("info", Napi::Function::New(env, info, "info"));
}
static BindingInit registered(init_info);

}  // namespace heddle
