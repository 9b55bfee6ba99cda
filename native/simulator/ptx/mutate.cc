#include "simulator/ptx/mutate.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>

#include "simulator/machine/settings.h"

namespace simulator {
namespace {

// Mutants remove the statements with these opcodes. A mutant replaces mbarrier.try_wait by a test that always succeeds.
const char* const removed[] = {"bar.sync", "bar.arrive", "bar.warp.sync", "fence.proxy", "wgmma.fence",
    "wgmma.commit_group", "wgmma.wait_group", "cp.async.commit_group", "cp.async.wait_group",
    "cp.async.bulk.commit_group", "cp.async.bulk.wait_group", "mbarrier.arrive", "setmaxnreg", "griddepcontrol.wait",
    "barrier.cluster", "fence.mbarrier_init"};

// Whether a statement loads from global memory.
bool loads_global(const std::string& statement) {
  return statement.compare(0, 3, "ld.") == 0 && statement.compare(0, 8, "ld.param") != 0 &&
         statement.compare(0, 9, "ld.shared") != 0;
}

// The leading byte offset of a matrix descriptor ("Matrix Descriptor Format").
constexpr int leading_begin = 16, leading_end = 30;

// Whether operand n of a wgmma.mma_async, a descriptor with the 128-byte swizzle, has a leading byte offset that the
// hardware uses. "Leading Dimension Byte Offset": K-major tiles with a swizzle do not use it. For MN-major tiles, it is
// the distance from 64 rows of bf16 to the next 64. A tile with at most 64 rows has no next ones ("Canonical Layouts").
bool uses_leading(const Statement& s, size_t n) {
  const std::string& shape = s.op.at(4);  // m64nNk16
  const int rows = n == 1 ? 64 : std::atoi(shape.c_str() + 4);
  // All products have six operands. Those of bf16 then have one flag for each descriptor: 1 for MN-major tiles.
  const size_t count = s.operands.size();
  const bool transposed = n == 1 ? count == 8 && s.operands[6].bits : count > 6 && s.operands.back().bits;
  return transposed && rows > 64;
}

// How products use a descriptor.
struct Uses {
  bool a = false, b = false, other = false;
  bool leading = false;  // a product may use its leading byte offset
};

// `made` computes a descriptor. Follows it through moves and additions to the products that use it. Additions move the
// tile along k and change only the lowest bits of the descriptor. A flipped bit therefore remains the same bit.
Uses uses_of(const Function& f, const Statement& made) {
  Uses found;
  std::set<int> holders{made.operands.at(0).reg_index};
  for (bool more = true; more;) {
    more = false;
    for (const Statement& s : f.code)
      for (size_t n = 0; n < s.operands.size(); ++n) {
        const Operand& o = s.operands[n];
        const auto holds = [&](const Operand& part) {
          return part.kind == Operand::reg && holders.count(part.reg_index) > 0;
        };
        if (o.kind == Operand::vector || o.kind == Operand::address)
          for (const Operand& part : o.parts) found.other |= holds(part);
        if (!holds(o)) continue;
        const bool moves = s.op[0] == "mov" || s.op[0] == "add" || s.op[0] == "or";
        if (moves && n == 0) continue;  // a result, not a use
        if (moves) {
          more |= holders.insert(s.operands[0].reg_index).second;
        } else if (s.op[0] == "wgmma" && n > 0 && n <= 2) {
          (n == 1 ? found.a : found.b) = true;
          found.leading |= uses_leading(s, n);
        } else {
          found.other = true;
        }
      }
  }
  found.leading |= found.other;  // unknown uses count
  return found;
}

// The copies of one operand's descriptor, which have the same constant part.
struct Descriptors {
  std::vector<size_t> statements;  // their beginnings in the text
  std::string what;
  bool leading = false;
};

// Appends a mutant for each bit. The result is flipped, not the constant, because the address may have set the bit too.
void flip_bits(const std::string& text, const Descriptors& d, std::vector<Mutant>& all) {
  for (int bit = 0; bit < 64; ++bit) {
    if (!d.leading && bit >= leading_begin && bit < leading_end) continue;
    Mutant mutant{{}, "bit " + std::to_string(bit) + " of " + d.what};
    for (const size_t at : d.statements) {
      const size_t end = text.find('\n', at), operand = text.find_first_not_of(" \t", at + 6);
      const std::string result = text.substr(operand, text.find(',', at) - operand);
      mutant.edits.push_back(
          {end, end, " xor.b64 " + result + ", " + result + ", " + std::to_string(uint64_t{1} << bit) + ";"});
    }
    all.push_back(std::move(mutant));
  }
}

}  // namespace

std::vector<Mutant> mutants(const Module& module, const std::string& entry) {
  const std::string& text = module.text;
  std::vector<Mutant> all;
  const size_t begin = text.find('{', text.find(')', module.entries.at(entry)));
  size_t end = begin;
  int depth = 0;
  for (; end < text.size(); ++end) {
    if (text[end] == '{') ++depth;
    if (text[end] == '}' && --depth == 0) break;
  }
  std::unique_ptr<Function> function;  // parsed at the first descriptor
  std::map<std::pair<uint64_t, std::string>, Descriptors> descriptors;
  size_t wait = std::string::npos;  // the line of a griddepcontrol.wait without a load after it so far
  for (size_t line = begin; line < end;) {
    const size_t next = text.find('\n', line) + 1;
    size_t at = text.find_first_not_of(" \t", line);
    if (text[at] == '@') at = text.find(' ', at) + 1;
    const std::string statement = text.substr(at, next - 1 - at);
    for (const char* opcode : removed)
      if (statement.compare(0, std::string(opcode).size(), opcode) == 0)
        all.push_back({{{line, next - 1, ""}}, "without " + statement});
    if (statement.compare(0, 19, "griddepcontrol.wait") == 0) wait = line;
    if (wait != std::string::npos && loads_global(statement)) {
      const size_t after = text.find('\n', wait) + 1;
      all.push_back({{{wait, next - 1, text.substr(after, next - after) + "griddepcontrol.wait;"}},
          "waits only after " + statement});
      wait = std::string::npos;
    }
    if (statement.compare(0, 10, "setmaxnreg") == 0) {
      const size_t number = statement.rfind(' ') + 1;
      const int more = std::atoi(statement.c_str() + number) + 8;
      all.push_back({{{at, next - 1, statement.substr(0, number) + std::to_string(more) + ";"}},
          "8 more registers: " + statement});
    }
    if (statement.compare(0, 17, "mbarrier.try_wait") == 0)
      all.push_back({{{at, next - 1, "mov.pred done, 1;"}}, "does not wait: " + statement});
    const size_t comma = statement.rfind(", ");
    if (statement.compare(0, 6, "or.b64") == 0 && comma != std::string::npos &&
        std::isdigit(static_cast<unsigned char>(statement[comma + 2]))) {
      const uint64_t constant = std::strtoull(statement.c_str() + comma + 2, nullptr, 10);
      if (constant >> 62 == 1) {  // the constant part of a matrix descriptor with the 128-byte swizzle
        if (!function) function = module.parse(entry);
        Uses uses;
        for (const Statement& s : function->code)
          if (s.at >= line && s.at < next) uses = uses_of(*function, s);
        const std::string what = std::string(uses.a ? "a" : "") + (uses.b ? "b" : "") + (uses.other ? "other" : "");
        Descriptors& same = descriptors[{constant, what}];
        same.statements.push_back(at);
        same.what = "descriptors " + std::to_string(constant) + " of " + what;
        same.leading |= uses.leading;
      }
    }
    line = next;
  }
  for (const auto& [key, same] : descriptors) flip_bits(text, same, all);
  return all;
}

std::string mutated(const Module& module, const std::string& entry) {
  const std::string& asked = settings().mutant;
  if (asked.empty()) return module.text;
  const std::vector<Mutant> all = mutants(module, entry);
  if (asked == "list") {
    for (size_t n = 0; n < all.size(); ++n) std::printf("mutant\t%s:%zu\t%s\n", entry.c_str(), n, all[n].what.c_str());
    return module.text;
  }
  const size_t colon = asked.rfind(':');
  if (asked.substr(0, colon) != entry) return module.text;
  const Mutant& m = all.at(std::stoul(asked.substr(colon + 1)));
  std::printf("planted\t%s\n", m.what.c_str());
  std::fflush(stdout);  // the mutant may never end
  std::string text;
  size_t done = 0;
  for (const Edit& edit : m.edits) {
    text += module.text.substr(done, edit.begin - done) + edit.replacement;
    done = edit.end;
  }
  return text + module.text.substr(done);
}

}  // namespace simulator
