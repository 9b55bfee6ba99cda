// The base of the classes that JavaScript sees.
#pragma once
#include <napi.h>

#include <string>

#include "binding/guard.h"
#include "binding/unwrap.h"

namespace heddle {

// T derives from Handle<T>, and its constructor sets the type tag T::tag. See is_a().
template <class T> class Handle : public Napi::ObjectWrap<T> {
 public:
  using Napi::ObjectWrap<T>::ObjectWrap;

  // Before each method or accessor, node-addon-api calls T::Unwrap with its `this`. This function checks the tag,
  // because JavaScript can call a getter with any object. V8 checks `this` for methods, but not for accessors.
  static T* Unwrap(Napi::Object object) {
    if (is_a<T>(object)) return Napi::ObjectWrap<T>::Unwrap(object);
    throw Napi::Error(object.Env(), make_error(object.Env(), "INVALID_ARGUMENT",
                                        std::string("this: expected a ") + T::class_name + ", got another value"));
  }
};

}  // namespace heddle
