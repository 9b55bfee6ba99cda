// Products with weights that are packed once. A panel has W outputs. Each lane has four neighboring elements of one
// output ("a four"), so that one load feeds one dot product without shuffles. The products of a row are added up unit
// by unit (32 elements) in a fixed order. The result of a row therefore does not depend on the number of rows.
#pragma once
#include "cpu/quant/int8_packed_tile-inl.h"
#include "cpu/quant/int8_stored-inl.h"

#if defined(HEDDLE_INT8_PACKED)
namespace heddle {
namespace HEDDLE_ISA {

// Lines to prefetch, a few at a time, while panels that are already in cache are multiplied.
struct NextLines {
  const uint8_t *at = nullptr, *end = nullptr;
  // Returns the lines that a tile of `units` units prefetches. Null: the tile prefetches its own panels instead.
  const uint8_t* take(int64_t units, const uint8_t* nothing) {
    if (!at) return nullptr;
    if (end - at < 64 * units) return nothing;  // nothing left: prefetches a line that is in cache
    at += 64 * units;
    return at - 64 * units;
  }
};

// Multiplies rows [i, i + rows) of x by panels [p0, p1), tiles.rows rows at a time. A kernel for several panels reads
// distant ones, as parallel streams. Row 0 of x is row `first` of the product. `units`: the number of units of a panel.
inline void packed_stripe(const QuantLinear& p, const PackedRows& x, int64_t first, int64_t i, int64_t rows,
    const PackedTiles& tiles, const uint8_t* panels, int64_t panel_bytes, int64_t units, int64_t p0, int64_t p1,
    NextLines& next) {
  alignas(64) float sums[packed_sums * W];
  // Writes to y without a buffer: f32, no bias, whole panels.
  const bool direct = p.y_type == DType::f32 && !p.bias && p1 * W <= p.n;
  packed_sweeps(tiles, p1 - p0, [&](const auto& form, int64_t done, int64_t each) {
    for (int64_t j = 0; j < each; ++j) {
      const uint8_t *at[4], *after[4];
      float* out[4];
      int64_t panel[4];
      for (int s = 0; s < form.panels; ++s) {
        panel[s] = min_of(p0 + done + s * each + j, p1 - 1);
        at[s] = panels + (panel[s] - p0) * panel_bytes, after[s] = j + 1 < each ? at[s] + panel_bytes : at[s];
        out[s] = sums + s * tiles.rows * W;
      }
      for (int64_t r = i; r < i + rows; r += tiles.rows) {  // uses the panels while they are in cache
        for (int s = 0; direct && s < form.panels; ++s)
          out[s] = static_cast<float*>(p.y) + (first + r) * p.n + panel[s] * W;
        form.run(x, r, p.k, at, out, direct ? p.n : W, after, next.take(units, at[0]));
        for (int s = 0; !direct && s < form.panels; ++s)
          for (int m = 0; m < tiles.rows; ++m)
            write_int8(p, first + r + m, panel[s] * W, p.n - panel[s] * W, load(out[s] + m * W));
      }
    }
  });
}
// Minimum number of rows of x for which nibbles and signed integers are widened before use.
constexpr int64_t packed_widen_rows = 2 * packed_max_rows;
// Multiplies all rows of x by panels [p0, p1). Kernels for more than six rows are used only if they take all rows of x
// at once. They save a second pass over the weights in memory. Kernels for more than eight rows gain little if the
// panels are in cache.
template <class P>
void packed_columns(const QuantLinear& p, const PackedRows& x, int64_t first, const uint8_t* panels,
    int64_t panel_bytes, int64_t p0, int64_t p1, NextLines& next) {
  static_assert(packed_sums_suffice<P>());
  int64_t i = 0;
  for (const PackedTiles& tiles : packed_tiles<P>) {
    if (tiles.rows > 6 && (x.rows != tiles.rows || (tiles.rows > 8 && p.m >= packed_widen_rows))) continue;
    const int64_t rows = (x.rows - i) / tiles.rows * tiles.rows;
    if (rows > 0)
      packed_stripe(p, x, first, i, rows, tiles, panels, panel_bytes, packed_blocks<P>(p.k) * P::units, p0, p1, next);
    i += rows;
  }
}

constexpr int64_t packed_task_bytes = 131072;  // size of a task's panels, which stay in cache
template <class P> constexpr bool packed_widens = P::type == DType::q4_0 || P::type == DType::q5_0 || P::is_signed;
// Size of the panels that a thread widens for itself. Signed integers double in size, and widening them helps only if
// four panels fit into L2.
template <class P> constexpr int64_t packed_wide_bytes = P::is_signed ? 2 * packed_task_bytes : packed_task_bytes;
template <class P> bool packed_is_widened(int64_t m, int64_t k) {
  return packed_widens<P> && m >= packed_widen_rows &&
         (!P::is_signed || 4 * packed_panel_bytes<Widened<P>>(k) <= packed_wide_bytes<P>);
}
// Number of panels that a thread packs for itself and uses at once. It is a multiple of four, because tiles of few rows
// take four panels side by side.
inline int64_t packed_own_panels(int64_t bytes) {
  return max_of<int64_t>(4, packed_task_bytes / max_of<int64_t>(1, bytes) / 4 * 4);
}
template <class P> int64_t packed_own_bytes(int64_t k) {
  const int64_t wide = packed_panel_bytes<Widened<P>>(k), bytes = packed_panel_bytes<P>(k);
  return (packed_widens<P> ? max_of(packed_own_panels(wide) * wide, packed_wide_bytes<P>) : 0) +
         packed_own_panels(bytes) * bytes;
}

// The panels of one task: its share of the panels of each weight, one weight after the other.
struct PanelList {
  const QuantLinear* products;
  int count;
  int64_t bytes, task, tasks;  // bytes: size of a panel; task: index among `tasks`
  int64_t begin(int i) const { return ceil_div(products[i].n, W) * task / tasks; }
  int64_t end(int i) const { return ceil_div(products[i].n, W) * (task + 1) / tasks; }
  int64_t size() const {
    int64_t panels = 0;
    for (int i = 0; i < count; ++i) panels += end(i) - begin(i);
    return panels;
  }
};
struct PanelPlace {
  int product;
  int64_t panel, left;  // left: panels left in the product, including this one
  const uint8_t* at;
  static PanelPlace first_of(const PanelList& list, int product) {
    const int64_t begin = list.begin(product);
    return {product, begin, list.end(product) - begin,
        static_cast<const uint8_t*>(list.products[product].packed) + begin * list.bytes};
  }
  // Returns the place `steps` panels later, or the end of the list.
  PanelPlace on(const PanelList& list, int64_t steps) const {
    PanelPlace to = *this;
    while (steps >= to.left && to.product + 1 < list.count) steps -= to.left, to = first_of(list, to.product + 1);
    to.panel += steps, to.left -= steps, to.at += steps * list.bytes;
    return to;
  }
};
// Multiplies all rows of x by all panels of a list. x must have exactly tiles.rows rows. A few streams share the
// panels. They start once per list, not once per product, and prefetch across products.
inline void packed_streams(const PanelList& list, const PackedRows& x, const PackedTiles& tiles) {
  alignas(64) float sums[packed_sums * W];
  const int64_t size = list.size();
  const auto place = [&](int64_t i) { return PanelPlace::first_of(list, 0).on(list, i); };
  packed_sweeps(tiles, size, [&](const auto& form, int64_t done, int64_t each) {
    const int64_t rest = done + each * form.panels;
    PanelPlace stream[4];
    for (int s = 0; s < form.panels; ++s) stream[s] = place(min_of(done + s * each, size - 1));
    for (int s = 0; s < form.panels && done == 0; ++s)
      for (int64_t line = 0; line < min_of<int64_t>(packed_ahead / form.panels, list.bytes); line += 64)
        fetch_stream(stream[s].at + line);
    for (int64_t j = 0, run; j < each; j += run) {  // `run` panels during which no stream changes its product
      const uint8_t *at[4], *after[4];
      float* out[4];
      bool direct[4], alike = true;  // alike: all streams write directly, with the same row stride
      run = each - j;
      for (int s = 0; s < form.panels; ++s) run = min_of(run, stream[s].left);
      for (int s = 0; s < form.panels; ++s) {
        const QuantLinear& p = list.products[stream[s].product];
        // Writes to y without a buffer: f32, no bias, whole panels.
        direct[s] = p.y_type == DType::f32 && !p.bias && (stream[s].panel + run) * W <= p.n;
        alike = alike && direct[s] && p.n == list.products[stream[0].product].n;
        at[s] = stream[s].at, after[s] = at[s] + list.bytes;
      }
      const int64_t stride = alike ? list.products[stream[0].product].n : W;
      for (int s = 0; s < form.panels; ++s) {
        direct[s] = direct[s] && (alike || x.rows == 1);
        out[s] = direct[s] ? static_cast<float*>(list.products[stream[s].product].y) + stream[s].panel * W
                           : sums + s * tiles.rows * W;
      }
      for (int64_t r = 0; r < run; ++r) {
        if (r + 1 == run)
          for (int s = 0; s < form.panels; ++s) {
            const bool goes_on = j + run < each;
            after[s] = goes_on ? stream[s].on(list, run).at : rest + s < size ? place(rest + s).at : at[s];
          }
        form.run(x, 0, list.products[0].k, at, out, stride, after, nullptr);
        for (int s = 0; s < form.panels; ++s) {
          const QuantLinear& p = list.products[stream[s].product];
          const int64_t column = (stream[s].panel + r) * W;
          for (int m = 0; m < tiles.rows && !direct[s]; ++m)
            write_int8(p, m, column, p.n - column, load(out[s] + m * W));
          at[s] += list.bytes, after[s] += list.bytes, out[s] += direct[s] ? W : 0;
        }
      }
      for (int s = 0; s < form.panels; ++s) stream[s] = stream[s].on(list, run);
    }
  });
}
// Returns the tiles of exactly m rows, or null.
template <class P> const PackedTiles* packed_tiles_of(int64_t m) {
  for (const PackedTiles& tiles : packed_tiles<P>)
    if (tiles.rows == m) return &tiles;
  return nullptr;
}

// Multiplies one x by several weights of the same packed form, in one loop.
template <class P> void packed_products(const QuantLinear* products, int count, Pool& pool, void* scratch) {
  static_assert(packed_sums_suffice<P>());
  const QuantLinear& x = products[0];
  round_packed_rows<P>(x, scratch, pool);
  const int64_t tiles = packed_row_tiles(x.m), bytes = packed_panel_bytes<P>(x.k);
  const PackedTiles* tile = packed_tiles_of<P>(x.m);
  int64_t panels_of_all = 0;
  for (int i = 0; i < count; ++i) {
    panels_of_all += ceil_div(products[i].n, W);
    if (!products[i].packed) tile = nullptr;
  }
  if (tile) {
    const int64_t parts = min_of(panels_of_all, Pool::stream_tasks(panels_of_all * bytes, pool.threads()));
    return pool.run(parts, [&](int64_t task, int) {
      packed_streams(PanelList{products, count, bytes, task, parts}, packed_rows(scratch, 0, x.k, x.m), *tile);
    });
  }
  const bool widen = packed_is_widened<P>(x.m, x.k);
  const int64_t wide = packed_panel_bytes<Widened<P>>(x.k);
  uint8_t* own = static_cast<uint8_t*>(scratch) + round_up(tiles * packed_tile_bytes(x.k), 64);
  const int64_t fit =
      widen ? packed_wide_bytes<P> / max_of<int64_t>(1, wide) : packed_task_bytes / max_of<int64_t>(1, bytes);
  const int64_t most = max_of<int64_t>(2, fit / 2 * 2);  // tiles of many rows take panels in twos
  const auto tasks_of = [&](const QuantLinear& p) {
    const int64_t panels = ceil_div(p.n, W), tasks = min_of<int64_t>(panels, pool.threads() * 4);
    return tiles > 1 ? round_up(max_of(tasks, ceil_div(panels, most)), pool.threads())
                     : min_of(tasks, Pool::stream_tasks(panels * bytes, pool.threads()));
  };
  run_joined(
      pool, count, [&](int i) { return tasks_of(products[i]); }, [&](int i, int64_t task, int64_t tasks, int thread) {
    const QuantLinear& p = products[i];
    const int64_t panels = ceil_div(p.n, W), together = tiles > 1 ? 2 : 1, parts = ceil_div(panels, together);
    const int64_t p1 = min_of(panels, parts * (task + 1) / tasks * together);
    int64_t p0 = parts * task / tasks * together;
    if (!p.packed && p.m <= StoredSource<P>::max_x)
      return stored_columns<P>(p, packed_rows(scratch, 0, p.k, p.m), p0 * W, min_of(p1 * W, p.n));
    uint8_t* mine = own + thread * packed_own_bytes<P>(x.k);
    const int64_t step = !p.packed ? packed_own_panels(widen ? wide : bytes) : widen ? most : panels;
    for (; p0 < p1; p0 += step) {
      const int64_t end = min_of(p0 + step, p1);
      const uint8_t* from = mine;
      if (p.packed) from = static_cast<const uint8_t*>(p.packed) + p0 * bytes;
      else
        for (int64_t j = p0; j < end; ++j) P::pack(p, j, mine + (j - p0) * bytes);
      NextLines later, none;
      if (p.packed && tiles > 1 && (end < p1 || goes_on(task, tasks, pool.threads())))
        later.at = static_cast<const uint8_t*>(p.packed) + end * bytes,
        later.end = later.at + min_of(panels - end, end - p0) * bytes;
      if (!widen) {
        for (int64_t t = 0; t < tiles; ++t)
          packed_columns<P>(
              p, packed_rows(scratch, t, p.k, p.m), t * packed_max_rows, from, bytes, p0, end, t > 0 ? later : none);
      } else if constexpr (packed_widens<P>) {
        uint8_t* widened = mine + packed_own_panels(bytes) * bytes;
        for (int64_t j = p0; j < end; ++j) widen_panel<P>(from + (j - p0) * bytes, p.k, widened + (j - p0) * wide);
        for (int64_t t = 0; t < tiles; ++t)
          packed_columns<Widened<P>>(
              p, packed_rows(scratch, t, p.k, p.m), t * packed_max_rows, widened, wide, p0, end, later);
      }
    }
  });
}

// Packs panels [begin, end) of the packed weight at `to`.
template <class P> void pack_panels(const QuantLinear& p, void* to, int64_t begin, int64_t end, Pool& pool) {
  const int64_t bytes = packed_panel_bytes<P>(p.k);
  pool.range(end - begin, 4, [&](int64_t p0, int64_t p1, int) {
    for (int64_t panel = begin + p0; panel < begin + p1; ++panel)
      P::pack(p, panel, static_cast<uint8_t*>(to) + panel * bytes);
  });
}

// The functions of a type's packed form.
struct PackedForm {
  int64_t (*panel_bytes)(int64_t k) = nullptr;  // null: the type has no packed form
  void (*pack)(const QuantLinear&, void* to, int64_t begin, int64_t end, Pool&) = nullptr;
  void (*products)(const QuantLinear*, int count, Pool&, void* scratch) = nullptr;
  int64_t (*own_bytes)(int64_t k) = nullptr;  // scratch per thread
};
template <class P>
constexpr PackedForm packed_form_of = {packed_panel_bytes<P>, pack_panels<P>, packed_products<P>, packed_own_bytes<P>};
inline PackedForm packed_form(DType type) {
  switch (type) {
    case DType::q8_0: return packed_form_of<Packed8>;
    case DType::q4_0: return packed_form_of<Packed4>;
    case DType::q5_0: return packed_form_of<Packed5>;
    case DType::q4_k: return packed_form_of<Packed4K>;
    case DType::q6_k: return packed_form_of<Packed6K>;
    default: return {};
  }
}

inline bool has_packed_form(DType type) { return packed_form(type).pack != nullptr; }
inline size_t quant_packed_bytes(DType type, int64_t n, int64_t k) {
  const PackedForm form = packed_form(type);
  return form.pack && k > 0 ? static_cast<size_t>(ceil_div(n, W) * form.panel_bytes(k)) : 0;
}
inline void quant_pack(const QuantLinear& p, void* to, int64_t begin, int64_t end, Pool& pool) {
  packed_form(p.w_type).pack(p, to, begin, end, pool);
}

inline size_t packed_scratch(const QuantLinear& p, int threads) {
  const PackedForm form = packed_form(p.w_type);
  if (!form.pack) return 0;
  const int64_t rows = round_up(packed_row_tiles(p.m) * packed_tile_bytes(p.k), 64);
  return static_cast<size_t>(rows + threads * form.own_bytes(p.k));
}
inline void packed_linears(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  packed_form(p[0].w_type).products(p, count, pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
