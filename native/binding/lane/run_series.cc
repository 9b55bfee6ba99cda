#include "binding/lane/run_series.h"

#include <algorithm>
#include <cstring>

#include "binding/lane/lane.h"
#include "binding/program/program.h"

namespace heddle {

namespace {

// Maximum number of runs in a series. A larger count is a mistake and fails before memory is allocated.
constexpr double max_runs = 4096;

std::vector<size_t> indices(const Napi::Value& value, const char* name, size_t end) {
  std::vector<size_t> result;
  if (!value.IsArray()) return result;
  const Napi::Array list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    result.push_back(static_cast<size_t>(integer(list.Get(i), name)));
    if (result.back() >= end)
      throw invalid_argument(std::string("run: ") + name + ": expected indices below " + std::to_string(end) +
                             ", got " + std::to_string(result.back()));
  }
  return result;
}

// Returns the bytes of one run, given the bytes of `count` runs. Throws if the runs would differ in size.
size_t share(size_t bytes, size_t count, const char* what) {
  if (bytes % count)
    throw shape_mismatch(std::string("run: expected ") + what + " with equal parts for " + std::to_string(count) +
                         " runs, got " + std::to_string(bytes) + " bytes");
  return bytes / count;
}

}  // namespace

RunSeries::RunSeries(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep)
    : executable_(unwrap<ExecutableHandle>(info[0], "executable").executable()) {
  const ByteView symbols = byte_view(info[1], "symbols");
  for (size_t i = 0; i < symbols.bytes / 4; ++i)
    arguments_.symbols.push_back(reinterpret_cast<const int32_t*>(symbols.data)[i]);
  if (!info[2].IsArray() || !info[3].IsArray())
    throw invalid_argument("run: expected arrays of inputs and outputs, got another value");
  const Napi::Array inputs = info[2].As<Napi::Array>(), outputs = info[3].As<Napi::Array>();
  if (info[6].IsNumber()) count_ = static_cast<size_t>(integer(info[6], "count", max_runs));
  if (count_ == 0) throw invalid_argument("run: expected a count of at least 1, got 0");
  const std::vector<size_t> each = count_ > 1 ? indices(info[7], "each", inputs.Length()) : std::vector<size_t>{};
  read_inputs(inputs, each);
  for (uint32_t i = 0; i < outputs.Length(); ++i) {
    const ByteView v = byte_view(outputs.Get(i), "output");
    arguments_.outputs.push_back({v.data, share(v.bytes, count_, "an output")});
  }
  if (info[4].IsObject()) arguments_.abort = unwrap<AbortFlagHandle>(info[4], "flag").flag;
  const auto among = [](const std::vector<size_t>& all, size_t i) {
    return std::find(all.begin(), all.end(), i) != all.end();
  };
  for (const size_t i : indices(info[5], "late", inputs.Length())) {
    if (among(each, i))
      throw invalid_argument(
          "run: late and series.each: expected different inputs, got input " + std::to_string(i) + " in both");
    keep.push_back(inputs.Get(static_cast<uint32_t>(i)));
    deferred_.push_back({i, byte_view(keep.back(), "input")});
  }
  const std::vector<size_t> feed =
      count_ > 1 ? indices(info[8], "feed", std::max(inputs.Length(), outputs.Length())) : std::vector<size_t>{};
  for (size_t i = 0; i + 1 < feed.size(); i += 2) {
    const size_t to = feed[i], from = feed[i + 1];
    if (among(each, to))
      throw invalid_argument(
          "run: series.feed and series.each: expected different inputs, got input " + std::to_string(to) + " in both");
    if (to >= arguments_.inputs.size() || from >= arguments_.outputs.size())
      throw shape_mismatch("run: feed: expected indices of an input and an output, got " + std::to_string(to) +
                           " and " + std::to_string(from));
    if (arguments_.inputs[to].size() != arguments_.outputs[from].bytes)
      throw shape_mismatch("run: series.feed: expected an output of " + std::to_string(arguments_.inputs[to].size()) +
                           " bytes for input " + std::to_string(to) + ", got " +
                           std::to_string(arguments_.outputs[from].bytes) + " bytes");
    feedback_.push_back({to, from});
  }
  executable_->validate(arguments_);
}

void RunSeries::read_inputs(const Napi::Array& list, const std::vector<size_t>& each) {
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const ByteView v = byte_view(list.Get(i), "input");
    const bool differs = std::find(each.begin(), each.end(), i) != each.end();
    arguments_.inputs.emplace_back(v.data, v.data + (differs ? share(v.bytes, count_, "an input") : v.bytes));
    if (differs) per_run_.push_back({i, {v.data, v.data + v.bytes}});
  }
}

void RunSeries::run(Lane& lane) {
  const auto fill = [&](size_t input, const unsigned char* from) {
    std::vector<unsigned char>& to = arguments_.inputs[input];
    if (!to.empty()) std::memcpy(to.data(), from, to.size());
  };
  for (const DeferredInput& d : deferred_) fill(d.input, d.from.data);
  for (size_t i = 0; i < count_; ++i) {
    if (i > 0) {
      for (const PerRunInput& p : per_run_) fill(p.input, p.all.data() + i * arguments_.inputs[p.input].size());
      for (const FeedbackInput& f : feedback_) fill(f.input, arguments_.outputs[f.output].data);
      for (RunArguments::Output& o : arguments_.outputs) o.data += o.bytes;
    }
    executable_->run(arguments_, lane);
  }
}

}  // namespace heddle
