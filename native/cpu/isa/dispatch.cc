#include "cpu/isa/dispatch.h"

#include <cstdlib>
#include <cstring>
#include <deque>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "cpu/nodes/nodes.h"
#include "core/error.h"
#include "core/platform/arm_features.h"

namespace heddle {
namespace cpu {

// A build may omit an instruction set (other architecture, older compiler). Its table is then null.
#if defined(__x86_64__) || defined(__i386__)
extern const Kernels kernels_baseline __attribute__((weak));
extern const Kernels kernels_avx2 __attribute__((weak));
extern const Kernels kernels_avx512 __attribute__((weak));
extern const Kernels kernels_avx512bf16 __attribute__((weak));
__attribute__((weak)) void with_avxvnni(Kernels& avx2);
__attribute__((weak)) void with_amx(Kernels& avx512bf16);
#elif defined(__aarch64__)
extern const Kernels kernels_neoni8mm __attribute__((weak));
__attribute__((weak)) void with_neondot(Kernels& neon);
#endif

namespace {

struct Isa {
  const char* name;
  const Kernels* table;
  bool native;      // the machine can execute it
  bool selectable;  // native, or emulated in a test build
};

#ifdef HEDDLE_EMULATE_AVX512
constexpr bool emulated = true;
#else
constexpr bool emulated = false;
#endif

#if defined(__x86_64__) || defined(__i386__)
bool has_avxvnni() {  // __builtin_cpu_supports("avxvnni") needs a newer compiler than the instruction
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
// Requests extended processor state from Linux (5.16 or newer). Older kernels and some sandboxes refuse; AMX is then
// off.
template <class T> bool ask_for_state([[maybe_unused]] long question, [[maybe_unused]] T argument) {
#if defined(__linux__) && defined(__x86_64__)
  return syscall(SYS_arch_prctl, question, argument) == 0;
#else
  return false;
#endif
}
constexpr long tile_data = 18;  // XFEATURE_XTILEDATA
// Whether the CPU has AMX tiles of bf16, and the system saves them, which implies that it enabled them (XCR0).
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (1u << 22 | 1u << 24)) != (1u << 22 | 1u << 24)) return false;
  if (!(c & 1u << 1)) return false;   // AVX512-VBMI; all CPUs with AMX have it
  constexpr long supported = 0x1021;  // ARCH_GET_XCOMP_SUPP
  uint64_t kept = 0;
  return ask_for_state(supported, &kept) && kept >> tile_data & 1;
}
#endif

// Returns the table `base` with some kernels replaced, or null if either is missing. `runs`: whether the machine can
// run `exchange`, which is compiled for the instruction set.
template <class Exchange> const Kernels* exchanged(bool runs, const Kernels* base, Exchange exchange) {
  if (!runs || !base) return nullptr;
  static const Kernels table = [&] {
    Kernels k = *base;
    exchange(k);
    return k;
  }();
  return &table;
}
std::vector<Isa> known_isas() {  // lowest first
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  bool avx512 = avx2 && !emulated && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vnni");
  bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  bool vnni = avx2 && !emulated && has_avxvnni(), vnni_runs = vnni || (emulated && avx2);
  bool amx = bf16 && has_amx(), amx_runs = amx || (emulated && avx2);
  const Kernels* with_vnni = exchanged(vnni_runs && with_avxvnni, &kernels_avx2, [](Kernels& k) { with_avxvnni(k); });
  const Kernels* with_tiles = exchanged(amx_runs && with_amx, &kernels_avx512bf16, [](Kernels& k) { with_amx(k); });
  return {{"baseline", &kernels_baseline, true, true}, {"avx2", &kernels_avx2, avx2, avx2},
      {"avxvnni", with_vnni, vnni, vnni_runs}, {"avx512", &kernels_avx512, avx512, avx512 || (emulated && avx2)},
      {"avx512bf16", &kernels_avx512bf16, bf16, bf16 || (emulated && avx2)}, {"amx", with_tiles, amx, amx_runs}};
#elif defined(__aarch64__)
  const bool dot = has_arm_feature(ArmFeature::dotprod);
  const bool matrices = dot && has_arm_feature(ArmFeature::i8mm) && has_arm_feature(ArmFeature::bf16);
  const Kernels* with_dot = exchanged(dot && with_neondot, &kernels_neon, [](Kernels& k) { with_neondot(k); });
  return {{"neon", &kernels_neon, true, true}, {"neondot", with_dot, dot, dot},
      {"neoni8mm", &kernels_neoni8mm, matrices, matrices}};
#else
  return {{"baseline", &kernels_baseline, true, true}};
#endif
}

// Whether the process may use the instruction set. The permission for AMX covers all threads, including later ones.
// Linux refuses it while a thread has an alternate signal stack that would be too small, and afterwards refuses such
// stacks. It is therefore requested only for the instruction set that will be used.
bool permitted(const Isa& isa) {
#if defined(__x86_64__) || defined(__i386__)
  constexpr long request = 0x1023;  // ARCH_REQ_XCOMP_PERM
  if (isa.native && std::strcmp(isa.name, "amx") == 0) return ask_for_state(request, tile_data);
#endif
  return isa.selectable;
}

const Isa& choose() {
  static const std::vector<Isa>& isas = *new std::vector<Isa>(known_isas());
  const char* wanted = std::getenv("HEDDLE_ISA");
  if (!wanted || !*wanted) {
    const Isa* best = nullptr;
    for (const Isa& isa : isas)
      if (isa.native && isa.table && permitted(isa)) best = &isa;
    return *best;
  }
  std::string expected;
  for (const Isa& isa : isas) {
    if (!isa.selectable || !isa.table) continue;
    const bool named = std::strcmp(isa.name, wanted) == 0;
    if (named && permitted(isa)) return isa;
    if (!named) expected += (expected.empty() ? "" : ", ") + std::string(isa.name);
  }
  throw Error(
      "UNSUPPORTED", "HEDDLE_ISA: expected an instruction set of this machine (" + expected + "), got " + wanted);
}

const Isa& current() {
  static const Isa& isa = choose();  // if choose() throws, the next call runs it again
  return isa;
}

int priority(const char* isa) {
  int value = 10;
  for (const char* name :
      {"baseline", "neon", "neondot", "neoni8mm", "avx2", "avxvnni", "avx512", "avx512bf16", "amx"}) {
    if (std::strcmp(name, isa) == 0) return value;
    value += 10;
  }
  return 0;
}

}  // namespace

