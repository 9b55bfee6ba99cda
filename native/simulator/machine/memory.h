// Global memory: the allocations of the simulated runtime. Device addresses are host addresses.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simulator {

struct Warp;
struct Instruction;

namespace memory {

enum class Kind { device, pinned };
void* allocate(size_t bytes, Kind kind);  // null if memory is short
bool release(void* data, Kind kind);      // false: no such allocation
size_t in_use();
constexpr size_t total = size_t{16} << 30;

// Whether one allocation holds [address, address + bytes). Sets begin and end to its bounds.
bool find(uint64_t address, uint64_t bytes, uint64_t& begin, uint64_t& end);
bool is_pinned(const void* data);
// Lets instructions address the parameters of a running launch, until take_back.
void lend(const void* data, size_t bytes);
void take_back(const void* data);

// Fails unless the instruction may access these bytes of global memory.
void check(const Warp& w, const Instruction& i, uint64_t address, uint64_t bytes);

}  // namespace memory
}  // namespace simulator
