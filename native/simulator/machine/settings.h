// Settings of the simulator, from environment variables.
#pragma once
#include <cstdint>
#include <string>

namespace simulator {

struct Settings {
  bool hopper = false;   // HEDDLE_SIMULATOR=sm_90: a device of compute capability 9.0 instead of 8.0
  uint32_t seed = 0;     // HEDDLE_SIMULATOR_SEED: each round starts at a random warp; 0: at warp 0
  std::string mutant;    // HEDDLE_SIMULATOR_MUTANT: the mutant of the PTX to run (ptx/mutate.h)
  bool profile = false;  // HEDDLE_SIMULATOR_PROFILE=1: prints each kernel's time at exit
};
const Settings& settings();

}  // namespace simulator