const Kernels& active() { return *current().table; }

void add_kernel(const char* op, const char* algorithm, bool (*supports)(const Node&),
    size_t (*scratch)(const Node&, int), void (*run)(const Node&, Context&), Packs packs, RunGroup run_group,
    RunOnto run_onto) {
  static std::deque<std::string>& names = *new std::deque<std::string>;  // KernelDef keeps the pointers forever
  names.push_back(std::string(current().name) + "_" + algorithm);
  Registry::add(KernelDef{op, names.back().c_str(), priority(current().name), supports, scratch, run, DeviceKind::cpu,
      packs, run_group, run_onto});
}

}  // namespace cpu

const char* cpu_isa() { return cpu::current().name; }

std::vector<std::string> cpu_isas() {
  std::vector<std::string> names;
  for (const cpu::Isa& isa : cpu::known_isas())
    if (isa.selectable && isa.table) names.push_back(isa.name);
  return names;
}

void register_cpu_kernels() {
  cpu::register_linear();
  cpu::register_quant();
  cpu::register_fp8();
  cpu::register_attention();
  cpu::register_logprob();
  cpu::register_norms();
  cpu::register_elementwise();
  cpu::register_rows();
  cpu::register_noise();
  cpu::register_experts();
  cpu::register_optimizer();
  cpu::register_sample();
}

}  // namespace heddle
