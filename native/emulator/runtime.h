// Declarations that the files of the emulated runtime library share.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

constexpr size_t device_bytes = size_t{2} << 30;  // memory of each emulated device

int current_device();              // the current device of this thread
size_t device_shared_bytes();      // shared memory per block on the current device
size_t free_bytes();               // free memory of the current device
int device_of(uintptr_t address);  // the device that owns the address, or -1

}  // namespace emulator
}  // namespace heddle
