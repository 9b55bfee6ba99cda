// What the parts of the emulated runtime library share.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

constexpr size_t device_bytes = size_t{2} << 30;  // of each emulated device

int current_device();             // of this thread
size_t device_shared_bytes();     // of a block
size_t free_bytes();              // of the current device
int device_of(uintptr_t address); // -1: of none

}  // namespace emulator
}  // namespace heddle
