// Mutants of an entry. Each has one planted mistake. A synchronizing statement is removed, griddepcontrol.wait comes
// after a load, mbarrier.try_wait does not wait, setmaxnreg names 8 more registers, or a bit of a matrix descriptor is
// flipped. nvcc unrolls loops and repeats the expression of a descriptor, so a bit is flipped in all copies of an
// operand's descriptor. Bits that the hardware ignores are not flipped: no test can notice such a mutant, so it would
// say nothing about the tests.
#pragma once
#include <string>
#include <vector>

#include "simulator/ptx/module.h"

namespace simulator {

struct Edit {
  size_t begin, end;  // range of the text that is replaced
  std::string replacement;
};
struct Mutant {
  std::vector<Edit> edits;  // in the order of the text
  std::string what;         // description for messages
};
// Returns all mutants of an entry, always in the same order.
std::vector<Mutant> mutants(const Module& module, const std::string& entry);
// Returns the module's text, with the mutant that HEDDLE_SIMULATOR_MUTANT=ENTRY:NUMBER selects if ENTRY is this entry.
// HEDDLE_SIMULATOR_MUTANT=list prints the entry's mutants and leaves the text unchanged.
std::string mutated(const Module& module, const std::string& entry);

}  // namespace simulator
