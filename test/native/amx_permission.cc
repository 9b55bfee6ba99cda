// Tests the permission that Linux requires for AMX. It is granted to all threads of a process, and cannot be given
// back. Linux denies it if the alternate signal stack of a thread is too small for the state of AMX. Each case runs in
// a child process.
#include "cpu/isa/dispatch.h"

#include <cstdio>

#if defined(__linux__) && defined(__x86_64__)
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <future>
#include <thread>

#include "core/error.h"

#define HEDDLE_SIMD [[gnu::always_inline]] static inline
namespace hardware {
#include "cpu/simd/simd_amx.h"
}

namespace {

// Whether this process has the permission.
bool permitted() {
  constexpr long get_permissions = 0x1022, tile_data = 18;  // ARCH_GET_XCOMP_PERM, XFEATURE_XTILEDATA
  uint64_t permissions = 0;
  return syscall(SYS_arch_prctl, get_permissions, &permissions) == 0 && permissions >> tile_data & 1;
}

// Installs an alternate signal stack that is too small for the state of AMX.
void take_small_stack() {
  static char memory[4096];
  stack_t stack{};
  stack.ss_sp = memory, stack.ss_size = sizeof memory;
  sigaltstack(&stack, nullptr);
}

// Returns the result of cpu_isa() with HEDDLE_ISA set to `forced`, or the message of its exception.
std::string isa(const char* forced) {
  if (forced) setenv("HEDDLE_ISA", forced, 1);
  else unsetenv("HEDDLE_ISA");
  try {
    return heddle::cpu_isa();
  } catch (const heddle::Error& e) {
    return e.what();
  }
}

// Whether the calling thread can zero and store a tile.
bool tiles_work() {
  using namespace hardware;
  alignas(64) float stored[256];
  std::memset(stored, 1, sizeof stored);
  const Tiles tiles;
  tile_zero<0>();
  tile_store<0>(stored, tile_row_bytes);
  return stored[255] == 0;
}

bool serves_older_threads() {
  std::promise<void> chosen;
  auto worked = std::async(std::launch::async, [&] { return chosen.get_future().wait(), tiles_work(); });
  const bool amx = isa(nullptr) == "amx";
  chosen.set_value();
  return worked.get() && amx && std::async(std::launch::async, tiles_work).get();
}

struct Case {
  const char* name;
  bool (*holds)();
};
constexpr Case cases[] = {
    {"threads created before and after the permission can use tiles", serves_older_threads},
    {"listing the instruction sets does not request the permission",
        [] { return !heddle::cpu_isas().empty() && !permitted(); }},
    {"forcing a lower set does not request the permission",
        [] { return isa("avx512bf16") == "avx512bf16" && !permitted(); }},
    {"with a small signal stack, cpu_isa chooses the next lower set",
        [] { return take_small_stack(), isa(nullptr) == "avx512bf16" && !permitted(); }},
    {"with a small signal stack, forcing amx is an error that lists the usable sets",
        [] { return take_small_stack(), isa("amx").find("avx512bf16), got amx") != std::string::npos; }},
};

bool in_own_process(bool (*holds)()) {
  const pid_t child = fork();
  if (child == 0) _exit(holds() ? 0 : 1);
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int main() {
  if (!in_own_process([] { return isa(nullptr) == "amx"; })) {
    std::printf("NOT RUN: this build does not use AMX on this processor\n");
    return 0;
  }
  int failures = 0;
  for (const Case& c : cases) {
    const bool holds = in_own_process(c.holds);
    std::printf("%s: %s\n", c.name, holds ? "holds" : "FAILED");
    failures += !holds;
  }
  return failures != 0;
}
#else
int main() { std::printf("NOT RUN: only Linux on x86-64 has AMX permissions\n"); }
#endif
