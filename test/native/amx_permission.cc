// AMX needs the kernel's permission, which applies to a whole process and depends on its signal stacks. Each case
// therefore runs in a child process.
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

bool permitted() {
  uint64_t permissions = 0;
  return syscall(SYS_arch_prctl, 0x1022, &permissions) == 0 && permissions >> 18 & 1;  // ARCH_GET_XCOMP_PERM
}

void take_small_stack() {
  static char memory[4096];
  stack_t stack{};
  stack.ss_sp = memory, stack.ss_size = sizeof memory;
  sigaltstack(&stack, nullptr);
}

// Returns the result of cpu_isa(), or its exception.
std::string isa(const char* forced) {
  if (forced) setenv("HEDDLE_ISA", forced, 1);
  else unsetenv("HEDDLE_ISA");
  try {
    return heddle::cpu_isa();
  } catch (const heddle::Error& e) {
    return e.what();
  }
}

bool tiles_work() {
  using namespace hardware;
  alignas(64) float zeros[256];
  std::memset(zeros, 1, sizeof zeros);
  const Tiles tiles;
  tile_zero<0>();
  tile_store<0>(zeros, tile_row_bytes);
  return zeros[255] == 0;
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
    {"with a small signal stack, the next lower set is chosen",
        [] { return take_small_stack(), isa(nullptr) == "avx512bf16" && !permitted(); }},
    {"with a small signal stack, forcing amx is an error that names it",
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
