// One call of JavaScript's NativeLane.run: one run of a program, or a series of runs without returning to JavaScript in
// between.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "binding/unwrap.h"
#include "runtime/lane.h"
#include "runtime/executable.h"

namespace heddle {

class RunSeries {
 public:
  // Reads run(executable, symbols, inputs, outputs, flag, late, count, each, feed). Appends to `keep` the values that
  // must live until the series has run. Throws if the arguments do not fit the program.
  RunSeries(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep);
  // Runs on the lane's thread. Throws ABORTED if the flag is set.
  void run(Lane& lane);

 private:
  // An input with different bytes for every run, stored end to end.
  struct PerRunInput {
    size_t input;
    std::vector<unsigned char> all;
  };
  // An input that an earlier run of the lane has yet to write. It is read when the series begins.
  struct DeferredInput {
    size_t input;
    ByteView from;
  };
  // An input that every run after the first takes from an output of the previous run.
  struct FeedbackInput {
    size_t input, output;
  };

  void read_inputs(const Napi::Array& list, const std::vector<size_t>& each);

  std::shared_ptr<Executable> executable_;
  RunArguments arguments_;  // arguments of one run
  size_t count_ = 1;
  std::vector<PerRunInput> per_run_;
  std::vector<DeferredInput> deferred_;
  std::vector<FeedbackInput> feedback_;
};

}  // namespace heddle
