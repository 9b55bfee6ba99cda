// A call of JavaScript's NativeLane.run: one run of a program, or a series of runs without a wait for JavaScript in
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
  // Reads run(executable, symbols, inputs, outputs, flag, late, count, each, feed). Values that must live until the
  // series has run join `keep`. Throws where something does not fit the program.
  RunSeries(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep);
  // On the lane's thread; throws, ABORTED when the flag is set.
  void run(Lane& lane);

 private:
  // An input with separate bytes for every run, stored end to end.
  struct Each {
    size_t input;
    std::vector<unsigned char> all;
  };
  // An input that an earlier run of the lane is still to write: read when the series begins.
  struct Late {
    size_t input;
    ByteView from;
  };
  // An input that every run after the first takes from an output of the one before.
  struct Feed {
    size_t input, output;
  };

  void read_inputs(const Napi::Array& list, const std::vector<size_t>& each);

  std::shared_ptr<Executable> executable_;
  RunArguments arguments_;  // of one run
  size_t count_ = 1;
  std::vector<Each> each_;
  std::vector<Late> late_;
  std::vector<Feed> feed_;
};

}  // namespace heddle
