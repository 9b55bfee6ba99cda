#include "binding/guard.h"

#include <new>

#include "binding/addon_data.h"
#include "core/error.h"

namespace heddle {

static Failure rethrow_and_describe(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"OUT_OF_MEMORY", "out of memory"};
  } catch (const std::exception& error) {
    return {"INTERNAL", error.what()};
  } catch (...) {
    return {"INTERNAL", "an exception of an unknown type"};
  }
}

Failure describe_exception(const std::exception_ptr& exception) noexcept {
  try {
    return rethrow_and_describe(exception);
  } catch (...) {
    // Short enough for std::string's inline buffer, so that it allocates nothing.
    return {"OUT_OF_MEMORY", "out of memory"};
  }
}

Napi::Value make_error(Napi::Env env, const char* code, const std::string& message) {
  AddonData* data = env.GetInstanceData<AddonData>();
  if (data != nullptr && !data->error_constructor.IsEmpty()) {
    return data->error_constructor.New({Napi::String::New(env, code), Napi::String::New(env, message)});
  }
  Napi::Object error = Napi::Error::New(env, message).Value();
  error.Set("code", code);
  return error;
}

Napi::Value make_error(Napi::Env env, const Failure& failure) { return make_error(env, failure.code, failure.message); }

void throw_current_exception(Napi::Env env) {
  const Failure failure = describe_exception(std::current_exception());
  throw Napi::Error(env, make_error(env, failure));
}

}  // namespace heddle
