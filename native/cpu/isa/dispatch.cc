#include "cpu/isa/dispatch.h"

#include <cstdlib>
#include <cstring>
#include <deque>

#include "cpu/nodes/nodes.h"
#include "core/error.h"
#include "core/platform/amx.h"
#include "core/platform/arm_features.h"
#include "core/x86_features.h"

namespace heddle {
namespace cpu {

// A build may omit an instruction set (other architecture, older compiler). The address of its weak symbol is then
// null.
#if defined(__x86_64__) || defined(__i386__)
extern const Kernels kernels_baseline __attribute__((weak));
extern const Kernels kernels_avx2 __attribute__((weak));
extern const Kernels kernels_avx512 __attribute__((weak));
__attribute__((weak)) void with_avxvnni(Kernels& avx2);
__attribute__((weak)) void with_avx512bf16(Kernels& avx512);
__attribute__((weak)) void with_amx(Kernels& avx512bf16);
#elif defined(__aarch64__)
__attribute__((weak)) void with_neondot(Kernels& neon);
__attribute__((weak)) void with_neoni8mm(Kernels& neon);
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

// Returns a copy of `base` that `extend` has extended, or null if `base` is null or `runs` is false. The copy is
// static: each call site has its own, because each lambda has its own type. `runs`: whether the build has these kernels
// and the machine can run them.
template <class Extend> const Kernels* extended(bool runs, const Kernels* base, Extend extend) {
  if (!runs || !base) return nullptr;
  static const Kernels table = [&] {
    Kernels k = *base;
    extend(k);
    return k;
  }();
  return &table;
}
std::vector<Isa> known_isas() {  // lowest first
#if defined(__x86_64__) || defined(__i386__)
  const X86Features cpu;
  const bool avx2 = cpu.avx2, avx512 = cpu.avx512 && !emulated, avx512_runs = avx512 || (emulated && avx2);
  const bool vnni = cpu.avxvnni && !emulated, vnni_runs = vnni || (emulated && avx2);
  const bool bf16 = cpu.avx512bf16 && !emulated, bf16_runs = bf16 || (emulated && avx2);
  // keeps_tiles() returns whether the system saves tile registers. A system that saves them has also enabled them
  // (XCR0).
  const bool amx = cpu.amx && !emulated && keeps_tiles(), amx_runs = amx || (emulated && avx2);
  const Kernels* with_vnni = extended(vnni_runs && with_avxvnni, &kernels_avx2, [](Kernels& k) { with_avxvnni(k); });
  const Kernels* with_pairs =
      extended(bf16_runs && with_avx512bf16, &kernels_avx512, [](Kernels& k) { with_avx512bf16(k); });
  const Kernels* with_tiles = extended(amx_runs && with_amx, with_pairs, [](Kernels& k) { with_amx(k); });
  return {{"baseline", &kernels_baseline, true, true}, {"avx2", &kernels_avx2, avx2, avx2},
      {"avxvnni", with_vnni, vnni, vnni_runs}, {"avx512", &kernels_avx512, avx512, avx512_runs},
      {"avx512bf16", with_pairs, bf16, bf16_runs}, {"amx", with_tiles, amx, amx_runs}};
#elif defined(__aarch64__)
  const bool dot = has_arm_feature(ArmFeature::dotprod);
  const bool matrices = dot && has_arm_feature(ArmFeature::i8mm) && has_arm_feature(ArmFeature::bf16);
  const Kernels* with_dot = extended(dot && with_neondot, &kernels_neon, [](Kernels& k) { with_neondot(k); });
  const Kernels* with_matrices =
      extended(matrices && with_neoni8mm, &kernels_neon, [](Kernels& k) { with_neoni8mm(k); });
  return {{"neon", &kernels_neon, true, true}, {"neondot", with_dot, dot, dot},
      {"neoni8mm", with_matrices, matrices, matrices}};
#else
  return {{"baseline", &kernels_baseline, true, true}};
#endif
}

// Whether the process may use the instruction set. The permission to use AMX applies to the whole process, so it is
// requested only if AMX will be used.
bool permitted(const Isa& isa) {
  if (isa.native && std::strcmp(isa.name, "amx") == 0) return allow_tiles();
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

// Returns the registry's priority of an instruction set's kernels. A higher set has a higher priority.
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
    RunOnto run_onto, StartKernel start) {
  static std::deque<std::string>& names = *new std::deque<std::string>;  // KernelDef keeps the pointers forever
  names.push_back(std::string(current().name) + "_" + algorithm);
  Registry::add(KernelDef{op, names.back().c_str(), priority(current().name), supports, scratch, run, DeviceKind::cpu,
      packs, run_group, run_onto, start});
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
  cpu::register_fp8_product();
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
