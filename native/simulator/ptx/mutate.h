// Planted mistakes in one entry: a statement that synchronises is left out, or a bit of a matrix descriptor is flipped.
#pragma once
#include <string>
#include <vector>

#include "simulator/ptx/module.h"

namespace simulator {

struct Mutant {
  size_t begin, end;  // range of the text that is replaced
  std::string replacement;
  std::string what;  // description for messages
};
// Returns all mutants of an entry, always in the same order.
std::vector<Mutant> mutants(const Module& module, const std::string& entry);
// Returns the module's text. If HEDDLE_SIMULATOR_MUTANT (`entry:number`) is a mutant of this entry, applies it.
std::string mutated(const Module& module, const std::string& entry);

}  // namespace simulator
