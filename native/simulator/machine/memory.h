// Global memory: the allocations of the simulated runtime. Device addresses are host addresses.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simulator {

struct Warp;
struct Instruction;

namespace memory {

enum class Kind { device, pinned };
void* allocate(size_t bytes, Kind kind);    // null if the device or the system is out of memory
bool release(void* data, Kind kind);        // false: no such allocation
size_t in_use();                            // bytes of device memory
constexpr size_t total = size_t{16} << 30;  // memory of the device

// Whether one allocation holds [address, address + bytes). Sets begin and end to its bounds.
bool find(uint64_t address, uint64_t bytes, uint64_t& begin, uint64_t& end);
bool is_pinned(const void* data);
// Registers the parameters of a running launch as an allocation, so that its instructions can read them. take_back
// removes it.
void lend(const void* data, size_t bytes);
void take_back(const void* data);

// Fails if the bytes are not inside one allocation.
void check(const Warp& w, const Instruction& i, uint64_t address, uint64_t bytes);

}  // namespace memory
}  // namespace simulator
