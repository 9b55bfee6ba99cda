#include "emulator/failures.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "emulator/runtime.h"
#include "core/error.h"

namespace heddle {
namespace emulator {
namespace {

struct Planted {
  int device;
  std::string call;
  int remaining;  // calls up to the first one that fails, including it
  cudaError_t status;
  bool always, lost;
};

struct Failures {
  std::mutex mutex;
  std::string text;  // the value of HEDDLE_EMULATE_FAILURE that `planted` was read from
  std::vector<Planted> planted;
  std::map<int, cudaError_t> lost;  // by device
};
Failures& failures() {
  static Failures& found = *new Failures;  // never destroyed: threads may outlive static objects
  return found;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

std::vector<Planted> read(const std::string& text) {
  std::vector<Planted> all;
  for (const std::string& entry : split(text, ',')) {
    const std::vector<std::string> parts = split(entry, ':');
    const std::string how = parts.size() == 5 ? parts[4] : "";
    if (parts.size() < 4 || parts.size() > 5 || (!how.empty() && how != "always" && how != "lost"))
      throw internal_error(
          "HEDDLE_EMULATE_FAILURE: expected DEVICE:CALL:COUNT:STATUS[:always|:lost], got \"" + entry + "\"");
    all.push_back({std::atoi(parts[0].c_str()), parts[1], std::atoi(parts[2].c_str()),
        static_cast<cudaError_t>(std::atoi(parts[3].c_str())), how == "always", how == "lost"});
  }
  return all;
}

}  // namespace

cudaError_t failure_of(const char* call, int device) {
  const char* value = std::getenv("HEDDLE_EMULATE_FAILURE");
  const std::string text = value ? value : "";
  Failures& f = failures();
  std::lock_guard<std::mutex> lock(f.mutex);
  if (text != f.text) f.planted = read(text), f.text = text;
  const auto found = f.lost.find(device);
  if (found != f.lost.end()) return found->second;
  for (Planted& p : f.planted) {
    if (p.device != device || p.call != call) continue;
    if (p.remaining > 0) --p.remaining;
    else if (!p.always) continue;
    if (p.remaining > 0) continue;
    if (p.lost) f.lost[device] = p.status;
    return p.status;
  }
  return cudaSuccess;
}

cudaError_t failure_of(const char* call) { return failure_of(call, current_device()); }

}  // namespace emulator
}  // namespace heddle
