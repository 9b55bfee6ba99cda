// The op `split` cuts the last dimension into n tensors, and `concat` joins n tensors along it. Both copy bytes, so any
// unquantized element type works. The plan refuses quantized outputs of all ops.
#include <cstring>

#include "ops/check.h"

namespace heddle {
namespace {

// The last dimensions of the pieces must add up to that of `whole`. All other dimensions must be equal.
void check_pieces(const Check& c, Operand whole, const std::vector<Tensor>& pieces, const char* noun) {
  c.rank_at_least(whole, 1);
  const int last = whole.shape().rank - 1;
  int64_t width = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::string name = noun + (" " + std::to_string(i));
    const Operand piece{name.c_str(), &pieces[i]};
    c.rank(piece, whole.shape().rank), c.same_dtype(piece, whole);
    for (int d = 0; d < last; ++d) c.same_dim(piece, d, whole, d);
    width += piece.shape()[last];
  }
  if (width != whole.shape()[last])
    c.mismatch("last dimensions of the " + std::string(noun) + "s: expected a sum of " +
               std::to_string(whole.shape()[last]) + ", the last dimension of " + whole.name + ", got " +
               std::to_string(width));
}

// Calls copy(address in `whole`, address in the piece, number of bytes) for every piece of every row.
template <class F> void for_each_piece(const Tensor& whole, const std::vector<Tensor>& pieces, F copy) {
  char* at = whole.as<char>();
  const size_t size = dtype_bytes(whole.dtype);
  for (int64_t row = 0, rows = whole.shape.rows(); row < rows; ++row)
    for (const Tensor& piece : pieces) {
      const size_t bytes = piece.shape.last() * size;
      if (bytes) copy(at, piece.as<char>() + row * bytes, bytes);
      at += bytes;
    }
}

// x (.., C) -> n outputs whose widths add to C
void check_split(const Node& n) {
  Check c("split", n, 1, 1, 1, any_number);
  check_pieces(c, c.in(0, "x"), n.out, "output");
}

void split(const Node& n) {
  for_each_piece(
      n.in[0], n.out, [](const char* whole, char* piece, size_t bytes) { std::memcpy(piece, whole, bytes); });
}

// n inputs -> y
void check_concat(const Node& n) {
  Check c("concat", n, 1, any_number, 1, 1);
  for (size_t i = 0; i < n.in.size(); ++i) c.in(i, "input");
  check_pieces(c, c.out(0, "y"), n.in, "input");
}

void concat(const Node& n) {
  for_each_piece(
      n.out[0], n.in, [](char* whole, const char* piece, size_t bytes) { std::memcpy(whole, piece, bytes); });
}

HEDDLE_OP(split_op, {"split", 1, 1, any_number, check_split, split});
HEDDLE_OP(concat_op, {"concat", 1, any_number, 1, check_concat, concat});

}  // namespace
}  // namespace heddle
