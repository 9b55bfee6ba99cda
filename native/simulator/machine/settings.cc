#include "simulator/machine/settings.h"

#include <cstdlib>
#include <cstring>

namespace simulator {

const Settings& settings() {
  static const Settings read = [] {
    const auto text = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value ? value : "");
    };
    Settings s;
    s.hopper = text("HEDDLE_SIMULATOR") == "sm_90";
    s.seed = static_cast<uint32_t>(std::strtoul(text("HEDDLE_SIMULATOR_SEED").c_str(), nullptr, 10));
    s.mutant = text("HEDDLE_SIMULATOR_MUTANT");
    s.profile = text("HEDDLE_SIMULATOR_PROFILE") == "1";
    return s;
  }();
  return read;
}

}  // namespace simulator
