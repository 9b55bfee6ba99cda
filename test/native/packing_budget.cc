// Checks that with PackingBudget no run takes more than twice as long as without packing, and that it packs all weights
// in the end. Simulates the runs, because measured times depend on other load.
#include "runtime/run/packing_budget.h"

#include <cstdio>
#include <initializer_list>

using heddle::PackingBudget;

namespace {

struct Case {
  double weights;  // bytes of all packed forms
  double rows;     // of activations
  double pack_seconds_per_byte;
};

// The time of a run: 8e-11 s (12.5 GB/s) to read each byte of the weights, and 1.5e-11 s to multiply it by each row.
double seconds_of(const Case& c) { return c.weights * (8e-11 + 1.5e-11 * c.rows); }

// Simulates runs that pack the weights in parts of 100 KB. Returns the time of the longest run, as a multiple of its
// time without packing. 0 if the weights are not packed after 100000 runs.
double longest_run(const Case& c) {
  constexpr double part = 1e5;
  PackingBudget budget;
  double rest = c.weights, longest = 0;
  for (int run = 0; run < 100000 && rest > 0; ++run) {
    budget.begin(c.weights * c.rows, c.weights, run == 0);
    double packing = 0;
    for (size_t bytes; run > 0 && rest > 0 && (bytes = budget.bytes(static_cast<size_t>(rest))) > 0;) {
      double count = part;
      while (count + part <= static_cast<double>(bytes)) count += part;
      count = count < rest ? count : rest;
      budget.packed(static_cast<size_t>(count), count * c.pack_seconds_per_byte);
      packing += count * c.pack_seconds_per_byte;
      rest -= count;
    }
    budget.end(seconds_of(c));
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
        std::printf(
            "%.0f MB, %.0f rows, %.1f ns per packed byte: expected at most 2 times the time without packing, "
            "got %.2f (0: not all weights were packed)\n",
            weights / 1e6, rows, pack * 1e9, longest);
      }
    }
  }
  std::printf("%s\n", failures == 0 ? "ok" : "failed");
  return failures == 0 ? 0 : 1;
}
