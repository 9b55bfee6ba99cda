// Simulates runs of programs of several sizes, because measured times depend on the other load of a machine.
#include "runtime/run/packing_pace.h"

#include <cstdio>
#include <initializer_list>

using heddle::PackingPace;

namespace {

struct Case {
  double weights, rows, pack_seconds_per_byte;
};

// A run reads all weights, and takes longer with more rows.
double seconds_of(const Case& c) { return c.weights * (8e-11 + 1.5e-11 * c.rows); }

// Packs in parts of one tenth of a megabyte until all is packed. Returns the longest run, as a multiple of a run that
// packs nothing, or 0 if the weights are never packed.
double longest_run(const Case& c) {
  constexpr double part = 1e5;
  PackingPace pace;
  double rest = c.weights, longest = 0;
  for (int run = 0; run < 100000 && rest > 0; ++run) {
    pace.begin(c.weights * c.rows, c.weights, run == 0);
    double packing = 0;
    for (size_t bytes; run > 0 && rest > 0 && (bytes = pace.bytes(static_cast<size_t>(rest))) > 0;) {
      double count = part;
      while (count + part <= static_cast<double>(bytes)) count += part;
      count = count < rest ? count : rest;
      pace.packed(static_cast<size_t>(count), count * c.pack_seconds_per_byte);
      packing += count * c.pack_seconds_per_byte;
      rest -= count;
    }
    pace.end(seconds_of(c));
    const double multiple = 1 + packing / seconds_of(c);
    longest = multiple > longest ? multiple : longest;
  }
  return rest > 0 ? 0 : longest;
}

}  // namespace

int main() {
  int failures = 0;
  for (const double weights : {2.5e7, 1.4e8, 1.1e9}) {
    for (const double rows : {1.0, 5.0, 8.0, 12.0, 64.0}) {
      for (const double pack : {2e-10, 1e-9, 4e-9}) {
        const double longest = longest_run({weights, rows, pack});
        if (longest > 0 && longest <= 2) continue;
        ++failures;
        std::printf("%.0f MB, %.0f rows, %.1f ns per packed byte: the longest run takes %.2f times the others\n",
            weights / 1e6, rows, pack * 1e9, longest);
      }
    }
  }
  std::printf("%s\n", failures == 0 ? "ok" : "failed");
  return failures == 0 ? 0 : 1;
}
