// Addresses of shared memory within a cluster ("State Spaces: Shared State Space").
#pragma once
#include "simulator/machine/machine.h"

namespace simulator {

// An address that mapa returns for another block has that block's rank + 1 in its upper bits. An address of the block
// itself has zeros there.
constexpr int remote_shift = 24;

// Returns the block of the cluster whose shared memory has the address, and makes the address one of that block. Fails
// if the block has ended.
Block& block_of(const Warp& w, const Instruction& i, uint32_t& address);
// Returns the block of this rank in the warp's cluster. Fails if there is none, or if it has ended.
Block& peer(const Warp& w, const Instruction& i, uint32_t rank);

}  // namespace simulator
